/** Syntax elements from the payload of one unit (specification, 2.2 and 2.3). */
import { require } from './errors.js';

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class Reader {
  /** @param {Uint8Array} data */
  constructor(data) {
    this.data = data;
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.at = 0;
  }

  /** Moves on by n bytes and returns where they start. */
  skip(n) {
    require(this.at + n <= this.data.length, 'R-UNIT-07');
    this.at += n;
    return this.at - n;
  }

  bytes(n) {
    const at = this.skip(n);
    return this.data.subarray(at, at + n);
  }

  u8() {
    return this.data[this.skip(1)];
  }
  u16() {
    return this.view.getUint16(this.skip(2), true);
  }
  u32() {
    return this.view.getUint32(this.skip(4), true);
  }
  u64() {
    return this.view.getBigUint64(this.skip(8), true);
  }
  s8() {
    return this.view.getInt8(this.skip(1));
  }
  s16() {
    return this.view.getInt16(this.skip(2), true);
  }
  s32() {
    return this.view.getInt32(this.skip(4), true);
  }
  f32() {
    return this.view.getFloat32(this.skip(4), true);
  }

  uv() {
    let value = 0;
    let scale = 1;
    for (let count = 1; ; count++) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (byte < 128) {
        require(value < 2 ** 32 && (count === 1 || byte !== 0), 'R-VAR-01');
        return value;
      }
      require(count < 5, 'R-VAR-01');
      scale *= 128;
    }
  }

  sv() {
    const v = this.uv();
    return v % 2 === 0 ? v / 2 : -(v + 1) / 2;
  }

  /** n elements read by a function. */
  list(read, n) {
    const values = new Array(n);
    for (let i = 0; i < n; i++) values[i] = read();
    return values;
  }

  /** n bytes as signed integers. */
  s8s(n) {
    const at = this.skip(n);
    return new Int8Array(this.data.buffer, this.data.byteOffset + at, n).slice();
  }

  /** Bytes after their number as uv. */
  sized() {
    return this.bytes(this.uv());
  }

  /** UTF-8 (RFC 3629) text of n bytes. */
  text(n, requirement) {
    const bytes = this.bytes(n);
    try {
      return UTF8.decode(bytes);
    } catch {
      require(false, requirement);
    }
  }

  finish() {
    require(this.at === this.data.length, 'R-UNIT-06');
  }
}
