// The binary messages between server and page: the twin of headset/webxr/messages.py, where the
// tables are explained (docs/wire_format.md). Whatever does not fit raises a WireError.

export const VERSION = 1;
export const HEADER_BYTES = 24;
export const SECTION_BYTES = 8;
export const MOST_SECTIONS = 64;
export const MOST_UP_BYTES = 16384;
export const MOST_DOWN_BYTES = 16777216;
const KEY = 1;

export class WireError extends Error {}

export const Kind = Object.freeze({
  WELCOME: 1, SCENE: 2, AVATAR: 3, PANEL: 4, PANEL_GONE: 5, AUDIO: 6, VIDEO: 7,
  LANE: 8, CODE: 9,
  ECHO: 64, PROMPT: 65,
  HELLO: 128, DISPLAYED: 129, SAMPLE: 130, NEED_KEY: 131, PANEL_MOVED: 132, WISH: 133,
  STATISTICS: 134, PANEL_CHOSEN: 135, PANEL_DISMISSED: 136, PINCHED: 137, SPEECH: 138,
});

export const Part = Object.freeze({
  MESH_KEY: 1, MESH_DELTA: 2, H264: 3, CODE: 4, NODES: 5, OPUS: 6, VIEW: 7,
  WELCOME: 16, SCENE: 17, PANEL: 18, TEXT: 19, LABEL: 20, PNG: 21, WEBP: 22,
  ECHO: 32, HELLO: 33, DISPLAYED: 34, HEAD: 35, LEFT_HAND: 36, RIGHT_HAND: 37, NEED_KEY: 38,
  PLACE: 39, WISH: 40, STATISTICS: 41, LANE: 42, WORDS: 43, PCM: 44,
});

const PARTS_OF = new Map([
  [Kind.WELCOME, [Part.WELCOME]],
  [Kind.SCENE, [Part.SCENE]],
  [Kind.AVATAR, [Part.MESH_KEY, Part.MESH_DELTA, Part.H264, Part.NODES, Part.CODE]],
  [Kind.PANEL, [Part.PANEL, Part.TEXT, Part.LABEL, Part.PNG, Part.WEBP]],
  [Kind.PANEL_GONE, [Part.TEXT]],
  [Kind.AUDIO, [Part.OPUS]],
  [Kind.VIDEO, [Part.H264, Part.VIEW]],
  [Kind.LANE, [Part.LANE]],
  [Kind.ECHO, [Part.ECHO]],
  [Kind.HELLO, [Part.HELLO, Part.TEXT]],
  [Kind.DISPLAYED, [Part.DISPLAYED]],
  [Kind.SAMPLE, [Part.HEAD, Part.LEFT_HAND, Part.RIGHT_HAND, Part.VIEW]],
  [Kind.NEED_KEY, [Part.NEED_KEY]],
  [Kind.PANEL_MOVED, [Part.TEXT, Part.PLACE]],
  [Kind.WISH, [Part.WISH]],
  [Kind.STATISTICS, [Part.STATISTICS]],
  [Kind.PROMPT, [Part.WORDS]],
  [Kind.PANEL_CHOSEN, [Part.TEXT]],
  [Kind.PANEL_DISMISSED, [Part.TEXT]],
  [Kind.PINCHED, [Part.PLACE]],
  [Kind.SPEECH, [Part.PCM]],
]);

const padded = (length) => length + ((4 - (length & 3)) & 3);

/** Nanoseconds as a BigInt of milliseconds (a double holds them to a microsecond). */
export const nanoseconds = (milliseconds) => BigInt(Math.round(milliseconds * 1e3)) * 1000n;
export const milliseconds = (nanosecondsBig) =>
  Number(nanosecondsBig / 1000n) / 1e3 + Number(nanosecondsBig % 1000n) / 1e6;

/** message: {kind, sections: [{kind, data: Uint8Array, flags?}], frameId?, tNs?: BigInt, person?,
 *  key?} -> Uint8Array. */
export function packMessage(message) {
  const sections = message.sections ?? [];
  if (sections.length > MOST_SECTIONS) throw new WireError("message: too many sections");
  let size = HEADER_BYTES;
  for (const part of sections) size += SECTION_BYTES + padded(part.data.length);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, message.kind);
  view.setUint8(1, message.key ? KEY : 0);
  view.setUint16(2, VERSION, true);
  view.setUint32(4, message.frameId ?? 0, true);
  view.setBigInt64(8, message.tNs ?? 0n, true);
  view.setUint16(16, message.person ?? 0, true);
  view.setUint16(18, sections.length, true);
  let at = HEADER_BYTES;
  for (const part of sections) {
    if (!PARTS_OF.get(message.kind)?.includes(part.kind)) {
      throw new WireError(`message ${message.kind}: no place for a section ${part.kind}`);
    }
    view.setUint8(at, part.kind);
    view.setUint8(at + 1, part.flags ?? 0);
    view.setUint32(at + 4, part.data.length, true);
    bytes.set(part.data, at + SECTION_BYTES);
    at += SECTION_BYTES + padded(part.data.length);
  }
  return bytes;
}

