// Flat pictures in space: drawn as textured rectangles, or handed to the compositor as quad layers
// where the headset grants them. What was generated says so on its lower edge, always.

import {
  AddEquation, BufferAttribute, BufferGeometry, CanvasTexture, CustomBlending, GLSL3, Group,
  LinearFilter, LinearMipmapLinearFilter, Matrix4, Mesh, OneFactor, OneMinusSrcAlphaFactor,
  Quaternion, RawShaderMaterial, Vector3, ZeroFactor,
} from "./vendor/three.module.min.js";
import { rectangle } from "./grab.js";

const SMALLEST_M = 0.05, LARGEST_M = 3;
const WALL_M = 0.6; // larger ones stand behind people
const LABEL_PX = 34, SMALLEST_PX = 384; // as in render/panels.py
const TELL_EVERY_MS = 100;
const ONE = new Vector3(1, 1, 1);
// A head looks along +z, a viewer along -z.
export const VIEWER_FROM_HEAD = new Matrix4().makeRotationY(Math.PI);

const VERTEX = `precision highp float;
in vec3 position;
in vec2 uv;
uniform mat4 projectionMatrix;
uniform mat4 modelViewMatrix;
out vec2 v_uv;
void main() {
  v_uv = uv;
  gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0);
}`;
const FRAGMENT = `precision highp float;
in vec2 v_uv;
uniform sampler2D picture;
uniform float glow;
out vec4 colour;
void main() {
  colour = texture(picture, v_uv);
  if (colour.a < 0.004) discard;
  vec2 edge = min(v_uv, 1.0 - v_uv);
  float rim = 1.0 - smoothstep(0.0, 0.012, min(edge.x, edge.y));
  colour.rgb = mix(colour.rgb, vec3(0.75, 0.86, 1.0) * colour.a, rim * glow);
}`;

/** A unit square with row 0 of its picture on top. */
function square() {
  const geometry = new BufferGeometry();
  const corners = [-0.5, -0.5, 0, 0.5, -0.5, 0, 0.5, 0.5, 0, -0.5, 0.5, 0];
  geometry.setAttribute("position", new BufferAttribute(new Float32Array(corners), 3));
  geometry.setAttribute("uv", new BufferAttribute(new Float32Array([0, 1, 1, 1, 1, 0, 0, 0]), 2));
  geometry.setIndex([0, 1, 2, 0, 2, 3]);
  return geometry;
}

/** A canvas shown as a rectangle of `size` metres; premultiplied, as screens blend. */
export class Board {
  constructor(canvas) {
    this.canvas = canvas;
    this.texture = new CanvasTexture(canvas);
    this.texture.flipY = false;
    this.texture.premultiplyAlpha = true;
    this.texture.minFilter = LinearMipmapLinearFilter;
    this.texture.magFilter = LinearFilter;
    this.texture.anisotropy = 4;
    this.uniforms = { picture: { value: this.texture }, glow: { value: 0 } };
    this.material = new RawShaderMaterial({
      glslVersion: GLSL3, vertexShader: VERTEX, fragmentShader: FRAGMENT, uniforms: this.uniforms,
      transparent: true, blending: CustomBlending, blendEquation: AddEquation,
      blendSrc: OneFactor, blendDst: OneMinusSrcAlphaFactor,
    });
    this.object = new Mesh(square(), this.material);
    this.object.renderOrder = 10; // after everybody's hair
    this.object.matrixAutoUpdate = false;
    this.stageFromBoard = new Matrix4();
  }

  /** Take what was painted on the canvas, of the same size as before. */
  repaint() {
    this.texture.needsUpdate = true;
  }

  place(stageFromBoard, [width, height]) {
    this.stageFromBoard.copy(stageFromBoard);
    this.object.matrix.copy(stageFromBoard).scale(SCALE.set(width, height, 1));
    this.object.matrixWorldNeedsUpdate = true;
  }

  /** Instead of a picture, leave a hole in what is drawn, for the quad layer that lies below. */
  cutOut(hole) {
    this.material.blendSrc = hole ? ZeroFactor : OneFactor;
    this.material.blendDst = hole ? ZeroFactor : OneMinusSrcAlphaFactor;
  }

  dispose() {
    this.object.removeFromParent();
    this.object.geometry.dispose();
    this.material.dispose();
    this.texture.dispose();
  }
}

const SCALE = new Vector3();

/** A panel's picture on a canvas, with the label that no setting removes. */
export function paintPanel({ image, sizeM, generatedBy }, canvas) {
  const width = generatedBy ? Math.max(image.width, SMALLEST_PX) : image.width;
  const height = generatedBy
    ? Math.max(image.height, Math.round((width * sizeM[1]) / sizeM[0]), 1) : image.height;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const brush = canvas.getContext("2d");
  brush.clearRect(0, 0, width, height);
  brush.drawImage(image, 0, 0, width, height);
  if (!generatedBy) return;
  const strip = Math.min(Math.max(Math.round((LABEL_PX * width) / SMALLEST_PX), 1), (height + 1) >> 1);
  brush.fillStyle = "rgb(24 26 32)";
  brush.fillRect(0, height - strip, width, strip);
  brush.fillStyle = "white";
  brush.font = `${Math.round(strip * 0.6)}px system-ui, sans-serif`;
  brush.textBaseline = "middle";
  const text = `AI · ${generatedBy.trim().replaceAll(/\s+/g, " ")}`;
  brush.fillText(text, strip * 0.4, height - strip / 2, width - strip * 0.8);
}

