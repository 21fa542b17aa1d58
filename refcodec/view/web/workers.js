/** Where the decoding worker is: beside this module, as bundlers understand it. */

/** A worker for `RfvStream`. */
export function makeWorker() {
  const url = new URL('./worker.js', import.meta.url);
  if (url.origin === globalThis.location?.origin || url.protocol === 'file:')
    return new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
  // Browsers start no worker from another origin, but load its modules where that origin allows it (CORS).
  const program = new Blob([`import ${JSON.stringify(url.href)};`], { type: 'text/javascript' });
  const address = URL.createObjectURL(program);
  return new Worker(address, { type: 'module' });
}
