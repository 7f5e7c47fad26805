// Plays packets through the page's CodePlayer by a clock of its own, for tests/test_code_player.py.
// A job is {decoders: [path], events: [{atMs, packet?, tMs?, decoder?, pause?}]} in the order of time; the
// answer has what was shown, asked and told, and when.

import { readFileSync, writeFileSync } from "node:fs";
import { CodePlayer } from "../../headset/webxr/page/codec/code_player.js";

const [, , jobPath, resultPath] = process.argv;
const job = JSON.parse(readFileSync(jobPath, "utf8"));
const found = { shown: [], asked: [], told: [], fetched: 0, lossShare: 0, topology: null };
let clockMs = 0;
let timers = [];
const time = {
  now: () => clockMs,
  later: (work, ms) => {
    const timer = { work, atMs: clockMs + ms };
    timers.push(timer);
    return timer;
  },
  never: (timer) => {
    timers = timers.filter((other) => other !== timer);
  },
};
const stream = {
  person: 3,
  decoderBlob: null,
  stages: {},
  eye: () => job.eye ?? null,
  showCode(message, atMs, scene, { vertices, normals, texture, concealed, shownMs }) {
    const place = [0, 1, 2].map((axis) => {
      let sum = 0;
      for (let k = axis; k < 3 * 7000; k += 3) sum += vertices[k];
      return sum / 7000;
    });
    const { frameId } = message;
    found.topology ??= { id: scene.id, faces: scene.topology.faces.length };
    const first = texture.nodes[0];
    found.shown.push({ clockMs, frameId, shownMs, place, first, concealed, normals: normals.length });
  },
};
const tools = {
  blobs: {
    async of(name, read) {
      found.fetched += 1;
      return read(new Uint8Array(readFileSync(name)));
    },
  },
  tell: (text) => found.told.push(text),
  askKey: (person, received) => found.asked.push({ clockMs, person, received }),
};
const player = new CodePlayer(stream, tools, time);
for (const [frameId, event] of job.events.entries()) {
  for (;;) {
    const [next] = timers.sort((a, b) => a.atMs - b.atMs);
    if (!next || next.atMs > event.atMs) break;
    time.never(next);
    clockMs = next.atMs;
    next.work();
  }
  clockMs = event.atMs;
  if (event.decoder) stream.decoderBlob = event.decoder;
  if (event.pause) player.pause();
  if (event.packet) {
    const data = new Uint8Array(Buffer.from(event.packet, "base64"));
    const tNs = BigInt(event.tMs) * 1000000n;
    await player.read({ frameId, tNs, sections: [{ kind: job.part, flags: 0, data }] }, clockMs);
  }
}
player.close();
found.lossShare = player.lossShare;
found.left = timers.length;
writeFileSync(resultPath, JSON.stringify(found));
