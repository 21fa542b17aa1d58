/** `RfvField`: an RFV stream as an object of a three.js scene. */
import {
  BackSide,
  BoxGeometry,
  ClampToEdgeWrapping,
  Data3DTexture,
  DataTexture,
  FloatType,
  LinearFilter,
  Mesh,
  NearestFilter,
  RGBAFormat,
  RedIntegerFormat,
  ShaderMaterial,
  UnsignedByteType,
  Vector3,
} from 'three';
import { boxOf } from './camera.js';
import { RfvStream } from './frames.js';
import { bounded, giveTextures, placeRows } from './layout.js';
import { blocksOf } from './occupancy.js';
import { planOf } from './plan.js';
import { Playback } from './playback.js';
import { TEXTURE_WIDTH, fieldFunctions } from './shader.js';
import { makeWorker } from './workers.js';

const SMALLEST = 2048; // of the largest textures that WebGL2 promises

const VERTEX = `
out vec3 place;
flat out vec3 origin;
flat out vec3 axis;
void main() {
  mat4 back = inverse(modelViewMatrix);
  place = position;
  origin = back[3].xyz;
  axis = -back[2].xyz;
  gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0);
#ifndef USE_REVERSED_DEPTH_BUFFER
  gl_Position.z = min(gl_Position.z, gl_Position.w); // the far side of the box may lie beyond the camera's far plane
#endif
}`;

const MAIN = `
in vec3 place;
flat in vec3 origin;
flat in vec3 axis;
uniform mat4 modelViewMatrix;
uniform mat4 projectionMatrix;
uniform float opacity;
#if NUM_CLIPPING_PLANES > 0
uniform vec4 clippingPlanes[NUM_CLIPPING_PLANES];
#endif
#if defined(USE_LOGARITHMIC_DEPTH_BUFFER) || defined(USE_LOGDEPTHBUF)
uniform float logDepthBufFC;
#endif

vec3 linear(vec3 c) {
  return mix(pow((c + 0.055) / 1.055, vec3(2.4)), c / 12.92, lessThanEqual(c, vec3(0.04045)));
}

void main() {
  vec3 d = normalize(isOrthographic ? axis : place - origin);
  vec3 eye = isOrthographic ? place - 2.0 * length(hi - lo) * d : origin;
  float from = 0.0;
  float to = 1e30;
#if NUM_CLIPPING_PLANES > 0
  vec3 start = (modelViewMatrix * vec4(eye, 1.0)).xyz;
  vec3 along = (modelViewMatrix * vec4(d, 0.0)).xyz;
  for (int k = 0; k < UNION_CLIPPING_PLANES; k++) {
    float s = dot(start, clippingPlanes[k].xyz) + clippingPlanes[k].w;
    float slope = dot(along, clippingPlanes[k].xyz);
    if (slope > 0.0) from = max(from, -s / slope);
    else if (slope < 0.0) to = min(to, -s / slope);
    else if (s < 0.0) discard;
  }
#endif
  float depth;
  vec4 light = seen(eye, d, from, to, depth);
  if (!(light.a > 0.002)) discard;
  // Composited as sRGB values, which is what three.js blends where it draws to the canvas.
  gl_FragColor = vec4(linear(clamp(light.rgb / light.a, 0.0, 1.0)), 1.0);
  #include <colorspace_fragment>
  gl_FragColor = vec4(gl_FragColor.rgb, 1.0) * light.a * opacity;
  vec4 clip = projectionMatrix * modelViewMatrix * vec4(eye + depth * d, 1.0);
#if defined(USE_LOGARITHMIC_DEPTH_BUFFER) || defined(USE_LOGDEPTHBUF)
  gl_FragDepth = log2(1.0 + clip.w) * logDepthBufFC * 0.5;
#elif defined(USE_REVERSED_DEPTH_BUFFER)
  gl_FragDepth = clamp(clip.z / clip.w, 0.0, 1.0);
#else
  gl_FragDepth = clamp(0.5 * clip.z / clip.w + 0.5, 0.0, 1.0);
#endif
}`;

