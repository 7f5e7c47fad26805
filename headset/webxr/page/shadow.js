// The key light's depth map of a lit avatar: `shadow_frame` of render/projection_matrix.py.

import {
  DepthTexture, LessEqualCompare, LinearFilter, Matrix4, Mesh, OrthographicCamera, Scene,
  UnsignedShortType, Vector3, WebGLRenderTarget,
} from "./vendor/three.module.min.js";

/** Where a far light sees the vertices (x, y, z one after the other, metres). */
export function shadowFrame(towards, vertices, constants) {
  const z = new Vector3(...towards).normalize();
  const x = new Vector3(0, 1, 0).cross(z).normalize();
  const axes = [x, new Vector3().crossVectors(z, x), z];
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  for (let axis = 0; axis < 3; axis++) {
    const { x: a, y: b, z: c } = axes[axis];
    let least = Infinity, most = -Infinity;
    for (let i = 0; i < vertices.length; i += 3) {
      const along = a * vertices[i] + b * vertices[i + 1] + c * vertices[i + 2];
      if (along < least) least = along;
      if (along > most) most = along;
    }
    low[axis] = least - constants.margin_m;
    high[axis] = most + constants.margin_m;
  }
  const size = high.map((value, axis) => value - low[axis]);
  const rows = axes.map((axis, i) => {
    const flip = i === 2 ? -1 : 1; // nearer to the light is a smaller depth
    const scale = (flip * 2) / size[i];
    return [axis.x * scale, axis.y * scale, axis.z * scale, (-flip * (high[i] + low[i])) / size[i]];
  });
  const clip = new Matrix4().set(...rows[0], ...rows[1], ...rows[2], 0, 0, 0, 1);
  const texture = new Matrix4()
    .set(0.5, 0, 0, 0.5, 0, 0.5, 0, 0.5, 0, 0, 0.5, 0.5, 0, 0, 0, 1)
    .multiply(clip);
  const bias = (0.5 * Math.max(size[0], size[1])) / constants.texels + constants.bias_m;
  texture.elements[14] -= bias / size[2];
  return {
    clipFromWorld: clip,
    textureFromWorld: texture,
    blur: [constants.penumbra_m / size[0], constants.penumbra_m / size[1]],
  };
}

export class ShadowMap {
  /** `caster`: the geometry of what throws shadows, or null when nothing does. */
  constructor(programs, caster) {
    const { shadow: constants, key } = programs.studio;
    this.constants = constants;
    this.key = key;
    const { texels } = constants;
    this.target = new WebGLRenderTarget(texels, texels, { depthBuffer: true });
    const depth = new DepthTexture(texels, texels, UnsignedShortType);
    depth.compareFunction = LessEqualCompare;
    depth.minFilter = depth.magFilter = LinearFilter;
    this.target.depthTexture = depth;
    this.uniforms = {
      shadow_map: { value: depth },
      shadow_from_world: { value: new Matrix4() },
      shadow_blur: { value: [0, 0] },
    };
    this.clip = { value: new Matrix4() };
    this.material = programs.material(
      "shadow", { clip_from_world: this.clip }, { colorWrite: false });
    this.scene = new Scene();
    if (caster) {
      const mesh = new Mesh(caster, this.material);
      mesh.frustumCulled = false;
      this.scene.add(mesh);
    }
    this.camera = new OrthographicCamera();
  }

  /** Draw what the key light sees of new vertices. */
  draw(renderer, vertices) {
    const frame = shadowFrame(this.key, vertices, this.constants);
    this.clip.value = frame.clipFromWorld;
    this.uniforms.shadow_from_world.value = frame.textureFromWorld;
    this.uniforms.shadow_blur.value = frame.blur;
    drawAside(renderer, this.target, this.scene, this.camera);
  }

  dispose() {
    this.target.depthTexture.dispose();
    this.target.dispose();
    this.material.dispose();
  }
}

/** Draw into a target, also in the middle of an XR frame. */
export function drawAside(renderer, target, scene, camera) {
  const before = renderer.getRenderTarget();
  const inXr = renderer.xr.enabled;
  renderer.xr.enabled = false; // or three.js would draw it once an eye
  try {
    renderer.setRenderTarget(target);
    renderer.clear();
    renderer.render(scene, camera);
  } finally {
    renderer.setRenderTarget(before);
    renderer.xr.enabled = inXr;
  }
}
