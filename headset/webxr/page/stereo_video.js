// Pictures that the server drew for the eyes, shown with rotational reprojection: each pixel looks up
// the direction that it sees now in the picture that was drawn for an earlier head pose. Turning the
// head therefore costs nothing; walking shows as the picture's own delay.

import {
  GLSL3, LinearFilter, Matrix3, Matrix4, NoBlending, RawShaderMaterial, Texture,
} from "./vendor/three.module.min.js";
import { aimRays, rayUniforms, triangle } from "./avatar_texture.js";
import { matrixOf } from "./panels.js";

const STALE_MS = 2000;
const VERTEX = `precision highp float;
uniform vec3 ray_origin;
uniform vec3 ray_across;
uniform vec3 ray_up;
out vec3 v_ray;
void main() {
  vec2 corner = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
  v_ray = ray_origin + 2.0 * (corner.x * ray_across + corner.y * ray_up);
  gl_Position = vec4(corner * 2.0 - 1.0, 1.0, 1.0);
}`;
const FRAGMENT = `precision highp float;
in vec3 v_ray;  // along the picture's eye: x right, y up, z backwards
uniform sampler2D picture;
uniform vec4 tangents;  // left, right, up, down
uniform vec4 part;      // of the frame: x, y, width, height; y down
out vec4 colour;
void main() {
  vec2 at = v_ray.xy / max(-v_ray.z, 1e-4);
  vec2 share = vec2(at.x - tangents.x, tangents.z - at.y) /
               vec2(tangents.y - tangents.x, tangents.z - tangents.w);
  vec2 edge = min(share, 1.0 - share);
  float inside = smoothstep(0.0, 0.02, min(edge.x, edge.y)) * step(0.0, -v_ray.z);
  vec2 uv = part.xy + clamp(share, 0.002, 0.998) * part.zw;
  colour = vec4(texture(picture, uv).rgb * inside, inside);
}`;

export class StereoVideo {
  constructor(scene) {
    this.texture = null;
    this.size = [0, 0];
    this.views = [];
    this.frameId = null; // of a picture that nobody was told of yet
    this.drawn = false;
    this.arrivedAt = -Infinity;
    this.uniforms = {
      picture: { value: null }, tangents: { value: [-1, 1, 1, -1] }, part: { value: [0, 0, 1, 1] },
      ...rayUniforms(),
    };
    this.material = new RawShaderMaterial({
      glslVersion: GLSL3, vertexShader: VERTEX, fragmentShader: FRAGMENT, uniforms: this.uniforms,
      depthTest: false, depthWrite: false, blending: NoBlending,
    });
    this.object = triangle(this.material);
    this.object.renderOrder = -80; // over the wall, under everything that is drawn here
    this.object.visible = false;
    this.object.onBeforeRender = (renderer, _scene, camera) => this.#face(renderer, camera);
    this.stageFromWorld = new Matrix4();
    scene.add(this.object);
  }

  /** A "video" message. `views`: one an eye, their parts of the frame side by side from the left. */
  receive({ frame, frameId, views }) {
    const width = frame.displayWidth ?? frame.width, height = frame.displayHeight ?? frame.height;
    if (!this.texture || this.size[0] !== width || this.size[1] !== height) {
      this.texture?.dispose();
      this.texture = new Texture();
      this.texture.flipY = false;
      this.texture.generateMipmaps = false;
      this.texture.minFilter = this.texture.magFilter = LinearFilter;
      this.size = [width, height];
    }
    if (this.texture.image !== frame) this.texture.image?.close?.();
    this.texture.image = frame;
    this.texture.onUpdate = () => frame.close?.();
    this.texture.needsUpdate = true;
    this.uniforms.picture.value = this.texture;
    this.views = views;
    this.frameId = frameId ?? null;
    this.drawn = false;
    this.arrivedAt = performance.now();
    this.object.visible = true;
  }

  /** The picture that was drawn for the first time, once; null when there is none. */
  takeDisplayed() {
    if (!this.drawn || this.frameId === null) return null;
    const { frameId } = this;
    this.frameId = null;
    return frameId;
  }

  /** Milliseconds since the newest picture came. */
  get ageMs() {
    return performance.now() - this.arrivedAt;
  }

  get isFresh() {
    return this.ageMs <= STALE_MS;
  }

  /** Follow the seat that the server's world has; hide what is stale. */
  update(stageFromWorld) {
    this.stageFromWorld.copy(stageFromWorld);
    if (!this.isFresh) this.object.visible = false;
  }

  #face(renderer, camera) {
    const cameras = renderer.xr.isPresenting ? renderer.xr.getCamera().cameras : [];
    const side = cameras.indexOf(camera) === 1 ? "right" : "left";
    const index = Math.max(0, this.views.findIndex(({ eye }) => eye === side));
    const view = this.views[index];
    if (!view) return;
    this.drawn = true;
    const [left, right, up, down] = view.fov.map(Math.tan);
    const share = 1 / this.views.length;
    this.uniforms.tangents.value = [left, right, up, down];
    this.uniforms.part.value = [index * share, 0, share, 1];
    const stageFromEye = EYE.multiplyMatrices(this.stageFromWorld, matrixOf(view));
    const turn = TURN.setFromMatrix4(
      NOW.copy(stageFromEye).invert().multiply(THERE.copy(camera.matrixWorldInverse).invert()));
    aimRays(this.uniforms, camera, turn);
    this.material.uniformsNeedUpdate = true;
  }
}

const EYE = new Matrix4(), NOW = new Matrix4(), THERE = new Matrix4(), TURN = new Matrix3();
