// Packets in, rows of numbers out: the decoder of avatar/bitstream.py. Any packet may be missing,
// late or twice; what is in one may be anything.

import { Concealment, HORIZON_MS } from "./concealment.js";
import {
  ABSENT, APPEARANCE, CLASSES, FACE, GROUPS, KEEPS, LARGEST, MIDDLE, ORIGINS, PERIODS,
  PacketFormat, QUALITIES, TURNS, modulo,
} from "./packet_format.js"; // prettier-ignore
import { RangeCoderError, RangeDecoder } from "./range_decoder.js";
import { SymbolTables } from "./symbol_tables.js";
import { DecoderFileError } from "./tensor_file.js";

const HEADER = 3; // bytes: the packet's number, its time in ms modulo 65536
const ESCAPE = 16; // magnitude from which on a level is said by an escape and a number

export class BitstreamError extends Error {}

// What a packet told, or what is shown in its stead: {tMs, row: (N,) numbers, known: of each of
// GROUPS, origin}.
export class BitstreamDecoder {
  constructor(file) {
    this.format = new PacketFormat(file);
    this.tables = new SymbolTables(file.array);
    this.concealment = new Concealment(this.format);
    this.check = file.about.check;
    if (!Number.isSafeInteger(this.check)) {
      throw new DecoderFileError("decoder file: check: expected an integer");
    }
    this.begin();
  }

  begin() {
    const { size } = this.format;
    this.row = new Float64Array(size); // those of absent groups are 0
    this.presences = GROUPS.map(() => ABSENT);
    this.turn = null;
    this.timeMs = null;
    this.stale = new Uint8Array(size).fill(1);
    this.known = new Uint8Array(size);
    this.speed = new Float64Array(size);
    this.before = null;
    this.newest = null;
    this.gap = null; // of the last packet to the one before; null: it was late or a copy
    this.waits = false; // for packets that complete the face: a key packet is the quickest
  }

  // 0..1: share of the numbers present that a loss may have left wrong.
  get healing() {
    const { starts } = this.format;
    let stale = 0;
    let count = 0;
    this.presences.forEach((presence, group) => {
      if (presence === ABSENT) return;
      for (let k = starts[group]; k < starts[group + 1]; k++) {
        stale += this.stale[k];
        count += 1;
      }
    });
    return count ? stale / count : 0;
  }

  // The moment; null for a packet that is late or a copy, and after joining without a key packet
  // until every number of the face has come. Throws BitstreamError, after which the stream goes on.
  decode(packet) {
    if (packet.length < HEADER || packet[0] >= TURNS) {
      throw new BitstreamError(
        `bitstream: expected a packet of ${HEADER} bytes and more, got ${packet.length} bytes`,
      );
    }
    const turn = packet[0];
    const gap = this.turn === null ? 1 : modulo(turn - this.turn, TURNS);
    const coder = new RangeDecoder(packet, HEADER, this.tables);
    try {
      const key = coder.decode(this.tables.key) === 1;
      this.gap = null;
      if (!key && (gap === 0 || gap > TURNS / 2)) return null;
      return this.decoded(coder, key, turn, gap, packet[1] * 256 + packet[2]);
    } catch (error) {
      if (!(error instanceof RangeCoderError)) throw error;
      throw new BitstreamError(`bitstream: ${error.message}; was the packet damaged?`);
    }
  }

  decoded(coder, key, turn, gap, lowMs) {
    const timeMs = this.timeOf(coder, key, lowMs);
    const quality = coder.decode(this.tables.even(QUALITIES));
    const period = PERIODS[coder.decode(this.tables.even(PERIODS.length))];
    const origin = ORIGINS[coder.decode(this.tables.even(ORIGINS.length))];
    const presences = this.tables.presences.map((table) => coder.decode(table));
    const layout = this.format.layout(presences, turn, period);
    const passedMs = this.timeMs === null ? 0 : timeMs - this.timeMs;
    let base = this.row;
    if (gap !== 1) {
      // What the sender had before this packet is only guessed.
      const missedMs = Math.floor((passedMs * (gap - 1)) / Math.max(gap, 1));
      base = this.concealment.carried(base, this.speed, missedMs);
      this.stale.fill(1);
    }
    const after = new Float64Array(this.format.size);
    if (layout.order.length) this.readNumbers(coder, layout, quality, base, after);
    this.gap = this.turn === null ? 1 : gap;
    this.turn = turn;
    this.timeMs = timeMs;
    this.row = after;
    this.presences = presences;
    const jumped = layout.whole.filter((k) => this.stale[k]);
    this.speed = this.concealment.speed(base, after, Math.floor(passedMs / Math.max(gap, 1)), jumped);
    return this.remember(layout, presences, origin, timeMs, after);
  }