/**
 * A field, ray-marched inside its box. It is drawn with the transparent objects; it hides what lies behind it and is
 * hidden by what stands before it, by the depth at which a ray has lost half of its light, which it writes.
 * Clipping planes of the renderer and of the material cut it; lights and fog do not reach it.
 *
 * Events: ready; frame { number, time }; progress { loaded, size }; lost { error, positions }; error { error }.
 */
export class RfvField extends Mesh {
  /**
   * @param {string|URL|Blob|ArrayBuffer|RfvStream} source
   * @param {{quality?: string, loop?: boolean, autoplay?: boolean, scene?: number, makeWorker?: () => Worker}} options
   *   quality: fast or exact
   */
  constructor(source, { quality = 'fast', loop = true, autoplay = false, scene = 0, ...options } = {}) {
    super(new BoxGeometry(1, 1, 1), new ShaderMaterial({ visible: false, toneMapped: false }));
    this.isRfvField = true;
    this._opacity = 1;
    this.quality = quality;
    this.scene = scene;
    this.playback = new Playback({ loop });
    for (const type of ['ended', 'error', 'playing'])
      this.playback.addEventListener(type, ({ detail }) => this.dispatchEvent({ type, ...detail }));
    const stream = source instanceof RfvStream ? source : new RfvStream(source, { makeWorker, ...options });
    this.stream = this.playback.stream = stream;
    stream.addEventListener('frame', ({ detail: { frame, position } }) => {
      this.playback.times.set(position, frame.timeStamp);
      this.playback._find();
      // three.js asks about visible materials only.
      if (!this.material.visible) this._show();
    });
    stream.addEventListener('progress', ({ detail }) => this.dispatchEvent({ type: 'progress', ...detail }));
    stream.addEventListener('lost', ({ detail }) => {
      this.dispatchEvent({ type: 'lost', ...detail });
      this.playback._leave(detail.error, detail.positions);
    });
    /** When the headers are read, and the box is known. Rejects with RfvError. */
    this.ready = this._open(source instanceof RfvStream).then(
      () => {
        if (autoplay) this.play();
        this.dispatchEvent({ type: 'ready' });
        return this;
      },
      (error) => {
        this.dispatchEvent({ type: 'error', error });
        throw error;
      },
    );
    this.ready.catch(() => {});
  }

  async _open(opened) {
    const { stream, playback } = this;
    if (!opened) await stream.open();
    const { header } = stream;
    const [lo, hi] = boxOf(header.scenes[this.scene]);
    const sides = hi.map((v, i) => v - lo[i]);
    this.geometry.dispose();
    this.geometry = new BoxGeometry(...sides).translate(...lo.map((v, i) => v + sides[i] / 2));
    this._makeMaterial(lo, hi);
    playback.range = playback.rangeOf(this.scene);
    playback.seek(playback.range[0]);
  }

  _makeMaterial(lo, hi) {
    const { header } = this.stream;
    const plan = (this.plan = planOf(header));
    giveTextures(plan, this.quality === 'fast', SMALLEST, 256);
    const rows = placeRows(plan);
    const { samplesPerDiagonal } = header.scenes[this.scene];
    const uniforms = {
      lo: { value: new Vector3(...lo) },
      hi: { value: new Vector3(...hi) },
      stepLength: { value: Math.hypot(...hi.map((v, i) => v - lo[i])) / samplesPerDiagonal },
      data: { value: dataTexture([TEXTURE_WIDTH, rows], new Float32Array(4 * TEXTURE_WIDTH * rows)) },
      occupancy: {
        value: byteTexture([TEXTURE_WIDTH, Math.max(1, Math.ceil(header.voxels / 8 / TEXTURE_WIDTH))]),
      },
      distances: { value: byteTexture(blocksOf(header.occupancyDims)) },
      opacity: { value: this._opacity },
    };
    for (const { texture, vectors } of plan.items.filter((item) => item.texture)) {
      const made = dataTexture(texture.size, new Float32Array(4 * vectors));
      if (texture.filtered) {
        made.internalFormat = 'RGBA16F';
        made.minFilter = made.magFilter = LinearFilter;
      }
      uniforms[texture.name] = { value: made };
    }
    this.material.dispose();
    this.material = new ShaderMaterial({
      name: 'RfvField',
      uniforms,
      vertexShader: VERTEX,
      fragmentShader: fieldFunctions(plan, this.quality) + MAIN,
      side: BackSide,
      transparent: true,
      premultipliedAlpha: true,
      toneMapped: false,
      clipping: true,
      visible: false, // until there is a frame
    });
    this.uploaded = new Array(plan.items.length).fill(null);
  }

