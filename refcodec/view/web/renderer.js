/** Pictures of a frame by WebGL2: data on the GPU, and passes of growing resolution. */
import { boxOf } from './camera.js';
import { SPARE_TEXTURES, bounded, giveTextures, placeRows } from './layout.js';
import { blocksOf } from './occupancy.js';
import { planOf } from './plan.js';
import { COPY, MOST_COARSE_SAMPLES, TEXTURE_WIDTH, VERTEX, fragmentShader } from './shader.js';

const QUICK = 30; // milliseconds that a picture may take while something moves
const BATCH = 60; // milliseconds of one batch of rows: the page stays responsive, and no watchdog bites
const COARSEST = 16;
const FIRST_BATCH = 256; // pixels, before the speed is known
const FIRST_PICTURE = 1000;

/** The graphics hardware cannot do it; for people. */
export class RendererError extends Error {}

/** A program for a sequence in one quality, and the data that it reads. */
class Look {
  constructor(gl, header, quality) {
    this.gl = gl;
    this.quality = quality;
    this.rate = 0; // pixels a millisecond; 0: not known
    const plan = (this.plan = planOf(header));
    giveTextures(plan, quality === 'fast', gl.getParameter(gl.MAX_TEXTURE_SIZE), gl.getParameter(gl.MAX_3D_TEXTURE_SIZE));
    const largest = gl.getParameter(gl.MAX_UNIFORM_BLOCK_SIZE) / 16;
    let spare = gl.getParameter(gl.MAX_FRAGMENT_UNIFORM_BLOCKS);
    this.blocks = [];
    const layers = plan.items.filter((item) => item.kind === 'layer');
    for (const item of layers.sort((a, b) => b.vectors - a.vectors)) {
      if (item.vectors > largest || spare === 0) continue;
      spare--;
      item.block = this.blocks.length;
      item.at = (index) => `W${item.block}[${index}]`;
      this.blocks.push(item);
    }
    this.rows = placeRows(plan);
    if (this.rows > gl.getParameter(gl.MAX_TEXTURE_SIZE))
      throw new RendererError('The field is too large for this graphics hardware.');
    const declared = this.blocks.map(
      (item) => `layout(std140) uniform Block${item.block} { vec4 W${item.block}[${item.vectors}]; };`,
    );
    this.program = makeProgram(gl, VERTEX, fragmentShader(plan, quality, declared.join('\n')));
    this.ready = false;
  }

  /** Waits for the compiler, which works beside the page where the browser can. Throws RendererError. */
  async compile(lost) {
    const { gl, program } = this;
    const parallel = gl.getExtension('KHR_parallel_shader_compile');
    // Without the extension, the fence comes back when the linker has, and asking earlier would block the page.
    const fence = parallel ? null : gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    if (fence) gl.flush();
    const busy = () =>
      parallel
        ? !gl.getProgramParameter(program.program, parallel.COMPLETION_STATUS_KHR)
        : gl.getSyncParameter(fence, gl.SYNC_STATUS) !== gl.SIGNALED;
    while (!lost() && busy()) {
      await new Promise((resolve) => {
        setTimeout(resolve, 4);
      });
    }
    if (lost()) return;
    checked(gl, program);
    for (const item of this.blocks) {
      const index = gl.getUniformBlockIndex(program.program, `Block${item.block}`);
      gl.uniformBlockBinding(program.program, index, item.block);
      item.buffer = gl.createBuffer();
      gl.bindBuffer(gl.UNIFORM_BUFFER, item.buffer);
      gl.bufferData(gl.UNIFORM_BUFFER, 16 * item.vectors, gl.DYNAMIC_DRAW);
    }
    this.data = makeTexture(gl, gl.TEXTURE_2D, () =>
      gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA32F, TEXTURE_WIDTH, this.rows),
    );
    this.textured = this.plan.items.filter((item) => item.texture);
    for (const { texture } of this.textured) {
      const { size, filtered } = texture;
      const format = filtered ? gl.RGBA16F : gl.RGBA32F;
      texture.kind = size.length === 3 ? gl.TEXTURE_3D : gl.TEXTURE_2D;
      texture.handle = makeTexture(
        gl,
        texture.kind,
        () =>
          size.length === 3
            ? gl.texStorage3D(gl.TEXTURE_3D, 1, format, ...size)
            : gl.texStorage2D(gl.TEXTURE_2D, 1, format, ...size),
        filtered ? gl.LINEAR : gl.NEAREST,
      );
    }
    this.uploaded = new Array(this.plan.items.length).fill(null);
    this.ready = true;
  }

  /** Only what differs from the frame before goes to the GPU. */
  supply(frame) {
    const { gl } = this;
    this.plan.items.forEach((item, i) => {
      const values = frame.items[i];
      if (this.uploaded[i] === values) return;
      this.uploaded[i] = values;
      if (item.buffer) {
        gl.bindBuffer(gl.UNIFORM_BUFFER, item.buffer);
        gl.bufferData(gl.UNIFORM_BUFFER, values, gl.DYNAMIC_DRAW);
      } else if (item.texture) {
        const { kind, handle, size, filtered } = item.texture;
        gl.bindTexture(kind, handle);
        gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
        const texels = filtered ? bounded(values) : values;
        if (size.length === 3)
          gl.texSubImage3D(kind, 0, 0, 0, 0, ...size, gl.RGBA, gl.FLOAT, texels);
        else gl.texSubImage2D(kind, 0, 0, 0, ...size, gl.RGBA, gl.FLOAT, texels);
      } else {
        gl.bindTexture(gl.TEXTURE_2D, this.data);
        upload(gl, values, 4, item.base / TEXTURE_WIDTH, gl.RGBA, gl.FLOAT);
      }
    });
  }

  bind() {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.data);
    gl.uniform1i(this.program.uniform('data'), 0);
    this.textured.forEach(({ texture }, i) => {
      gl.activeTexture(gl.TEXTURE0 + SPARE_TEXTURES + i);
      gl.bindTexture(texture.kind, texture.handle);
      gl.uniform1i(this.program.uniform(texture.name), SPARE_TEXTURES + i);
    });
    for (const item of this.blocks) gl.bindBufferBase(gl.UNIFORM_BUFFER, item.block, item.buffer);
  }

  dispose() {
    const { gl } = this;
    gl.deleteProgram(this.program.program);
    for (const item of this.blocks) if (item.buffer) gl.deleteBuffer(item.buffer);
    if (this.data) gl.deleteTexture(this.data);
    for (const { texture } of this.textured ?? []) gl.deleteTexture(texture.handle);
  }
}

