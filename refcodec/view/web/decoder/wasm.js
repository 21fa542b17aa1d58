/** The decoder's loops in WebAssembly: refcodec/kernels/src, as kernels.wasm.js holds them. */
import { Refused, require } from './errors.js';
import { WASM } from './kernels.wasm.js';
import { PREDICTIONS } from './syntax.generated.js';
import { bandsOf, coefficientSize, spatialSize } from './transforms.js';

const PAGE = 1 << 16;
const STATIC = 3; // of the tables that come with a model
const NO_BIT = 17;
const JOB_WORDS = 27; // rfv_job, rfv_reconstruction in rfv.h
const RECONSTRUCTION_WORDS = 29;
const SHA256_BYTES = 112;

export class WasmKernels {
  constructor() {
    this.name = 'wasm';
    this.kernels = new WebAssembly.Instance(
      new WebAssembly.Module(Uint8Array.from(atob(WASM), (c) => c.charCodeAt(0))),
    ).exports;
    this.kept = this.kernels.heap(); // below: what stays
    this.top = this.kept;
    this.families = new Map();
    this.words = new WeakMap(); // of a model
    this.bands = new Map(); // of a coefficient array
    this.ranges = new WeakMap(); // of a header: those of each scene and tensor
  }

  /** Memory of so many bytes, all 0 where `clear`, until `_release`. */
  _take(bytes, clear = false) {
    const at = (this.top + 15) & ~15;
    const end = at + bytes;
    const { memory } = this.kernels;
    if (end > memory.buffer.byteLength) memory.grow(Math.ceil((end - memory.buffer.byteLength) / PAGE));
    this.top = end;
    if (clear) new Uint8Array(memory.buffer, at, bytes).fill(0);
    return at;
  }

  _release() {
    this.top = this.kept;
  }

  /** A copy of an array; 0 for null. */
  _put(array) {
    if (array === null) return 0;
    const at = this._take(array.byteLength);
    new Uint8Array(this.kernels.memory.buffer, at, array.byteLength).set(
      new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
    );
    return at;
  }

  _get(Type, at, length) {
    return new Type(this.kernels.memory.buffer, at, length).slice();
  }

  sha256(...pieces) {
    this._release();
    const { kernels } = this;
    const sha = this._take(SHA256_BYTES);
    const digest = this._take(32);
    kernels.sha256_begin(sha);
    const after = this.top;
    for (const piece of pieces) {
      kernels.sha256_add(sha, this._put(piece), piece.byteLength);
      this.top = after;
    }
    kernels.sha256_end(sha, digest);
    return this._get(Uint8Array, digest, 32);
  }

  /** See JavaScriptKernels. */
  decodeOccupancy(model, dims, previous, data) {
    this._prepare(model);
    const { kernels } = this;
    const [width, height, depth] = dims;
    const voxels = width * height * depth;
    let before = 0;
    if (previous !== null) {
      before = this._take(voxels);
      kernels.unpack(this._put(previous), voxels, before);
    }
    const grid = { channels: 1, depth, height, width, blocks: [1, 1, 1] };
    const bits = this._take(voxels, true);
    const packed = this._take((voxels + 7) >> 3);
    const job = this._job(model, grid, 0, before, 0, 0, 0, 0, data);
    const size = kernels.occupancy_size(job.at);
    const detail = this._take(4);
    let outcome = size > 0 ? kernels.occupancy(job.at, bits, voxels, this._take(size), size, detail) : NO_BIT;
    if (outcome === NO_BIT) {
      // A model with many inputs, an order that is rare, or a value that is no bit.
      const values = this._symbols(model, grid, 0, voxels, 0, before, 0, data);
      require(kernels.bits(values, voxels, bits), 'R-ENT-05');
      outcome = 0;
    }
    this._judge(outcome, detail);
    kernels.pack(bits, voxels, packed);
    return this._get(Uint8Array, packed, (voxels + 7) >> 3);
  }

