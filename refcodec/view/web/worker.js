/** A decoding worker: opens the stream, decodes frames on request, packs their tensors for the GPU. */
import { hex, sha256 } from './decoder/checksums.js';
import { Refused } from './decoder/errors.js';
import { pack, planOf, tensorsOf } from './plan.js';
import { openSource } from './source.js';
import { Stream } from './stream.js';

let stream = null;
let plan = null;

/** Everything that the page says to a worker. Each message is answered by `done` or `failed`. */
const REQUESTS = {
  async open({ source }) {
    stream = await new Stream(openSource(source)).open();
    plan = planOf(stream.header);
    const { header, cameras, metadata, frames, level } = stream;
    return { header, cameras, metadata, frames, level, size: stream.source.size };
  },

  /** Decodes up to frame `number`; posts every frame on the way. `digests`: with SHA-256 of everything. */
  async decode({ number, digests }) {
    let started = performance.now();
    await stream.decode(number, (frame) => {
      const milliseconds = performance.now() - started;
      const items = plan.items.map((item) =>
        tensorsOf(item).some((id) => frame.carried.includes(id)) ? pack(item, frame.tensors, stream.header) : null,
      );
      const { number: at, type, timeStamp, scene, bytes } = frame;
      const occupancy = frame.occupancy.slice();
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
            milliseconds,
            symbols: frame.carried.reduce((sum, id) => sum + stream.header.tensors[id].elements, 0),
            digests: digests
              ? {
                  occupancy: stream.header.hasOccupancy ? hex(sha256(frame.occupancy)) : '-',
                  tensors: frame.tensors.map((t) => hex(sha256(new Uint8Array(t.buffer)))),
                }
              : null,
          },
        },
        [...items.filter((item) => item !== null).map((item) => item.buffer), occupancy.buffer],
      );
      started = performance.now();
    });
    return {};
  },
};

onmessage = async ({ data }) => {
  try {
    const result = await REQUESTS[data.request](data);
    postMessage({ event: 'done', result, loaded: stream.source.loaded });
  } catch (error) {
    const known =
      error instanceof Refused ? { ...error.toObject(), frame: error.frame ?? null } : { message: error.message };
    if (!(error instanceof Refused)) console.error(error);
    postMessage({ event: 'failed', error: known });
  }
};
