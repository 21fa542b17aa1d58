/** Which frame of a stream is due: play, pause, seek, time. What shows the frames derives from it. */

const STILL = 1 / 30; // seconds for which a frame without neighbour is shown

/** Events, with `detail`: playing { playing }; seek; ended; error { error }. */
export class Playback extends EventTarget {
  constructor({ loop = true } = {}) {
    super();
    this.loop = loop;
    this.stream = null;
    this.times = new Map(); // position: time stamp
    this.playing = false;
    this.position = 0; // of the frame that is to be shown
    this.shown = -1;
    this.range = [0, 0]; // of positions that are played
    this.sought = null; // seconds: a time whose frame is not known yet
  }

  _tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** Something is to be shown that is not yet. */
  _wake() {}

  /** What is shown changes no more. */
  _changed() {}

  /** Positions of a scene's frames: [first, behind the last]. */
  rangeOf(scene) {
    const { frames } = this.stream;
    return [frames.findIndex((f) => f.scene === scene), frames.findLastIndex((f) => f.scene === scene) + 1];
  }

  play() {
    if (this.playing || this.count < 2) return;
    this.playing = true;
    this.due = null;
    if (!this.loop && this.position === this.range[1] - 1) this.seek(this.range[0]);
    this._tell('playing', { playing: true });
    this._wake();
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    this._changed();
    this._tell('playing', { playing: false });
  }

  /** Frames of the scene. */
  get count() {
    return this.range[1] - this.range[0];
  }

  step(by) {
    this.pause();
    const [from, to] = this.range;
    this.seek(from + ((((this.position - from + by) % (to - from)) + to - from) % (to - from)));
  }

  /** Shows the frame at a position as soon as it is there. */
  seek(position) {
    this.sought = null;
    this.position = position;
    this.stream.want(position, this.range);
    this.fresh = true;
    this._wake();
    this._tell('seek', {});
  }

  /** Seconds from the scene's first frame to the one at a position; null where it is not known yet. */
  timeOf(position) {
    if (!this.times.has(position) || !this.times.has(this.range[0])) return null;
    return (this.times.get(position) - this.times.get(this.range[0])) / this.stream.header.ticksPerSecond;
  }

  /** Shows the frame of a time, in seconds. Where that is, is known better the more frames are decoded. */
  seekTime(seconds) {
    this.seek(this.position);
    this.sought = Math.max(0, seconds);
    this._find();
  }

  /** Goes to the frame of the time that is sought, as far as it is known. */
  _find() {
    const seconds = this.sought;
    const [from, to] = this.range;
    if (seconds === null || this.timeOf(from) === null) return;
    const known = [...this.times.keys()].filter((p) => p >= from && p < to).sort((a, b) => a - b);
    const at = known.findLastIndex((p) => this.timeOf(p) <= seconds + 1e-6);
    let position = known[at];
    const sure = position === to - 1 || known[at + 1] === position + 1;
    if (!sure && position > from) {
      // Between the known ones, or beyond them, frames are taken to be evenly spaced.
      const rate = (position - from) / this.timeOf(position);
      const most = (known[at + 1] ?? to) - 1;
      position = Math.min(most, from + Math.floor(seconds * rate + 1e-3));
    }
    if (position !== this.position) this.seek(position);
    this.sought = sure ? null : seconds;
  }

  /** Seconds for which the frame at a position is shown (9.3); null where the next one's time is not known yet. */
  _duration(position) {
    const [from, to] = this.range;
    const { lost } = this.stream;
    const between = (a, b) =>
      this.times.has(a) && this.times.has(b)
        ? (this.times.get(b) - this.times.get(a)) / this.stream.header.ticksPerSecond
        : null;
    let next = position + 1;
    while (next < to && lost.has(next)) next++;
    if (next < to) return between(position, next);
    return (position > from ? between(position - 1, position) : null) ?? STILL;
  }

  /** Goes on to the next frame when its time has come; now: milliseconds. */
  _advance(now) {
    const { stream } = this;
    const [from, to] = this.range;
    const duration = this._duration(this.position);
    const after = (p) => (p + 1 < to ? p + 1 : from);
    let next = after(this.position);
    while (stream.lost.has(next) && next !== this.position) next = after(next);
    stream.want(this.position, this.range);
    if (this.due === null && duration !== null) this.due = now + 1000 * duration;
    if (this.due === null || now < this.due) return;
    if (next <= this.position && !this.loop) {
      this.pause();
      this._tell('ended', {});
    } else if (stream.at(next)) {
      // On time, or from now on where the machine is behind.
      this.due = Math.max(this.due, now - 100) + 1000 * (this._duration(next) ?? STILL);
      this.seek(next);
    }
  }

  /** Leaves a position that has turned out to be lost for one that is not. */
  _leave(error, positions) {
    const { frames, lost } = this.stream;
    if (!positions.includes(this.position)) return;
    const good = frames.findIndex((f, p) => p >= this.range[0] && p < this.range[1] && !lost.has(p));
    if (good < 0) this._tell('error', { error });
    else if (this.shown < 0 || this.playing) this.seek(good);
  }
}
