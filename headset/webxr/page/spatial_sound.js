// Voices from the mouths they belong to: head-related panning, and a jitter buffer each.

import { canDecode } from "./wire/voice.js";

const RATE = 48000;
const NEAR_M = 0.7;
const CORRECTION = 0.0002; // of speed, a millisecond between sound and lips

/** One person's voice. */
class Voice {
  constructor(context) {
    this.context = context;
    this.player = new AudioWorkletNode(context, "voice-player", {
      numberOfInputs: 0, outputChannelCount: [1],
    });
    this.panner = new PannerNode(context, {
      panningModel: "HRTF", distanceModel: "inverse", refDistance: NEAR_M, maxDistance: 20,
      coneInnerAngle: 120, coneOuterAngle: 300, coneOuterGain: 0.5,
    });
    this.player.connect(this.panner).connect(context.destination);
    this.report = { playing: false, playedMs: null, late: 0, gaps: 0 };
    this.reportedAt = 0;
    this.player.port.onmessage = ({ data }) => {
      this.report = data;
      this.reportedAt = performance.now();
    };
  }

  hear(tMs, pcm, rate) {
    this.player.port.postMessage({ type: "pcm", tMs, pcm, rate }, [pcm.buffer]);
  }

  /** A port that takes pieces of sound from wherever they are decoded. */
  source() {
    const { port1, port2 } = new MessageChannel();
    this.player.port.postMessage({ type: "source", port: port1 }, [port1]);
    return port2;
  }

  place({ x, y, z }, facing) {
    this.panner.positionX.value = x;
    this.panner.positionY.value = y;
    this.panner.positionZ.value = z;
    this.panner.orientationX.value = facing.x;
    this.panner.orientationY.value = facing.y;
    this.panner.orientationZ.value = facing.z;
  }

  /** Milliseconds by which the sound that plays now is ahead of the lips that are shown. */
  offset(lipsMs) {
    const { playing, playedMs } = this.report;
    if (!playing || playedMs === null || lipsMs === null) return null;
    return playedMs + (performance.now() - this.reportedAt) - lipsMs;
  }

  follow(lipsMs) {
    const offset = this.offset(lipsMs);
    if (offset !== null) this.player.port.postMessage({ type: "speed", by: -CORRECTION * offset });
  }
}

export class SpatialSound {
  /** `report(text)`: told when this browser cannot play what comes; `post(message, transfer)`: to
   *  the worker. */
  constructor(report, post) {
    this.report = report;
    this.post = post;
    this.context = null;
    /** Somebody speaks, and nobody clicked yet: browsers are silent until then. */
    this.unheard = false;
    this.voices = new Map();
    this.starting = null;
  }

  /** Sound needs a click first: call from one. */
  start() {
    this.starting ??= this.#open();
    this.context?.resume();
    return this.starting;
  }

  async #open() {
    try {
      this.context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
      await this.context.audioWorklet.addModule("./sound_worklet.js");
      this.ready = true;
    } catch (error) {
      this.report(`there is no sound: ${error.message}`);
      this.starting = null;
    }
  }

  /** A "sound" message: pcm at a rate, or the first packets of somebody whose voice the worker can
   *  decode as soon as it knows where to. Without a click so far nothing is heard. */
  receive({ person, tMs, pcm, rate }) {
    this.unheard = this.starting === null;
    if (!this.ready || this.context.state !== "running") return;
    if (!pcm && !canDecode()) {
      if (!this.told) this.report("this browser cannot decode the voice");
      this.told = true;
      return;
    }
    let voice = this.voices.get(person);
    if (!voice) {
      this.voices.set(person, (voice = new Voice(this.context)));
      const port = voice.source();
      this.post({ type: "voice", person, port }, [port]);
    }
    if (pcm) voice.hear(tMs, pcm, rate);
  }

  gone(person) {
    this.voices.get(person)?.player.disconnect();
    this.voices.delete(person);
  }

  /** Once a drawn frame. `mouthOf(person)` and `facingOf(person)`: stage; `viewer`: Matrix4. */
  update({ viewer, mouthOf, facingOf, lipsOf, hidden }) {
    if (!this.ready) return;
    if (hidden && this.context.state === "running") this.context.suspend();
    if (!hidden && this.context.state === "suspended") this.context.resume();
    const e = viewer.elements, { listener } = this.context;
    const values = {
      positionX: e[12], positionY: e[13], positionZ: e[14],
      forwardX: -e[8], forwardY: -e[9], forwardZ: -e[10], upX: e[4], upY: e[5], upZ: e[6],
    };
    if (listener.positionX) for (const [name, value] of Object.entries(values)) listener[name].value = value;
    else {
      listener.setPosition(e[12], e[13], e[14]);
      listener.setOrientation(-e[8], -e[9], -e[10], e[4], e[5], e[6]);
    }
    for (const [person, voice] of this.voices) {
      voice.place(mouthOf(person), facingOf(person));
      voice.follow(lipsOf(person));
    }
  }

  /** For the status: of anybody who speaks. */
  offset(lipsOf) {
    for (const [person, voice] of this.voices) {
      const offset = voice.offset(lipsOf(person));
      if (offset !== null) return offset;
    }
    return null;
  }
}
