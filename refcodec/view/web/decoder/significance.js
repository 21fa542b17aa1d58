/** Which cells occupied voxels touch (specification, 7.1). */
import { spatialSize, supportOf } from './transforms.js';

/**
 * For each voxel along an axis (0 x, 1 y, 2 z) the cells that it touches, as up to two ranges [from, to).
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
  return Array.from({ length: dims[axis] }, (_, v) => {
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
    if (firstPeriod === lastPeriod) return [[low, high + 1]];
    if (firstPeriod + 1n === lastPeriod) return [[low, count], [0, high + 1]];
    return [[0, count]];
  });
}

/** The rule of one tensor in one scene. */
export class Significance {
  constructor(scene, dims, info) {
    this.info = info;
    this.dims = dims;
    this.ranges = [0, 1, 2].map((axis) => touchedRanges(scene, dims, info, axis));
  }

  /** Flat positions, ascending, of the coefficients that may be coded. @param {Uint8Array} occupancy a byte a voxel */
  codedCells(occupancy, transform, levels) {
    const marked = supportOf(this.info, transform, levels, this._touched(occupancy));
    let count = 0;
    for (let i = 0; i < marked.length; i++) count += marked[i];
    const cells = new Int32Array(count);
    for (let i = 0, at = 0; i < marked.length; i++) if (marked[i]) cells[at++] = i;
    return cells;
  }

  /** Marks the touched cells: one axis after the other. */
  _touched(occupancy) {
    const [dimX, dimY, dimZ] = this.dims;
    const [depth, height, width] = spatialSize(this.info);
    const byX = new Uint8Array(dimZ * dimY * width);
    for (let row = 0; row < dimZ * dimY; row++) {
      for (let v = 0; v < dimX; v++) {
        if (occupancy[row * dimX + v]) for (const [a, b] of this.ranges[0][v]) byX.fill(1, row * width + a, row * width + b);
      }
    }
    const byY = new Uint8Array(dimZ * height * width);
    for (let z = 0; z < dimZ; z++) {
      for (let v = 0; v < dimY; v++) {
        const from = (z * dimY + v) * width;
        for (const [a, b] of this.ranges[1][v]) for (let y = a; y < b; y++) merge(byY, (z * height + y) * width, byX, from, width);
      }
    }
    const plane = height * width;
    const cells = new Uint8Array(depth * plane);
    for (let v = 0; v < dimZ; v++) {
      for (const [a, b] of this.ranges[2][v]) for (let z = a; z < b; z++) merge(cells, z * plane, byY, v * plane, plane);
    }
    return cells;
  }
}

function merge(to, at, from, start, n) {
  for (let i = 0; i < n; i++) to[at + i] |= from[start + i];
}
