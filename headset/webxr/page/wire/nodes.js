// Coefficients of a texture basis: the twin of headset/webxr/nodes_coding.py.

import { inflated } from "./mesh_description.js";
import { WireError } from "./messages.js";

const HEADER_BYTES = 20;
const MOST = 1 << 20;

/** Uint8Array -> {nodes: Float32Array(rows x columns x K), gain: Float32Array(3)}. */
export function parseNodes(section) {
  if (section.length < HEADER_BYTES) throw new WireError("nodes: cut off");
  const view = new DataView(section.buffer, section.byteOffset, section.byteLength);
  const [rows, columns, count, reserved] = [0, 2, 4, 6].map((k) => view.getUint16(k, true));
  const size = rows * columns * count;
  const start = HEADER_BYTES + 4 * count;
  if (reserved || size < 1 || size > MOST || section.length < start) {
    throw new WireError("nodes: expected fewer of them");
  }
  const gain = Float32Array.from([8, 12, 16], (k) => view.getFloat32(k, true));
  const bytes = inflated(section.subarray(start), 2 * size);
  const nodes = new Float32Array(size);
  const texels = rows * columns;
  for (let k = 0; k < count; k++) {
    const step = view.getFloat32(HEADER_BYTES + 4 * k, true);
    for (let i = 0; i < texels; i++) {
      const zigzag = bytes[k * texels + i] | (bytes[size + k * texels + i] << 8);
      nodes[i * count + k] = ((zigzag >> 1) ^ -(zigzag & 1)) * step;
    }
  }
  return { nodes, gain };
}
