/** Frames of a stream: decoding workers, what to decode next, and a cache. */

const MOST_WORKERS = 8;
const CACHE_BYTES = 512 << 20;
const AHEAD = 8; // frames decoded in advance
const RETRY = 2000; // milliseconds after which bytes that could not be had are asked for again

/** An error of a stream or of the way to it: `code`, `requirement`, `section`, `offset` where the stream is at fault. */
export class RfvError extends Error {
  constructor(known) {
    super(known.message ?? `${known.code} ${known.errorName} (${known.requirement}): ${known.detail || known.meaning}`);
    Object.assign(this, known);
    this.name = 'RfvError';
  }
}

/** One worker, doing one thing at a time. */
class Decoder {
  constructor(worker, onFrame, onProgress) {
    this.worker = worker;
    this.onFrame = onFrame;
    this.onProgress = onProgress;
    this.loaded = 0;
    this.busy = false;
    this.target = null; // position being decoded up to
    this.last = null; // frame that came out last: the next may share arrays with it
    this.opened = null;
    this.ready = false; // opened well
    this.worker.onmessage = ({ data }) => this._message(data);
    this.worker.onerror = (event) => {
      event.preventDefault?.();
      this._settle('reject', new RfvError({ message: event.message || 'A worker could not be started.' }));
    };
  }

  ask(message) {
    this.busy = true;
    return new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
      this.worker.postMessage(message);
    });
  }

  /** Gives up what is being decoded, after the frame at hand. */
  cancel() {
    this.worker.postMessage({ request: 'cancel' });
  }

  _message(data) {
    if (data.event === 'frame') {
      const { frame } = data;
      frame.items = frame.items.map((item, i) => item ?? this.last.items[i]);
      this.last = frame;
      this.onFrame(frame);
    } else if (data.event === 'progress') {
      this.loaded = data.loaded;
      this.onProgress(data.size);
    } else if (data.event === 'done') {
      this.loaded = data.loaded;
      this._settle('resolve', data.result);
    } else {
      this._settle('reject', new RfvError(data.error));
    }
  }

  _settle(how, value) {
    this.busy = false;
    this.target = null;
    const settle = this.settle;
    this.settle = null;
    settle?.[how](value);
  }
}

/** A source that a worker can be told of: of a URL, a Blob (also a File) or bytes. */
export function sourceOf(source) {
  if (source instanceof Blob) return { blob: source };
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return { blob: new Blob([source]) };
  if (typeof source === 'string' || source instanceof URL)
    return { url: new URL(source, globalThis.document?.baseURI ?? globalThis.location?.href).href };
  if (source?.url) return { ...source, url: sourceOf(source.url).url };
  if (source?.blob) return source;
  throw new RfvError({ message: 'A source is a URL, a Blob, bytes, or { url, headers }.' });
}

/**
 * The frames of a stream, decoded in workers, several groups at once; a frame's place in `frames` is its position.
 *
 * Events: `frame` { frame, position }, `lost` { error, positions }, `progress` { loaded, size }, in `detail`.
 */
export class RfvStream extends EventTarget {
  /** Makes a worker that runs worker.js; set by the package, or by whoever bundles it. */
  static makeWorker = null;

  /**
   * Opens a stream: reads its headers and the list of its frames.
   * @param {string|URL|Blob|ArrayBuffer|ArrayBufferView|{url: string, headers: object}} source
   * @param {object} options  makeWorker; workers: how many at most; cacheBytes: of decoded frames; signal: ends all
   * @returns {Promise<RfvStream>}  rejects with RfvError, or with the signal's reason
   */
  static async open(source, options = {}) {
    const stream = new this(source, options);
    try {
      await stream.open();
    } catch (error) {
      stream.dispose();
      throw options.signal?.aborted ? options.signal.reason : error;
    }
    return stream;
  }

