/** From units to frames: order of units, checks of frames, reconstruction, digests (specification, 5.6 and 7). */
import { Refused, require } from './errors.js';
import { chooseKernels } from './kernels.js';
import { inflate } from './lzma2.js';
import {
  FILE_HEADER_SIZE,
  UNIT_HEADER_SIZE,
  UNIT_OVERHEAD,
  checkUnit,
  modelWork,
  readCameras,
  readEnd,
  readFileHeader,
  readFrame,
  readGroupHeader,
  readIndex,
  readMetadata,
  readSequenceHeader,
  readShared,
  readUnitSize,
  serves,
} from './structures.js';
import { decodeSymbols } from './symbols.js';
import { FAMILIES, LEVELS, PREDICTIONS, Unit } from './syntax.generated.js';
import { bandsOf, clamp32, coefficientSize, inverseTransform, spatialSize } from './transforms.js';

const NO_GROUP = { scene: 0, firstFrame: 0, frameCount: 0, offset: 0 };

/** Decodes the units of one sequence, fed in order. Throws Refused. */
export class SequenceDecoder {
  /** @param {object} [kernels]  WebAssembly or JavaScript (kernels.js) */
  constructor(level, kernels = chooseKernels()) {
    this.level = level;
    this.kernels = kernels;
    this.header = null;
    this.cameras = [];
    this.metadata = new Map();
    this.ended = false;
    this.groups = 0;
    this.entries = []; // { number, type, offset }
    this._headerPayload = null;
    this._seen = new Set();
    this._group = NO_GROUP;
    this._inGroup = 0;
    this._lastFrame = -1;
    this._lastTime = -1;
    this._scene = 0;
    this._indexOffset = 0;
    this._midStream = false;
  }

  /** Prepares for a group header that does not follow what was fed before (1.2, 3.3). */
  jump() {
    this._midStream = true;
    this._group = NO_GROUP;
    this._inGroup = 0;
    this._lastFrame = this._lastTime = -1;
    this._scene = this._indexOffset = 0;
  }

  /**
   * Takes one unit: whole bytes from its header to its checksum, cut where the file ends.
   * @returns {?object} the frame, when the unit holds one. Its arrays change with the next frame
   */
  feed(bytes, size, offset) {
    const { type, payload } = checkUnit(bytes, size);
    if (this.header === null) {
      require(type === Unit.SEQUENCE_HEADER, 'R-UNIT-08');
      this.header = readSequenceHeader(payload, this.level);
      this._headerPayload = payload.slice();
      this.state = new State(this.header, this.kernels);
      return null;
    }
    if (type === null) return null;
    this._checkOrder(type);
    this._seen.add(type);
    switch (type) {
      case Unit.SEQUENCE_HEADER: {
        const first = this._headerPayload;
        require(payload.length === first.length && payload.every((byte, i) => byte === first[i]), 'R-SEQ-20');
        break;
      }
      case Unit.CAMERAS:
        this.cameras = readCameras(payload, this.header.sceneCount);
        break;
      case Unit.METADATA:
        this.metadata = readMetadata(payload);
        break;
      case Unit.SHARED:
        this._shared(payload);
        break;
      case Unit.GROUP_HEADER:
        this._groupHeader(payload, offset);
        break;
      case Unit.FRAME:
        return this._frame(payload, offset);
      case Unit.INDEX:
        this._index(readIndex(payload), offset);
        break;
      case Unit.END:
        this._end(readEnd(payload));
    }
    return null;
  }

  /** Section 3.2. */
  _checkOrder(type) {
    const { frameCount } = this._group;
    require(this._indexOffset === 0 || type === Unit.END, 'R-UNIT-08');
    require(this._inGroup === frameCount || type === Unit.FRAME, 'R-GRP-05');
    if (type === Unit.FRAME) {
      require(this._group !== NO_GROUP, 'R-UNIT-08');
      require(this._inGroup < frameCount, 'R-GRP-05');
    }
    if (type === Unit.CAMERAS || type === Unit.METADATA || type === Unit.SHARED) {
      require(this.groups === 0 && !this._seen.has(type), 'R-UNIT-08');
    }
    if (type === Unit.INDEX || type === Unit.END) require(this.groups > 0, 'R-UNIT-08');
  }

  _shared(payload) {
    const unit = readShared(payload, this.header.digestType);
    const models = new Map();
    this._checkCoding(unit, models, true, true);
    const tensors = new Array(this.header.tensors.length).fill(null);
    this.state.decodeTensors(unit, models, tensors, new Map(), 0);
    this.state.shared = tensors;
    if (unit.digest !== null) {
      this.state.checkDigest(unit.digest, tensors.filter((t) => t !== null).map(bytesOf), 'R-DIG-02');
    }
  }

