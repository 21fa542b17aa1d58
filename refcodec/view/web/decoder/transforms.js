/** Block DCT and wavelet: coefficient arrays, bands, supports, inverses (specification, 7.5). */

const LOWEST = -(2 ** 31);
const HIGHEST = 2 ** 31 - 1;

export function clamp32(v) {
  return v < LOWEST ? LOWEST : v > HIGHEST ? HIGHEST : v;
}

/** Samples along z, y and x. */
export function spatialSize(info) {
  return [info.depth, info.height, info.width];
}

export function coefficientSize(info, transform) {
  const size = spatialSize(info);
  return transform === 1 ? size.map((n) => (n > 1 ? 8 * Math.ceil(n / 8) : 1)) : size;
}

export function bandCount(transform, levels) {
  return [1, 4, levels + 1][transform];
}

/** Sizes of the boxes of levels 0 to `levels` of the wavelet. */
function boxes(size, levels) {
  const all = [size];
  for (let level = 0; level < levels; level++) all.push(all[level].map((n) => (n + 1) >> 1));
  return all;
}

/** Band of every coefficient; null where there is only one. */
export function bandsOf(info, transform, levels) {
  if (transform === 0) return null;
  const size = coefficientSize(info, transform);
  // Along an axis: the largest of what the three axes say decides.
  const along = size.map((n, axis) =>
    Uint8Array.from({ length: n }, (_, p) => {
      if (transform === 1) return n > 1 ? [0, 1, 2, 2, 3, 3, 3, 3][Math.floor(p / (n / 8))] : 0;
      const edges = boxes(size, levels).map((box) => box[axis]);
      let band = 0;
      for (let level = levels; level >= 1; level--) if (p >= edges[level]) band = levels + 1 - level;
      return band;
    }),
  );
  const band = new Uint8Array(size[0] * size[1] * size[2]);
  for (let z = 0, at = 0; z < size[0]; z++) {
    for (let y = 0; y < size[1]; y++) {
      const outer = Math.max(along[0][z], along[1][y]);
      for (let x = 0; x < size[2]; x++) band[at++] = Math.max(outer, along[2][x]);
    }
  }
  return band;
}

/** Marks the coefficients whose support holds a marked cell. Both arrays flat, 0 or 1. */
export function supportOf(info, transform, levels, cells) {
  if (transform === 0) return cells;
  const size = coefficientSize(info, transform);
  const marked = new Uint8Array(size[0] * size[1] * size[2]);
  const mark = (along) => {
    for (const z of along[0])
      for (const y of along[1]) for (const x of along[2]) marked[(z * size[1] + y) * size[2] + x] = 1;
  };
  if (transform === 1) {
    const blocks = (i, n) => (n > 1 ? Array.from({ length: 8 }, (_, u) => u * Math.ceil(n / 8) + i) : [0]);
    const spatial = spatialSize(info);
    const counts = spatial.map((n) => (n > 1 ? Math.ceil(n / 8) : 1));
    const seen = new Uint8Array(counts[0] * counts[1] * counts[2]);
    const shift = spatial.map((n) => (n > 1 ? 3 : 0));
    eachMarked(cells, spatial, (z, y, x) => {
      const block = [z >> shift[0], y >> shift[1], x >> shift[2]];
      const flat = (block[0] * counts[1] + block[1]) * counts[2] + block[2];
      if (seen[flat]) return;
      seen[flat] = 1;
      mark(block.map((i, axis) => blocks(i, spatial[axis])));
    });
    return marked;
  }
  const split = (i, n) => {
    const high = ((n + 1) >> 1) + (i >> 1);
    return high < n ? [i >> 1, high] : [i >> 1];
  };
  let places = cells;
  const all = boxes(size, levels);
  for (let level = 1; level <= levels; level++) {
    const outer = all[level - 1];
    const inner = all[level];
    const following = new Uint8Array(inner[0] * inner[1] * inner[2]);
    eachMarked(places, outer, (z, y, x) => {
      mark([split(z, outer[0]), split(y, outer[1]), split(x, outer[2])]);
      // The combination that is low along all axes goes on to the next level.
      marked[((z >> 1) * size[1] + (y >> 1)) * size[2] + (x >> 1)] = 0;
      following[((z >> 1) * inner[1] + (y >> 1)) * inner[2] + (x >> 1)] = 1;
    });
    places = following;
  }
  eachMarked(places, all[levels], (z, y, x) => {
    marked[(z * size[1] + y) * size[2] + x] = 1;
  });
  return marked;
}

