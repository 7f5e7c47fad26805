// The words for pictures: a line at the page's lower edge, and in a session a board that opens the
// headset's keyboard, with one beside it that is held to speak.

import { ground, SeatedBoard } from "./seated_board.js";
import { Act } from "./wire/prompt_messages.js";

const EVERY_MS = 40; // a key that comes sooner goes with the next
const HINT = "Type what you want to see";

/** The form of index.html. Enter keeps the picture, Tab shows the nearest one of the shelf. */
export class PromptLine {
  /** `post(message)`: to the worker. */
  constructor(form, post) {
    this.form = form;
    this.input = form.querySelector("input");
    this.post = post;
    this.toldAt = -Infinity;
    this.told = "";
    this.later = null;
    this.input.placeholder = HINT;
    this.input.addEventListener("input", () => this.#tellSoon());
    this.input.addEventListener("keydown", (event) => this.#press(event));
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  get words() {
    return this.input.value;
  }

  /** What the server made of speech, or what was typed there. */
  receive({ words }) {
    if (this.later !== null) return; // what is typed here is newer
    this.told = words;
    this.input.value = words;
  }

  show(allowed) {
    if (this.form.hidden === allowed) this.form.hidden = !allowed;
  }

  /** Inside a session the browser shows its keyboard for a field that has the focus. */
  focus() {
    this.input.focus({ preventScroll: true });
  }

  #press(event) {
    if (event.isComposing) return; // Enter and Tab choose letters then
    if (event.key === "Enter") this.#act(event, Act.KEPT);
    else if (event.key === "Tab" && !event.shiftKey && this.words.trim()) this.#act(event, Act.TAKEN);
  }

  #act(event, act) {
    event.preventDefault();
    if (!event.repeat) this.#tell(act);
  }

  #tellSoon() {
    if (this.later !== null) return;
    const wait = Math.max(0, this.toldAt + EVERY_MS - performance.now());
    this.later = setTimeout(() => {
      if (this.words !== this.told) this.#tell(Act.TYPED);
      this.later = null;
    }, wait);
  }

  #tell(act) {
    clearTimeout(this.later);
    this.later = null;
    this.toldAt = performance.now();
    this.told = this.words;
    this.post({ type: "prompt", words: this.words, act });
  }
}

const PIXELS = [768, 96], SIZE_M = [0.4, 0.05];

/** What is typed, before the wearer; tapped, it opens the headset's keyboard. */
export class PromptBoard extends SeatedBoard {
  constructor(scene, line) {
    super(scene, { pixels: PIXELS, sizeM: SIZE_M, offset: [-0.05, -0.4, -0.52] });
    this.line = line;
  }

  /** `session`: null outside of one. */
  show(allowed, session) {
    this.visible = allowed && session !== null;
    if (!this.visible) return;
    // Where a browser shows no keyboard in a session, a real one or one's voice are left.
    const hint = session.isSystemKeyboardSupported === false ? HINT : "Tap here to type";
    const { words } = this.line;
    this.paint(words ? `words ${words}` : hint, (canvas) => paintWords(canvas, words, hint));
  }

  released({ tapped }) {
    if (tapped) this.line.focus();
  }
}

const SPEAK_PIXELS = [240, 96], SPEAK_M = [0.125, 0.05];

/** Held in a pinch while one speaks. */
export class SpeakBoard extends SeatedBoard {
  constructor(scene, speech) {
    super(scene, { pixels: SPEAK_PIXELS, sizeM: SPEAK_M, offset: [0.24, -0.4, -0.5] });
    this.speech = speech;
  }

  show(allowed, session) {
    this.visible = allowed && session !== null;
    if (!this.visible) return;
    const text = this.speech.text;
    this.paint(text, (canvas) => {
      const brush = ground(canvas, 40);
      brush.textAlign = "center";
      brush.fillStyle = this.speech.held ? "#e8c77a" : "#f1f4f8";
      brush.font = "600 30px system-ui, sans-serif";
      brush.fillText(text, canvas.width / 2, canvas.height / 2, canvas.width - 40);
    });
  }

  moveTo(matrix) {
    // It stays, so that a hand that is held still for long does not carry it away.
    if (!this.speech.held) super.moveTo(matrix);
  }

  held(held) {
    super.held(held);
    if (held) this.speech.begin();
    else this.speech.end();
  }
}

function paintWords(canvas, words, hint) {
  const brush = ground(canvas, 40), { width, height } = canvas, margin = 36;
  brush.font = "34px system-ui, sans-serif";
  brush.fillStyle = words ? "#f1f4f8" : "#9aa5b1";
  const text = words ? `${words}|` : hint;
  // Of a long line the end is seen, where one types.
  const over = Math.max(0, brush.measureText(text).width - (width - 2 * margin));
  brush.save();
  brush.beginPath();
  brush.rect(margin, 0, width - 2 * margin, height);
  brush.clip();
  brush.fillText(text, margin - over, height / 2);
  brush.restore();
}
