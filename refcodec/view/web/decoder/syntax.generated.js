// Generated from the declarations in refcodec/syntax by `python -m refcodec.syntax.javascript`.

/** `version_major`, `version_minor` (4.1). */
export const VERSION = [0, 5];
export const PROFILE_MAIN = 1;
export const FILE_SIGNATURE = [137, 82, 70, 86, 13, 10, 26, 10];
/** `unit_type` (Table 4-1). */
export const Unit = { SEQUENCE_HEADER: 1, GROUP_HEADER: 2, FRAME: 3, INDEX: 4, END: 5, CAMERAS: 6, METADATA: 7, SHARED: 8 };
/** `representation` (A.1). */
export const Representation = { DIF: 1, VM: 2, TRIPLANE: 3, GRID: 4, MLP: 5 };
/** `tensor_role` (A.2). */
export const Role = { DIF_COEFFICIENT: 1, DIF_BASIS: 2, DENSITY_PLANE: 3, DENSITY_LINE: 4, FEATURE_PLANE: 5, FEATURE_LINE: 6, DENSITY_GRID: 7, FEATURE_GRID: 8, FUSION_WEIGHT: 16, FUSION_BIAS: 17, RENDER_WEIGHT: 18, RENDER_BIAS: 19, COARSE_WEIGHT: 20, COARSE_BIAS: 21 };
/** What there is to say of each `family` (A.6): see `ProbabilityFamily` in refcodec/syntax/families.py. */
export const FAMILIES = {
  0: { codesBits: false, hasLocation: true, hasShape: false, scales: 44, shapes: 1 }, // LAPLACE
  1: { codesBits: true, hasLocation: false, hasShape: false, scales: 64, shapes: 1 }, // BERNOULLI
  2: { codesBits: false, hasLocation: true, hasShape: true, scales: 44, shapes: 5 }, // MIXTURE
};
/** And of each `prediction` (7.3): see `Prediction` in refcodec/syntax/tools.py. */
export const PREDICTIONS = {
  0: { needsPrevious: false, needsShared: false, hasFactor: false }, // NONE
  1: { needsPrevious: true, needsShared: false, hasFactor: false }, // PREVIOUS
  2: { needsPrevious: false, needsShared: true, hasFactor: true }, // BASE
  3: { needsPrevious: false, needsShared: false, hasFactor: false }, // CONSTANT
};
/** Types of units that a decoder can do without. */
export const ANCILLARY_UNITS = [4, 6, 7];
/** Roles of the tensors of networks. */
export const NETWORK_ROLES = [16, 17, 18, 19, 20, 21];
/** Bounds of the levels (10.2). */
export const LEVELS = {
  1: { unitSize: 4194304, tensorElements: 2097152, occupancyVoxels: 2097152, groupFrames: 256, modelWork: 1073741824 },
  2: { unitSize: 33554432, tensorElements: 16777216, occupancyVoxels: 16777216, groupFrames: 1024, modelWork: 17179869184 },
  3: { unitSize: 268435456, tensorElements: 134217728, occupancyVoxels: 134217728, groupFrames: 4096, modelWork: 137438953472 },
};
/** Values of `neighbour_source` that are sums over all channels (6.4). */
export const ACTIVITY_SOURCES = [2, 3, 10, 11];
/** Neighbours (source, dc, dz, dy, dx) of each `template_id` (A.3). */
export const EXPLICIT = 1;
export const TEMPLATES = {
  0: [],
  2: [[0, 0, 0, 0, -1], [0, 0, 0, -1, 0], [0, 0, -1, 0, 0], [0, 0, 0, -1, -1], [0, 0, -1, 0, -1], [0, 0, -1, -1, 0], [0, 0, -1, -1, -1]],
  3: [[0, 0, 0, 0, -1], [0, 0, 0, -1, 0], [0, 0, -1, 0, 0], [0, 0, 0, -1, -1], [0, 0, -1, 0, -1], [0, 0, -1, -1, 0], [0, 0, -1, -1, -1], [1, 0, 0, 0, 0], [1, 0, 0, 0, -1], [1, 0, 0, 0, 1], [1, 0, 0, -1, 0], [1, 0, 0, 1, 0], [1, 0, -1, 0, 0], [1, 0, 1, 0, 0]],
  4: [[0, 0, 0, 0, -1], [0, 0, 0, -1, 0], [0, 0, -1, 0, 0], [0, 0, 0, -1, -1], [0, 0, -1, 0, -1], [0, 0, -1, -1, 0], [0, 0, -1, -1, -1], [2, 0, 0, 0, -1], [2, 0, 0, -1, 0], [2, 0, -1, 0, 0]],
  5: [[0, 0, 0, 0, -1], [0, 0, 0, -1, 0], [0, 0, -1, 0, 0], [0, 0, 0, -1, -1], [0, 0, -1, 0, -1], [0, 0, -1, -1, 0], [0, 0, -1, -1, -1], [1, 0, 0, 0, 0], [1, 0, 0, 0, -1], [1, 0, 0, 0, 1], [1, 0, 0, -1, 0], [1, 0, 0, 1, 0], [1, 0, -1, 0, 0], [1, 0, 1, 0, 0], [2, 0, 0, 0, -1], [2, 0, 0, -1, 0], [2, 0, -1, 0, 0], [3, 0, 0, 0, 0]],
  6: [[0, 0, -1, 0, 0], [0, 0, 0, -1, 0], [0, 0, 0, 0, -1], [0, 0, -1, -1, 0], [0, 0, -1, 0, -1], [0, 0, 0, -1, -1], [0, 0, -1, 1, 0], [0, 0, -1, 0, 1], [0, 0, 0, -1, 1]],
  7: [[0, 0, -1, 0, 0], [0, 0, 0, -1, 0], [0, 0, 0, 0, -1], [0, 0, -1, -1, 0], [0, 0, -1, 0, -1], [0, 0, 0, -1, -1], [0, 0, -1, 1, 0], [0, 0, -1, 0, 1], [0, 0, 0, -1, 1], [1, 0, 0, 0, 0], [1, 0, 0, 0, -1], [1, 0, 0, 0, 1], [1, 0, 0, -1, 0], [1, 0, 0, 1, 0], [1, 0, -1, 0, 0], [1, 0, 1, 0, 0]],
  8: [[0, 0, 0, -1, 0], [0, 0, -1, 0, 0], [0, 0, -1, -1, 0], [0, 0, -1, 1, 0], [0, 0, 0, -2, 0], [0, 0, -2, 0, 0], [2, 0, 0, -1, 0], [2, 0, -1, 0, 0], [2, 0, -1, 1, 0]],
  9: [[0, 0, 0, -1, 0], [0, 0, -1, 0, 0], [0, 0, -1, -1, 0], [0, 0, -1, 1, 0], [0, 0, 0, -2, 0], [0, 0, -2, 0, 0], [2, 0, 0, -1, 0], [2, 0, -1, 0, 0], [2, 0, -1, 1, 0], [1, 0, 0, 0, 0], [1, 0, 0, -1, 0], [1, 0, 0, 1, 0], [1, 0, -1, 0, 0], [1, 0, 1, 0, 0], [3, 0, 0, 0, 0]],
  10: [[0, 0, 0, 0, -1], [0, 0, -1, 0, 0], [0, 0, -1, 0, -1], [0, 0, -1, 0, 1], [0, 0, 0, 0, -2], [0, 0, -2, 0, 0], [2, 0, 0, 0, -1], [2, 0, -1, 0, 0], [2, 0, -1, 0, 1]],
  11: [[0, 0, 0, 0, -1], [0, 0, -1, 0, 0], [0, 0, -1, 0, -1], [0, 0, -1, 0, 1], [0, 0, 0, 0, -2], [0, 0, -2, 0, 0], [2, 0, 0, 0, -1], [2, 0, -1, 0, 0], [2, 0, -1, 0, 1], [1, 0, 0, 0, 0], [1, 0, 0, 0, -1], [1, 0, 0, 0, 1], [1, 0, -1, 0, 0], [1, 0, 1, 0, 0], [3, 0, 0, 0, 0]],
  12: [[0, 0, 0, 0, -1], [0, 0, 0, -1, 0], [0, 0, 0, -1, -1], [0, 0, 0, -1, 1], [0, 0, 0, 0, -2], [0, 0, 0, -2, 0], [2, 0, 0, 0, -1], [2, 0, 0, -1, 0], [2, 0, 0, -1, 1]],
  13: [[0, 0, 0, 0, -1], [0, 0, 0, -1, 0], [0, 0, 0, -1, -1], [0, 0, 0, -1, 1], [0, 0, 0, 0, -2], [0, 0, 0, -2, 0], [2, 0, 0, 0, -1], [2, 0, 0, -1, 0], [2, 0, 0, -1, 1], [1, 0, 0, 0, 0], [1, 0, 0, 0, -1], [1, 0, 0, 0, 1], [1, 0, 0, -1, 0], [1, 0, 0, 1, 0], [3, 0, 0, 0, 0]],
  14: [[4, 0, 0, 0, -1], [4, 0, 0, -1, 0], [4, 0, -1, 0, 0], [2, 0, 0, 0, -1], [2, 0, 0, -1, 0], [2, 0, -1, 0, 0], [12, 0, 0, 0, -1], [12, 0, 0, -1, 0], [12, 0, -1, 0, 0], [12, 0, 0, -1, -1], [12, 0, -1, 0, -1], [12, 0, -1, -1, 0], [12, 0, 0, 0, -2], [12, 0, 0, -2, 0], [12, 0, -2, 0, 0], [10, 0, 0, 0, -1], [10, 0, 0, -1, 0], [10, 0, -1, 0, 0], [10, 0, 0, -1, -1], [10, 0, -1, 0, -1], [10, 0, -1, -1, 0], [2, 0, 0, 0, 0], [4, -1, 0, 0, 0]],
  15: [[4, 0, 0, 0, -1], [4, 0, 0, -1, 0], [4, 0, -1, 0, 0], [2, 0, 0, 0, -1], [2, 0, 0, -1, 0], [2, 0, -1, 0, 0], [12, 0, 0, 0, -1], [12, 0, 0, -1, 0], [12, 0, -1, 0, 0], [12, 0, 0, -1, -1], [12, 0, -1, 0, -1], [12, 0, -1, -1, 0], [12, 0, 0, 0, -2], [12, 0, 0, -2, 0], [12, 0, -2, 0, 0], [10, 0, 0, 0, -1], [10, 0, 0, -1, 0], [10, 0, -1, 0, 0], [10, 0, 0, -1, -1], [10, 0, -1, 0, -1], [10, 0, -1, -1, 0], [2, 0, 0, 0, 0], [4, -1, 0, 0, 0], [5, 0, 0, 0, 0], [3, 0, 0, 0, 0], [3, 0, 0, 0, 1], [3, 0, 0, 1, 0], [3, 0, 1, 0, 0], [13, 0, 0, 0, 1], [13, 0, 0, 1, 0], [13, 0, 1, 0, 0]],
};

