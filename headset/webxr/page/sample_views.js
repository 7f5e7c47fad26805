// What the headset's eyes see, as the server's renderer wants to know it.

import { Matrix4 } from "./vendor/three.module.min.js";
import { rigidOf } from "./panels.js";

/** One view an eye: its place in the world (WebXR's axes), angles left, right, up, down, pixels. */
export function viewsOf(pose, worldFromStage, renderer) {
  const layer = renderer.xr.getBaseLayer();
  return pose.views.map((view) => {
    const p = view.projectionMatrix;
    const viewport = layer?.getViewport?.(view);
    const width = viewport?.width ?? (layer?.textureWidth ?? 0) / pose.views.length;
    const height = viewport?.height ?? layer?.textureHeight ?? 0;
    EYE.multiplyMatrices(worldFromStage, MATRIX.fromArray(view.transform.matrix));
    return {
      eye: view.eye === "none" ? "mono" : view.eye,
      ...rigidOf(EYE),
      fov: [
        Math.atan((p[8] - 1) / p[0]), Math.atan((p[8] + 1) / p[0]),
        Math.atan((p[9] + 1) / p[5]), Math.atan((p[9] - 1) / p[5]),
      ],
      size: [Math.round(width), Math.round(height)],
    };
  });
}

const EYE = new Matrix4(), MATRIX = new Matrix4();
