/** Units and the syntax of their payloads: an interpreter of the tables of `syntax.generated.js` (chapters 4 and 5). */
import { crc32 } from './checksums.js';
import { Refused, require } from './errors.js';
import { Reader } from './reader.js';
import { FIELDS } from './representations.js';
import { ACTIVITY_SOURCES, ANCILLARY_UNITS, EXPLICIT, FILE_SIGNATURE, LEVELS, NETWORK_ROLES } from './syntax.generated.js';
import { PROFILE_MAIN, Role, TEMPLATES, Unit, VERSION, tables } from './syntax.generated.js';
import { staticTable } from './tables.js';

export const FILE_HEADER_SIZE = 16;
export const UNIT_HEADER_SIZE = 6;
export const UNIT_OVERHEAD = 10;
export const END_UNIT_SIZE = UNIT_OVERHEAD + 16;

const ANCILLARY = new Set(ANCILLARY_UNITS);
const TYPES = new Set(Object.values(Unit));
const ACTIVITIES = new Set(ACTIVITY_SOURCES);
const NETWORKS = new Set(NETWORK_ROLES);
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

// What the expressions of the tables call; each has its namesake in refcodec/syntax/structures.py.

/** Number of inputs of a context model (6.4). */
function inputCount(templateId, channelMode, channels, listed) {
  const sources = templateId === EXPLICIT ? listed.map((n) => n.neighbourSource) : TEMPLATES[templateId].map(([s]) => s);
  if (channelMode === 0) return sources.length;
  return sources.reduce((n, source) => n + (isActivity(source) ? 1 : channels), 0);
}