  /** Called by three.js: the frame that is due goes to the GPU. */
  onBeforeRender() {
    const { playback } = this;
    if (playback.playing && playback.shown === playback.position) playback._advance(performance.now());
    this._show();
  }

  /** Uploads the frame at the playback's position, where it is decoded and not yet shown. */
  _show() {
    const { playback, plan } = this;
    const frame = this.stream.at(playback.position);
    if (!plan || !frame || frame === this.shownFrame) return;
    const { uniforms } = this.material;
    plan.items.forEach((item, i) => {
      const values = frame.items[i];
      if (this.uploaded[i] === values) return;
      this.uploaded[i] = values;
      const texture = uniforms[item.texture?.name ?? 'data'].value;
      if (item.texture) texture.image.data = item.texture.filtered ? bounded(values) : values;
      else texture.image.data.set(values, 4 * item.base);
      texture.needsUpdate = true;
    });
    if (frame.occupancy.length > 0) {
      uniforms.occupancy.value.image.data.set(frame.occupancy);
      uniforms.distances.value.image.data.set(frame.distances);
      uniforms.occupancy.value.needsUpdate = uniforms.distances.value.needsUpdate = true;
    }
    this.shownFrame = frame;
    playback.shown = playback.position;
    this.material.visible = true;
    this.dispatchEvent({ type: 'frame', number: frame.number, time: playback.timeOf(playback.position) });
  }

  /** Of all of it, 0 … 1. */
  get opacity() {
    return this._opacity;
  }

  set opacity(value) {
    this._opacity = value;
    if (this.material.uniforms.opacity) this.material.uniforms.opacity.value = value;
  }

  play() {
    this.playback.play();
  }

  pause() {
    this.playback.pause();
  }

  /** Seconds from the first frame. */
  get currentTime() {
    return this.playback.timeOf(this.playback.position) ?? 0;
  }

  set currentTime(seconds) {
    this.playback.seekTime(seconds);
  }

  /** Shows a frame by its number, as soon as it is decoded. */
  async showFrame(number) {
    await this.stream.frame(number);
    this.playback.seek(this.stream.positions.get(number));
    this._show();
  }

  /** Frees workers, textures and the program. */
  dispose() {
    this.stream.dispose();
    this.geometry.dispose();
    for (const { value } of Object.values(this.material.uniforms)) value?.dispose?.();
    this.material.dispose();
  }
}

function made(texture, type, format) {
  texture.format = format;
  texture.type = type;
  texture.minFilter = texture.magFilter = NearestFilter;
  texture.wrapS = texture.wrapT = ClampToEdgeWrapping;
  texture.generateMipmaps = false;
  texture.unpackAlignment = 1;
  texture.needsUpdate = true;
  return texture;
}

function dataTexture(size, values) {
  const texture = size.length === 3 ? new Data3DTexture(values, ...size) : new DataTexture(values, ...size);
  if (size.length === 3) texture.wrapR = ClampToEdgeWrapping;
  return made(texture, FloatType, RGBAFormat);
}

function byteTexture(size) {
  const values = new Uint8Array(size.reduce((a, b) => a * b, 1));
  const texture = size.length === 3 ? new Data3DTexture(values, ...size) : new DataTexture(values, ...size);
  return made(texture, UnsignedByteType, RedIntegerFormat);
}
