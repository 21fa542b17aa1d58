/** A frame as the specification has it: one Int32Array for each tensor, channel outermost. */
export interface DecodedFrame {
  number: number;
  type: number;
  timeStamp: number;
  scene: number;
  tensors: Int32Array[];
  occupancy: Uint8Array;
}

/** Decodes a whole file. Throws `Refused`, with `code`, `requirement` and `section`. */
export function decode(data: Uint8Array, output: (frame: DecodedFrame, header: any) => void): void;
