/** Frames of a stream for the page: decoding workers, what to decode next, and a cache. */

const WORKERS = Math.max(1, Math.min(4, (navigator.hardwareConcurrency || 2) - 1));
const CACHE_BYTES = 512 << 20;
const AHEAD = 8; // frames decoded in advance
const RETRY = 2000; // milliseconds after which bytes that could not be had are asked for again

/** One worker, doing one thing at a time. */
class Decoder {
  constructor(makeWorker, onFrame) {
    this.worker = makeWorker();
    this.onFrame = onFrame;
    this.busy = false;
    this.target = null; // frame being decoded up to
    this.last = null; // frame that came out last: the next may share arrays with it
    this.opened = null;
    this.worker.onmessage = ({ data }) => this._message(data);
    this.worker.onerror = (event) => {
      event.preventDefault?.();
      this._settle('reject', { message: event.message || 'A worker could not be started.' });
    };
  }

  ask(message) {
    this.busy = true;
    return new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
      this.worker.postMessage(message);
    });
  }

  _message(data) {
    if (data.event === 'frame') {
      const { frame } = data;
      frame.items = frame.items.map((item, i) => item ?? this.last.items[i]);
      this.last = frame;
      this.onFrame(frame);
    } else if (data.event === 'done') {
      this.loaded = data.loaded;
      this._settle('resolve', data.result);
    } else {
      this._settle('reject', data.error);
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

/**
 * Frames by their position in `frames`. Events: onframe(frame, position), onlost(error, positions).
 * An error of the stream as a whole rejects `open`.
 */
export class Player {
  constructor(makeWorker) {
    this.makeWorker = makeWorker;
    this.decoders = [];
    this.cache = new Map(); // position: frame
    this.lost = new Map(); // position: error
    this.wanted = 0;
    this.range = [0, 0];
    this.digests = false;
    this.onframe = () => {};
    this.onlost = () => {};
  }

  async open(source) {
    this.source = source;
    const first = this._decoder();
    const info = await first.ask({ request: 'open', source });
    first.opened = Promise.resolve();
    Object.assign(this, info);
    this.positions = new Map(this.frames.map((f, i) => [f.number, i]));
    this.range = [0, this.frames.length];
    return info;
  }

  close() {
    for (const decoder of this.decoders) decoder.worker.terminate();
    this.decoders = [];
  }

  get loaded() {
    return this.decoders.reduce((sum, d) => sum + (d.loaded ?? 0), 0);
  }

  /** The frame at a position is to be shown, and after it those that follow in the range [from, to), in a circle. */
  want(position, range = this.range) {
    this.wanted = position;
    this.range = range;
    this._schedule();
  }

  at(position) {
    return this.cache.get(position) ?? null;
  }

  _decoder() {
    const decoder = new Decoder(this.makeWorker, (frame) => this._decoded(frame));
    this.decoders.push(decoder);
    return decoder;
  }

  _decoded(frame) {
    const position = this.positions.get(frame.number);
    this.cache.set(position, frame);
    this._evict();
    this.onframe(frame, position);
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
    if (bytes <= CACHE_BYTES || this.cache.size <= 2) return;
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
    return this.decoders.length < WORKERS ? this._decoder() : null;
  }

  async _decode(decoder, position) {
    decoder.busy = true;
    decoder.target = position;
    try {
      decoder.opened ??= decoder.ask({ request: 'open', source: this.source });
      await decoder.opened;
      decoder.target = position;
      await decoder.ask({ request: 'decode', number: this.frames[position].number, digests: this.digests });
    } catch (error) {
      decoder.last = null;
      if (!error.code) {
        // not the stream's fault: it may go better later
        decoder.opened = decoder.loaded === undefined ? null : decoder.opened;
        this.onlost(error, []);
        setTimeout(() => this._schedule(), RETRY);
        return;
      }
      this._lose(error, position);
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
    this.onlost(error, positions);
  }
}
