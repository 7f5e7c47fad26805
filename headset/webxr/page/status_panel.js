// The state of the link: a corner of the page on a screen, a small board beside the avatar in VR.

import { Matrix4, Vector3 } from "./vendor/three.module.min.js";
import { rectangle } from "./grab.js";
import { Board } from "./panels.js";
import { statusLine, statusRows } from "./status_text.js";

const TONES = { good: "#7fd6a2", waiting: "#e8c77a", bad: "#f08a80" };
const SIZE_M = [0.24, 0.2];
const PIXELS = [480, 400];
const EVERY_MS = 500;
const UP = new Vector3(0, 1, 0);

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

/** The same on a board in space. It can be grabbed and put elsewhere. */
export class StatusBoard {
  constructor(scene) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = PIXELS;
    this.board = new Board(canvas);
    this.board.object.visible = false;
    scene.add(this.board.object);
    this.stageFromBoard = new Matrix4();
    this.paintedAt = 0;
    this.painted = "";
  }

  /** Beside the place where the avatar sits, turned to the viewer (stage, metres). */
  seat(viewer, yaw) {
    const place = new Vector3(-0.38, -0.22, -0.75).applyAxisAngle(UP, yaw).add(viewer);
    const toViewer = Math.atan2(viewer.x - place.x, viewer.z - place.z);
    this.stageFromBoard.makeRotationY(toViewer).setPosition(place);
    this.board.place(this.stageFromBoard, SIZE_M);
  }

  /** `read()` gives the state, when it is time to paint it. */
  show(read, visible) {
    this.board.object.visible = visible;
    const now = performance.now();
    if (!visible || now - this.paintedAt < EVERY_MS) return;
    this.paintedAt = now;
    const state = read();
    const line = statusLine(state), rows = statusRows(state);
    const painted = JSON.stringify([line, rows]);
    if (painted === this.painted) return;
    this.painted = painted;
    paint(this.board.canvas, line, rows);
    this.board.repaint();
  }

  reach(point) {
    return rectangle(this.stageFromBoard, ...SIZE_M).reach(point);
  }

  hit(origin, direction) {
    return rectangle(this.stageFromBoard, ...SIZE_M).hit(origin, direction);
  }

  pose(into) {
    return into.copy(this.stageFromBoard);
  }

  moveTo(matrix) {
    this.stageFromBoard.copy(matrix);
    this.board.place(matrix, SIZE_M);
  }

  held(held) {
    this.board.uniforms.glow.value = held ? 1 : 0;
  }

  released() {}
}

function paint(canvas, { tone, text }, rows) {
  const brush = canvas.getContext("2d"), [width, height] = PIXELS;
  brush.clearRect(0, 0, width, height);
  brush.fillStyle = "rgb(20 23 29 / 0.86)";
  brush.beginPath();
  brush.roundRect(0, 0, width, height, 26);
  brush.fill();
  brush.fillStyle = TONES[tone];
  brush.beginPath();
  brush.arc(38, 44, 10, 0, 2 * Math.PI);
  brush.fill();
  brush.textBaseline = "middle";
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
