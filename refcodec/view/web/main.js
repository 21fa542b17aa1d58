/** The page of `refcodec view`: a player that fills the window, statistics, files, links, captures. */
import { RfvPlayer, define } from './element.js';
import { components, formatBytes, show } from './statistics.js';

const element = (id) => document.getElementById(id);
const SAID = 4000; // milliseconds for which a status stands

/** Of a number, short enough for a link. */
const short = (v) => String(Number(v.toPrecision(6)));

class Page {
  constructor({ source, name }) {
    this.player = element('player');
    this.home = { source, name };
    const parameters = new URLSearchParams(location.hash.slice(1) || location.search);
    this.parameters = parameters;
    for (const name of ['quality', 'background', 'scene', 'time', 'autoplay'])
      if (parameters.has(name)) this.player.setAttribute(name, parameters.get(name));
    this._controls();
    const file = parameters.get('file');
    if (file) this.open(new URL(file, location.href).href);
    else if (source) this.open(source, name);
    else this.player.say('Open an RFV file', 'Drop one here, or press O.');
    if (window.top !== window) {
      // In somebody's page the wheel and the finger are that page's first.
      this.player.removeAttribute('zoom');
      this.player.setAttribute('touch-action', 'pan-y');
    }
  }

  async open(source, name) {
    const { player, parameters } = this;
    this.from = source;
    const title = name ?? decodeURI(String(source).split(/[?#]/)[0].split('/').at(-1));
    document.title = `${title} – RFV viewer`;
    const camera = parameters.get('camera');
    player.addEventListener(
      'ready',
      () => {
        this.opened = performance.now();
        const numbers = camera?.split(',').map(Number);
        if (numbers?.length === 9 && numbers.every(Number.isFinite))
          player.camera = { eye: numbers.slice(0, 3), target: numbers.slice(3, 6), up: numbers.slice(6) };
        else if (camera) player.camera = camera;
      },
      { once: true },
    );
    await player.load(source, title);
    window.viewer = player.viewer;
  }

  _controls() {
    const { player } = this;
    element('details').onclick = () => this._toggleStatistics();
    element('open').onclick = () => element('file').click();
    element('file').onchange = ({ target }) => this._local(target.files[0]);
    element('share').onclick = () => this._share();
    element('save').onclick = () => this._save();
    element('record').onclick = () => this._record();
    player.addEventListener('frame', () => this._statistics());
    player.addEventListener('progress', () => this._statistics());
    addEventListener('keydown', (event) => {
      // The page is its player: keys work wherever the focus is.
      if (!event.composedPath().includes(player) && player.key(event)) return;
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.composedPath()[0].matches?.('select, input, textarea')) return;
      if (event.key.toLowerCase() === 's') this._toggleStatistics();
      if (event.key.toLowerCase() === 'o') element('file').click();
    });
    addEventListener('dragover', (event) => {
      event.preventDefault();
      player.classList.add('over');
    });
    addEventListener('dragleave', (event) => {
      if (event.relatedTarget === null) player.classList.remove('over');
    });
    addEventListener('drop', (event) => {
      event.preventDefault();
      player.classList.remove('over');
      this._local(event.dataTransfer.files[0]);
    });
  }

  _local(file) {
    if (!file) return;
    this.parameters = new URLSearchParams();
    this.open(file, file.name);
  }

  _tell(text) {
    element('status').textContent = text;
    clearTimeout(this.said);
    this.said = setTimeout(() => {
      element('status').textContent = '';
    }, SAID);
  }

  /** A link that shows the same: file, camera, time, quality. */
  link() {
    const { player, from } = this;
    const { viewer } = player;
    const url = new URL(location.href);
    const out = new URLSearchParams();
    if (typeof from === 'string' && from !== this.home.source) out.set('file', from);
    if (viewer.stream.header.sceneCount > 1) out.set('scene', viewer.scene);
    const { eye, target, up } = viewer.camera;
    out.set('camera', player.camera === 'free' ? [...eye, ...target, ...up].map(short).join(',') : player.camera);
    if (viewer.count > 1) out.set('time', short(player.currentTime));
    if (viewer.quality !== 'auto') out.set('quality', viewer.quality);
    // Pages of a file have no query.
    if (url.protocol === 'file:') url.hash = out;
    else url.search = out;
    return url.href;
  }

  async _share() {
    if (!this.player.viewer.ready) return;
    if (this.from instanceof Blob && this.from !== this.home.source) {
      this._tell('A file from this computer has no link.');
      return;
    }
    history.replaceState(null, '', this.link());
    try {
      await navigator.clipboard.writeText(location.href);
      this._tell('Link copied.');
    } catch {
      this._tell('The link is in the address bar.');
    }
  }

  async _save() {
    const frame = this.player.frame;
    this._download(await this.player.viewer.still(), `${this._stem()}-${frame}.png`);
  }

  async _record() {
    const button = element('record');
    if (this.recorder) {
      const blob = await this.recorder.stop();
      this.recorder = null;
      this._download(blob, `${this._stem()}.${blob.type.split('/')[1]}`);
      this._tell('Recording saved.');
    } else {
      try {
        this.recorder = this.player.viewer.record();
      } catch (error) {
        this._tell(error.message);
      }
    }
    button.setAttribute('aria-pressed', String(Boolean(this.recorder)));
    button.textContent = this.recorder ? 'Stop recording' : 'Record';
  }

  _stem() {
    return (this.player.name ?? 'field').replace(/\.rfv$/i, '');
  }

  _download(blob, name) {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  _toggleStatistics() {
    const panel = element('statistics');
    panel.hidden = !panel.hidden;
    element('details').setAttribute('aria-pressed', String(!panel.hidden));
    this.told = 0;
    this._statistics();
    clearInterval(this.refresh);
    if (!panel.hidden) this.refresh = setInterval(() => this._statistics(), 500);
  }

  _statistics() {
    const { viewer } = this.player;
    if (element('statistics').hidden || !viewer?.ready || performance.now() - (this.told ?? 0) < 250) return;
    this.told = performance.now();
    const { stream, decoding, drawn, canvas, header } = viewer;
    const [from, to] = viewer.range;
    const inScene = [...viewer.bytes].filter(([p]) => p >= from && p < to);
    const stamps = inScene.map(([p]) => p).sort((a, b) => a - b);
    const [first, last] = [stamps[0], stamps.at(-1)];
    const seconds = last > first ? (viewer.times.get(last) - viewer.times.get(first)) / header.ticksPerSecond : 0;
    const rate = seconds > 0 ? (last - first) / seconds : 0;
    const frame = stream.at(viewer.position);
    const perFrame = decoding.milliseconds / decoding.frames;
    const speed = decoding.symbols / decoding.milliseconds / 1000;
    const scale = drawn.scale < 1 ? ` × ${drawn.scale.toFixed(2)}` : '';
    show(element('statistics'), {
      rows: [
        ['File', stream.metadata.get('title') ?? this.player.name],
        ['Size', `${formatBytes(stream.size)}, ${formatBytes(Math.min(stream.loaded, stream.size))} loaded`],
        ['Frames', `${stream.frames.length}${rate > 0 ? `, ${rate.toFixed(2)} a second` : ''}`],
        [
          'This frame',
          frame ? `${frame.type === 1 ? 'I' : 'P'}, ${formatBytes(frame.bytes.total)}` : 'not decoded yet',
        ],
        [
          'Decoding',
          decoding.frames ? `${perFrame.toFixed(0)} ms a frame, ${speed.toFixed(2)} M elements/s` : '–',
        ],
        ['Picture', `${canvas.width} × ${canvas.height}${scale}, ${drawn.quality ?? '–'}, ${drawn.milliseconds.toFixed(0)} ms`],
        ['Pictures', `${viewer.rate?.toFixed(1) ?? '–'} a second`],
        ['First picture', viewer.timings.picture ? `after ${viewer.timings.picture.toFixed(0)} ms` : '–'],
      ],
      sums: components(
        inScene.map(([, bytes]) => bytes),
        header,
      ),
      frames: inScene.length,
      rate,
    });
  }
}

/** @param {{makeWorker: () => Worker, source: ?(string|Blob), name: ?string}} options */
export function start({ makeWorker, source = null, name = null }) {
  RfvPlayer.makeWorker = makeWorker;
  define();
  window.page = new Page({ source, name });
}
