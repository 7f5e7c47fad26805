// One person's code payload in the page's worker: packets come when they come, frames are made at an
// even rate, each of one moment between packets, or of what a face has likely become after the last.

import { findPart, milliseconds, Part } from "../wire/messages.js";
import { nowMs } from "../wire/clock.js";
import { AvatarDecoder, BitstreamError } from "./avatar_decoder.js";
import { HORIZON_MS } from "./concealment.js";
import { Playout } from "./playout.js";

const FRAME_MS = 33;
const ASK_AGAIN_MS = 500;
const KEPT = 0.98; // of the share of lost packets, at each one that comes

export class CodePlayer {
  /** `stream`: {person, decoderBlob, stages, eye(), showCode(message, atMs, scene, shape)}; `tools`:
   *  {blobs, tell(text), askKey(person, received)}; `time`: {now(), later(work, ms), never(timer)},
   *  which tests set. */
  constructor(stream, tools, time = REAL_TIME) {
    this.stream = stream;
    this.tools = tools;
    this.time = time;
    this.decoder = null;
    this.scene = null;
    this.blob = null; // whose decoder it is
    this.newest = null; // {message, atMs, tMs}
    this.playout = new Playout();
    this.askedMs = -Infinity;
    this.lossShare = 0;
    this.timer = null;
    this.closed = false;
  }

  /** An AVATAR message with a code. Never throws for what is in its packet. */
  async read(message, atMs) {
    if (!(await this.#isOpen()) || this.closed) return;
    const { decoder, stream, time } = this;
    const begun = time.now();
    let code;
    try {
      code = decoder.decode(findPart(message, Part.CODE).data);
    } catch (error) {
      if (!(error instanceof BitstreamError)) throw error;
      this.tools.tell(`person ${stream.person}: ${error.message}`);
      return this.#ask(message.frameId);
    }
    this.#count(decoder.gap);
    if (!code) {
      if (decoder.waits) this.#ask(message.frameId);
      return;
    }
    stream.stages.packet = time.now() - begun;
    this.newest = { message, atMs, tMs: code.tMs };
    this.playout.came(code.tMs, atMs, decoder.gap);
    if (this.timer === null) this.#frame();
  }

  /** Another payload is shown now. */
  pause() {
    this.time.never(this.timer);
    this.timer = null;
    this.newest = null;
    this.playout.begin();
  }

  close() {
    this.closed = true;
    this.pause();
  }

  /** Whether the avatar's decoder is there; fetched once, and not again when it cannot be read. */
  async #isOpen() {
    const blob = this.stream.decoderBlob;
    if (!blob) return false;
    if (this.blob !== blob) {
      this.pause();
      this.blob = blob;
      this.decoder = null;
      try {
        const bytes = await this.tools.blobs.of(blob, (whole) => whole);
        const decoder = await AvatarDecoder.open(bytes);
        if (this.blob !== blob) return false;
        this.decoder = decoder;
        const id = `code/${blob}`;
        this.scene = { id, topology: { ...decoder.topology(), id } };
      } catch (error) {
        this.tools.tell(`person ${this.stream.person}: cannot be decoded here: ${error.message}`);
      }
    }
    return this.decoder !== null;
  }

  /** Make one, and go on until a second after the newest packet: then nothing changes any more. */
  #frame() {
    const { decoder, newest, stream, time } = this;
    const begun = time.now();
    const momentMs = this.playout.momentMs(begun);
    const { vertices, normals, nodes, gain } = decoder.meshOf(decoder.at(momentMs), stream.eye() ?? undefined);
    stream.stages.mesh = time.now() - begun;
    const aheadMs = momentMs - newest.tMs;
    stream.showCode(newest.message, newest.atMs, this.scene, {
      vertices, normals, texture: { kind: "nodes", nodes, gain }, concealed: aheadMs > 0,
      // The bitstream's clock is its sender's; the message's is the server's.
      shownMs: milliseconds(newest.message.tNs) + aheadMs,
    }); // prettier-ignore
    this.timer = aheadMs < HORIZON_MS ? time.later(() => this.#next(), FRAME_MS) : null;
  }

  #next() {
    this.timer = null;
    if (!this.closed && this.newest) this.#frame();
  }

  /** `gap`: by how many a packet is after the one before; null for one that is late. */
  #count(gap) {
    for (let k = 1; k < (gap ?? 1); k++) this.lossShare = KEPT * this.lossShare + (1 - KEPT);
    this.lossShare *= KEPT;
    this.stream.lossShare = this.lossShare;
  }

  #ask(received) {
    const now = this.time.now();
    if (now - this.askedMs < ASK_AGAIN_MS) return;
    this.askedMs = now;
    this.tools.askKey(this.stream.person, received);
  }
}

const REAL_TIME = {
  now: nowMs,
  later: (work, ms) => setTimeout(work, ms),
  never: (timer) => clearTimeout(timer),
};
