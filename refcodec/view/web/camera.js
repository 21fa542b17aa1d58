/** Views: of the stream's cameras, of an orbit, and what the pointer makes of them. */

const DEFAULT_FIELD_OF_VIEW = (40 * Math.PI) / 180;
const DEFAULT_ELEVATION = (15 * Math.PI) / 180;
const POLE = 0.995; // how near to the axis that is up the eye may come, as a cosine

const add = (a, b) => a.map((v, i) => v + b[i]);
const scaled = (a, s) => a.map((v) => v * s);
const subtract = (a, b) => a.map((v, i) => v - b[i]);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const length = (a) => Math.hypot(...a);
const unit = (a) => scaled(a, 1 / length(a));

/** Rodrigues' rotation about a unit axis. */
function rotated(v, axis, angle) {
  const c = Math.cos(angle);
  return add(add(scaled(v, c), scaled(cross(axis, v), Math.sin(angle))), scaled(axis, dot(axis, v) * (1 - c)));
}

/** The direction that is up in the pictures of some cameras; z where there are none. */
export function upOf(cameras) {
  if (cameras.length === 0) return [0, 0, 1];
  const mean = scaled(
    cameras.reduce((sum, c) => add(sum, [c.pose[1], c.pose[5], c.pose[9]]), [0, 0, 0]),
    1 / cameras.length,
  );
  const largest = mean.reduce((best, v, i) => (Math.abs(v) > Math.abs(mean[best]) ? i : best), 0);
  const axis = [0, 0, 0];
  axis[largest] = Math.sign(mean[largest]) || 1;
  // Cameras look up or down a little; scenes stand along an axis more often than not.
  if (dot(mean, axis) > 0.8 * length(mean)) return axis;
  return length(mean) > 1e-6 ? unit(mean) : [0, 0, 1];
}

/** Corners of a scene's box in scene units. */
export function boxOf(scene) {
  const size = 2 ** scene.aabbExponent;
  return [scene.aabbMin.map((v) => v * size), scene.aabbMax.map((v) => v * size)];
}

/** A camera that moves around a target. */
export class Camera {
  constructor() {
    this.up = [0, 0, 1];
    this.pose = { right: [1, 0, 0], up: [0, 0, 1], back: [0, -1, 0] };
    this.eye = [0, 0, 0];
    this.target = [0, 0, 0];
    this.lens = null; // of a stream's camera: focal, centre, width, height
    this.size = 1;
  }

  /** All of a scene from outside, at some height: the orbit's first view of `refcodec render`. */
  around([lo, hi], up) {
    this.up = unit(up);
    this.lens = null;
    this.size = length(subtract(hi, lo));
    this.target = scaled(add(lo, hi), 0.5);
    const least = this.up.reduce((best, v, i) => (Math.abs(v) < Math.abs(this.up[best]) ? i : best), 0);
    const axis = [0, 0, 0];
    axis[least] = 1;
    const first = unit(cross(this.up, axis));
    const away = add(scaled(first, Math.cos(DEFAULT_ELEVATION)), scaled(this.up, Math.sin(DEFAULT_ELEVATION)));
    this.eye = add(this.target, scaled(away, (0.5 * this.size) / Math.sin(DEFAULT_FIELD_OF_VIEW / 2)));
    this._look(away);
  }

  /** The view of a stream's camera. */
  from(camera, [lo, hi], up) {
    const p = camera.pose;
    this.up = unit(up);
    this.size = length(subtract(hi, lo));
    this.pose = { right: [p[0], p[4], p[8]], up: [p[1], p[5], p[9]], back: [p[2], p[6], p[10]] };
    this.eye = [p[3], p[7], p[11]];
    this.lens = camera;
    // It moves around the point on its axis that is nearest to the middle of the box.
    const distance = -dot(subtract(scaled(add(lo, hi), 0.5), this.eye), this.pose.back);
    this.target = add(this.eye, scaled(this.pose.back, -Math.max(distance, 0.05 * this.size)));
  }

  /** From an eye towards a target. */
  at(eye, target, up, [lo, hi]) {
    this.up = unit(up);
    this.lens = null;
    this.size = length(subtract(hi, lo));
    this.eye = [...eye];
    this.target = [...target];
    this._look(unit(subtract(this.eye, this.target)));
  }

  _look(back) {
    const right = unit(cross(this.up, back));
    this.pose = { right, up: cross(back, right), back: unit(back) };
  }

  /** Turns around the target; angles in radians. */
  orbit(horizontal, vertical) {
    const turn = (v) => rotated(v, this.up, -horizontal);
    let { right, up, back } = this.pose;
    let arm = turn(subtract(this.eye, this.target));
    [right, up, back] = [right, up, back].map(turn);
    const tilt = (v) => rotated(v, right, -vertical);
    const tilted = unit(tilt(arm));
    if (Math.abs(dot(tilted, this.up)) < POLE || Math.abs(dot(tilted, this.up)) < Math.abs(dot(unit(arm), this.up))) {
      arm = tilt(arm);
      [up, back] = [up, back].map(tilt);
    }
    this.pose = { right, up, back };
    this.eye = add(this.target, arm);
  }

  /** Moves eye and target across the view; in parts of the picture's height. */
  pan(x, y) {
    const distance = length(subtract(this.eye, this.target));
    const height =
      distance * (this.lens ? this.lens.height / this.lens.focal[1] : 2 * Math.tan(DEFAULT_FIELD_OF_VIEW / 2));
    const shift = add(scaled(this.pose.right, -x * height), scaled(this.pose.up, y * height));
    this.eye = add(this.eye, shift);
    this.target = add(this.target, shift);
  }

  /** Changes the distance from the target by a factor. */
  zoom(factor) {
    const arm = subtract(this.eye, this.target);
    const bounded = Math.min(Math.max(length(arm) * factor, 0.01 * this.size), 20 * this.size);
    this.eye = add(this.target, scaled(unit(arm), bounded));
  }

  /** What the renderer needs for a picture of a size: a stream's camera is seen whole. */
  view(width, height) {
    let focal;
    let centre = [width / 2, height / 2];
    if (this.lens === null) {
      const f = (0.5 * Math.min(width, height)) / Math.tan(DEFAULT_FIELD_OF_VIEW / 2);
      focal = [f, f];
    } else {
      const { lens } = this;
      const scale = Math.min(width / lens.width, height / lens.height);
      focal = lens.focal.map((f) => f * scale);
      centre = [0, 1].map((i) => centre[i] + (lens.centre[i] - [lens.width, lens.height][i] / 2) * scale);
    }
    return { eye: this.eye, ...this.pose, focal, centre };
  }
}
