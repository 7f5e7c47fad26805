// The page's one entry: fetches the shaders, starts the worker, and wires everything to the stage.

import { Matrix4, Vector3 } from "./vendor/three.module.min.js";
import { Grab, SeatedPerson } from "./grab.js";
import { Hands } from "./hands.js";
import { Link } from "./link.js";
import { anchorsOf, Panels, rigidOf, VIEWER_FROM_HEAD } from "./panels.js";
import { People } from "./people.js";
import { Pointers } from "./pointers.js";
import { PromptBoard, PromptLine, SpeakBoard } from "./prompt_line.js";
import { QuadLayers } from "./quad_layers.js";
import { viewsOf } from "./sample_views.js";
import { offered, Sessions } from "./sessions.js";
import { ShaderPrograms } from "./shader_programs.js";
import { SpatialSound } from "./spatial_sound.js";
import { Speech } from "./speech.js";
import { Stage } from "./stage.js";
import { StatusBoard, StatusCorner } from "./status_panel.js";
import { RateMeter } from "./status_text.js";
import { StereoVideo } from "./stereo_video.js";

class Page {
  constructor(programs) {
    const report = (text) => this.report(text);
    this.trouble = null;
    this.troubleAt = -Infinity;
    this.stage = new Stage(document.querySelector("canvas"), programs, report);
    const { scene, renderer } = this.stage;
    this.people = new People(programs, scene, report);
    this.panels = new Panels(scene, (message) => this.link.post(message));
    this.video = new StereoVideo(scene);
    this.hands = new Hands(scene);
    this.pointers = new Pointers();
    this.grab = new Grab();
    this.sound = new SpatialSound(
      report, (message, transfer) => this.link.post(message, transfer));
    this.corner = new StatusCorner(document.querySelector("#status"));
    this.board = new StatusBoard(scene);
    const form = document.querySelector("#imagine");
    this.prompt = new PromptLine(form, (message) => this.link.post(message));
    this.speech = new Speech(
      form.querySelector(".speak"), (message, transfer) => this.link.post(message, transfer), report);
    this.promptBoards = [new PromptBoard(scene, this.prompt), new SpeakBoard(scene, this.speech)];
    this.drawn = new RateMeter();
    this.sessions = new Sessions(renderer);
    this.layers = null;
    this.stageFromViewer = null; // in a session, while tracked
    this.arrived = false;
    this.worldFromRoom = new Matrix4();
    this.displayed = [];
    this.cornerAt = 0;
    this.link = new Link({
      topology: (message) => this.people.describe(message),
      avatar: (message) => this.people.receive(message),
      personGone: ({ person }) => this.#forget(person),
      panel: (message) => this.panels.receive(message),
      panelGone: ({ id }) => this.panels.gone(id),
      video: (message) => this.video.receive(message),
      sound: (message) => this.sound.receive(message),
      words: (message) => this.prompt.receive(message),
    }, report);
    this.stage.beforeDrawing.push(
      (time, frame) => this.#follow(frame),
      () => this.#place(),
      (time, frame) => this.#layer(frame),
      () => this.#listen(),
    );
    this.stage.afterDrawing.push((time, frame) => this.#tell(time, frame), () => this.#status());
    this.grab.onMissed = (pointer) => this.#pinched(pointer);
    this.stage.orbit.onTap = (ray) => this.#tap(ray);
    this.sessions.addEventListener("start", () => this.#begin());
    this.sessions.addEventListener("end", () => this.#end());
  }

  /** Let the viewer choose what is sent; `?payload=video` in the address does, too. */
  wish(choice) {
    const asked = new URLSearchParams(location.search).get("payload");
    if ([...choice.options].some(({ value }) => value === asked)) choice.value = asked;
    const tell = () => this.link.post({ type: "wish", payload: choice.value, mostBitsS: 0 });
    choice.addEventListener("change", tell);
    if (choice.value !== "auto") tell();
  }

  /** Tell of something that failed, for a while; null: it is well again. */
  report(text) {
    this.trouble = text;
    this.troubleAt = performance.now();
  }

  #forget(person) {
    this.people.gone(person);
    this.sound.gone(person);
  }

  #begin() {
    const { session, passthrough } = this.sessions;
    this.stage.showRoom(passthrough);
    this.pointers.attach(session);
    this.layers = QuadLayers.of(session, this.stage.renderer);
    this.arrived = false;
    document.body.classList.add("immersed");
  }

  #end() {
    this.stage.returnToScreen();
    this.grab.clear();
    this.pointers.clear();
    this.hands.hide();
    this.layers?.dispose();
    this.layers = null;
    this.stageFromViewer = null;
    this.people.seats.gather(new Vector3(0, 1.5, 0), 0);
    this.stage.backdrop.yaw = 0;
    document.body.classList.remove("immersed");
  }

