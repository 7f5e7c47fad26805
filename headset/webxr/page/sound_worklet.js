// Plays one person's voice a little late and evenly: a jitter buffer in the audio thread.
//
// Samples come in pieces with the time of their first sample. What is missing is silence, and so is
// everything after the last piece: a gap fades out and in, it is never louder than the voice was.

const FADE_S = 0.004;
const LONGEST_S = 2; // held at most
const DELAY_S = 0.06; // held before playing begins
const RESUME_S = 0.01; // held before it goes on after a gap
const TOO_LATE_S = 0.35; // more than this held: skip to the newest
const GENTLE = 0.02; // played this much faster or slower to come nearer to the lips
const JOINED_S = 0.012; // less than a piece is long
const REPORT_EVERY = 75; // blocks of 128 samples

class VoicePlayer extends AudioWorkletProcessor {
  constructor() {
    super();
    this.rate = sampleRate; // of the pieces
    this.ring = new Float32Array(Math.ceil(LONGEST_S * sampleRate));
    this.startMs = null; // the time of position 0
    this.read = 0; // positions in samples since startMs
    this.write = 0;
    this.playing = false;
    this.starved = false; // it was playing, and pieces are missing: time goes on in silence
    this.level = 0; // 0 silent, 1 playing: what fades
    this.speed = 1;
    this.blocks = 0;
    this.late = 0;
    this.gaps = 0;
    this.port.onmessage = ({ data }) => this.#take(data);
  }

  #take(message) {
    if (message.type === "speed") this.speed = 1 + Math.max(-GENTLE, Math.min(GENTLE, message.by));
    if (message.type === "pcm") this.#store(message);
    // From the worker that decodes, past the page, which may be busy drawing.
    if (message.type === "source") message.port.onmessage = ({ data }) => this.#take(data);
  }

  #store({ tMs, pcm, rate }) {
    if (rate !== this.rate || this.startMs === null) this.#restart(tMs, rate);
    let position = Math.round(((tMs - this.startMs) / 1000) * this.rate);
    // A far jump, forwards or back: the speaker paused, or the server started anew.
    if (Math.abs(position - this.write) > this.ring.length / 2) {
      this.#restart(tMs, rate);
      position = 0;
    }
    // Times are rounded, and the clock they come through is corrected now and then: a piece that
    // nearly follows the one before joins it, and the times of all slide towards its own.
    const apart = position - this.write;
    if (Math.abs(apart) < JOINED_S * this.rate) {
      this.startMs += (0.1 * 1000 * apart) / this.rate;
      position = this.write;
    }
    if (position < this.read) {
      this.late++;
      if (this.playing) return; // its moment has passed
      // The link became slower: begin again from here, with all of the delay.
      this.read = this.write = position;
      this.starved = false;
    }
    const size = this.ring.length, lost = position > this.write;
    if (lost) this.#fadeOut();
    for (let at = this.write; at < position; at++) this.ring[at % size] = 0;
    const ramp = lost ? Math.round(FADE_S * this.rate) : 0;
    for (let i = 0; i < pcm.length; i++)
      this.ring[(position + i) % size] = i < ramp ? (pcm[i] * i) / ramp : pcm[i];
    this.write = Math.max(this.write, position + pcm.length);
    if (this.write - this.read > TOO_LATE_S * this.rate) {
      this.read = this.write - DELAY_S * this.rate;
      this.level = 0;
    }
  }

  /** What comes before a gap ends softly, as far as it was not played yet. */
  #fadeOut() {
    const ramp = Math.min(Math.round(FADE_S * this.rate), Math.floor(this.write - this.read) - 1);
    for (let i = 1; i <= ramp; i++)
      this.ring[(this.write - i) % this.ring.length] *= (i - 1) / ramp;
  }

  #restart(tMs, rate) {
    this.rate = rate;
    this.startMs = tMs;
    this.read = this.write = 0;
    this.playing = this.starved = false;
    this.level = 0;
  }

  process(inputs, outputs) {
    const out = outputs[0][0], size = this.ring.length;
    const step = (this.rate / sampleRate) * this.speed, fade = 1 / (FADE_S * sampleRate);
    for (let i = 0; i < out.length; i++) {
      const held = this.write - this.read;
      const enough = (this.starved ? RESUME_S : DELAY_S) * this.rate;
      if (!this.playing) this.playing = held >= enough;
      if (!this.playing) {
        if (this.starved) this.read += step;
        out[i] = 0;
        continue;
      }
      this.starved = false;
      if (held < 2) {
        this.playing = false;
        this.level = 0;
        this.read = this.write;
        this.starved = true;
        this.gaps++;
        out[i] = 0;
        continue;
      }
      // Near the end of what there is, fade out before it is over.
      const wanted = held > FADE_S * this.rate + 2 ? 1 : 0;
      this.level = Math.max(0, Math.min(1, this.level + (wanted ? fade : -fade)));
      const whole = Math.floor(this.read), share = this.read - whole;
      const a = this.ring[whole % size], b = this.ring[(whole + 1) % size];
      out[i] = (a + (b - a) * share) * this.level;
      this.read += step;
    }
    if (++this.blocks % REPORT_EVERY === 0) {
      const playedMs = this.startMs === null ? null : this.startMs + (1000 * this.read) / this.rate;
      const { playing, late, gaps } = this;
      this.port.postMessage({ playing, playedMs, late, gaps });
    }
    return true;
  }
}

registerProcessor("voice-player", VoicePlayer);
