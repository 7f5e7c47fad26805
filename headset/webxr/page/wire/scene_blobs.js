// Surface and texture basis of a topology: blobs of headset/webxr/scene_blobs.py.

import { inflated } from "./mesh_description.js";
import { WireError } from "./messages.js";

const MOST_TEXELS = 1 << 26;
const SPACES = ["additive", "log"];

function header(blob, magic, bytes) {
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  if (blob.length < bytes || view.getUint32(0, false) !== magic || view.getUint16(4, true) !== 1) {
    throw new WireError("scene: another format or version");
  }
  return view;
}

/** -> {width, height, rgba: Uint8Array}. */
export function parseSurface(blob) {
  const view = header(blob, 0x56565346, 16);
  const [width, height] = [view.getUint32(8, true), view.getUint32(12, true)];
  if (width * height > MOST_TEXELS) throw new WireError("surface: too large");
  return { width, height, rgba: inflated(blob.subarray(16), 4 * width * height) };
}

/** -> the page's `basis`: {mean, planes, scale, grid, space}. */
export function parseBasis(blob) {
  const view = header(blob, 0x56565442, 36);
  const space = SPACES[view.getUint16(6, true)];
  const [width, height, count, planeWidth, planeHeight, rows, columns] = Array.from(
    { length: 7 },
    (_, k) => view.getUint32(8 + 4 * k, true),
  );
  const texels = count * planeWidth * planeHeight;
  if (!space || width * height > MOST_TEXELS || texels > MOST_TEXELS || count > 256) {
    throw new WireError("basis: too large");
  }
  const body = inflated(blob.subarray(36), 4 * count + 3 * width * height + 3 * texels);
  const planesAt = 4 * count + 3 * width * height;
  return {
    mean: { width, height, rgb: body.slice(4 * count, planesAt) },
    planes: {
      count, width: planeWidth, height: planeHeight,
      values: new Int8Array(body.buffer.slice(planesAt)),
    },
    scale: new Float32Array(body.buffer.slice(0, 4 * count)),
    grid: [rows, columns],
    space,
  };
}
