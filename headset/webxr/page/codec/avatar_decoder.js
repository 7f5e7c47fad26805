// An avatar that the page decodes itself: packets of a few hundred bytes in, meshes out.
//
//   const decoder = await AvatarDecoder.open(bytes);       // avatar/page_decoder.py's file
//   post(decoder.topology());                              // once
//   const code = decoder.decode(packet) ?? decoder.concealed(tMs);
//   const { vertices, normals, nodes, gain } = decoder.meshOf(code, eye);
//
// docs/code_payload.md says what is where. Nothing here touches the document: it runs in a worker.

import { BitstreamDecoder } from "./bitstream_decoder.js";
import { CodeNumbers } from "./code_numbers.js";
import { HandRig, guessElbow } from "./hand_rig.js";
import { HeadPlacement } from "./head_placement.js";
import { SIDES } from "./packet_format.js";
import { PersonalHead } from "./personal_head.js";
import { length, matrixOf, minus, turnedBack } from "./rigid.js";
import { ShippedHead } from "./shipped_head.js";
import { DecoderFileError, TensorFile } from "./tensor_file.js";

export { BitstreamError } from "./bitstream_decoder.js";
export { DecoderFileError } from "./tensor_file.js";

const VERSION = 1;
const MOST_VERTICES = 1 << 17;
const MOST_FACES = 1 << 18;
const MOST_TEXELS = 1 << 24; // of a picture, and of all planes together
const ORIGIN = [0, 0, 0];

export class AvatarDecoder {
  // Of the file's bytes (Uint8Array). Throws DecoderFileError.
  static async open(bytes) {
    const file = await TensorFile.open(bytes);
    if (file.about.format !== "visavis-page-decoder" || file.about.version !== VERSION) {
      throw new DecoderFileError(
        `decoder file: expected version ${VERSION}, got ${file.about.version}; reload the page`,
      );
    }
    return new AvatarDecoder(file);
  }

  constructor(file) {
    const { about } = file;
    this.id = String(about.id);
    this.bitstream = new BitstreamDecoder(file);
    this.placement = new HeadPlacement(file);
    this.hands = new HandRig(file);
    this.count = this.placement.count + 2 * this.hands.count;
    this.unchanging = readTopology(file, this.count);
    const { basis } = this.unchanging;
    const Head = { personal: PersonalHead, shipped: ShippedHead }[about.kind];
    if (!Head) throw new DecoderFileError(`decoder file: kind: got ${about.kind}`);
    this.head = new Head(file, this.placement, basis.grid, basis.planes.count);
    const expected = (...seen) => this.head.expected(...seen);
    this.numbers = new CodeNumbers(file, this.bitstream.format, expected);
  }

  // The page's "topology" message, less `type` and `person`: head, left hand, right hand, one after
  // the other. What is not seen is drawn as triangles of no area. To be copied, not transferred.
  topology() {
    return this.unchanging;
  }

  // By how many the last packet was after the one before; null: it was late or a copy.
  get gap() {
    return this.bitstream.gap;
  }

  // Whether packets have to come until the face is whole: a key packet is the quickest.
  get waits() {
    return this.bitstream.waits;
  }

  // 0..1: share of the numbers present that a loss may have left wrong.
  get healing() {
    return this.bitstream.healing;
  }

  // The code of a packet; null for one that is late or a copy, or that too little is known for yet.
  // Throws BitstreamError, after which the stream goes on.
  decode(packet) {
    return this.codeOf(this.bitstream.decode(packet));
  }

  // What to show at a moment that no packet came for; null before the first one.
  concealed(tMs) {
    return this.codeOf(this.bitstream.concealed(tMs));
  }

  // What to show at any moment, for one who plays one packet late.
  at(tMs) {
    return this.codeOf(this.bitstream.at(tMs));
  }

  codeOf(moment) {
    return moment && this.numbers.codeOf(moment);
  }