/**
 * The structures of chapter 4: lists of elements in the order in which they are coded.
 * type: a descriptor (Table 2-1) or the list of another structure.
 * shift: of `b2`, bits before it in its byte.
 * count, when, rules: functions of v, the elements read so far, o, { v, o } of the enclosing structure, and
 * p, { header, level, payloadSize }. rules: requirement, whether it holds.
 * @param {object} functions  what expressions call
 */
export function tables({ finite, inputCount, isKey, rigid, same, sum, utf8 }) {
  const fileHeader = [
    { name: 'signature', type: 'bytes', count: (v, o, p) => 8, rules: [['R-FILE-01', (v, o, p) => same(v.signature, [137, 82, 70, 86, 13, 10, 26, 10])]] },
    { name: 'versionMajor', type: 'u8' },
    { name: 'versionMinor', type: 'u8' },
    { name: 'profile', type: 'u8' },
    { name: 'level', type: 'u8' },
    { name: 'headerCrc', type: 'u32' },
  ];
  const unitHeader = [
    { name: 'unitType', type: 'u8' },
    { name: 'unitFlags', type: 'u8' },
    { name: 'unitSize', type: 'u32' },
  ];
  const tensorInfo = [
    { name: 'tensorRole', type: 'u8', rules: [['R-SEQ-10', (v, o, p) => [1, 2, 3, 4, 5, 6, 7, 8, 16, 17, 18, 19, 20, 21].includes(v.tensorRole)]] },
    { name: 'roleIndex', type: 'u8' },
    { name: 'fracBits', type: 'u8', rules: [['R-SEQ-11', (v, o, p) => 0 <= v.fracBits && v.fracBits <= 24]] },
    { name: 'channels', type: 'u16', rules: [['R-SEQ-12', (v, o, p) => 1 <= v.channels && v.channels <= 4096]] },
    { name: 'depth', type: 'u16', rules: [['R-SEQ-12', (v, o, p) => 1 <= v.depth && v.depth <= 4096]] },
    { name: 'height', type: 'u16', rules: [['R-SEQ-12', (v, o, p) => 1 <= v.height && v.height <= 4096]] },
    { name: 'width', type: 'u16', rules: [['R-SEQ-12', (v, o, p) => 1 <= v.width && v.width <= 4096]] },
    { name: 'mapping', type: 'u8', rules: [['R-SEQ-13', (v, o, p) => [0, 1, 2].includes(v.mapping)]] },
    { name: 'alignment', type: 'u8', rules: [['R-SEQ-14', (v, o, p) => [0, 1].includes(v.alignment) && (v.mapping !== 0 || v.alignment === 0)]] },
    { name: 'frequency', type: 'u32', rules: [['R-SEQ-15', (v, o, p) => v.mapping === 2 ? 1 <= v.frequency && v.frequency <= 4194304 : v.frequency === 0]] },
  ];
  const fieldParameters = [
    { name: 'densityShift', type: 'f32', rules: [['R-SEQ-18', (v, o, p) => -1000000 <= v.densityShift && v.densityShift <= 1000000]] },
    { name: 'densityScale', type: 'f32', rules: [['R-SEQ-18', (v, o, p) => 0 <= v.densityScale && v.densityScale <= 1000000]] },
    { name: 'featureFrequencies', type: 'u8', rules: [['R-SEQ-19', (v, o, p) => 0 <= v.featureFrequencies && v.featureFrequencies <= 16]] },
    { name: 'directionFrequencies', type: 'u8', rules: [['R-SEQ-19', (v, o, p) => 0 <= v.directionFrequencies && v.directionFrequencies <= 16]] },
  ];
  const networkParameters = [
    { name: 'positionFrequencies', type: 'u8', rules: [['R-SEQ-19', (v, o, p) => 0 <= v.positionFrequencies && v.positionFrequencies <= 16]] },
    { name: 'skipLayer', type: 'u8', rules: [['R-SEQ-21', (v, o, p) => 0 <= v.skipLayer && v.skipLayer <= 63]] },
    { name: 'coarseSamples', type: 'u16', rules: [['R-SEQ-22', (v, o, p) => 0 <= v.coarseSamples && v.coarseSamples <= 4096]] },
    { name: 'fineSamples', type: 'u16', rules: [['R-SEQ-22', (v, o, p) => v.fineSamples <= 4096 && (v.fineSamples > 0) === (v.coarseSamples > 0)]] },
  ];
  const scene = [
    { name: 'aabbMin', type: 's32', count: (v, o, p) => 3 },
    { name: 'aabbMax', type: 's32', count: (v, o, p) => 3, rules: [['R-SEQ-05', (v, o, p) => v.aabbMin.every((a, i) => Math.abs(a) < 8388608 && Math.abs(v.aabbMax[i]) < 8388608 && a < v.aabbMax[i])]] },
    { name: 'aabbExponent', type: 's8', rules: [['R-SEQ-06', (v, o, p) => -60 <= v.aabbExponent && v.aabbExponent <= 30]] },
    { name: 'samplesPerDiagonal', type: 'u16', rules: [['R-SEQ-08', (v, o, p) => v.samplesPerDiagonal >= 1]] },
    { name: 'background', type: 'u8', count: (v, o, p) => 3 },
  ];
  const sequenceHeader = [
    { name: 'representation', type: 'u8', rules: [['R-SEQ-01', (v, o, p) => [1, 2, 3, 4, 5].includes(v.representation)]] },
    { name: 'sceneCount', type: 'u8', rules: [['R-SEQ-02', (v, o, p) => v.sceneCount >= 1]] },
    { name: 'digestType', type: 'u8', rules: [['R-SEQ-03', (v, o, p) => [0, 1].includes(v.digestType)]] },
    { name: 'ticksPerSecond', type: 'u32', rules: [['R-SEQ-04', (v, o, p) => v.ticksPerSecond >= 1]] },
    { name: 'aabbMin', type: 's32', count: (v, o, p) => 3 },
    { name: 'aabbMax', type: 's32', count: (v, o, p) => 3, rules: [['R-SEQ-05', (v, o, p) => v.aabbMin.every((a, i) => Math.abs(a) < 8388608 && Math.abs(v.aabbMax[i]) < 8388608 && a < v.aabbMax[i])]] },
    { name: 'aabbExponent', type: 's8', rules: [['R-SEQ-06', (v, o, p) => -60 <= v.aabbExponent && v.aabbExponent <= 30]] },
    { name: 'occupancyDims', type: 'u16', count: (v, o, p) => 3, rules: [['R-SEQ-07', (v, o, p) => v.occupancyDims.every((n) => n === 0) || v.occupancyDims.every((n) => 1 <= n && n <= 512)]] },
    { name: 'samplesPerDiagonal', type: 'u16', rules: [['R-SEQ-08', (v, o, p) => v.samplesPerDiagonal >= 1]] },
    { name: 'background', type: 'u8', count: (v, o, p) => 3 },
    { name: 'scene', type: scene, count: (v, o, p) => v.sceneCount - 1 },
    { name: 'tensorCount', type: 'u8', rules: [['R-SEQ-09', (v, o, p) => 1 <= v.tensorCount && v.tensorCount <= 64]] },
    { name: 'tensor', type: tensorInfo, count: (v, o, p) => v.tensorCount },
    { name: 'parameters', type: fieldParameters },
    { name: 'network', type: networkParameters, when: (v, o, p) => [5].includes(v.representation) },
  ];
  const groupHeader = [
    { name: 'groupSync', type: 'bytes', count: (v, o, p) => 8, rules: [['R-GRP-01', (v, o, p) => same(v.groupSync, [137, 82, 70, 71, 13, 10, 26, 10])]] },
    { name: 'sceneId', type: 'u8', rules: [['R-GRP-03', (v, o, p) => v.sceneId < p.header.sceneCount]] },
    { name: 'firstFrameNumber', type: 'u32' },
    { name: 'frameCount', type: 'u16', rules: [['R-GRP-02', (v, o, p) => 1 <= v.frameCount && v.frameCount <= p.level.groupFrames]] },
  ];
  const neighbour = [
    { name: 'neighbourSource', type: 'u8', rules: [['R-MOD-08', (v, o, p) => [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13].includes(v.neighbourSource)]] },
    { name: 'offsetC', type: 's8', rules: [['R-MOD-09', (v, o, p) => (-2 <= v.offsetC && v.offsetC <= 2) && (v.offsetC === 0 || o.v.channelMode === 0 && ![2, 3, 10, 11].includes(v.neighbourSource))]] },
    { name: 'offsetZ', type: 's8', rules: [['R-MOD-09', (v, o, p) => -2 <= v.offsetZ && v.offsetZ <= 2]] },
    { name: 'offsetY', type: 's8', rules: [['R-MOD-09', (v, o, p) => -2 <= v.offsetY && v.offsetY <= 2]] },
    { name: 'offsetX', type: 's8', rules: [['R-MOD-09', (v, o, p) => -2 <= v.offsetX && v.offsetX <= 2]] },
  ];
  const contextModel = [
    { name: 'family', type: 'u8', rules: [['R-MOD-15', (v, o, p) => [0, 1, 2].includes(v.family)]] },
    { name: 'channelMode', type: 'u8', rules: [['R-MOD-04', (v, o, p) => [0, 1].includes(v.channelMode)]] },
    { name: 'modelChannels', type: 'u8', rules: [['R-MOD-04', (v, o, p) => v.modelChannels >= 1 && (v.channelMode === 1 || v.modelChannels === 1)]] },
    { name: 'scanWeight', type: 'u8', count: (v, o, p) => 4, rules: [['R-MOD-06', (v, o, p) => v.scanWeight.every((w) => w <= 3) && (v.channelMode === 0 || v.scanWeight[0] === 0)]] },
    { name: 'templateId', type: 'u8', rules: [['R-MOD-07', (v, o, p) => v.templateId === 1 || [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15].includes(v.templateId)]] },
    { name: 'neighbourCount', type: 'u8', when: (v, o, p) => v.templateId === 1 },
    { name: 'neighbour', type: neighbour, count: (v, o, p) => (v.neighbourCount ?? 0) },
    { name: 'hiddenCount', type: 'u8', rules: [['R-MOD-03', (v, o, p) => v.hiddenCount <= 64 && inputCount(v.templateId, v.channelMode, v.modelChannels, v.neighbour) <= 512], ['R-MOD-05', (v, o, p) => (v.hiddenCount === 0) === (inputCount(v.templateId, v.channelMode, v.modelChannels, v.neighbour) === 0)]] },
    { name: 'hiddenShift', type: 'u8', when: (v, o, p) => v.hiddenCount > 0, rules: [['R-MOD-10', (v, o, p) => 0 <= v.hiddenShift && v.hiddenShift <= 15]] },
    { name: 'hiddenWeight', type: 's8', count: (v, o, p) => v.hiddenCount * inputCount(v.templateId, v.channelMode, v.modelChannels, v.neighbour) },
    { name: 'hiddenBias', type: 's16', count: (v, o, p) => v.hiddenCount },
    { name: 'locationShift', type: 'u8', rules: [['R-MOD-10', (v, o, p) => 0 <= v.locationShift && v.locationShift <= 23]] },
    { name: 'scaleShift', type: 'u8', rules: [['R-MOD-10', (v, o, p) => 0 <= v.scaleShift && v.scaleShift <= 23]] },
    { name: 'shapeShift', type: 'u8', when: (v, o, p) => [2].includes(v.family), rules: [['R-MOD-10', (v, o, p) => 0 <= v.shapeShift && v.shapeShift <= 23]] },
    { name: 'outputWeight', type: 's8', count: (v, o, p) => ([2].includes(v.family) ? 3 : 2) * v.modelChannels * v.hiddenCount },
    { name: 'outputBias', type: 's32', count: (v, o, p) => ([2].includes(v.family) ? 3 : 2) * v.modelChannels, rules: [['R-MOD-11', (v, o, p) => v.outputBias.every((b) => Math.abs(b) < 4194304)]] },
  ];
  const staticTable = [
    { name: 'firstValue', type: 'sv', rules: [['R-MOD-14', (v, o, p) => -65536 <= v.firstValue && v.firstValue <= 65536]] },
    { name: 'entryCount', type: 'uv', rules: [['R-MOD-13', (v, o, p) => 2 <= v.entryCount && v.entryCount <= 4096]] },
    { name: 'count', type: 'uv', count: (v, o, p) => v.entryCount, rules: [['R-MOD-13', (v, o, p) => 1 <= sum(v.count) && sum(v.count) <= 16777216]] },
  ];
  const staticModel = [
    { name: 'assignment', type: 'u8', rules: [['R-MOD-16', (v, o, p) => [0, 1, 2, 3].includes(v.assignment)]] },
    { name: 'tableCount', type: 'u8', rules: [['R-MOD-12', (v, o, p) => v.tableCount >= 1 && (v.assignment !== 0 || v.tableCount === 1)]] },
    { name: 'table', type: staticTable, count: (v, o, p) => v.tableCount },
  ];
  const entropyModel = [
    { name: 'modelId', type: 'u8', rules: [['R-MOD-01', (v, o, p) => v.modelId < 64]] },
    { name: 'modelType', type: 'u8', rules: [['R-MOD-02', (v, o, p) => [1, 2].includes(v.modelType)]] },
    { name: 'context', type: contextModel, when: (v, o, p) => v.modelType === 1 },
    { name: 'static', type: staticModel, when: (v, o, p) => v.modelType === 2 },
  ];
  const step = [
    { name: 'stepIndex', type: 'u8' },
  ];
  const codedTensor = [
    { name: 'tensorId', type: 'u8' },
    { name: 'prediction', type: 'b2', shift: 0 },
    { name: 'transform', type: 'b2', shift: 2, rules: [['R-TEN-03', (v, o, p) => [0, 1, 2].includes(v.transform)]] },
    { name: 'significance', type: 'b2', shift: 4 },
    { name: 'reservedTools', type: 'b2', shift: 6, rules: [['R-TEN-01', (v, o, p) => v.reservedTools === 0]] },
    { name: 'baseMantissa', type: 's16', when: (v, o, p) => [2].includes(v.prediction) },
    { name: 'baseExponent', type: 's8', when: (v, o, p) => [2].includes(v.prediction), rules: [['R-TEN-08', (v, o, p) => -16 <= v.baseExponent && v.baseExponent <= 15]] },
    { name: 'baseOffset', type: 's32', when: (v, o, p) => [2, 3].includes(v.prediction) },
    { name: 'waveletLevels', type: 'u8', when: (v, o, p) => [2].includes(v.transform), rules: [['R-TEN-03', (v, o, p) => 1 <= v.waveletLevels && v.waveletLevels <= 6]] },
    { name: 'maskModelRef', type: 'u8', when: (v, o, p) => v.significance >= 2 },
    { name: 'maskSize', type: 'uv', when: (v, o, p) => v.significance >= 2 },
    { name: 'maskData', type: 'bytes', count: (v, o, p) => (v.maskSize ?? 0), when: (v, o, p) => v.significance >= 2 },
    { name: 'modelRef', type: 'u8' },
    { name: 'step', type: step, count: (v, o, p) => v.transform === 2 ? (v.waveletLevels ?? 0) + 1 : v.transform === 1 ? 4 : 1 },
    { name: 'valueSize', type: 'uv' },
    { name: 'valueData', type: 'bytes', count: (v, o, p) => v.valueSize },
  ];
  const shared = [
    { name: 'modelCount', type: 'u8' },
    { name: 'model', type: entropyModel, count: (v, o, p) => v.modelCount },
    { name: 'codedCount', type: 'u8' },
    { name: 'tensor', type: codedTensor, count: (v, o, p) => v.codedCount },
    { name: 'sharedDigest', type: 'bytes', count: (v, o, p) => 8, when: (v, o, p) => p.header.digestType === 1 },
  ];
  const frame = [
    { name: 'frameNumber', type: 'u32' },
    { name: 'frameType', type: 'u8', rules: [['R-FRM-03', (v, o, p) => [1, 2].includes(v.frameType)]] },
    { name: 'timeStamp', type: 'u32' },
    { name: 'occupancyMode', type: 'u8', rules: [['R-OCC-04', (v, o, p) => [0, 1, 2, 3].includes(v.occupancyMode)]] },
    { name: 'occupancyModelRef', type: 'u8', when: (v, o, p) => v.occupancyMode === 3 },
    { name: 'occupancySize', type: 'uv', when: (v, o, p) => v.occupancyMode > 0 },
    { name: 'occupancyData', type: 'bytes', count: (v, o, p) => (v.occupancySize ?? 0) },
    { name: 'modelCount', type: 'u8' },
    { name: 'model', type: entropyModel, count: (v, o, p) => v.modelCount },
    { name: 'codedCount', type: 'u8' },
    { name: 'tensor', type: codedTensor, count: (v, o, p) => v.codedCount },
    { name: 'frameDigest', type: 'bytes', count: (v, o, p) => 8, when: (v, o, p) => p.header.digestType === 1 },
  ];
  const indexEntry = [
    { name: 'indexedFrame', type: 'u32' },
    { name: 'indexedType', type: 'u8' },
    { name: 'frameOffset', type: 'u64' },
  ];
  const index = [
    { name: 'indexCount', type: 'u32', rules: [['R-IDX-01', (v, o, p) => 13 * v.indexCount === p.payloadSize - 4]] },
    { name: 'entry', type: indexEntry, count: (v, o, p) => v.indexCount },
  ];
  const end = [
    { name: 'groupTotal', type: 'u32' },
    { name: 'frameTotal', type: 'u32' },
    { name: 'indexOffset', type: 'u64' },
  ];
  const camera = [
    { name: 'nameSize', type: 'u8' },
    { name: 'cameraName', type: 'bytes', count: (v, o, p) => v.nameSize, rules: [['R-CAM-03', (v, o, p) => utf8(v.cameraName)]] },
    { name: 'cameraScene', type: 'u8', rules: [['R-CAM-04', (v, o, p) => v.cameraScene < p.header.sceneCount]] },
    { name: 'cameraWidth', type: 'u16', rules: [['R-CAM-01', (v, o, p) => v.cameraWidth >= 1]] },
    { name: 'cameraHeight', type: 'u16', rules: [['R-CAM-01', (v, o, p) => v.cameraHeight >= 1]] },
    { name: 'focal', type: 'f32', count: (v, o, p) => 2, rules: [['R-CAM-01', (v, o, p) => v.focal.every((f) => finite(f) && f > 0)]] },
    { name: 'centre', type: 'f32', count: (v, o, p) => 2, rules: [['R-CAM-01', (v, o, p) => v.centre.every((c) => finite(c))]] },
    { name: 'cameraToWorld', type: 'f32', count: (v, o, p) => 12, rules: [['R-CAM-01', (v, o, p) => v.cameraToWorld.every((x) => finite(x))], ['R-CAM-02', (v, o, p) => rigid(v.cameraToWorld)]] },
  ];
  const cameras = [
    { name: 'cameraCount', type: 'u16' },
    { name: 'camera', type: camera, count: (v, o, p) => v.cameraCount },
  ];
  const metadataEntry = [
    { name: 'keySize', type: 'u8' },
    { name: 'key', type: 'bytes', count: (v, o, p) => v.keySize, rules: [['R-MET-01', (v, o, p) => isKey(v.key)]] },
    { name: 'valueSize', type: 'u32' },
    { name: 'value', type: 'bytes', count: (v, o, p) => v.valueSize, rules: [['R-MET-02', (v, o, p) => utf8(v.value)]] },
  ];
  const metadata = [
    { name: 'entryCount', type: 'u16' },
    { name: 'entry', type: metadataEntry, count: (v, o, p) => v.entryCount },
  ];
  return { fileHeader, unitHeader, tensorInfo, fieldParameters, networkParameters, scene, sequenceHeader, groupHeader, neighbour, contextModel, staticTable, staticModel, entropyModel, step, codedTensor, shared, frame, indexEntry, index, end, camera, cameras, metadataEntry, metadata };
}
