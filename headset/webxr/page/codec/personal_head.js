// A real person's head from a code: avatar/personal_decoder.py's NumpyDecoder, avatar/driving.py's
// OwnDriving and avatar/personal_model.py. All of it is linear but the kernel of the expectation.

import { gazeAngles, gazeOf } from "./gaze.js";
import { rotationVector } from "./rigid.js";
import { DecoderFileError } from "./tensor_file.js";
import { addRows, sizedRows } from "./weighted_rows.js";

const GAINS = 3; // the first appearance numbers are logarithms of the exposure's gains
const FAR = 3; // standard deviations at which an input is held

export class PersonalHead {
  // `placement` as HeadPlacement; `grid` [rows, columns], `planes` K of the texture basis.
  constructor(file, placement, grid, planes) {
    const { geometry, appearance } = file.about;
    const inputs = 10 + geometry;
    const read = (name, ...shape) => file.array(`own.${name}`, "F32", shape);
    this.placement = placement;
    this.moves = sizedRows(file, "own.moves", [geometry, null, 3]);
    this.moved = this.moves.length / geometry;
    this.glasses = file.has("own.glasses_moves") ? read("glasses_moves", null, null, 3) : null;
    this.glassesNumbers = this.glasses ? file.shape("own.glasses_moves")[0] : 0;
    this.face = placement.faceRest.slice();
    const worn = this.glasses ? this.glasses.length / this.glassesNumbers : 0;
    if (this.moved + worn !== this.face.length) {
      throw new DecoderFileError("decoder file: own.moves: expected those of head.moving");
    }
    this.gazeMap = read("gaze_map", 5, 4);
    [this.rows, this.columns] = grid;
    this.planes = planes;
    this.active = file.indices("own.active", [null], this.rows * this.columns);
    const nodes = this.active.length * planes;
    this.nodeRest = read("node_rest", nodes);
    this.nodeMoves = sizedRows(file, "own.node_moves", [appearance - GAINS, nodes]);
    this.nodeView = read("node_view", 3, nodes);
    this.viewRest = read("view_rest", 3);
    this.gainSigma = read("gain_sigma", 3);
    this.ownRest = read("own_rest", appearance);
    this.ownMap = sizedRows(file, "own.own_map", [inputs, appearance]);
    this.points = sizedRows(file, "own.own_points", [null, inputs]);
    this.pointMap = sizedRows(file, "own.own_point_map", [this.points.length / inputs, appearance]);
    this.metric = read("own_metric", inputs);
    this.centre = read("own_centre", inputs);
    this.scale = read("own_scale", inputs);
  }

  // (A,) the appearance that head, geometry and gaze let expect.
  expected(worldFromHead, geometry, gaze) {
    const { centre, metric, points, scale } = this;
    const drivers = [
      ...rotationVector(worldFromHead.wxyz), ...worldFromHead.xyz, ...geometry, ...gazeAngles(gaze),
    ]; // prettier-ignore
    const inputs = Float32Array.from(drivers, (n, k) => {
      const standard = Math.fround(Math.fround(n) - centre[k]) / scale[k];
      return Math.min(Math.max(standard, -FAR), FAR);
    });
    // How near the remembered moments are: a Matern 1/2 kernel.
    const near = new Float32Array(points.length / inputs.length);
    for (let c = 0; c < near.length; c++) {
      let square = 0;
      for (let k = 0; k < inputs.length; k++) {
        const off = (inputs[k] - points[c * inputs.length + k]) * metric[k];
        square += off * off;
      }
      near[c] = Math.exp(-Math.sqrt(square));
    }
    const appearance = this.ownRest.slice();
    addRows(appearance, inputs, this.ownMap);
    addRows(appearance, near, this.pointMap);
    return appearance;
  }

  // The head of a code into vertices and normals, in the world.
  place(code, vertices, normals) {
    const { face, moved } = this;
    face.set(this.placement.faceRest);
    addRows(face.subarray(0, moved), code.geometry, this.moves);
    if (this.glasses) {
      const numbers = code.appearance.subarray(GAINS, GAINS + this.glassesNumbers);
      addRows(face.subarray(moved), numbers, this.glasses);
    }
    const angles = [...gazeAngles(code.gaze), 1];
    const mapped = [0, 1, 2, 3].map((k) => {
      return angles.reduce((sum, angle, row) => sum + angle * this.gazeMap[4 * row + k], 0);
    });
    this.placement.place(face, gazeOf(mapped), code.worldFromHead, vertices, normals);
  }

  // {nodes (rows, columns, K), gain (3,)} for the unit direction from the head to the eye.
  colour(code, towards) {
    const flat = this.nodeRest.slice();
    addRows(flat, code.appearance.subarray(GAINS), this.nodeMoves);
    addRows(flat, towards.map((n, k) => n - this.viewRest[k]), this.nodeView);
    const { active, planes } = this;
    const nodes = new Float32Array(this.rows * this.columns * planes);
    for (let k = 0; k < active.length; k++) {
      nodes.set(flat.subarray(k * planes, (k + 1) * planes), active[k] * planes);
    }
    const gain = this.gainSigma.map((sigma, k) => {
      return Math.exp(Math.min(Math.max(code.appearance[k] * sigma, -1), 1));
    });
    return { nodes, gain };
  }
}
