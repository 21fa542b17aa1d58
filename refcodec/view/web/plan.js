/**
 * How the tensors of a sequence are laid out for the GPU: vectors of four components.
 *
 * Channels of a grid, and inputs and outputs of layers, are put in an order of their own: a map gives for each
 * component of a vector the channel (input, output) of the specification, or -1 where it is filled up with 0.
 * The encodings of chapter 8.5 then need no shuffling.
 */
import { FIELDS } from './decoder/representations.js';
import { Role } from './decoder/syntax.generated.js';

/** 0 … n-1 from `first`, filled up to a multiple of four. */
function filled(n, first = 0) {
  return Array.from({ length: 4 * Math.ceil(n / 4) }, (_, i) => (i < n ? first + i : -1));
}

/**
 * Inputs of an encoding (R-FLD-09) of values laid out by `map`: for each vector the values, their sines from the
 * lowest frequency up, their cosines. `at`: where the values begin among the inputs; `encoded`: where their
 * encoding does.
 */
function encodingMap(map, at, encoded, count, frequencies) {
  const out = [];
  for (let i = 0; i < map.length; i += 4) {
    const four = map.slice(i, i + 4);
    out.push(...four.map((j) => (j < 0 ? -1 : at + j)));
    for (let s = 0; s < 2; s++) {
      for (let k = 0; k < frequencies; k++) {
        out.push(...four.map((j) => (j < 0 ? -1 : encoded + s * count * frequencies + j * frequencies + k)));
      }
    }
  }
  return out;
}

/**
 * The plan of a sequence: items to pack, and what the shader needs to know of them.
 * An item is a grid { tensor, map } or a layer { weight, bias, outputs, inputs } (tensor_ids, maps; bias null: none).
 */
export function planOf(header) {
  const { tensors } = header;
  const field = FIELDS[header.representation];
  const inside = field.density === undefined;
  const items = [];
  const find = (role, index) => tensors.findIndex((t) => t.role === role && t.index === index);
  const grid = (role, index, map) => {
    const tensor = find(role, index);
    const item = { kind: 'grid', tensor, info: tensors[tensor], map: map ?? filled(tensors[tensor].channels) };
    items.push(item);
    return item;
  };
  const plan = {
    header,
    items,
    coefficient: null,
    bases: [],
    density: [],
    features: [],
    enc: 0,
    coarse: [],
    fusion: [],
    inside, // whether the density is output 0 of the fusion network
  };

  let inputMap = [];
  if (field.product) {
    const { coefficient, basis } = field.product;
    const count = tensors.filter((t) => t.role === basis).length;
    plan.bases = Array.from({ length: count }, (_, k) => grid(basis, k));
    let first = 0;
    for (const { info } of plan.bases) {
      inputMap.push(...filled(info.channels, first));
      first += info.channels;
    }
    plan.coefficient = grid(coefficient, 0, inputMap);
  }
  const products = (lists) => lists.map((list) => list.map(([role, index]) => grid(role, index)));
  plan.density = products(field.density ?? []);
  plan.features = products(field.features ?? []);
  let first = 0;
  for (const [{ info }] of plan.features) {
    inputMap.push(...filled(info.channels, first));
    first += info.channels;
  }
  if (field.position) {
    inputMap = encodingMap([0, 1, 2, -1], 0, 3, 3, header.positionFrequencies);
    plan.enc = inputMap.length / 4;
  }

  const inputs = inputMap.filter((i) => i >= 0).length;
  /** Layers of a network with the given map of inputs; `lastOutputs` maps the outputs of the last one. */
  const network = (role, start, lastOutputs) => {
    const layers = [];
    for (let l = 0, map = start, width = inputs; find(role, l) >= 0; l++) {
      const weight = find(role, l);
      const bias = find(role + 1, l);
      const skip = l > 0 && l === header.skipLayer;
      const rows = tensors[weight].height;
      const last = find(role, l + 1) < 0;
      const layer = {
        kind: 'layer',
        weight,
        bias: bias < 0 ? null : bias,
        skip,
        last,
        columns: tensors[weight].width,
        inputs: skip ? [...map, ...inputMap.map((i) => (i < 0 ? -1 : width + i))] : map,
        outputs: last && lastOutputs ? lastOutputs(rows) : filled(rows),
      };
      layers.push(layer);
      items.push(layer);
      map = layer.outputs;
      width = rows;
    }
    return layers;
  };
  if (header.coarseSamples > 0) plan.coarse = network(Role.COARSE_WEIGHT, inputMap);
  // Where the density feature is output 0, it goes behind the features.
  plan.fusion = network(
    Role.FUSION_WEIGHT,
    inputMap,
    inside
      ? (rows) => {
          const map = filled(rows - 1, 1);
          map.length = rows - 1;
          map.push(0);
          while (map.length % 4) map.push(-1);
          return map;
        }
      : undefined,
  );
  const outputs = plan.fusion.length ? tensors[plan.fusion.at(-1).weight].height : inputs;
  plan.featureCount = inside ? outputs - 1 : outputs;
  let featureMap = plan.fusion.length ? filled(plan.featureCount) : inputMap;
  featureMap = featureMap.slice(0, 4 * Math.ceil(featureMap.length / 4));

  const n = plan.featureCount;
  const m = header.featureFrequencies;
  const render = [];
  for (let l = 0, map; find(Role.RENDER_WEIGHT, l) >= 0; l++) {
    const weight = find(Role.RENDER_WEIGHT, l);
    const bias = find(Role.RENDER_BIAS, l);
    const layer = {
      kind: 'layer',
      weight,
      bias: bias < 0 ? null : bias,
      skip: false,
      last: find(Role.RENDER_WEIGHT, l + 1) < 0,
      columns: tensors[weight].width,
      inputs: map,
      outputs: filled(tensors[weight].height),
    };
    if (l === 0) {
      // In two: what depends on the features, and what depends on the direction, once for each ray.
      layer.inputs = encodingMap([0, 1, 2, -1], n, n + 3 + 2 * n * m, 3, header.directionFrequencies);
      plan.direction = layer;
      items.push(layer);
      const rest = { ...layer, bias: null, inputs: encodingMap(featureMap, 0, n + 3, n, m) };
      render.push(rest);
      items.push(rest);
    } else {
      render.push(layer);
      items.push(layer);
    }
    map = layer.outputs;
  }
  plan.render = render;
  plan.featureVectors = featureMap.length / 4;
  for (const item of items) item.vectors = vectorsOf(item);
  return plan;
}

