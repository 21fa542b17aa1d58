/** Units and the syntax of their payloads, with the checks of chapters 4 and 5 on single elements. */
import { crc32 } from './checksums.js';
import { Refused, require } from './errors.js';
import { Reader } from './reader.js';
import { staticTable } from './tables.js';
import { bandCount } from './transforms.js';

export const VERSION = [0, 5];
export const FILE_HEADER_SIZE = 16;
export const UNIT_HEADER_SIZE = 6;
export const UNIT_OVERHEAD = 10;
export const END_UNIT_SIZE = UNIT_OVERHEAD + 16;

export const Unit = {
  SEQUENCE_HEADER: 1,
  GROUP_HEADER: 2,
  FRAME: 3,
  INDEX: 4,
  END: 5,
  CAMERAS: 6,
  METADATA: 7,
  SHARED: 8,
};
const ANCILLARY = new Set([Unit.INDEX, Unit.CAMERAS, Unit.METADATA]);
const LAST_TYPE = 8;

const SIGNATURE = [0x89, 0x52, 0x46, 0x56, 13, 10, 26, 10];
const GROUP_SYNC = [0x89, 0x52, 0x46, 0x47, 13, 10, 26, 10];

/** Bounds of the levels (10.2). */
export const LEVELS = {
  1: { unitSize: 2 ** 22, tensorElements: 2 ** 21, occupancyVoxels: 2 ** 21, groupFrames: 256, modelWork: 2 ** 30 },
  2: { unitSize: 2 ** 25, tensorElements: 2 ** 24, occupancyVoxels: 2 ** 24, groupFrames: 1024, modelWork: 2 ** 34 },
  3: { unitSize: 2 ** 28, tensorElements: 2 ** 27, occupancyVoxels: 2 ** 27, groupFrames: 4096, modelWork: 2 ** 37 },
};

/** The file header from the first (up to) 16 bytes: { level, profile, version }. */
export function readFileHeader(head) {
  const known = head.subarray(0, 8).every((byte, i) => byte === SIGNATURE[i]);
  require(head.length > 0 && known, 'R-FILE-01');
  require(head.length >= FILE_HEADER_SIZE, 'R-FILE-06');
  const view = new DataView(head.buffer, head.byteOffset, FILE_HEADER_SIZE);
  require(view.getUint32(12, true) === crc32(head, 0, 12), 'R-FILE-02');
  const [major, minor, profile, level] = head.subarray(8, 12);
  if (major !== VERSION[0] || minor !== VERSION[1]) {
    throw new Refused('R-FILE-03', `The file has version ${major}.${minor}; this decoder reads ${VERSION.join('.')}.`);
  }
  require(profile === 1, 'R-FILE-04');
  require(level in LEVELS, 'R-FILE-05');
  return { version: [major, minor], profile, level };
}

/** `unit_size` of the unit header at the start of `head`, which may be cut. */
export function readUnitSize(head, level) {
  require(head.length >= UNIT_HEADER_SIZE, 'R-FILE-06');
  const size = new DataView(head.buffer, head.byteOffset).getUint32(2, true);
  require(size <= LEVELS[level].unitSize, 'R-UNIT-02');
  return size;
}

/**
 * Checks a whole unit (5.1).
 * @param {Uint8Array} bytes  of the unit, from its header to its checksum, cut where the file ends
 * @returns {{type: ?number, payload: Uint8Array}} type null: to be skipped
 */
export function checkUnit(bytes, size) {
  require(bytes.length === size + UNIT_OVERHEAD, 'R-FILE-06');
  const end = UNIT_HEADER_SIZE + size;
  const crc = new DataView(bytes.buffer, bytes.byteOffset).getUint32(end, true);
  require(crc === crc32(bytes, 0, end), 'R-UNIT-03');
  const [type, flags] = bytes;
  require((flags & 254) === 0, 'R-UNIT-01');
  const payload = bytes.subarray(UNIT_HEADER_SIZE, end);
  if (type < 1 || type > LAST_TYPE) {
    require(flags === 1, 'R-UNIT-04');
    return { type: null, payload };
  }
  require(flags === (ANCILLARY.has(type) ? 1 : 0), 'R-UNIT-05');
  return { type, payload };
}

