// What the wearer points with: hands, controllers, and the short-lived pointers of a headset that
// only tells where a pinch began (visionOS). Poses may be missing at any time.

import { Matrix4, Quaternion, Vector3 } from "./vendor/three.module.min.js";

export const JOINTS = 25;
const THUMB_TIP = 4, INDEX_TIP = 9, WRIST = 0;
const PINCH_BEGINS_M = 0.016, PINCH_ENDS_M = 0.030;

/** A hand as WebXR gives it, or null when it is not wholly seen. */
function readHand(frame, hand, space, before) {
  const joints = before?.joints ?? new Float32Array(3 * JOINTS);
  const radii = before?.radii ?? new Float32Array(JOINTS);
  const wrist = before?.wrist ?? new Matrix4();
  let i = 0;
  for (const joint of hand.values()) {
    if (i >= JOINTS) break;
    const pose = frame.getJointPose?.(joint, space);
    if (!pose) return null;
    const { x, y, z } = pose.transform.position;
    if (!Number.isFinite(x + y + z)) return null;
    joints.set([x, y, z], 3 * i);
    radii[i] = pose.radius || 0.008;
    if (i === WRIST) wrist.fromArray(pose.transform.matrix);
    i++;
  }
  return i === JOINTS ? { joints, radii, wrist } : null;
}

/** One thing that points, over all frames in which its input source lives. */
class Pointer {
  constructor(source) {
    this.source = source;
    this.handedness = source.handedness;
    this.kind = source.hand ? "hand" : source.targetRayMode;
    this.selecting = false;
    this.pressed = false;
    this.began = false; // pressed in this frame and not in the one before
    this.hand = null;
    this.seen = false;
    /** Where it grabs (stage), and along what it points; each null when not known. */
    this.grip = null;
    this.ray = null;
  }

  update(frame, space, attentive) {
    const { source } = this;
    const pose = source.targetRaySpace && frame.getPose(source.targetRaySpace, space);
    this.ray = pose ? (this.rayStore ??= new Matrix4()).fromArray(pose.transform.matrix) : null;
    let pressed = this.selecting;
    if (source.hand) {
      this.hand = readHand(frame, source.hand, space, this.handStore);
      this.handStore = this.hand ?? this.handStore;
      this.grip = this.hand ? this.#pinchPlace() : null;
      const apart = this.hand ? this.apart : Infinity;
      pressed = apart < (this.pressed ? PINCH_ENDS_M : PINCH_BEGINS_M);
    } else {
      const grip = source.gripSpace && frame.getPose(source.gripSpace, space);
      this.grip = grip ? (this.gripStore ??= new Matrix4()).fromArray(grip.transform.matrix) : null;
      if (this.kind === "tracked-pointer")
        pressed ||= Boolean(source.gamepad?.buttons?.some((button, i) => i < 2 && button.pressed));
    }
    this.seen = Boolean(this.grip || this.ray);
    pressed = pressed && attentive && this.seen;
    this.began = pressed && !this.pressed;
    this.pressed = pressed;
  }

  /** Between thumb and index finger, turned like the wrist. */
  #pinchPlace() {
    const { joints, wrist } = this.hand;
    TIP.fromArray(joints, 3 * INDEX_TIP);
    THUMB.fromArray(joints, 3 * THUMB_TIP);
    this.apart = TIP.distanceTo(THUMB);
    const place = (this.gripStore ??= new Matrix4());
    wrist.decompose(IGNORED, TURN, SIZE);
    return place.compose(TIP.add(THUMB).multiplyScalar(0.5), TURN, ONE);
  }
}

const TIP = new Vector3(), THUMB = new Vector3(), IGNORED = new Vector3();
const SIZE = new Vector3(), ONE = new Vector3(1, 1, 1), TURN = new Quaternion();

export class Pointers {
  constructor() {
    this.all = new Map(); // XRInputSource -> Pointer
  }

  /** Listen to the presses of a session that begins. */
  attach(session) {
    this.all.clear();
    for (const [name, selecting] of [["selectstart", true], ["selectend", false]])
      session.addEventListener(name, ({ inputSource }) => {
        this.#of(inputSource).selecting = selecting;
      });
  }

  #of(source) {
    let pointer = this.all.get(source);
    if (!pointer) this.all.set(source, (pointer = new Pointer(source)));
    return pointer;
  }

  /** Read everything for a frame; `attentive`: whether the session gets the wearer's input. */
  update(session, frame, space, attentive) {
    const sources = new Set(session.inputSources ?? []);
    for (const source of this.all.keys()) if (!sources.has(source)) this.all.delete(source);
    for (const source of sources) this.#of(source).update(frame, space, attentive);
  }

  clear() {
    this.all.clear();
  }

  /** The hand of a side ("left", "right"), or null. */
  hand(side) {
    for (const pointer of this.all.values())
      if (pointer.hand && pointer.handedness === side) return pointer.hand;
    return null;
  }

  *[Symbol.iterator]() {
    yield* this.all.values();
  }
}
