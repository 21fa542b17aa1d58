/**
 * The fragment shaders of a sequence: chapters 8 and 9 of the specification with its numbers filled in.
 *
 * Quality `exact` is the defined picture (9.5). Quality `fast` composites features along the ray and shades them
 * once, and lets the hardware interpolate half floats.
 */
import { BLOCK } from './occupancy.js';

export const TEXTURE_BITS = 11;
export const TEXTURE_WIDTH = 1 << TEXTURE_BITS;
/** More parts of a ray than this do not fit the registers that a shader can count on. */
export const MOST_COARSE_SAMPLES = 1024;

export const VERTEX = `#version 300 es
void main() {
  gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0);
}`;

/** Copies a texture over the picture, stretched. */
export const COPY = `#version 300 es
precision highp float;
uniform sampler2D picture;
uniform vec2 size;
out vec4 colour;
void main() {
  colour = texture(picture, gl_FragCoord.xy / size);
}`;

const UNROLLED = 16; // vectors up to which a loop over inputs is written out: registers cannot be indexed

const float = (v) => {
  const text = String(v);
  return /[.e]/.test(text) ? text : `${text}.0`;
};

const range = (n) => Array.from({ length: n }, (_, i) => i);

const HEAD = `precision highp float;
precision highp int;
precision highp sampler2D;
precision highp sampler3D;
precision highp usampler2D;
precision highp usampler3D;

uniform sampler2D data;       // grids, and layers that have no uniform block
uniform usampler2D occupancy; // bits, eight in a texel
uniform usampler3D distances; // from each block of voxels to the nearest one that is not empty, blocks
uniform vec3 lo, hi;          // the box
uniform float stepLength;

vec4 fetch(int at) {
  return texelFetch(data, ivec2(at & ${TEXTURE_WIDTH - 1}, at >> ${TEXTURE_BITS}), 0);
}

// Arguments of sine and cosine within one turn: 2 pi in two parts.
vec4 turn(vec4 v) {
  vec4 n = floor(v * 0.15915494309 + 0.5);
  return (v - n * 6.28125) - n * 0.00193530717959;
}

`;

/** Sizes of a grid along x, y, z. */
const sizesOf = ({ info }) => [info.width, info.height, info.depth];

/** GLSL of the position in a grid along an axis (R-FLD-05, R-FLD-06), from q, the place in the box, or from x. */
function positionOf({ info }, axis, n) {
  const c = 'xyz'[axis];
  const u = info.frequency > 0 ? `fract((x.${c} - lo.${c}) * (${float(info.frequency / 65536)} / longest))` : `q.${c}`;
  return info.alignment === 1
    ? `clamp(${u} * ${float(n)} - 0.5, 0.0, ${float(n - 1)})`
    : `${u} * ${float(n - 1)}`;
}

/**
 * GLSL that samples a grid (R-FLD-07): `to[at …]` is set, or multiplied, by its vectors.
 * A grid with a `texture` is interpolated by the hardware.
 */