function vectorsOf(item) {
  if (item.kind === 'grid') return item.info.depth * item.info.height * item.info.width * (item.map.length / 4);
  const blocks = item.outputs.length / 4;
  return blocks * item.inputs.length + (item.bias === null ? 0 : blocks);
}

/** Tensors that an item is made of. */
export function tensorsOf(item) {
  if (item.kind === 'grid') return [item.tensor];
  return item.bias === null ? [item.weight] : [item.weight, item.bias];
}

/** The numbers of an item, four for each vector. @param {Int32Array[]} tensors reconstructed integers */
export function pack(item, tensors, header) {
  const out = new Float32Array(4 * item.vectors);
  const scaleOf = (id) => 2 ** -header.tensors[id].fracBits;
  if (item.kind === 'grid') {
    // All cells of the first four channels, then those of the next four.
    const { map, info } = item;
    const values = tensors[item.tensor];
    const scale = scaleOf(item.tensor);
    const cells = info.depth * info.height * info.width;
    for (let j = 0; j < map.length; j++) {
      if (map[j] < 0) continue;
      const start = map[j] * cells;
      const from = 4 * cells * (j >> 2) + (j & 3);
      for (let cell = 0, at = from; cell < cells; cell++, at += 4) out[at] = values[start + cell] * scale;
    }
    return out;
  }
  // Blocks of 4 × 4, those of the first four outputs first; within a block a vector for each input. Then the biases.
  const { inputs, outputs, columns } = item;
  const weights = tensors[item.weight];
  const scale = scaleOf(item.weight);
  let at = 0;
  for (let o = 0; o < outputs.length; o += 4) {
    for (const i of inputs) {
      for (let k = 0; k < 4; k++, at++) {
        if (i >= 0 && outputs[o + k] >= 0) out[at] = weights[outputs[o + k] * columns + i] * scale;
      }
    }
  }
  if (item.bias !== null) {
    for (const o of outputs) {
      if (o >= 0) out[at] = tensors[item.bias][o] * scaleOf(item.bias);
      at++;
    }
  }
  return out;
}
