/** Frames of a stream on demand, reading no more of it than they need (specification, 3.3). */
import { SequenceDecoder } from './decoder/decoder.js';
import { Refused } from './decoder/errors.js';
import {
  END_UNIT_SIZE,
  FILE_HEADER_SIZE,
  UNIT_HEADER_SIZE,
  UNIT_OVERHEAD,
  checkUnit,
  readEnd,
  readFileHeader,
  readGroupHeader,
  readIndex,
  readUnitSize,
} from './decoder/structures.js';
import { Unit } from './decoder/syntax.generated.js';

const GROUP_HEADER_UNIT = UNIT_OVERHEAD + 15;
const FRAME_START = UNIT_HEADER_SIZE + 5; // up to frame_type

export class StreamReader {
  /** @param {{read: (offset: number, length: number) => Promise<Uint8Array>, size: ?number}} source */
  constructor(source) {
    this.source = source;
    this.at = 0;
  }

  /** Reads the headers and the list of frames. Throws Refused, SourceError. */
  async open() {
    const head = await this.source.read(0, FILE_HEADER_SIZE);
    ({ level: this.level } = readFileHeader(head));
    this.at = FILE_HEADER_SIZE;
    const decoder = new SequenceDecoder(this.level);
    let type = null;
    for (;;) {
      const offset = this.at;
      const unit = await this._unit(offset);
      [type] = unit.bytes;
      if (
        decoder.header !== null &&
        (type === Unit.GROUP_HEADER || type === Unit.INDEX || type === Unit.END || type === Unit.FRAME)
      ) {
        this.first = offset;
        break;
      }
      this._feed(decoder, unit, offset);
      this.at = offset + unit.bytes.length;
    }
    this.decoder = decoder;
    this.header = decoder.header;
    this.cameras = decoder.cameras;
    this.metadata = decoder.metadata;
    this.frames = (await this._fromIndex()) ?? (await this._scan());
    this.next = null; // number of the frame that the decoder is ready for
    return this;
  }

  /** Bytes of the unit at an offset. */
  async _unit(offset) {
    try {
      const size = readUnitSize(await this.source.read(offset, UNIT_HEADER_SIZE), this.level);
      return { bytes: await this.source.read(offset, size + UNIT_OVERHEAD), size };
    } catch (error) {
      throw placed(error, offset);
    }
  }

  _feed(decoder, { bytes, size }, offset) {
    try {
      return decoder.feed(bytes, size, offset);
    } catch (error) {
      throw placed(error, offset);
    }
  }

  /** The list of frames from the index: { number, intra, offset, scene }; null without a sound one. */
  async _fromIndex() {
    const { source, level } = this;
    const endAt = source.size - END_UNIT_SIZE;
    try {
      const tail = await source.read(endAt, END_UNIT_SIZE);
      if (checkUnit(tail, END_UNIT_SIZE - UNIT_OVERHEAD).type !== Unit.END) return null;
      const at = Number(readEnd(tail.subarray(UNIT_HEADER_SIZE, -4)).indexOffset);
      if (at < this.first || at >= endAt) return null;
      const size = readUnitSize(await source.read(at, UNIT_HEADER_SIZE), level);
      const unit = checkUnit(await source.read(at, size + UNIT_OVERHEAD), size);
      if (unit.type !== Unit.INDEX) return null;
      const frames = readIndex(unit.payload).map((e) => ({
        number: e.number,
        intra: e.type === 1,
        offset: Number(e.offset),
        scene: 0,
      }));
      const sound =
        frames.length > 0 &&
        frames[0].intra &&
        frames.every(
          (f, i) =>
            f.offset >= this.first &&
            f.offset < at &&
            (i === 0 || (f.number > frames[i - 1].number && f.offset > frames[i - 1].offset)),
        );
      if (!sound) return null;
      return (await this._withScenes(frames)) ? frames : null;
    } catch (error) {
      if (error instanceof Refused) return null; // decoding in order says what is wrong
      throw error;
    }
  }

