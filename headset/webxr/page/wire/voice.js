// One person's Opus packets -> pieces of sound, straight to the audio thread: drawing is not in the
// way. The other end of `port` is in sound_worklet.js.

const RATE = 48000;

/** Whether this browser decodes voices at all. */
export const canDecode = () => typeof AudioDecoder !== "undefined";

export class Voice {
  constructor(port) {
    this.port = port;
    this.decoder = null;
  }

  hear(tMs, packet) {
    if (!canDecode()) return;
    if (!this.decoder || this.decoder.state === "closed") this.#open();
    const timestamp = Math.round(1000 * tMs); // microseconds
    this.decoder.decode(new EncodedAudioChunk({ type: "key", timestamp, data: packet }));
  }

  #open() {
    const decoder = new AudioDecoder({
      output: (sound) => {
        const pcm = new Float32Array(sound.numberOfFrames);
        sound.copyTo(pcm, { planeIndex: 0, format: "f32-planar" });
        const { timestamp, sampleRate: rate } = sound;
        sound.close();
        this.port.postMessage({ type: "pcm", tMs: timestamp / 1000, pcm, rate }, [pcm.buffer]);
      },
      // A packet that makes no sense closes it; the next one opens another.
      error: () => decoder.state !== "closed" && decoder.close(),
    });
    decoder.configure({ codec: "opus", sampleRate: RATE, numberOfChannels: 1 });
    this.decoder = decoder;
  }

  close() {
    if (this.decoder && this.decoder.state !== "closed") this.decoder.close();
    this.decoder = null;
    this.port.close();
  }
}