function sampleGrid(grid, to, at, multiplies) {
  const sizes = sizesOf(grid);
  const vectors = grid.map.length / 4;
  const cells = sizes[0] * sizes[1] * sizes[2];
  const strides = [1, sizes[0], sizes[0] * sizes[1]];
  const axes = [0, 1, 2].filter((axis) => sizes[axis] > 1);
  const lines = axes.map((axis, k) => `float p${k} = ${positionOf(grid, axis, sizes[axis])};`);
  let value;
  if (grid.texture?.filtered) {
    const { name, size } = grid.texture;
    const places = axes.map((axis, k) => [`p${k} + 0.5`, sizes[axis]]);
    while (places.length < size.length) places.push(['0.5', 1]);
    // Vectors are stacked along the last axis; positions stop half a texel before the next one.
    value = (g) => {
      const coordinates = places.map(([p, n], k) =>
        k < places.length - 1
          ? `(${p}) / ${float(n)}`
          : `(${p} + float(${g}) * ${float(n)}) / ${float(n * vectors)}`,
      );
      return `textureLod(${name}, vec${size.length}(${coordinates.join(', ')}), 0.0)`;
    };
  } else {
    axes.forEach((axis, k) => {
      lines.push(`float c${k} = min(floor(p${k}), ${float(sizes[axis] - 2)});`, `float t${k} = p${k} - c${k};`);
      lines.push(`int i${k} = int(c${k});`);
    });
    let fetch;
    if (grid.texture) {
      const { name, size } = grid.texture;
      fetch = (g, corner) => {
        const at = axes.map((_, k) => `i${k}${corner[k] ? ' + 1' : ''}`);
        while (at.length < size.length) at.push('0');
        at[at.length - 1] += ` + ${g} * ${axes.length === size.length ? sizes[axes.at(-1)] : 1}`;
        return `texelFetch(${name}, ivec${size.length}(${at.join(', ')}), 0)`;
      };
    } else {
      lines.push(`int at = ${[grid.base, ...axes.map((axis, k) => `i${k} * ${strides[axis]}`)].join(' + ')};`);
      fetch = (g, corner) => {
        const step = axes.reduce((sum, axis, k) => sum + corner[k] * strides[axis], 0);
        return `fetch(at + ${step} + ${g} * ${cells})`;
      };
    }
    // From the last axis inwards, between the corners of a cell.
    const between = (g, corner) => {
      const k = axes.length - corner.length - 1;
      if (k < 0) return fetch(g, corner);
      return `mix(${between(g, [0, ...corner])}, ${between(g, [1, ...corner])}, t${k})`;
    };
    value = (g) => between(g, []);
  }
  const operator = multiplies ? '*=' : '=';
  if (vectors <= 4) lines.push(...range(vectors).map((g) => `${to}[${at + g}] ${operator} ${value(g)};`));
  else lines.push(`for (int g = 0; g < ${vectors}; g++) ${to}[${at} + g] ${operator} ${value('g')};`);
  return `  {\n    ${lines.join('\n    ')}\n  }`;
}

/** GLSL of products of grids one behind the other, from `to[0]`. Returns [code, vectors]. */
function products(list, to) {
  const out = [];
  let at = 0;
  for (const factors of list) {
    factors.forEach((grid, n) => out.push(sampleGrid(grid, to, at, n > 0)));
    at += factors[0].map.length / 4;
  }
  return [out.join('\n'), at];
}

/** GLSL of a layer's product: the block (o, i). */
function block(layer, o, i) {
  const at = `(${o} * ${layer.inputs.length} + (${i}) * 4)`;
  const w = (k) => layer.at(`${at} + ${k}`);
  return `mat4(${w(0)}, ${w(1)}, ${w(2)}, ${w(3)})`;
}

function biasOf(layer, o) {
  return layer.bias === null ? 'vec4(0.0)' : layer.at(`${(layer.outputs.length / 4) * layer.inputs.length} + ${o}`);
}

/** `for` over n, or the statements one after the other where they are few. */
function each(n, name, statement, most = UNROLLED) {
  if (n <= most) return range(n).map(statement).join(' ');
  return `for (int ${name} = 0; ${name} < ${n}; ${name}++) ${statement(name)}`;
}

/** Layers after one another, from the array `from` to the other of a and b. Returns [code, array of the output]. */
function network(layers, encoded, from = 'a', most = UNROLLED) {
  const out = [];
  for (const layer of layers) {
    const to = from === 'a' ? 'b' : 'a';
    const source = from;
    const plain = layer.inputs.length / 4 - (layer.skip ? encoded : 0);
    const value = layer.last ? 'sum' : 'max(sum, 0.0)';
    const skipped = layer.skip
      ? each(encoded, 'i', (i) => `sum += ${block(layer, 'o', `${i} + ${plain}`)} * encoded[${i}];`)
      : '';
    out.push(`for (int o = 0; o < ${layer.outputs.length / 4}; o++) {
    vec4 sum = ${biasOf(layer, 'o')};
    ${each(plain, 'i', (i) => `sum += ${block(layer, 'o', i)} * ${source}[${i}];`, most)}
    ${skipped}
    ${to}[o] = ${value};
  }`);
    from = to;
  }
  return [out.join('\n  '), from];
}

