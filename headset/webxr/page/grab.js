// Taking hold of things: with a pinch beside them, or along a ray.
//
// A thing is {reach(point) -> metres or null, hit(origin, direction) -> metres or null, pose(into),
// moveTo(matrix), resize?(factor), held(bool), released({tapped, thrown})}: panels, people and boards.

import { Matrix4, Quaternion, Vector3 } from "./vendor/three.module.min.js";

const REACH_M = 0.08; // a pinch this near takes hold of it
const LONGEST_RAY_M = 6;
const TAP_MS = 350, TAP_M = 0.02; // let go sooner and nearer: it was tapped
const THROWN_M_S = 1.6, THROWN_MS = 120; // let go at this speed, as in overlay/panel_hands.py

/** One pointer that holds one thing. */
class Hold {
  constructor(pointer, thing, byRay) {
    this.pointer = pointer;
    this.thing = thing;
    this.byRay = byRay;
    this.startedAt = performance.now();
    this.start = this.point(new Vector3());
    this.path = []; // {at, point} of the last THROWN_MS
    this.restart();
  }

  /** Where the hand is now, for how it is let go. */
  note() {
    const at = performance.now();
    this.path.push({ at, point: this.point(new Vector3()) });
    while (this.path.length > 2 && at - this.path[0].at > THROWN_MS) this.path.shift();
  }

  /** {tapped, thrown} if it is let go now. */
  end() {
    const first = this.path[0], last = this.path.at(-1);
    if (!last) return { tapped: true, thrown: false };
    const near = last.point.distanceTo(this.start) < TAP_M;
    const seconds = (last.at - first.at) / 1000;
    return {
      tapped: near && performance.now() - this.startedAt < TAP_MS,
      thrown: seconds > 0 && first.point.distanceTo(last.point) / seconds > THROWN_M_S,
    };
  }

  /** stage_from_pointer as far as this hold follows it. */
  place() {
    const { pointer } = this;
    return this.byRay ? pointer.ray ?? pointer.grip : pointer.grip ?? pointer.ray;
  }

  /** From here on the thing follows the pointer rigidly. */
  restart() {
    this.pointerFromThing = this.place().clone().invert().multiply(this.thing.pose(new Matrix4()));
  }

  point(into) {
    return into.setFromMatrixPosition(this.pointer.grip ?? this.place());
  }
}

export class Grab {
  constructor() {
    /** Called with a pointer that pinched where nothing is. */
    this.onMissed = () => {};
    this.holds = new Map(); // pointer -> Hold
    this.pair = null; // two holds on one thing: {first, second, apart, ...}
  }

  /** Follow all pointers for a frame; `things`: what can be taken now. */
  update(pointers, things) {
    const alive = new Set(pointers);
    for (const [pointer, hold] of this.holds) {
      const lost = !alive.has(pointer) || !pointer.pressed || !things.includes(hold.thing);
      if (lost) this.#release(pointer);
    }
    for (const pointer of alive) if (pointer.began) this.#take(pointer, things);
    const done = new Set();
    for (const hold of this.holds.values()) {
      if (hold.place()) hold.note();
      if (done.has(hold.thing) || !hold.place()) continue;
      done.add(hold.thing);
      const other = this.#other(hold);
      if (other && hold.thing.resize) this.#stretch(hold, other);
      else hold.thing.moveTo(MOVED.multiplyMatrices(hold.place(), hold.pointerFromThing));
    }
  }

  clear() {
    for (const pointer of [...this.holds.keys()]) this.#release(pointer);
  }