  _groupHeader(payload, offset) {
    const group = readGroupHeader(payload, this.header.sceneCount, this.level);
    require(group.scene >= this._scene, 'R-GRP-06');
    require(group.firstFrame > this._lastFrame && group.firstFrame + group.frameCount <= 2 ** 32, 'R-GRP-04');
    if (group.scene !== this._scene) this._lastTime = -1;
    this._scene = group.scene;
    this._group = { ...group, offset };
    this._inGroup = 0;
    this.groups++;
  }

  _frame(payload, offset) {
    const { header, state } = this;
    const unit = readFrame(payload, header.digestType);
    const intra = this._inGroup === 0;
    require(unit.number === this._group.firstFrame + this._inGroup, 'R-FRM-01');
    require(unit.type === (intra ? 1 : 2), 'R-FRM-02');
    require(unit.timeStamp > this._lastTime, 'R-FRM-04');
    if (!header.hasOccupancy) require(unit.occupancyMode === 0, 'R-OCC-01');
    else if (intra) require(unit.occupancyMode === 1 || unit.occupancyMode === 3, 'R-OCC-01');
    if (intra) state.models = new Map();
    this._checkCoding(unit, state.models, intra, false);
    require(!intra || unit.tensors.length === header.tensors.length, 'R-FRM-05');
    state.decodeFrame(unit, this._group.scene);
    this.entries.push({ number: unit.number, type: unit.type, offset: intra ? this._group.offset : offset });
    this._lastFrame = unit.number;
    this._lastTime = unit.timeStamp;
    this._inGroup++;
    return {
      number: unit.number,
      type: unit.type,
      timeStamp: unit.timeStamp,
      scene: this._group.scene,
      occupancy: state.packed,
      tensors: state.tensors,
      carried: unit.tensors.map((t) => t.id),
      bytes: componentBytes(unit, payload.length + UNIT_OVERHEAD),
    };
  }

  /** Models and tensors of a frame or of the shared unit (5.4). Adds to `models`. */
  _checkCoding(unit, models, intra, isShared) {
    const { header, level } = this;
    for (let i = 1; i < unit.models.length; i++) require(unit.models[i - 1].id < unit.models[i].id, 'R-MOD-01');
    for (const m of unit.models) models.set(m.id, m);
    let last = -1;
    let work = 0;
    let coefficients = 0;
    if (unit.occupancyMode === 3) {
      const m = models.get(unit.occupancyModel);
      require(m !== undefined, 'R-OCC-05');
      require(serves(m, 1, 1), 'R-OCC-06');
      require(m.type === 2 || FAMILIES[m.family].codesBits, 'R-OCC-07');
      work += modelWork(m, header.voxels, 1);
    }
    for (const t of unit.tensors) {
      require(t.id > last && t.id < header.tensors.length, 'R-FRM-06');
      last = t.id;
      const info = header.tensors[t.id];
      const { needsPrevious, needsShared } = PREDICTIONS[t.prediction];
      require(!isShared || !(needsPrevious || needsShared), 'R-SHR-01');
      require(!needsPrevious || !intra, 'R-TEN-04');
      require(!needsShared || this.state.shared[t.id], 'R-TEN-12');
      const longAxes = spatialSize(info).filter((n) => n > 1).length;
      require(t.transform === 0 || (info.mapping > 0 && longAxes >= 2), 'R-TEN-10');
      require(t.significance === 0 || info.mapping > 0, 'R-TEN-11');
      require(t.significance === 0 || t.significance === 2 || (!isShared && header.hasOccupancy), 'R-TEN-05');
      const cells = coefficientSize(info, t.transform).reduce((a, b) => a * b);
      coefficients += cells * info.channels;
      const uses = [[t.model, false]];
      if (t.significance >= 2) uses.unshift([t.maskModel, true]);
      for (const [name, bits] of uses) {
        const m = models.get(name);
        require(m !== undefined, 'R-TEN-06');
        require(serves(m, info.channels, t.steps.length), 'R-TEN-07');
        require(m.type === 2 || FAMILIES[m.family].codesBits === bits, 'R-TEN-13');
        work += modelWork(m, cells, info.channels);
      }
    }
    require(coefficients <= LEVELS[level].tensorElements, 'R-TEN-14');
    require(work <= LEVELS[level].modelWork, 'R-TEN-09');
  }

  _index(found, offset) {
    this._indexOffset = offset;
    if (this._midStream) return;
    const same =
      found.length === this.entries.length &&
      this.entries.every(
        (e, i) => e.number === found[i].number && e.type === found[i].type && BigInt(e.offset) === found[i].offset,
      );
    require(same, 'R-IDX-01');
  }

