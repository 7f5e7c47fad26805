// The colour of an avatar on the card: a decoded picture, its planes, or a basis and coefficients.

import {
  BufferAttribute, BufferGeometry, ByteType, ClampToEdgeWrapping, DataArrayTexture, DataTexture,
  DataUtils, GLSL3, HalfFloatType, LinearFilter, LinearMipmapNearestFilter, Mesh, NoBlending,
  OrthographicCamera, RawShaderMaterial, RedFormat, Scene, Texture, Vector3, WebGLRenderTarget,
} from "./vendor/three.module.min.js";
import { drawAside } from "./shadow.js";

const SNORM = 127;

/** Settings of a picture that is seen smaller than it is. Row 0 is v = 0: nothing is turned over. */
function asPicture(texture) {
  texture.flipY = false;
  texture.premultiplyAlpha = false;
  texture.generateMipmaps = true;
  texture.minFilter = LinearMipmapNearestFilter;
  texture.magFilter = LinearFilter;
  texture.wrapS = texture.wrapT = ClampToEdgeWrapping;
  texture.needsUpdate = true;
  return texture;
}

/** A texture of RGBA bytes. */
export function bytesTexture(rgba, width, height) {
  return asPicture(new DataTexture(rgba, width, height));
}

/** RGB texels, one byte each, with room for a fourth: drivers convert three-channel ones slowly. */
function withFourth(rgb, Kind) {
  const out = new Kind((rgb.length / 3) * 4);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    out[to] = rgb[from];
    out[to + 1] = rgb[from + 1];
    out[to + 2] = rgb[from + 2];
  }
  return out;
}

/** Shows VideoFrame or ImageBitmap: the browser converts the colours. */
class PictureTexture {
  constructor() {
    this.texture = null;
    this.size = [0, 0];
  }

  show(picture, width, height) {
    if (!this.texture || this.size[0] !== width || this.size[1] !== height) {
      this.texture?.dispose();
      this.texture = asPicture(new Texture());
      this.size = [width, height];
    }
    if (this.texture.image !== picture) closePicture(this.texture.image);
    this.texture.image = picture;
    this.texture.needsUpdate = true;
    // Decoders have few frames to lend: it is given back as soon as it is on the card.
    this.texture.onUpdate = () => closePicture(picture);
    return this.texture;
  }

  dispose() {
    closePicture(this.texture?.image);
    this.texture?.dispose();
  }
}

function closePicture(picture) {
  picture?.close?.(); // a second close does nothing
}

/** BT.601 or BT.709 to R'G'B': rows of the matrix over (y, u, v), after the offsets. */
function coefficients({ matrix = "bt709", fullRange = false }) {
  const [kr, kb] = matrix === "bt601" ? [0.299, 0.114] : [0.2126, 0.0722];
  const kg = 1 - kr - kb;
  const luma = fullRange ? 1 : 255 / 219, chroma = fullRange ? 1 : 255 / 224;
  return {
    offset: [fullRange ? 0 : 16 / 255, 128 / 255, 128 / 255],
    red: [luma, 0, 2 * (1 - kr) * chroma],
    green: [luma, (-2 * kb * (1 - kb) * chroma) / kg, (-2 * kr * (1 - kr) * chroma) / kg],
    blue: [luma, 2 * (1 - kb) * chroma, 0],
  };
}

const PLANES_VERTEX = `precision highp float;
out vec2 v_uv;
void main() {
  vec2 corner = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
  v_uv = corner;  // row 0 of the picture is row 0 of the target
  gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}`;
