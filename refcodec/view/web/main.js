/** The page: controls, playback, what is shown when. */
import { Camera, boxOf, upOf } from './camera.js';
import { Player } from './player.js';
import { Renderer } from './renderer.js';
import { components, formatBytes, show } from './statistics.js';

const QUALITIES = {
  full: { resolution: 1, steps: 1, dense: false },
  fine: { resolution: 1, steps: 1, dense: true },
  half: { resolution: 0.5, steps: 1, dense: false },
  quarter: { resolution: 0.25, steps: 1, dense: false },
  fast: { resolution: 0.5, steps: 0.5, dense: false },
};
const SETTLED = 150; // milliseconds without movement after which the full picture is drawn
const STILL = 1 / 30; // seconds for which a frame without neighbour is shown

const element = (id) => document.getElementById(id);

/** A message in place of the picture. */
function say(title, ...lines) {
  const box = element('message');
  const heading = document.createElement('h1');
  heading.textContent = title;
  box.replaceChildren(
    heading,
    ...lines.filter(Boolean).map((line) => {
      const p = document.createElement('p');
      p.textContent = line;
      return p;
    }),
  );
  box.hidden = false;
}

/** Title and lines for an error of the stream, for people. */
function explained(error, name) {
  if (error.code === 'E0101')
    return [`${name} is no RFV file`, 'Its first bytes are not the signature of the format (E0101, section 4.1).'];
  if (!error.code) return [`${name} can't be shown`, error.message];
  const where = error.offset === null ? '' : ` in the unit at byte ${error.offset}`;
  return [
    `${name} is damaged or not a conforming RFV file`,
    `${error.code} ${error.errorName}${where}`,
    error.detail || error.meaning,
    `Requirement ${error.requirement}, section ${error.section} of the specification.`,
  ];
}

class Viewer {
  constructor({ makeWorker, source, name }) {
    this.name = name;
    this.source = source;
    this.canvas = element('picture');
    this.player = new Player(makeWorker);
    this.camera = new Camera();
    this.position = 0; // of the frame that is to be shown
    this.shown = -1;
    this.playing = false;
    this.quality = QUALITIES.full;
    this.bytes = new Map(); // position: bytes by component
    this.times = new Map(); // position: time stamp
    this.decoding = { frames: 0, milliseconds: 0, symbols: 0 };
    this.started = performance.now();
    this.timings = {}; // milliseconds from the start to opened, compiled, decoded, picture
    this.drawn = { frames: [], milliseconds: 0 };
    this.waiting = [];
  }

  async open() {
    // The worker starts while the graphics do.
    const opening = this.player.open(this.source);
    opening.catch(() => {});
    this.renderer = new Renderer(this.canvas);
    this.renderer.onpicture = (final, milliseconds) => this._pictured(final, milliseconds);
    this.player.onframe = (frame, position) => this._decoded(frame, position);
    this.player.onlost = (error, positions) => this._lost(error, positions);
    await opening;
    this._reached('opened');
    const { player } = this;
    this.header = player.header;
    if (player.frames.length === 0) throw { message: 'The file holds no frame.' };
    this._scenes();
    this._controls();
    this._chooseScene(player.frames[0].scene);
    await this.renderer.setSequence(this.header);
    this._reached('compiled');
    element('controls').hidden = false;
    this.ready = true;
    this._resize();
    new ResizeObserver(() => this._resize()).observe(this.canvas);
    requestAnimationFrame((now) => this._tick(now));
  }

  _reached(what) {
    this.timings[what] ??= performance.now() - this.started;
  }

  // Controls

  _scenes() {
    const scenes = [...new Set(this.player.frames.map((f) => f.scene))];
    const choice = element('scene');
    for (const scene of scenes) choice.add(new Option(String(scene), String(scene)));
    element('scene-choice').hidden = scenes.length < 2;
    choice.onchange = () => this._chooseScene(Number(choice.value));
  }

  _chooseScene(scene) {
    const { frames, cameras } = this.player;
    this.scene = scene;
    this.range = [frames.findIndex((f) => f.scene === scene), frames.findLastIndex((f) => f.scene === scene) + 1];
    this.cameras = cameras.filter((c) => c.scene === scene);
    const choice = element('camera');
    choice.replaceChildren(
      ...this.cameras.map((c, i) => new Option(c.name ? `${i}: ${c.name}` : String(i), String(i))),
      new Option('overview', 'around'),
    );
    const free = new Option('free', 'free');
    free.hidden = true;
    choice.add(free);
    this._chooseCamera(this.cameras.length ? '0' : 'around');
    const slider = element('time');
    [slider.min, slider.max] = [0, this.range[1] - this.range[0] - 1];
    this.seek(this.range[0]);
  }

