// A board in space that is the page's own: before the wearer on arrival, grabbed and put elsewhere.

import { Matrix4, Vector3 } from "./vendor/three.module.min.js";
import { rectangle } from "./grab.js";
import { Board } from "./panels.js";

const UP = new Vector3(0, 1, 0);

export class SeatedBoard {
  /** `offset`: from the viewer's eyes, metres, as the viewer looks when they arrive. */
  constructor(scene, { pixels: [width, height], sizeM, offset }) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    this.board = new Board(canvas);
    this.board.object.visible = false;
    scene.add(this.board.object);
    this.sizeM = sizeM;
    this.offset = new Vector3(...offset);
    this.stageFromBoard = new Matrix4();
    this.painted = null;
  }

  get visible() {
    return this.board.object.visible;
  }

  set visible(visible) {
    this.board.object.visible = visible;
  }

  /** Turned to the viewer (stage, metres). */
  seat(viewer, yaw) {
    const place = this.offset.clone().applyAxisAngle(UP, yaw).add(viewer);
    const toViewer = Math.atan2(viewer.x - place.x, viewer.z - place.z);
    this.moveTo(this.stageFromBoard.makeRotationY(toViewer).setPosition(place));
  }

  /** Paint what `said` (a string) says, unless it is painted already. */
  paint(said, brush) {
    if (said === this.painted) return;
    this.painted = said;
    brush(this.board.canvas);
    this.board.repaint();
  }

  reach(point) {
    return this.visible ? rectangle(this.stageFromBoard, ...this.sizeM).reach(point) : null;
  }

  hit(origin, direction) {
    return this.visible ? rectangle(this.stageFromBoard, ...this.sizeM).hit(origin, direction) : null;
  }

  pose(into) {
    return into.copy(this.stageFromBoard);
  }

  moveTo(matrix) {
    this.stageFromBoard.copy(matrix);
    this.board.place(matrix, this.sizeM);
  }

  held(held) {
    this.board.uniforms.glow.value = held ? 1 : 0;
  }

  released() {}
}

/** A dark, round ground for `canvas`; its brush. */
export function ground(canvas, radius) {
  const brush = canvas.getContext("2d"), { width, height } = canvas;
  brush.clearRect(0, 0, width, height);
  brush.fillStyle = "rgb(20 23 29 / 0.86)";
  brush.beginPath();
  brush.roundRect(0, 0, width, height, radius);
  brush.fill();
  brush.textBaseline = "middle";
  return brush;
}