const PLANES_FRAGMENT = `precision highp float;
in vec2 v_uv;
uniform sampler2D luma;
uniform sampler2D blue_difference;
uniform sampler2D red_difference;
uniform vec2 used;  // the share of a row's bytes that are picture: of luma, of chroma
uniform vec2 last;  // the middle of the last texel that is
uniform vec3 offset;
uniform vec3 red;
uniform vec3 green;
uniform vec3 blue;
out vec4 colour;
void main() {
  vec2 across = min(v_uv.x * used, last);
  vec2 chroma = vec2(across.y, v_uv.y);
  vec3 yuv = vec3(texture(luma, vec2(across.x, v_uv.y)).r, texture(blue_difference, chroma).r,
                  texture(red_difference, chroma).r) - offset;
  colour = vec4(clamp(vec3(dot(red, yuv), dot(green, yuv), dot(blue, yuv)), 0.0, 1.0), 1.0);
}`;

/** Sums three planes (I420) into one picture with mip levels. Software drivers upload planes several
 * times faster than a VideoFrame. */
class PlanesTexture {
  constructor() {
    this.target = null;
    this.planes = null;
    this.uniforms = {
      luma: { value: null }, blue_difference: { value: null }, red_difference: { value: null },
      used: { value: [1, 1] }, last: { value: [1, 1] }, offset: { value: null }, red: { value: null },
      green: { value: null }, blue: { value: null },
    };
    this.material = new RawShaderMaterial({
      glslVersion: GLSL3, vertexShader: PLANES_VERTEX, fragmentShader: PLANES_FRAGMENT,
      uniforms: this.uniforms, depthTest: false, depthWrite: false, blending: NoBlending,
    });
    this.scene = new Scene();
    this.scene.add(triangle(this.material));
    this.camera = new OrthographicCamera();
    this.fresh = false;
  }

  show(message) {
    const { width, height, strides } = message;
    const [lumaStride, blueStride, redStride] = strides;
    const rows = (height + 1) >> 1, columns = (width + 1) >> 1;
    const sizes = [[lumaStride, height], [blueStride, rows], [redStride, rows]];
    if (!this.target || this.target.width !== width || this.target.height !== height) {
      this.release();
      this.target = new WebGLRenderTarget(width, height, {
        depthBuffer: false, generateMipmaps: true,
        minFilter: LinearMipmapNearestFilter, magFilter: LinearFilter,
      });
      this.planes = sizes.map(([w, h]) => plane(w, h));
      [this.uniforms.luma.value, this.uniforms.blue_difference.value,
        this.uniforms.red_difference.value] = this.planes;
    }
    [message.y, message.u, message.v].forEach((texels, i) => {
      const image = this.planes[i].image;
      if (image.width !== sizes[i][0]) this.planes[i].dispose();
      this.planes[i].image = { data: texels, width: sizes[i][0], height: sizes[i][1] };
      this.planes[i].needsUpdate = true;
    });
    this.uniforms.used.value = [width / lumaStride, width / 2 / blueStride];
    this.uniforms.last.value = [(width - 0.5) / lumaStride, (columns - 0.5) / blueStride];
    for (const [name, value] of Object.entries(coefficients(message)))
      this.uniforms[name].value = value;
    this.fresh = true;
    return this.target.texture;
  }

  draw(renderer) {
    if (this.fresh) drawAside(renderer, this.target, this.scene, this.camera);
    this.fresh = false;
  }

  release() {
    this.target?.dispose();
    this.planes?.forEach((texture) => texture.dispose());
    this.target = this.planes = null;
  }

  dispose() {
    this.release();
    this.material.dispose();
  }
}

function plane(width, height) {
  const texture = new DataTexture(null, width, height, RedFormat);
  texture.unpackAlignment = 1;
  texture.minFilter = texture.magFilter = LinearFilter;
  return texture;
}

/** One triangle over the whole target; its shader takes the corners from gl_VertexID. */
export function triangle(material) {
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(new Float32Array(9), 3));
  const mesh = new Mesh(geometry, material);
  mesh.frustumCulled = false;
  return mesh;
}

/** Of a `triangle` whose fragments look along the rays of a camera. */
export function rayUniforms() {
  return {
    ray_origin: { value: new Vector3() },
    ray_across: { value: new Vector3() },
    ray_up: { value: new Vector3() },
  };
}