  /** Scenes of the frames, from some of the group headers: scenes stand one after the other. */
  async _withScenes(frames) {
    if (this.header.sceneCount === 1) return true;
    const groups = frames.map((f, i) => (f.intra ? i : -1)).filter((i) => i >= 0);
    const sceneOf = async (g) => {
      const bytes = await this.source.read(frames[groups[g]].offset, GROUP_HEADER_UNIT);
      const { payload } = checkUnit(bytes, GROUP_HEADER_UNIT - UNIT_OVERHEAD);
      return readGroupHeader(payload, this.header.sceneCount, this.level).scene;
    };
    const scenes = new Array(groups.length);
    const fill = async (from, to) => {
      // the scenes of `from` and `to` are known
      if (scenes[from] === scenes[to]) {
        scenes.fill(scenes[from], from, to);
      } else if (to - from > 1) {
        const middle = (from + to) >> 1;
        scenes[middle] = await sceneOf(middle);
        await fill(from, middle);
        await fill(middle, to);
      }
    };
    const last = groups.length - 1;
    scenes[0] = await sceneOf(0);
    scenes[last] = await sceneOf(last);
    await fill(0, last);
    groups.forEach((start, g) => {
      for (let i = start; i < (groups[g + 1] ?? frames.length); i++) frames[i].scene = scenes[g];
    });
    return true;
  }

  /** The list of frames from their headers, front to back, up to the first damage. */
  async _scan() {
    const { source, level } = this;
    const frames = [];
    let group = null;
    for (let at = this.first; ;) {
      const head = await source.read(at, FRAME_START);
      if (head.length < UNIT_HEADER_SIZE) break;
      let size;
      try {
        size = readUnitSize(head, level);
        if (head[0] === Unit.END) break;
        if (head[0] === Unit.GROUP_HEADER) {
          const bytes = await source.read(at, GROUP_HEADER_UNIT);
          group = { ...readGroupHeader(checkUnit(bytes, size).payload, this.header.sceneCount, level), offset: at };
        } else if (head[0] === Unit.FRAME && group !== null && head.length === FRAME_START) {
          const number = new DataView(head.buffer, head.byteOffset).getUint32(UNIT_HEADER_SIZE, true);
          const intra = head[FRAME_START - 1] === 1;
          frames.push({ number, intra, offset: intra ? group.offset : at, scene: group.scene });
        }
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        break;
      }
      at += size + UNIT_OVERHEAD;
    }
    return frames;
  }

  /** The I-frame that decoding of a frame starts at. */
  groupStart(number) {
    const { frames } = this;
    let start = null;
    for (const f of frames) {
      if (f.number > number) break;
      if (f.intra) start = f;
    }
    return start;
  }

  /**
   * Decodes up to frame `number`, from where the last call stopped or from the start of its group.
   * Calls `output` with every frame on the way. Throws Refused with `offset` and, in `frame`, the first frame lost.
   */
  async decode(number, output) {
    const start = this.groupStart(number);
    if (this.next === null || this.next > number || this.next <= start.number) {
      this.decoder.jump();
      this.at = start.offset;
      this.next = start.number;
    }
    while (this.next <= number) {
      let frame;
      try {
        const unit = await this._unit(this.at);
        frame = this._feed(this.decoder, unit, this.at);
        if (this.decoder.ended)
          throw placed(new Refused('R-FRM-01', `Frame ${this.next} is not where the index has it.`), this.at);
        this.at += unit.bytes.length;
      } catch (error) {
        if (error instanceof Refused) error.frame = this.next;
        this.next = null;
        throw error;
      }
      if (frame === null) continue;
      this.next = frame.number + 1;
      await output(frame);
    }
  }
}

function placed(error, offset) {
  if (error instanceof Refused) error.offset ??= offset;
  return error;
}
