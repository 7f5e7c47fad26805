// What is to be known of a topology before its frames can be read: the blob that
// headset/webxr/mesh_description.py packs.

import { decompress } from "../vendor/fzstd.js";
import { WireError } from "./messages.js";

const HEADER_BYTES = 28;
const MOST_VERTICES = 65535;
const MOST_FACES = 262144;

/** What a zstd frame says of its content's length (RFC 8878, 3.1.1.1), or -1. */
function contentLength(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length < 6 || view.getUint32(0, true) !== 0xfd2fb528) return -1;
  const descriptor = data[4];
  const single = (descriptor >> 5) & 1;
  const at = 5 + (single ? 0 : 1) + [0, 1, 2, 4][descriptor & 3];
  const bytes = [single, 2, 4, 8][descriptor >> 6];
  if (bytes === 0 || at + bytes > data.length) return -1;
  if (bytes === 1) return data[at];
  if (bytes === 2) return view.getUint16(at, true) + 256;
  return bytes === 4 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true));
}

/** zstd -> exactly `length` bytes, or a WireError. */
export function inflated(data, length) {
  if (contentLength(data) !== length) throw new WireError(`zstd: expected ${length} bytes`);
  let out;
  try {
    out = decompress(data, new Uint8Array(length));
  } catch (error) {
    throw new WireError(`zstd: ${error.message ?? error}`);
  }
  if (out.length !== length) throw new WireError(`zstd: expected ${length} bytes, got ${out.length}`);
  return out;
}

export function parseMeshDescription(blob) {
  if (blob.length < HEADER_BYTES) throw new WireError("mesh description: cut off");
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  if (view.getUint32(0, false) !== 0x56564d44 || view.getUint16(4, true) !== 1) {
    throw new WireError("mesh description: another format or version");
  }
  const lit = Boolean(view.getUint16(6, true) & 1);
  const [vertexCount, faceCount, pieces, turnedCount] = [8, 12, 16, 20].map((k) =>
    view.getUint32(k, true),
  );
  if (vertexCount > MOST_VERTICES || faceCount > MOST_FACES || turnedCount > vertexCount) {
    throw new WireError("mesh description: too large");
  }
  const quantum = view.getFloat32(24, true);
  const length =
    12 * faceCount + 8 * vertexCount + 20 * vertexCount + 8 * turnedCount + 6 * vertexCount +
    6 * turnedCount + 2 * vertexCount;
  const body = inflated(blob.subarray(HEADER_BYTES), length).buffer;
  let at = 0;
  const take = (Type, count) => {
    const array = new Type(body.slice(at, at + count * Type.BYTES_PER_ELEMENT));
    at += count * Type.BYTES_PER_ELEMENT;
    return array;
  };
  const d = {
    lit, vertexCount, faceCount, pieces, quantum,
    faces: take(Uint32Array, 3 * faceCount),
    uv: take(Float32Array, 2 * vertexCount),
    weld: take(Uint32Array, vertexCount),
    order: take(Uint32Array, vertexCount),
    neighbours: take(Uint32Array, 3 * vertexCount),
    turned: take(Uint32Array, turnedCount),
    turnedBy: take(Uint32Array, turnedCount),
    rest: take(Int16Array, 3 * vertexCount),
    turnedNormals: take(Int16Array, 3 * turnedCount),
    parts: take(Uint8Array, vertexCount),
    pieceOf: take(Uint8Array, vertexCount),
  };
  const below = (array, limit) => {
    for (const value of array) {
      if (value >= limit) throw new WireError("mesh description: an index out of range");
    }
  };
  for (const array of [d.faces, d.weld, d.order, d.turned, d.turnedBy]) below(array, vertexCount);
  below(d.neighbours, vertexCount + 1);
  below(d.pieceOf, pieces);
  return d;
}
