/** Where the items of a plan lie on the GPU. */
import { TEXTURE_WIDTH } from './shader.js';

export const SPARE_TEXTURES = 3; // data, occupancy, distances
const TEXTURE_UNITS = 16; // every WebGL2 has them
const MOST = 65504; // of a half float

/**
 * Gives the grids of a plan textures of their own, as many as there is room for: `item.texture` { name, size,
 * filtered }, vectors one behind the other along the last axis. filtered: of half floats that the hardware
 * interpolates, else of floats, because filters have too few bits for 9.5.
 */
export function giveTextures(plan, filtered, largest, largest3d) {
  let left = TEXTURE_UNITS - SPARE_TEXTURES;
  for (const item of plan.items) {
    if (item.kind !== 'grid' || left === 0) continue;
    const { info } = item;
    const sizes = [info.width, info.height, info.depth].filter((n) => n > 1);
    while (sizes.length < 2) sizes.push(1);
    sizes[sizes.length - 1] *= item.map.length / 4;
    if (Math.max(...sizes) > (sizes.length === 3 ? largest3d : largest)) continue;
    item.texture = { name: `grid${plan.items.indexOf(item)}`, size: sizes, filtered };
    left--;
  }
}

/** Places the items of a plan that have neither texture nor block in rows of one; returns the rows. */
export function placeRows(plan) {
  let rows = 0;
  for (const item of plan.items) {
    if (item.texture || item.block !== undefined) continue;
    item.base = rows * TEXTURE_WIDTH;
    rows += Math.ceil(item.vectors / TEXTURE_WIDTH);
    if (item.kind === 'layer') item.at = (index) => `fetch(${item.base} + ${index})`;
  }
  return Math.max(1, rows);
}

/** The values, within the range of half floats. */
export function bounded(values) {
  for (const v of values) if (v > MOST || v < -MOST) return values.map((x) => Math.min(Math.max(x, -MOST), MOST));
  return values;
}

