// A mesh section -> vertices: the twin of headset/webxr/mesh_coding.py's MeshDecoder, in whose
// docstring the coding is explained.

import { inflated } from "./mesh_description.js";
import { WireError } from "./messages.js";

const HEADER_BYTES = 20;
const SMALL = 3;
const MIDDLING = 255;

export class MeshDecoder {
  constructor(description) {
    this.description = description;
    const count = description.vertexCount;
    this.steps = new Int16Array(3 * count);
    this.lastFrame = null;
    this.residual = new Int16Array(3 * count);
    // One more than there are vertices: a neighbour that none is has no difference.
    this.change = new Int16Array(count + 1);
    this.runs = runsOf(description.pieceOf);
    // In the order of decoding, so that the inner loop reads rows straight on.
    this.rows = [0, 1, 2].map((k) => {
      const row = description.neighbours.subarray(k * count, (k + 1) * count);
      return Uint32Array.from(description.order, (v) => row[v]);
    });
  }

  /** The number of the description that a section is for, without decoding it. */
  static descriptionOf(section) {
    if (section.length < HEADER_BYTES) throw new WireError("mesh: cut off");
    return new DataView(section.buffer, section.byteOffset).getUint32(0, true);
  }

  /** Uint8Array -> Float32Array(3 V) metres, world frame. Raises WireError; then only a key frame
   *  can follow. */
  decode(section, frameId) {
    const { vertexCount: count, pieces } = this.description;
    const start = HEADER_BYTES + 28 * pieces;
    if (section.length < start) throw new WireError("mesh: cut off");
    const view = new DataView(section.buffer, section.byteOffset, section.byteLength);
    const base = view.getUint32(4, true);
    const middling = view.getUint32(12, true);
    const large = view.getUint32(16, true);
    if (view.getUint16(8, true) !== pieces) throw new WireError("mesh: another number of pieces");
    if (base !== 0 && base !== this.lastFrame) {
      throw new WireError(`mesh: a difference to frame ${base}, which was not the last one`);
    }
    if (middling > 3 * count || large > middling) {
      throw new WireError("mesh: more residuals than coordinates");
    }
    this.lastFrame = null;
    this.#readResiduals(section.subarray(start), middling, large);
    if (base === 0) this.steps.set(this.description.rest);
    this.#addChanges();
    this.lastFrame = frameId;
    return this.#placed(view);
  }

  #readResiduals(body, middling, large) {
    const numbers = this.residual.length;
    const packed = (numbers + 3) >> 2;
    const bytes = inflated(body, packed + middling + 2 * large);
    let small = packed;
    let long = packed + middling;
    const end = bytes.length;
    const { residual } = this;
    residual.fill(0);
    for (let k = 0; k < packed; k++) {
      let four = bytes[k];
      for (let i = 4 * k; four !== 0; i++, four >>= 2) {
        let zigzag = four & 3;
        if (zigzag === SMALL) {
          const more = small < packed + middling ? bytes[small] : 0;
          small += 1;
          if (more < MIDDLING) {
            zigzag = SMALL + more;
          } else {
            zigzag = (SMALL + (bytes[long] | (bytes[long + 1] << 8))) & 0xffff;
            long += 2;
          }
        }
        residual[i] = (zigzag >> 1) ^ -(zigzag & 1);
      }
    }
    if (small !== packed + middling || long !== end) {
      throw new WireError("mesh: residuals and their counts disagree");
    }
  }

  #addChanges() {
    const { vertexCount: count, order } = this.description;
    const [rowA, rowB, rowC] = this.rows;
    const { change, residual, steps } = this;
    for (let axis = 0; axis < 3; axis++) {
      const offset = axis * count;
      change[count] = 0;
      for (let i = 0; i < count; i++) {
        const v = order[i];
        const a = change[rowA[i]];
        const b = change[rowB[i]];
        const across = ((a + b - change[rowC[i]]) << 16) >> 16;
        const low = a < b ? a : b;
        const high = a < b ? b : a;
        const middle = across < low ? low : across > high ? high : across;
        change[v] = residual[offset + v] + middle;
      }
      for (let v = 0; v < count; v++) steps[offset + v] += change[v];
    }
  }

  #placed(view) {
    const { vertexCount: count, pieces, pieceOf, quantum } = this.description;
    const rotations = [];
    for (let p = 0; p < pieces; p++) {
      const f = Array.from({ length: 7 }, (_, k) =>
        view.getFloat32(HEADER_BYTES + 28 * p + 4 * k, true),
      );
      if (!f.every(Number.isFinite)) throw new WireError("mesh: a pose that is not finite");
      rotations.push(matrixOf(f, quantum));
    }
    const { steps } = this;
    const vertices = new Float32Array(3 * count);
    for (const [piece, from, to] of this.runs) {
      const [a, b, c, d, e, f, g, h, i, tx, ty, tz] = rotations[piece];
      for (let v = from, at = 3 * from; v < to; v++, at += 3) {
        const x = steps[v];
        const y = steps[count + v];
        const z = steps[2 * count + v];
        vertices[at] = a * x + b * y + c * z + tx;
        vertices[at + 1] = d * x + e * y + f * z + ty;
        vertices[at + 2] = g * x + h * y + i * z + tz;
      }
    }
    return vertices;
  }
}

/** [piece, from, to] of vertices in a row. */
function runsOf(pieceOf) {
  const runs = [];
  for (let v = 0; v < pieceOf.length; v++) {
    const last = runs.at(-1);
    if (last && last[0] === pieceOf[v]) last[2] = v + 1;
    else runs.push([pieceOf[v], v, v + 1]);
  }
  return runs;
}

/** (w x y z, position) -> the rotation's nine numbers, times `scale`, and the position. */
function matrixOf([w, x, y, z, ...xyz], scale) {
  const s = 2 / (w * w + x * x + y * y + z * z);
  const m = new Float64Array(12);
  m[0] = scale * (1 - s * (y * y + z * z));
  m[1] = scale * s * (x * y - w * z);
  m[2] = scale * s * (x * z + w * y);
  m[3] = scale * s * (x * y + w * z);
  m[4] = scale * (1 - s * (x * x + z * z));
  m[5] = scale * s * (y * z - w * x);
  m[6] = scale * s * (x * z - w * y);
  m[7] = scale * s * (y * z + w * x);
  m[8] = scale * (1 - s * (x * x + y * y));
  m.set(xyz, 9);
  return m;
}
