// Where people stand or sit on the stage: stage_from_world of each person.

import { Matrix4, Quaternion, Vector3 } from "./vendor/three.module.min.js";

const DISTANCE_M = 0.9;
const HEAD_HEIGHT_M = 1.5;
const APART = 0.75; // radians between neighbours, seen from the viewer
const UP = new Vector3(0, 1, 0), ONE = new Vector3(1, 1, 1);

/** The point of an avatar that a seat holds: between the eyes, or what comes near to it. */
export function headOf(vertices, parts, studio) {
  const eye = studio.parts.indexOf("eye");
  const sum = new Vector3(), low = new Vector3(1e9, 1e9, 1e9), high = new Vector3(-1e9, -1e9, -1e9);
  let count = 0;
  for (let i = 0; i < parts.length; i++) {
    AT.fromArray(vertices, 3 * i);
    low.min(AT);
    high.max(AT);
    if (parts[i] === eye) {
      sum.add(AT);
      count++;
    }
  }
  if (count) return sum.divideScalar(count);
  // Without eye balls: the eyes lie a hand's breadth below the crown.
  return new Vector3((low.x + high.x) / 2, high.y - 0.12, (low.z + high.z) / 2);
}

export class Seats {
  constructor() {
    this.viewer = new Vector3(0, HEAD_HEIGHT_M, 0);
    this.facing = 0; // yaw of the viewer, radians
    this.people = new Map(); // person -> {head (world), index, place, yaw, moved}
  }

  /** A new person, or one whose avatar changed. */
  take(person, head) {
    const before = this.people.get(person);
    const index = before?.index ?? this.people.size;
    const seat = { place: new Vector3(), yaw: 0, moved: false, ...before, head, index };
    this.people.set(person, seat);
    if (!seat.moved) this.#seat(seat);
    return seat;
  }

  /** Everyone in front of the viewer, who just arrived or asked for it. */
  gather(viewer, yaw) {
    this.viewer.copy(viewer);
    this.facing = yaw;
    for (const seat of this.people.values()) {
      seat.moved = false;
      this.#seat(seat);
    }
  }

  #seat(seat) {
    // 0 in the middle, then left and right of it.
    const side = seat.index % 2 ? 1 : -1;
    const angle = this.facing + side * Math.ceil(seat.index / 2) * APART;
    seat.place.set(-Math.sin(angle), 0, -Math.cos(angle)).multiplyScalar(DISTANCE_M).add(this.viewer);
    seat.yaw = angle;
  }

  /** stage_from_world of a person: the head at its place, turned about the vertical. Of somebody
   *  who is not there yet: the world's origin, where a webcam stands, is where the viewer was. */
  stageFromWorld(person, into = new Matrix4()) {
    const seat = this.people.get(person);
    if (!seat) return into.makeRotationY(this.facing).setPosition(this.viewer);
    TURN.setFromAxisAngle(UP, seat.yaw);
    AT.copy(seat.head).negate().applyQuaternion(TURN).add(seat.place);
    return into.compose(AT, TURN, ONE);
  }

  /** Seat a person anew: where its head is (stage), and how it is turned. */
  move(person, place, yaw) {
    const seat = this.people.get(person);
    if (!seat) return;
    seat.place.copy(place);
    seat.yaw = yaw;
    seat.moved = true;
  }
}

const AT = new Vector3(), TURN = new Quaternion();
