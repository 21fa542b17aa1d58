/** `<rfv-player>`: a viewer with controls, as an element. */
import { explained } from './messages.js';
import { STYLE } from './style.js';
import { Viewer } from './viewer.js';

const HIDE = 2500; // milliseconds of rest after which the controls of something that plays hide
const TURN = Math.PI / 18; // of the camera by one key

const icon = (path) =>
  `<svg viewBox="0 0 24 24" width="20" height="20" aria-hidden="true" focusable="false"><path fill="currentColor" d="${path}"/></svg>`;

const ICONS = {
  play: 'M8 5v14l11-7z',
  pause: 'M6 5h4v14H6zM14 5h4v14h-4z',
  back: 'M6 6h2.5v12H6zM20 6v12l-9-6z',
  forward: 'M15.5 6H18v12h-2.5zM4 6v12l9-6z',
  reset: 'M12 5V2L7.5 6.5 12 11V7.5a4.5 4.5 0 1 1-4.5 4.5H5a7 7 0 1 0 7-7z',
  full: 'M4 4h6v2.5H6.5V10H4zM14 4h6v6h-2.5V6.5H14zM4 14h2.5v3.5H10V20H4zM17.5 14H20v6h-6v-2.5h3.5z',
  settings:
    'M3 6h10v2H3zM17 6h4v2h-4zM14 4h2v6h-2zM3 11h4v2H3zM11 11h10v2H11zM8 9h2v6H8zM3 16h10v2H3zM17 16h4v2h-4zM14 14h2v6h-2z',
  close: 'M6.4 5 12 10.6 17.6 5 19 6.4 13.4 12 19 17.6 17.6 19 12 13.4 6.4 19 5 17.6 10.6 12 5 6.4z',
};

const button = (id, name, keys, glyph = id) =>
  `<button id="${id}" part="button" type="button" aria-label="${name}" title="${name}${keys ? ` (${keys})` : ''}">${icon(ICONS[glyph])}</button>`;

const TEMPLATE = `
<div id="stage" part="stage">
  <canvas id="picture" part="picture" tabindex="0" role="img" aria-describedby="help"></canvas>
  <p id="help" class="unseen">Drag to orbit, with shift or the right button to move, wheel with control to zoom.
    Keys: space plays, left and right arrows step, shift with arrows orbits, I J K L move, plus and minus zoom,
    R resets the camera, F fills the screen.</p>
  <img id="poster" part="poster" alt="" hidden />
  <div id="message" part="message" role="alert" hidden></div>
  <div id="top"><slot></slot></div>
  <p id="hint" aria-hidden="true" hidden>Hold control to zoom</p>
</div>
<div id="bottom">
  <div id="notice" part="notice" role="status" hidden><span id="notice-text"></span>${button('dismiss', 'Dismiss', '', 'close')}</div>
  <div id="controls" part="controls" role="group" aria-label="Player" hidden>
    <input id="time" type="range" min="0" max="0" value="0" step="1" aria-label="Frame" />
    <div class="row">
      ${button('play', 'Play', 'space')}
      ${button('back', 'Previous frame', 'left arrow')}
      ${button('forward', 'Next frame', 'right arrow')}
      <span id="clock"></span>
      <span class="gap"></span>
      <slot name="controls"></slot>
      ${button('reset', 'Reset camera', 'R')}
      <button id="settings" part="button" type="button" aria-label="Settings" title="Settings" aria-expanded="false" aria-controls="choices">${icon(ICONS.settings)}</button>
      ${button('full', 'Full screen', 'F')}
    </div>
    <div id="choices" hidden>
      <label id="scene-choice">Scene <select id="scene"></select></label>
      <label>Camera <select id="camera"></select></label>
      <label>Quality <select id="quality">
        <option value="auto">automatic</option><option value="fast">fast</option><option value="exact">exact</option>
      </select></label>
      <slot name="choices"></slot>
    </div>
  </div>
</div>`;

/** Three numbers 0 … 1 of a CSS colour; null for what is none. */
function rgbOf(text) {
  const context = document.createElement('canvas').getContext('2d');
  context.fillStyle = '#000001';
  context.fillStyle = text;
  if (context.fillStyle === '#000001') return null;
  const hex = /^#(..)(..)(..)$/.exec(context.fillStyle);
  return hex && hex.slice(1).map((h) => parseInt(h, 16) / 255);
}

