// H.264 access units -> pictures, in order, each under its frame's id (WebCodecs).

import { WireError } from "./messages.js";

/** "avc1.PPCCLL" of the first sequence parameter set (Annex B), which every key frame has. */
export function codecOf(unit) {
  for (let i = 0; i + 6 < unit.length; i++) {
    if (unit[i] === 0 && unit[i + 1] === 0 && unit[i + 2] === 1 && (unit[i + 3] & 31) === 7) {
      const hex = [4, 5, 6].map((k) => unit[i + k].toString(16).padStart(2, "0"));
      return `avc1.${hex.join("").toUpperCase()}`;
    }
  }
  throw new WireError("video: expected a key frame with its parameters");
}

export class VideoTexture {
  /** `onPicture(frameId, frame: VideoFrame)` must close the frame; `onTrouble(error)`: only a key
   *  frame can follow. */
  constructor(onPicture, onTrouble) {
    this.onPicture = onPicture;
    this.onTrouble = onTrouble;
    this.decoder = null;
    this.codec = null;
  }

  /** `alone`: the unit needs nothing before it. */
  decode(unit, alone, frameId) {
    if (alone) this.#prepare(codecOf(unit));
    if (!this.decoder) throw new WireError("video: expected a key frame first");
    this.decoder.decode(
      new EncodedVideoChunk({ type: alone ? "key" : "delta", timestamp: frameId, data: unit }),
    );
  }

  close() {
    if (this.decoder && this.decoder.state !== "closed") this.decoder.close();
    this.decoder = null;
    this.codec = null;
  }

  #prepare(codec) {
    if (this.decoder?.state === "configured" && this.codec === codec) return;
    this.close();
    const decoder = new VideoDecoder({
      output: (frame) => this.onPicture(frame.timestamp, frame),
      error: (error) => {
        if (this.decoder !== decoder) return;
        this.close();
        this.onTrouble(error);
      },
    });
    decoder.configure({ codec, optimizeForLatency: true, hardwareAcceleration: "no-preference" });
    this.decoder = decoder;
    this.codec = codec;
  }
}

/** Whether the frame's planes lie in this process's memory: then three small uploads are quicker
 *  than one of the frame. */
export const isInMemory = (frame) => frame.format === "I420";

/** VideoFrame (I420) -> {kind: "planes", ...}; the frame is closed. */
export async function planesOf(frame) {
  try {
    const { width, height } = frame.visibleRect;
    const bytes = new Uint8Array(frame.allocationSize());
    const layout = await frame.copyTo(bytes);
    const rows = [height, (height + 1) >> 1, (height + 1) >> 1];
    const [y, u, v] = layout.map(({ offset, stride }, k) =>
      bytes.slice(offset, offset + stride * rows[k]),
    );
    return { kind: "planes", y, u, v, width, height, strides: layout.map(({ stride }) => stride) };
  } finally {
    frame.close();
  }
}
