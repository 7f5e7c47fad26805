// One person's avatar frames: from messages to what the page shows, mesh and texture of one frame.

import { CodePlayer } from "../codec/code_player.js";
import { nowMs } from "./clock.js";
import { parseMeshDescription } from "./mesh_description.js";
import { MeshDecoder } from "./mesh_delta.js";
import { findPart, milliseconds, Part, WireError } from "./messages.js";
import { parseNodes } from "./nodes.js";
import { Normals } from "./normals.js";
import { parseBasis, parseSurface } from "./scene_blobs.js";
import { isInMemory, planesOf, VideoTexture } from "./texture_video.js";

const ASK_AGAIN_MS = 500;
const UNDISPLAYED_MS = 250; // then the page is taken to be hidden, or to have thrown the frame away

const closeTexture = (avatar) => avatar?.texture?.frame?.close();

/** A topology with what decodes its frames, from three blobs. */
async function openScene(blobs, { number, description, surface, basis }) {
  const [described, surfaceRead, basisRead] = await Promise.all([
    blobs.of(description, parseMeshDescription),
    surface ? blobs.of(surface, parseSurface) : null,
    basis ? blobs.of(basis, parseBasis) : null,
  ]);
  return {
    number,
    id: `${description}/${basis ?? ""}`,
    mesh: new MeshDecoder(described),
    normals: new Normals(described),
    topology: {
      faces: described.faces, uv: described.uv, parts: described.parts, weld: described.weld,
      lit: described.lit, surface: surfaceRead, ...(basisRead && { basis: basisRead }),
    },
  };
}

export class PersonStream {
  /** `tools`: {blobs, post(message, transfer), askKey(person, received), local(tMs), tell(text)}. */
  constructor(person, tools) {
    this.person = person;
    this.tools = tools;
    this.chain = Promise.resolve();
    this.scenes = new Map(); // number -> promise of a scene
    this.shownScene = null;
    this.pending = new Map(); // frame id -> avatar that waits for its picture
    this.video = new VideoTexture(
      (frameId, frame) => this.#picture(frameId, frame),
      () => this.#lose(),
    );
    this.pictures = 0;
    this.lost = true;
    this.asking = null; // the timer until it is asked again
    this.received = 0;
    this.held = null;
    this.undisplayed = null; // {frameId, atMs}
    this.decodeMs = new Map();
    this.stages = { mesh: 0, normals: 0, texture: 0 };
    this.payload = null;
  }

  /** A SCENE message. */
  describe(scene) {
    if (scene.number && scene.description) {
      const opening = openScene(this.tools.blobs, scene);
      opening.catch(() => this.scenes.delete(scene.number));
      this.scenes.set(scene.number, opening);
    }
    this.decoderBlob = scene.decoder;
  }

