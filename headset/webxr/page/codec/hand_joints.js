// What a hand's 21 joints are made of, and the bones that they mean: streams/hand_skeleton.py.
// Joints are in MediaPipe's order, metres.

import { OPENXR_BONES } from "./hand_bones.js";
import { added, at, cross, dot, length, matrixOfAxes, minus, multiplied, scaled, turned, turnedBack, unit } from "./rigid.js"; // prettier-ignore

const SPREAD_SIGN_RIGHT = [-1, -1, -1, 1, 1];
const FINGERS = [0, 1, 2, 3, 4];

// (5) frames [right, up, forward] of the fingers whose base joints are `bases` (5, 3), wrist frame.
function baseFrames(bases, side, thumbRoll) {
  const sign = side === "right" ? 1 : -1;
  return FINGERS.map((finger) => {
    const back = finger ? [0, 1, 0] : [-Math.sin(thumbRoll) * sign, Math.cos(thumbRoll), 0];
    const forward = unit(at(bases, finger));
    const right = unit(cross(forward, back));
    return [right, cross(right, forward), forward];
  });
}

// A frame turned by `spread` forward to right about up, then by `flexion` forward to down.
function bent([right, up, forward], spread, flexion) {
  const [cs, ss, cf, sf] = [Math.cos(spread), Math.sin(spread), Math.cos(flexion), Math.sin(flexion)];
  const ahead = minus(scaled(forward, cf), scaled(up, sf));
  const above = added(scaled(forward, sf), scaled(up, cf));
  return [
    minus(scaled(right, cs), scaled(ahead, ss)),
    above,
    added(scaled(right, ss), scaled(ahead, cs)),
  ];
}

// Forward kinematics in the wrist frame: bases (5, 3), bones (5, 3), angles (5, 4), sideways (5, 2)
// -> 21 three-vectors.
export function jointsOf({ bases, bones, angles, sideways }, side, thumbRoll) {
  const joints = [[0, 0, 0]];
  const hand = side === "right" ? 1 : -1;
  baseFrames(bases, side, thumbRoll).forEach((base, finger) => {
    const sign = SPREAD_SIGN_RIGHT[finger] * hand;
    const frame = bent(base, angles[4 * finger] * sign, angles[4 * finger + 1]);
    let place = at(bases, finger);
    joints.push(place);
    let flexion = 0;
    for (let k = 0; k < 3; k++) {
      if (k) flexion += angles[4 * finger + k + 1];
      const aside = k ? sideways[2 * finger + k - 1] * sign : 0;
      place = added(place, scaled(bent(frame, aside, flexion)[2], bones[3 * finger + k]));
      joints.push(place);
    }
  });
  return joints;
}

// The wrist's frame {rotation, xyz} of 21 joints; null when wrist and knuckles are on a line, which
// gives no back of the hand.
export function wristFrame(joints, side) {
  let z = minus(joints[0], joints[9]);
  let across = scaled(minus(joints[17], joints[5]), side === "right" ? 1 : -1);
  const size = length(z);
  if (!(size > 1e-6)) return null;
  z = scaled(z, 1 / size);
  across = minus(across, scaled(z, dot(across, z)));
  const width = length(across);
  if (!(width > 1e-3 * size)) return null;
  const x = scaled(across, 1 / width);
  return { rotation: matrixOfAxes(x, cross(z, x), z), xyz: joints[0] };
}

// OpenXR's 26 bones of 21 joints: {rotations: matrices, -z along the bone and +y out of the back of
// the finger, positions}; null as `wristFrame`.
export function openxrBones(joints, side, { thumb_roll: thumbRoll, metacarpal_base: carpus }) {
  const frame = wristFrame(joints, side);
  if (!frame) return null;
  const local = joints.map((joint) => turnedBack(frame.rotation, minus(joint, frame.xyz)));
  const positions = [];
  OPENXR_BONES.forEach((bone, k) => {
    positions[bone] = local[k];
  });
  const ahead = [];
  const beside = [];
  baseFrames(FINGERS.flatMap((finger) => local[1 + 4 * finger]), side, thumbRoll).forEach(
    (base, finger) => {
      const bones = OPENXR_BONES.slice(1 + 4 * finger, 5 + 4 * finger);
      const ways = [0, 1, 2].map((k) => unit(minus(positions[bones[k + 1]], positions[bones[k]])));
      const [right, up, forward] = base;
      const spread = Math.asin(Math.min(Math.max(dot(ways[0], right), -1), 1));
      const flexion = Math.atan2(-dot(ways[0], up), dot(ways[0], forward));
      const [hinge] = bent(base, spread, flexion);
      bones.forEach((bone, k) => {
        ahead[bone] = ways[Math.min(k, 2)];
        beside[bone] = hinge;
      });
      if (finger) {
        const metacarpal = bones[0] - 1;
        positions[metacarpal] = local[1 + 4 * finger].map((n, axis) => n * carpus[axis]);
        ahead[metacarpal] = minus(positions[bones[0]], positions[metacarpal]);
        beside[metacarpal] = right;
      }
    },
  );
  positions[0] = scaled(added(positions[11], positions[12]), 0.5);
  ahead[0] = minus(positions[12], positions[11]);
  ahead[1] = [0, 0, -1];
  beside[0] = beside[1] = [1, 0, 0];
  return {
    rotations: ahead.map((way, bone) => multiplied(frame.rotation, facing(way, beside[bone]))),
    positions: positions.map((place) => added(turned(frame.rotation, place), frame.xyz)),
  };
}

function facing(direction, right) {
  const z = scaled(unit(direction), -1);
  const x = unit(minus(right, scaled(z, dot(right, z))));
  return matrixOfAxes(x, cross(z, x), z);
}
