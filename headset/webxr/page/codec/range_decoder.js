// Bytes to symbols: the decoder of avatar/slow_range_coder.py (64 bits of state, 32-bit words,
// probabilities of 24 bits), in doubles. The state is two halves of 32 bits; every product is taken
// of parts so small that it is exact.

const WORD = 2 ** 32;
const WHOLE = 2 ** 24;
const BYTE_BITS = 8;

export class RangeCoderError extends Error {}

export class RangeDecoder {
  // `bytes` Uint8Array, `start` where the coder's begin; zeros follow the end. `tables` as
  // SymbolTables.
  constructor(bytes, start, tables) {
    this.bytes = bytes;
    this.next = start;
    this.tables = tables;
    this.offsetHigh = this.word();
    this.offsetLow = this.word();
    this.spanHigh = WORD - 1;
    this.spanLow = WORD - 1;
  }

  word() {
    const { bytes, next } = this;
    this.next += 4;
    let value = 0;
    for (let k = next; k < next + 4; k++) value = value * 256 + (k < bytes.length ? bytes[k] : 0);
    return value;
  }

  // One symbol. `bounds`: where each symbol's part of 2^24 begins, and the end. Throws
  // RangeCoderError when no encoder can have written the bytes.
  decode(bounds) {
    const step = this.spanHigh * 256 + Math.floor(this.spanLow / WHOLE); // below 2^40
    const endHigh = Math.floor(step / 256);
    const endLow = (step % 256) * WHOLE;
    if (this.offsetHigh > endHigh || (this.offsetHigh === endHigh && this.offsetLow >= endLow)) {
      throw new RangeCoderError("expected a range coder's bytes, got others");
    }
    // The quotient is off by 1 at most, beside a symbol's bound: the exact difference tells.
    const slot = Math.floor((this.offsetHigh * WORD + this.offsetLow) / step);
    let symbol = 0;
    let beyond = bounds.length - 1;
    while (beyond - symbol > 1) {
      const middle = (symbol + beyond) >> 1;
      if (bounds[middle] <= slot) symbol = middle;
      else beyond = middle;
    }
    if (symbol + 2 < bounds.length && !this.isBefore(step, bounds[symbol + 1])) symbol += 1;
    else if (this.isBefore(step, bounds[symbol])) symbol -= 1;
    this.split(step, bounds[symbol]);
    this.offsetHigh -= this.productHigh;
    this.offsetLow -= this.productLow;
    if (this.offsetLow < 0) {
      this.offsetLow += WORD;
      this.offsetHigh -= 1;
    }
    this.split(step, bounds[symbol + 1] - bounds[symbol]);
    this.spanHigh = this.productHigh;
    this.spanLow = this.productLow;
    if (this.spanHigh === 0) {
      this.spanHigh = this.spanLow;
      this.spanLow = 0;
      this.offsetHigh = this.offsetLow;
      this.offsetLow = this.word();
    }
    return symbol;
  }

  // Whether the offset lies before `bound` parts of `step`.
  isBefore(step, bound) {
    this.split(step, bound);
    return (
      this.offsetHigh < this.productHigh ||
      (this.offsetHigh === this.productHigh && this.offsetLow < this.productLow)
    );
  }

  // step (40 bits) times factor (24 bits and 2^24 itself) into productHigh and productLow.
  split(step, factor) {
    const stepHigh = Math.floor(step / WHOLE);
    const low = (step - stepHigh * WHOLE) * factor;
    const high = stepHigh * factor; // counts 2^24
    const lowHigh = Math.floor(low / WORD);
    const sum = low - lowHigh * WORD + (high % 256) * WHOLE;
    const carry = Math.floor(sum / WORD);
    this.productHigh = lowHigh + Math.floor(high / 256) + carry;
    this.productLow = sum - carry * WORD;
  }

  // An integer from 0 in Elias gamma.
  number() {
    const bits = this.decode(this.tables.numberBits);
    return 2 ** bits - 1 + this.bits(bits);
  }

  // That many bits of an integer, the highest first.
  bits(count) {
    let value = 0;
    let left = count;
    while (left > 0) {
      const some = Math.min(left, BYTE_BITS);
      left -= some;
      value = value * 2 ** some + this.decode(this.tables.even(2 ** some));
    }
    return value;
  }
}