const Base = globalThis.HTMLElement ?? class {};

/**
 * Attributes: src; poster; autoplay; loop; controls; background (transparent, or a colour; left out: the scene's);
 * camera (number, name or around); quality (auto, fast, exact); time (seconds); scene; zoom (always: by the wheel
 * alone); touch-action (CSS; pan-y where it is left out).
 *
 * Events: ready; frame, detail { number, time }; progress, detail { loaded, size }; error, detail { error, message };
 * lost, detail { error, positions }; play; pause; ended; camera.
 */
export class RfvPlayer extends Base {
  static observedAttributes = [
    'src',
    'poster',
    'loop',
    'controls',
    'background',
    'camera',
    'quality',
    'time',
    'scene',
    'touch-action',
  ];

  /** For a page that makes workers in a way of its own. */
  static makeWorker = undefined;

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    root.innerHTML = `<style>${STYLE}</style>${TEMPLATE}`;
    this._ = Object.fromEntries([...root.querySelectorAll('[id]')].map((e) => [e.id, e]));
    this._held = new Map();
    this._listeners();
  }

  /** The viewer behind the element, once it is connected; its stream is `viewer.stream`. */
  get viewer() {
    return this._viewer ?? null;
  }

  connectedCallback() {
    if (this._viewer) return;
    this._.picture.style.touchAction = this.getAttribute('touch-action') ?? 'pan-y';
    this._start();
    if (this.getAttribute('src')) this.load();
  }

  disconnectedCallback() {
    // An element that is moved is connected again at once.
    queueMicrotask(() => {
      if (!this.isConnected) this.dispose();
    });
  }

  /** Frees the workers and the graphics. The element can be put into a page again. */
  dispose() {
    if (!this._viewer) return;
    this._viewer.dispose();
    this._viewer = null;
    clearTimeout(this._hiding);
    // A lost context does not come back: the next viewer gets a new canvas.
    const canvas = this._.picture.cloneNode();
    this._.picture.replaceWith(canvas);
    this._.picture = canvas;
    this._pointers(canvas);
  }

  _start() {
    const background = this.getAttribute('background');
    this._viewer = new Viewer(this._.picture, {
      makeWorker: this.constructor.makeWorker,
      transparent: background === 'transparent',
      quality: this.getAttribute('quality') ?? 'auto',
      loop: this.hasAttribute('loop'),
    });
    const on = (type, listener) => this._viewer.addEventListener(type, ({ detail }) => listener(detail));
    on('frame', ({ number, time }) => {
      this._clock();
      this._emit('frame', { number, time });
    });
    on('seek', () => this._clock());
    on('picture', () => this._pictured());
    on('progress', (detail) => this._emit('progress', detail));
    on('lost', (detail) => this._lost(detail));
    on('decoded', () => {
      if (this._viewer.stream.lost.size === 0) this._.notice.hidden = true;
    });
    on('error', ({ error }) => this._failed(error));
    on('ended', () => this._emit('ended', {}));
    on('camera', ({ camera }) => {
      this._.camera.value = camera;
      this._emit('camera', {});
    });
    on('playing', ({ playing }) => this._playing(playing));
    on('contextlost', () => {
      this.say('The graphics driver has given up', 'The picture comes back with it.');
    });
    on('contextrestored', () => {
      this._.message.hidden = true;
    });
  }

  attributeChangedCallback(name, old, value) {
    const viewer = this._viewer;
    if (name === 'poster') {
      this._.poster.hidden = !value;
      if (value) this._.poster.src = value;
      return;
    }
    if (name === 'touch-action') this._.picture.style.touchAction = value ?? 'pan-y';
    if (!viewer || old === value) return;
    if (name === 'src') this.load();
    else if (name === 'loop') viewer.loop = value !== null;
    else if (name === 'controls') this._layout();
    else if (name === 'quality') this._.quality.value = viewer.quality = value ?? 'auto';
    else if (name === 'background') this._ground();
    else if (!viewer.ready) return;
    else if (name === 'camera') viewer.chooseCamera(value);
    else if (name === 'time') viewer.seekTime(Number(value));
    else if (name === 'scene') this._scene(Number(value));
  }

  get src() {
    return this.getAttribute('src') ?? '';
  }

  set src(value) {
    this.setAttribute('src', value);
  }

  _ground() {
    const text = this.getAttribute('background');
    const transparent = text === 'transparent';
    this._viewer.transparent = transparent;
    if (this._viewer.renderer) this._viewer.renderer.transparent = transparent;
    this._viewer.background = text && !transparent ? rgbOf(text) : null;
  }

  /**
   * Opens a source: by default that of `src`.
   * @param {string|URL|Blob|ArrayBuffer} source  see RfvStream
   * @param {string} name  for messages
   */
  async load(source = this.src, name = source instanceof Blob ? (source.name ?? 'The file') : decodeURI(String(source).split(/[?#]/)[0].split('/').at(-1))) {
    if (!this._viewer) this._start();
    const viewer = this._viewer;
    this.name = name;
    this._.picture.setAttribute('aria-label', `Picture of ${name}`);
    this._.controls.hidden = true;
    this._.notice.hidden = true;
    if (this._.poster.hidden) this.say('Opening …', name);
    const number = this.getAttribute('scene');
    const stillThis = (this._loading = Symbol(name));
    try {
      await viewer.open(source, { scene: number === null ? null : Number(number) });
      if (this._loading !== stillThis) return;
      this._ground();
      this._choices();
      if (this.hasAttribute('camera')) viewer.chooseCamera(this.getAttribute('camera'));
      if (this.hasAttribute('time')) viewer.seekTime(Number(this.getAttribute('time')));
      this._layout();
      this._emit('ready', {});
      const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
      if (this.hasAttribute('autoplay') && !calm) this.play();
    } catch (error) {
      if (this._loading === stillThis) this._failed(error);
    }
  }

  _failed(error) {
    if (error?.name === 'AbortError') return;
    const lines = explained(error, this.name);
    this.say(...lines);
    this._.poster.hidden = true;
    this._emit('error', { error, message: lines.join('\n') });
  }

  /** A message in place of the picture. */
  say(title, ...lines) {
    const paragraphs = lines.filter(Boolean).map((line) => {
      const p = document.createElement('p');
      p.textContent = line;
      return p;
    });
    const heading = document.createElement('h2');
    heading.textContent = title;
    this._.message.replaceChildren(heading, ...paragraphs);
    this._.message.hidden = false;
  }

  _emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  // What is played

  get paused() {
    return !this._viewer?.playing;
  }

  play() {
    this._viewer?.play();
  }

  pause() {
    this._viewer?.pause();
  }

  /** Seconds from the first frame of the scene. */
  get currentTime() {
    return (this._viewer?.ready && this._viewer.timeOf(this._viewer.position)) || 0;
  }

  set currentTime(seconds) {
    if (this._viewer?.ready) this._viewer.seekTime(seconds);
  }

  /** The frame's number. */
  get frame() {
    return this._viewer?.state().frame ?? null;
  }

  set frame(number) {
    const position = this._viewer?.stream?.positions?.get(number);
    if (position !== undefined) this._viewer.seek(position);
  }

  get camera() {
    return this._viewer?.choice ?? null;
  }

  set camera(which) {
    if (which && typeof which === 'object') this._viewer.look(which);
    else this._viewer.chooseCamera(which);
  }

  resetCamera() {
    this._viewer?.resetCamera();
  }

  toggleFullscreen() {
    if (document.fullscreenElement === this) return document.exitFullscreen();
    return this.requestFullscreen?.();
  }

  // Controls

  _choices() {
    const { viewer } = this;
    this._.scene.replaceChildren(...viewer.scenes.map((s) => new Option(String(s), String(s))));
    this._.scene.value = String(viewer.scene);
    this._.quality.value = viewer.quality;
    this._cameras();
  }

  _cameras() {
    const { viewer } = this;
    const free = new Option('free', 'free');
    free.hidden = true;
    this._.camera.replaceChildren(
      ...viewer.cameras.map((c, i) => new Option(c.name ? `${i}: ${c.name}` : String(i), String(i))),
      new Option('overview', 'around'),
      free,
    );
    this._.camera.value = viewer.choice;
    this._.time.max = String(viewer.count - 1);
  }

  _scene(scene) {
    this.viewer.chooseScene(scene);
    this._cameras();
    this._layout();
  }

  /** Only what has a use is shown. */
  _layout() {
    const { viewer } = this;
    this._.controls.hidden = !this.hasAttribute('controls') || !viewer?.ready;
    if (!viewer?.ready) return;
    const still = viewer.count < 2;
    for (const name of ['time', 'play', 'back', 'forward', 'clock']) this._[name].hidden = still;
    this._['scene-choice'].hidden = viewer.scenes.length < 2;
    this._.full.hidden = !document.fullscreenEnabled;
    this._clock();
  }

  _clock() {
    const { viewer } = this;
    if (!viewer?.ready) return;
    const { frames } = viewer.stream;
    const time = viewer.timeOf(viewer.position);
    const text = `${viewer.position - viewer.range[0] + 1} / ${viewer.count}${time === null ? '' : ` · ${time.toFixed(2)} s`}`;
    this._.clock.textContent = text;
    this._.clock.title = `Frame ${frames[viewer.position].number}`;
    this._.time.value = String(viewer.position - viewer.range[0]);
    // A slider that speaks while it plays would never stop.
    if (!viewer.playing) this._.time.setAttribute('aria-valuetext', `frame ${frames[viewer.position].number}, ${text}`);
  }

  _playing(playing) {
    const name = playing ? 'Pause' : 'Play';
    this._.play.setAttribute('aria-label', name);
    this._.play.title = `${name} (space)`;
    this._.play.innerHTML = icon(ICONS[playing ? 'pause' : 'play']);
    this._stir();
    this._clock();
    this._emit(playing ? 'play' : 'pause', {});
  }

  /** Shows the controls; they hide again where something plays and nobody uses them. */
  _stir() {
    this._.bottom.classList.remove('resting');
    clearTimeout(this._hiding);
    this._hiding = setTimeout(() => {
      const used = this._.bottom.matches(':hover, :focus-within') || !this._.choices.hidden;
      if (this.viewer?.playing && !used) this._.bottom.classList.add('resting');
    }, HIDE);
  }

  _pictured() {
    if (this._pictureShown !== this._loading) {
      this._pictureShown = this._loading;
      this._.poster.hidden = true;
      this._.message.hidden = true;
    }
  }

  _lost({ error, positions }) {
    const numbers = positions.map((p) => this.viewer.stream.frames[p].number);
    const which =
      numbers.length > 1
        ? `Frames ${numbers[0]} to ${numbers.at(-1)} can't be shown: `
        : numbers.length > 0
          ? `Frame ${numbers[0]} can't be shown: `
          : '';
    const reason = error.code
      ? `${error.code} ${error.errorName}, ${error.requirement}, section ${error.section}, unit at byte ${error.offset}`
      : error.message;
    this._.message.hidden = true;
    this._['notice-text'].textContent = which + reason;
    this._.notice.hidden = false;
    this._emit('lost', { error, positions });
  }

  _listeners() {
    const { _ } = this;
    _.camera.onchange = () => this.viewer.chooseCamera(_.camera.value);
    _.quality.onchange = () => {
      this.viewer.quality = _.quality.value;
    };
    _.scene.onchange = () => this._scene(Number(_.scene.value));
    _.time.oninput = () => {
      this.pause();
      this.viewer.seek(this.viewer.range[0] + Number(_.time.value));
    };
    _.play.onclick = () => (this.paused ? this.play() : this.pause());
    _.back.onclick = () => this.viewer.step(-1);
    _.forward.onclick = () => this.viewer.step(1);
    _.reset.onclick = () => this.resetCamera();
    _.full.onclick = () => this.toggleFullscreen();
    _.settings.onclick = () => {
      _.choices.hidden = !_.choices.hidden;
      _.settings.setAttribute('aria-expanded', String(!_.choices.hidden));
    };
    _.dismiss.onclick = () => {
      _.notice.hidden = true;
    };
    for (const type of ['pointermove', 'pointerdown', 'focusin', 'keydown'])
      this.addEventListener(type, () => this._stir());
    this.addEventListener('keydown', (event) => this.key(event));
    this._pointers(_.picture);
  }

  /** What a key does; true where it does something. A page that is nothing but a player hands on its own keys. */
  key(event) {
    const { viewer } = this;
    const target = event.composedPath()[0];
    if (!viewer?.ready || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return false;
    if (target.matches?.('input, select, textarea, [contenteditable]')) return false;
    if (event.key === ' ' && target.matches?.('button, a, summary')) return false;
    const { camera } = viewer;
    const moved = (change) => () => {
      change();
      viewer.cameraMoved();
    };
    const actions = {
      ' ': () => this._.play.click(),
      ArrowLeft: () => viewer.step(-1),
      ArrowRight: () => viewer.step(1),
      r: () => this.resetCamera(),
      f: () => this.toggleFullscreen(),
      i: moved(() => camera.pan(0, -0.05)),
      k: moved(() => camera.pan(0, 0.05)),
      j: moved(() => camera.pan(0.05, 0)),
      l: moved(() => camera.pan(-0.05, 0)),
      '+': moved(() => camera.zoom(0.9)),
      '=': moved(() => camera.zoom(0.9)),
      '-': moved(() => camera.zoom(1 / 0.9)),
      _: moved(() => camera.zoom(1 / 0.9)),
    };
    const shifted = {
      ArrowLeft: moved(() => camera.orbit(TURN, 0)),
      ArrowRight: moved(() => camera.orbit(-TURN, 0)),
      ArrowUp: moved(() => camera.orbit(0, TURN)),
      ArrowDown: moved(() => camera.orbit(0, -TURN)),
    };
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = (event.shiftKey && shifted[name]) || actions[name];
    if (!action) return false;
    event.preventDefault();
    action();
    return true;
  }

  /** One pointer orbits, or moves with shift or the right button; two pinch and move; the wheel zooms. */
  _pointers(canvas) {
    const held = this._held;
    held.clear();
    canvas.addEventListener('contextmenu', (event) => event.preventDefault());
    canvas.addEventListener('pointerdown', (event) => {
      if (!this.viewer?.ready) return;
      canvas.setPointerCapture(event.pointerId);
      held.set(event.pointerId, [event.clientX, event.clientY]);
    });
    for (const type of ['pointerup', 'pointercancel'])
      canvas.addEventListener(type, (event) => held.delete(event.pointerId));
    canvas.addEventListener('pointermove', (event) => {
      const before = held.get(event.pointerId);
      if (!before) return;
      const { camera } = this.viewer;
      const height = canvas.clientHeight || 1;
      const [x, y] = [(event.clientX - before[0]) / height, (event.clientY - before[1]) / height];
      if (held.size > 1) {
        const other = [...held].find(([id]) => id !== event.pointerId)[1];
        const distance = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
        camera.zoom(distance(before) / distance([event.clientX, event.clientY]));
        camera.pan(x / 2, y / 2);
      } else if (event.shiftKey || event.buttons & 2) {
        camera.pan(x, y);
      } else {
        camera.orbit(x * Math.PI, y * Math.PI);
      }
      held.set(event.pointerId, [event.clientX, event.clientY]);
      this.viewer.cameraMoved();
    });
    canvas.addEventListener(
      'wheel',
      (event) => {
        // In a page that scrolls, the wheel is the page's until somebody asks for the picture.
        const mine =
          event.ctrlKey || this.getAttribute('zoom') === 'always' || this.shadowRoot.activeElement === canvas;
        if (!this.viewer?.ready) return;
        if (!mine) {
          this._.hint.hidden = false;
          clearTimeout(this._hinting);
          this._hinting = setTimeout(() => {
            this._.hint.hidden = true;
          }, 1200);
          return;
        }
        event.preventDefault();
        // Pinches on a touch pad come as wheels with control, in small steps.
        const scale = event.ctrlKey ? 100 : 400;
        this.viewer.camera.zoom(Math.exp(Math.max(-100, Math.min(100, event.deltaY)) / scale));
        this.viewer.cameraMoved();
      },
      { passive: false },
    );
  }
}

/** Makes `<rfv-player>` known to the browser, once. */
export function define(name = 'rfv-player') {
  if (globalThis.customElements && !customElements.get(name)) customElements.define(name, RfvPlayer);
}
