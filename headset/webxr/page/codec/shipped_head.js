// The head of an avatar that ships, from a code: avatar/codec.py and avatar/decoder.py. Two small
// networks give the coefficients of linear bases.

import { Network } from "./network.js";
import { addRows, sizedRows } from "./weighted_rows.js";
import { DecoderFileError } from "./tensor_file.js";

const CHART_GRID = 12; // nodes along a side of the face's chart, the corner of the atlas' grid

export class ShippedHead {
  constructor(file, placement, [rows, columns], planes) {
    const { geometry, appearance } = file.about;
    if (rows < CHART_GRID || columns < CHART_GRID) {
      throw new DecoderFileError(`decoder file: grid: expected ${CHART_GRID} nodes a side and more`);
    }
    this.placement = placement;
    this.person = file.array("own.person", "F32", [null]);
    this.basis = sizedRows(file, "own.shape_basis", [null, 3 * placement.moving.length]);
    const [shapes] = file.shape("own.shape_basis");
    const who = this.person.length;
    this.shape = new Network(file, "own.shape", geometry + who, shapes);
    this.field = new Network(file, "own.colour", appearance + 3 + who, CHART_GRID ** 2 * planes);
    [this.rows, this.columns, this.planes] = [rows, columns, planes];
    this.appearance = appearance;
    this.face = placement.faceRest.slice();
  }

  // Of these avatars all appearance is sent.
  expected() {
    return new Float32Array(this.appearance);
  }

  place(code, vertices, normals) {
    this.face.set(this.placement.faceRest);
    const coefficients = this.shape.of(Float32Array.of(...code.geometry, ...this.person));
    addRows(this.face, coefficients, this.basis);
    this.placement.place(this.face, code.gaze, code.worldFromHead, vertices, normals);
  }

  colour(code, towards) {
    const { columns, planes, rows } = this;
    const found = this.field.of(Float32Array.of(...code.appearance, ...towards, ...this.person));
    const nodes = new Float32Array(rows * columns * planes);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        // The outer nodes go on beyond the chart.
        const from = Math.min(row, CHART_GRID - 1) * CHART_GRID + Math.min(column, CHART_GRID - 1);
        nodes.set(
          found.subarray(from * planes, (from + 1) * planes),
          (row * columns + column) * planes,
        );
      }
    }
    return { nodes, gain: Float32Array.of(1, 1, 1) };
  }
}
