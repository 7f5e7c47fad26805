// The camera of a screen without a headset: drag to go round, pinch or wheel to come near.

import { Vector3 } from "./vendor/three.module.min.js";

const NEAREST_M = 0.25, FARTHEST_M = 4;
const RADIANS_A_PIXEL = 0.006;
const STEEPEST = 1.2; // radians up or down
const SHOULDERS_M = 0.25;
const HEAD_M = 0.16; // of one person beside panels, which may cover the shoulders
const EDGE_M = 0.02;
const LOOSE_PER_S = 12; // how fast the camera follows the hand
const TAP_PX = 6, TAP_MS = 400;

export class Orbit {
  constructor(element, camera, target) {
    this.camera = camera;
    this.target = target.clone();
    this.wanted = { yaw: 0, pitch: 0.02, distance: 0.8 };
    this.now = { ...this.wanted };
    this.halfWidth = 0; // metres about the target that are to be seen, if more than one person's
    this.fingers = new Map();
    /** Called with {origin, direction} of the ray through what was tapped. */
    this.onTap = () => {};
    element.style.touchAction = "none";
    element.addEventListener("pointerdown", (event) => this.#down(element, event));
    element.addEventListener("pointermove", (event) => this.#move(event));
    element.addEventListener("pointerup", (event) => this.#up(element, event));
    element.addEventListener("pointercancel", (event) => this.fingers.delete(event.pointerId));
    element.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.#approach(Math.exp(event.deltaY * 0.001));
    }, { passive: false });
    element.addEventListener("dblclick", () => this.reset());
  }

  reset() {
    this.wanted = { yaw: 0, pitch: 0.02, distance: 0.8 };
  }

  /** Look at everybody: `seats` are their heads' places (metres) and turns about the vertical;
   *  `panels`, {place, width}, lie beside them. */
  frame(seats, panels = []) {
    const middle = new Vector3(), across = new Vector3();
    let yaw = 0;
    for (const seat of seats) {
      middle.addScaledVector(seat.place, 1 / seats.length);
      yaw += seat.yaw / seats.length;
    }
    across.set(Math.cos(yaw), 0, -Math.sin(yaw));
    const shoulders = seats.length > 1 ? SHOULDERS_M : HEAD_M;
    const spans = [
      ...seats.map(({ place }) => [place, shoulders]),
      ...panels.map(({ place, width }) => [place, width / 2 + EDGE_M]),
    ].map(([place, half]) => [across.dot(place) - across.dot(middle), half]);
    const left = Math.min(...spans.map(([at, half]) => at - half));
    const right = Math.max(...spans.map(([at, half]) => at + half));
    const alone = seats.length === 1 && !panels.length;
    this.halfWidth = alone ? 0 : (right - left) / 2;
    middle.addScaledVector(across, (left + right) / 2);
    this.target.set(middle.x, this.target.y, middle.z);
    this.wanted.yaw = yaw;
  }

  #down(element, event) {
    element.setPointerCapture(event.pointerId);
    const { clientX: x, clientY: y } = event;
    this.fingers.set(event.pointerId, { x, y, from: { x, y, at: performance.now() } });
  }

  #up(element, { pointerId, clientX, clientY }) {
    const finger = this.fingers.get(pointerId);
    this.fingers.delete(pointerId);
    if (!finger || this.fingers.size) return;
    const { x, y, at } = finger.from;
    const near = Math.hypot(clientX - x, clientY - y) < TAP_PX;
    if (!near || performance.now() - at > TAP_MS) return;
    const box = element.getBoundingClientRect();
    const across = (2 * (clientX - box.left)) / box.width - 1;
    const up = 1 - (2 * (clientY - box.top)) / box.height;
    const origin = this.camera.getWorldPosition(new Vector3());
    const direction = new Vector3(across, up, 0.5).unproject(this.camera).sub(origin).normalize();
    this.onTap({ origin, direction });
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
    const across = Math.tan(this.camera.fov * Math.PI / 360) * this.camera.aspect;
    const fitted = Math.max(0.8, 0.64 / this.camera.aspect, this.halfWidth / across);
    const back = distance / 0.8 * fitted;
    OFFSET.set(Math.sin(yaw) * Math.cos(pitch), Math.sin(pitch), Math.cos(yaw) * Math.cos(pitch));
    this.camera.position.copy(this.target).addScaledVector(OFFSET, back);
    this.camera.lookAt(this.target);
  }
}

const OFFSET = new Vector3();
