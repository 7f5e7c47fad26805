// The probabilities that packets are coded by, as the decoder file brings them: cumulated by
// avatar/slow_range_coder.py's `cumulative`, so that there is one copy of the formulas.

import { DecoderFileError } from "./tensor_file.js";

const EVEN = [2, 4, 8, 16, 32, 64, 128, 256];

export class SymbolTables {
  // `array(name, type, shape)` as TensorFile.array.
  constructor(array) {
    const rows = (name, count, size) => {
      const flat = array(`tables.${name}`, "I32", [count, size + 1]);
      const found = [];
      for (let k = 0; k < count; k++) found.push(flat.slice(k * (size + 1), (k + 1) * (size + 1)));
      return found;
    };
    this.levels = rows("levels", 24, 33); // by class
    this.offsets = rows("offsets", 16, 16); // by the offset of the band before
    this.keeps = rows("keeps", 4, 4); // likewise
    this.presences = rows("presences", 4, 3); // by group
    [this.key] = rows("key", 1, 2);
    [this.numberBits] = rows("number_bits", 1, 26);
    this.evens = new Map(EVEN.map((count) => [count, rows(`even_${count}`, 1, count)[0]]));
    for (const bounds of this.all()) requireRising(bounds);
  }

  // All symbols alike; `count` is a power of two up to 256.
  even(count) {
    return this.evens.get(count);
  }

  all() {
    return [
      ...this.levels, ...this.offsets, ...this.keeps, ...this.presences, this.key,
      this.numberBits, ...this.evens.values(),
    ]; // prettier-ignore
  }
}

function requireRising(bounds) {
  const rises = bounds.every((bound, k) => k === 0 || bound > bounds[k - 1]);
  if (!rises || bounds[0] !== 0 || bounds[bounds.length - 1] !== 2 ** 24) {
    throw new DecoderFileError("decoder file: expected tables that rise from 0 to 2^24");
  }
}
