/** Decoding the symbols of one tensor or mask: order, context models, escapes (specification, 6.3 to 6.5). */
import { Refused } from './errors.js';
import { RangeDecoder } from './rangedecoder.js';
import { isActivity } from './structures.js';
import { FAMILIES } from './syntax.generated.js';
import { TABLES } from './tables.js';

const INPUT_LIMIT = 127;

/**
 * Values of the coefficient array, cell by cell: Int32Array, value of channel c of a cell at cell * channels + c.
 * @param {object} model
 * @param {{channels: number, depth: number, height: number, width: number, band: ?Uint8Array, blocks: number[]}} grid
 *     blocks: samples from one frequency to the next along z, y, x
 * @param {?Int32Array} cells  flat positions of the coded cells, ascending; null: all
 * @param {?Uint8Array} selected  1 where there is a symbol, laid out as the result; null: everywhere
 * @param {?Int8Array} previous  clamped values of the previous frame, laid out as the result; null: all 0
 * @param {Uint8Array} data
 */
export function decodeSymbols(model, grid, cells, selected, previous, data) {
  const { channels } = grid;
  const size = grid.depth * grid.height * grid.width;
  const values = new Int32Array(size * channels);
  const count = cells === null ? size : cells.length;
  if (count === 0 || (selected !== null && !selected.includes(1))) {
    if (data.length > 0) throw new Refused('R-ENT-02');
    return values;
  }
  const context = model.type === 1 && model.hidden > 0 ? new Context(model, grid, previous) : null;
  const chooser = context ?? new Unconditional(model, grid);
  const walk = new Walk(model, grid, cells, context?.pad ?? [0, 0, 0]);
  const wavefront = new Wavefront(model, walk.longest * (walk.byChannel ? 1 : channels));
  const decoder = new RangeDecoder(data);
  for (let s = 0; s < walk.wavefronts; s++) {
    wavefront.clear();
    for (let i = walk.starts[s]; i < walk.starts[s + 1]; i++) {
      const item = walk.order === null ? i : walk.order[i];
      if (walk.byChannel) {
        const cell = Math.floor(item / channels);
        const c = item % channels;
        const flat = cells === null ? cell : cells[cell];
        chooser.add(wavefront, walk.row(cell), flat, c, c + 1, selected);
      } else {
        chooser.add(wavefront, walk.row(item), cells === null ? item : cells[item], 0, channels, selected);
      }
    }
    wavefront.decode(decoder, values, context);
  }
  decoder.finish();
  return values;
}

/** The wavefronts in coding order. Items are cells, or cell * channels + channel where the scan separates channels. */
class Walk {
  constructor(model, grid, cells, pad) {
    const { channels, height, width } = grid;
    const scan = model.type === 1 ? model.scan : [0, 0, 0, 0];
    const plane = height * width;
    const count = cells === null ? plane * grid.depth : cells.length;
    this.byChannel = scan[0] > 0;
    const [padZ, padY, padX] = pad;
    const strideY = width + 2 * padX;
    const strideZ = strideY * (height + 2 * padY);
    const trivial = scan.every((w) => w === 0);
    const padded = padZ + padY + padX > 0;
    const keys = trivial ? null : new Uint16Array(count); // at most 3 * 3 * 4095
    this.rows = padded ? new Int32Array(count) : null;
    if (padded || !trivial) {
      for (let i = 0; i < count; i++) {
        const cell = cells === null ? i : cells[i];
        const z = Math.floor(cell / plane);
        const y = Math.floor((cell - z * plane) / width);
        const x = cell - z * plane - y * width;
        if (padded) this.rows[i] = (z + padZ) * strideZ + (y + padY) * strideY + x + padX;
        if (!trivial) keys[i] = scan[1] * z + scan[2] * y + scan[3] * x;
      }
    }
    this.cells = cells;
    if (trivial) {
      this.order = null;
      this.starts = [0, count];
    } else {
      this._sort(keys, scan[0], this.byChannel ? channels : 1);
    }
    this.wavefronts = this.starts.length - 1;
    this.longest = 0;
    for (let s = 0; s < this.wavefronts; s++) this.longest = Math.max(this.longest, this.starts[s + 1] - this.starts[s]);
  }

  /** Row of an item's cell in the context's store. */
  row(i) {
    if (this.rows !== null) return this.rows[i];
    return this.cells === null ? i : this.cells[i];
  }