export class Renderer {
  /**
   * @param {HTMLCanvasElement} canvas  Throws RendererError.
   * @param {{transparent?: boolean}} options  transparent: the page shows where the field does not cover it
   */
  constructor(canvas, { transparent = false } = {}) {
    this.canvas = canvas;
    this.transparent = transparent;
    this.background = null; // 0 … 1; null: the scene's
    let reason = '';
    const failed = (event) => {
      reason = event.statusMessage;
    };
    canvas.addEventListener('webglcontextcreationerror', failed);
    this.gl = canvas.getContext('webgl2', {
      antialias: false,
      alpha: transparent,
      depth: false,
      preserveDrawingBuffer: true,
      powerPreference: 'high-performance',
    });
    canvas.removeEventListener('webglcontextcreationerror', failed);
    if (!this.gl && typeof WebGL2RenderingContext === 'undefined')
      throw new RendererError('This browser has no WebGL2, which the pictures need.');
    if (!this.gl) {
      throw new RendererError(
        `WebGL2 could not be started${reason ? ` (${reason})` : ''}. The graphics driver may be blocked or have crashed; restarting the browser can help.`,
      );
    }
    this.job = null;
    this.onpicture = () => {}; // (finished: boolean, milliseconds, quality, scale)
    this.onlost = () => {};
    this.onrestored = () => {};
    this.lost = false;
    this.looks = new Map(); // quality: Look
    this._listeners = {
      webglcontextlost: (event) => {
        event.preventDefault();
        this.lost = true;
        this.job = null;
        this.onlost();
      },
      webglcontextrestored: () => this._restore(),
    };
    for (const [name, listener] of Object.entries(this._listeners)) canvas.addEventListener(name, listener);
    this._begin();
  }

  _begin() {
    const { gl } = this;
    this.looks.clear();
    this.frame = null;
    gl.bindVertexArray(gl.createVertexArray());
    this.copy = checked(gl, makeProgram(gl, VERTEX, COPY));
    this.targets = [null, null];
  }

  async _restore() {
    const { header, frame } = this;
    this.lost = false;
    this._begin();
    if (header) await this.setSequence(header);
    if (frame) this.setFrame(frame);
    this.onrestored();
  }