// Sequence header (4.3 to 4.5, 5.2)

export const Representation = { DIF: 1, VM: 2, TRIPLANE: 3, GRID: 4, MLP: 5 };

export const Role = {
  DIF_COEFFICIENT: 1,
  DIF_BASIS: 2,
  DENSITY_PLANE: 3,
  DENSITY_LINE: 4,
  FEATURE_PLANE: 5,
  FEATURE_LINE: 6,
  DENSITY_GRID: 7,
  FEATURE_GRID: 8,
  FUSION_WEIGHT: 16,
  FUSION_BIAS: 17,
  RENDER_WEIGHT: 18,
  RENDER_BIAS: 19,
  COARSE_WEIGHT: 20,
  COARSE_BIAS: 21,
};
const GRID_ROLES = 8;

export function readSequenceHeader(payload, level) {
  const r = new Reader(payload);
  const u8 = () => r.u8();
  const h = {};
  h.representation = r.u8();
  require(h.representation >= 1 && h.representation <= 5, 'R-SEQ-01');
  h.sceneCount = r.u8();
  require(h.sceneCount >= 1, 'R-SEQ-02');
  h.digestType = r.u8();
  require(h.digestType <= 1, 'R-SEQ-03');
  h.ticksPerSecond = r.u32();
  require(h.ticksPerSecond >= 1, 'R-SEQ-04');
  const scene = readBox(r);
  h.occupancyDims = r.list(() => r.u16(), 3);
  const dims = h.occupancyDims;
  h.hasOccupancy = dims.some((n) => n !== 0);
  require(!h.hasOccupancy || dims.every((n) => n >= 1 && n <= 512), 'R-SEQ-07');
  h.voxels = dims[0] * dims[1] * dims[2];
  const readRayStep = () => {
    const samplesPerDiagonal = r.u16();
    require(samplesPerDiagonal >= 1, 'R-SEQ-08');
    return { samplesPerDiagonal, background: r.list(u8, 3) };
  };
  h.scenes = [{ ...scene, ...readRayStep() }];
  while (h.scenes.length < h.sceneCount) h.scenes.push({ ...readBox(r), ...readRayStep() });
  const tensorCount = r.u8();
  require(tensorCount >= 1 && tensorCount <= 64, 'R-SEQ-09');
  h.tensors = r.list(() => readTensorInfo(r), tensorCount);
  h.densityShift = r.f32();
  require(Math.abs(h.densityShift) <= 1e6, 'R-SEQ-18');
  h.densityScale = r.f32();
  require(h.densityScale >= 0 && h.densityScale <= 1e6, 'R-SEQ-18');
  h.featureFrequencies = r.u8();
  require(h.featureFrequencies <= 16, 'R-SEQ-19');
  h.directionFrequencies = r.u8();
  require(h.directionFrequencies <= 16, 'R-SEQ-19');
  h.positionFrequencies = h.skipLayer = h.coarseSamples = h.fineSamples = 0;
  if (h.representation === Representation.MLP) {
    h.positionFrequencies = r.u8();
    require(h.positionFrequencies <= 16, 'R-SEQ-19');
    h.skipLayer = r.u8();
    require(h.skipLayer <= 63, 'R-SEQ-21');
    h.coarseSamples = r.u16();
    require(h.coarseSamples <= 4096, 'R-SEQ-22');
    h.fineSamples = r.u16();
    require(h.fineSamples <= 4096 && h.fineSamples > 0 === h.coarseSamples > 0, 'R-SEQ-22');
  }
  r.finish();
  const elements = h.tensors.reduce((sum, t) => sum + t.elements, 0);
  require(elements <= LEVELS[level].tensorElements, 'R-SEQ-17');
  require(h.voxels <= LEVELS[level].occupancyVoxels, 'R-SEQ-17');
  require(isField(h), 'R-SEQ-16');
  return h;
}