/** Encoding of a vec4 expression into an array: itself, sines, cosines. */
function encode(array, value, frequencies) {
  return `${array}[0] = ${value};
  for (int k = 0; k < ${frequencies}; k++) {
    vec4 v = turn(${value} * exp2(float(k)));
    ${array}[1 + k] = sin(v);
    ${array}[1 + ${frequencies} + k] = cos(v);
  }`;
}

const outputsOf = (layers) => Math.max(0, ...layers.map((layer) => layer.outputs.length / 4));

/** What `fast` composites: the input of the fusion network where that is linear, else its output. */
function compositedOf(plan) {
  const { inside } = plan;
  const linear = !inside && plan.fusion.length === 1;
  return { inside, linear, vectors: linear ? plan.fusion[0].inputs.length / 4 : plan.featureVectors };
}

/**
 * The functions of a field: `vec4 seen(vec3 eye, vec3 d, float from, float to, out float depth)` gives colour times
 * opacity, and opacity, of a ray between two distances, and the distance at which half of the light is gone, or where
 * it never is, the mean (-1 where there is nothing).
 *
 * @param {object} plan  of planOf; grids have `base` or `texture` { name, size }, layers `at(index)`, an expression
 *   for a vector
 * @param {string} quality  exact or fast
 * @param {string} declarations  of uniform blocks
 */
