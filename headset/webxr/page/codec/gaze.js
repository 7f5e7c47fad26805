// Where eyes look, and how their balls turn for it: avatar/eye_balls.py. Two unit vectors in the
// head frame, left eye first; angles are yaw to the person's left and pitch up.

import { clamped, multiplied } from "./rigid.js";

export const STRAIGHT = Float32Array.of(0, 0, 1, 0, 0, 1);
const OUTWARDS = (4 * Math.PI) / 180; // by which a pupil's axis stands outside the line of sight

export function gazeAngles(gaze) {
  return [0, 3].flatMap((k) => [
    Math.atan2(gaze[k], gaze[k + 2]),
    Math.asin(clamped(gaze[k + 1], -1, 1)),
  ]);
}

export function gazeOf(angles) {
  const gaze = new Float32Array(6);
  for (let eye = 0; eye < 2; eye++) {
    const [yaw, pitch] = angles.slice(2 * eye);
    gaze[3 * eye] = Math.sin(yaw) * Math.cos(pitch);
    gaze[3 * eye + 1] = Math.sin(pitch);
    gaze[3 * eye + 2] = Math.cos(yaw) * Math.cos(pitch);
  }
  return gaze;
}

// Nine numbers: the turn of the left (0) or right (1) ball.
export function ballRotation(gaze, eye) {
  const angle = eye === 0 ? OUTWARDS : -OUTWARDS;
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  const [x, y, z] = gaze.subarray(3 * eye, 3 * eye + 3);
  const level = Math.max(Math.hypot(x, z), 1e-6);
  const [sine, cosine] = [x / level, z / level];
  const looking = [cosine, -sine * y, x, 0, level, y, -sine, -cosine * y, z];
  return multiplied(looking, [c, 0, s, 0, 1, 0, -s, 0, c]);
}