  /** See JavaScriptKernels. */
  decodeTensor(header, scene, t, models, packed, before, source) {
    this._prepare(models.model, t.significance >= 2 ? models.maskModel : null);
    const { kernels } = this;
    const info = header.tensors[t.id];
    const { channels } = info;
    const [depth, height, width] = coefficientSize(info, t.transform);
    const blocks = [depth, height, width].map((n) => (t.transform === 1 && n > 1 ? n / 8 : 1));
    const cells = depth * height * width;
    const grid = { channels, depth, height, width, blocks };
    const mask = t.significance & 1 ? this._mask(header, scene, t, packed, cells) : 0;
    const coded = mask ? kernels.count(mask, cells) : cells;
    const previous = this._put(before);
    const band = t.transform > 0 ? this._band(info, t, mask, cells, coded) : 0;
    let selected = 0;
    if (t.significance >= 2) {
      const bits = this._symbols(models.maskModel, grid, mask, coded, 0, previous, band, t.maskData);
      selected = this._take(coded * channels);
      require(kernels.bits(bits, coded * channels, selected), 'R-ENT-05');
    }
    const values = this._symbols(models.model, grid, mask, coded, selected, previous, band, t.data);

    const from = this._put(source);
    const tensor = this._take(4 * info.elements);
    const context = this._take(cells * channels, true);
    const r = this._take(4 * RECONSTRUCTION_WORDS);
    const steps = [...t.steps, ...new Array(8 - t.steps.length).fill(0)];
    const { baseMantissa, baseExponent, baseOffset } = t;
    const prediction = [PREDICTIONS[t.prediction].hasFactor ? 1 : 0, baseMantissa, baseExponent, baseOffset];
    new Int32Array(kernels.memory.buffer, r, RECONSTRUCTION_WORDS).set([
      channels,
      ...spatialSize(info),
      t.transform,
      t.levels,
      values,
      coded * channels,
      mask,
      mask ? cells : 0,
      ...steps,
      t.steps.length,
      from,
      from ? info.elements : 0,
      ...prediction,
      tensor,
      info.elements,
      context,
      cells * channels,
    ]);
    const size = kernels.reconstruct_size(r);
    if (size === 0 || kernels.reconstruct(r, this._take(size), size) !== 0) throw new Error('A kernel refused a tensor.');
    return {
      tensor: this._get(Int32Array, tensor, info.elements),
      values: this._get(Int8Array, context, cells * channels),
    };
  }

  /** Lets go of what the last call took; makes the tables that last. */
  _prepare(...models) {
    this._release();
    for (const model of models) {
      if (model === null || model.type !== 1 || this.families.has(model.family)) continue;
      const { kernels } = this;
      const size = kernels.tables_size(model.family, 0, 0);
      const at = this._take(size);
      kernels.tables_build(model.family, 0, 0, at, size);
      this.families.set(model.family, at);
      this.kept = this.top;
    }
  }

  _words(model) {
    let words = this.words.get(model);
    if (words === undefined) {
      words = Int32Array.from(model.type === 1 ? contextWords(model) : staticWords(model));
      this.words.set(model, words);
    }
    return words;
  }

  /** An rfv_job in memory. */
  _job(model, grid, mask, previous, selected, band, values, coded, data) {
    const { channels, depth, height, width, blocks } = grid;
    const words = this._words(model);
    const at = this._put(words);
    const cells = depth * height * width;
    let tables = this.families.get(model.family);
    if (model.type === 2) {
      const size = this.kernels.tables_size(STATIC, at, words.length);
      tables = this._take(size);
      if (size === 0 || this.kernels.tables_build(STATIC, at, words.length, tables, size) !== 0) {
        throw new Error('A kernel refused a model.');
      }
    }
    const coding = this._put(data);
    const job = this._take(4 * JOB_WORDS);
    const symbols = coded * channels;
    new Int32Array(this.kernels.memory.buffer, job, JOB_WORDS).set([
      at,
      words.length,
      tables,
      channels,
      depth,
      height,
      width,
      ...blocks,
      mask,
      mask ? cells : 0,
      previous,
      previous ? cells * channels : 0,
      selected,
      selected ? symbols : 0,
      band,
      band ? coded : 0,
      values,
      symbols,
      coding,
      data.length,
      0,
      0,
      0,
      0,
      0,
    ]);
    return { at: job };
  }

  /** Values of the coded cells, int32 (coded, channels), in memory. */
  _symbols(model, grid, mask, coded, selected, previous, band, data) {
    const { kernels } = this;
    const values = this._take(4 * coded * grid.channels, true);
    const job = this._job(model, grid, mask, previous, selected, model.type === 2 ? band : 0, values, coded, data);
    const size = kernels.symbols_size(job.at);
    const detail = this._take(4, true);
    if (size === 0) throw new Error('A kernel refused a tensor.');
    const after = this.top;
    const outcome = kernels.symbols(job.at, this._take(size), size, detail);
    this._judge(outcome, detail);
    this.top = after;
    return values;
  }

