/**
 * The decoder as a program for `refcodec conformance run`:
 *
 *     node conformance.mjs [--kernels=wasm|javascript] INPUT OUTPUT [INPUT OUTPUT …]
 *
 * Writes the digest list (docs/conformance.md) of each stream. Exit code 2 when the last one is refused.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { hex, sha256 } from './decoder/checksums.js';
import { decode } from './decoder/decoder.js';
import { Refused } from './decoder/errors.js';
import { chooseKernels } from './decoder/kernels.js';

export function digestList(data, kernels) {
  const lines = ['rfv-digests 1'];
  let frames = 0;
  let refused = null;
  try {
    decode(data, (frame, header) => {
      frames++;
      lines.push(`frame ${frame.number} ${'IP'[frame.type - 1]} ${frame.timeStamp}`);
      lines.push(`occupancy ${header.hasOccupancy ? hex(sha256(frame.occupancy)) : '-'}`);
      frame.tensors.forEach((tensor, i) => lines.push(`tensor ${i} ${hex(sha256(new Uint8Array(tensor.buffer)))}`));
    }, kernels);
    lines.push(`end ${frames}`);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    refused = error;
    lines.push(`error ${error.code} ${error.requirement}`);
  }
  return { text: `${lines.join('\n')}\n`, refused };
}

const files = process.argv.slice(2);
const kernels = chooseKernels(files[0]?.startsWith('--kernels=') ? files.shift().slice(10) : 'auto');
if (files.length === 0 || files.length % 2 !== 0) {
  console.error('usage: node conformance.mjs [--kernels=wasm|javascript] INPUT OUTPUT [INPUT OUTPUT …]');
  process.exit(1);
}
for (let i = 0; i < files.length; i += 2) {
  const { text, refused } = digestList(new Uint8Array(readFileSync(files[i])), kernels);
  writeFileSync(files[i + 1], text);
  process.exitCode = refused ? 2 : 0;
}
