// The scene, the renderer and the one frame loop, which outlives every error in it.
//
// Everything on the page is in the stage's frame: metres, y up, the floor at y = 0, as WebXR's
// "local-floor". Colours are sRGB code values throughout, because the avatar's shaders write them.

import {
  Color, ColorManagement, HemisphereLight, LinearSRGBColorSpace, PerspectiveCamera, Scene,
  Vector3, WebGLRenderer,
} from "./vendor/three.module.min.js";
import { Backdrop } from "./backdrop.js";
import { Orbit } from "./orbit.js";

ColorManagement.enabled = false;

const LOOKED_AT_M = 1.45; // a little below the eyes, so that a bust stands well in the picture
const FOV_DEGREES = 34;

export class Stage {
  /** `report(text)`: told each kind of error in the loop once. */
  constructor(canvas, programs, report) {
    this.renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.renderer.outputColorSpace = LinearSRGBColorSpace; // nothing is converted
    this.renderer.setClearColor(new Color(0, 0, 0), 0);
    this.renderer.xr.enabled = true;
    this.scene = new Scene();
    this.scene.add(new HemisphereLight(0xffffff, 0x5b6470, 2.6));
    this.camera = new PerspectiveCamera(FOV_DEGREES, 1, 0.02, 100);
    this.backdrop = new Backdrop(programs);
    this.scene.add(this.backdrop.object);
    this.orbit = new Orbit(canvas, this.camera, new Vector3(0, LOOKED_AT_M, -0.9));
    this.drawnAt = performance.now();
    this.report = report;
    this.reported = new Set();
    this.frames = 0;
    /** What a frame consists of: called with (time in ms, XRFrame or undefined). */
    this.beforeDrawing = [];
    this.afterDrawing = [];
    canvas.addEventListener("webglcontextlost", () => report("the graphics card went away"));
    canvas.addEventListener("webglcontextrestored", () => report(null));
  }

  start() {
    this.renderer.setAnimationLoop((time, frame) => this.#frame(time, frame));
  }

  /** A session is over: it left its own field of view in the camera. */
  returnToScreen() {
    this.showRoom(false);
    this.camera.fov = FOV_DEGREES;
    this.camera.zoom = 1;
    this.camera.updateProjectionMatrix();
  }

  /** Leave the wall and floor out where the real room is seen. */
  showRoom(passthrough) {
    this.backdrop.object.visible = !passthrough;
  }

  #frame(time, frame) {
    const now = performance.now(), seconds = (now - this.drawnAt) / 1000;
    this.drawnAt = now;
    if (!this.renderer.xr.isPresenting) {
      this.#attempt(() => this.#fit());
      this.orbit.update(seconds);
    }
    for (const step of this.beforeDrawing) this.#attempt(() => step(time, frame, seconds));
    this.#attempt(() => this.renderer.render(this.scene, this.camera));
    this.frames++;
    for (const step of this.afterDrawing) this.#attempt(() => step(time, frame, seconds));
  }

  /** An error in one step must not take the others, or the session, with it. */
  #attempt(step) {
    try {
      step();
    } catch (error) {
      const text = String(error?.message ?? error);
      if (this.reported.has(text)) return;
      this.reported.add(text);
      console.error(error);
      this.report(text);
    }
  }

  #fit() {
    const canvas = this.renderer.domElement;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const fits = canvas.width === Math.floor(width * ratio) && canvas.height === Math.floor(height * ratio);
    if (fits || !width || !height) return;
    this.renderer.setPixelRatio(ratio);
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
  }
}