  constructor(source, { makeWorker, workers, cacheBytes = CACHE_BYTES, signal, digests = false } = {}) {
    super();
    this.source = sourceOf(source);
    this.makeWorker = makeWorker ?? this.constructor.makeWorker;
    if (!this.makeWorker) throw new RfvError({ message: 'RfvStream needs makeWorker.' });
    this.mostWorkers =
      workers ?? Math.max(1, Math.min(MOST_WORKERS, (globalThis.navigator?.hardwareConcurrency || 2) - 1));
    this.cacheBytes = cacheBytes;
    this.digests = digests;
    this.decoders = [];
    this.cache = new Map(); // position: frame
    this.lost = new Map(); // position: error
    this.frames = [];
    this.size = null;
    this.wanted = 0;
    this.range = [0, 0];
    this.disposed = false;
    signal?.throwIfAborted();
    signal?.addEventListener('abort', () => this.dispose(signal.reason), { once: true });
  }

  async open() {
    const first = this._decoder();
    const info = await first.ask({ request: 'open', source: this.source });
    first.opened = Promise.resolve();
    first.ready = true;
    Object.assign(this, info); // header, cameras, metadata, frames, level, size
    if (info.tag) this.source = { ...this.source, tag: info.tag }; // other workers read the same version, or fail
    this.positions = new Map(this.frames.map((f, i) => [f.number, i]));
    this.range = [0, this.frames.length];
    return info;
  }

  /** Ends the workers; what is waited for is rejected. */
  dispose(reason = new DOMException('The stream has been disposed of.', 'AbortError')) {
    this.disposed = true;
    clearTimeout(this.retry);
    for (const decoder of this.decoders.splice(0)) {
      decoder.worker.terminate();
      decoder._settle('reject', reason);
    }
    this.cache.clear();
    this._tell('disposed', { reason });
  }

  /** Bytes read so far, by all workers. */
  get loaded() {
    return this.decoders.reduce((sum, d) => sum + d.loaded, 0);
  }

  /** The frame at a position is to be shown, and after it those that follow in the range [from, to), in a circle. */
  want(position, range = this.range) {
    this.wanted = position;
    this.range = range;
    const plan = new Set([...this._plan()].map((p) => this._groupStart(p)));
    for (const decoder of this.decoders)
      if (decoder.busy && decoder.target !== null && !plan.has(this._groupStart(decoder.target))) decoder.cancel();
    this._schedule();
  }

  /** The decoded frame at a position, or null where it is not there (yet). */
  at(position) {
    return this.cache.get(position) ?? null;
  }

  /**
   * The frame with a number, as soon as it is decoded.
   * @param {{signal?: AbortSignal}} options
   */
  frame(number, { signal } = {}) {
    const position = this.positions.get(number);
    if (position === undefined) return Promise.reject(new RfvError({ message: `There is no frame ${number}.` }));
    if (this.at(position)) return Promise.resolve(this.at(position));
    return new Promise((resolve, reject) => {
      const names = ['frame', 'lost', 'disposed'];
      const done = (settle, value) => {
        for (const name of names) this.removeEventListener(name, listener);
        signal?.removeEventListener('abort', aborted);
        settle(value);
      };
      const aborted = () => {
        for (const decoder of this.decoders) if (decoder.target === position) decoder.cancel();
        done(reject, signal.reason);
      };
      const listener = ({ type, detail }) => {
        if (type === 'disposed') done(reject, detail.reason);
        else if (type === 'frame' && detail.position === position) done(resolve, detail.frame);
        else if (type === 'lost' && detail.positions.includes(position)) done(reject, detail.error);
      };
      if (this.disposed || signal?.aborted) {
        reject(signal?.reason ?? new DOMException('The stream has been disposed of.', 'AbortError'));
        return;
      }
      if (this.lost.has(position)) {
        reject(this.lost.get(position));
        return;
      }
      for (const name of names) this.addEventListener(name, listener);
      signal?.addEventListener('abort', aborted, { once: true });
      this.want(position);
    });
  }