export function fieldFunctions(plan, quality, declarations = '') {
  const { header } = plan;
  const fast = quality === 'fast';
  const encoded = plan.enc > 0; // the networks take the encoded position
  const { inside, linear, vectors: composited } = compositedOf(plan);
  const product = plan.coefficient === null ? null : products([[plan.coefficient]], 'a');
  const bases = [];
  for (const [at, grid] of starts(plan.bases)) bases.push(sampleGrid(grid, 'a', at, true));
  const [densities, densityVectors] = products(plan.density, 'a');
  const [features, inputVectors] = products(plan.features, 'a');
  const layers = [...plan.fusion, ...plan.coarse, ...plan.render];
  const width = Math.max(
    1,
    product?.[1] ?? 0,
    densityVectors,
    inputVectors,
    plan.enc,
    plan.featureVectors,
    outputsOf(layers),
    ...[...plan.fusion, ...plan.coarse, ...plan.render.slice(1)].map(
      (l) => l.inputs.length / 4 - (l.skip ? plan.enc : 0),
    ),
  );
  const [fusion, fused] = network(plan.fusion, plan.enc);
  const density = inside ? `${fused}[${plan.featureCount >> 2}][${plan.featureCount & 3}]` : 'density';

  const [first, ...others] = plan.render;
  const outputs = first.outputs.length / 4;
  const m = header.featureFrequencies;
  const per = 1 + 2 * m;
  const target = fused === 'a' ? 'b' : 'a';
  // What runs once a ray is short rather than quick: compilers take their time.
  const [rest, result] = network(others, 0, target, fast ? 0 : UNROLLED);
  const directions = plan.direction.inputs.length / 4;
  const [coarse, coarsely] = plan.coarse.length ? network(plan.coarse, plan.enc) : ['', ''];
  const textures = plan.items.filter((item) => item.texture);
  // A vector of features and its encodings, for every output; the loop stays one where vectors are many.
  const shade = (i) => `{
    vec4 f = ${fused}[${i}];
    ${range(per)
      .map((s) => {
        const k = s <= m ? s - 1 : s - m - 1;
        const v = s === 0 ? 'f' : `${s <= m ? 'sin' : 'cos'}(turn(f * ${float(2 ** k)}))`;
        return `vec4 v${s} = ${v};`;
      })
      .join(' ')}
    for (int o = 0; o < ${outputs}; o++) ${target}[o] += ${range(per)
      .map((s) => `${block(first, 'o', `${i} * ${per} + ${s}`)} * v${s}`)
      .join(' + ')};
  }`;

  return `${HEAD}
${declarations}
${textures.map(({ texture: { name, size } }) => `uniform sampler${size.length}D ${name};`).join('\n')}
const float OPAQUE = ${fast ? '2e-3' : '1e-4'}; // R-RND-12
const float FAINT = ${fast ? '5e-4' : '1e-5'};  // samples of less weight have no colour of their own
vec4 a[${width}];
vec4 b[${width}];
vec4 lit[${outputs}]; // what the first colour layer makes of the direction
${encoded ? `vec4 encoded[${plan.enc}];` : ''}
${fast ? `vec4 mean[${composited}];\nfloat coloured = 0.0;` : ''}
float longest;
vec3 total = vec3(0.0);
float through = 1.0;
float half_ = -1.0;
float reach = 0.0;

${
  encoded
    ? `void encodePosition(vec3 x) {
  vec4 place = vec4(2.0 * (x - lo) / (hi - lo) - 1.0, 0.0);
  ${encode('encoded', 'place', header.positionFrequencies)}
}`
    : ''
}

float softplus(float u) {
  return ${float(header.densityScale)} * (max(u, 0.0) + log(1.0 + exp(-abs(u))));
}

// Density per scene unit at a point; what the colour needs stays in the arrays (R-FLD-04).
float densityAt(vec3 x) {
  vec3 q = clamp((x - lo) / (hi - lo), 0.0, 1.0);
${
  encoded
    ? `  encodePosition(x);
  for (int i = 0; i < ${plan.enc}; i++) a[i] = encoded[i];`
    : product
      ? [product[0], ...bases].join('\n')
      : densities
}
  ${inside ? fusion : `float density = ${range(densityVectors).map((g) => `dot(a[${g}], vec4(1.0))`).join(' + ')};`}
  return softplus(${density} + ${float(header.densityShift)});
}

void featuresAt(vec3 x) {
  vec3 q = clamp((x - lo) / (hi - lo), 0.0, 1.0);
${inside ? '' : features}
  ${inside || (fast && linear) ? '' : fusion}
}

void encodeDirection(vec3 d) {
  vec4 e[${directions}];
  ${encode('e', 'vec4(d, 0.0)', header.directionFrequencies)}
  for (int o = 0; o < ${outputs}; o++) {
    vec4 sum = ${biasOf(plan.direction, 'o')};
    for (int i = 0; i < ${directions}; i++) sum += ${block(plan.direction, 'o', 'i')} * e[i];
    lit[o] = sum;
  }
}

// Colour of the features in the arrays (R-FLD-10, R-FLD-11).
vec3 colourOf() {
  for (int o = 0; o < ${outputs}; o++) ${target}[o] = lit[o];
  ${plan.featureVectors <= (fast ? 0 : 4) ? range(plan.featureVectors).map(shade).join('\n  ') : `for (int i = 0; i < ${plan.featureVectors}; i++) ${shade('i')}`}
  ${others.length ? `for (int o = 0; o < ${outputs}; o++) ${target}[o] = max(${target}[o], 0.0);` : ''}
  ${rest}
  return 1.0 / (1.0 + exp(-${result}[0].rgb));
}

bool occupied(vec3 x) {
${
  header.hasOccupancy
    ? `  ivec3 n = ivec3(${header.occupancyDims.join(', ')});
  ivec3 v = clamp(ivec3(floor((x - lo) / (hi - lo) * vec3(n))), ivec3(0), n - 1);
  int bit = (v.z * n.y + v.y) * n.x + v.x;
  int at = bit >> 3;
  uint bits = texelFetch(occupancy, ivec2(at & ${TEXTURE_WIDTH - 1}, at >> ${TEXTURE_BITS}), 0).r;
  return ((bits >> uint(bit & 7)) & 1u) == 1u;`
    : '  return true;'
}
}

// R-RND-08 of a sample that takes part. False when the ray may end.
bool composite(vec3 x, float t, float span) {
  float alpha = 1.0 - exp(-densityAt(x) * span);
  float weight = through * alpha;
  // A loop, because some renderers by software skip those, but no branches.
  for (bool once = weight > FAINT; once; once = false) {
    featuresAt(x);
    ${
      fast
        ? `coloured += weight;
    ${each(composited, 'i', (i) => `mean[${i}] += weight * ${linear ? 'a' : fused}[${i}];`)}`
        : 'total += weight * colourOf();'
    }
  }
  through *= 1.0 - alpha;
  reach += weight * t;
  if (half_ < 0.0 && through < 0.5) half_ = t;
  return through >= OPAQUE;
}

vec4 seen(vec3 eye, vec3 d, float from, float to, out float depth) {
  depth = -1.0;
  vec3 sides = hi - lo;
  longest = max(sides.x, max(sides.y, sides.z));
  vec3 e = mix(d, vec3(1e-12), lessThan(abs(d), vec3(1e-12)));
  vec3 p = (lo - eye) / e;
  vec3 r = (hi - eye) / e;
  vec3 low = min(p, r);
  vec3 high = max(p, r);
  float near = max(0.0, max(low.x, max(low.y, low.z)));
  float far = min(high.x, min(high.y, high.z));
  if (far <= near) return vec4(0.0);
  ${fast ? '' : 'encodeDirection(d);'}
  ${fast ? each(composited, 'i', (i) => `mean[${i}] = vec4(0.0);`) : ''}
  ${header.coarseSamples > 0 ? placed(header, plan, coarse, coarsely) : marched(header)}
  ${
    fast
      ? `if (coloured > 0.0) {
    encodeDirection(d);
    ${each(composited, 'i', (i) => `${linear ? 'a' : fused}[${i}] = mean[${i}] / coloured;`)}
    ${linear ? fusion : ''}
    total = (1.0 - through) * colourOf();
  }`
      : ''
  }
  depth = half_ < 0.0 && through < 1.0 ? reach / (1.0 - through) : half_;
  return vec4(total, 1.0 - through);
}
`;
}

