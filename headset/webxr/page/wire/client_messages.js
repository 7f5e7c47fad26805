// What the page tells the server, and how it reads what the server tells besides avatar frames: the
// twin of headset/webxr/client_messages.py and server_messages.py.

import { findPart, hexOf, Kind, nanoseconds, needPart, packMessage, Part, textOf, WireError } from "./messages.js";

export const Can = Object.freeze({
  GEOMETRY: 1, H264: 2, NODES: 4, CODE: 8, VIDEO: 16, OPUS: 32, XR: 64,
});
export const PAYLOADS = ["auto", "geometry", "code", "video"];
const ANCHORS = ["world", "head", "left wrist", "right wrist"];

function packed(size, write) {
  const view = new DataView(new ArrayBuffer(size));
  write(view);
  return new Uint8Array(view.buffer);
}

export const hello = (can, textureSize, name) =>
  packMessage({
    kind: Kind.HELLO,
    sections: [
      {
        kind: Part.HELLO,
        data: packed(8, (view) => {
          view.setUint32(0, can, true);
          view.setUint16(4, textureSize, true);
        }),
      },
      { kind: Part.TEXT, data: new TextEncoder().encode(name.replace(/[^ -~]/g, "").slice(0, 200) || "page") },
    ],
  });

export const displayed = (person, frameId, tMs, decodeMs) =>
  packMessage({
    kind: Kind.DISPLAYED, person, frameId, tNs: nanoseconds(tMs),
    sections: [
      { kind: Part.DISPLAYED, data: packed(8, (view) => view.setFloat32(0, decodeMs, true)) },
    ],
  });

export const needKey = (person, received) =>
  packMessage({
    kind: Kind.NEED_KEY, person,
    sections: [{ kind: Part.NEED_KEY, data: packed(8, (view) => view.setUint32(0, received, true)) }],
  });

/** A pose and a size (width, height), metres. */
export const placePart = ({ wxyz, xyz }, sizeM) => ({
  kind: Part.PLACE,
  data: packed(36, (view) =>
    [...wxyz, ...xyz, ...sizeM].forEach((n, k) => view.setFloat32(4 * k, n, true)),
  ),
});

export const panelMoved = ({ id, anchorFromPanel, sizeM }) =>
  packMessage({
    kind: Kind.PANEL_MOVED,
    sections: [
      { kind: Part.TEXT, data: new TextEncoder().encode(id) },
      placePart(anchorFromPanel, sizeM),
    ],
  });

export const wish = (payload, mostBitsS = 0) =>
  packMessage({
    kind: Kind.WISH,
    sections: [
      {
        kind: Part.WISH,
        data: packed(8, (view) => {
          view.setUint8(0, Math.max(0, PAYLOADS.indexOf(payload)));
          view.setUint32(4, mostBitsS, true);
        }),
      },
    ],
  });

export const statistics = (...numbers) =>
  packMessage({
    kind: Kind.STATISTICS,
    sections: [
      {
        kind: Part.STATISTICS,
        data: packed(16, (view) => numbers.forEach((n, k) => view.setFloat32(4 * k, n, true))),
      },
    ],
  });

export const question = (askedMs) => echo(nanoseconds(askedMs), null);

/** BigInts; `answered` null: a question. */
export function echo(asked, answered) {
  const data = packed(16, (view) => {
    view.setBigInt64(0, asked, true);
    view.setBigInt64(8, answered ?? 0n, true);
  });
  return packMessage({
    kind: Kind.ECHO,
    sections: [{ kind: Part.ECHO, flags: answered === null ? 0 : 1, data }],
  });
}

export function readEcho(message) {
  const view = needPart(message, Part.ECHO, 16);
  const { flags } = findPart(message, Part.ECHO);
  if (flags > 1) throw new WireError("echo: expected a question or an answer");
  return { asked: view.getBigInt64(0, true), answered: flags ? view.getBigInt64(8, true) : null };
}

export function readWelcome(message) {
  const view = needPart(message, Part.WELCOME, 8);
  const allowed = view.getUint16(2, true);
  return {
    controls: Boolean(allowed & 1), prompts: Boolean(allowed & 2), speech: Boolean(allowed & 4),
    client: view.getUint32(4, true),
  };
}

export function readScene(message) {
  const view = needPart(message, Part.SCENE, 4 + 4 * 32);
  const { data } = findPart(message, Part.SCENE);
  const [description, surface, basis, decoder] = [0, 1, 2, 3].map((k) => {
    const raw = data.subarray(4 + 32 * k, 36 + 32 * k);
    if (raw.every((byte) => byte === 0)) return null;
    return hexOf(raw);
  });
  return { number: view.getUint32(0, true), description, surface, basis, decoder };
}

export function readLane(message) {
  const view = needPart(message, Part.LANE, 68);
  const { data } = findPart(message, Part.LANE);
  const ticket = hexOf(data.subarray(36));
  return { port: view.getUint16(0, true), certificate: data.slice(4, 36), ticket };
}

export function readPanel(message) {
  const view = needPart(message, Part.PANEL, 40);
  const numbers = Array.from({ length: 9 }, (_, k) => view.getFloat32(4 + 4 * k, true));
  const anchor = ANCHORS[view.getUint8(0)];
  if (!anchor || !numbers.every(Number.isFinite)) throw new WireError("panel: expected a place");
  const label = findPart(message, Part.LABEL);
  const picture = findPart(message, Part.PNG) ?? findPart(message, Part.WEBP);
  return {
    id: textOf(findPart(message, Part.TEXT)),
    anchor,
    anchorFromPanel: { wxyz: numbers.slice(0, 4), xyz: numbers.slice(4, 7) },
    sizeM: numbers.slice(7, 9),
    generatedBy: label ? textOf(label) : null,
    picture: picture?.data ?? null,
  };
}