  /** The wearer: head, hands, and what they hold. */
  #follow(frame) {
    const { session } = this.sessions;
    if (!frame || !session) return;
    const space = this.stage.renderer.xr.getReferenceSpace();
    const pose = space && frame.getViewerPose(space);
    this.pose = pose ?? null;
    this.stageFromViewer = pose ? VIEWER.fromArray(pose.transform.matrix) : null;
    if (pose && !this.arrived) this.#arrive();
    const attentive = session.visibilityState === "visible";
    this.pointers.update(session, frame, space, attentive);
    this.hands.update(this.pointers, attentive);
    this.grab.update(this.pointers, this.#things());
  }

  /** The first look around: everybody takes a seat in front of the wearer. */
  #arrive() {
    this.arrived = true;
    const viewer = new Vector3().setFromMatrixPosition(this.stageFromViewer);
    const e = this.stageFromViewer.elements;
    const yaw = Math.atan2(e[8], e[10]);
    this.people.seats.gather(viewer, yaw);
    // Head and hands are told in the world as it lay in the room then: who moves an avatar
    // does not move.
    this.people.seats.stageFromWorld(0, this.worldFromRoom).invert();
    for (const board of [this.board, ...this.promptBoards]) board.seat(viewer, yaw);
    this.stage.backdrop.yaw = yaw;
  }

  #things() {
    const seated = [...this.people.seats.people.keys()];
    const people = seated.map((person) => this.#seated(person));
    return [...this.panels, this.board, ...this.promptBoards, ...people];
  }

  #seated(person) {
    this.seatedPeople ??= new Map();
    let thing = this.seatedPeople.get(person);
    if (!thing) this.seatedPeople.set(person, (thing = new SeatedPerson(this.people.seats, person)));
    return thing;
  }

  #place() {
    const { renderer } = this.stage;
    this.displayed = this.people.update(renderer, this.video.isFresh);
    const seats = [...this.people.seats.people.values()];
    const stageFromWorld = this.people.seats.stageFromWorld(0, WORLD);
    const { stageFromViewer, pointers } = this;
    this.panels.update(anchorsOf({ stageFromWorld, stageFromViewer, pointers }));
    if (!renderer.xr.isPresenting) this.#frame(seats);
    this.video.update(stageFromWorld);
    const { session } = this.sessions, { prompts, speech } = this.link.state;
    this.board.show(() => this.#state(), session !== null);
    this.prompt.show(Boolean(prompts));
    this.speech.show(Boolean(speech));
    this.promptBoards[0].show(Boolean(prompts), session);
    this.promptBoards[1].show(Boolean(speech), session);
  }

  /** Look at all that there is, when there is more or less of it. */
  #frame(seats) {
    const beside = [...this.panels].filter(({ isBeside }) => isBeside);
    const framed = `${seats.length} ${beside.map(({ id }) => id)}`;
    if (framed === this.framed) return;
    this.framed = framed;
    if (!seats.length) return;
    this.stage.orbit.frame(seats, beside.map((panel) => ({
      place: new Vector3().setFromMatrixPosition(panel.pose(PANEL)), width: panel.sizeM[0],
    })));
  }

  /** A pinch at nothing: pictures may be called there. */
  #pinched({ grip, kind }) {
    if (!grip || kind !== "hand" || !this.stageFromViewer) return;
    const worldFromStage = this.people.seats.stageFromWorld(0, WORLD).invert();
    // Turned to the viewer, upright.
    MOUTH.setFromMatrixPosition(grip);
    FACING.setFromMatrixPosition(this.stageFromViewer).sub(MOUTH);
    HEAD.makeRotationY(Math.atan2(FACING.x, FACING.z)).setPosition(MOUTH);
    this.link.post({ type: "pinched", worldFromPinch: rigidOf(HEAD.premultiply(worldFromStage)) });
  }

  /** A tap on the screen at a panel, {origin, direction}, chooses it. */
  #tap({ origin, direction }) {
    const hits = [...this.panels].map((panel) => [panel.hit(origin, direction), panel]);
    const [nearest] = hits.filter(([distance]) => distance !== null).sort(([a], [b]) => a - b);
    if (nearest) this.link.post({ type: "panelChosen", id: nearest[1].id });
  }

  #layer(frame) {
    if (!this.layers || !frame) return;
    this.layers.update(this.panels, frame, this.stage.renderer.xr.getReferenceSpace());
  }

  #listen() {
    const { seats } = this.people;
    this.sound.update({
      viewer: this.stageFromViewer ?? this.stage.camera.matrixWorld,
      mouthOf: (person) => this.people.mouth(person, MOUTH),
      facingOf: (person) => {
        const yaw = seats.people.get(person)?.yaw ?? 0;
        return FACING.set(Math.sin(yaw), 0, Math.cos(yaw));
      },
      lipsOf: (person) => this.#lips(person),
      hidden: this.sessions.visibility === "hidden" || document.hidden,
    });
  }

  #lips(person) {
    const who = this.people.people.get(person);
    return who?.shown ? who.shown.tMs + (performance.now() - who.shownAt) : null;
  }

  /** What the server learns of a drawn frame. Times: milliseconds since 1970, as in the worker. */
  #tell(time, frame) {
    this.drawn.count(performance.now());
    const tMs = performance.timeOrigin + performance.now();
    for (const { person, frameId } of this.displayed)
      this.link.post({ type: "displayed", person, frameId, tMs, eye: this.#eyeOn(person) });
    this.displayed = [];
    const frameId = this.video.takeDisplayed();
    if (frameId !== null) this.link.post({ type: "videoDisplayed", frameId, tMs });
    if (!frame || !this.pose || this.sessions.visibility === "hidden") return;
    const { worldFromRoom } = this;
    const joints = (side) => transformed(this.pointers.hand(side)?.joints, worldFromRoom);
    const head = HEAD.multiplyMatrices(worldFromRoom, VIEWER).multiply(VIEWER_FROM_HEAD);
    // What is drawn for the eyes must lie where the avatar's world lies now.
    const worldFromStage = this.people.seats.stageFromWorld(0, WORLD).invert();
    this.link.post({
      type: "sample",
      tMs: performance.timeOrigin + (frame.predictedDisplayTime ?? time),
      head: rigidOf(head),
      left: joints("left"),
      right: joints("right"),
      views: viewsOf(this.pose, worldFromStage, this.stage.renderer),
    });
  }

  /** [x, y, z]: where the viewer is in the world of a person, whose colour depends on it. */
  #eyeOn(person) {
    const personFromStage = this.people.seats.stageFromWorld(person, WORLD).invert();
    const viewer = this.stageFromViewer ?? this.stage.camera.matrixWorld;
    return MOUTH.setFromMatrixPosition(viewer).applyMatrix4(personFromStage).toArray();
  }

  #state() {
    return {
      link: this.link.state,
      sinceFrameMs: this.video.isFresh ? this.video.ageMs : this.people.sinceFrame(),
      visibility: this.sessions.visibility,
      trouble: performance.now() - this.troubleAt < TROUBLE_MS ? this.trouble : null,
      drawnHz: this.drawn.hertz,
      soundOffsetMs: this.sound.offset((person) => this.#lips(person)),
    };
  }

  #status() {
    const now = performance.now();
    if (now - this.cornerAt < 250) return;
    this.cornerAt = now;
    this.corner.show(this.#state());
    document.body.classList.toggle("unheard", this.sound.unheard);
  }
}

