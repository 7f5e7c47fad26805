// A row of whole numbers as an avatar's code: avatar/code_numbers.py.
//
// A code is {tMs, geometry, appearance: Float32Array, gaze: Float32Array(6), worldFromHead: {wxyz,
// xyz} | null, hands: [{side, joints: Float32Array(63), worldFromWrist, confidence}], origin}.

import { STRAIGHT, gazeOf } from "./gaze.js";
import { jointsOf } from "./hand_joints.js";
import { APPEARANCE, FACE, FINE, GAZE, HAND, POSE, SHAPE, SIDES } from "./packet_format.js";
import { added, clamped, matrixOf, turned, unit } from "./rigid.js";
import { DecoderFileError } from "./tensor_file.js";

export class CodeNumbers {
  // `expected(worldFromHead, geometry, gaze)` gives the appearance (A,) that these let expect.
  constructor(file, format, expected) {
    const { starts } = format;
    this.starts = starts;
    this.geometry = starts[FACE + 1] - POSE - GAZE;
    this.appearance = starts[APPEARANCE + 1] - starts[APPEARANCE];
    const hands = [1, 2].every((group) => starts[group + 1] - starts[group] === HAND + SHAPE);
    if (this.geometry !== file.about.geometry || this.appearance !== file.about.appearance || !hands) {
      throw new DecoderFileError("decoder file: groups: expected those of a face and two hands");
    }
    this.faceScale = file.array("numbers.face_scale", "F64", [POSE + GAZE + this.geometry]);
    this.handScale = file.array("numbers.hand_scale", "F64", [HAND + SHAPE]);
    this.handSizes = file.array("numbers.hand_sizes", "F64", [2, SHAPE]);
    this.thumbRoll = Number(file.about.hand?.thumb_roll);
    this.expected = expected;
  }

  // Of a moment as BitstreamDecoder gives it.
  codeOf({ tMs, row, known, origin }) {
    let geometry = new Float32Array(this.geometry);
    let appearance = new Float32Array(this.appearance);
    let gaze = STRAIGHT;
    let worldFromHead = null;
    if (known[FACE]) {
      const numbers = this.scaled(row, FACE, this.faceScale);
      worldFromHead = poseOf(numbers);
      gaze = gazeOf(Array.from(numbers.subarray(POSE, POSE + GAZE), (n) => clamped(n, -1.5, 1.5)));
      geometry = Float32Array.from(numbers.subarray(POSE + GAZE));
      appearance = this.expected(worldFromHead, geometry, gaze);
      if (known[APPEARANCE]) {
        const start = this.starts[APPEARANCE];
        for (let k = 0; k < this.appearance; k++) appearance[k] += row[start + k] / FINE;
      }
    }
    const hands = SIDES.filter((_, k) => known[1 + k]).map((side) => this.handOf(row, side));
    return { tMs, geometry, appearance, gaze, worldFromHead, hands, origin };
  }

  scaled(row, group, scale) {
    const start = this.starts[group];
    return Float64Array.from(scale, (n, k) => row[start + k] / n);
  }

  handOf(row, side) {
    const k = SIDES.indexOf(side);
    const numbers = this.scaled(row, 1 + k, this.handScale);
    const sizes = numbers.slice(HAND).map((n, i) => n + this.handSizes[SHAPE * k + i]);
    const worldFromWrist = poseOf(numbers);
    const parts = {
      bases: sizes.subarray(0, 15),
      bones: sizes.slice(15).map((n) => Math.max(n, 1e-3)),
      angles: numbers.subarray(POSE, POSE + 20),
      sideways: numbers.subarray(POSE + 20, HAND - 1),
    };
    const rotation = matrixOf(worldFromWrist.wxyz);
    const joints = jointsOf(parts, side, this.thumbRoll).flatMap((joint) =>
      added(turned(rotation, joint), worldFromWrist.xyz),
    );
    return {
      side,
      joints: Float32Array.from(joints),
      worldFromWrist,
      confidence: clamped(numbers[HAND - 1], 0, 1),
    };
  }
}

function poseOf(numbers) {
  const wxyz = Array.from(numbers.subarray(0, 4));
  // Hostile or lost: no rotation can be meant.
  const none = Math.hypot(...wxyz) < 0.01;
  return { wxyz: none ? [1, 0, 0, 0] : unit(wxyz), xyz: Array.from(numbers.subarray(4, POSE)) };
}