  _tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  _decoder() {
    const progress = (size) => this._tell('progress', { loaded: this.loaded, size });
    const decoder = new Decoder(this.makeWorker(), (frame) => this._decoded(frame), progress);
    this.decoders.push(decoder);
    return decoder;
  }

  _decoded(frame) {
    const position = this.positions.get(frame.number);
    this.cache.set(position, frame);
    this._evict();
    this._tell('frame', { frame, position });
  }

  /** Forgets the frames that will be needed last. Arrays are shared between frames: each counts once. */
  _evict() {
    const seen = new Set();
    let bytes = 0;
    for (const frame of this.cache.values()) {
      for (const item of frame.items) {
        if (!seen.has(item)) bytes += item.byteLength;
        seen.add(item);
      }
    }
    if (bytes <= this.cacheBytes || this.cache.size <= 2) return;
    const [from, to] = this.range;
    const span = Math.max(1, to - from);
    const distance = (p) => (p >= from && p < to ? (p - this.wanted + span) % span : span + Math.abs(p - this.wanted));
    const farthest = [...this.cache.keys()].reduce((a, b) => (distance(b) > distance(a) ? b : a));
    this.cache.delete(farthest);
    if (this.cache.size > 2) this._evict();
  }

  /** Positions to decode, the most urgent first. */
  *_plan() {
    const [from, to] = this.range;
    for (let k = 0; k < Math.min(AHEAD, to - from); k++) {
      yield from + ((this.wanted - from + k) % (to - from));
    }
  }

  _groupStart(position) {
    while (position > 0 && !this.frames[position].intra) position--;
    return position;
  }

  _schedule() {
    if (this.disposed) return;
    const underway = new Set(this.decoders.filter((d) => d.busy).map((d) => this._groupStart(d.target ?? 0)));
    for (const position of this._plan()) {
      if (this.cache.has(position) || this.lost.has(position)) continue;
      const group = this._groupStart(position);
      if (underway.has(group)) continue;
      const free = this._free(position, group);
      if (free === null) return;
      underway.add(group);
      this._decode(free, position);
    }
  }

  /** A worker for a position: one that stands in its group in front of it, else any that is free. */
  _free(position, group) {
    const idle = this.decoders.filter((d) => !d.busy);
    const ready = idle.find(
      (d) => d.last && this.positions.get(d.last.number) < position && this.positions.get(d.last.number) >= group,
    );
    if (ready ?? idle[0]) return ready ?? idle[0];
    return this.decoders.length < this.mostWorkers ? this._decoder() : null;
  }

  async _decode(decoder, position) {
    decoder.busy = true;
    decoder.target = position;
    try {
      decoder.opened ??= decoder.ask({ request: 'open', source: this.source });
      await decoder.opened;
      decoder.ready = true;
      decoder.busy = true;
      decoder.target = position;
      await decoder.ask({ request: 'decode', number: this.frames[position].number, digests: this.digests });
    } catch (error) {
      if (this.disposed) return;
      decoder.last = null;
      if (!error.code) {
        // Not the stream's fault: it may go better later.
        if (!error.cancelled) {
          if (!decoder.ready) decoder.opened = null;
          this._tell('lost', { error, positions: [] });
          clearTimeout(this.retry);
          this.retry = setTimeout(() => this._schedule(), RETRY);
          return;
        }
      } else {
        this._lose(error, position);
      }
    }
    this._schedule();
  }

  /** A damaged frame costs its group from there on (3.4). */
  _lose(error, position) {
    const first = this.positions.get(error.frame) ?? position;
    const positions = [];
    for (let p = first; p < this.frames.length && (p === first || !this.frames[p].intra); p++) {
      if (this.cache.has(p)) continue;
      this.lost.set(p, error);
      positions.push(p);
    }
    this._tell('lost', { error, positions });
  }
}