const TROUBLE_MS = 8000;
const VIEWER = new Matrix4(), WORLD = new Matrix4(), HEAD = new Matrix4(), PANEL = new Matrix4();
const MOUTH = new Vector3(), FACING = new Vector3();

/** (75) joints moved to another frame, or null. */
function transformed(joints, matrix) {
  if (!joints) return null;
  const out = new Float32Array(joints.length);
  for (let i = 0; i < joints.length; i += 3)
    MOUTH.fromArray(joints, i).applyMatrix4(matrix).toArray(out, i);
  return out;
}

async function showButtons(page) {
  const buttons = document.querySelector("#enter"), hint = document.querySelector("#hint");
  const can = await offered();
  for (const kind of ["vr", "ar"]) {
    const button = buttons.querySelector(`.${kind}`);
    button.hidden = !can[kind];
    button.onclick = async () => {
      page.sound.start();
      try {
        await page.sessions.enter(kind);
      } catch (error) {
        page.report(`the headset refused: ${error.message}`);
      }
    };
  }
  hint.textContent = can.vr || can.ar
    ? "Drag to look around"
    : "Open this page in a headset’s browser to step inside. Drag to look around.";
}

async function main() {
  const programs = await ShaderPrograms.load();
  const page = new Page(programs);
  globalThis.visavis = page; // for the console and the tests
  // Sound may start with any touch of the page.
  document.addEventListener("pointerdown", () => page.sound.start(), { passive: true });
  page.wish(document.querySelector("#payload"));
  await showButtons(page);
  navigator.xr?.addEventListener?.("devicechange", () => showButtons(page));
  page.stage.start();
  document.body.classList.add("ready");
}

main().catch((error) => {
  console.error(error);
  document.querySelector("#status .text").textContent = `This page cannot start: ${error.message}`;
});
