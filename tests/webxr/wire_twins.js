// Runs the page's modules on what Python wrote, in node: node wire_twins.js PAGE_FOLDER JOB_FOLDER.

import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [page, job] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(path.join(page, "wire", name)));
const read = (name) => new Uint8Array(fs.readFileSync(path.join(job, name)));
const has = (name) => fs.existsSync(path.join(job, name));
const write = (name, data) => fs.writeFileSync(path.join(job, name), data);
const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

function pieces(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = [];
  for (let at = 0; at < bytes.length; ) {
    const length = view.getUint32(at, true);
    found.push(bytes.slice(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return found;
}

const { WireError, parseMessage, packMessage } = await load("messages.js");
const told = {};

if (has("description.bin")) {
  const { parseMeshDescription } = await load("mesh_description.js");
  const { MeshDecoder } = await load("mesh_delta.js");
  const { Normals } = await load("normals.js");
  const description = parseMeshDescription(read("description.bin"));
  const decoder = new MeshDecoder(description);
  const normals = new Normals(description);
  const out = [];
  pieces(read("frames.bin")).forEach((section, k) => {
    const vertices = decoder.decode(section, k + 1);
    out.push(bytesOf(vertices), bytesOf(normals.of(vertices)));
  });
  write("meshes.out", Buffer.concat(out));
}

if (has("broken.bin")) {
  // Sections that were tampered with: a WireError or vertices, nothing else.
  const { parseMeshDescription } = await load("mesh_description.js");
  const { MeshDecoder } = await load("mesh_delta.js");
  const description = parseMeshDescription(read("description.bin"));
  told.broken = pieces(read("broken.bin")).map((section) => {
    try {
      new MeshDecoder(description).decode(section, 1);
      return true;
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return false;
    }
  });
}

if (has("nodes.bin")) {
  const { parseNodes } = await load("nodes.js");
  const { nodes, gain } = parseNodes(read("nodes.bin"));
  write("nodes.out", Buffer.concat([bytesOf(nodes), bytesOf(gain)]));
}

if (has("surface.bin")) {
  const { parseBasis, parseSurface } = await load("scene_blobs.js");
  const surface = parseSurface(read("surface.bin"));
  const basis = parseBasis(read("basis.bin"));
  told.surface = [surface.width, surface.height];
  const { mean, planes, grid, space } = basis;
  told.basis = [mean.width, mean.height, planes.count, planes.width, planes.height, ...grid, space];
  write("blobs.out", Buffer.concat([
    surface.rgba, bytesOf(basis.scale), mean.rgb, bytesOf(planes.values),
  ]));
}

if (has("messages.bin")) {
  // What is a message is packed again, to the same bytes; what is none raises a WireError.
  told.messages = pieces(read("messages.bin")).map((bytes) => {
    try {
      return Buffer.from(packMessage(parseMessage(bytes, 16384))).equals(Buffer.from(bytes));
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return null;
    }
  });
}

if (has("samples.json")) {
  const { packSample, parseView } = await load("sample.js");
  const { Part } = await load("messages.js");
  const samples = JSON.parse(fs.readFileSync(path.join(job, "samples.json"), "utf8"));
  const packed = samples.map(packSample);
  told.samples = packed.map((bytes) => Buffer.from(bytes).toString("base64"));
  told.views = packed.map((bytes) =>
    parseMessage(bytes).sections.filter(({ kind }) => kind === Part.VIEW).map(({ data }) => parseView(data)),
  );
}

if (has("client.json")) {
  const client = await load("client_messages.js");
  const { Act, ...prompts } = await load("prompt_messages.js");
  const echo = client.echo(123456789n, null);
  const answer = client.echo(123456789n, 987654321n);
  told.client = [
    client.hello(client.Can.GEOMETRY | client.Can.NODES, 512, "Oculus Browser"),
    client.displayed(1, 7, 123.456, 2.5),
    client.needKey(3, 99),
    client.wish("code", 1000000),
    client.statistics(30, 41.5, 900, 0.25),
    client.panelMoved({ id: "board", anchorFromPanel: { wxyz: [1, 0, 0, 0], xyz: [1, 2, 3] }, sizeM: [0.5, 0.25] }),
    echo, answer,
    prompts.prompt(""),
    prompts.prompt("a \u732b \u{1f63a}", Act.TAKEN),
    prompts.panelChosen("shelf 0"),
    prompts.panelDismissed("imagined"),
    prompts.pinched({ wxyz: [1, 0, 0, 0], xyz: [1, 2, 3] }),
    prompts.speech(new Int16Array([0, -32768, 32767]), true),
  ].map((bytes) => Buffer.from(bytes).toString("base64"));
}

if (has("echoes.json")) {
  const { RemoteClock } = await load("clock.js");
  const clock = new RemoteClock();
  told.clock = JSON.parse(fs.readFileSync(path.join(job, "echoes.json"), "utf8")).map((echo) => {
    clock.add(...echo);
    return { ...clock.estimate(echo[2]), local: clock.localFromRemote(echo[1]) };
  });
}

console.log(JSON.stringify(told));
