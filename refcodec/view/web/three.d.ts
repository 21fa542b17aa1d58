import type { BoxGeometry, Mesh, Object3DEventMap, ShaderMaterial } from 'three';
import type { Playback, Quality, RfvError, RfvStream, Source, StreamOptions } from './index.js';

export interface RfvFieldEvents extends Object3DEventMap {
  ready: {};
  frame: { number: number; time: number | null };
  progress: { loaded: number; size: number };
  lost: { error: RfvError; positions: number[] };
  playing: { playing: boolean };
  ended: {};
  error: { error: Error };
}

/** An RFV stream as an object of a three.js scene: ray-marched inside its box, with depth. */
export class RfvField extends Mesh<BoxGeometry, ShaderMaterial, RfvFieldEvents> {
  constructor(
    source: Source | RfvStream,
    options?: StreamOptions & { quality?: Quality; loop?: boolean; autoplay?: boolean; scene?: number },
  );
  readonly isRfvField: true;
  readonly ready: Promise<this>;
  readonly stream: RfvStream;
  readonly playback: Playback;
  readonly quality: Quality;
  opacity: number;
  currentTime: number;
  play(): void;
  pause(): void;
  showFrame(number: number): Promise<void>;
  dispose(): void;
}