/** Where the vectors of grids begin that stand one behind the other: [index, grid]. */
function starts(grids) {
  let at = 0;
  return grids.map((grid) => {
    const found = [at, grid];
    at += grid.map.length / 4;
    return found;
  });
}

/** The canvas' shader: one ray through each pixel's centre (R-RND-03). */
export function fragmentShader(plan, quality, declarations) {
  return `#version 300 es
${fieldFunctions(plan, quality, declarations)}
uniform vec3 eye, right, up, back;
uniform vec4 lens;       // focal lengths and principal point, pixels
uniform float height;    // of the picture, pixels
uniform vec4 background; // its opacity is 0 where the page is to be seen through
out vec4 colour;

void main() {
  float row = height - gl_FragCoord.y;
  vec3 d = normalize(right * ((gl_FragCoord.x - lens.z) / lens.x) - up * ((row - lens.w) / lens.y) - back);
  float depth;
  vec4 light = seen(eye, d, 0.0, 1e30, depth);
  light += (1.0 - light.a) * vec4(background.rgb * background.a, background.a);
  colour = all(lessThan(abs(light), vec4(2.0))) ? light : vec4(background.rgb * background.a, background.a); // R-RND-15
}`;
}

/**
 * Samples at equal distances (R-RND-06). Those of empty voxels are passed in a loop of their own, many at once where
 * blocks are empty, so that rays that are computed together shade together.
 */
