// One person's code payload in the page's worker: packets as they come become frames, and where none
// comes in time, what the face has likely become is shown in its stead.

import { findPart, Part } from "../wire/messages.js";
import { nowMs } from "../wire/clock.js";
import { AvatarDecoder, BitstreamError } from "./avatar_decoder.js";
import { HORIZON_MS } from "./concealment.js";
import { clamped } from "./rigid.js";

const PATIENCE = 1.6; // of the usual time between packets: then one is missing
const LEAST_PATIENCE_MS = 40;
const MOST_PATIENCE_MS = 250;
const LEAST_CONCEALED_MS = 15; // from one concealed moment to the next
const ASK_AGAIN_MS = 500;
const KEPT = 0.98; // of the share of lost packets, at each one that comes

export class CodePlayer {
  /** `stream`: {person, decoderBlob, held, showCode(message, atMs, scene, shape), stages, eye()};
   *  `tools`: {blobs, tell(text), askKey(person, received)}; `time`: {now(), later(work, ms),
   *  never(timer)}, which tests set. */
  constructor(stream, tools, time = REAL_TIME) {
    this.stream = stream;
    this.tools = tools;
    this.time = time;
    this.decoder = null;
    this.scene = null;
    this.blob = null; // whose decoder it is
    this.newest = null; // {message, atMs, tMs}
    this.intervalMs = null; // between packets, as sent
    this.askedMs = -Infinity;
    this.lossShare = 0;
    this.timer = null;
    this.closed = false;
  }

  /** An AVATAR message with a code. Never throws for what is in it. */
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
    if (this.newest) {
      const passedMs = (code.tMs - this.newest.tMs) / Math.max(decoder.gap, 1);
      if (passedMs > 0 && passedMs < HORIZON_MS) {
        this.intervalMs ??= passedMs;
        this.intervalMs += 0.1 * (passedMs - this.intervalMs);
      }
    }
    this.newest = { message, atMs, tMs: code.tMs };
    this.#show(code, false);
    this.#watch();
  }

  /** The payload changed, or the person left. */
  pause() {
    this.time.never(this.timer);
    this.newest = null;
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
        this.scene = { id: `code/${blob}`, topology: { ...decoder.topology(), id: `code/${blob}` } };
      } catch (error) {
        this.tools.tell(`person ${this.stream.person}: cannot be decoded here: ${error.message}`);
      }
    }
    return this.decoder !== null;
  }

  #show(code, concealed) {
    const { decoder, newest, stream, time } = this;
    const begun = time.now();
    const { vertices, normals, nodes, gain } = decoder.meshOf(code, stream.eye() ?? undefined);
    stream.stages.mesh = time.now() - begun;
    const shape = { vertices, normals, texture: { kind: "nodes", nodes, gain }, concealed };
    stream.showCode(newest.message, newest.atMs, this.scene, shape);
  }

  /** Until the next packet comes. */
  #watch() {
    const { time } = this;
    time.never(this.timer);
    if (this.intervalMs === null) return;
    const waitMs = clamped(PATIENCE * this.intervalMs, LEAST_PATIENCE_MS, MOST_PATIENCE_MS);
    this.timer = time.later(() => this.#conceal(), waitMs);
  }

  #conceal() {
    if (this.closed || !this.newest) return;
    const { atMs, tMs } = this.newest;
    const passedMs = this.time.now() - atMs;
    // What came and still waits for the page is not replaced by a guess.
    if (!this.stream.held) this.#show(this.decoder.concealed(tMs + passedMs), true);
    const waitMs = clamped(this.intervalMs, LEAST_CONCEALED_MS, MOST_PATIENCE_MS);
    if (passedMs < HORIZON_MS) this.timer = this.time.later(() => this.#conceal(), waitMs);
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
