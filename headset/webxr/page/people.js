// Everybody who is shown: the newest frame of each, where they stand, and how fresh they are.

import { Matrix4, Vector3 } from "./vendor/three.module.min.js";
import { AvatarMesh } from "./avatar_mesh.js";
import { headOf, Seats } from "./seats.js";

const STALE_MS = 1500; // after this long without a frame, a person fades
const FADE_MS = 500;

export class People {
  constructor(programs, scene, report) {
    this.programs = programs;
    this.scene = scene;
    this.report = report;
    this.seats = new Seats();
    this.people = new Map(); // person -> {mesh, coming, topology, waiting, shown, arrivedAt, ...}
  }

  #of(person) {
    let found = this.people.get(person);
    if (!found) {
      found = {
        mesh: null, // what is drawn
        coming: null, // what will be, once a frame for it is there
        topology: null,
        waiting: null, // the newest frame
        shown: null, // the frame that is drawn
        shownAt: 0,
        arrivedAt: 0,
      };
      this.people.set(person, found);
    }
    return found;
  }

  /** A "topology" message: programs are fetched, then frames of this id can be shown. Equal ids
   *  have equal content: after a lost connection nothing is made again. */
  async describe(topology) {
    const who = this.#of(topology.person);
    if (who.topology?.id === topology.id) return;
    who.topology = topology;
    try {
      const mesh = await AvatarMesh.open(this.programs, topology);
      if (who.topology !== topology) return mesh.dispose(); // a newer one came meanwhile
      who.coming?.dispose();
      who.coming = mesh;
    } catch (error) {
      this.report(`an avatar cannot be shown: ${error.message}`);
    }
  }

  /** An "avatar" message: the newest waits for the next drawing, an older one is given back. */
  receive(message) {
    const who = this.#of(message.person);
    // Topologies come before their frames: another id is one that was replaced.
    if (who.topology && who.topology.id !== message.id) return closeFrame(message);
    closeFrame(who.waiting);
    who.waiting = message;
    who.arrivedAt = performance.now();
  }

  gone(person) {
    const who = this.people.get(person);
    if (!who) return;
    closeFrame(who.waiting);
    who.mesh?.dispose();
    who.coming?.dispose();
    who.topology = null;
    this.people.delete(person);
    this.seats.people.delete(person);
  }

  /** Before drawing: take what waits. Returns the messages that are shown for the first time. */
  update(renderer) {
    const displayed = [], now = performance.now();
    for (const [person, who] of this.people) {
      if (who.coming && who.waiting?.id === who.coming.id) this.#change(person, who);
      if (!who.mesh) continue;
      if (who.waiting?.id === who.mesh.id) {
        const message = who.waiting;
        who.waiting = null;
        who.mesh.show(message);
        who.shown = message;
        who.shownAt = now;
        displayed.push(message);
      }
      this.seats.stageFromWorld(person, who.mesh.object.matrix);
      who.mesh.object.matrixWorldNeedsUpdate = true;
      who.mesh.fade(this.#opacity(who, now));
      who.mesh.prepare(renderer);
    }
    return displayed;
  }

  /** Another avatar, or the first: draw it from now on. */
  #change(person, who) {
    who.mesh?.dispose();
    who.mesh = who.coming;
    who.coming = null;
    who.mesh.object.matrixAutoUpdate = false;
    this.scene.add(who.mesh.object);
    const { parts } = who.topology;
    if (!parts.length) return; // nobody is there yet, and takes no seat
    this.seats.take(person, headOf(who.waiting.vertices, parts, this.programs.studio));
  }

  #opacity(who, now) {
    const late = now - who.arrivedAt - STALE_MS;
    return Math.max(0, Math.min(1, 1 - late / FADE_MS));
  }

  /** Milliseconds since the newest frame of anybody came, or null when none ever did. */
  sinceFrame() {
    const times = [...this.people.values()].map((who) => who.arrivedAt).filter((at) => at > 0);
    return times.length ? performance.now() - Math.max(...times) : null;
  }

  /** Where somebody's mouth is (stage). */
  mouth(person, into = new Vector3()) {
    const seat = this.seats.people.get(person);
    if (!seat) return into.set(0, 1.4, -0.9);
    into.copy(seat.head);
    into.y -= 0.07;
    into.z += 0.03;
    return into.applyMatrix4(this.seats.stageFromWorld(person, MATRIX));
  }
}

const MATRIX = new Matrix4();

function closeFrame(message) {
  const picture = message?.texture?.frame ?? message?.texture?.image;
  picture?.close?.();
}
