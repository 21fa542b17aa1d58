/** A decoding worker: opens the stream, decodes frames on request, packs their tensors for the GPU. */
import { hex, sha256 } from './decoder/checksums.js';
import { Refused } from './decoder/errors.js';
import { distancesOf } from './occupancy.js';
import { pack, planOf, tensorsOf } from './plan.js';
import { SourceError, openSource } from './source.js';
import { StreamReader } from './stream.js';

const PROGRESS = 100; // milliseconds between two reports

let stream = null;
let plan = null;
let cancel = new AbortController();
let reported = 0;

/** Lets messages in: they wait while one frame after the other is decoded. */
const { port1, port2 } = new MessageChannel();
const breathe = () =>
  new Promise((resolve) => {
    port1.onmessage = resolve;
    port2.postMessage(null);
  });

function progress(loaded, size) {
  if (performance.now() - reported < PROGRESS) return;
  reported = performance.now();
  postMessage({ event: 'progress', loaded, size });
}

/** Everything that the page asks of a worker. Each request is answered by `done` or `failed`. */
const REQUESTS = {
  async open({ source }) {
    stream = await new StreamReader(openSource(source, progress)).open();
    plan = planOf(stream.header);
    const { header, cameras, metadata, frames, level } = stream;
    const { size, tag } = stream.source;
    return { header, cameras, metadata, frames, level, size, tag, kernels: stream.decoder.kernels.name };
  },

  /** Decodes up to frame `number`; posts every frame on the way. `digests`: with SHA-256 of everything. */
  async decode({ number, digests }) {
    const { signal } = (cancel = new AbortController());
    stream.source.signal = signal;
    let started = performance.now();
    await stream.decode(number, async (frame) => {
      const { header } = stream;
      const milliseconds = performance.now() - started;
      const items = plan.items.map((item) =>
        tensorsOf(item).some((id) => frame.carried.includes(id)) ? pack(item, frame.tensors, header) : null,
      );
      const { number: at, type, timeStamp, scene, bytes } = frame;
      const occupancy = frame.occupancy.slice();
      const distances = header.hasOccupancy ? distancesOf(occupancy, header.occupancyDims) : new Uint8Array(0);
      postMessage(
        {
          event: 'frame',
          frame: {
            number: at,
            type,
            timeStamp,
            scene,
            bytes,
            items,
            occupancy,
            distances,
            milliseconds,
            symbols: frame.carried.reduce((sum, id) => sum + header.tensors[id].elements, 0),
            digests: digests
              ? {
                  occupancy: header.hasOccupancy ? hex(sha256(frame.occupancy)) : '-',
                  tensors: frame.tensors.map((t) => hex(sha256(new Uint8Array(t.buffer)))),
                }
              : null,
          },
        },
        [...items.filter((item) => item !== null).map((item) => item.buffer), occupancy.buffer, distances.buffer],
      );
      await breathe();
      signal.throwIfAborted();
      started = performance.now();
    });
    return {};
  },
};

onmessage = async ({ data }) => {
  if (data.request === 'cancel') {
    cancel.abort();
    return;
  }
  try {
    const result = await REQUESTS[data.request](data);
    postMessage({ event: 'done', result, loaded: stream.source.loaded });
  } catch (error) {
    const known =
      error instanceof Refused
        ? { ...error.toObject(), frame: error.frame ?? null }
        : { message: error.message, cancelled: error.name === 'AbortError' };
    if (!(error instanceof Refused) && !(error instanceof SourceError) && !known.cancelled) console.error(error);
    if (known.cancelled && stream) stream.next = null;
    postMessage({ event: 'failed', error: known });
  }
};
