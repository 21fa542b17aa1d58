/** The decoder's loops in JavaScript: slower than WebAssembly, and independent of it. */
import { sha256 } from './checksums.js';
import { require } from './errors.js';
import { Significance } from './significance.js';
import { decodeSymbols } from './symbols.js';
import { bandsOf, clamp32, coefficientSize, inverseTransform } from './transforms.js';

export class JavaScriptKernels {
  constructor() {
    this.name = 'javascript';
    this.rules = new WeakMap(); // of a header: Map of Significance by scene and tensor
    this.bands = new WeakMap(); // of a header: Map of bands
  }

  sha256(...pieces) {
    return sha256(...pieces);
  }

  /**
   * Section 6.1.2: packed occupancy bits.
   * @param {number[]} dims  voxels along x, y, z
   * @param {?Uint8Array} previous  packed bits of the previous frame; null: all 0
   */
  decodeOccupancy(model, dims, previous, data) {
    const [width, height, depth] = dims;
    const voxels = width * height * depth;
    const before =
      previous === null ? null : Int8Array.from({ length: voxels }, (_, n) => (previous[n >> 3] >> (n & 7)) & 1);
    const grid = { channels: 1, depth, height, width, band: null, blocks: [1, 1, 1] };
    const bits = decodeSymbols(model, grid, null, null, before, data);
    require(bits.every(isBit), 'R-ENT-05');
    const packed = new Uint8Array((voxels + 7) >> 3);
    for (let n = 0; n < voxels; n++) packed[n >> 3] |= bits[n] << (n & 7);
    return packed;
  }

  /**
   * A tensor (6.3 to 7.5): { tensor: Int32Array, channel outermost; values: Int8Array (cells, channels) of the
   * coefficient array, clamped }.
   * @param {{model: object, maskModel: ?object}} models
   * @param {Uint8Array} packed  occupancy bits
   * @param {?Int8Array} before  `values` of the previous frame; null: all 0
   * @param {?Int32Array} source  the tensor that it is predicted from
   */
  decodeTensor(header, scene, t, models, packed, before, source) {
    const info = header.tensors[t.id];
    const [depth, height, width] = coefficientSize(info, t.transform);
    const blocks = [depth, height, width].map((n) => (t.transform === 1 && n > 1 ? n / 8 : 1));
    const grid = { channels: info.channels, depth, height, width, band: this._bands(header, t), blocks };
    let cells = null;
    if (t.significance & 1) {
      if (this.packed !== packed) {
        this.packed = packed;
        this.occupied = occupiedVoxels(packed);
      }
      cells = this._rule(header, scene, t.id).codedCells(this.occupied, t.transform, t.levels);
    }
    let selected = null;
    if (t.significance >= 2) {
      const bits = decodeSymbols(models.maskModel, grid, cells, null, before, t.maskData);
      require(bits.every(isBit), 'R-ENT-05');
      selected = Uint8Array.from(bits);
    }
    const values = decodeSymbols(models.model, grid, cells, selected, before, t.data);
    return { tensor: reconstruct(info, t, grid, values, source), values: clamped(values) };
  }

  _rule(header, scene, id) {
    return remembered(
      this.rules,
      header,
      scene * 64 + id,
      () => new Significance(header.scenes[scene], header.occupancyDims, header.tensors[id]),
    );
  }

  _bands(header, t) {
    if (t.transform === 0) return null;
    const key = (t.id * 3 + t.transform) * 8 + t.levels;
    return remembered(this.bands, header, key, () => bandsOf(header.tensors[t.id], t.transform, t.levels));
  }
}

function remembered(maps, header, key, make) {
  if (!maps.has(header)) maps.set(header, new Map());
  const map = maps.get(header);
  if (!map.has(key)) map.set(key, make());
  return map.get(key);
}

function isBit(value) {
  return value === 0 || value === 1;
}

/** Numbers of the occupied voxels. */
function occupiedVoxels(packed) {
  let count = 0;
  for (let i = 0; i < packed.length; i++) for (let bits = packed[i]; bits !== 0; bits &= bits - 1) count++;
  const voxels = new Int32Array(count);
  for (let i = 0, at = 0; i < packed.length; i++) {
    if (packed[i] === 0) continue;
    for (let k = 0; k < 8; k++) if ((packed[i] >> k) & 1) voxels[at++] = 8 * i + k;
  }
  return voxels;
}

function clamped(values) {
  const out = new Int8Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    out[i] = v > 127 ? 127 : v < -127 ? -127 : v;
  }
  return out;
}

/** Section 7.2. The products are below 2^52, with a shared tensor's factor below 2^61 and then a multiple of 2^15. */
function dequantise(q, [mantissa, exponent]) {
  const product = q * mantissa;
  return exponent >= 0 ? product * 2 ** exponent : Math.floor((product + 2 ** (-exponent - 1)) / 2 ** -exponent);
}

const STEP = [32768, 35734, 38968, 42495, 46341, 50535, 55109, 60097];

/** Mantissa and exponent of a step_index (7.2). */
function stepOf(index) {
  return [STEP[index & 7], (index >> 3) - 15];
}

/** Of each `prediction`: what a tensor adds to a residual, a function of the source's value at the same place (7.3). */
const PREDICTORS = {
  0: () => () => 0,
  1: () => (value) => value,
  2: ({ baseMantissa, baseExponent, baseOffset }) => {
    const factor = [baseMantissa, baseExponent];
    return (value) => dequantise(value, factor) + baseOffset;
  },
  3: ({ baseOffset }) => () => baseOffset,
};

/** The elements of a tensor, channel outermost, from its quantised values (7.2, 7.3). */
function reconstruct(info, t, grid, values, source) {
  const { channels, band } = grid;
  const size = info.depth * info.height * info.width;
  const count = grid.depth * grid.height * grid.width;
  const tensor = new Int32Array(info.elements);
  const steps = t.steps.map(stepOf);
  let residual = null;
  if (t.transform > 0) {
    residual = new Int32Array(tensor.length);
    const coefficients = new Int32Array(count);
    for (let c = 0; c < channels; c++) {
      for (let cell = 0; cell < count; cell++) {
        const q = values[cell * channels + c];
        coefficients[cell] = q === 0 ? 0 : clamp32(dequantise(q, steps[band[cell]]));
      }
      residual.set(inverseTransform(info, t.transform, t.levels, coefficients), c * size);
    }
  }
  const predict = PREDICTORS[t.prediction](t);
  for (let c = 0, at = 0; c < channels; c++) {
    for (let cell = 0; cell < size; cell++, at++) {
      let value = predict(source === null ? 0 : source[at]);
      if (residual !== null) {
        value += residual[at];
      } else {
        const q = values[cell * channels + c];
        if (q !== 0) value += dequantise(q, steps[0]);
      }
      tensor[at] = clamp32(value);
    }
  }
  return tensor;
}