  /** Prepares for the frames of a sequence, in the quality that is needed first. Throws RendererError. */
  async setSequence(header, quality = 'fast') {
    const { gl } = this;
    this.stop();
    if (header.coarseSamples > MOST_COARSE_SAMPLES) {
      throw new RendererError(
        `The field asks for ${header.coarseSamples} coarse samples a ray; there is room for ${MOST_COARSE_SAMPLES}.`,
      );
    }
    await this._forget();
    this.header = header;
    const bytes = Math.ceil(header.voxels / 8);
    this.bits = makeTexture(gl, gl.TEXTURE_2D, () =>
      gl.texStorage2D(gl.TEXTURE_2D, 1, gl.R8UI, TEXTURE_WIDTH, Math.max(1, Math.ceil(bytes / TEXTURE_WIDTH))),
    );
    this.blocks = blocksOf(header.occupancyDims);
    this.distances = makeTexture(gl, gl.TEXTURE_3D, () =>
      gl.texStorage3D(gl.TEXTURE_3D, 1, gl.R8UI, ...this.blocks),
    );
    this.shownBits = null;
    await this.prepare(quality);
  }

  /** The program of a quality: compiled when it is first asked for. Throws RendererError. */
  prepare(quality) {
    let look = this.looks.get(quality);
    if (!look) {
      look = new Look(this.gl, this.header, quality);
      this.looks.set(quality, look);
      look.compiled = look.compile(() => this.lost).then(() => {
        if (look.ready && !this.lost && this.looks.get(quality) === look) this._warm(look);
      });
    }
    return look.compiled;
  }

  /** Whether pictures of a quality can be drawn at once. */
  isReady(quality) {
    return this.looks.get(quality)?.ready === true;
  }

  /** Draws one pixel of nothing: drivers finish compiling at the first draw, while the first frame is being decoded. */
  _warm(look) {
    const { gl } = this;
    const [scene] = this.header.scenes;
    const [lo, hi] = boxOf(scene);
    const eye = lo.map((v, i) => (v + hi[i]) / 2);
    const view = { eye, right: [1, 0, 0], up: [0, 1, 0], back: [0, 0, 1], focal: [1, 1], centre: [0.5, 0.5] };
    this._bind(look, view, this._target(0, 1, 1), scene, 1e-4);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.disable(gl.SCISSOR_TEST);
    gl.flush();
  }

  /** Frees what belongs to the sequence before. */
  async _forget() {
    const { gl } = this;
    const looks = [...this.looks.values()];
    this.looks.clear();
    for (const look of looks) {
      await look.compiled.catch(() => {});
      look.dispose();
    }
    if (this.bits) gl.deleteTexture(this.bits);
    if (this.distances) gl.deleteTexture(this.distances);
    this.bits = this.distances = this.frame = null;
  }

  /** Frees everything. */
  dispose() {
    this.stop();
    const { gl, canvas } = this;
    for (const [name, listener] of Object.entries(this._listeners)) canvas.removeEventListener(name, listener);
    this.lost = true;
    gl.getExtension('WEBGL_lose_context')?.loseContext();
  }

