// Times the page's avatar decoder in node for benchmarks/code_payload.py:
//   node code_payload.mjs JOB.json RESULT.json
// A job is {decoder: path, packets: [base64], rounds}. The answer has medians in ms over all packets
// of the last round, of each part.

import { readFileSync, writeFileSync } from "node:fs";
import { AvatarDecoder } from "../headset/webxr/page/codec/avatar_decoder.js";

const [, , jobPath, resultPath] = process.argv;
const job = JSON.parse(readFileSync(jobPath, "utf8"));
const bytes = new Uint8Array(readFileSync(job.decoder));
const opening = performance.now();
const decoder = await AvatarDecoder.open(bytes);
const openMs = performance.now() - opening;
const packets = job.packets.map((packet) => new Uint8Array(Buffer.from(packet, "base64")));
let times;

function timed(name, work) {
  const start = performance.now();
  const result = work();
  const passed = performance.now() - start;
  (times[name] ??= []).push(passed);
  return result;
}

// Parts of the mesh, by standing in for the methods that do them.
function watch(owner, method, name) {
  const own = owner[method].bind(owner);
  owner[method] = (...given) => timed(name, () => own(...given));
}
watch(decoder.head, "place", "head: all");
watch(decoder.placement, "place", "head: placed, with normals");
watch(decoder.placement, "smooth", "head: normals");
watch(decoder.head, "colour", "coefficients of the texture");
watch(decoder.hands, "pose", "a hand");

for (let round = 0; round < job.rounds; round++) {
  times = {};
  decoder.bitstream.begin();
  for (const packet of packets) {
    const moment = timed("packet", () => decoder.bitstream.decode(packet));
    if (!moment) continue;
    const code = timed("expectation, hands' joints", () => decoder.codeOf(moment));
    timed("mesh: all", () => decoder.meshOf(code));
  }
}
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const parts = Object.fromEntries(Object.entries(times).map(([name, all]) => [name, median(all)]));
parts["opening the file"] = openMs;
writeFileSync(resultPath, JSON.stringify(parts));
