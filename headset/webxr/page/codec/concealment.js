// What is shown while packets are missing, and between those that came: avatar/concealment.py, in
// whole numbers.

import { APPEARANCE, FACE, GAZE, LARGEST, POSE } from "./packet_format.js";

export const HORIZON_MS = 1000;
const REST_MS = 40;
const SURE_MS = 50;
const SHAPE_MS = 130;
const TOLD_MS = 110;
const ONE = 2 ** 20;
const SPEED = 2 ** 8;
const SHAPE_KEPT = 0.25 * ONE;
const TOLD_KEPT = 293601; // 0.28, rounded

function falling(restMs) {
  const shares = [ONE];
  for (let k = 0; k < HORIZON_MS; k++) {
    shares.push(Math.floor((shares[k] * (2 * restMs - 1)) / (2 * restMs + 1)));
  }
  return shares;
}

const REACH = falling(REST_MS).map((share) => REST_MS * (ONE - share));
const SHAPE = REACH.map(
  (_, ms) => SHAPE_KEPT + Math.floor(((ONE - SHAPE_KEPT) * SHAPE_MS ** 2) / (SHAPE_MS ** 2 + ms ** 2)),
);
const TOLD_LEFT = 754975; // 0.72, rounded
const TOLD = falling(TOLD_MS).map((share) => TOLD_KEPT + Math.floor((TOLD_LEFT * share) / ONE));

export class Concealment {
  constructor(format) {
    const { starts } = format;
    this.starts = starts;
    this.shape = [starts[FACE] + POSE + GAZE, starts[FACE + 1]];
    this.told = [starts[APPEARANCE], starts[APPEARANCE + 1]];
    this.moving = [0, 1, 2].flatMap((group) =>
      Array.from({ length: POSE }, (_, k) => starts[group] + k),
    );
  }

  // (N,) of what moved; numbers `jumped` were not known before.
  speed(before, after, passedMs, jumped) {
    const speed = new Float64Array(after.length);
    if (!(passedMs > 0 && passedMs <= HORIZON_MS)) return speed;
    const factor = SPEED * Math.min(passedMs, SURE_MS);
    for (const k of this.moving) {
      speed[k] = Math.floor(((after[k] - before[k]) * factor) / passedMs ** 2);
    }
    for (const k of jumped) speed[k] = 0;
    return speed;
  }

  // (N,) what `row` is likely to have become.
  carried(row, speed, passedMs) {
    const ms = Math.min(Math.max(passedMs, 0), HORIZON_MS);
    const later = row.slice();
    for (const k of this.moving) {
      if (speed[k]) later[k] += floorOfProduct(speed[k], REACH[ms]);
    }
    for (const [[start, end], kept] of [[this.shape, SHAPE[ms]], [this.told, TOLD[ms]]]) {
      for (let k = start; k < end; k++) later[k] = Math.floor((later[k] * kept) / ONE);
    }
    for (let k = 0; k < later.length; k++) {
      later[k] = Math.min(Math.max(later[k], -LARGEST), LARGEST);
    }
    return later;
  }

  // (N,) on the way from one moment to the other; groups that are not in both stand as before.
  between(before, after, tMs) {
    const wholeMs = after.tMs - before.tMs;
    const passedMs = Math.min(Math.max(tMs - before.tMs, 0), wholeMs);
    const row = before.row.slice();
    for (let group = 0; group < before.known.length; group++) {
      if (!before.known[group] || !after.known[group]) continue;
      const start = this.starts[group];
      // A quaternion's sign is free: the nearer one.
      let nearness = 0;
      if (group !== APPEARANCE) {
        for (let k = start; k < start + 4; k++) nearness += after.row[k] * row[k];
      }
      for (let k = start; k < this.starts[group + 1]; k++) {
        const target = nearness < 0 && k < start + 4 ? -after.row[k] : after.row[k];
        row[k] += Math.floor(((target - row[k]) * passedMs) / wholeMs);
      }
    }
    return row;
  }
}

// speed * reach rounded down by SPEED * ONE: the product needs up to 60 bits.
function floorOfProduct(speed, reach) {
  const product = speed * reach;
  if (Math.abs(product) < 2 ** 53) return Math.floor(product / (SPEED * ONE));
  return Number((BigInt(speed) * BigInt(reach)) >> 28n);
}
