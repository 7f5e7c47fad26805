// The state of the link: a corner of the page on a screen, a small board beside the avatar in VR.

import { ground, SeatedBoard } from "./seated_board.js";
import { statusLine, statusRows } from "./status_text.js";

const TONES = { good: "#7fd6a2", waiting: "#e8c77a", bad: "#f08a80" };
const SIZE_M = [0.24, 0.2];
const PIXELS = [480, 400];
const EVERY_MS = 500;

/** The elements of index.html. */
export class StatusCorner {
  constructor(root) {
    this.root = root;
    this.dot = root.querySelector(".dot");
    this.text = root.querySelector(".text");
    this.table = root.querySelector("dl");
    this.pairing = root.querySelector("a");
  }

  show(state) {
    const { tone, text } = statusLine(state);
    this.dot.style.background = TONES[tone];
    if (this.text.textContent !== text) this.text.textContent = text;
    this.pairing.hidden = state.link.state !== "refused";
    if (!this.root.open) return;
    const cells = statusRows(state).flatMap(([name, value]) => {
      const [term, description] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      description.textContent = value;
      return [term, description];
    });
    this.table.replaceChildren(...cells);
  }
}

/** The same on a board in space. */
export class StatusBoard extends SeatedBoard {
  constructor(scene) {
    // Beside the place where the avatar sits.
    super(scene, { pixels: PIXELS, sizeM: SIZE_M, offset: [-0.38, -0.22, -0.75] });
    this.paintedAt = 0;
  }

  /** `read()` gives the state, when it is time to paint it. */
  show(read, visible) {
    this.visible = visible;
    const now = performance.now();
    if (!visible || now - this.paintedAt < EVERY_MS) return;
    this.paintedAt = now;
    const state = read();
    const line = statusLine(state), rows = statusRows(state);
    this.paint(JSON.stringify([line, rows]), (canvas) => paint(canvas, line, rows));
  }
}

function paint(canvas, { tone, text }, rows) {
  const brush = ground(canvas, 26), [width, height] = PIXELS;
  brush.fillStyle = TONES[tone];
  brush.beginPath();
  brush.arc(38, 44, 10, 0, 2 * Math.PI);
  brush.fill();
  brush.fillStyle = "#f1f4f8";
  brush.font = "600 28px system-ui, sans-serif";
  brush.fillText(text, 62, 44, width - 84);
  const step = Math.min(36, (height - 96) / Math.max(1, rows.length));
  brush.font = `${Math.round(step * 0.68)}px system-ui, sans-serif`;
  rows.forEach(([name, value], i) => {
    const y = 94 + i * step;
    brush.textAlign = "left";
    brush.fillStyle = "#9aa5b1";
    brush.fillText(name, 28, y, 180);
    brush.textAlign = "right";
    brush.fillStyle = "#e3e8ee";
    brush.fillText(value, width - 28, y, 240);
  });
  brush.textAlign = "left";
}
