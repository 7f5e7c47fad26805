// A sample of head and hands as a message: the twin of headset/webxr/sample_coding.py.

import { Kind, nanoseconds, packMessage, Part, WireError } from "./messages.js";

const STEPS_PER_M = 1e5;
const COMPONENT = 32767 * Math.SQRT2;
const ANGLE = 32767 / (Math.PI / 2);
const EYES = ["mono", "left", "right"];
const FARTHEST = 2 ** 31 - 1;

const steps = (metres) => {
  const n = Math.round(metres * STEPS_PER_M);
  if (!(Math.abs(n) <= FARTHEST)) throw new WireError("sample: expected positions within 21 km");
  return n;
};

/** Index of the largest component, and the others with it made positive. */
function smallThree(wxyz) {
  let largest = 0;
  for (let k = 1; k < 4; k++) if (Math.abs(wxyz[k]) > Math.abs(wxyz[largest])) largest = k;
  const norm = Math.hypot(...wxyz);
  if (!(norm > 0.5 && norm < 2)) throw new WireError("sample: expected a rotation");
  const sign = (wxyz[largest] < 0 ? -1 : 1) / norm;
  const three = [0, 1, 2, 3].filter((k) => k !== largest);
  return { largest, small: three.map((k) => Math.round(wxyz[k] * sign * COMPONENT)) };
}

function packHead({ wxyz, xyz }) {
  const view = new DataView(new ArrayBuffer(20));
  const { largest, small } = smallThree(wxyz);
  for (let k = 0; k < 3; k++) {
    view.setInt32(4 * k, steps(xyz[k]), true);
    view.setInt16(12 + 2 * k, small[k], true);
  }
  view.setUint16(18, largest, true);
  return new Uint8Array(view.buffer);
}

/** 25 joints -> 156 bytes, or null when one of them is out of range or not tracked. */
function packHand(joints) {
  const view = new DataView(new ArrayBuffer(12 + 144));
  const wrist = [0, 1, 2].map((k) => Math.round(joints[k] * STEPS_PER_M));
  for (let k = 0; k < 3; k++) {
    if (!(Math.abs(wrist[k]) <= FARTHEST)) return null;
    view.setInt32(4 * k, wrist[k], true);
  }
  for (let k = 3; k < 75; k++) {
    const n = Math.round(joints[k] * STEPS_PER_M) - wrist[k % 3];
    if (!(Math.abs(n) <= 32767)) return null;
    view.setInt16(12 + 2 * (k - 3), n, true);
  }
  return new Uint8Array(view.buffer);
}

function packView({ eye, wxyz, xyz, fov, size }) {
  const view = new DataView(new ArrayBuffer(34));
  const { largest, small } = smallThree(wxyz);
  view.setUint8(0, Math.max(0, EYES.indexOf(eye)));
  view.setUint8(1, largest);
  view.setUint16(2, size[0], true);
  view.setUint16(4, size[1], true);
  for (let k = 0; k < 3; k++) {
    view.setInt32(8 + 4 * k, steps(xyz[k]), true);
    view.setInt16(20 + 2 * k, small[k], true);
  }
  for (let k = 0; k < 4; k++) view.setInt16(26 + 2 * k, Math.round(fov[k] * ANGLE), true);
  return new Uint8Array(view.buffer);
}

/** {tMs, head, left, right, views?} (world frame, WebXR's axes) -> a message's bytes. */
export function packSample({ tMs, head, left, right, views }) {
  const sections = [{ kind: Part.HEAD, data: packHead(head) }];
  const hands = [[Part.LEFT_HAND, left], [Part.RIGHT_HAND, right]];
  for (const [kind, joints] of hands) {
    const data = joints ? packHand(joints) : null;
    if (data) sections.push({ kind, data });
  }
  for (const view of (views ?? []).slice(0, 3)) {
    const usable = view.size.every((n) => n >= 1 && n <= 65535);
    if (usable) sections.push({ kind: Part.VIEW, data: packView(view) });
  }
  return packMessage({ kind: Kind.SAMPLE, sections, tNs: nanoseconds(tMs) });
}

/** A VIEW section -> {eye, wxyz, xyz, fov, size}. */
export function parseView(data) {
  if (data.length !== 34) throw new WireError("view: expected 34 bytes");
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const eye = EYES[view.getUint8(0)];
  const largest = view.getUint8(1);
  const three = [0, 1, 2].map((k) => view.getInt16(20 + 2 * k, true) / COMPONENT);
  const left = 1 - three.reduce((sum, n) => sum + n * n, 0);
  if (!eye || largest > 3 || !(left > 0)) throw new WireError("view: expected an eye and a rotation");
  three.splice(largest, 0, Math.sqrt(left));
  return {
    eye,
    wxyz: three,
    xyz: [0, 1, 2].map((k) => view.getInt32(8 + 4 * k, true) / STEPS_PER_M),
    fov: [0, 1, 2, 3].map((k) => view.getInt16(26 + 2 * k, true) / ANGLE),
    size: [view.getUint16(2, true), view.getUint16(4, true)],
  };
}
