/** The first four bytes to the last: a URL, a Blob (also a File), bytes, or a URL with headers of its own. */
export type Source = string | URL | Blob | ArrayBuffer | ArrayBufferView | { url: string | URL; headers?: Record<string, string> };
export type Quality = 'exact' | 'fast';
export type Vector = [number, number, number] | number[];

/** A camera of the stream (specification, 9.1); lengths in pixels, pose 3 × 4, rows first. */
export interface StreamCamera {
  name: string;
  scene: number;
  width: number;
  height: number;
  focal: number[];
  centre: number[];
  pose: number[];
}

/** A place in the list of frames. */
export interface FrameEntry {
  number: number;
  intra: boolean;
  offset: number;
  scene: number;
}

/** A decoded frame, packed for the GPU. */
export interface Frame {
  number: number;
  /** 1: I-frame, 2: P-frame. */
  type: number;
  timeStamp: number;
  scene: number;
  items: Float32Array[];
  occupancy: Uint8Array;
  distances: Uint8Array;
  /** Coded bytes by component. */
  bytes: { total: number; occupancy: number; models: number; steps: number; framing: number; tensors: Map<number, number> };
}

export interface StreamOptions {
  makeWorker?: () => Worker;
  /** Workers at most: groups decoded at once. */
  workers?: number;
  /** Bytes of decoded frames that are kept. */
  cacheBytes?: number;
  /** Ends everything. */
  signal?: AbortSignal;
}

/** An error of a stream (`code`, `requirement`, `section`, `offset`) or of the way to it. */
export class RfvError extends Error {
  code?: string;
  errorName?: string;
  requirement?: string;
  section?: string;
  offset?: number | null;
  detail?: string;
}

/** The graphics hardware cannot do it. */
export class RendererError extends Error {}

export interface StreamEvents {
  frame: CustomEvent<{ frame: Frame; position: number }>;
  lost: CustomEvent<{ error: RfvError; positions: number[] }>;
  progress: CustomEvent<{ loaded: number; size: number }>;
  disposed: CustomEvent<{ reason: unknown }>;
}

/** Frames of a stream, decoded in workers, read by ranges. */
export class RfvStream extends EventTarget {
  static makeWorker: (() => Worker) | null;
  static open(source: Source, options?: StreamOptions): Promise<RfvStream>;
  constructor(source: Source, options?: StreamOptions);
  open(): Promise<unknown>;
  readonly header: any;
  readonly cameras: StreamCamera[];
  readonly metadata: Map<string, string>;
  readonly frames: FrameEntry[];
  /** Position by frame number. */
  readonly positions: Map<number, number>;
  /** Bytes of the file, and of those read so far. */
  readonly size: number | null;
  readonly loaded: number;
  readonly lost: Map<number, RfvError>;
  want(position: number, range?: [number, number]): void;
  at(position: number): Frame | null;
  frame(number: number, options?: { signal?: AbortSignal }): Promise<Frame>;
  dispose(reason?: unknown): void;
  addEventListener<K extends keyof StreamEvents>(
    type: K,
    listener: (event: StreamEvents[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
}

export interface Picture {
  width: number;
  height: number;
  /** RGBA, rows from the top. */
  data: Uint8Array;
}

/** Which frame is due. */
export class Playback extends EventTarget {
  loop: boolean;
  readonly playing: boolean;
  readonly position: number;
  readonly range: [number, number];
  play(): void;
  pause(): void;
  step(by: number): void;
  seek(position: number): void;
  seekTime(seconds: number): void;
  timeOf(position: number): number | null;
}

/** A canvas that plays a stream, without controls. */
export class Viewer extends Playback {
  constructor(
    canvas: HTMLCanvasElement,
    options?: { makeWorker?: () => Worker; transparent?: boolean; quality?: 'auto' | Quality; loop?: boolean },
  );
  readonly stream: RfvStream | null;
  readonly ready: boolean;
  quality: 'auto' | Quality;
  set background(colour: Vector | null);
  /** Pictures a second of the last two seconds. */
  readonly rate: number | null;
  open(source: Source, options?: { scene?: number | null; signal?: AbortSignal }): Promise<void>;
  close(): void;
  dispose(): void;
  chooseScene(scene: number): void;
  chooseCamera(which: number | string | null): void;
  resetCamera(): void;
  look(camera: { eye: Vector; target: Vector; up?: Vector }): void;
  settled(): Promise<void>;
  picture(options?: { frame?: number; width?: number; height?: number; camera?: number | string; quality?: Quality }): Promise<Picture>;
  still(): Promise<Blob>;
  record(rate?: number): { stop(): Promise<Blob> };
  digests(): Promise<{ number: number; occupancy: string; tensors: string[] }[]>;
}

export interface PlayerEvents {
  ready: CustomEvent<{}>;
  frame: CustomEvent<{ number: number; time: number | null }>;
  progress: CustomEvent<{ loaded: number; size: number }>;
  error: CustomEvent<{ error: Error; message: string }>;
  lost: CustomEvent<{ error: RfvError; positions: number[] }>;
  play: CustomEvent<{}>;
  pause: CustomEvent<{}>;
  ended: CustomEvent<{}>;
  camera: CustomEvent<{}>;
}

/** `<rfv-player>`. */
export class RfvPlayer extends HTMLElement {
  static makeWorker: (() => Worker) | undefined;
  src: string;
  readonly viewer: Viewer | null;
  readonly paused: boolean;
  currentTime: number;
  /** The frame's number. */
  get frame(): number | null;
  set frame(number: number);
  /** Number as text, `around` or `free`; may be set to a free camera. */
  get camera(): string | null;
  set camera(which: string | number | { eye: Vector; target: Vector; up?: Vector });
  load(source?: Source, name?: string): Promise<void>;
  play(): void;
  pause(): void;
  resetCamera(): void;
  toggleFullscreen(): Promise<void> | undefined;
  dispose(): void;
}

declare global {
  interface HTMLElementTagNameMap {
    'rfv-player': RfvPlayer;
  }
}

/** Makes `<rfv-player>` known to the browser. */
export function define(name?: string): void;
/** The package's own decoding worker. */
export function makeWorker(): Worker;
export { decode } from './decoder.js';
