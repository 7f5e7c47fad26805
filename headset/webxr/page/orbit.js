// The camera of a screen without a headset: drag to go round, pinch or wheel to come near.

import { Vector3 } from "./vendor/three.module.min.js";

const NEAREST_M = 0.25, FARTHEST_M = 4;
const RADIANS_A_PIXEL = 0.006;
const STEEPEST = 1.2; // radians up or down
const LOOSE_PER_S = 12; // how fast the camera follows the hand

export class Orbit {
  constructor(element, camera, target) {
    this.camera = camera;
    this.target = target.clone();
    this.wanted = { yaw: 0, pitch: 0.02, distance: 0.8 };
    this.now = { ...this.wanted };
    this.fingers = new Map();
    element.style.touchAction = "none";
    element.addEventListener("pointerdown", (event) => this.#down(element, event));
    element.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"])
      element.addEventListener(name, (event) => this.fingers.delete(event.pointerId));
    element.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.#approach(Math.exp(event.deltaY * 0.001));
    }, { passive: false });
    element.addEventListener("dblclick", () => this.reset());
  }

  reset() {
    this.wanted = { yaw: 0, pitch: 0.02, distance: 0.8 };
  }

  /** Look at another place (metres); the camera glides there. */
  lookAt(target) {
    this.target.copy(target);
  }

  #down(element, event) {
    element.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  }

  #move(event) {
    const finger = this.fingers.get(event.pointerId);
    if (!finger) return;
    const before = this.#spread();
    const dx = event.clientX - finger.x, dy = event.clientY - finger.y;
    finger.x = event.clientX;
    finger.y = event.clientY;
    if (this.fingers.size === 1) {
      this.wanted.yaw -= dx * RADIANS_A_PIXEL;
      const pitch = this.wanted.pitch + dy * RADIANS_A_PIXEL;
      this.wanted.pitch = Math.max(-STEEPEST, Math.min(STEEPEST, pitch));
    } else if (before > 0) {
      this.#approach(before / Math.max(1, this.#spread()));
    }
  }

  #spread() {
    if (this.fingers.size < 2) return 0;
    const [a, b] = [...this.fingers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  }

  #approach(factor) {
    const distance = this.wanted.distance * factor;
    this.wanted.distance = Math.max(NEAREST_M, Math.min(FARTHEST_M, distance));
  }

  /** Place the camera; `seconds` since the last time. */
  update(seconds) {
    const share = 1 - Math.exp(-LOOSE_PER_S * Math.min(seconds, 0.1));
    for (const name of Object.keys(this.now))
      this.now[name] += (this.wanted[name] - this.now[name]) * share;
    const { yaw, pitch, distance } = this.now;
    // A tall screen shows a narrow strip: from farther away the shoulders still fit.
    const back = distance * Math.max(1, 0.8 / this.camera.aspect);
    OFFSET.set(Math.sin(yaw) * Math.cos(pitch), Math.sin(pitch), Math.cos(yaw) * Math.cos(pitch));
    this.camera.position.copy(this.target).addScaledVector(OFFSET, back);
    this.camera.lookAt(this.target);
  }
}

const OFFSET = new Vector3();