  _chooseCamera(value) {
    const box = boxOf(this.header.scenes[this.scene]);
    const up = upOf(this.cameras);
    if (value === 'around') this.camera.around(box, up);
    else if (value !== 'free') this.camera.from(this.cameras[Number(value)], box, up);
    element('camera').value = value;
    this._changed();
  }

  _controls() {
    const { canvas } = this;
    element('camera').onchange = (event) => this._chooseCamera(event.target.value);
    element('quality').onchange = (event) => {
      this.quality = QUALITIES[event.target.value];
      this._resize();
    };
    element('time').oninput = (event) => {
      this.pause();
      this.seek(this.range[0] + Number(event.target.value));
    };
    element('play').onclick = () => (this.playing ? this.pause() : this.play());
    element('back').onclick = () => this.step(-1);
    element('forward').onclick = () => this.step(1);
    element('details').onclick = () => this._toggleStatistics();
    addEventListener('keydown', (event) => {
      if (event.target.matches?.('input, select, button') && event.key === ' ') return;
      const action = {
        ' ': () => element('play').click(),
        ArrowLeft: () => this.step(-1),
        ArrowRight: () => this.step(1),
        s: () => this._toggleStatistics(),
      }[event.key];
      if (!action || event.ctrlKey || event.metaKey || event.target.matches?.('select, input')) return;
      event.preventDefault();
      action();
    });
    this._pointers(canvas);
    canvas.addEventListener('webglcontextlost', () =>
      say('The graphics driver has given up', 'Reload the page, perhaps with a lower quality.'),
    );
  }

