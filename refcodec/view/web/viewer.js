/** A canvas that plays a stream: camera, playback, what is drawn when. No controls. */
import { Camera, boxOf, upOf } from './camera.js';
import { RfvError, RfvStream } from './frames.js';
import { Playback } from './playback.js';
import { Renderer } from './renderer.js';

const SETTLED = 150; // milliseconds without movement after which the full picture is drawn
const MOST_RATIO = 2; // device pixels a CSS pixel beyond which nobody sees a difference

/**
 * Qualities: of pictures while something moves, and of those that follow when it stands still.
 * `fast` shades once a ray; `exact` is the picture of chapter 9.
 */
export const QUALITIES = { auto: ['fast', 'exact'], fast: ['fast', 'fast'], exact: ['exact', 'exact'] };

/**
 * Events, with `detail`: ready; frame { number, position, time }; picture { final, milliseconds, quality, scale };
 * progress { loaded, size }; lost { error, positions }; camera; playing { playing }; error { error }.
 */
export class Viewer extends Playback {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{makeWorker?: () => Worker, transparent?: boolean, quality?: string, loop?: boolean}} options
   */
  constructor(canvas, { makeWorker, transparent = false, quality = 'auto', loop = true } = {}) {
    super({ loop });
    this.canvas = canvas;
    this.makeWorker = makeWorker;
    this.transparent = transparent;
    this.camera = new Camera();
    this.choice = null; // of a camera: its number as text, around, or free
    this.ratio = null; // canvas pixels a CSS pixel; null: as dense as the screen
    this.fixed = null; // [width, height] of a picture that is asked for
    this.quality = quality;
    this.bytes = new Map(); // position: bytes by component
    this.decoding = { frames: 0, milliseconds: 0, symbols: 0 };
    this.drawn = { milliseconds: 0, times: [], scale: 1, quality: null };
    this.timings = {}; // milliseconds from the start to opened, compiled, decoded, picture
    this.waiting = [];
    this.renderer = null;
  }

  /** Opens a source (see RfvStream). Rejects with RfvError or RendererError. */
  async open(source, { scene = null, signal } = {}) {
    this.close();
    const opened = (this.opening = Symbol('opening'));
    this.started = performance.now();
    const stream = (this.stream = new RfvStream(source, { makeWorker: this.makeWorker, signal }));
    stream.addEventListener('frame', ({ detail }) => this._decoded(detail));
    stream.addEventListener('lost', ({ detail }) => this._lost(detail));
    stream.addEventListener('progress', ({ detail }) => this._tell('progress', detail));
    // The worker starts while the graphics do.
    const opening = stream.open();
    opening.catch(() => {});
    if (!this.renderer) {
      this.renderer = new Renderer(this.canvas, { transparent: this.transparent });
      this.renderer.onpicture = (...told) => this._pictured(...told);
      this.renderer.onlost = () => this._tell('contextlost', {});
      this.renderer.onrestored = () => {
        this._tell('contextrestored', {});
        this._changed(true);
      };
      this.observer = new ResizeObserver(() => this._resize());
      this.observer.observe(this.canvas);
    }
    await opening;
    this._reached('opened');
    this.header = stream.header;
    if (stream.frames.length === 0) throw new RfvError({ message: 'The file holds no frame.' });
    this.scenes = [...new Set(stream.frames.map((f) => f.scene))];
    this.chooseScene(this.scenes.includes(scene) ? scene : stream.frames[0].scene);
    await this.renderer.setSequence(this.header, QUALITIES[this.quality][0]);
    if (this.opening !== opened) return;
    this._reached('compiled');
    this.ready = true;
    this._resize();
    this._tell('ready', {});
    this._tick(performance.now());
  }

  /** Ends the stream; the canvas keeps its picture. */
  close() {
    cancelAnimationFrame(this.request);
    this.request = null;
    this.pause();
    this.stream?.dispose();
    this.renderer?.stop();
    for (const { reject } of this.waiting.splice(0)) reject(new DOMException('Closed.', 'AbortError'));
    Object.assign(this, { stream: null, ready: false, opening: null, shown: -1 });
    this.bytes.clear();
    this.times.clear();
    this.decoding = { frames: 0, milliseconds: 0, symbols: 0 };
    this.timings = {};
  }

  /** Frees everything; the canvas cannot be used again. */
  dispose() {
    this.close();
    this.observer?.disconnect();
    this.renderer?.dispose();
    this.renderer = null;
  }

  _reached(what) {
    this.timings[what] ??= performance.now() - this.started;
  }

  // What is shown

  get quality() {
    return this._quality;
  }

  set quality(name) {
    this._quality = Object.hasOwn(QUALITIES, name) ? name : 'auto';
    this._changed(true);
  }

  /** Colour behind the field, 0 … 1 for each channel; null: the scene's. */
  set background(colour) {
    if (this.renderer) this.renderer.background = colour;
    this._changed(true);
  }

  chooseScene(scene) {
    const { cameras } = this.stream;
    this.scene = scene;
    this.range = this.rangeOf(scene);
    this.cameras = cameras.filter((c) => c.scene === scene);
    this.box = boxOf(this.header.scenes[scene]);
    this.chooseCamera(null);
    this.seek(this.range[0]);
  }

  /** A camera by its number or name, or `around`; the first one for what is not there. */
  chooseCamera(which) {
    const { cameras, box } = this;
    const up = upOf(cameras);
    const text = String(which);
    let at = cameras.findIndex((c) => c.name !== '' && c.name === text);
    if (at < 0 && /^\d+$/.test(text) && Number(text) < cameras.length) at = Number(text);
    if (at < 0 && text !== 'around') at = cameras.length > 0 ? 0 : -1;
    if (at < 0) this.camera.around(box, up);
    else this.camera.from(cameras[at], box, up);
    this.choice = at < 0 ? 'around' : String(at);
    this.home = this.choice;
    this.cameraMoved(false);
  }

  resetCamera() {
    this.chooseCamera(this.home);
  }

  /** A free camera: arrays of three numbers. */
  look({ eye, target, up = this.camera.up }) {
    this.camera.at(eye, target, up, this.box);
    this.cameraMoved();
  }

  /** Tells that `camera` has been changed. */
  cameraMoved(free = true) {
    if (free) this.choice = 'free';
    this._changed();
    this._tell('camera', { camera: this.choice });
  }

  _resize() {
    const { canvas } = this;
    const ratio = this.ratio ?? Math.min(globalThis.devicePixelRatio || 1, MOST_RATIO);
    const width = Math.max(1, Math.round(this.fixed?.[0] ?? canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(this.fixed?.[1] ?? canvas.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    this._changed(true);
  }

  /** Looks again at what is to be drawn; the page rests while there is nothing. */
  _wake() {
    if (!this.ready || this.request) return;
    this.request = requestAnimationFrame((now) => this._tick(now));
  }

  _tick(now) {
    this.request = null;
    if (!this.ready) return;
    const { stream } = this;
    if (this.playing && this.shown === this.position) this._advance(now);
    const frame = stream.at(this.position);
    if (frame && (this.fresh || this.shown !== this.position)) {
      this.fresh = false;
      this.shown = this.position;
      this.exchanged = now;
      this.renderer.setFrame(frame);
      this._tell('frame', { number: frame.number, position: this.position, time: this.timeOf(this.position) });
      this.stale = true;
    }
    if (this.stale && this.shown >= 0) this._draw(now);
    if (this.playing || this.stale) this._wake();
  }

  /** Something about the view has changed. */
  _changed(still = false) {
    this.moved = still ? -Infinity : performance.now();
    this.stale = true;
    this._wake();
  }

  _draw(now) {
    const { renderer, canvas } = this;
    if (renderer.lost) return;
    const [moving, standing] = QUALITIES[this.quality];
    const quiet = now - this.moved > SETTLED && (!this.playing || now - this.exchanged > SETTLED);
    // While a quick picture is under way, let it finish; the next one shows the latest state.
    if (renderer.job && !this.refining) return;
    const state = this._state();
    if (!quiet && this.lastQuick === state) return;
    if (!renderer.isReady(moving)) {
      this._prepare(moving);
      return;
    }
    const view = this.camera.view(canvas.width, canvas.height);
    const refine = quiet ? standing : null;
    if (!renderer.draw(view, { quality: moving, refine })) return;
    this.lastQuick = state;
    this.refining = quiet;
    this.refined = refine !== null && renderer.isReady(refine);
    this.stale = !quiet;
  }

  _prepare(quality) {
    this.renderer.prepare(quality).then(
      () => this._changed(true),
      (error) => this._tell('error', { error }),
    );
  }

  _state() {
    const { camera, canvas } = this;
    return JSON.stringify([camera.eye, camera.pose, this.shown, canvas.width, canvas.height, this.quality]);
  }

  _pictured(final, milliseconds, quality, scale, pass) {
    const now = performance.now();
    const { drawn } = this;
    this._reached('picture');
    Object.assign(drawn, { milliseconds, quality, scale });
    if (pass === 0) drawn.times = [...drawn.times.filter((t) => now - t < 2000), now];
    const finished = final && this.refining && this.refined && !this.stale;
    this._tell('picture', { final: finished, milliseconds, quality, scale });
    // The compiler may keep the graphics busy for a while: what there is, is shown first.
    if (final && this.refining && !this.refined) this._prepare(QUALITIES[this.quality][1]);
    if (finished) for (const { resolve } of this.waiting.splice(0)) resolve();
    if (this.stale) this._wake();
  }

  /** Pictures a second, of the last two seconds; null while nothing moves. */
  get rate() {
    const { times } = this.drawn;
    const recent = times.filter((t) => performance.now() - t < 2000);
    return recent.length > 1 ? (1000 * (recent.length - 1)) / (recent.at(-1) - recent[0]) : null;
  }

  _decoded({ frame, position }) {
    this._reached('decoded');
    this.bytes.set(position, frame.bytes);
    this.times.set(position, frame.timeStamp);
    this.decoding.frames++;
    this.decoding.milliseconds += frame.milliseconds;
    this.decoding.symbols += frame.symbols;
    if (position === this.position) this.fresh = true;
    this._find();
    this._tell('decoded', { position });
    this._wake();
  }

  _lost({ error, positions }) {
    this._tell('lost', { error, positions });
    this._leave(error, positions);
  }

  /** The picture of what is shown, finished. */
  settled() {
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
      this._changed(true);
    });
  }

  /**
   * The finished picture of a frame: { width, height, data }, RGBA, rows from the top.
   * @param {object} options  frame: number; width, height: pixels; camera: see chooseCamera; quality: exact or fast.
   *   What is left out stays as it is
   */
  async picture({ frame, width, height, camera, quality } = {}) {
    const before = this.quality;
    this.pause();
    if (camera !== undefined) this.chooseCamera(camera);
    if (frame !== undefined) {
      const { number } = await this.stream.frame(frame);
      this.seek(this.stream.positions.get(number));
    }
    if (quality !== undefined) this.quality = quality;
    try {
      if (width !== undefined) {
        this.fixed = [width, height];
        this._resize();
      }
      this.shown = -1;
      await this.settled();
      return this.renderer.pixels();
    } finally {
      this.fixed = null;
      this.quality = before;
      this._resize();
    }
  }

  /** What is shown, as a PNG file, at the size of the canvas. */
  async still() {
    await this.settled();
    return new Promise((resolve) => {
      this.canvas.toBlob(resolve, 'image/png');
    });
  }

  /** Records what the canvas shows until `stop()` of the result is called, which gives a Blob (WebM or MP4). */
  record(rate = 30) {
    const type = ['video/webm;codecs=vp9', 'video/webm', 'video/mp4'].find((t) =>
      globalThis.MediaRecorder?.isTypeSupported(t),
    );
    if (!type) throw new RfvError({ message: 'This browser cannot record.' });
    const recorder = new MediaRecorder(this.canvas.captureStream(rate), { mimeType: type, videoBitsPerSecond: 16e6 });
    const parts = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    recorder.start();
    return {
      stop: () =>
        new Promise((resolve) => {
          recorder.onstop = () => resolve(new Blob(parts, { type: type.split(';')[0] }));
          recorder.stop();
        }),
    };
  }

  /** SHA-256 of the occupancy and of every tensor of every frame, decoded again. */
  async digests() {
    const stream = await RfvStream.open(this.stream.source, { makeWorker: this.makeWorker, digests: true });
    try {
      const out = [];
      for (const { number } of stream.frames) out.push({ number, ...(await stream.frame(number)).digests });
      return out;
    } finally {
      stream.dispose();
    }
  }

  /** What is shown, for scripts. */
  state() {
    const { stream } = this;
    const frames = stream?.frames ?? [];
    return {
      ready: this.ready === true,
      playing: this.playing,
      frame: frames[this.position]?.number ?? null,
      shown: frames[this.shown]?.number ?? null,
      frames: frames.length,
      scene: this.scene ?? null,
      lost: [...(stream?.lost.keys() ?? [])].map((p) => frames[p].number),
      loaded: stream?.loaded ?? 0,
      size: stream?.size ?? null,
      timings: this.timings,
      kernels: stream?.kernels ?? null,
      eye: this.camera.eye,
      quality: this.drawn.quality,
    };
  }
}