/** One panel: what came of it, and where the wearer put it. */
class Panel {
  constructor(post) {
    this.post = post;
    this.board = new Board(document.createElement("canvas"));
    this.anchorFromPanel = new Matrix4();
    this.stageFromAnchor = new Matrix4();
    this.sizeM = [1, 1];
    this.isHeld = false;
    this.toldAt = 0;
    this.fresh = false; // the picture changed since a quad layer took it
  }

  receive(message) {
    const { id, anchor, anchorFromPanel, sizeM, image } = message;
    this.id = id;
    this.anchor = anchor;
    this.generatedBy = message.generatedBy;
    if (!this.isHeld) {
      this.anchorFromPanel.copy(matrixOf(anchorFromPanel));
      this.sizeM = [...sizeM];
    }
    if (!image) return; // moved only
    const { canvas } = this.board, before = [canvas.width, canvas.height];
    paintPanel({ ...message, sizeM: this.sizeM }, canvas);
    image.close?.();
    if (before[0] !== canvas.width || before[1] !== canvas.height) this.board.texture.dispose();
    this.board.repaint();
    this.fresh = true;
  }

  /** `stageFromAnchor`: null while the anchor is not seen. */
  place(stageFromAnchor) {
    this.board.object.visible = stageFromAnchor !== null;
    if (stageFromAnchor === null) return;
    this.stageFromAnchor.copy(stageFromAnchor);
    this.board.place(this.pose(POSE), this.sizeM);
  }

  get visible() {
    return this.board.object.visible;
  }

  /** Whether it stands in the world and is no backdrop: a screen should show all of it. */
  get isBeside() {
    return this.visible && this.anchor === "world" && Math.max(...this.sizeM) < WALL_M;
  }

  // What Grab asks of a thing.
  #rectangle() {
    return rectangle(this.board.stageFromBoard, ...this.sizeM);
  }

  reach(point) {
    return this.visible ? this.#rectangle().reach(point) : null;
  }

  hit(origin, direction) {
    return this.visible ? this.#rectangle().hit(origin, direction) : null;
  }

  pose(into) {
    return into.multiplyMatrices(this.stageFromAnchor, this.anchorFromPanel);
  }

  moveTo(stageFromPanel) {
    stageFromPanel.decompose(PLACE, TURN, SCALE);
    this.anchorFromPanel.copy(this.stageFromAnchor).invert().multiply(POSE.compose(PLACE, TURN, ONE));
    this.#tell(false);
  }

  resize(factor) {
    const longest = Math.max(...this.sizeM), shortest = Math.min(...this.sizeM);
    const most = LARGEST_M / longest, least = SMALLEST_M / shortest;
    const allowed = Math.max(least, Math.min(most, factor));
    this.sizeM = this.sizeM.map((side) => side * allowed);
  }

  held(held) {
    this.isHeld = held;
    this.board.uniforms.glow.value = held ? 1 : 0;
  }

  released({ tapped, thrown }) {
    if (tapped) this.post({ type: "panelChosen", id: this.id });
    else if (thrown) this.post({ type: "panelDismissed", id: this.id });
    else this.#tell(true);
  }

  #tell(last) {
    const now = performance.now();
    if (!last && now - this.toldAt < TELL_EVERY_MS) return;
    this.toldAt = now;
    this.post({
      type: "panelMoved", id: this.id, anchorFromPanel: rigidOf(this.anchorFromPanel),
      sizeM: [...this.sizeM],
    });
  }

  dispose() {
    this.board.dispose();
  }
}

export class Panels {
  /** `post(message)`: to the worker. */
  constructor(scene, post) {
    this.post = post;
    this.object = new Group();
    scene.add(this.object);
    this.panels = new Map();
    this.layers = null;
  }

  receive(message) {
    let panel = this.panels.get(message.id);
    if (!panel) {
      this.panels.set(message.id, (panel = new Panel(this.post)));
      this.object.add(panel.board.object);
    }
    panel.receive(message);
  }

  gone(id) {
    this.panels.get(id)?.dispose();
    this.panels.delete(id);
  }

  /** Follow the anchors. `anchor(name)`: stage_from_anchor or null. */
  update(anchor) {
    for (const panel of this.panels.values()) panel.place(anchor(panel.anchor));
  }

  [Symbol.iterator]() {
    return this.panels.values();
  }
}

/** stage_from_anchor of each anchor's name, or null where it is not seen. */
export function anchorsOf({ stageFromWorld, stageFromViewer, pointers }) {
  const wrist = (side) => pointers?.hand(side)?.wrist ?? null;
  return (name) => {
    if (name === "world") return stageFromWorld;
    if (name === "left wrist") return wrist("left");
    if (name === "right wrist") return wrist("right");
    return stageFromViewer ? HEAD.multiplyMatrices(stageFromViewer, VIEWER_FROM_HEAD) : null;
  };
}

/** {wxyz, xyz} -> Matrix4. */
export function matrixOf({ wxyz, xyz }) {
  const [w, x, y, z] = wxyz;
  return new Matrix4().compose(new Vector3(...xyz), new Quaternion(x, y, z, w), ONE);
}

/** Matrix4 without scale -> {wxyz, xyz}. */
export function rigidOf(matrix) {
  matrix.decompose(PLACE, TURN, SCALE);
  return { wxyz: [TURN.w, TURN.x, TURN.y, TURN.z], xyz: PLACE.toArray() };
}

const POSE = new Matrix4(), HEAD = new Matrix4(), PLACE = new Vector3(), TURN = new Quaternion();
