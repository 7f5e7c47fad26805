// Draws everything as a pinhole sees it, the avatar's world being the stage: (size, tangents of the
// field of view) -> base64 of RGBA, the lowest row first.
async ({ tangents, size }) => {
  const THREE = await import("./vendor/three.module.min.js");
  const { stage, people } = globalThis.visavis, { renderer, scene } = stage;
  const moved = [...people.people.values()].map(({ mesh }) => [mesh.object, mesh.object.matrix.clone()]);
  for (const [object] of moved) object.matrix.identity();
  for (const { mesh } of people.people.values()) mesh.fade(1); // also where no new frame came
  const [left, right, up, down] = tangents, near = 0.02;
  const camera = new THREE.PerspectiveCamera();
  camera.projectionMatrix.makePerspective(left * near, right * near, up * near, down * near, near, 100);
  camera.projectionMatrixInverse.copy(camera.projectionMatrix).invert();
  stage.backdrop.floor.visible = false;
  const target = new THREE.WebGLRenderTarget(size, size);
  for (const [object] of moved) object.matrixWorldNeedsUpdate = true;
  renderer.setRenderTarget(target);
  renderer.render(scene, camera);
  const pixels = new Uint8Array(4 * size * size);
  renderer.readRenderTargetPixels(target, 0, 0, size, size, pixels);
  renderer.setRenderTarget(null);
  target.dispose();
  stage.backdrop.floor.visible = true;
  for (const [object, matrix] of moved) object.matrix.copy(matrix);
  let text = "";
  for (let i = 0; i < pixels.length; i += 8192)
    text += String.fromCharCode(...pixels.subarray(i, i + 8192));
  return btoa(text);
}
