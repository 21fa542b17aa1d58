/** The fragment shader of a sequence: chapters 8 and 9 of the specification with its numbers filled in. */
import { Representation } from './decoder/syntax.generated.js';

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
  colour = vec4(texture(picture, gl_FragCoord.xy / size).rgb, 1.0);
}`;

const float = (v) => {
  const text = String(v);
  return /[.e]/.test(text) ? text : `${text}.0`;
};

const HEAD = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp usampler2D;

uniform sampler2D data;       // all grids, and the layers that are too large for a uniform block
uniform usampler2D occupancy; // bits, eight in a texel
uniform vec3 eye, right, up, back;
uniform vec4 lens;            // focal lengths and principal point, pixels
uniform float height;         // of the picture, pixels
uniform vec3 lo, hi;          // the box
uniform float stepLength;
uniform vec3 background;
out vec4 colour;

const float OPAQUE = 1e-4;    // R-RND-12
const float FAINT = 1e-5;     // samples of less weight have no colour of their own

vec4 fetch(int at) {
  return texelFetch(data, ivec2(at & ${TEXTURE_WIDTH - 1}, at >> ${TEXTURE_BITS}), 0);
}

// Arguments of sine and cosine within one turn: 2 pi in two parts.
vec4 turn(vec4 v) {
  vec4 n = floor(v * 0.15915494309 + 0.5);
  return (v - n * 6.28125) - n * 0.00193530717959;
}

`;

/**
 * The grids that densityAt and featuresAt read, in order, as the shader's uniform arrays have them: sizes along
 * x, y, z and the frequency, 0 for a linear mapping; base, vectors of a cell, where in the array they go, and flags.
 * The values of a product of grids are set by its first grid and multiplied by the next.
 */
export function gridsOf(plan) {
  const grids = [];
  const add = (grid, at, multiplies) => {
    const { info, base, map } = grid;
    const flags = (info.alignment === 1 ? 1 : 0) + (multiplies ? 2 : 0);
    grids.push({
      size: [info.width, info.height, info.depth, info.frequency / 65536],
      place: [base, map.length / 4, at, flags],
    });
  };
  const products = (list) => {
    let at = 0;
    for (const factors of list) {
      factors.forEach((grid, n) => add(grid, at, n > 0));
      at += factors[0].map.length / 4;
    }
    return at;
  };
  if (plan.coefficient !== null) {
    add(plan.coefficient, 0, false);
    let at = 0;
    for (const grid of plan.bases) {
      add(grid, at, true);
      at += grid.map.length / 4;
    }
    return { grids, split: grids.length, densities: 0 };
  }
  const densities = products(plan.density);
  const split = grids.length;
  products(plan.features);
  return { grids, split, densities };
}

/** R-FLD-05 to R-FLD-07 for the grids `from` to `to`. Along an axis with one sample only the first corner counts. */
const GRIDS = (count) => `
uniform vec4 gridSize[${count}];
uniform ivec4 gridPlace[${count}];

void sampleGrids(int from, int to, vec3 x) {
  for (int k = from; k < to; k++) {
    vec3 n = gridSize[k].xyz;
    float frequency = gridSize[k].w;
    ivec4 place = gridPlace[k];
    vec3 u = frequency > 0.0 ? fract((x - lo) * (frequency / longest)) : clamp((x - lo) / (hi - lo), 0.0, 1.0);
    vec3 p = (place.w & 1) == 1 ? clamp(u * n - 0.5, vec3(0.0), n - 1.0) : u * (n - 1.0);
    vec3 cell = min(floor(p), max(n - 2.0, 0.0));
    vec3 t = p - cell;
    ivec3 stride = ivec3(1, int(n.x), int(n.x) * int(n.y)) * place.y;
    ivec3 first = ivec3(cell) * stride;
    int at = place.x + first.x + first.y + first.z;
    for (int g = 0; g < place.y; g++) {
      vec4 sum = vec4(0.0);
      for (int c = 0; c < 8; c++) {
        ivec3 corner = ivec3(c, c >> 1, c >> 2) & 1;
        vec3 w = mix(1.0 - t, t, vec3(corner));
        float weight = w.x * w.y * w.z;
        ivec3 step = corner * stride;
        if (weight > 0.0) sum += weight * fetch(at + g + step.x + step.y + step.z);
      }
      if ((place.w & 2) == 2) sum *= a[place.z + g];
      a[place.z + g] = sum;
    }
  }
}
`;

/** GLSL of a layer's product: adds to sums[o] the block (o, i) times v. */
function block(layer, o, i) {
  const at = `(${o} * ${layer.inputs.length} + (${i}) * 4)`;
  const w = (k) => layer.at(`${at} + ${k}`);
  return `mat4(${w(0)}, ${w(1)}, ${w(2)}, ${w(3)})`;
}

function biasOf(layer, o) {
  return layer.bias === null ? 'vec4(0.0)' : layer.at(`${(layer.outputs.length / 4) * layer.inputs.length} + ${o}`);
}

