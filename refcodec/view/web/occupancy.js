/** Empty space on a coarser level, for rays to leap over. */

/** Voxels along the side of a block. */
export const BLOCK = 4;
const FARTHEST = 255;

/** Blocks along x, y, z. */
export function blocksOf(dims) {
  return dims.map((n) => Math.max(1, Math.ceil(n / BLOCK)));
}

/**
 * For each block, x fastest, the distance to the nearest block that holds an occupied voxel, in blocks along the
 * axis where it is largest; 0 where it holds one itself.
 * @param {Uint8Array} bits  of the voxels (R-RND-07)
 */
export function distancesOf(bits, dims) {
  const [nx, ny, nz] = dims;
  const [bx, by, bz] = blocksOf(dims);
  const out = new Uint8Array(bx * by * bz).fill(FARTHEST);
  for (let z = 0, bit = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      const row = (Math.floor(z / BLOCK) * by + Math.floor(y / BLOCK)) * bx;
      for (let x = 0; x < nx; ) {
        if ((bit & 7) === 0 && nx - x >= 8 && bits[bit >> 3] === 0) {
          bit += 8;
          x += 8;
          continue;
        }
        if ((bits[bit >> 3] >> (bit & 7)) & 1) out[row + Math.floor(x / BLOCK)] = 0;
        bit++;
        x++;
      }
    }
  }
  // A cube's distance is the largest of three: axis after axis, the least of max(distance along it, the others').
  const spread = (count, n, stride, startOf) => {
    const before = new Uint8Array(n);
    for (let line = 0; line < count; line++) {
      const start = startOf(line);
      for (let i = 0; i < n; i++) before[i] = out[start + i * stride];
      for (let i = 0; i < n; i++) {
        let best = before[i];
        for (let d = 1; d < best && d < n; d++) {
          if (i >= d) best = Math.min(best, Math.max(d, before[i - d]));
          if (i + d < n) best = Math.min(best, Math.max(d, before[i + d]));
        }
        out[start + i * stride] = best;
      }
    }
  };
  spread(by * bz, bx, 1, (line) => line * bx);
  spread(bx * bz, by, bx, (line) => Math.floor(line / bx) * bx * by + (line % bx));
  spread(bx * by, bz, bx * by, (line) => line);
  return out;
}