/** `view_rays` of render/projection_matrix.py from WebGL's matrices, turned by a Matrix3. */
export function aimRays(uniforms, camera, turn) {
  const p = camera.projectionMatrix.elements;
  uniforms.ray_origin.value.set((p[8] - 1) / p[0], (p[9] - 1) / p[5], -1).applyMatrix3(turn);
  uniforms.ray_across.value.set(1 / p[0], 0, 0).applyMatrix3(turn);
  uniforms.ray_up.value.set(0, 1 / p[5], 0).applyMatrix3(turn);
}

/** A mean and planes that never change, and coefficients that do (render/shaders/local_basis.glsl). */
export class BasisTexture {
  constructor({ mean, planes, scale, grid, space }) {
    const [rows, columns] = grid;
    this.shape = { rows, columns, count: planes.count };
    this.scale = scale;
    this.mean = bytesTexture(withFourth(mean.rgb, Uint8Array), mean.width, mean.height);
    this.planes = new DataArrayTexture(
      withFourth(planes.values, Int8Array), planes.width, planes.height, planes.count);
    this.planes.type = ByteType;
    this.planes.internalFormat = "RGBA8_SNORM";
    this.nodes = new DataArrayTexture(
      new Uint16Array(rows * columns * planes.count), columns, rows, planes.count / 4);
    this.nodes.type = HalfFloatType;
    this.nodes.internalFormat = "RGBA16F";
    for (const texture of [this.planes, this.nodes]) {
      texture.minFilter = texture.magFilter = LinearFilter;
      texture.unpackAlignment = 1;
      texture.needsUpdate = true;
    }
    const isLog = space === "log" ? 1 : 0;
    this.uniforms = {
      planes_map: { value: this.planes },
      nodes_map: { value: this.nodes },
      gain: { value: [1, 1, 1, isLog] },
      planes_used: { value: [planes.count, planes.count] },
      fovea: { value: [0, 0, 1e9] },
    };
  }

  /** `nodes`: (rows, columns, K) one after the other; `gain`: 3 factors. */
  show({ nodes, gain }) {
    const { rows, columns, count } = this.shape;
    if (nodes.length !== rows * columns * count)
      throw new Error(`BasisTexture.show: expected ${rows * columns * count} nodes, got ${nodes.length}`);
    const texels = this.nodes.image.data, layer = rows * columns * 4;
    for (let node = 0, from = 0; node < rows * columns; node++) {
      for (let k = 0; k < count; k++, from++) {
        const value = nodes[from] * this.scale[k] * SNORM;
        texels[(k >> 2) * layer + node * 4 + (k & 3)] = DataUtils.toHalfFloat(value);
      }
    }
    this.nodes.needsUpdate = true;
    this.uniforms.gain.value.splice(0, 3, ...gain);
  }

  dispose() {
    for (const texture of [this.mean, this.planes, this.nodes]) texture.dispose();
  }
}

/** Whatever a message brings; `current` is what the shaders read as albedo_map. */
export class AvatarTexture {
  constructor(basis) {
    this.basis = basis ? new BasisTexture(basis) : null;
    this.picture = null;
    this.planes = null;
    this.current = this.basis?.mean ?? null;
  }

  /** Show the texture of an "avatar" message; null keeps the one before. */
  show(texture) {
    if (!texture) return;
    if (texture.kind === "nodes") {
      if (!this.basis) throw new Error("AvatarTexture.show: nodes came for a topology without a basis");
      this.basis.show(texture);
    } else if (texture.kind === "planes") {
      this.planes ??= new PlanesTexture();
      this.current = this.planes.show(texture);
    } else {
      const picture = texture.frame ?? texture.image;
      this.picture ??= new PictureTexture();
      this.current = this.picture.show(
        picture, picture.displayWidth ?? picture.width, picture.displayHeight ?? picture.height);
    }
  }

  /** What has to be drawn before the avatar can be. */
  prepare(renderer) {
    this.planes?.draw(renderer);
  }

  dispose() {
    this.basis?.dispose();
    this.picture?.dispose();
    this.planes?.dispose();
  }
}
