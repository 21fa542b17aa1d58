/** Frequency tables: those of the stream and of the families (specification, 6.6 to 6.9). */
import { FAMILIES } from './syntax.generated.js';

export const TOTAL = 1 << 24;

const DECAY = [
  258095, 971839, 2963433, 7567594, 16647136, 32303313, 56408881, 90142345, 133696396, 186240217, 246106835, 311110280,
  378887070, 447184425, 514057586, 577972421, 637829831, 692936231, 742943558, 787777355, 827565445, 862574410,
  893157081, 919711637, 942651383, 962383614, 979295723, 993746874, 1006063724, 1016538999, 1025431995, 1032970271,
  1039352057, 1044748984, 1049308925, 1053158765, 1056407011, 1059146203, 1061455076, 1063400495, 1065039150,
  1066419043, 1067580774, 1068558649,
];
const REACH = [
  4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 6, 7, 9, 10, 12, 14, 17, 20, 24, 28, 33, 39, 47, 55, 66, 78, 93, 110, 131, 155,
  185, 220, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
];
const ONE = [
  4095, 5310, 6886, 8929, 11577, 15011, 19461, 25230, 32704, 42387, 54929, 71164, 92173, 119339, 154437, 199734, 258111,
  333207, 429583, 552898, 710074, 909427, 1160704, 1474957, 1864135, 2340296, 2914316, 3594078, 4382274, 5274170,
  6255970, 7304479, 8388608, 9472737, 10521246, 11503046, 12394942, 13183138, 13862900, 14436920, 14913081, 15302259,
  15616512, 15867789, 16067142, 16224318, 16347633, 16444009, 16519105, 16577482, 16622779, 16657877, 16685043,
  16706052, 16722287, 16734829, 16744512, 16751986, 16757755, 16762205, 16765639, 16768287, 16770330, 16771906,
];

const WIDE = [1, 4, 10, 20, 36];

/** Frequencies of the entries, the escape last, made ready for look-ups by quantile. */
export class Table {
  /** @param {number} low  value of entry 0  @param {ArrayLike<number>} frequencies  sum 2^24 */
  constructor(low, frequencies) {
    const n = frequencies.length;
    this.low = low;
    this.size = n - 1;
    this.below = new Uint32Array(n + 1);
    for (let i = 0; i < n; i++) this.below[i + 1] = this.below[i] + frequencies[i];
    // bucket[q >> shift] is the entry that holds the first quantile of a bucket.
    const bits = Math.min(12, Math.max(4, 34 - Math.clz32(n)));
    this.shift = 24 - bits;
    this.bucket = new Uint16Array(1 << bits);
    for (let b = 0, i = 0; b < this.bucket.length; b++) {
      while (this.below[i + 1] <= b * 2 ** this.shift) i++;
      this.bucket[b] = i;
    }
  }

  frequency(entry) {
    return this.below[entry + 1] - this.below[entry];
  }
}

/** The table of `counts`, whose sum is at most 2^24 (6.6). */
export function staticTable(low, counts) {
  const n = counts.length;
  let total = 0;
  let largest = 0;
  for (let i = 0; i < n; i++) {
    total += counts[i];
    if (counts[i] > counts[largest]) largest = i;
  }
  // The quotients are below 2^24 and at least 2^-24 from the next integer: no rounding reaches it.
  const frequencies = counts.map((count) => 1 + Math.floor((count * (TOTAL - n)) / total));
  frequencies[largest] += TOTAL - frequencies.reduce((a, b) => a + b, 0);
  return new Table(low, frequencies);
}

function laplaceTable(k) {
  const decay = BigInt(DECAY[k]);
  const square = (decay * decay) >> 30n;
  const side = [];
  let tail = decay;
  for (let i = 0; i < REACH[k]; i++) {
    const following = (tail * square) >> 30n;
    side.push(Math.max(1, Number((tail - following) >> 7n)));
    tail = following;
  }
  const end = Math.max(1, Number(tail >> 6n));
  const zero = TOTAL - 2 * side.reduce((a, b) => a + b, 0) - end;
  return new Table(-REACH[k], [...side.slice().reverse(), zero, ...side, end]);
}

/** Shape floor(k / 44) of scale k % 44: a Laplace table and one of four times its scale (specification, 6.9). */
function mixtureTable(k) {
  const narrow = LAPLACE.at(k % LAPLACE.count);
  const wide = LAPLACE.at(Math.min((k % LAPLACE.count) + 8, LAPLACE.count - 1));
  const parts = WIDE[Math.floor(k / LAPLACE.count)];
  const beyond = narrow.low - wide.low;
  const mixed = Array.from({ length: wide.size + 1 }, (_, n) => {
    const inside = n === wide.size ? narrow.size : n >= beyond && n < beyond + narrow.size ? n - beyond : -1;
    const a = inside < 0 ? 0 : narrow.frequency(inside);
    return Math.max(1, ((64 - parts) * a + parts * wide.frequency(n)) >> 6);
  });
  mixed[-wide.low] += TOTAL - mixed.reduce((a, b) => a + b, 0);
  return new Table(wide.low, mixed);
}

/** Tables of a family, made when first asked for. */
class Tables {
  constructor(family, make) {
    this.count = FAMILIES[family].scales * FAMILIES[family].shapes;
    this.make = make;
    this.tables = new Array(this.count);
  }

  at(k) {
    return (this.tables[k] ??= this.make(k));
  }
}

const LAPLACE = new Tables(0, laplaceTable);

/** Of each `family`. */
export const TABLES = {
  0: LAPLACE,
  1: new Tables(1, (k) => new Table(0, [TOTAL - ONE[k] - 1, ONE[k], 1])),
  2: new Tables(2, mixtureTable),
};
export const HALVES = new Table(0, [TOTAL / 2, TOTAL / 2]);