  _judge(outcome, detail) {
    if (outcome === 0) return;
    if (outcome < 1 || outcome > 5) throw new Error(`A kernel ended with ${outcome}.`);
    const value = new Int32Array(this.kernels.memory.buffer, detail, 1)[0];
    throw new Refused(`R-ENT-0${outcome}`, outcome === 4 ? `It is ${value}.` : '');
  }

  /** Flags of the coefficients that may be coded (7.1, 7.5.1), in memory. */
  _mask(header, scene, t, packed, cells) {
    const { kernels } = this;
    const info = header.tensors[t.id];
    const dims = [...header.occupancyDims].reverse();
    const voxels = dims[0] * dims[1] * dims[2];
    const size = spatialSize(info);
    const count = size[0] * size[1] * size[2];
    const ranges = this._ranges(header, scene, t.id);
    const occupied = this._take(voxels);
    kernels.unpack(this._put(packed), voxels, occupied);
    const dimsAt = this._put(Int32Array.from(dims));
    const sizeAt = this._put(Int32Array.from(size));
    const touched = this._take(count);
    const needed = kernels.coded_size(dimsAt, sizeAt);
    const scratch = this._take(needed);
    if (kernels.coded(occupied, dimsAt, sizeAt, this._put(ranges), touched, scratch, needed) !== 0) {
      throw new Error('A kernel refused an occupancy.');
    }
    if (t.transform === 0) return touched;
    const mask = this._take(cells);
    if (kernels.support(t.transform, t.levels, sizeAt, touched, mask, cells) !== 0) {
      throw new Error('A kernel refused a transform.');
    }
    return mask;
  }

  /** The cells that each voxel touches along z, y and x. */
  _ranges(header, scene, id) {
    if (!this.ranges.has(header)) this.ranges.set(header, new Map());
    const known = this.ranges.get(header);
    const key = scene * 64 + id;
    if (known.has(key)) return known.get(key);
    const info = header.tensors[id];
    const { aabbMin, aabbMax } = header.scenes[scene];
    const extents = aabbMax.map((high, axis) => high - aabbMin[axis]);
    const longest = Math.max(...extents);
    const parts = [2, 1, 0].map((axis) => {
      const voxels = header.occupancyDims[axis];
      const cells = [info.width, info.height, info.depth][axis];
      const sawtooth = info.mapping === 2;
      const numerator = sawtooth ? BigInt(extents[axis]) * BigInt(info.frequency) : 1n;
      const denominator = sawtooth ? BigInt(voxels * longest) << 16n : BigInt(voxels);
      const at = this._take(16 * voxels);
      const linear = info.mapping === 1 ? 1 : 0;
      if (this.kernels.touched(voxels, cells, numerator, denominator, linear, info.alignment, at, 4 * voxels) !== 0) {
        throw new Error('A kernel refused an occupancy.');
      }
      return this._get(Int32Array, at, 4 * voxels);
    });
    const ranges = Int32Array.from(parts.flatMap((part) => [...part]));
    known.set(key, ranges);
    return ranges;
  }

  /** Bands of the coded cells, in memory. */
  _band(info, t, mask, cells, coded) {
    const key = [info.depth, info.height, info.width, t.transform, t.levels].join();
    if (!this.bands.has(key)) this.bands.set(key, bandsOf(info, t.transform, t.levels));
    const all = this._put(this.bands.get(key));
    if (!mask) return all;
    const band = this._take(coded);
    this.kernels.bands(all, mask, cells, band);
    return band;
  }
}

function contextWords(m) {
  return [
    1,
    m.family,
    m.joint ? 1 : 0,
    m.channels,
    ...m.scan,
    m.template.length,
    m.hidden,
    m.hiddenShift,
    m.locationShift,
    m.scaleShift,
    m.shapeShift ?? 0,
    ...m.template.flat(),
    ...m.hiddenWeight,
    ...m.hiddenBias,
    ...m.outputWeight,
    ...m.outputBias,
  ];
}

function staticWords({ assignment, counts }) {
  const words = [2, assignment, counts.length];
  for (const { firstValue, count } of counts) words.push(firstValue, count.length, ...count);
  return words;
}