  // New arrays, which may be transferred. `eye` [x, y, z] metres, world: from where it is seen.
  meshOf(code, eye = ORIGIN) {
    const vertices = new Float32Array(3 * this.count);
    const normals = new Float32Array(3 * this.count);
    const { worldFromHead } = code;
    const seen = [];
    if (worldFromHead) {
      this.head.place(code, vertices, normals);
      seen.push([0, this.placement.count]);
    }
    SIDES.forEach((side, k) => {
      const hand = code.hands.find((found) => found.side === side);
      const start = this.placement.count + k * this.hands.count;
      if (!hand) return;
      const elbow = worldFromHead && guessElbow(worldFromHead, hand);
      if (this.hands.pose(hand, elbow, vertices, normals, start)) {
        seen.push([start, start + this.hands.count]);
      }
    });
    hideRest(vertices, seen);
    const towards = worldFromHead ? viewDirection(worldFromHead, eye) : [0, 0, 1];
    return { vertices, normals, ...this.head.colour(code, towards) };
  }
}

// From the head to the eye that looks at it, a unit vector in the head frame.
function viewDirection({ wxyz, xyz }, eye) {
  const towards = turnedBack(matrixOf(wxyz), minus(eye, xyz));
  const distance = length(towards);
  return distance < 1e-6 ? [0, 0, 1] : towards.map((n) => n / distance);
}

// Vertices of no piece that is `seen` go where one is, so that they cover nothing and bounds hold.
function hideRest(vertices, seen) {
  const from = seen.length ? 3 * seen[0][0] : 0;
  const [x, y, z] = vertices.subarray(from, from + 3);
  let next = 0;
  for (const [start, end] of [...seen, [vertices.length / 3, 0]]) {
    for (let v = 3 * next; v < 3 * start; v += 3) {
      vertices[v] = x;
      vertices[v + 1] = y;
      vertices[v + 2] = z;
    }
    next = end;
  }
}

function readTopology(file, count) {
  const { about } = file;
  if (count > MOST_VERTICES) {
    throw new DecoderFileError(`decoder file: expected ${MOST_VERTICES} vertices at most`);
  }
  const faces = file.indices("topology.faces", [null, 3], count);
  if (faces.length > 3 * MOST_FACES) {
    throw new DecoderFileError(`decoder file: expected ${MOST_FACES} faces at most`);
  }
  const surface = picture(file, "topology.surface", 4);
  const mean = picture(file, "texture.mean", 3);
  const values = file.array("texture.planes", "I8", [null, null, null, 3]);
  const [planes, height, width] = file.shape("texture.planes");
  if (planes * width * height > MOST_TEXELS) {
    throw new DecoderFileError("decoder file: texture.planes: too large, at most 2^24 texels");
  }
  const grid = about.grid;
  const fits = Array.isArray(grid) && grid.length === 2 && grid.every((n) => Number.isInteger(n) && n > 0 && n <= 256);
  if (!fits || planes % 4 || !planes || !["additive", "log"].includes(about.space)) {
    throw new DecoderFileError("decoder file: texture: expected 4, 8, ... planes and a grid");
  }
  return {
    id: String(about.id),
    faces: new Uint32Array(faces.buffer),
    uv: file.array("topology.uv", "F32", [count, 2]),
    parts: file.array("topology.parts", "U8", [count]),
    surface: { width: surface.width, height: surface.height, rgba: surface.texels },
    lit: about.lit === true,
    basis: {
      mean: { width: mean.width, height: mean.height, rgb: mean.texels },
      planes: { count: planes, width, height, values },
      scale: file.array("texture.scale", "F32", [planes]),
      grid,
      space: about.space,
    },
  };
}

// Texels that the file holds as differences from the mean of those to the left and above.
function picture(file, name, channels) {
  const texels = file.array(name, "U8", [null, null, channels]);
  const [height, width] = file.shape(name);
  if (width * height > MOST_TEXELS) throw new DecoderFileError(`decoder file: ${name}: too large`);
  const row = width * channels;
  for (let k = 0; k < texels.length; k++) {
    const left = k % row >= channels ? texels[k - channels] : 0;
    const above = k >= row ? texels[k - row] : 0;
    texels[k] += (left + above) >> 1;
  }
  return { width, height, texels };
}
