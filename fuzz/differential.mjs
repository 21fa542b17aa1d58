/**
 * Digest lists of many files from one process, for differential.py:
 *
 *     node differential.mjs
 *
 * Standard input: for each file its size as u32, little-endian, and its bytes. Standard output: for each file one line,
 * a JSON array of the digest lists under WebAssembly and under JavaScript.
 */
import { readSync, writeSync } from 'node:fs';
import { hex, sha256 } from '../refcodec/view/web/decoder/checksums.js';
import { decode } from '../refcodec/view/web/decoder/decoder.js';
import { Refused } from '../refcodec/view/web/decoder/errors.js';
import { chooseKernels } from '../refcodec/view/web/decoder/kernels.js';

function digestList(data, kernels) {
  const lines = ['rfv-digests 1'];
  let frames = 0;
  try {
    decode(
      data,
      (frame, header) => {
        frames++;
        lines.push(`frame ${frame.number} ${'IP'[frame.type - 1]} ${frame.timeStamp}`);
        lines.push(`occupancy ${header.hasOccupancy ? hex(sha256(frame.occupancy)) : '-'}`);
        frame.tensors.forEach((tensor, i) => lines.push(`tensor ${i} ${hex(sha256(new Uint8Array(tensor.buffer)))}`));
      },
      kernels,
    );
    lines.push(`end ${frames}`);
  } catch (error) {
    lines.push(error instanceof Refused ? `error ${error.code} ${error.requirement}` : `defect ${error.stack}`);
  }
  return lines;
}

/** So many bytes of standard input; null at its end. */
function read(size) {
  const data = new Uint8Array(size);
  for (let at = 0; at < size; ) {
    const n = readSync(0, data, at, size - at, null);
    if (n === 0) return null;
    at += n;
  }
  return data;
}

const kernels = [chooseKernels('wasm'), chooseKernels('javascript')];
for (let head = read(4); head !== null; head = read(4)) {
  const data = read(new DataView(head.buffer).getUint32(0, true));
  const line = Buffer.from(`${JSON.stringify(kernels.map((k) => digestList(data, k)))}\n`);
  for (let at = 0; at < line.length; ) at += writeSync(1, line, at);
}