  /** Counting sort, stable: raster order of cells, then channels, within a wavefront. */
  _sort(keys, weight, perCell) {
    let last = 0;
    for (let i = 0; i < keys.length; i++) if (keys[i] > last) last = keys[i];
    const starts = new Uint32Array(last + weight * (perCell - 1) + 2);
    for (let i = 0; i < keys.length; i++) for (let c = 0; c < perCell; c++) starts[keys[i] + weight * c + 1]++;
    for (let k = 1; k < starts.length; k++) starts[k] += starts[k - 1];
    const next = starts.slice();
    this.order = new Uint32Array(keys.length * perCell);
    for (let i = 0; i < keys.length; i++) {
      for (let c = 0; c < perCell; c++) this.order[next[keys[i] + weight * c]++] = i * perCell + c;
    }
    this.starts = starts;
  }
}

/** The symbols of one wavefront: where they go, their tables and locations. */
class Wavefront {
  constructor(model, capacity) {
    const family = model.type === 2 ? null : TABLES[model.family];
    this.count = 0;
    this.mixed = false; // whether tables differ
    this.tableAt = family === null ? (k) => model.tables[k] : (k) => family.at(k);
    this.tables = family === null ? model.tables.length : family.count;
    this.target = new Uint32Array(capacity); // cell * channels + channel
    this.row = new Uint32Array(capacity); // of the cell, in the context's store
    this.location = new Int8Array(capacity);
    this.table = new Uint8Array(capacity);
    this.order = new Uint32Array(capacity);
    this.entries = new Int32Array(capacity);
    this.starts = new Uint32Array(this.tables + 1);
    this.next = new Uint32Array(this.tables);
  }

  clear() {
    this.count = 0;
    this.mixed = false;
  }

  add(target, row, location, table) {
    const i = this.count++;
    this.target[i] = target;
    this.row[i] = row;
    this.location[i] = location;
    this.table[i] = table;
    if (table !== this.table[0]) this.mixed = true;
  }

  /** Decodes the symbols into `values` and, where there is one, the context. */
  decode(decoder, values, context) {
    const { count, table, entries } = this;
    if (count === 0) return;
    if (!this.mixed) {
      const only = this.tableAt(table[0]);
      this._values(only, 0, count, null, decoder, decoder.run(only, count, entries, 0), values);
    } else {
      this._sort();
      const { starts, order } = this;
      let escaped = false;
      for (let k = 0; k < this.tables; k++) {
        const n = starts[k + 1] - starts[k];
        if (n > 0) escaped = decoder.run(this.tableAt(k), n, entries, starts[k]) || escaped;
      }
      for (let k = 0; k < this.tables; k++) {
        if (starts[k + 1] > starts[k])
          this._values(this.tableAt(k), starts[k], starts[k + 1], order, decoder, escaped, values);
      }
    }
    if (context !== null) {
      const { target, row } = this;
      for (let i = 0; i < count; i++) {
        const value = values[target[i]];
        if (value !== 0) context.store(row[i], target[i], value);
      }
    }
  }

  /** The order by table, stable, and where each table's symbols begin in it. */
  _sort() {
    const { count, starts, next, order, table, tables } = this;
    starts.fill(0);
    for (let i = 0; i < count; i++) starts[table[i] + 1]++;
    for (let k = 1; k <= tables; k++) starts[k] += starts[k - 1];
    next.set(starts.subarray(0, tables));
    for (let i = 0; i < count; i++) order[next[table[i]]++] = i;
  }

  /** Values of the entries from `from` to `to`, all of one table; escapes are completed on the way. */
  _values({ low, size }, from, to, order, decoder, escaped, values) {
    const { entries, location, target } = this;
    for (let j = from; j < to; j++) {
      const i = order === null ? j : order[j];
      const base = location[i] + low;
      const value = escaped && entries[j] === size ? decoder.escape(base, size) : base + entries[j];
      if (value !== 0) values[target[i]] = value;
    }
  }
}

/** Tables that depend on no value: static models, and context models without neighbours. */
class Unconditional {
  constructor(model, grid) {
    this.channels = grid.channels;
    this.band = grid.band;
    this.byBand = 0;
    this.byChannel = 0;
    if (model.type === 2) {
      this.byChannel = model.assignment & 1;
      this.byBand = model.assignment === 2 ? 1 : model.assignment === 3 ? grid.channels : 0;
      this.locations = new Int8Array(grid.channels);
      this.tables = new Uint8Array(grid.channels);
    } else {
      ({ locations: this.locations, tables: this.tables } = spread(
        model,
        outputs(model, new Int32Array(0)),
        grid.channels,
      ));
    }
  }

  add(wavefront, row, cell, from, to, selected) {
    const base = this.byBand > 0 && this.band !== null ? this.band[cell] * this.byBand : 0;
    const start = cell * this.channels;
    for (let c = from; c < to; c++) {
      if (selected !== null && selected[start + c] === 0) continue;
      wavefront.add(start + c, row, this.locations[c], base + this.tables[c] + this.byChannel * c);
    }
  }
}