/** A message that is nothing but a code (8 bytes, then the packet) -> as parseMessage, at a time that
 *  is not known. */
function parseCode(bytes, mostBytes) {
  if (bytes.length < 9 || bytes.length > mostBytes) throw new WireError("code: cut off");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const flags = view.getUint8(1);
  if (flags & ~KEY) throw new WireError("code: expected zero in reserved bits");
  return {
    kind: Kind.AVATAR, key: Boolean(flags & KEY), frameId: view.getUint32(4, true), tNs: null,
    person: view.getUint16(2, true),
    sections: [{ kind: Part.CODE, flags: 0, data: bytes.subarray(8) }],
  };
}

/** Uint8Array -> what packMessage takes; sections are views into the same bytes. */
export function parseMessage(bytes, mostBytes = MOST_DOWN_BYTES) {
  if (bytes[0] === Kind.CODE) return parseCode(bytes, mostBytes);
  if (bytes.length < HEADER_BYTES || bytes.length > mostBytes) {
    throw new WireError(`message: expected ${HEADER_BYTES} to ${mostBytes} bytes, got ${bytes.length}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kind = view.getUint8(0);
  const flags = view.getUint8(1);
  const version = view.getUint16(2, true);
  if (version !== VERSION) {
    throw new WireError(`message: expected wire format version ${VERSION}, got ${version}`);
  }
  if (flags & ~KEY || view.getUint32(20, true)) {
    throw new WireError("message: expected zero in reserved bits");
  }
  const allowed = PARTS_OF.get(kind);
  if (!allowed) throw new WireError(`message: expected a known kind, got ${kind}`);
  const count = view.getUint16(18, true);
  if (count > MOST_SECTIONS) throw new WireError(`message: ${count} sections are too many`);
  const sections = [];
  let at = HEADER_BYTES;
  for (let i = 0; i < count; i++) {
    if (at + SECTION_BYTES > bytes.length) throw new WireError("message: cut off before a section");
    const partKind = view.getUint8(at);
    const partFlags = view.getUint8(at + 1);
    const length = view.getUint32(at + 4, true);
    if (view.getUint16(at + 2, true)) {
      throw new WireError("message: expected zero in reserved bits");
    }
    at += SECTION_BYTES;
    if (!allowed.includes(partKind)) {
      throw new WireError(`message ${kind}: no place for a section of kind ${partKind}`);
    }
    if (partKind !== Part.VIEW && sections.some((s) => s.kind === partKind)) {
      throw new WireError(`message ${kind}: two sections of kind ${partKind}`);
    }
    const end = at + padded(length);
    if (end > bytes.length) {
      throw new WireError(`message ${kind}: a section says ${length} bytes, ${bytes.length - at} are left`);
    }
    for (let k = at + length; k < end; k++) {
      if (bytes[k]) throw new WireError("message: expected zeros as padding");
    }
    sections.push({ kind: partKind, flags: partFlags, data: bytes.subarray(at, at + length) });
    at = end;
  }
  if (at !== bytes.length) throw new WireError(`message ${kind}: ${bytes.length - at} bytes too many`);
  return {
    kind,
    key: Boolean(flags & KEY),
    frameId: view.getUint32(4, true),
    tNs: view.getBigInt64(8, true),
    person: view.getUint16(16, true),
    sections,
  };
}

/** Lower-case hexadecimal of a Uint8Array. */
export const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

export const findPart = (message, kind) => message.sections.find((part) => part.kind === kind);

/** The section of that kind, of exactly `length` bytes where one is given, as a DataView. */
export function needPart(message, kind, length) {
  const part = findPart(message, kind);
  if (!part) throw new WireError(`message ${message.kind}: expected a section ${kind}, got none`);
  if (length !== undefined && part.data.length !== length) {
    throw new WireError(`section ${kind}: expected ${length} bytes, got ${part.data.length}`);
  }
  return new DataView(part.data.buffer, part.data.byteOffset, part.data.byteLength);
}

export function textOf(part, most = 256) {
  if (!part || part.data.length < 1 || part.data.length > most) {
    throw new WireError(`text: expected 1 to ${most} bytes`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(part.data);
  } catch {
    throw new WireError("text: expected UTF-8");
  }
}
