/** One raw LZMA2 stream, to its end marker (specification, 6.1.1). */
import { Refused } from './errors.js';

const DICTIONARY = 1 << 20;
const HALF = 1024; // of the 11 bits of a probability
const MATCH_STATES = 12;

function broken(detail) {
  return new Refused('R-OCC-02', detail);
}

/** A binary tree of probabilities, most significant bit first. */
function tree(bits) {
  return new Uint16Array(1 << bits).fill(HALF);
}

function trees(count, bits) {
  return Array.from({ length: count }, () => tree(bits));
}

class LengthModel {
  constructor() {
    this.choice = tree(1);
    this.choice2 = tree(1);
    this.low = trees(16, 3);
    this.mid = trees(16, 3);
    this.high = tree(8);
  }
}

/** State of the LZMA decoder: probabilities, repeated distances. */
class State {
  constructor(lc, lp) {
    this.state = 0;
    this.rep = [0, 0, 0, 0];
    this.isMatch = trees(MATCH_STATES, 4);
    this.isRep = tree(4);
    this.isRep0 = tree(4);
    this.isRep1 = tree(4);
    this.isRep2 = tree(4);
    this.isRep0Long = trees(MATCH_STATES, 4);
    this.slot = trees(4, 6);
    this.special = tree(7);
    this.align = tree(4);
    this.length = new LengthModel();
    this.repLength = new LengthModel();
    this.literal = new Uint16Array(0x300 << (lc + lp)).fill(HALF);
  }
}

/** The range decoder of one chunk. */
class BitDecoder {
  constructor(data, start, end) {
    if (end - start < 5 || data[start] !== 0) throw broken('bad start of a chunk');
    this.data = data;
    this.code = ((data[start + 1] << 24) | (data[start + 2] << 16) | (data[start + 3] << 8) | data[start + 4]) >>> 0;
    this.range = 0xffffffff;
    this.at = start + 5;
    this.end = end;
  }

  normalise() {
    if (this.range < 0x1000000) {
      if (this.at >= this.end) throw broken('a chunk ends early');
      this.range = (this.range << 8) >>> 0;
      this.code = ((this.code << 8) | this.data[this.at++]) >>> 0;
    }
  }

  bit(model, i) {
    this.normalise();
    const p = model[i];
    const bound = (this.range >>> 11) * p;
    if (this.code < bound) {
      this.range = bound;
      model[i] = p + ((2048 - p) >> 5);
      return 0;
    }
    this.range -= bound;
    this.code -= bound;
    model[i] = p - (p >> 5);
    return 1;
  }

  tree(model, bits) {
    let m = 1;
    for (let i = 0; i < bits; i++) m = 2 * m + this.bit(model, m);
    return m - (1 << bits);
  }

  /** Least significant bit first, the tree's root at `base`. */
  reverse(model, base, bits) {
    let m = 1;
    let value = 0;
    for (let i = 0; i < bits; i++) {
      const b = this.bit(model, base + m);
      m = 2 * m + b;
      value |= b << i;
    }
    return value;
  }

  direct(bits) {
    let value = 0;
    for (let i = 0; i < bits; i++) {
      this.normalise();
      this.range >>>= 1;
      const b = this.code >= this.range ? 1 : 0;
      if (b) this.code -= this.range;
      value = value * 2 + b;
    }
    return value;
  }

  length(model, position) {
    if (!this.bit(model.choice, 0)) return 2 + this.tree(model.low[position], 3);
    if (!this.bit(model.choice2, 0)) return 10 + this.tree(model.mid[position], 3);
    return 18 + this.tree(model.high, 8);
  }

  finish() {
    this.normalise();
    if (this.code !== 0 || this.at !== this.end) throw broken('a chunk is not consumed exactly');
  }
}

/**
 * Inflates `data`, which has to yield exactly `size` bytes. Refuses R-OCC-02.
 * @param {Uint8Array} data
 */