  /** One pointer orbits, or moves with shift or the right button; two pinch and move; the wheel zooms. */
  _pointers(canvas) {
    const held = new Map();
    const moved = () => {
      element('camera').value = 'free';
      this._changed();
    };
    canvas.addEventListener('contextmenu', (event) => event.preventDefault());
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
      held.set(event.pointerId, [event.clientX, event.clientY]);
    });
    for (const type of ['pointerup', 'pointercancel'])
      canvas.addEventListener(type, (event) => held.delete(event.pointerId));
    canvas.addEventListener('pointermove', (event) => {
      const before = held.get(event.pointerId);
      if (!before) return;
      const height = canvas.clientHeight || 1;
      const [x, y] = [(event.clientX - before[0]) / height, (event.clientY - before[1]) / height];
      if (held.size > 1) {
        const other = [...held].find(([id]) => id !== event.pointerId)[1];
        const distance = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
        this.camera.zoom(distance(before) / distance([event.clientX, event.clientY]));
        this.camera.pan(x / 2, y / 2);
      } else if (event.shiftKey || event.buttons & 2) {
        this.camera.pan(x, y);
      } else {
        this.camera.orbit(x * Math.PI, y * Math.PI);
      }
      held.set(event.pointerId, [event.clientX, event.clientY]);
      moved();
    });
    canvas.addEventListener(
      'wheel',
      (event) => {
        event.preventDefault();
        this.camera.zoom(Math.exp(Math.max(-100, Math.min(100, event.deltaY)) / 400));
        moved();
      },
      { passive: false },
    );
  }

  _resize() {
    const { canvas, quality } = this;
    const ratio = quality.dense ? devicePixelRatio : 1;
    const width = Math.max(1, Math.round(this.fixed?.[0] ?? canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(this.fixed?.[1] ?? canvas.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    this._changed(true);
  }

  _toggleStatistics() {
    const panel = element('statistics');
    panel.hidden = !panel.hidden;
    element('details').setAttribute('aria-pressed', String(!panel.hidden));
    this._statistics();
  }

  // Playback

  play() {
    this.playing = true;
    this.due = null;
    element('play').textContent = '⏸';
    element('play').setAttribute('aria-label', 'Pause');
  }

  pause() {
    this.playing = false;
    element('play').textContent = '▶';
    element('play').setAttribute('aria-label', 'Play');
    this._changed();
  }

  step(by) {
    this.pause();
    const [from, to] = this.range;
    this.seek(from + ((this.position - from + by + to - from) % (to - from)));
  }

  /** Shows the frame at a position as soon as it is there. */
  seek(position) {
    this.position = position;
    element('time').value = position - this.range[0];
    this.player.want(position, this.range);
    this._clock();
    this.fresh = true;
  }

  /** Seconds for which the frame at a position is shown (9.3); null where the next one's time is not known yet. */
  _duration(position) {
    const [from, to] = this.range;
    const { lost } = this.player;
    const between = (a, b) =>
      this.times.has(a) && this.times.has(b)
        ? (this.times.get(b) - this.times.get(a)) / this.header.ticksPerSecond
        : null;
    let next = position + 1;
    while (next < to && lost.has(next)) next++;
    if (next < to) return between(position, next);
    return (position > from ? between(position - 1, position) : null) ?? STILL;
  }

  _tick(now) {
    requestAnimationFrame((later) => this._tick(later));
    const { player } = this;
    if (this.playing && this.shown === this.position) {
      const duration = this._duration(this.position);
      const [from, to] = this.range;
      let next = this.position + 1 < to ? this.position + 1 : from;
      while (player.lost.has(next) && next !== this.position) next = next + 1 < to ? next + 1 : from;
      player.want(this.position, this.range);
      if (this.due === null && duration !== null) this.due = now + 1000 * duration;
      if (this.due !== null && now >= this.due && player.at(next)) {
        // On time, or from now on where the machine is behind.
        this.due = Math.max(this.due, now - 100) + 1000 * (this._duration(next) ?? STILL);
        this.seek(next);
      }
    }
    const frame = player.at(this.position);
    if (frame && this.ready && (this.fresh || this.shown !== this.position)) {
      this.fresh = false;
      this.shown = this.position;
      this.exchanged = now;
      this.renderer.setFrame(frame);
      this._clock();
      this.stale = true;
    }
    if (this.stale && this.shown >= 0 && this.ready) this._draw(now);
  }

  /** Something about the view has changed. */
  _changed(still = false) {
    this.moved = still ? -Infinity : performance.now();
    this.stale = true;
  }

  _draw(now) {
    const quiet = now - this.moved > SETTLED && (!this.playing || now - this.exchanged > SETTLED);
    // While a quick picture is under way, let it finish; the next one shows the latest state.
    if (this.renderer.job && !this.refining) return;
    this.stale = !quiet;
    if (!quiet && this.lastQuick === this._state()) return;
    this.lastQuick = this._state();
    this.refining = quiet;
    const { quality, canvas } = this;
    this.renderer.draw(this.camera.view(canvas.width, canvas.height), { ...quality, refine: quiet });
  }

  _state() {
    return JSON.stringify([
      this.camera.eye,
      this.camera.pose,
      this.shown,
      this.canvas.width,
      this.canvas.height,
      this.quality,
    ]);
  }

  _pictured(final, milliseconds) {
    const now = performance.now();
    const { drawn } = this;
    this._reached('picture');
    drawn.milliseconds = milliseconds;
    drawn.frames = [...drawn.frames.filter((t) => now - t < 2000), now];
    element('message').hidden = true;
    if (final && this.refining && !this.stale) {
      for (const resolve of this.waiting.splice(0)) resolve();
    }
    if (!element('statistics').hidden && now - (this.told ?? 0) > 250) this._statistics();
  }

  _decoded(frame, position) {
    this._reached('decoded');
    this.bytes.set(position, frame.bytes);
    this.times.set(position, frame.timeStamp);
    this.decoding.frames++;
    this.decoding.milliseconds += frame.milliseconds;
    this.decoding.symbols += frame.symbols;
    if (position === this.position) this.fresh = true;
    if (this.player.lost.size === 0) element('notice').hidden = true;
  }

  _lost(error, positions) {
    const { frames } = this.player;
    const numbers = positions.map((p) => frames[p].number);
    const which =
      numbers.length > 1
        ? `Frames ${numbers[0]} to ${numbers.at(-1)} can't be shown: `
        : numbers.length > 0
          ? `Frame ${numbers[0]} can't be shown: `
          : '';
    const reason = error.code
      ? `${error.code} ${error.errorName}, ${error.requirement}, section ${error.section}, unit at byte ${error.offset}`
      : error.message;
    const notice = element('notice');
    notice.textContent = which + reason;
    notice.hidden = false;
    if (positions.includes(this.position)) {
      const good = frames.findIndex((f, p) => p >= this.range[0] && p < this.range[1] && !this.player.lost.has(p));
      if (good < 0) say(...explained(error, this.name));
      else if (this.shown < 0 || this.playing) this.seek(good);
    }
  }

  _clock() {
    const { frames } = this.player;
    const [from, to] = this.range;
    const time = this.times.has(this.position)
      ? ` · ${(this.times.get(this.position) / this.header.ticksPerSecond).toFixed(3)} s`
      : '';
    element('clock').textContent =
      `frame ${frames[this.position].number} · ${this.position - from + 1} of ${to - from}${time}`;
    element('time').setAttribute('aria-valuetext', element('clock').textContent);
  }

  _statistics() {
    this.told = performance.now();
    const { player, decoding, drawn, canvas } = this;
    const [from, to] = this.range;
    const inScene = [...this.bytes].filter(([p]) => p >= from && p < to);
    const stamps = inScene.map(([p]) => p).sort((a, b) => a - b);
    const [first, last] = [stamps[0], stamps.at(-1)];
    const seconds = last > first ? (this.times.get(last) - this.times.get(first)) / this.header.ticksPerSecond : 0;
    const rate = seconds > 0 ? (last - first) / seconds : 0;
    const elapsed = drawn.frames.length > 1 ? drawn.frames.at(-1) - drawn.frames[0] : 0;
    const frame = player.at(this.position);
    const perFrame = decoding.milliseconds / decoding.frames;
    const speed = decoding.symbols / decoding.milliseconds / 1000;
    show(element('statistics'), {
      rows: [
        ['File', player.metadata.get('title') ?? this.name],
        ['Size', `${formatBytes(player.size)}, ${formatBytes(Math.min(player.loaded, player.size))} loaded`],
        ['Frames', `${player.frames.length}${rate > 0 ? `, ${rate.toFixed(2)} a second` : ''}`],
        [
          'This frame',
          frame ? `${frame.type === 1 ? 'I' : 'P'}, ${formatBytes(frame.bytes.total)}` : 'not decoded yet',
        ],
        [
          'Decoding',
          decoding.frames ? `${perFrame.toFixed(0)} ms a frame, ${speed.toFixed(2)} M elements/s` : '–',
        ],
        ['Picture', `${canvas.width} × ${canvas.height}, ${drawn.milliseconds.toFixed(0)} ms`],
        ['Pictures', `${elapsed > 0 ? ((1000 * (drawn.frames.length - 1)) / elapsed).toFixed(1) : '–'} a second`],
        ['First picture', this.timings.picture ? `after ${this.timings.picture.toFixed(0)} ms` : '–'],
      ],
      sums: components(
        inScene.map(([, bytes]) => bytes),
        this.header,
      ),
      frames: inScene.length,
      rate,
    });
  }

  // For scripts (docs/viewer.md)

  /** What the page shows. */
  state() {
    const { frames, lost } = this.player;
    return {
      ready: this.ready === true,
      playing: this.playing,
      frame: frames?.[this.position]?.number ?? null,
      shown: frames?.[this.shown]?.number ?? null,
      frames: frames?.length ?? 0,
      scene: this.scene ?? null,
      lost: [...lost.keys()].map((p) => frames[p].number),
      loaded: this.player.loaded,
      size: this.player.size ?? null,
      timings: this.timings,
      eye: this.camera.eye,
      message: element('message').hidden ? null : element('message').innerText,
    };
  }

  /** The finished picture of a frame: { width, height, data } (base64, RGBA, rows from the top). */
  async picture({ frame, width, height, camera }) {
    this.pause();
    this.fixed = [width, height];
    const position = this.player.positions.get(frame);
    if (camera !== undefined) this._chooseCamera(String(camera));
    this.seek(position);
    const finished = new Promise((resolve) => {
      this.waiting.push(resolve);
    });
    this._resize();
    this.shown = -1;
    await finished;
    const { data } = this.renderer.pixels();
    return { width, height, data: btoa(data.reduce((text, byte) => text + String.fromCharCode(byte), '')) };
  }

  /** SHA-256 of the occupancy and of every tensor of every frame, decoded anew. */
  async digests() {
    const player = new Player(this.player.makeWorker);
    player.digests = true;
    const lists = new Map();
    try {
      await player.open(this.source);
      await new Promise((resolve, reject) => {
        player.onframe = ({ number, digests }, position) => {
          lists.set(number, digests);
          if (lists.size === player.frames.length) resolve();
          else player.want(position + 1 < player.frames.length ? position + 1 : 0);
        };
        player.onlost = reject;
        player.want(0);
      });
    } finally {
      player.close();
    }
    return [...lists].sort(([a], [b]) => a - b).map(([number, digests]) => ({ number, ...digests }));
  }
}

/** @param {{makeWorker: () => Worker, source: {url?: string, blob?: Blob}, name: string}} options */
export async function start(options) {
  document.title = `${options.name} – RFV viewer`;
  say('Opening …', options.name);
  const viewer = new Viewer(options);
  window.viewer = viewer;
  try {
    await viewer.open();
  } catch (error) {
    if (error instanceof Error && !('code' in error)) console.error(error);
    say(...explained(error, options.name));
  }
}
