/** What does a decoder's work: the C kernels as WebAssembly where that runs, else JavaScript. Results are the same. */
import { JavaScriptKernels } from './javascript.js';
import { WasmKernels } from './wasm.js';

let best = null;

/**
 * Kernels by their name: `wasm`, `javascript`, or `auto`: WebAssembly where it can be used.
 * Throws Error for another name, and for `wasm` where it can't be used.
 */
export function chooseKernels(name = 'auto') {
  if (name === 'javascript') return new JavaScriptKernels();
  if (name === 'wasm') return new WasmKernels();
  if (name !== 'auto') throw new Error(`There are no kernels '${name}': auto, wasm, javascript.`);
  if (best === null) {
    try {
      best = new WasmKernels();
    } catch {
      // No WebAssembly, none with SIMD, or the page's policy forbids it.
      best = new JavaScriptKernels();
    }
  }
  return best;
}
