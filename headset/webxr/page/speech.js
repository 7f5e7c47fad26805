// Push to talk: the microphone while a button is held, as 16-bit samples at 16 kHz.

const RATE = 16000; // as in headset/webxr/prompt_messages.py
const LONGEST_MS = 30000; // a finger that forgot the button
const TEXTS = {
  idle: "Hold to speak", asking: "Allow the microphone", speaking: "Listening…",
  refused: "No microphone",
};

export class Speech {
  /** `button`: held to speak; `post(message, transfer)`: to the worker; `report(text)`: what failed. */
  constructor(button, post, report) {
    this.button = button;
    this.post = post;
    this.report = report;
    this.held = false;
    this.state = "idle";
    this.source = null; // {context, node}, kept after the first time
    button.addEventListener("pointerdown", (event) => {
      button.setPointerCapture(event.pointerId);
      this.begin();
    });
    for (const name of ["pointerup", "pointercancel"])
      button.addEventListener(name, () => this.end());
    for (const [name, act] of [["keydown", () => this.begin()], ["keyup", () => this.end()]])
      button.addEventListener(name, (event) => {
        if (event.key !== " " || event.repeat) return;
        event.preventDefault();
        act();
      });
    this.#tell("idle");
  }

  get text() {
    return TEXTS[this.state];
  }

  show(allowed) {
    if (this.button.hidden === allowed) this.button.hidden = !allowed;
    if (!allowed && this.held) this.end();
  }

  async begin() {
    if (this.held) return;
    this.held = true;
    this.#tell(this.source ? "speaking" : "asking");
    try {
      this.source ??= await this.#open();
    } catch (error) {
      this.held = false;
      this.report(`the microphone cannot be used: ${error.message}`);
      return this.#tell("refused");
    }
    if (!this.held) return this.#tell("idle"); // let go while the browser asked
    await this.source.context.resume();
    if (!this.held) return;
    this.#tell("speaking");
    this.source.node.port.postMessage("begin");
    this.limit = setTimeout(() => this.end(), LONGEST_MS);
  }

  end() {
    if (!this.held) return;
    this.held = false;
    clearTimeout(this.limit);
    this.source?.node.port.postMessage("end");
    this.#tell("idle");
  }

  #tell(state) {
    this.state = state;
    this.button.textContent = this.text;
    this.button.classList.toggle("speaking", state === "speaking");
  }

  async #open() {
    if (!navigator.mediaDevices) throw new Error("this page is not secure, or the browser has none");
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    const context = new AudioContext({ sampleRate: RATE }); // the browser converts to it
    await context.audioWorklet.addModule("./speech_worklet.js");
    const node = new AudioWorkletNode(context, "speech-taker", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    context.createMediaStreamSource(stream).connect(node);
    node.port.onmessage = ({ data: { samples, last } }) =>
      this.post({ type: "speech", samples, last }, [samples.buffer]);
    return { context, node };
  }
}
