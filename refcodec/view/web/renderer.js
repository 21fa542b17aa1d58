/** Pictures of a frame by WebGL2: data on the GPU, and passes of growing resolution drawn in tiles. */
import { boxOf } from './camera.js';
import { planOf } from './plan.js';
import { COPY, MOST_COARSE_SAMPLES, TEXTURE_WIDTH, VERTEX, fragmentShader, gridsOf } from './shader.js';

const QUICK = 40; // milliseconds that a first picture may take
const BATCH = 30; // milliseconds of one batch of pixels: the page stays responsive, and no watchdog bites
const COARSEST = 16;
const FIRST_BATCH = 256; // pixels, before the speed is known
const FIRST_PICTURE = 1000;

/** The graphics hardware cannot do it; for people. */
export class RendererError extends Error {}

export class Renderer {
  /** @param {HTMLCanvasElement} canvas  Throws RendererError. */
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext('webgl2', {
      antialias: false,
      alpha: false,
      preserveDrawingBuffer: true,
      powerPreference: 'high-performance',
    });
    if (!this.gl) throw new RendererError('This browser has no WebGL2, which the pictures need.');
    this.rate = 0; // pixels a millisecond; 0: not known
    this.job = null;
    this.onpicture = () => {}; // (finished: boolean, milliseconds)
    this.lost = false;
    canvas.addEventListener('webglcontextlost', (event) => {
      event.preventDefault();
      this.lost = true;
      this.job = null;
    });
    this.gl.bindVertexArray(this.gl.createVertexArray());
    this.copy = this._program(VERTEX, COPY);
    this.targets = [null, null];
  }

  _shader(type, source) {
    const { gl } = this;
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    return shader;
  }

  _program(vertex, fragment) {
    const { gl } = this;
    const program = gl.createProgram();
    const shaders = [this._shader(gl.VERTEX_SHADER, vertex), this._shader(gl.FRAGMENT_SHADER, fragment)];
    for (const shader of shaders) gl.attachShader(program, shader);
    gl.linkProgram(program);
    const uniforms = new Map();
    const uniform = (name) => {
      if (!uniforms.has(name)) uniforms.set(name, gl.getUniformLocation(program, name));
      return uniforms.get(name);
    };
    return { program, shaders, uniform };
  }

  /** Throws RendererError where the driver refuses the shader. */
  _checked({ program, shaders }) {
    const { gl } = this;
    if (gl.getProgramParameter(program, gl.LINK_STATUS)) return;
    const log = [gl.getProgramInfoLog(program), ...shaders.map((s) => gl.getShaderInfoLog(s))]
      .filter(Boolean)
      .join('\n');
    console.error(log);
    throw new RendererError(`The graphics driver refuses the field's shader: ${log.split('\n')[0]}`);
  }

  /** Prepares for the frames of a sequence; compiles in the background where the driver can. */
  async setSequence(header) {
    const { gl } = this;
    this.stop();
    if (header.coarseSamples > MOST_COARSE_SAMPLES) {
      throw new RendererError(
        `The field asks for ${header.coarseSamples} coarse samples a ray; there is room for ${MOST_COARSE_SAMPLES}.`,
      );
    }
    this._forget();
    this.header = header;
    this.plan = planOf(header);
    let rows = 0;
    const place = (item) => {
      item.base = rows * TEXTURE_WIDTH;
      rows += Math.ceil(item.vectors / TEXTURE_WIDTH);
    };
    const largest = gl.getParameter(gl.MAX_UNIFORM_BLOCK_SIZE) / 16;
    let spare = gl.getParameter(gl.MAX_FRAGMENT_UNIFORM_BLOCKS);
    const blocks = [];
    const layers = this.plan.items.filter((item) => item.kind === 'layer');
    for (const item of layers.slice().sort((a, b) => b.vectors - a.vectors)) {
      if (item.vectors > largest || spare === 0) {
        place(item);
        item.at = (index) => `fetch(${item.base} + ${index})`;
        continue;
      }
      spare--;
      item.block = blocks.length;
      blocks.push(item);
      item.buffer = gl.createBuffer();
      item.at = (index) => `W${item.block}[${index}]`;
    }
    for (const item of this.plan.items) if (item.kind === 'grid') place(item);
    if (rows > gl.getParameter(gl.MAX_TEXTURE_SIZE))
      throw new RendererError('The field is too large for this graphics hardware.');

    const declared = blocks.map(
      (item) => `layout(std140) uniform Block${item.block} { vec4 W${item.block}[${item.vectors}]; };`,
    );
    this.field = this._program(VERTEX, fragmentShader(this.plan, declared.join('\n')));
    const parallel = gl.getExtension('KHR_parallel_shader_compile');
    while (parallel && !this.lost && !gl.getProgramParameter(this.field.program, parallel.COMPLETION_STATUS_KHR)) {
      await new Promise((resolve) => {
        setTimeout(resolve, 5);
      });
    }
    this._checked(this.field);
    for (const item of blocks) {
      gl.uniformBlockBinding(
        this.field.program,
        gl.getUniformBlockIndex(this.field.program, `Block${item.block}`),
        item.block,
      );
    }
    const { grids } = gridsOf(this.plan);
    if (grids.length > 0) {
      gl.useProgram(this.field.program);
      gl.uniform4fv(
        this.field.uniform('gridSize'),
        grids.flatMap((g) => g.size),
      );
      gl.uniform4iv(
        this.field.uniform('gridPlace'),
        grids.flatMap((g) => g.place),
      );
    }
    this.blocks = blocks;
    this.uploaded = new Array(this.plan.items.length).fill(null);
    this.data = this._texture(gl.TEXTURE_2D, () =>
      gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA32F, TEXTURE_WIDTH, Math.max(1, rows)),
    );
    const bytes = Math.ceil(header.voxels / 8);
    this.bitRows = Math.max(1, Math.ceil(bytes / TEXTURE_WIDTH));
    this.bits = this._texture(gl.TEXTURE_2D, () =>
      gl.texStorage2D(gl.TEXTURE_2D, 1, gl.R8UI, TEXTURE_WIDTH, this.bitRows),
    );
    this.shownBits = null;
    this.rate = 0;
    this._warm();
  }

  /** Draws one pixel of nothing: drivers finish compiling at the first draw, while the first frame is being decoded. */
  _warm() {
    const { gl } = this;
    this.scene = this.header.scenes[0];
    for (const item of this.blocks) {
      gl.bindBuffer(gl.UNIFORM_BUFFER, item.buffer);
      gl.bufferData(gl.UNIFORM_BUFFER, 16 * item.vectors, gl.DYNAMIC_DRAW);
    }
    const [lo, hi] = boxOf(this.scene);
    const eye = lo.map((v, i) => (v + hi[i]) / 2);
    this._prepare({
      view: { eye, right: [1, 0, 0], up: [0, 1, 0], back: [0, 0, 1], focal: [1, 1], centre: [0.5, 0.5] },
      steps: 1e-4,
      target: this._target(0, 1, 1),
    });
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.disable(gl.SCISSOR_TEST);
    gl.flush();
    this.scene = null;
  }

  /** Frees what belongs to the sequence before. */
  _forget() {
    const { gl } = this;
    if (!this.field) return;
    gl.deleteProgram(this.field.program);
    for (const item of this.blocks) gl.deleteBuffer(item.buffer);
    gl.deleteTexture(this.data);
    gl.deleteTexture(this.bits);
    this.field = null;
  }

  _texture(kind, allocate, filter = this.gl.NEAREST) {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.bindTexture(kind, texture);
    allocate();
    gl.texParameteri(kind, gl.TEXTURE_MIN_FILTER, filter);
    gl.texParameteri(kind, gl.TEXTURE_MAG_FILTER, filter);
    gl.texParameteri(kind, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(kind, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    return texture;
  }

  /** The frame to draw: only what differs from the one before goes to the GPU. */
  setFrame(frame) {
    const { gl } = this;
    if (this.lost) return;
    this.scene = this.header.scenes[frame.scene];
    this.plan.items.forEach((item, i) => {
      const values = frame.items[i];
      if (this.uploaded[i] === values) return;
      this.uploaded[i] = values;
      if (item.buffer) {
        gl.bindBuffer(gl.UNIFORM_BUFFER, item.buffer);
        gl.bufferData(gl.UNIFORM_BUFFER, values, gl.DYNAMIC_DRAW);
        return;
      }
      gl.bindTexture(gl.TEXTURE_2D, this.data);
      upload(gl, values, 4, item.base / TEXTURE_WIDTH, gl.RGBA, gl.FLOAT);
    });
    if (frame.occupancy.length > 0 && this.shownBits !== frame.occupancy) {
      this.shownBits = frame.occupancy;
      gl.bindTexture(gl.TEXTURE_2D, this.bits);
      upload(gl, frame.occupancy, 1, 0, gl.RED_INTEGER, gl.UNSIGNED_BYTE);
    }
  }

  _target(number, width, height) {
    const { gl } = this;
    const old = this.targets[number];
    if (old && old.width === width && old.height === height) return old;
    if (old) {
      gl.deleteTexture(old.texture);
      gl.deleteFramebuffer(old.framebuffer);
    }
    const texture = this._texture(
      gl.TEXTURE_2D,
      () => gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA8, width, height),
      gl.LINEAR,
    );
    const framebuffer = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    return (this.targets[number] = { texture, framebuffer, width, height });
  }

  stop() {
    this.job = null;
  }

  /**
   * Begins a picture; what was being drawn is given up.
   * @param {object} view  { eye, right, up, back, focal, centre } for a picture of the canvas' size
   * @param {{steps: number, resolution: number, refine: boolean}} quality  steps, resolution: factors up to 1;
   *   refine: go on from a quick picture to the full one
   */
  draw(view, { steps = 1, resolution = 1, refine = true } = {}) {
    if (this.lost || !this.field || !this.scene) return;
    const { canvas } = this;
    const pixels = canvas.width * canvas.height * resolution ** 2;
    const affordable = this.rate > 0 ? Math.max(this.rate * QUICK, pixels / COARSEST ** 2) : FIRST_PICTURE;
    const scale = pixels > affordable * 1.5 ? resolution * Math.sqrt(affordable / pixels) : resolution;
    const passes = [scale];
    if (refine) {
      while (passes.at(-1) * 4 < resolution) passes.push(passes.at(-1) * 4);
      if (passes.at(-1) < resolution) passes.push(resolution);
    }
    this.job = { view, steps, passes, pass: -1, started: performance.now(), shown: null };
    this._nextPass(this.job);
  }

  _nextPass(job) {
    job.pass++;
    const scale = job.passes[job.pass];
    const size = [this.canvas.width, this.canvas.height].map((n) => Math.max(1, Math.round(n * scale)));
    const free = job.shown === this.targets[0] && job.shown !== null ? 1 : 0;
    job.target = this._target(free, ...size);
    if (job.shown !== null) this._stretch(job.shown, job.target);
    job.row = 0;
    job.column = 0;
    this._batch(job);
  }

  /** Draws some tiles and comes back when the GPU is done with them. */
  _batch(job) {
    const { gl } = this;
    const { target } = job;
    const begun = performance.now();
    let budget = this.rate > 0 ? Math.max(64, this.rate * BATCH) : FIRST_BATCH;
    let drawn = 0;
    this._prepare(job);
    while (budget > 0 && job.row < target.height) {
      // Whole rows where they fit, else a part of one.
      const width = Math.min(target.width - job.column, Math.ceil(budget));
      const rows =
        job.column === 0 && width === target.width
          ? Math.max(1, Math.min(target.height - job.row, Math.floor(budget / width)))
          : 1;
      gl.scissor(job.column, target.height - job.row - rows, width, rows);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
      budget -= width * rows;
      drawn += width * rows;
      job.column += width;
      if (job.column >= target.width) {
        job.column = 0;
        job.row += rows;
      }
    }
    gl.disable(gl.SCISSOR_TEST);
    const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    const poll = () => {
      if (this.lost) return;
      const status = gl.getSyncParameter(fence, gl.SYNC_STATUS);
      if (status !== gl.SIGNALED) {
        setTimeout(poll, 1);
        return;
      }
      gl.deleteSync(fence);
      const rate = drawn / Math.max(0.5, performance.now() - begun);
      this.rate = this.rate > 0 ? 0.7 * this.rate + 0.3 * rate : rate;
      if (this.job === job) this._drawn(job);
    };
    setTimeout(poll, 0);
  }

  _drawn(job) {
    const done = job.row >= job.target.height;
    const last = done && job.pass === job.passes.length - 1;
    if (done) job.shown = job.target;
    if (done || job.pass > 0) {
      this._show(job.target);
      this.onpicture(last, performance.now() - job.started, job.pass);
    }
    if (last) this.job = null;
    else if (done) this._nextPass(job);
    else this._batch(job);
  }

  _prepare({ view, steps, target }) {
    const { gl, scene } = this;
    const { program, uniform } = this.field;
    gl.useProgram(program);
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.framebuffer);
    gl.viewport(0, 0, target.width, target.height);
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(0, 0, target.width, target.height);
    const x = target.width / this.canvas.width;
    const y = target.height / this.canvas.height;
    for (const name of ['eye', 'right', 'up', 'back']) gl.uniform3fv(uniform(name), view[name]);
    gl.uniform4f(uniform('lens'), view.focal[0] * x, view.focal[1] * y, view.centre[0] * x, view.centre[1] * y);
    gl.uniform1f(uniform('height'), target.height);
    const [lo, hi] = boxOf(scene);
    gl.uniform3fv(uniform('lo'), lo);
    gl.uniform3fv(uniform('hi'), hi);
    gl.uniform1f(
      uniform('stepLength'),
      Math.hypot(...hi.map((v, i) => v - lo[i])) / Math.max(1, Math.round(scene.samplesPerDiagonal * steps)),
    );
    gl.uniform3fv(
      uniform('background'),
      scene.background.map((v) => v / 255),
    );
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.data);
    gl.uniform1i(uniform('data'), 0);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, this.bits);
    gl.uniform1i(uniform('occupancy'), 1);
    gl.activeTexture(gl.TEXTURE0);
    for (const item of this.blocks) gl.bindBufferBase(gl.UNIFORM_BUFFER, item.block, item.buffer);
  }

  _stretch(from, to) {
    const { gl, copy } = this;
    gl.useProgram(copy.program);
    gl.bindFramebuffer(gl.FRAMEBUFFER, to ? to.framebuffer : null);
    const size = to ? [to.width, to.height] : [this.canvas.width, this.canvas.height];
    gl.viewport(0, 0, ...size);
    gl.bindTexture(gl.TEXTURE_2D, from.texture);
    gl.uniform2f(copy.uniform('size'), ...size);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  _show(target) {
    this._stretch(target, null);
  }

  /** The picture as it was drawn last: RGBA, rows from the top. */
  pixels() {
    const { gl, canvas } = this;
    const { width, height } = canvas;
    const flipped = new Uint8Array(4 * width * height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, flipped);
    const data = new Uint8Array(flipped.length);
    for (let y = 0; y < height; y++)
      data.set(flipped.subarray(4 * width * (height - 1 - y), 4 * width * (height - y)), 4 * width * y);
    return { width, height, data };
  }
}

/** Vectors (or bytes) into rows of a texture, from a row on. */
function upload(gl, values, components, row, format, type) {
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  const perRow = TEXTURE_WIDTH * components;
  const whole = Math.floor(values.length / perRow);
  if (whole > 0)
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, row, TEXTURE_WIDTH, whole, format, type, values.subarray(0, whole * perRow));
  const rest = (values.length - whole * perRow) / components;
  if (rest > 0)
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, row + whole, rest, 1, format, type, values.subarray(whole * perRow));
}
