/** CRC-32 and SHA-256 (specification, 2.4). */

const CRC = new Uint32Array(8 * 256);
for (let i = 0; i < 256; i++) {
  let c = i;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  CRC[i] = c;
}
for (let i = 256; i < CRC.length; i++) CRC[i] = (CRC[i - 256] >>> 8) ^ CRC[CRC[i - 256] & 255];

/** CRC-32 of bytes `start` to `end`, eight at a time. */
export function crc32(data, start = 0, end = data.length) {
  let c = 0xffffffff;
  let i = start;
  for (; i + 8 <= end; i += 8) {
    c ^= data[i] | (data[i + 1] << 8) | (data[i + 2] << 16) | (data[i + 3] << 24);
    c =
      CRC[1792 + (c & 255)] ^
      CRC[1536 + ((c >>> 8) & 255)] ^
      CRC[1280 + ((c >>> 16) & 255)] ^
      CRC[1024 + (c >>> 24)] ^
      CRC[768 + data[i + 4]] ^
      CRC[512 + data[i + 5]] ^
      CRC[256 + data[i + 6]] ^
      CRC[data[i + 7]];
  }
  for (; i < end; i++) c = (c >>> 8) ^ CRC[(c ^ data[i]) & 255];
  return (c ^ 0xffffffff) >>> 0;
}

// The first 32 bits of the fractional parts of cube and square roots of primes (FIPS 180-4, 4.2.2 and 5.3.3).
const PRIMES = [];
for (let n = 2; PRIMES.length < 64; n++) if (PRIMES.every((p) => n % p !== 0)) PRIMES.push(n);

/** floor(2^32 * n^(1/k)) mod 2^32, exactly. */
function rootBits(n, k) {
  const target = BigInt(n) << BigInt(32 * k);
  let root = BigInt(Math.floor(n ** (1 / k) * 2 ** 32));
  while (root ** BigInt(k) > target) root--;
  while ((root + 1n) ** BigInt(k) <= target) root++;
  return Number(root & 0xffffffffn);
}

const K = Int32Array.from(PRIMES, (p) => rootBits(p, 3));
const START = Int32Array.from(PRIMES.slice(0, 8), (p) => rootBits(p, 2));

/** SHA-256, fed piece by piece. */
export class Sha256 {
  constructor() {
    this.state = START.slice();
    this.block = new Uint8Array(64);
    this.filled = 0;
    this.length = 0;
    this.w = new Int32Array(64);
  }

  /** @param {Uint8Array} data */
  update(data) {
    this.length += data.length;
    let at = 0;
    if (this.filled > 0) {
      at = Math.min(64 - this.filled, data.length);
      this.block.set(data.subarray(0, at), this.filled);
      this.filled += at;
      if (this.filled < 64) return this;
      this._compress(this.block, 0, 64);
      this.filled = 0;
    }
    const whole = at + ((data.length - at) & ~63);
    this._compress(data, at, whole);
    this.block.set(data.subarray(whole));
    this.filled = data.length - whole;
    return this;
  }

  /** The 32 bytes. Nothing can be added afterwards. */
  digest() {
    const bits = this.length * 8;
    const tail = new Uint8Array((this.filled < 56 ? 64 : 128) - this.filled);
    tail[0] = 0x80;
    const view = new DataView(tail.buffer);
    view.setUint32(tail.length - 8, Math.floor(bits / 2 ** 32));
    view.setUint32(tail.length - 4, bits >>> 0);
    this.update(tail);
    const out = new DataView(new ArrayBuffer(32));
    this.state.forEach((word, i) => out.setInt32(4 * i, word));
    return new Uint8Array(out.buffer);
  }

  _compress(data, start, end) {
    const { w, state } = this;
    for (let at = start; at < end; at += 64) {
      for (let i = 0, p = at; i < 16; i++, p += 4) {
        w[i] = (data[p] << 24) | (data[p + 1] << 16) | (data[p + 2] << 8) | data[p + 3];
      }
      for (let i = 16; i < 64; i++) {
        const x = w[i - 15];
        const y = w[i - 2];
        const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
        const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
        w[i] = (w[i - 16] + s0 + w[i - 7] + s1) | 0;
      }
      let a = state[0];
      let b = state[1];
      let c = state[2];
      let d = state[3];
      let e = state[4];
      let f = state[5];
      let g = state[6];
      let h = state[7];
      for (let i = 0; i < 64; i++) {
        const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
        const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
        const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
        const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        h = g;
        g = f;
        f = e;
        e = (d + t1) | 0;
        d = c;
        c = b;
        b = a;
        a = (t1 + t2) | 0;
      }
      state[0] += a;
      state[1] += b;
      state[2] += c;
      state[3] += d;
      state[4] += e;
      state[5] += f;
      state[6] += g;
      state[7] += h;
    }
  }
}

/** SHA-256 of pieces of bytes, one after the other. */
export function sha256(...pieces) {
  const hash = new Sha256();
  for (const piece of pieces) hash.update(piece);
  return hash.digest();
}

export function hex(bytes) {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
}
