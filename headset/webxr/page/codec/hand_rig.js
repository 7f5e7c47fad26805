// From a hand's 21 joints to its vertices: avatar/hand_rig.py.

import { BONES, FOREARM, METACARPALS, OPENXR_BONES, PALM_JOINTS, SLEEVE_END, WRIST } from "./hand_bones.js"; // prettier-ignore
import { openxrBones } from "./hand_joints.js";
import { SIDES } from "./packet_format.js";
import {
  added, at, clamped, cross, dot, length, matrixOf, minus, multiplied, quaternionOf, scaled,
  transposed, turned, turnedBack, unit,
} from "./rigid.js"; // prettier-ignore
import { DecoderFileError } from "./tensor_file.js";

const NUMBERS = [
  "sleeve_m", "least_sleeve_m", "wrist_flexion", "wrist_deviation", "follow", "stretch", "thumb_roll",
]; // prettier-ignore
const EYE = [1, 0, 0, 0, 1, 0, 0, 0, 1];

export class HandRig {
  constructor(file) {
    this.options = file.about.hand;
    const carpus = this.options?.metacarpal_base;
    const numbers = NUMBERS.map((name) => this.options?.[name]);
    const whole = Array.isArray(carpus) && carpus.length === 3 && [...numbers, ...carpus].every(Number.isFinite);
    if (!whole) {
      throw new DecoderFileError(`decoder file: hand: expected numbers ${NUMBERS.join(", ")} and metacarpal_base`);
    }
    this.vertices = file.array("hand.vertices", "F32", [null, 3]);
    this.count = this.vertices.length / 3;
    this.normals = file.array("hand.normals", "F32", [this.count, 3]);
    this.shares = file.array("hand.shares", "F32", [null]);
    this.bones = file.array("hand.bones", "U8", [this.shares.length]);
    this.starts = file.indices("hand.starts", [this.count + 1], this.shares.length + 1);
    if (this.bones.some((bone) => bone >= BONES)) {
      throw new DecoderFileError(`decoder file: hand.bones: expected bones below ${BONES}`);
    }
    this.spanEnds = ["hand.span_starts", "hand.span_ends"].map((name) => file.indices(name, [null], 21));
    const spans = this.spanEnds[0].length;
    const read = (name, ...shape) => {
      const both = file.array(`hand.${name}`, "F64", [2, ...shape]);
      return [both.slice(0, both.length / 2), both.slice(both.length / 2)];
    };
    const parts = {
      rotations: read("rotations", BONES, 3, 3),
      origins: read("origins", BONES, 3),
      joints: read("joints", 21, 3),
      spans: read("spans", spans),
      metacarpals: read("metacarpal_lengths", 4),
      lengths: read("bone_lengths", 5, 3),
      elbow: read("elbow", 3),
    };
    this.sides = Object.fromEntries(
      SIDES.map((side, k) => [
        side,
        Object.fromEntries(Object.entries(parts).map(([name, both]) => [name, both[k]])),
      ]),
    );
  }

  // Write `hand`'s vertices and normals, world frame, at vertex `start`; false when its joints are
  // no hand. `elbow`: where the forearm points to, or null.
  pose(hand, elbow, vertices, normals, start) {
    const side = this.sides[hand.side];
    const posed = this.posedBones(side, hand, elbow);
    if (!posed) return false;
    const blend = new Float64Array(BONES * 21);
    for (let bone = 0; bone < BONES; bone++) {
      const rest = transposed(side.rotations.subarray(9 * bone, 9 * bone + 9));
      const rotation = posed.rotations[bone];
      const size = posed.sizes[bone];
      const linear = multiplied(rotation.map((n, k) => n * size[k % 3]), rest);
      blend.set(linear, 21 * bone);
      blend.set(minus(posed.origins[bone], turned(linear, at(side.origins, bone))), 21 * bone + 9);
      blend.set(multiplied(rotation, rest), 21 * bone + 12);
    }
    this.skin(blend, hand.side === "right" ? -1 : 1, vertices, normals, 3 * start);
    return true;
  }

  // `blend` (28, 21): what moves points (3, 3), where to (3), what turns normals (3, 3); `mirror`:
  // -1 for a right hand, whose rest is the left one's mirror image.
  skin(blend, mirror, vertices, normals, to) {
    const { shares, bones, starts } = this;
    const sum = new Float64Array(21);
    for (let v = 0; v < this.count; v++) {
      sum.fill(0);
      for (let k = starts[v]; k < starts[v + 1]; k++) {
        const share = shares[k];
        const from = 21 * bones[k];
        for (let n = 0; n < 21; n++) sum[n] += share * blend[from + n];
      }
      const [x, y, z] = [mirror * this.vertices[3 * v], this.vertices[3 * v + 1], this.vertices[3 * v + 2]];
      const [a, b, c] = [mirror * this.normals[3 * v], this.normals[3 * v + 1], this.normals[3 * v + 2]];
      const p = sum[12] * a + sum[13] * b + sum[14] * c;
      const q = sum[15] * a + sum[16] * b + sum[17] * c;
      const r = sum[18] * a + sum[19] * b + sum[20] * c;
      const size = 1 / Math.max(Math.sqrt(p * p + q * q + r * r), 1e-20);
      const out = to + 3 * v;
      for (let row = 0; row < 3; row++) {
        vertices[out + row] = sum[3 * row] * x + sum[3 * row + 1] * y + sum[3 * row + 2] * z + sum[9 + row];
      }
      normals[out] = p * size;
      normals[out + 1] = q * size;
      normals[out + 2] = r * size;
    }
  }

