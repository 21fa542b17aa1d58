/** Which cells occupied voxels touch (specification, 7.1). */
import { spatialSize, supportOf } from './transforms.js';

/**
 * For each voxel along an axis (0 x, 1 y, 2 z) the cells that it touches: two ranges [from, to), four numbers.
 * The numbers are below 2^63, hence the BigInts; there are at most 512 voxels along an axis.
 */
function touchedRanges(scene, dims, info, axis) {
  const voxels = BigInt(dims[axis]);
  const count = [info.width, info.height, info.depth][axis];
  const cells = BigInt(count);
  const extents = scene.aabbMax.map((hi, i) => BigInt(hi - scene.aabbMin[i]));
  const longest = extents.reduce((a, b) => (a > b ? a : b));
  const sawtooth = info.mapping === 2;
  const numerator = sawtooth ? extents[axis] * BigInt(info.frequency) : 1n;
  const denominator = sawtooth ? (voxels * longest) << 16n : voxels;
  const cellAt = (remainder) => {
    if (info.alignment === 0) return Number((remainder * (cells - 1n)) / denominator);
    const doubled = 2n * remainder * cells - denominator;
    return doubled < 0n ? 0 : Math.min(Number(doubled / (2n * denominator)), count - 1);
  };
  const ranges = new Int32Array(4 * dims[axis]);
  for (let v = 0; v < dims[axis]; v++) {
    const begin = BigInt(v) * numerator;
    const end = BigInt(v + 1) * numerator;
    const firstPeriod = begin / denominator;
    let lastPeriod = end / denominator;
    let last = end % denominator;
    if (!sawtooth && lastPeriod === 1n) {
      lastPeriod = 0n;
      last = denominator;
    }
    const low = cellAt(begin % denominator);
    const high = Math.min(cellAt(last) + 1, count - 1);
    if (firstPeriod === lastPeriod) ranges.set([low, high + 1], 4 * v);
    else if (firstPeriod + 1n === lastPeriod) ranges.set([low, count, 0, high + 1], 4 * v);
    else ranges.set([0, count], 4 * v);
  }
  return ranges;
}

/** The rule of one tensor in one scene. */
export class Significance {
  constructor(scene, dims, info) {
    this.info = info;
    this.dims = dims;
    this.ranges = [0, 1, 2].map((axis) => touchedRanges(scene, dims, info, axis));
  }

  /**
   * Flat positions, ascending, of the coefficients that may be coded.
   * @param {Int32Array} occupied  numbers of the occupied voxels
   */
  codedCells(occupied, transform, levels) {
    const marked = supportOf(this.info, transform, levels, this._touched(occupied));
    let count = 0;
    for (let i = 0; i < marked.length; i++) count += marked[i];
    const cells = new Int32Array(count);
    for (let i = 0, at = 0; i < marked.length; i++) if (marked[i]) cells[at++] = i;
    return cells;
  }

  /** Marks the touched cells: one axis after the other. */
  _touched(occupied) {
    const [dimX, dimY, dimZ] = this.dims;
    const [depth, height, width] = spatialSize(this.info);
    const [alongX, alongY, alongZ] = this.ranges;
    const byX = new Uint8Array(dimZ * dimY * width);
    for (let k = 0; k < occupied.length; k++) {
      const row = Math.floor(occupied[k] / dimX);
      const v = occupied[k] - row * dimX;
      for (let i = 4 * v; i < 4 * v + 4; i += 2) {
        for (let x = alongX[i]; x < alongX[i + 1]; x++) byX[row * width + x] = 1;
      }
    }
    const byY = new Uint8Array(dimZ * height * width);
    for (let z = 0; z < dimZ; z++) {
      merge(byX, z * dimY * width, byY, z * height * width, width, alongY);
    }
    const cells = new Uint8Array(depth * height * width);
    merge(byY, 0, cells, 0, height * width, alongZ);
    return cells;
  }
}

/** Joins rows of n marks, one for each voxel of an axis, to those of the cells that the voxels touch. */
function merge(from, start, to, at, n, ranges) {
  for (let v = 0; 4 * v < ranges.length; v++) {
    const source = start + v * n;
    let first = source;
    while (first < source + n && from[first] === 0) first++;
    if (first === source + n) continue;
    for (let i = 4 * v; i < 4 * v + 4; i += 2) {
      for (let cell = ranges[i]; cell < ranges[i + 1]; cell++) {
        const target = at + cell * n;
        for (let k = first - source; k < n; k++) to[target + k] |= from[source + k];
      }
    }
  }
}