function readBox(r) {
  const aabbMin = r.list(() => r.s32(), 3);
  const aabbMax = r.list(() => r.s32(), 3);
  for (let i = 0; i < 3; i++) {
    const inside = Math.abs(aabbMin[i]) < 1 << 23 && Math.abs(aabbMax[i]) < 1 << 23;
    require(inside && aabbMin[i] < aabbMax[i], 'R-SEQ-05');
  }
  const aabbExponent = r.s8();
  require(aabbExponent >= -60 && aabbExponent <= 30, 'R-SEQ-06');
  return { aabbMin, aabbMax, aabbExponent };
}

function readTensorInfo(r) {
  const t = {};
  t.role = r.u8();
  require((t.role >= 1 && t.role <= 8) || (t.role >= 16 && t.role <= 21), 'R-SEQ-10');
  t.index = r.u8();
  t.fracBits = r.u8();
  require(t.fracBits <= 24, 'R-SEQ-11');
  for (const name of ['channels', 'depth', 'height', 'width']) {
    t[name] = r.u16();
    require(t[name] >= 1 && t[name] <= 4096, 'R-SEQ-12');
  }
  t.mapping = r.u8();
  require(t.mapping <= 2, 'R-SEQ-13');
  t.alignment = r.u8();
  require(t.alignment <= (t.mapping ? 1 : 0), 'R-SEQ-14');
  t.frequency = r.u32();
  require(t.mapping === 2 ? t.frequency >= 1 && t.frequency <= 1 << 22 : t.frequency === 0, 'R-SEQ-15');
  t.elements = t.channels * t.depth * t.height * t.width;
  return t;
}

// Of each representation: role, number, and the axes along which the k-th grid has one sample.
const GRIDS = {
  1: [
    [Role.DIF_COEFFICIENT, 1, 'none'],
    [Role.DIF_BASIS, 64, 'none'],
  ],
  2: [
    [Role.DENSITY_PLANE, 3, 'own'],
    [Role.DENSITY_LINE, 3, 'others'],
    [Role.FEATURE_PLANE, 3, 'own'],
    [Role.FEATURE_LINE, 3, 'others'],
  ],
  3: [
    [Role.DENSITY_GRID, 1, 'none'],
    [Role.FEATURE_PLANE, 3, 'own'],
  ],
  4: [
    [Role.DENSITY_GRID, 1, 'none'],
    [Role.FEATURE_GRID, 1, 'none'],
  ],
  5: [],
};

/** Whether the tensor list is that of its representation (8.1, R-SEQ-16). */
function isField(h) {
  const tensors = h.tensors.slice();
  const channels = {};
  for (const [role, number, lacks] of GRIDS[h.representation]) {
    const found = takeGrids(tensors, role, number, lacks);
    if (found === null || (role !== Role.DIF_BASIS && found.length !== number)) return false;
    channels[role] = found.map((t) => t.channels);
  }
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const same = (a, b) => a.every((v, i) => v === b[i]);
  let inputs;
  switch (h.representation) {
    case Representation.DIF:
      [inputs] = channels[Role.DIF_COEFFICIENT];
      if (sum(channels[Role.DIF_BASIS]) !== inputs || h.tensors[0].mapping !== 1) return false;
      break;
    case Representation.MLP:
      inputs = 3 + 6 * h.positionFrequencies;
      if (h.coarseSamples > 0 && takeNetwork(tensors, Role.COARSE_WEIGHT, inputs, h.skipLayer) !== 1) return false;
      break;
    case Representation.VM:
      if (!same(channels[Role.DENSITY_PLANE], channels[Role.DENSITY_LINE])) return false;
      if (!same(channels[Role.FEATURE_PLANE], channels[Role.FEATURE_LINE])) return false;
      inputs = sum(channels[Role.FEATURE_PLANE]);
      break;
    default:
      inputs = sum(channels[h.representation === Representation.GRID ? Role.FEATURE_GRID : Role.FEATURE_PLANE]);
      if (channels[Role.DENSITY_GRID][0] !== 1) return false;
  }
  const densityInside = h.representation === Representation.DIF || h.representation === Representation.MLP;
  const outputs = takeNetwork(tensors, Role.FUSION_WEIGHT, inputs, h.skipLayer);
  if (outputs === null || (densityInside && outputs === 0)) return false;
  const features = densityInside ? outputs - 1 : outputs || inputs;
  if (features < 1) return false;
  inputs = features * (1 + 2 * h.featureFrequencies) + 3 + 6 * h.directionFrequencies;
  return takeNetwork(tensors, Role.RENDER_WEIGHT, inputs, 0) === 3 && tensors.length === 0;
}