  /** An AVATAR message; frames are read one after the other. */
  receive(message, atMs) {
    this.received = message.frameId;
    this.chain = this.chain
      .then(() => this.#read(message, atMs))
      .catch((error) => this.#lose(error));
    return this.chain;
  }

  /** The page drew a frame: the next one may go to it. */
  displayed(frameId) {
    if (this.undisplayed?.frameId === frameId) this.undisplayed = null;
    if (!this.undisplayed && this.held) {
      const { held } = this;
      this.held = null;
      this.#hand(held);
    }
    const decodeMs = this.decodeMs.get(frameId) ?? 0;
    for (const known of this.decodeMs.keys()) if (known <= frameId) this.decodeMs.delete(known);
    return decodeMs;
  }

  close() {
    this.closed = true;
    clearTimeout(this.asking);
    clearTimeout(this.timer);
    this.video.close();
    closeTexture(this.held);
    this.held = null;
    this.pending.clear();
    this.code?.close?.();
  }

  async #read(message, atMs) {
    if (this.closed) return;
    if (message.key) this.lost = false;
    if (findPart(message, Part.CODE)) return this.#readCode(message, atMs);
    this.code?.pause();
    if (this.lost) return this.#lose();
    const mesh = findPart(message, Part.MESH_KEY) ?? findPart(message, Part.MESH_DELTA);
    if (!mesh) throw new WireError("avatar: expected a mesh or a code");
    this.payload = "geometry";
    const scene = await this.scenes.get(MeshDecoder.descriptionOf(mesh.data));
    if (!scene) throw new WireError("avatar: a mesh of an unknown scene");
    const started = nowMs();
    const vertices = scene.mesh.decode(mesh.data, message.frameId);
    const decoded = nowMs();
    const normals = scene.normals.of(vertices);
    this.stages.mesh = decoded - started;
    this.stages.normals = nowMs() - decoded;
    const avatar = { message, atMs, scene, vertices, normals, texture: null };
    const nodes = findPart(message, Part.NODES);
    const unit = findPart(message, Part.H264);
    if (nodes) avatar.texture = { kind: "nodes", ...parseNodes(nodes.data) };
    if (!unit) return this.#finish(avatar);
    avatar.sentMs = nowMs();
    this.pending.set(message.frameId, avatar);
    this.video.decode(unit.data, (unit.flags & 1) === 1, message.frameId);
  }

  async #picture(frameId, frame) {
    const avatar = this.pending.get(frameId);
    // Pictures come in order: those before this one, which never came, will not come.
    for (const known of this.pending.keys()) if (known <= frameId) this.pending.delete(known);
    if (!avatar || this.closed) return frame.close();
    const mine = ++this.pictures;
    if (isInMemory(frame)) {
      avatar.texture = await planesOf(frame);
    } else {
      avatar.texture = { kind: "frame", frame };
    }
    this.stages.texture = nowMs() - avatar.sentMs;
    // Copies may end in another order than they began.
    if (mine < (this.finished ?? 0)) return closeTexture(avatar);
    this.finished = mine;
    this.#finish(avatar);
  }

  async #readCode(message, atMs) {
    this.payload = "code";
    this.code ??= new CodePlayer(this, this.tools);
    await this.code.read(message, atMs);
  }

  /** From where this person is seen, in their world; null before the page said so. */
  eye() {
    return this.seenFrom ?? null;
  }

  /** Everything of a frame is there. */
  #finish(avatar) {
    if (this.closed) return closeTexture(avatar);
    this.decodeMs.set(avatar.message.frameId, nowMs() - avatar.atMs);
    const waits = this.undisplayed && nowMs() - this.undisplayed.atMs < UNDISPLAYED_MS;
    if (!waits) return this.#hand(avatar);
    closeTexture(this.held);
    this.held = avatar;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const { held } = this;
      this.held = null;
      if (held) this.#hand(held);
    }, UNDISPLAYED_MS);
  }

  #hand({ message, scene, vertices, normals, texture, concealed = false, shownMs }) {
    const { person, tools } = this;
    if (this.closed) return texture?.frame?.close();
    if (this.shownScene !== scene) {
      this.shownScene = scene;
      // A copy: the page may be told of the same topology again.
      tools.post({ type: "topology", person, id: scene.id, ...scene.topology });
    }
    this.undisplayed = { frameId: message.frameId, atMs: nowMs() };
    const transfer = [vertices.buffer, normals.buffer];
    if (texture?.frame) transfer.push(texture.frame);
    if (texture?.kind === "planes") transfer.push(texture.y.buffer, texture.u.buffer, texture.v.buffer);
    const tMs = tools.local(shownMs ?? milliseconds(message.tNs));
    const { id } = scene;
    tools.post(
      { type: "avatar", person, frameId: message.frameId, tMs, id, vertices, normals, texture, concealed },
      transfer,
    );
  }

  /** Hand over what a decoder of codes made of a packet. */
  showCode(message, atMs, scene, shape) {
    this.#finish({ message, atMs, scene, ...shape });
  }

  /** Only a key frame can help: ask for one, and again while none comes. */
  #lose(error) {
    if (error) this.tools.tell(`person ${this.person}: ${error.message ?? error}`);
    this.lost = true;
    if (this.closed || this.asking) return;
    this.tools.askKey(this.person, this.received);
    // Also when nothing more comes: what is on the way may be all that the server lets out.
    this.asking = setTimeout(() => {
      this.asking = null;
      if (this.lost) this.#lose();
    }, ASK_AGAIN_MS);
  }
}
