// The next frame that the page draws: {width, height, pixels}, base64 of RGBA, the lowest row first.
() => new Promise((resolve) => {
  const { stage } = globalThis.visavis, gl = stage.renderer.getContext();
  const look = () => {
    stage.afterDrawing.splice(stage.afterDrawing.indexOf(look), 1);
    const { drawingBufferWidth: width, drawingBufferHeight: height } = gl;
    const pixels = new Uint8Array(4 * width * height);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    let text = "";
    for (let i = 0; i < pixels.length; i += 8192)
      text += String.fromCharCode(...pixels.subarray(i, i + 8192));
    resolve({ width, height, pixels: btoa(text) });
  };
  stage.afterDrawing.push(look);
})