/** Layers after one another, between the arrays a, of the first input, and b. Returns [code, array of the output]. */
function network(layers, encoded) {
  const out = [];
  let from = 'a';
  for (const layer of layers) {
    const to = from === 'a' ? 'b' : 'a';
    const plain = layer.inputs.length / 4 - (layer.skip ? encoded : 0);
    const value = layer.last ? 'sum' : 'max(sum, 0.0)';
    const product = `sum += ${block(layer, 'o', `i + ${plain}`)} * encoded[i]`;
    const skipped = layer.skip ? `for (int i = 0; i < ${encoded}; i++) ${product};` : '';
    out.push(`for (int o = 0; o < ${layer.outputs.length / 4}; o++) {
    vec4 sum = ${biasOf(layer, 'o')};
    for (int i = 0; i < ${plain}; i++) sum += ${block(layer, 'o', 'i')} * ${from}[i];
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

/**
 * @param {object} plan  of planOf; grids have `base`, layers `at(index)`, an expression for a vector
 * @param {string} blocks  declarations of the uniform blocks
 */
export function fragmentShader(plan, blocks) {
  const { header } = plan;
  const { representation } = header;
  const dif = representation === Representation.DIF;
  const mlp = representation === Representation.MLP;
  const { grids, split, densities } = gridsOf(plan);
  const width = Math.max(
    1,
    densities,
    plan.featureVectors,
    ...[...plan.fusion, ...plan.coarse].flatMap((l) => [
      l.inputs.length / 4 - (l.skip ? plan.enc : 0),
      l.outputs.length / 4,
    ]),
    ...plan.render.slice(1).map((l) => l.inputs.length / 4),
    ...plan.render.map((l) => l.outputs.length / 4),
  );
  const inside = dif || mlp;
  const [fusion, fused] = network(plan.fusion, plan.enc);
  let density = 'density';
  if (inside) density = `${fused}[${plan.featureCount >> 2}][${plan.featureCount & 3}]`;

  const [first, ...others] = plan.render;
  const outputs = first.outputs.length / 4;
  const m = header.featureFrequencies;
  const per = 1 + 2 * m;
  const target = fused === 'a' ? 'b' : 'a';
  // The first colour layer reads from one array and writes to the other.
  let [rest, result] = network(others, 0);
  if (target === 'b') {
    rest = rest.replace(/\b[ab]\[/g, (name) => (name === 'a[' ? 'b[' : 'a['));
    result = result === 'a' ? 'b' : 'a';
  }
  const directions = plan.direction.inputs.length / 4;
  const [coarse, coarsely] = plan.coarse.length ? network(plan.coarse, plan.enc) : ['', ''];
  const n = header.coarseSamples;

  return `${HEAD}
${blocks}
vec4 a[${width}];
vec4 b[${width}];
vec4 lit[${outputs}]; // what the first colour layer makes of the direction
${mlp ? `vec4 encoded[${plan.enc}];` : ''}
float longest;

${grids.length ? GRIDS(grids.length) : ''}
${
  mlp
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
  ${
    mlp
      ? `encodePosition(x);
  for (int i = 0; i < ${plan.enc}; i++) a[i] = encoded[i];`
      : `sampleGrids(0, ${split}, x);`
  }
  ${
    inside
      ? fusion
      : `float density = 0.0;
  for (int g = 0; g < ${densities}; g++) density += dot(a[g], vec4(1.0));`
  }
  return softplus(${density} + ${float(header.densityShift)});
}

void featuresAt(vec3 x) {
  ${inside ? '' : `sampleGrids(${split}, ${grids.length}, x);\n  ${fusion}`}
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

// Colour of the point whose density was asked for last (R-FLD-10, R-FLD-11).
vec3 colourAt() {
  for (int o = 0; o < ${outputs}; o++) ${target}[o] = lit[o];
  for (int i = 0; i < ${plan.featureVectors}; i++) {
    vec4 f = ${fused}[i];
    for (int s = 0; s < ${per}; s++) {
      vec4 v = f;
      if (s > 0) {
        vec4 r = turn(f * exp2(float(s <= ${m} ? s - 1 : s - ${m + 1})));
        v = s <= ${m} ? sin(r) : cos(r);
      }
      for (int o = 0; o < ${outputs}; o++) ${target}[o] += ${block(first, 'o', `i * ${per} + s`)} * v;
    }
  }
  ${others.length ? `for (int o = 0; o < ${outputs}; o++) ${target}[o] = max(${target}[o], 0.0);` : ''}
  ${rest}
  return 1.0 / (1.0 + exp(-${others.length ? result : target}[0].rgb));
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

vec3 total = vec3(0.0);
float through = 1.0;

// R-RND-08. False when the ray may end.
bool composite(vec3 x, float span) {
  if (!occupied(x)) return true;
  float alpha = 1.0 - exp(-densityAt(x) * span);
  float weight = through * alpha;
  if (weight > FAINT) {
    featuresAt(x);
    total += weight * colourAt();
  }
  through *= 1.0 - alpha;
  return through >= OPAQUE;
}

void main() {
  float row = height - gl_FragCoord.y;
  vec3 d = normalize(right * ((gl_FragCoord.x - lens.z) / lens.x) - up * ((row - lens.w) / lens.y) - back);
  vec3 sides = hi - lo;
  longest = max(sides.x, max(sides.y, sides.z));
  vec3 e = mix(d, vec3(1e-12), lessThan(abs(d), vec3(1e-12)));
  vec3 p = (lo - eye) / e;
  vec3 q = (hi - eye) / e;
  vec3 low = min(p, q);
  vec3 high = max(p, q);
  float near = max(0.0, max(low.x, max(low.y, low.z)));
  float far = min(high.x, min(high.y, high.z));
  if (far > near) {
    encodeDirection(d);
    ${
      n > 0
        ? placed(header, plan, coarse, coarsely)
        : `for (int i = 0; i <= 65535; i++) {
      float t = near + (float(i) + 0.5) * stepLength;
      if (t >= far || !composite(eye + t * d, stepLength)) break;
    }`
    }
  }
  vec3 seen = total + through * background;
  colour = vec4(all(lessThan(abs(seen), vec3(2.0))) ? seen : background, 1.0); // R-RND-15
}`;
}

/** Sampling by the coarse network (9.6). Sums are kept in integers, in units of 2^-30. */
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
      if (s > 0 && !composite(eye + before * d, t - before)) break;
      before = t;
    }`;
}