function take(tensors, role, index) {
  return tensors.length > 0 && tensors[0].role === role && tensors[0].index === index ? tensors.shift() : null;
}

function takeGrids(tensors, role, number, lacks) {
  const found = [];
  while (found.length < number) {
    const grid = take(tensors, role, found.length);
    if (grid === null) break;
    const sizes = [grid.width, grid.height, grid.depth];
    for (let axis = 0; axis < 3; axis++) {
      const single = lacks === 'own' ? axis === found.length : lacks === 'others' && axis !== found.length;
      if (single && sizes[axis] !== 1) return null;
    }
    if (grid.mapping === 0) return null;
    found.push(grid);
  }
  return found;
}

/** Outputs of a network; 0 without layers, null where one is wrong. */
function takeNetwork(tensors, role, inputs, skipLayer) {
  const plain = (t, height, width) =>
    t.mapping === 0 && t.channels === 1 && t.depth === 1 && t.height === height && t.width === width;
  let width = inputs;
  let layer = 0;
  for (let weight; (weight = take(tensors, role, layer)) !== null; layer++) {
    if (layer > 0 && layer === skipLayer) width += inputs;
    const outputs = weight.height;
    if (!plain(weight, outputs, width)) return null;
    const bias = take(tensors, role + 1, layer);
    if (bias !== null && !plain(bias, 1, outputs)) return null;
    width = outputs;
  }
  if (layer === 0) return 0;
  return skipLayer === 0 || layer > skipLayer ? width : null;
}

/** Whether a role is one of grids, planes and lines, not of networks. */
export function isGridRole(role) {
  return role <= GRID_ROLES;
}

// Groups and frames (4.6 to 4.11, 5.3, 5.4)

export function readGroupHeader(payload, sceneCount, level) {
  const r = new Reader(payload);
  require(r.bytes(8).every((byte, i) => byte === GROUP_SYNC[i]), 'R-GRP-01');
  const scene = r.u8();
  require(scene < sceneCount, 'R-GRP-03');
  const firstFrame = r.u32();
  const frameCount = r.u16();
  require(frameCount >= 1 && frameCount <= LEVELS[level].groupFrames, 'R-GRP-02');
  r.finish();
  return { scene, firstFrame, frameCount };
}

/** A frame's payload. */
export function readFrame(payload, digestType) {
  const r = new Reader(payload);
  const f = {};
  f.number = r.u32();
  f.type = r.u8();
  require(f.type === 1 || f.type === 2, 'R-FRM-03');
  f.timeStamp = r.u32();
  f.occupancyMode = r.u8();
  require(f.occupancyMode <= 3, 'R-OCC-04');
  if (f.occupancyMode === 3) f.occupancyModel = r.u8();
  f.occupancyData = f.occupancyMode > 0 ? r.sized() : null;
  return readCoding(r, f, digestType);
}

export function readShared(payload, digestType) {
  return readCoding(new Reader(payload), { occupancyMode: 0 }, digestType);
}

/** What frames and the shared unit have in common. */
function readCoding(r, f, digestType) {
  const start = r.at;
  f.models = r.list(() => readEntropyModel(r), r.u8());
  f.modelBytes = r.at - start;
  f.tensors = r.list(() => readCodedTensor(r), r.u8());
  f.digest = digestType === 1 ? r.bytes(8) : null;
  r.finish();
  return f;
}