/** Sums of the output layer. */
function outputs(model, hidden) {
  const { outputWeight, outputBias } = model;
  const n = hidden.length;
  return outputBias.map((bias, o) => {
    let total = bias;
    for (let h = 0; h < n; h++) total += outputWeight[o * n + h] * hidden[h];
    return total;
  });
}

function shifted(total, shift) {
  return (total + ((1 << shift) >> 1)) >> shift;
}

function clamp(v, low, high) {
  return v < low ? low : v > high ? high : v;
}

function locationOf(model, total) {
  if (!FAMILIES[model.family].hasLocation) return 0;
  return clamp(shifted(total, model.locationShift), -INPUT_LIMIT, INPUT_LIMIT);
}

/** output(o): the sum of output o of the channel. */
function tableOf(model, output) {
  const { scales, shapes, hasShape } = FAMILIES[model.family];
  const scale = clamp(shifted(output(1), model.scaleShift), 0, scales - 1);
  return hasShape ? scales * clamp(shifted(output(2), model.shapeShift), 0, shapes - 1) + scale : scale;
}

/** Locations and tables of all channels of a cell from the sums of the output layer. */
function spread(model, sums, channels) {
  const k = model.joint ? model.outputs : 0;
  return {
    locations: Int8Array.from({ length: channels }, (_, c) => locationOf(model, sums[k * c])),
    tables: Uint8Array.from({ length: channels }, (_, c) => tableOf(model, (o) => sums[k * c + o])),
  };
}

/**
 * A context model at work on one tensor: clamped values of this frame and the previous one, padded so that
 * no neighbour needs a check, and the network. Most cells of a sparse tensor have no neighbour other than 0;
 * `active` marks the others, and what the model says of the quiet ones is worked out once.
 */
class Context {
  constructor(model, grid, previous) {
    const { channels } = grid;
    this.model = model;
    this.channels = channels;
    const size = [grid.depth, grid.height, grid.width];
    // Nothing lies beside a cell along an axis with one sample: such neighbours are always 0.
    const template = model.template.map(([source, dc, ...o]) => [
      source & 7,
      dc,
      ...o.map((d, axis) => d * (source & 8 ? grid.blocks[axis] : 1)),
    ]);
    this.pad = size.map((n, axis) => (n === 1 ? 0 : Math.max(...template.map((t) => Math.abs(t[2 + axis])))));
    const [, padY, padX] = this.pad;
    const strideY = grid.width + 2 * padX;
    const strideZ = strideY * (grid.height + 2 * padY);
    const rows = (grid.depth + 2 * this.pad[0]) * strideZ;

    const current = { values: new Int8Array(rows * channels), activity: null };
    const before = { values: null, activity: null };
    if (previous !== null && model.template.some(([source]) => source & 1)) {
      before.values = this._padded(previous, grid, strideZ, strideY, rows);
    }
    const readers = [new Set(), new Set()]; // of this and the previous frame: offsets at which they are read
    this.neighbours = []; // { store, ofCell, magnitude, dc, offset, input }: those that are not always 0
    let input = 0;
    for (const [source, dc, dz, dy, dx] of template) {
      const at = input;
      input += model.joint && !isActivity(source) ? channels : 1;
      const inside = [dz, dy, dx].every((d, axis) => d === 0 || size[axis] > 1);
      const store = source & 1 ? before : current;
      if (!inside || store.values === null || Math.abs(dc) >= channels) continue;
      const offset = dz * strideZ + dy * strideY + dx;
      if (isActivity(source)) store.activity ??= new Uint8Array(rows);
      readers[source & 1].add(offset);
      this.neighbours.push({ store, ofCell: isActivity(source), magnitude: source >= 4, dc, offset, input: at });
    }
    this.seenFrom = Int32Array.from(readers[0]);
    this.current = current;
    this.active = new Uint8Array(rows);
    if (before.values !== null) this._activate(before, Int32Array.from(readers[1]), rows);

    // Weights by input, so that inputs of 0 cost nothing.
    const { hidden, inputs, hiddenWeight } = model;
    this.columns = new Int32Array(inputs * hidden);
    for (let h = 0; h < hidden; h++)
      for (let i = 0; i < inputs; i++) this.columns[i * hidden + h] = hiddenWeight[h * inputs + i];
    this.outputWeight = Int32Array.from(model.outputWeight);
    this.sums = new Int32Array(hidden);
    this.bias = Int32Array.from(model.hiddenBias);
    this.sums.set(this.bias);
    this._hidden();
    this.quiet = spread(model, outputs(model, this.sums), channels);
  }

