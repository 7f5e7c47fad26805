// The secure WebSocket to the server: comes back by itself after any loss.

import { nowMs } from "./clock.js";

const FIRST_WAIT_MS = 100;
const MOST_WAIT_MS = 1000;
const OPENING_MS = 2000;
const SILENCE_MS = 3000; // the server asks for our time every second
const CHECK_MS = 250;
const REFUSED_AFTER = 3;

export class ServerSocket {
  /** `onOpen()`, `onBytes(Uint8Array)`, `onState("connecting" | "open" | "lost" | "refused")`. */
  constructor(url, { onOpen, onBytes, onState }) {
    this.url = url;
    this.handlers = { onOpen, onBytes, onState };
    this.socket = null;
    this.failures = 0;
    this.heardMs = 0;
    this.stopped = false;
    this.timer = setInterval(() => this.#check(), CHECK_MS);
    this.#state("connecting");
    this.#connect();
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /** Bytes that the system has not taken yet. */
  get waiting() {
    return this.socket?.bufferedAmount ?? 0;
  }

  send(bytes) {
    if (this.isOpen) this.socket.send(bytes);
  }

  stop() {
    this.stopped = true;
    clearInterval(this.timer);
    clearTimeout(this.again);
    this.#drop();
  }

  #state(state) {
    if (this.state === state) return;
    this.state = state;
    this.handlers.onState(state);
  }

  #connect() {
    this.startedMs = nowMs();
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    const mine = (act) => (event) => {
      if (this.socket === socket && !this.stopped) act(event);
    };
    socket.onopen = mine(() => {
      this.failures = 0;
      this.heardMs = nowMs();
      this.handlers.onOpen(); // before anything else is sent
      this.#state("open");
    });
    socket.onmessage = mine(({ data }) => {
      this.heardMs = nowMs();
      if (data instanceof ArrayBuffer) this.handlers.onBytes(new Uint8Array(data));
    });
    socket.onclose = mine(() => this.#lose());
  }

  #check() {
    if (this.stopped || !this.socket) return;
    const now = nowMs();
    const late = this.isOpen ? now - this.heardMs > SILENCE_MS : now - this.startedMs > OPENING_MS;
    if (late) this.#lose();
  }

  #drop() {
    const { socket } = this;
    this.socket = null;
    // Closing waits for the other side; nothing that it still says is for us.
    try {
      socket?.close();
    } catch {
      // It had not opened.
    }
  }

  #lose() {
    this.#drop();
    this.failures += 1;
    const wait = Math.min(FIRST_WAIT_MS * 2 ** (this.failures - 1), MOST_WAIT_MS);
    if (this.state !== "refused") this.#state("lost");
    if (this.failures === REFUSED_AFTER) this.#ask();
    clearTimeout(this.again);
    this.again = setTimeout(() => this.stopped || this.#connect(), wait);
  }

  /** A browser does not say why a WebSocket failed: does the server still know this device? */
  async #ask() {
    try {
      const answer = await fetch("/index.html", { cache: "no-store", signal: AbortSignal.timeout(2000) });
      if (answer.status === 401 || answer.status === 403 || answer.status === 404) {
        this.#state("refused");
      }
    } catch {
      // It is not there at all.
    }
  }
}