  /** The frame to draw. */
  setFrame(frame) {
    const { gl } = this;
    this.frame = frame;
    if (this.lost || !this.header) return;
    if (frame.occupancy.length > 0 && this.shownBits !== frame.occupancy) {
      this.shownBits = frame.occupancy;
      gl.bindTexture(gl.TEXTURE_2D, this.bits);
      upload(gl, frame.occupancy, 1, 0, gl.RED_INTEGER, gl.UNSIGNED_BYTE);
      gl.bindTexture(gl.TEXTURE_3D, this.distances);
      gl.texSubImage3D(
        gl.TEXTURE_3D,
        0,
        0,
        0,
        0,
        ...this.blocks,
        gl.RED_INTEGER,
        gl.UNSIGNED_BYTE,
        frame.distances,
      );
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
    const texture = makeTexture(
      gl,
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
   * Begins a picture; what was being drawn is given up. False where nothing can be drawn yet.
   * @param {object} view  { eye, right, up, back, focal, centre } for a picture of the canvas' size
   * @param {{quality: string, resolution: number, refine: ?string}} options  quality: of the first picture, which is
   *   as fine as a moment allows; resolution: factor up to 1; refine: quality of the pictures after it, up to the
   *   full resolution; null: there are none
   */
  draw(view, { quality = 'fast', resolution = 1, refine = null } = {}) {
    if (this.lost || !this.frame || !this.isReady(quality)) return false;
    const { canvas } = this;
    const { rate } = this.looks.get(quality);
    const pixels = canvas.width * canvas.height * resolution ** 2;
    const affordable = rate > 0 ? Math.max(rate * QUICK, pixels / COARSEST ** 2) : FIRST_PICTURE;
    const scale = pixels > affordable * 1.5 ? resolution * Math.sqrt(affordable / pixels) : resolution;
    const passes = [{ quality, scale }];
    if (refine !== null && this.isReady(refine)) {
      for (let s = scale * 4; s < resolution; s *= 4) passes.push({ quality, scale: s });
      if (scale < resolution || refine !== quality) passes.push({ quality: refine, scale: resolution });
    }
    this.job = { view, passes, pass: -1, started: performance.now(), last: 0, scene: this.header.scenes[this.frame.scene] };
    this._nextPass(this.job);
    return true;
  }

  _nextPass(job) {
    job.pass++;
    const { scale, quality } = job.passes[job.pass];
    job.look = this.looks.get(quality);
    job.look.supply(this.frame);
    const size = [this.canvas.width, this.canvas.height].map((n) => Math.max(1, Math.round(n * scale)));
    job.target = this._target(0, ...size);
    job.row = 0;
    this._batch(job);
  }

  /** Draws some rows and comes back when the GPU is done with them. */
  _batch(job) {
    const { gl } = this;
    const { target, look } = job;
    const begun = performance.now();
    const budget = look.rate > 0 ? look.rate * BATCH : FIRST_BATCH;
    const rows = Math.max(1, Math.min(target.height - job.row, Math.floor(budget / target.width)));
    this._bind(look, job.view, target, job.scene, 1);
    gl.scissor(0, target.height - job.row - rows, target.width, rows);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.disable(gl.SCISSOR_TEST);
    job.row += rows;
    const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    const poll = () => {
      if (this.lost) return;
      if (gl.getSyncParameter(fence, gl.SYNC_STATUS) !== gl.SIGNALED) {
        setTimeout(poll, 1);
        return;
      }
      gl.deleteSync(fence);
      const rate = (rows * target.width) / Math.max(0.5, performance.now() - begun);
      look.rate = look.rate > 0 ? 0.6 * look.rate + 0.4 * rate : rate;
      if (this.job === job) this._drawn(job);
    };
    setTimeout(poll, 0);
  }

  _drawn(job) {
    if (job.row < job.target.height) {
      this._batch(job);
      return;
    }
    const last = job.pass === job.passes.length - 1;
    if (last) this.job = null;
    this._show(job.target);
    const { quality, scale } = job.passes[job.pass];
    this.onpicture(last, performance.now() - job.started, quality, scale, job.pass);
    if (!last && this.job === job) this._nextPass(job);
  }

  _bind(look, view, target, scene, length) {
    const { gl } = this;
    const { program, uniform } = look.program;
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
    const diagonal = Math.hypot(...hi.map((v, i) => v - lo[i]));
    gl.uniform1f(uniform('stepLength'), diagonal / Math.max(1, Math.round(scene.samplesPerDiagonal * length)));
    const colour = this.background ?? scene.background.map((v) => v / 255);
    gl.uniform4f(uniform('background'), ...colour, this.transparent ? 0 : 1);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, this.bits);
    gl.uniform1i(uniform('occupancy'), 1);
    gl.activeTexture(gl.TEXTURE2);
    gl.bindTexture(gl.TEXTURE_3D, this.distances);
    gl.uniform1i(uniform('distances'), 2);
    look.bind();
    gl.activeTexture(gl.TEXTURE0);
  }

  _show(target) {
    const { gl, copy, canvas } = this;
    gl.useProgram(copy.program);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, target.texture);
    gl.uniform2f(copy.uniform('size'), canvas.width, canvas.height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
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

function makeProgram(gl, vertex, fragment) {
  const program = gl.createProgram();
  const shaders = [
    [gl.VERTEX_SHADER, vertex],
    [gl.FRAGMENT_SHADER, fragment],
  ].map(([type, source]) => {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    return shader;
  });
  gl.linkProgram(program);
  const uniforms = new Map();
  const uniform = (name) => {
    if (!uniforms.has(name)) uniforms.set(name, gl.getUniformLocation(program, name));
    return uniforms.get(name);
  };
  return { program, shaders, uniform };
}

/** The program; throws RendererError where the driver refuses it. */
function checked(gl, program) {
  if (!gl.getProgramParameter(program.program, gl.LINK_STATUS) && !gl.isContextLost()) {
    const log = [gl.getProgramInfoLog(program.program), ...program.shaders.map((s) => gl.getShaderInfoLog(s))]
      .filter(Boolean)
      .join('\n');
    console.error(log);
    throw new RendererError(`The graphics driver refuses the field's shader: ${log.split('\n')[0]}`);
  }
  for (const shader of program.shaders) gl.deleteShader(shader);
  return program;
}

function makeTexture(gl, kind, allocate, filter = gl.NEAREST) {
  const texture = gl.createTexture();
  gl.bindTexture(kind, texture);
  allocate();
  gl.texParameteri(kind, gl.TEXTURE_MIN_FILTER, filter);
  gl.texParameteri(kind, gl.TEXTURE_MAG_FILTER, filter);
  for (const axis of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R])
    gl.texParameteri(kind, axis, gl.CLAMP_TO_EDGE);
  return texture;
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
