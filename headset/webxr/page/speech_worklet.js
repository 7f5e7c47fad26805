// Takes what the microphone hears while a button is held, in pieces of a tenth of a second.

const PIECE = 1600; // samples at 16 kHz

class SpeechTaker extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Int16Array(PIECE);
    this.filled = 0;
    this.taking = false;
    this.port.onmessage = ({ data }) => {
      if (data === "begin") this.filled = 0;
      else if (this.taking) this.#give(true);
      this.taking = data === "begin";
    };
  }

  process([[samples]]) {
    if (!this.taking || !samples) return true;
    for (const sample of samples) {
      this.piece[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
      if (this.filled === PIECE) this.#give(false);
    }
    return true;
  }

  #give(last) {
    const samples = this.piece.slice(0, this.filled);
    this.filled = 0;
    this.port.postMessage({ samples, last }, [samples.buffer]);
  }
}

registerProcessor("speech-taker", SpeechTaker);