  #other(hold) {
    for (const other of this.holds.values())
      if (other !== hold && other.thing === hold.thing && other.place()) return other;
    return null;
  }

  #take(pointer, things) {
    // One hand is one pointer, though a headset may tell of it twice (as a hand and as a pinch).
    for (const hold of this.holds.values())
      if (hold.pointer.handedness === pointer.handedness && pointer.handedness !== "none") return;
    const found = this.#beside(pointer, things) ?? this.#along(pointer, things);
    if (!found) return this.onMissed(pointer);
    const hold = new Hold(pointer, found.thing, found.byRay);
    this.holds.set(pointer, hold);
    found.thing.held(true);
    const other = this.#other(hold);
    if (other) this.#begin(other, hold);
  }

  #beside(pointer, things) {
    if (!pointer.grip) return null;
    FROM.setFromMatrixPosition(pointer.grip);
    return nearest(things, (thing) => thing.reach(FROM), REACH_M, false);
  }

  #along(pointer, things) {
    if (!pointer.ray) return null;
    FROM.setFromMatrixPosition(pointer.ray);
    ALONG.set(0, 0, -1).transformDirection(pointer.ray);
    return nearest(things, (thing) => thing.hit(FROM, ALONG), LONGEST_RAY_M, true);
  }

  #release(pointer) {
    const hold = this.holds.get(pointer);
    this.holds.delete(pointer);
    if (!hold) return;
    this.pair = null;
    const other = [...this.holds.values()].find(({ thing }) => thing === hold.thing);
    if (other) {
      if (other.place()) other.restart(); // the other hand goes on alone
    } else {
      hold.thing.held(false);
      // A hand that was lost has thrown nothing.
      hold.thing.released(pointer.seen ? hold.end() : { tapped: false, thrown: false });
    }
  }

  #begin(first, second) {
    const a = first.point(new Vector3()), b = second.point(new Vector3());
    this.pair = {
      first, second,
      apart: Math.max(0.02, a.distanceTo(b)),
      across: b.clone().sub(a).normalize(),
      middle: a.clone().add(b).multiplyScalar(0.5),
      pose: first.thing.pose(new Matrix4()),
      factor: 1,
    };
  }

  /** Two hands on one thing: it grows, turns and moves with the line between them. */
  #stretch(one, other) {
    if (!this.pair) this.#begin(one, other);
    const { first, second, apart, across, middle, pose } = this.pair;
    const a = first.point(A), b = second.point(B);
    const factor = a.distanceTo(b) / apart;
    first.thing.resize(factor / this.pair.factor);
    this.pair.factor = factor;
    TURN.setFromUnitVectors(across, ALONG.copy(b).sub(a).normalize());
    pose.decompose(FROM, POSE_TURN, SIZE);
    FROM.sub(middle).multiplyScalar(factor).applyQuaternion(TURN).add(a.add(b).multiplyScalar(0.5));
    first.thing.moveTo(MOVED.compose(FROM, TURN.multiply(POSE_TURN), SIZE));
  }
}

function nearest(things, distanceTo, farthest, byRay) {
  let best = null, least = farthest;
  for (const thing of things) {
    const distance = distanceTo(thing);
    if (distance === null || distance > least) continue;
    best = { thing, byRay };
    least = distance;
  }
  return best;
}

const MOVED = new Matrix4(), FROM = new Vector3(), ALONG = new Vector3(), SIZE = new Vector3();
const A = new Vector3(), B = new Vector3(), TURN = new Quaternion(), POSE_TURN = new Quaternion();

/** A flat thing's reach and hit: `stageFromThing` with its middle at the origin, size in metres. */
export function rectangle(stageFromThing, width, height) {
  const inverse = stageFromThing.clone().invert();
  return {
    reach(point) {
      const { x, y, z } = point.clone().applyMatrix4(inverse);
      return Math.hypot(Math.max(0, Math.abs(x) - width / 2), Math.max(0, Math.abs(y) - height / 2), z);
    },
    hit(origin, direction) {
      const from = origin.clone().applyMatrix4(inverse);
      const along = direction.clone().transformDirection(inverse);
      const distance = -from.z / along.z;
      if (!(distance > 0)) return null;
      const at = from.addScaledVector(along, distance);
      const margin = 0.02;
      const inside = Math.abs(at.x) < width / 2 + margin && Math.abs(at.y) < height / 2 + margin;
      return inside ? distance : null;
    },
  };
}

/** A round thing's reach and hit. */
export function ball(centre, radius) {
  return {
    reach: (point) => Math.max(0, point.distanceTo(centre) - radius),
    hit(origin, direction) {
      const along = centre.clone().sub(origin).dot(direction);
      const away = origin.clone().addScaledVector(direction, along).distanceTo(centre);
      return along > 0 && away < radius ? along : null;
    },
  };
}

/** A person on the stage, who is moved upright: a place and a turn about the vertical. */
export class SeatedPerson {
  constructor(seats, person) {
    this.seats = seats;
    this.person = person;
  }

  get seat() {
    return this.seats.people.get(this.person);
  }

  #ball() {
    const middle = this.seat.place.clone();
    middle.y -= 0.06; // head and shoulders, not the eyes alone
    return ball(middle, 0.2);
  }

  reach(point) {
    // Something small that is as near is meant, not the person behind it.
    return this.#ball().reach(point) + 0.03;
  }

  hit(origin, direction) {
    return this.#ball().hit(origin, direction);
  }

  pose(into) {
    TURN.setFromAxisAngle(UP, this.seat.yaw);
    return into.compose(this.seat.place, TURN, ONE);
  }

  moveTo(matrix) {
    matrix.decompose(FROM, TURN, SIZE);
    const yaw = Math.atan2(2 * (TURN.w * TURN.y + TURN.x * TURN.z), 1 - 2 * (TURN.y ** 2 + TURN.x ** 2));
    this.seats.move(this.person, FROM, yaw);
  }

  held() {}

  released() {}
}

const UP = new Vector3(0, 1, 0), ONE = new Vector3(1, 1, 1);