  _padded(values, grid, strideZ, strideY, rows) {
    const [padZ, padY, padX] = this.pad;
    const { channels, depth, height, width } = grid;
    if (padZ + padY + padX === 0) return values;
    const out = new Int8Array(rows * channels);
    const n = width * channels;
    for (let z = 0, at = 0; z < depth; z++) {
      for (let y = 0; y < height; y++, at += n) {
        out.set(values.subarray(at, at + n), ((z + padZ) * strideZ + (y + padY) * strideY + padX) * channels);
      }
    }
    return out;
  }

  _activate(before, offsets, rows) {
    const { values, activity } = before;
    const { channels, active } = this;
    for (let row = 0, at = 0; row < rows; row++, at += channels) {
      let total = 0;
      for (let c = 0; c < channels; c++) total += Math.abs(values[at + c]);
      if (total === 0) continue;
      if (activity !== null) activity[row] = Math.min(total, INPUT_LIMIT);
      for (let i = 0; i < offsets.length; i++) active[row - offsets[i]] = 1;
    }
  }

  /** Takes in a decoded value other than 0. */
  store(row, target, value) {
    const { channels, current, active, seenFrom } = this;
    const at = row * channels + (target % channels);
    const clamped = clamp(value, -INPUT_LIMIT, INPUT_LIMIT);
    current.values[at] = clamped;
    if (current.activity !== null) current.activity[row] = Math.min(current.activity[row] + Math.abs(clamped), INPUT_LIMIT);
    for (let i = 0; i < seenFrom.length; i++) active[row - seenFrom[i]] = 1;
  }

  /** Adds the symbols of channels `from` to `to` of a cell to a wavefront. */
  add(wavefront, row, cell, from, to, selected) {
    const { channels, quiet, model } = this;
    const start = cell * channels;
    if (this.active[row] === 0) {
      for (let c = from; c < to; c++) {
        if (selected === null || selected[start + c] !== 0)
          wavefront.add(start + c, row, quiet.locations[c], quiet.tables[c]);
      }
      return;
    }
    if (model.joint) {
      this._joint(row);
      for (let c = from; c < to; c++) {
        if (selected !== null && selected[start + c] === 0) continue;
        wavefront.add(
          start + c,
          row,
          locationOf(model, this._output(model.outputs * c)),
          tableOf(model, (o) => this._output(model.outputs * c + o)),
        );
      }
      return;
    }
    for (let c = from; c < to; c++) {
      if (selected !== null && selected[start + c] === 0) continue;
      if (this._single(row, c)) {
        wavefront.add(
          start + c,
          row,
          locationOf(model, this._output(0)),
          tableOf(model, (o) => this._output(o)),
        );
      } else {
        wavefront.add(start + c, row, quiet.locations[c], quiet.tables[c]);
      }
    }
  }

  _accumulate(input, value) {
    const { sums, columns } = this;
    const n = sums.length;
    for (let h = 0, w = input * n; h < n; h++, w++) sums[h] += columns[w] * value;
  }

  _hidden() {
    const { sums, model } = this;
    const shift = model.hiddenShift;
    const rounding = (1 << shift) >> 1;
    for (let h = 0; h < sums.length; h++) {
      const v = (sums[h] + rounding) >> shift;
      sums[h] = v < 0 ? 0 : v > 1023 ? 1023 : v;
    }
  }

  _output(o) {
    const { sums, outputWeight } = this;
    const n = sums.length;
    let total = this.model.outputBias[o];
    for (let h = 0, w = o * n; h < n; h++, w++) total += outputWeight[w] * sums[h];
    return total;
  }

  /** The hidden layer of a joint model at a cell. */
  _joint(row) {
    const { channels, neighbours } = this;
    this.sums.set(this.bias);
    for (let k = 0; k < neighbours.length; k++) {
      const { store, ofCell, magnitude, offset, input } = neighbours[k];
      if (ofCell) {
        const value = store.activity[row + offset];
        if (value !== 0) this._accumulate(input, value);
        continue;
      }
      const { values } = store;
      for (let c = 0, at = (row + offset) * channels; c < channels; c++, at++) {
        if (values[at] !== 0) this._accumulate(input + c, magnitude ? Math.abs(values[at]) : values[at]);
      }
    }
    this._hidden();
  }

  /** The hidden layer for one channel; false where all inputs are 0. */
  _single(row, c) {
    const { channels, neighbours } = this;
    let any = false;
    for (let k = 0; k < neighbours.length; k++) {
      const { store, ofCell, magnitude, dc, offset, input } = neighbours[k];
      let value = 0;
      if (ofCell) value = store.activity[row + offset];
      else if (c + dc >= 0 && c + dc < channels) value = store.values[(row + offset) * channels + c + dc];
      if (value === 0) continue;
      if (!any) {
        this.sums.set(this.bias);
        any = true;
      }
      this._accumulate(input, magnitude ? Math.abs(value) : value);
    }
    if (any) this._hidden();
    return any;
  }
}
