/**
 * The range decoder (specification, 6.2), in doubles that hold integers.
 *
 * Of low and point only their difference matters, and of the range only the scale, its 40 upper
 * bits: a new range is the scale times a frequency. Numbers of 64 bits are split into 40 and 24. The
 * lower bits of the range matter only where the data end.
 */
import { Refused } from './errors.js';
import { HALVES } from './tables.js';

const B24 = 2 ** 24;
// Quotients closer to an integer than this may have been rounded across it: their error is below 2^-27.
const CLOSE = 2 ** -26;

export class RangeDecoder {
  /** @param {Uint8Array} data */
  constructor(data) {
    this.data = data;
    this.words = wordsOf(data);
    this.at = 0;
    const first = this._word();
    const second = this._word();
    this.high = first * 256 + (second >>> 24); // point - low: upper 40 bits
    this.rest = second & 0xffffff; // and lower 24
    this.scale = 2 ** 40 - 1;
    this.tail = B24 - 1; // range: lower 24 bits
  }

  _word() {
    const word = this.at < this.words.length ? this.words[this.at] : 0;
    this.at++;
    return word;
  }

  /** Decodes n entries with one table into out[start …). Returns whether the escape is among them. */
  run(table, n, out, start) {
    const { below, bucket, shift, size } = table;
    const words = this.words;
    let { high, rest, scale, tail, at } = this;
    let escaped = false;
    for (let i = start; i < start + n; i++) {
      const quotient = (high * B24 + rest) / scale;
      let quantile = Math.floor(quotient);
      const fraction = quotient - quantile;
      const s1 = Math.floor(scale / B24);
      const s0 = scale - s1 * B24;
      if (fraction < CLOSE || fraction > 1 - CLOSE) quantile = exactly(high, rest, s1, s0, quantile, scale);
      if (quantile >= B24) throw new Refused('R-ENT-01');
      let entry = bucket[quantile >>> shift];
      while (below[entry + 1] <= quantile) entry++;
      if (entry === size) escaped = true;
      out[i] = entry;

      const from = below[entry];
      const frequency = below[entry + 1] - from;
      let product = s0 * from;
      let carry = Math.floor(product / B24);
      high -= s1 * from + carry;
      rest -= product - carry * B24;
      if (rest < 0) {
        rest += B24;
        high--;
      }
      product = s0 * frequency;
      carry = Math.floor(product / B24);
      scale = s1 * frequency + carry;
      tail = product - carry * B24;
      if (scale < 256) {
        scale = (scale * B24 + tail) * 256;
        tail = 0;
        const word = at < words.length ? words[at] : 0;
        at++;
        high = (high * B24 + rest) * 256 + (word >>> 24);
        rest = word & 0xffffff;
      }
    }
    this.high = high;
    this.rest = rest;
    this.scale = scale;
    this.tail = tail;
    this.at = at;
    return escaped;
  }

  /** One equiprobable bit. */
  bit() {
    this.run(HALVES, 1, BIT, 0);
    return BIT[0];
  }

  /** The value of a symbol whose table's values start at `low` and are `size` (6.5). */
  escape(low, size) {
    const under = this.bit();
    let prefix = 0;
    while (this.bit()) {
      if (++prefix > 20) throw new Refused('R-ENT-03');
    }
    let distance = 1;
    for (let i = 0; i < prefix; i++) distance = 2 * distance + this.bit();
    const value = under ? low - distance : low + size - 1 + distance;
    if (Math.abs(value) >= 1 << 20) throw new Refused('R-ENT-04', `It is ${value}.`);
    return value;
  }

  finish() {
    const { data } = this;
    if (data.length === 0) return;
    const unread = 4 * this.at - data.length;
    const last = BigInt(data[data.length - 1]);
    const unit = 1n << BigInt(8 * Math.max(unread, 0));
    const above = BigInt(this.high) * BigInt(B24) + BigInt(this.rest);
    const range = BigInt(this.scale) * BigInt(B24) + BigInt(this.tail);
    if (unread < 0 || last === 0n || above >= unit || above + (256n - last) * unit < range) {
      throw new Refused('R-ENT-02');
    }
  }
}

/** Words of four bytes, the first the most significant; those of the last one that are missing are zero. */
function wordsOf(data) {
  const words = new Uint32Array((data.length + 3) >> 2);
  for (let i = 0; i < data.length; i++) words[i >> 2] |= data[i] << (24 - 8 * (i & 3));
  return words;
}

const BIT = new Int32Array(1);

/** floor((high * 2^24 + rest) / scale), from a guess that is off by one at most. */
function exactly(high, rest, s1, s0, guess, scale) {
  const product = s0 * guess;
  const carry = Math.floor(product / B24);
  const upper = high - s1 * guess - carry;
  const lower = rest - (product - carry * B24);
  // The remainder is small where the guess is right; where it is not, its sign and size still show.
  const remainder = upper * B24 + lower;
  if (remainder < 0) return guess - 1;
  return remainder >= scale ? guess + 1 : guess;
}