// Templates (Annex A.3): neighbours (source, dc, dz, dy, dx).
const CAUSAL = [
  [0, 0, 0, 0, -1],
  [0, 0, 0, -1, 0],
  [0, 0, -1, 0, 0],
  [0, 0, 0, -1, -1],
  [0, 0, -1, 0, -1],
  [0, 0, -1, -1, 0],
  [0, 0, -1, -1, -1],
];
const BEFORE = [
  [1, 0, 0, 0, 0],
  [1, 0, 0, 0, -1],
  [1, 0, 0, 0, 1],
  [1, 0, 0, -1, 0],
  [1, 0, 0, 1, 0],
  [1, 0, -1, 0, 0],
  [1, 0, 1, 0, 0],
];
const BITS = [
  [0, 0, -1, 0, 0],
  [0, 0, 0, -1, 0],
  [0, 0, 0, 0, -1],
  [0, 0, -1, -1, 0],
  [0, 0, -1, 0, -1],
  [0, 0, 0, -1, -1],
  [0, 0, -1, 1, 0],
  [0, 0, -1, 0, 1],
  [0, 0, 0, -1, 1],
];
const ENERGIES = [
  [2, 0, 0, 0, -1],
  [2, 0, 0, -1, 0],
  [2, 0, -1, 0, 0],
];
/** Templates of planes, without and with the previous frame; the axes (0 z, 1 y, 2 x) that the plane has. */
function planar(slow, fast) {
  const at = (source, i, j) => {
    const place = [0, 0, 0];
    place[slow] = i;
    place[fast] = j;
    return [source, 0, ...place];
  };
  const here = [at(0, 0, -1), at(0, -1, 0), at(0, -1, -1), at(0, -1, 1), at(0, 0, -2), at(0, -2, 0)];
  const energies = [at(2, 0, -1), at(2, -1, 0), at(2, -1, 1)];
  const before = [at(1, 0, 0), at(1, 0, -1), at(1, 0, 1), at(1, -1, 0), at(1, 1, 0), at(3, 0, 0)];
  return [
    [...here, ...energies],
    [...here, ...energies, ...before],
  ];
}

const [Z, Y, X] = [0, 1, 2];
const [PLANE_ZY, PLANE_ZY_BEFORE] = planar(Z, Y);
const [PLANE_ZX, PLANE_ZX_BEFORE] = planar(Z, X);
const [PLANE_YX, PLANE_YX_BEFORE] = planar(Y, X);
const at = (source, offsets) => offsets.map(([dz, dy, dx]) => [source, 0, dz, dy, dx]);
const UP = [
  [0, 0, 1],
  [0, 1, 0],
  [1, 0, 0],
];
const NEAR = UP.map((o) => o.map((d) => -d));
const DIAGONAL = [
  [0, -1, -1],
  [-1, 0, -1],
  [-1, -1, 0],
];
const COEFFICIENTS = [
  ...at(4, NEAR),
  ...at(2, NEAR),
  ...at(12, [...NEAR, ...DIAGONAL, ...NEAR.map((o) => o.map((d) => 2 * d))]),
  ...at(10, [...NEAR, ...DIAGONAL]),
  [2, 0, 0, 0, 0],
  [4, -1, 0, 0, 0],
];
const COEFFICIENTS_BEFORE = [[5, 0, 0, 0, 0], [3, 0, 0, 0, 0], ...at(3, UP), ...at(13, UP)];
const TEMPLATES = {
  0: [],
  2: CAUSAL,
  3: [...CAUSAL, ...BEFORE],
  4: [...CAUSAL, ...ENERGIES],
  5: [...CAUSAL, ...BEFORE, ...ENERGIES, [3, 0, 0, 0, 0]],
  6: BITS,
  7: [...BITS, ...BEFORE],
  8: PLANE_ZY,
  9: PLANE_ZY_BEFORE,
  10: PLANE_ZX,
  11: PLANE_ZX_BEFORE,
  12: PLANE_YX,
  13: PLANE_YX_BEFORE,
  14: COEFFICIENTS,
  15: [...COEFFICIENTS, ...COEFFICIENTS_BEFORE],
};

