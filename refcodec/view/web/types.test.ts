// Checked by `npm run types`, never run.
import { Scene, Plane, Vector3 } from 'three';
import { RfvPlayer, RfvStream, Viewer, decode, define } from './index.js';
import './player.js';
import { RfvField } from './three.js';

async function use(): Promise<void> {
  const stream = await RfvStream.open('fox.rfv', { workers: 2, signal: new AbortController().signal });
  stream.addEventListener('progress', ({ detail }) => detail.loaded / detail.size);
  const { items } = await stream.frame(stream.frames[0].number);
  items[0].fill(0);
  const field = new RfvField(stream, { quality: 'exact', autoplay: true });
  new Scene().add(field);
  field.material.clippingPlanes = [new Plane(new Vector3(1, 0, 0), 0)];
  field.addEventListener('frame', ({ number }) => number.toFixed());
  const player: RfvPlayer = document.createElement('rfv-player');
  player.camera = { eye: [0, 0, 2], target: [0, 0, 0] };
  const viewer = new Viewer(document.createElement('canvas'), { quality: 'fast' });
  (await viewer.picture({ width: 4, height: 4 })).data.length.toFixed();
  decode(new Uint8Array(), (frame) => frame.tensors[0].length);
  define();
  // @ts-expect-error there is no such quality
  viewer.quality = 'best';
}
use();
