/** Where the bytes of a stream come from: a server that answers range requests, or a Blob. */

const BLOCK = 1 << 16;
const KEPT_BLOCKS = 1024;

/** What went wrong on the way to the bytes, for people. */
export class SourceError extends Error {}

class BlobSource {
  constructor(blob, progress) {
    this.blob = blob;
    this.progress = progress;
    this.size = blob.size;
    this.loaded = 0;
    this.signal = null;
  }

  async read(offset, length) {
    const bytes = new Uint8Array(await this.blob.slice(offset, offset + length).arrayBuffer());
    this.loaded += bytes.length;
    this.progress(this.loaded, this.size);
    return bytes;
  }
}

/** Reads in blocks, which are kept, and asks for each once. */
class HttpSource {
  constructor({ url, headers, tag = null }, progress) {
    this.url = url;
    this.headers = headers;
    this.progress = progress;
    this.signal = null; // of what is being read; reading ends with an AbortError when it says so
    this.tag = tag; // of the version that was read first
    this.size = null; // known after the first answer
    this.loaded = 0;
    this.blocks = new Map();
    this.whole = null;
  }

  async read(offset, length) {
    if (this.size === null) await this._block(0);
    const end = Math.min(offset + length, this.size);
    if (end <= offset) return new Uint8Array(0);
    if (this.whole !== null) return this.whole.subarray(offset, end);
    const first = Math.floor(offset / BLOCK);
    const last = Math.floor((end - 1) / BLOCK);
    this._request(first, last);
    const out = new Uint8Array(end - offset);
    for (let b = first; b <= last; b++) {
      const bytes = await this.blocks.get(b);
      const start = b * BLOCK;
      const from = Math.max(offset, start);
      out.set(bytes.subarray(from - start, Math.min(end, start + bytes.length) - start), from - offset);
    }
    return out;
  }

  /** Asks for those of the blocks that have not been asked for, neighbours together. */
  _request(first, last) {
    for (let b = first; b <= last;) {
      const start = b++;
      if (this.blocks.has(start)) continue;
      while (b <= last && !this.blocks.has(b)) b++;
      const answer = this._fetch(start * BLOCK, Math.min(b * BLOCK, this.size));
      for (let k = start; k < b; k++) {
        const part = answer.then((bytes) => bytes.subarray((k - start) * BLOCK, (k - start + 1) * BLOCK));
        part.catch(() => this.blocks.delete(k)); // so that it can be asked for again
        this.blocks.set(k, part);
      }
    }
    for (const k of this.blocks.keys()) {
      if (this.blocks.size <= KEPT_BLOCKS) break;
      if (k < first || k > last) this.blocks.delete(k);
    }
  }

  async _block(number) {
    this.blocks.set(number, this._fetch(number * BLOCK, (number + 1) * BLOCK));
    return this.blocks.get(number);
  }

  async _fetch(start, end) {
    let response;
    let bytes;
    const headers = { ...this.headers, Range: `bytes=${start}-${end - 1}` };
    if (this.whole !== null) return this.whole.subarray(start, end);
    try {
      response = await fetch(this.url, { headers, signal: this.signal });
      bytes = new Uint8Array(await response.arrayBuffer());
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new SourceError(
        `${new URL(this.url).host || 'The server'} does not answer, or does not let this page read the file (CORS).`,
      );
    }
    if (response.status === 416) {
      this.size ??= 0;
      return new Uint8Array(0);
    }
    if (!response.ok) throw new SourceError(`The server answered ${response.status} ${response.statusText}.`);
    const tag = response.headers.get('ETag');
    this.tag ??= tag;
    if (tag !== null && tag !== this.tag) throw new SourceError('The file changed while it was read.');
    this.loaded += bytes.length;
    if (response.status !== 206) {
      // no ranges: that was the whole file
      this.whole = bytes;
      this.size = bytes.length;
      this.progress(this.loaded, this.size);
      return bytes.subarray(start, end);
    }
    if (this.size === null) {
      const total = /\/(\d+)$/.exec(response.headers.get('Content-Range') ?? '');
      if (!total) {
        throw new SourceError(
          'The server does not say how long the file is. From another origin it must expose Content-Range (Access-Control-Expose-Headers).',
        );
      }
      this.size = Number(total[1]);
    }
    if (bytes.length !== Math.min(end, this.size) - start) throw new SourceError('The file changed while it was read.');
    this.progress(this.loaded, this.size);
    return bytes;
  }
}

/**
 * @param {{url?: string, headers?: object, tag?: string, blob?: Blob}} where  url: absolute; tag: ETag that the file
 *   must have
 * @param {(loaded: number, size: number) => void} progress  called when bytes have come
 */
export function openSource(where, progress = () => {}) {
  return where.blob ? new BlobSource(where.blob, progress) : new HttpSource(where, progress);
}