function readEntropyModel(r) {
  const m = {};
  m.id = r.u8();
  require(m.id < 64, 'R-MOD-01');
  m.type = r.u8();
  require(m.type === 1 || m.type === 2, 'R-MOD-02');
  if (m.type === 1) readContextModel(r, m);
  else readStaticModel(r, m);
  return m;
}

function readContextModel(r, m) {
  m.family = r.u8();
  require(m.family <= 2, 'R-MOD-15');
  const mode = r.u8();
  require(mode <= 1, 'R-MOD-04');
  m.joint = mode === 1;
  m.channels = r.u8();
  require(m.channels >= 1 && (m.joint || m.channels === 1), 'R-MOD-04');
  m.scan = r.list(() => r.u8(), 4);
  require(m.scan.every((w) => w <= 3) && !(m.joint && m.scan[0] !== 0), 'R-MOD-06');
  const template = r.u8();
  require(template === 1 || template in TEMPLATES, 'R-MOD-07');
  m.template = template === 1 ? r.list(() => readNeighbour(r, m.joint), r.u8()) : TEMPLATES[template];
  m.hidden = r.u8();
  m.inputs = m.joint ? m.template.reduce((n, [source]) => n + (isEnergy(source) ? 1 : m.channels), 0) : m.template.length;
  require(m.hidden <= 64 && m.inputs <= 512, 'R-MOD-03');
  require((m.hidden === 0) === (m.template.length === 0), 'R-MOD-05');
  m.hiddenShift = 0;
  if (m.hidden > 0) {
    m.hiddenShift = r.u8();
    require(m.hiddenShift <= 15, 'R-MOD-10');
  }
  m.hiddenWeight = r.s8s(m.hidden * m.inputs);
  m.hiddenBias = r.list(() => r.s16(), m.hidden);
  m.locationShift = r.u8();
  require(m.locationShift <= 23, 'R-MOD-10');
  m.scaleShift = r.u8();
  require(m.scaleShift <= 23, 'R-MOD-10');
  if (m.family === 2) {
    m.shapeShift = r.u8();
    require(m.shapeShift <= 23, 'R-MOD-10');
  }
  m.outputs = m.family === 2 ? 3 : 2; // of a channel
  m.outputWeight = r.s8s(m.outputs * m.channels * m.hidden);
  m.outputBias = r.list(() => r.s32(), m.outputs * m.channels);
  require(m.outputBias.every((bias) => Math.abs(bias) < 1 << 22), 'R-MOD-11');
}

/** Whether a neighbour is a sum over all channels. */
export function isEnergy(source) {
  return (source & 6) === 2;
}

function readNeighbour(r, joint) {
  const source = r.u8();
  require(source <= 13 && (source & 7) <= 5, 'R-MOD-08');
  const dc = r.s8();
  require(Math.abs(dc) <= 2 && (dc === 0 || (!joint && !isEnergy(source))), 'R-MOD-09');
  const [dz, dy, dx] = r.list(() => {
    const offset = r.s8();
    require(Math.abs(offset) <= 2, 'R-MOD-09');
    return offset;
  }, 3);
  return [source, dc, dz, dy, dx];
}

function readStaticModel(r, m) {
  m.assignment = r.u8();
  require(m.assignment <= 3, 'R-MOD-16');
  const count = r.u8();
  require(count >= 1 && (m.assignment > 0 || count === 1), 'R-MOD-12');
  m.tables = r.list(() => {
    const first = r.sv();
    require(Math.abs(first) <= 1 << 16, 'R-MOD-14');
    const entries = r.uv();
    require(entries >= 2 && entries <= 4096, 'R-MOD-13');
    const counts = r.list(() => r.uv(), entries);
    const sum = counts.reduce((a, b) => a + b, 0);
    require(sum >= 1 && sum <= 1 << 24, 'R-MOD-13');
    return staticTable(first, counts);
  }, count);
}

