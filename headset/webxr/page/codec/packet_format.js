// What a packet of the bitstream holds, in which order, by which tables: avatar/packet_format.py.

import { DecoderFileError } from "./tensor_file.js";

export const FORMAT = 2;
export const GROUPS = ["face", "left", "right", "appearance"];
export const SIDES = ["left", "right"];
export const FACE = 0;
export const APPEARANCE = 3;
export const ABSENT = 0;
export const PREDICTED = 1;
export const FRESH = 2;
export const QUALITIES = 64;
export const PERIODS = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 16, 20, 24, 30, 40, 48];
export const TURNS = 240;
export const ORIGINS = ["encoded", "driven"];
export const KEEPS = [0, 4, 7, 8]; // eighths
export const MIDDLE = 8; // of the class offsets: none
export const LARGEST = 2 ** 24;
export const FINE = 2 ** 14; // integers a unit
export const POSE = 7;
export const GAZE = 4;
export const HAND = POSE + 20 + 10 + 1;
export const SHAPE = 30;
export const CLASSES = 24;
const UNIT_CLASS = 9;
const QUARTERS = [4096, 4871, 5793, 6889]; // 2^(q / 4) of 4096
const SOON = [POSE + GAZE + 8, POSE, POSE, 0];
const SOON_PERIOD = 4;
const MOST_LAYOUTS = 512;

// Steps, classes and layouts, remembered. A row of numbers holds all groups.
export class PacketFormat {
  constructor(file) {
    const { groups } = file.about;
    if (file.about.packet_format !== FORMAT || !Array.isArray(groups) || groups.length !== 4) {
      throw new DecoderFileError(
        `decoder file: expected packets of format ${FORMAT}, got ${file.about.packet_format}`,
      );
    }
    // Where each group begins in a row, and the end; and where its bands begin, and the end.
    this.starts = [0];
    this.bands = groups.map((bands) => bands.map(Number));
    for (const bands of this.bands) {
      const rises = bands.every((at, k) => Number.isSafeInteger(at) && (k === 0 ? at === 0 : at >= bands[k - 1]));
      if (!rises || bands.length < 2 || bands.length > 4096 || bands.at(-1) > 65536) {
        throw new DecoderFileError("decoder file: groups: expected where bands begin, rising");
      }
      this.starts.push(this.starts.at(-1) + bands.at(-1));
    }
    this.size = this.starts.at(-1);
    const read = (name) => Float64Array.from(file.array(`numbers.${name}`, "I32", [this.size]));
    this.step = read("step");
    this.coarsest = read("coarsest");
    // How far numbers are from their prediction: what moves, then what is sent without one.
    this.reach = [read("shift"), read("spread")];
    if (this.step.some((n) => n < 1) || this.coarsest.some((n) => n < 1 || n > LARGEST)) {
      throw new DecoderFileError("decoder file: numbers: expected steps from 1");
    }
    this.byQuality = new Map();
    this.layouts = new Map();
  }

  // Steps (N,), and classes before the band's offset, of predicted and of fresh numbers.
  quality(quality) {
    let found = this.byQuality.get(quality);
    if (!found) {
      const octave = 2 ** Math.floor(quality / 4);
      const quarter = QUARTERS[quality % 4];
      const steps = this.step.map((step, k) => {
        const scaled = Math.floor((step * quarter * octave) / 4096);
        return Math.min(Math.max(scaled, 1), this.coarsest[k]);
      });
      const kinds = this.reach.map((reach) => Uint8Array.from(reach, (n, k) => classOf(n, steps[k])));
      found = { steps, kinds };
      this.byQuality.set(quality, found);
    }
    return found;
  }

  // Of packet number `turn` when every number is refreshed once a `period`; `presences` of GROUPS.
  layout(presences, turn, period) {
    const soon = Math.min(period, SOON_PERIOD);
    const slot = presences.includes(PREDICTED) ? turn % leastMultiple(period, soon) : 0;
    const key = `${presences} ${period} ${slot}`;
    let found = this.layouts.get(key);
    if (!found) {
      if (this.layouts.size >= MOST_LAYOUTS) this.layouts.clear();
      found = this.newLayout(presences, slot, period);
      this.layouts.set(key, found);
    }
    return found;
  }

  // The numbers of one packet in the order of coding: group by group in bands, each group's
  // refreshed ones last. order, bandOf (N,); fresh, opens (B,); whole, absent: row indices.
  newLayout(presences, slot, period) {
    const order = [];
    const bandOf = [];
    const fresh = [];
    const opens = [];
    const present = new Uint8Array(this.size);
    presences.forEach((presence, group) => {
      if (presence === ABSENT) return;
      bandsOf(this.bands[group], SOON[group], presence === FRESH, slot, period).forEach(
        ([indices, isFresh], k) => {
          for (const index of indices) {
            order.push(this.starts[group] + index);
            bandOf.push(fresh.length);
            present[this.starts[group] + index] = 1;
          }
          fresh.push(isFresh);
          opens.push(k === 0);
        },
      );
    });
    const whole = order.filter((_, k) => fresh[bandOf[k]]);
    const absent = [];
    for (let k = 0; k < this.size; k++) if (!present[k]) absent.push(k);
    return { order: Int32Array.from(order), bandOf: Int32Array.from(bandOf), fresh, opens, whole, absent };
  }
}

function classOf(reach, step) {
  const ratio = Math.min(Math.floor((reach * 256) / step), LARGEST);
  if (ratio === 0) return 0;
  // Twice the logarithm of the ratio, rounded down: exact, whatever Math.log2 rounds to.
  const square = ratio * ratio;
  let exponent = Math.floor(Math.log2(square));
  if (2 ** (exponent + 1) <= square) exponent += 1;
  else if (2 ** exponent > square) exponent -= 1;
  return Math.min(Math.max(exponent + 1 - 17 + UNIT_CLASS, 0), CLASSES - 1);
}

// [indices into the group, whether they come without prediction] of each band that is not empty.
function bandsOf(starts, soonCount, fresh, slot, period) {
  const parts = [];
  const refreshed = [];
  const soon = Math.min(period, SOON_PERIOD);
  for (let band = 0; band + 1 < starts.length; band++) {
    const part = [];
    for (let k = starts[band]; k < starts[band + 1]; k++) {
      if (!fresh && modulo(k - slot, k < soonCount ? soon : period) === 0) refreshed.push(k);
      else part.push(k);
    }
    parts.push([part, fresh]);
  }
  parts.push([refreshed, true]);
  return parts.filter(([part]) => part.length > 0);
}

function leastMultiple(a, b) {
  let [x, y] = [a, b];
  while (y) [x, y] = [y, x % y];
  return (a / x) * b;
}

export function modulo(a, b) {
  return ((a % b) + b) % b;
}