function marched(header) {
  const leap = header.hasOccupancy
    ? `if (occupied(x)) break;
        // To the end of the largest cube of empty blocks around this one, less a little for rounding.
        vec3 c = clamp(floor((x - lo) / size), vec3(0.0), blocks - 1.0);
        float free = float(texelFetch(distances, ivec3(c), 0).r);
        vec3 wall = lo + (c + mix(vec3(1.0 - free), vec3(free), greaterThan(e, vec3(0.0)))) * size;
        vec3 exits = (wall - eye) / e;
        float out_ = (min(exits.x, min(exits.y, exits.z)) - near) / stepLength - 0.51;
        i = max(i, free > 0.0 ? int(min(out_, 65535.0)) : i);`
    : 'break;';
  return `int i = from > near ? int(min((from - near) / stepLength + 0.5, 65536.0)) : 0;
    float end = min(far, to);
    vec3 blocks = vec3(textureSize(distances, 0));
    vec3 size = sides * ${float(BLOCK)} / vec3(${header.occupancyDims.map((n) => float(Math.max(1, n))).join(', ')});
    vec3 x;
    for (float t = 0.0; t < end; i++) {
      for (; i <= 65535; i++) {
        t = near + (float(i) + 0.5) * stepLength;
        if (t >= end) break;
        x = eye + t * d;
        ${leap}
      }
      if (t >= end || i > 65535) break;
      if (!composite(x, t, stepLength)) break;
    }`;
}

/** Sampling by the coarse network (9.2.2). Sums are kept in integers, in units of 2^-30. */
function placed(header, plan, coarse, coarsely) {
  const n = header.coarseSamples;
  const m = header.fineSamples;
  const share = Math.round(1e-5 * 2 ** 30);
  return `float part = (far - near) / ${float(n)};
    uint sums[${n + 1}];
    sums[0] = 0u;
    float T = 1.0;
    for (int i = 0; i < ${n}; i++) {
      vec3 x = eye + (near + (float(i) + 0.5) * part) * d;
      float alpha = 0.0;
      if (occupied(x)) {
        encodePosition(x);
        for (int k = 0; k < ${plan.enc}; k++) a[k] = encoded[k];
  ${coarse}
        alpha = 1.0 - exp(-softplus(${coarsely}[0].x + ${float(header.densityShift)}) * part);
      }
      sums[i + 1] = sums[i] + uint(T * alpha * 1073741824.0 + 0.5) + ${share}u;
      T *= 1.0 - alpha;
    }
    // The coarse and the fine samples are both in order: merged as they come.
    uint whole = sums[${n}] / ${2 * m}u;
    uint left = sums[${n}] % ${2 * m}u;
    int c = 0;
    int j = 0;
    int inPart = 0;
    float fine = 0.0;
    bool known = false;
    float before = 0.0;
    for (int s = 0; s <= ${n + m}; s++) {
      if (!known && j < ${m}) {
        uint odd = uint(2 * j + 1);
        uint q = whole * odd + left * odd / ${2 * m}u;
        while (inPart < ${n - 1} && sums[inPart + 1] <= q) inPart++;
        fine = near + (float(inPart) + float(q - sums[inPart]) / float(sums[inPart + 1] - sums[inPart])) * part;
        known = true;
      }
      float middle = near + (float(c) + 0.5) * part;
      float t = far;
      if (s < ${n + m}) {
        bool takeFine = known && (c >= ${n} || fine < middle);
        t = takeFine ? fine : middle;
        if (takeFine) {
          known = false;
          j++;
        } else {
          c++;
        }
      }
      if (s > 0 && before >= from && before < to) {
        vec3 x = eye + before * d;
        if (occupied(x) && !composite(x, before, t - before)) break;
      }
      before = t;
    }`;
}