export function inflate(data, size) {
  const out = new Uint8Array(size);
  let at = 0;
  let written = 0;
  let origin = -1; // where the dictionary begins; none yet
  let properties = null;
  let state = null;
  for (;;) {
    if (at >= data.length) throw broken('the end marker is missing');
    const control = data[at++];
    if (control === 0) break;
    if (control >= 3 && control < 128) throw broken(`control byte ${control}`);
    const reset = control === 1 || control >= 0xe0;
    if (reset) {
      origin = written;
      properties = null;
    }
    if (origin < 0) throw broken('the first chunk does not reset the dictionary');
    const lzma = control >= 128;
    const header = lzma ? (control >= 0xc0 ? 5 : 4) : 2;
    if (at + header > data.length) throw broken('a chunk header is incomplete');
    const high = data[at] * 256 + data[at + 1] + 1;
    const count = lzma ? ((control & 31) << 16) + high : high;
    const packed = lzma ? data[at + 2] * 256 + data[at + 3] + 1 : high;
    if (lzma && control >= 0xc0) {
      const value = data[at + 4];
      const lc = value % 9;
      const lp = Math.floor(value / 9) % 5;
      if (value > 224 || lc + lp > 4) throw broken(`properties ${value}`);
      properties = { lc, lp, pb: Math.floor(value / 45) };
    }
    at += header;
    if (at + packed > data.length) throw broken('a chunk is incomplete');
    if (count > size - written) throw broken('the content is too long');
    if (!lzma) {
      out.set(data.subarray(at, at + packed), written);
    } else {
      if (properties === null) throw broken('a chunk has no properties');
      if (control >= 0xa0 || state === null) state = new State(properties.lc, properties.lp);
      chunk(new BitDecoder(data, at, at + packed), state, properties, out, origin, written, written + count);
    }
    at += packed;
    written += count;
  }
  if (written !== size || at !== data.length) throw broken('the content is too short, or bytes follow it');
  return out;
}

/** One LZMA chunk: fills out[at … end). */
function chunk(bits, s, { lc, lp, pb }, out, origin, at, end) {
  const positions = (1 << pb) - 1;
  const rep = s.rep;
  while (at < end) {
    const place = at - origin;
    const position = place & positions;
    const before = place > 0 ? out[at - 1] : 0;
    if (!bits.bit(s.isMatch[s.state], position)) {
      const base = 0x300 * (((place & ((1 << lp) - 1)) << lc) + (before >> (8 - lc)));
      let m = 1;
      if (s.state >= 7) {
        checkDistance(rep[0], place);
        let match = out[at - rep[0] - 1];
        while (m < 256) {
          const expected = (match >> 7) & 1;
          match <<= 1;
          const b = bits.bit(s.literal, base + ((1 + expected) << 8) + m);
          m = 2 * m + b;
          if (b !== expected) break;
        }
      }
      while (m < 256) m = 2 * m + bits.bit(s.literal, base + m);
      out[at++] = m;
      s.state = s.state < 4 ? 0 : s.state < 10 ? s.state - 3 : s.state - 6;
      continue;
    }
    let length = 1;
    if (!bits.bit(s.isRep, s.state)) {
      rep[3] = rep[2];
      rep[2] = rep[1];
      rep[1] = rep[0];
      length = bits.length(s.length, position);
      rep[0] = distance(bits, s, length);
      s.state = s.state < 7 ? 7 : 10;
    } else {
      let long = true;
      if (!bits.bit(s.isRep0, s.state)) {
        long = bits.bit(s.isRep0Long[s.state], position) === 1;
      } else {
        const which = !bits.bit(s.isRep1, s.state) ? 1 : !bits.bit(s.isRep2, s.state) ? 2 : 3;
        rep.unshift(rep.splice(which, 1)[0]);
      }
      if (long) {
        length = bits.length(s.repLength, position);
        s.state = s.state < 7 ? 8 : 11;
      } else {
        s.state = s.state < 7 ? 9 : 11;
      }
    }
    checkDistance(rep[0], place);
    if (length > end - at) throw broken('a match reaches beyond its chunk');
    for (const from = rep[0] + 1; length > 0; length--, at++) out[at] = out[at - from];
  }
  bits.finish();
}

/** Distance less one. An end marker is the largest and fails the check that follows. */
function distance(bits, s, length) {
  const slot = bits.tree(s.slot[Math.min(length - 2, 3)], 6);
  if (slot < 4) return slot;
  const low = (slot >> 1) - 1;
  const base = (2 | (slot & 1)) * 2 ** low;
  // The trees of slots 4 to 13 overlap, each root one place before its first node.
  if (slot < 14) return base + bits.reverse(s.special, base - slot, low);
  return base + bits.direct(low - 4) * 16 + bits.reverse(s.align, 0, 4);
}

function checkDistance(rep0, place) {
  if (rep0 >= place || rep0 >= DICTIONARY) throw broken('a match reaches before the dictionary');
}
