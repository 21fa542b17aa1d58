/** The package `rfv`: streams, the player element, the viewer behind it. `rfv/three` has the field for three.js. */
import { decode } from './decoder/decoder.js';
import { RfvPlayer, define } from './element.js';
import { RfvError, RfvStream } from './frames.js';
import { Playback } from './playback.js';
import { RendererError } from './renderer.js';
import { Viewer } from './viewer.js';
import { makeWorker } from './workers.js';

RfvStream.makeWorker = makeWorker;

export { Playback, RendererError, RfvError, RfvPlayer, RfvStream, Viewer, decode, define, makeWorker };