function readCodedTensor(r) {
  const t = { baseMantissa: 0, baseExponent: 0, baseOffset: 0, levels: 0, maskModel: 0, maskData: null };
  t.id = r.u8();
  const tools = r.u8();
  t.prediction = tools & 3;
  t.transform = (tools >> 2) & 3;
  require(t.transform <= 2, 'R-TEN-03');
  t.significance = (tools >> 4) & 3;
  require(tools >> 6 === 0, 'R-TEN-01');
  if (t.prediction === 2) {
    t.baseMantissa = r.s16();
    t.baseExponent = r.s8();
    require(t.baseExponent >= -16 && t.baseExponent <= 15, 'R-TEN-08');
  }
  if (t.prediction >= 2) t.baseOffset = r.s32();
  if (t.transform === 2) {
    t.levels = r.u8();
    require(t.levels >= 1 && t.levels <= 6, 'R-TEN-03');
  }
  if (t.significance >= 2) {
    t.maskModel = r.u8();
    t.maskData = r.sized();
  }
  t.model = r.u8();
  t.steps = r.list(() => r.u8(), bandCount(t.transform, t.levels));
  t.data = r.sized();
  return t;
}

/** Whether a model fits a tensor with these numbers of channels and bands (5.4). */
export function serves(m, channels, bands) {
  if (m.type === 1) return !m.joint || m.channels === channels;
  return m.tables.length === [1, channels, bands, bands * channels][m.assignment];
}

/** Multiplications that a use of a model may cause (5.4, R-TEN-09). */
export function modelWork(m, cells, channels) {
  return m.type === 2 ? 0 : cells * (m.joint ? 1 : channels) * m.hidden * (m.inputs + m.outputs * m.channels);
}

// Index, end, cameras, metadata (4.12 to 4.15, 5.5)

export function readIndex(payload) {
  const r = new Reader(payload);
  const count = r.u32();
  require(13 * count === payload.length - 4, 'R-IDX-01');
  const entries = r.list(() => ({ number: r.u32(), type: r.u8(), offset: r.u64() }), count);
  r.finish();
  return entries;
}

export function readEnd(payload) {
  const r = new Reader(payload);
  const end = { groupTotal: r.u32(), frameTotal: r.u32(), indexOffset: r.u64() };
  r.finish();
  return end;
}

export function readCameras(payload, sceneCount) {
  const r = new Reader(payload);
  const f32s = (n) => {
    const values = r.list(() => r.f32(), n);
    require(values.every(Number.isFinite), 'R-CAM-01');
    return values;
  };
  const cameras = r.list(() => {
    const name = r.text(r.u8(), 'R-CAM-03');
    const scene = r.u8();
    require(scene < sceneCount, 'R-CAM-04');
    const width = r.u16();
    require(width >= 1, 'R-CAM-01');
    const height = r.u16();
    require(height >= 1, 'R-CAM-01');
    const focal = f32s(2);
    require(focal.every((f) => f > 0), 'R-CAM-01');
    const centre = f32s(2);
    const pose = f32s(12);
    require(isRigid(pose), 'R-CAM-02');
    return { name, scene, width, height, focal, centre, pose };
  }, r.u16());
  r.finish();
  return cameras;
}

function isRigid(pose) {
  const rows = [pose.slice(0, 3), pose.slice(4, 7), pose.slice(8, 11)];
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < 3; j++) {
      const product = rows.reduce((sum, row) => sum + row[i] * row[j], 0);
      if (!(Math.abs(product - (i === j ? 1 : 0)) <= 1e-3)) return false;
    }
  }
  const [[a, b, c], [d, e, f], [g, h, i]] = rows;
  return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) > 0;
}

export function readMetadata(payload) {
  const r = new Reader(payload);
  const entries = r.list(() => {
    const key = String.fromCharCode(...r.bytes(r.u8()));
    require(/^[a-z0-9._-]{1,64}$/.test(key), 'R-MET-01');
    return [key, r.text(r.u32(), 'R-MET-02')];
  }, r.u16());
  r.finish();
  const metadata = new Map(entries);
  require(metadata.size === entries.length, 'R-MET-01');
  return metadata;
}