function eachMarked(marks, size, visit) {
  for (let z = 0, at = 0; z < size[0]; z++) {
    for (let y = 0; y < size[1]; y++) {
      for (let x = 0; x < size[2]; x++) if (marks[at++]) visit(z, y, x);
    }
  }
}

/**
 * Applies an operation to every line along an axis (0 z, 1 y, 2 x) in the corner of an array, in place.
 * @param {(line: Float64Array, n: number, out: Float64Array) => void} operation
 */
function forEachLine(values, size, corner, axis, operation) {
  const stride = [size[1] * size[2], size[2], 1];
  const [a, b] = [0, 1, 2].filter((other) => other !== axis);
  const n = corner[axis];
  const line = new Float64Array(n);
  const out = new Float64Array(n);
  const along = stride[axis];
  for (let i = 0; i < corner[a]; i++) {
    for (let j = 0; j < corner[b]; j++) {
      const start = i * stride[a] + j * stride[b];
      for (let k = 0, p = start; k < n; k++, p += along) line[k] = values[p];
      operation(line, n, out);
      for (let k = 0, p = start; k < n; k++, p += along) values[p] = clamp32(out[k]);
    }
  }
}

const DCT = [
  [5793, 5793, 5793, 5793, 5793, 5793, 5793, 5793],
  [8035, 6811, 4551, 1598, -1598, -4551, -6811, -8035],
  [7568, 3135, -3135, -7568, -7568, -3135, 3135, 7568],
  [6811, -1598, -8035, -4551, 4551, 8035, 1598, -6811],
  [5793, -5793, -5793, 5793, 5793, -5793, -5793, 5793],
  [4551, -8035, 1598, 6811, -6811, -1598, 8035, -4551],
  [3135, -7568, 7568, -3135, -3135, 7568, -7568, 3135],
  [1598, -4551, 6811, -8035, 8035, -6811, 4551, -1598],
];
// A column for each of the eight cells.
const COLUMNS = DCT[0].map((_, i) => Float64Array.from(DCT, (row) => row[i]));

function dctLine(line, n, out) {
  const blocks = n >> 3;
  for (let b = 0; b < blocks; b++) {
    for (let i = 0; i < 8; i++) {
      const column = COLUMNS[i];
      let sum = 8192; // every sum is below 2^47
      for (let u = 0, p = b; u < 8; u++, p += blocks) sum += column[u] * line[p];
      out[8 * b + i] = Math.floor(sum / 16384);
    }
  }
}

/** Subtracts from the n samples of `part` the rounded multiples of their neighbours among the m of the other part. */
function lift(line, part, n, other, m, first, factor) {
  for (let k = 0; k < n; k++) {
    const a = line[other + Math.max(k + first, 0)];
    const b = line[other + Math.min(k + first + 1, m - 1)];
    line[part + k] -= Math.floor((factor * (a + b) + 2048) / 4096);
  }
}

function mergeLine(line, n, out) {
  const low = (n + 1) >> 1;
  const high = n - low;
  lift(line, 0, low, low, high, -1, 1817);
  lift(line, low, high, 0, low, 0, 3616);
  lift(line, 0, low, low, high, -1, -217);
  lift(line, low, high, 0, low, 0, -6497);
  for (let k = 0; k < n; k++) out[k] = line[k & 1 ? low + (k >> 1) : k >> 1];
}

/**
 * Values of the cells of one channel from its coefficients, both flat.
 * @param {Int32Array} values  coefficients; overwritten
 */
export function inverseTransform(info, transform, levels, values) {
  const size = coefficientSize(info, transform);
  if (transform === 1) {
    for (const axis of [2, 1, 0]) if (size[axis] > 1) forEachLine(values, size, size, axis, dctLine);
    const [depth, height, width] = spatialSize(info);
    const cells = new Int32Array(depth * height * width);
    for (let z = 0, at = 0; z < depth; z++) {
      for (let y = 0; y < height; y++, at += width) {
        const start = (z * size[1] + y) * size[2];
        cells.set(values.subarray(start, start + width), at);
      }
    }
    return cells;
  }
  const all = boxes(size, levels);
  for (let level = levels; level >= 1; level--) {
    const outer = all[level - 1];
    for (const axis of [2, 1, 0]) if (outer[axis] > 1) forEachLine(values, size, outer, axis, mergeLine);
  }
  return values;
}
