// Runs the page's avatar decoder in node for tests/test_page_codec.py and benchmarks:
//   node decode.mjs JOB.json RESULT.json
// A job is {decoder: path, repeat, runs: [{steps: [...]}]}; a step is {packet} (base64), {concealed}
// or {at} (ms), with `mesh: true` and `eye` where the mesh is wanted. Each run begins anew.

import { readFileSync, writeFileSync } from "node:fs";
import { AvatarDecoder, BitstreamError } from "../../headset/webxr/page/codec/avatar_decoder.js";

const [, , jobPath, resultPath] = process.argv;
const job = JSON.parse(readFileSync(jobPath, "utf8"));

function packed(array) {
  const bytes = Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  return { kind: array.constructor.name, base64: bytes.toString("base64") };
}

function plain(code) {
  return {
    geometry: packed(code.geometry), appearance: packed(code.appearance), gaze: packed(code.gaze),
    worldFromHead: code.worldFromHead, origin: code.origin, tMs: code.tMs,
    hands: code.hands.map((hand) => ({ ...hand, joints: packed(hand.joints) })),
  }; // prettier-ignore
}

function taken(decoder, step) {
  const { bitstream } = decoder;
  let moment;
  try {
    if (step.packet !== undefined) moment = bitstream.decode(Buffer.from(step.packet, "base64"));
    else if (step.concealed !== undefined) moment = bitstream.concealed(step.concealed);
    else moment = bitstream.at(step.at);
  } catch (error) {
    if (error instanceof BitstreamError) return { error: error.message };
    throw error;
  }
  if (!moment) return null;
  const { tMs, row, known, origin } = moment;
  const found = { tMs, known, origin, row: packed(row), healing: decoder.healing };
  if (!step.mesh) return found;
  const code = decoder.codeOf(moment);
  const mesh = decoder.meshOf(code, step.eye);
  for (const name of Object.keys(mesh)) mesh[name] = packed(mesh[name]);
  return { ...found, code: plain(code), mesh };
}

const opened = [];
for (const path of job.decoders) {
  try {
    opened.push(await AvatarDecoder.open(new Uint8Array(readFileSync(path))));
  } catch (error) {
    opened.push({ refused: `${error.constructor.name}: ${error.message}` });
  }
}
const results = job.runs.map(({ decoder: which = 0, steps }) => {
  const decoder = opened[which];
  decoder.bitstream.begin();
  return steps.map((step) => taken(decoder, step));
});
const topologies = opened.map((decoder) => {
  if (decoder.refused || !job.topologies) return null;
  const topology = decoder.topology();
  return JSON.parse(JSON.stringify(topology, (_, v) => (ArrayBuffer.isView(v) ? packed(v) : v)));
});
const refused = opened.map((decoder) => decoder.refused ?? null);
writeFileSync(resultPath, JSON.stringify({ refused, results, topologies }));