function rigid(pose) {
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

function utf8(bytes) {
  try {
    UTF8.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

function isKey(bytes) {
  return /^[a-z0-9._-]{1,64}$/.test(String.fromCharCode(...bytes));
}

function same(a, b) {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

const sum = (values) => values.reduce((a, b) => a + b, 0);
const finite = Number.isFinite;
const syntax = tables({ finite, inputCount, isKey, rigid, same, sum, utf8 });

/**
 * Reads a structure, checking each element as it is read.
 * @param {object[]} structure  a table of `syntax`
 * @param {Reader} r
 * @param {object} p  { header, level, payloadSize }, as far as its expressions refer to them
 * @param {?object} o  { v, o } of the enclosing structure
 */
function read(structure, r, p, o = null) {
  const v = {};
  for (const item of structure) {
    if (item.when !== undefined && !item.when(v, o, p)) {
      v[item.name] = null;
      continue;
    }
    const count = item.count === undefined ? null : item.count(v, o, p);
    v[item.name] = value(item, r, count, () => read(item.type, r, p, { v, o }));
    if (item.rules === undefined) continue;
    for (const [requirement, holds] of item.rules) require(holds(v, o, p), requirement);
  }
  return v;
}

/** One element: a number, bytes, bits of a byte, a structure, or `count` of them. */
function value({ type, shift }, r, count, nested) {
  if (typeof type !== 'string') {
    if (count === null) return nested();
    const start = r.at;
    const entries = r.list(nested, count);
    entries.byteLength = r.at - start;
    return entries;
  }
  if (type === 'bytes') return r.bytes(count);
  if (shift !== undefined) return ((shift === 0 ? r.u8() : r.data[r.at - 1]) >> shift) & ((1 << +type.slice(1)) - 1);
  if (count === null) return r[type]();
  return type === 's8' ? r.s8s(count) : r.list(() => r[type](), count);
}

/** A structure that fills a payload. */
function readAll(structure, payload, header = null, level = null) {
  const r = new Reader(payload);
  const v = read(structure, r, { header, level, payloadSize: payload.length });
  r.finish();
  return v;
}

/** The file header from the first (up to) 16 bytes: { level, profile, version }. */
export function readFileHeader(head) {
  const known = head.subarray(0, 8).every((byte, i) => byte === FILE_SIGNATURE[i]);
  require(head.length > 0 && known, 'R-FILE-01');
  require(head.length >= FILE_HEADER_SIZE, 'R-FILE-06');
  const { versionMajor, versionMinor, profile, level, headerCrc } = readAll(syntax.fileHeader, head);
  require(headerCrc === crc32(head, 0, 12), 'R-FILE-02');
  if (versionMajor !== VERSION[0] || versionMinor !== VERSION[1]) {
    const found = `${versionMajor}.${versionMinor}`;
    throw new Refused('R-FILE-03', `The file has version ${found}; this decoder reads ${VERSION.join('.')}.`);
  }
  require(profile === PROFILE_MAIN, 'R-FILE-04');
  require(level in LEVELS, 'R-FILE-05');
  return { version: [versionMajor, versionMinor], profile, level };
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
  if (!TYPES.has(type)) {
    require(flags === 1, 'R-UNIT-04');
    return { type: null, payload };
  }
  require(flags === (ANCILLARY.has(type) ? 1 : 0), 'R-UNIT-05');
  return { type, payload };
}

// Sequence header (4.3 to 4.5, 5.2)

export function readSequenceHeader(payload, level) {
  const v = readAll(syntax.sequenceHeader, payload);
  const noNetwork = { positionFrequencies: 0, skipLayer: 0, coarseSamples: 0, fineSamples: 0 };
  const [x, y, z] = v.occupancyDims;
  const voxels = x * y * z;
  const h = { ...v, ...v.parameters, ...(v.network ?? noNetwork), voxels, hasOccupancy: voxels > 0 };
  h.scenes = [sceneOf(v), ...v.scene.map(sceneOf)];
  h.tensors = v.tensor.map((t) => {
    const { tensorRole: role, roleIndex: index, channels, depth, height, width } = t;
    return { ...t, role, index, elements: channels * depth * height * width };
  });
  const elements = h.tensors.reduce((total, t) => total + t.elements, 0);
  require(elements <= LEVELS[level].tensorElements, 'R-SEQ-17');
  require(h.voxels <= LEVELS[level].occupancyVoxels, 'R-SEQ-17');
  require(isField(h), 'R-SEQ-16');
  return h;
}

function sceneOf({ aabbMin, aabbMax, aabbExponent, samplesPerDiagonal, background }) {
  return { aabbMin, aabbMax, aabbExponent, samplesPerDiagonal, background };
}

/** Whether the tensor list is that of its representation (8.1, R-SEQ-16). */
function isField(h) {
  const field = FIELDS[h.representation];
  const tensors = h.tensors.slice();
  const channels = {};
  for (const { role, count, least = count, single } of field.grids) {
    const found = takeGrids(tensors, role, count, single);
    if (found === null || found.length < least) return false;
    channels[role] = found.map((t) => t.channels);
  }
  let inputs = field.inputs(channels, h);
  if (inputs === null) return false;
  if (h.coarseSamples > 0 && takeNetwork(tensors, Role.COARSE_WEIGHT, inputs, h.skipLayer) !== 1) return false;
  const densityInside = field.density === undefined;
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

function takeGrids(tensors, role, number, single) {
  const found = [];
  while (found.length < number) {
    const grid = take(tensors, role, found.length);
    if (grid === null) break;
    const sizes = [grid.width, grid.height, grid.depth];
    for (let axis = 0; axis < 3; axis++) {
      const one = single === 'own' ? axis === found.length : single === 'others' && axis !== found.length;
      if (one && sizes[axis] !== 1) return null;
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
  return !NETWORKS.has(role);
}

// Groups and frames (4.6 to 4.11, 5.3, 5.4)

export function readGroupHeader(payload, sceneCount, level) {
  const v = readAll(syntax.groupHeader, payload, { sceneCount }, LEVELS[level]);
  return { scene: v.sceneId, firstFrame: v.firstFrameNumber, frameCount: v.frameCount };
}

/** A frame's payload. */
export function readFrame(payload, digestType) {
  const v = readAll(syntax.frame, payload, { digestType });
  return {
    number: v.frameNumber,
    type: v.frameType,
    timeStamp: v.timeStamp,
    occupancyMode: v.occupancyMode,
    occupancyModel: v.occupancyModelRef,
    occupancyData: v.occupancySize === null ? null : v.occupancyData,
    digest: v.frameDigest,
    ...codingOf(v),
  };
}

export function readShared(payload, digestType) {
  const v = readAll(syntax.shared, payload, { digestType });
  return { occupancyMode: 0, digest: v.sharedDigest, ...codingOf(v) };
}

/** What frames and the shared unit have in common. modelBytes: with the count before the models. */
function codingOf({ model, tensor }) {
  return { models: model.map(modelOf), modelBytes: model.byteLength + 1, tensors: tensor.map(tensorOf) };
}

function modelOf({ modelId: id, modelType: type, context: c, static: s }) {
  if (c === null) {
    const { assignment, table } = s;
    return { id, type, assignment, counts: table, tables: table.map((t) => staticTable(t.firstValue, t.count)) };
  }
  const listed = c.neighbour.map((n) => [n.neighbourSource, n.offsetC, n.offsetZ, n.offsetY, n.offsetX]);
  return {
    ...c,
    id,
    type,
    joint: c.channelMode === 1,
    channels: c.modelChannels,
    scan: c.scanWeight,
    template: c.templateId === EXPLICIT ? listed : TEMPLATES[c.templateId],
    hidden: c.hiddenCount,
    hiddenShift: c.hiddenShift ?? 0,
    inputs: inputCount(c.templateId, c.channelMode, c.modelChannels, c.neighbour),
    outputs: c.outputBias.length / c.modelChannels, // of a channel
  };
}

function tensorOf(t) {
  return {
    id: t.tensorId,
    prediction: t.prediction,
    transform: t.transform,
    significance: t.significance,
    baseMantissa: t.baseMantissa ?? 0,
    baseExponent: t.baseExponent ?? 0,
    baseOffset: t.baseOffset ?? 0,
    levels: t.waveletLevels ?? 0,
    maskModel: t.maskModelRef ?? 0,
    maskData: t.maskData,
    model: t.modelRef,
    steps: t.step.map((s) => s.stepIndex),
    data: t.valueData,
  };
}

/** Whether a neighbour is a sum over all channels. */
export function isActivity(source) {
  return ACTIVITIES.has(source);
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
  const { entry } = readAll(syntax.index, payload);
  return entry.map((e) => ({ number: e.indexedFrame, type: e.indexedType, offset: e.frameOffset }));
}

export function readEnd(payload) {
  return readAll(syntax.end, payload);
}

export function readCameras(payload, sceneCount) {
  return readAll(syntax.cameras, payload, { sceneCount }).camera.map((c) => ({
    name: UTF8.decode(c.cameraName),
    scene: c.cameraScene,
    width: c.cameraWidth,
    height: c.cameraHeight,
    focal: c.focal,
    centre: c.centre,
    pose: c.cameraToWorld,
  }));
}

export function readMetadata(payload) {
  const { entry } = readAll(syntax.metadata, payload);
  const metadata = new Map(entry.map((e) => [String.fromCharCode(...e.key), UTF8.decode(e.value)]));
  require(metadata.size === entry.length, 'R-MET-01');
  return metadata;
}
