// A page that only counts: starts the page's own worker, says that frames are displayed, and keeps
// what came for the tests to look at.

const worker = new Worker("/worker.js", { type: "module" });
const epochMs = () => performance.timeOrigin + performance.now();
const seen = {
  frames: [], links: [], topologies: [], panels: [], gone: [], sounds: [], videos: [], errors: [],
  kept: new Map(), keep: new Set(), silent: false,
};
globalThis.seen = seen;
globalThis.worker = worker;
worker.onerror = (event) => seen.errors.push(String(event.message));

const shapes = {
  avatar(message) {
    const { person, frameId, tMs, texture, vertices, id } = message;
    seen.frames.push({ person, frameId, tMs, id, at: epochMs(), kind: texture?.kind ?? null, count: vertices.length / 3 });
    if (seen.keep.has("all") || seen.keep.has(frameId)) seen.kept.set(frameId, message);
    texture?.frame?.close();
    if (!seen.silent) worker.postMessage({ type: "displayed", person, frameId, tMs: epochMs() });
  },
  topology: (message) => seen.topologies.push(message),
  link: (message) => seen.links.push(message),
  panel: (message) => seen.panels.push(message),
  panelGone: (message) => seen.gone.push(message.id),
  personGone: (message) => seen.gone.push(message.person),
  sound: (message) => seen.sounds.push(message),
  video(message) {
    const { frameId, views, frame } = message;
    seen.videos.push({ frameId, views, size: [frame.displayWidth, frame.displayHeight] });
    worker.postMessage({ type: "videoDisplayed", frameId, tMs: epochMs() });
    frame.close();
  },
};
worker.onmessage = ({ data }) => shapes[data.type]?.(data);

const base64 = (array) => {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let text = "";
  for (let k = 0; k < bytes.length; k += 32768) {
    text += String.fromCharCode(...bytes.subarray(k, k + 32768));
  }
  return btoa(text);
};
/** A message with its arrays as base64, for Python. */
globalThis.plain = (value) => {
  if (ArrayBuffer.isView(value)) return { array: value.constructor.name, base64: base64(value) };
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(globalThis.plain);
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, globalThis.plain(v)]));
};
