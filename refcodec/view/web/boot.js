/** Starts the page on the stream that the server offers. */
import { start } from './main.js';

const answer = await fetch('info.json');
const { name } = await answer.json();
start({ makeWorker: () => new Worker('worker.js', { type: 'module' }), source: { url: new URL('stream.rfv', location.href).href }, name });
