// What stands behind everything: the renderer's studio wall, and a floor where there is one to stand
// on. Neither is drawn over a real room.

import {
  CircleGeometry, CustomBlending, AddEquation, GLSL3, Group, Matrix3, Matrix4, Mesh, NoBlending,
  OneFactor, OneMinusSrcAlphaFactor, RawShaderMaterial,
} from "./vendor/three.module.min.js";
import { aimRays, rayUniforms, triangle } from "./avatar_texture.js";

const FLOOR_RADIUS_M = 2.2;
const FLOOR_VERTEX = `precision highp float;
in vec3 position;
uniform mat4 projectionMatrix;
uniform mat4 modelViewMatrix;
out vec2 v_at;
void main() {
  v_at = position.xy;
  gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0);
}`;
const FLOOR_FRAGMENT = `precision highp float;
in vec2 v_at;
out vec4 colour;
void main() {
  float away = length(v_at) / ${FLOOR_RADIUS_M.toFixed(1)};
  // Rings half a metre apart tell the eye where the floor is.
  float ring = abs(fract(length(v_at) * 2.0) - 0.5) * 2.0;
  float line = smoothstep(0.97, 1.0, ring) * 0.10;
  float alpha = (1.0 - smoothstep(0.0, 1.0, away)) * 0.35;
  colour = vec4((vec3(0.30, 0.33, 0.37) + line) * alpha, alpha);
}`;

export class Backdrop {
  constructor(programs) {
    const { wall } = programs.studio;
    this.uniforms = {
      ...rayUniforms(),
      cell: { value: 1 },
      wall_bright: { value: wall.wall_bright },
      wall_dark: { value: wall.wall_dark },
    };
    const material = programs.material("background", this.uniforms, {
      depthTest: false, depthWrite: false, blending: NoBlending,
    });
    this.wall = triangle(material);
    this.wall.renderOrder = -100;
    this.wall.onBeforeRender = (renderer, scene, camera) => this.#face(camera, material);
    this.floor = new Mesh(
      new CircleGeometry(FLOOR_RADIUS_M, 64),
      new RawShaderMaterial({
        glslVersion: GLSL3, vertexShader: FLOOR_VERTEX, fragmentShader: FLOOR_FRAGMENT,
        transparent: true, depthWrite: false, blending: CustomBlending, blendEquation: AddEquation,
        blendSrc: OneFactor, blendDst: OneMinusSrcAlphaFactor,
      }),
    );
    this.floor.rotation.x = -Math.PI / 2;
    this.floor.renderOrder = -90;
    /** Radians about the vertical: where the wall's lit spot is, seen from the middle. */
    this.yaw = 0;
    this.object = new Group();
    this.object.add(this.wall, this.floor);
  }

  #face(camera, material) {
    const worldFromEye = WORLD_FROM_EYE.copy(camera.matrixWorldInverse).invert();
    const turn = TURN.setFromMatrix4(worldFromEye.premultiply(AROUND.makeRotationY(-this.yaw)));
    aimRays(this.uniforms, camera, turn);
    material.uniformsNeedUpdate = true;
  }
}

const TURN = new Matrix3(), WORLD_FROM_EYE = new Matrix4(), AROUND = new Matrix4();