  timeOf(coder, key, lowMs) {
    if (key) {
      const highMs = coder.bits(32);
      if (coder.bits(32) !== this.check) {
        throw new BitstreamError(
          "bitstream: expected packets of this avatar, got another avatar's or version's; " +
            "open the avatar that the sender uses",
        );
      }
      return highMs * 65536 + lowMs;
    }
    if (this.timeMs === null) return lowMs;
    const ahead = modulo(lowMs - this.timeMs, 65536);
    return this.timeMs + (ahead < 0xf000 ? ahead : ahead - 65536);
  }

  // The packet's numbers into `after`, predicted from `base`.
  readNumbers(coder, layout, quality, base, after) {
    const { steps, kinds } = this.format.quality(quality);
    const { order, bandOf, fresh } = layout;
    const { offsets, kept } = this.readBands(coder, layout);
    const classes = new Uint8Array(order.length);
    for (let n = 0; n < order.length; n++) {
      const kind = kinds[fresh[bandOf[n]] ? 1 : 0][order[n]] + offsets[bandOf[n]] - MIDDLE;
      classes[n] = Math.min(Math.max(kind, 0), CLASSES - 1);
    }
    const levels = this.readLevels(coder, classes);
    for (let n = 0; n < order.length; n++) {
      const k = order[n];
      const value = Math.floor((kept[bandOf[n]] * base[k]) / 8) + levels[n] * steps[k];
      after[k] = Math.min(Math.max(value, -LARGEST), LARGEST);
    }
  }

  // Class offsets (B,), and eighths of its last value that a number's prediction keeps.
  readBands(coder, layout) {
    const offsets = [];
    const kept = [];
    let near = MIDDLE;
    let last = KEEPS.length - 1;
    layout.fresh.forEach((fresh, band) => {
      if (layout.opens[band]) {
        near = MIDDLE;
        last = KEEPS.length - 1;
      }
      near = coder.decode(this.tables.offsets[near]);
      offsets.push(near);
      if (!fresh) last = coder.decode(this.tables.keeps[last]);
      kept.push(fresh ? 0 : KEEPS[last]);
    });
    return { offsets, kept };
  }

  // (N,) class by class, in each in the order of coding; escaped magnitudes follow.
  readLevels(coder, classes) {
    const byClass = Array.from({ length: CLASSES }, () => []);
    classes.forEach((kind, n) => byClass[kind].push(n));
    const levels = new Float64Array(classes.length);
    byClass.forEach((members, kind) => {
      const bounds = this.tables.levels[kind];
      for (const n of members) levels[n] = coder.decode(bounds) - ESCAPE;
    });
    for (let n = 0; n < levels.length; n++) {
      if (Math.abs(levels[n]) === ESCAPE) levels[n] += Math.sign(levels[n]) * coder.number();
    }
    return levels;
  }

  remember(layout, presences, origin, timeMs, row) {
    const { starts } = this.format;
    for (const k of layout.whole) {
      this.stale[k] = 0;
      this.known[k] = 1;
    }
    for (const k of layout.absent) {
      this.stale[k] = 1;
      this.known[k] = 0;
    }
    // Without an appearance it is as expected: exactly known.
    if (presences[APPEARANCE] === ABSENT) this.stale.fill(0, starts[APPEARANCE]);
    const known = presences.map((presence, group) => {
      if (presence === ABSENT) return false;
      // What is missing of the appearance is as expected.
      return group === APPEARANCE || this.known.subarray(starts[group], starts[group + 1]).every(Boolean);
    });
    this.waits = presences[FACE] !== ABSENT && !known[FACE];
    if (this.waits) return null;
    const last = this.newest; // what lies on the other side of a pause has nothing between
    const follows = last !== null && timeMs > last.tMs && timeMs - last.tMs <= HORIZON_MS;
    this.before = follows ? last : null;
    this.newest = { tMs: timeMs, row, speed: this.speed, known, origin };
    return this.newest;
  }

  // What to show at a moment from the newest packet on whose own is missing; null before the first.
  concealed(tMs) {
    const { newest } = this;
    if (newest === null) return null;
    const row = this.concealment.carried(newest.row, newest.speed, Math.floor(tMs - newest.tMs));
    return { tMs, row, known: newest.known, origin: newest.origin };
  }

  // At any moment, for one who plays one packet late: interpolated between the last two.
  at(tMs) {
    const { before, newest } = this;
    if (newest === null || before === null || tMs >= newest.tMs) return this.concealed(tMs);
    const row = this.concealment.between(before, newest, Math.floor(tMs));
    return { tMs, row, known: before.known, origin: before.origin };
  }
}
