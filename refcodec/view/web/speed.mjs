/**
 * How fast the decoder is, for `refcodec benchmark speed`:
 *
 *     node speed.mjs wasm|javascript FILE REPEATS
 *
 * Prints JSON: seconds of the fastest repeat for a whole decode, for the tensors in it (entropy decoding,
 * reconstruction), and with WebAssembly for entropy decoding alone; symbols that were decoded.
 */
import { readFileSync } from 'node:fs';
import { decode } from './decoder/decoder.js';
import { chooseKernels } from './decoder/kernels.js';

const [name, file, repeats] = process.argv.slice(2);
const data = new Uint8Array(readFileSync(file));
const kernels = chooseKernels(name);
const spent = {};
let symbols = 0;

/** Adds the time of a method's calls. */
function timed(method, key) {
  const inner = kernels[method];
  if (inner === undefined) return;
  kernels[method] = (...arguments_) => {
    const started = performance.now();
    try {
      return inner.apply(kernels, arguments_);
    } finally {
      spent[key] += (performance.now() - started) / 1000;
    }
  };
}

timed('decodeTensor', 'tensors');
timed('_symbols', 'entropy');
const counted = kernels._symbols;
if (counted !== undefined) {
  kernels._symbols = (model, grid, mask, coded, ...others) => {
    symbols += coded * grid.channels;
    return counted(model, grid, mask, coded, ...others);
  };
}
let best = null;
for (let i = 0; i < Number(repeats); i++) {
  Object.assign(spent, { tensors: 0, entropy: 0 });
  symbols = 0;
  const started = performance.now();
  decode(data, () => {}, kernels);
  const whole = (performance.now() - started) / 1000;
  best = {
    whole: Math.min(whole, best?.whole ?? Infinity),
    tensors: Math.min(spent.tensors, best?.tensors ?? Infinity),
    entropy: Math.min(spent.entropy, best?.entropy ?? Infinity),
  };
}
console.log(JSON.stringify({ kernels: kernels.name, symbols, ...best }));