  // {rotations, origins, sizes} of 28 bones; null when the joints are no hand.
  posedBones(side, hand, elbow) {
    const { joints, scale } = this.fitted(side, hand);
    const drawn = openxrBones(joints, hand.side, this.options);
    if (!drawn) return null;
    const { rotations, positions: origins } = drawn;
    const wrist = rotations[WRIST];
    const place = origins[WRIST];
    const target = elbow && turnedBack(wrist, minus(elbow, place));
    const bend = target ? this.bend(Array.from(side.elbow), target) : EYE;
    const arm = multiplied(wrist, bend);
    const forearm = multiplied(arm, side.rotations.subarray(9 * FOREARM, 9 * FOREARM + 9));
    rotations[FOREARM] = rotations[SLEEVE_END] = forearm;
    const reach = length(at(side.origins, SLEEVE_END)) + this.options.sleeve_m - this.options.least_sleeve_m;
    origins[FOREARM] = place;
    origins[SLEEVE_END] = added(place, scaled(turned(arm, side.elbow), scale * reach));
    const sizes = rotations.map(() => [scale, scale, scale]);
    for (let finger = 0; finger < 5; finger++) {
      for (let k = 0; k < 3; k++) {
        const joint = 1 + 4 * finger + k;
        const span = length(minus(joints[joint + 1], joints[joint]));
        sizes[OPENXR_BONES[joint]][2] = span / side.lengths[3 * finger + k];
      }
    }
    return { rotations, origins, sizes };
  }

  // The drawn hand's joints, which follow the tracked ones as closely as its lengths allow.
  fitted(side, hand) {
    const tracked = Array.from({ length: 21 }, (_, k) => at(hand.joints, k));
    const spans = Array.from(this.spanEnds[0], (start, k) => {
      return length(minus(tracked[this.spanEnds[1][k]], tracked[start])) / side.spans[k];
    }).sort((a, b) => a - b);
    const half = spans.length >> 1;
    const scale = spans.length % 2 ? spans[half] : (spans[half - 1] + spans[half]) / 2;
    const rotation = matrixOf(hand.worldFromWrist.wxyz).map((n) => n * scale);
    const joints = tracked.map((_, k) => turned(rotation, at(side.joints, k)));
    let shift = [0, 0, 0];
    for (const k of PALM_JOINTS) shift = added(shift, scaled(minus(tracked[k], joints[k]), 0.2));
    for (let k = 0; k < 21; k++) joints[k] = added(joints[k], shift);
    PALM_JOINTS.slice(1).forEach((knuckle, k) => {
      const begin = added(turned(rotation, at(side.origins, METACARPALS[k])), shift);
      const way = unit(minus(tracked[knuckle], begin));
      joints[knuckle] = added(begin, scaled(way, scale * side.metacarpals[k]));
    });
    const { follow, stretch } = this.options;
    for (let finger = 0; finger < 5; finger++) {
      for (let k = 0; k < 3; k++) {
        const joint = 1 + 4 * finger + k;
        const source = added(tracked[joint], scaled(minus(joints[joint], tracked[joint]), follow));
        const ahead = minus(tracked[joint + 1], source);
        const size = length(ahead);
        const usual = scale * side.lengths[3 * finger + k];
        const wanted = clamped(size, (1 - stretch) * usual, (1 + stretch) * usual);
        joints[joint + 1] = added(joints[joint], scaled(ahead, wanted / Math.max(size, 1e-9)));
      }
    }
    return { joints, scale };
  }

  // The turn of the forearm from `rest` towards `target`, wrist frame, as far as a wrist bends.
  bend(rest, target) {
    const size = length(target);
    if (size < 1e-6) return EYE;
    const axis = cross(rest, scaled(target, 1 / size));
    const sine = length(axis);
    const angle = Math.atan2(sine, dot(rest, target) / size);
    const turn = scaled(axis, angle / Math.max(sine, 1e-9));
    const { wrist_flexion: flexion, wrist_deviation: deviation } = this.options;
    const excess = Math.hypot(turn[0] / flexion, turn[1] / deviation);
    return matrixOf(quaternionOf(scaled(turn, Math.tanh(excess) / Math.max(excess, 1e-9))));
  }
}

// Where the elbow of an upright adult is likely to be, world frame.
export function guessElbow(worldFromHead, hand) {
  const outwards = hand.side === "left" ? 1 : -1;
  const rotation = matrixOf(worldFromHead.wxyz);
  let ahead = [rotation[2], 0, rotation[8]];
  ahead = scaled(ahead, 1 / Math.max(length(ahead), 1e-6));
  const aside = scaled([ahead[2], 0, -ahead[0]], outwards);
  const neck = added(turned(rotation, [0, -0.1, -0.07]), worldFromHead.xyz);
  const shoulder = added(added(neck, scaled(aside, 0.18)), [0, -0.14, 0]);
  const [upper, lower] = [0.29, 0.26];
  const across = minus(at(hand.joints, 0), shoulder);
  const distance = clamped(length(across), 0.1, upper + lower - 0.01);
  const line = unit(across);
  const along = (upper ** 2 - lower ** 2 + distance ** 2) / (2 * distance);
  let pole = minus(added([0, -1, 0], scaled(aside, 0.35)), scaled(ahead, 0.15));
  pole = unit(minus(pole, scaled(line, dot(pole, line))));
  const beside = Math.sqrt(Math.max(upper ** 2 - along ** 2, 0));
  return added(shoulder, added(scaled(line, along), scaled(pole, beside)));
}
