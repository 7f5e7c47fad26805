// In the tests this takes the place of the page's worker: it posts scenes that Python made, and
// hands what the page posts back to Python. /scene/NAME.json describes messages whose arrays lie in
// /scene/NAME.bin.

const KINDS = {
  int8: Int8Array, uint8: Uint8Array, uint32: Uint32Array, float32: Float32Array,
};

function filled(value, bytes) {
  if (value === null || typeof value !== "object") return value;
  if (value.array) {
    const [kind, from, count] = value.array, Kind = KINDS[kind];
    return new Kind(bytes.slice(from, from + count * Kind.BYTES_PER_ELEMENT));
  }
  if (Array.isArray(value)) return value.map((item) => filled(item, bytes));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, filled(item, bytes)]));
}

async function bitmap({ width, height, rgba }) {
  const data = new ImageData(new Uint8ClampedArray(rgba.buffer), width, height);
  return createImageBitmap(data, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
}

async function post(message) {
  if (message.image) message.image = await bitmap(message.image);
  if (message.frame) message.frame = await bitmap(message.frame);
  if (message.texture?.image) message.texture.image = await bitmap(message.texture.image);
  self.postMessage(message);
}

async function play(name) {
  const [index, bytes] = await Promise.all([
    fetch(`/scene/${name}.json`).then((answer) => answer.json()),
    fetch(`/scene/${name}.bin`).then((answer) => answer.arrayBuffer()),
  ]);
  for (const message of index) await post(filled(message, bytes));
}

let waiting = [], counts = {}, repeating = null;

async function deliver() {
  const sent = waiting;
  waiting = [];
  if (sent.length) {
    const plain = (key, value) => (ArrayBuffer.isView(value) ? [...value] : value);
    await fetch("/posted", { method: "POST", body: JSON.stringify(sent, plain) });
  }
  setTimeout(deliver, 30);
}

self.onmessage = ({ data }) => {
  if (data.type === "test") {
    if (data.scene) play(data.scene);
    if (data.message) post(data.message);
    if (data.repeat) {
      clearInterval(repeating);
      repeating = setInterval(() => play(data.repeat), data.everyMs);
    }
    if (data.stop) clearInterval(repeating);
    return;
  }
  counts[data.type] = (counts[data.type] ?? 0) + 1;
  waiting.push(data);
};
deliver();