  _end({ groupTotal, frameTotal, indexOffset }) {
    this.ended = true;
    if (this._midStream) return;
    require(groupTotal === this.groups && frameTotal === this.entries.length, 'R-END-01');
    require(indexOffset === BigInt(this._indexOffset), 'R-END-02');
  }
}

function bytesOf(tensor) {
  return new Uint8Array(tensor.buffer, tensor.byteOffset, tensor.byteLength);
}

/** Bytes of a frame unit by component; `tensors` by tensor_id, data and mask data. */
function componentBytes(unit, total) {
  const tensors = new Map(unit.tensors.map((t) => [t.id, t.data.length + (t.maskData?.length ?? 0)]));
  const steps = unit.tensors.reduce((sum, t) => sum + t.steps.length, 0);
  const occupancy = unit.occupancyData?.length ?? 0;
  const coded = [...tensors.values()].reduce((a, b) => a + b, 0);
  const framing = total - coded - steps - occupancy - unit.modelBytes;
  return { total, occupancy, models: unit.modelBytes, steps, tensors, framing };
}

/** What lasts from frame to frame. */
class State {
  constructor(header, kernels) {
    this.header = header;
    this.kernels = kernels;
    this.models = new Map();
    this.tensors = header.tensors.map((t) => new Int32Array(t.elements));
    this.shared = new Array(header.tensors.length).fill(null);
    this.contexts = new Map(); // tensor_id: { transform, levels, values }, what the next frame's models see
    this.packed = new Uint8Array(0); // occupancy bits
  }

  decodeFrame(unit, scene) {
    if (unit.type === 1) this.contexts = new Map();
    if (unit.occupancyMode === 3) {
      const previous = unit.type === 1 ? null : this.packed;
      this.packed = this.kernels.decodeOccupancy(
        this.models.get(unit.occupancyModel),
        this.header.occupancyDims,
        previous,
        unit.occupancyData,
      );
    } else if (unit.occupancyMode > 0) {
      this._occupancy(unit);
    }
    this.contexts = this.decodeTensors(unit, this.models, this.tensors, this.contexts, scene);
    if (unit.digest !== null) {
      const number = new Uint8Array(4);
      new DataView(number.buffer).setUint32(0, unit.number, true);
      this.checkDigest(unit.digest, [number, this.packed, ...this.tensors.map(bytesOf)], 'R-DIG-01');
    }
  }

  checkDigest(stated, pieces, requirement) {
    const found = this.kernels.sha256(...pieces);
    require(stated.every((byte, i) => byte === found[i]), requirement);
  }

  /** Section 6.1.1. */
  _occupancy(unit) {
    const { voxels } = this.header;
    const content = inflate(unit.occupancyData, (voxels + 7) >> 3);
    require(voxels % 8 === 0 || content[content.length - 1] >> (voxels % 8) === 0, 'R-OCC-03');
    if (unit.occupancyMode === 2) for (let i = 0; i < content.length; i++) content[i] ^= this.packed[i];
    this.packed = content;
  }

  /** Section 7.3: the tensors of a unit into `tensors`. Returns what the next frame's models see. */
  decodeTensors(unit, models, tensors, contexts, scene) {
    const found = new Map();
    for (const t of unit.tensors) {
      const kept = contexts.get(t.id);
      const before = kept && kept.transform === t.transform && kept.levels === t.levels ? kept.values : null;
      const { needsPrevious, needsShared } = PREDICTIONS[t.prediction];
      const source = needsShared ? this.shared[t.id] : needsPrevious ? tensors[t.id] : null;
      const used = { model: models.get(t.model), maskModel: models.get(t.maskModel) };
      const { tensor, values } = this.kernels.decodeTensor(this.header, scene, t, used, this.packed, before, source);
      tensors[t.id] = tensor;
      found.set(t.id, { transform: t.transform, levels: t.levels, values });
    }
    return found;
  }
}

/**
 * Decodes a whole file (5.6), calling `output` with each frame. Throws Refused.
 * @param {Uint8Array} data
 * @param {(frame: object, header: object) => void} output
 * @param {object} [kernels]  see SequenceDecoder
 */
export function decode(data, output, kernels = chooseKernels()) {
  const { level } = readFileHeader(data.subarray(0, FILE_HEADER_SIZE));
  const decoder = new SequenceDecoder(level, kernels);
  let at = FILE_HEADER_SIZE;
  while (!decoder.ended) {
    const size = readUnitSize(data.subarray(at, at + UNIT_HEADER_SIZE), level);
    const end = at + UNIT_OVERHEAD + size;
    const frame = decoder.feed(data.subarray(at, end), size, at);
    if (frame !== null) output(frame, decoder.header);
    at = end;
  }
  require(at === data.length, 'R-FILE-07');
}
