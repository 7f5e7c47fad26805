// One person's mesh, drawn with the desktop renderer's shaders, order and blending
// (render/gl_mesh.py and render/gl_renderer.py).

import {
  AddEquation, BufferAttribute, BufferGeometry, ConstantAlphaFactor, CustomBlending,
  DynamicDrawUsage, FrontSide, Matrix4, Mesh, NoBlending, OneFactor, OneMinusConstantAlphaFactor,
  OneMinusSrcAlphaFactor, Vector3,
} from "./vendor/three.module.min.js";
import { AvatarTexture, bytesTexture } from "./avatar_texture.js";
import { reliefMap, slopeScale } from "./relief.js";
import { ShaderPrograms } from "./shader_programs.js";
import { ShadowMap } from "./shadow.js";

const SEE_THROUGH = ["fibre", "baked"];

/** Faces grouped by part in drawing order: {part, start, count} of indices, and all indices. */
function partRuns({ faces, parts }, studio) {
  const lists = new Map(studio.order.map((part) => [part, []]));
  for (let face = 0; face < faces.length; face += 3)
    lists.get(studio.parts[parts[faces[face]]]).push(face);
  const indices = new Uint32Array(faces.length), runs = [];
  let start = 0;
  for (const [part, of] of lists) {
    if (!of.length) continue;
    of.forEach((face, i) => indices.set(faces.subarray(face, face + 3), start + 3 * i));
    runs.push({ part, start, count: 3 * of.length });
    start += 3 * of.length;
  }
  return { runs, indices };
}

export class AvatarMesh {
  /** Fetches the programs that the topology needs. `topology`: the worker's message. */
  static async open(programs, topology) {
    const grouped = partRuns(topology, programs.studio);
    const lit = topology.lit && programs.studio.key !== null;
    const kinds = new Set(grouped.runs.map(({ part }) => materialOf(programs.studio, part, topology.lit).kind));
    const names = [...kinds].map((kind) => programName(kind, lit, topology.basis));
    await programs.fetch(names);
    return new AvatarMesh(programs, topology, grouped);
  }

  constructor(programs, topology, { runs, indices }) {
    const { studio } = programs;
    this.id = topology.id;
    this.texture = new AvatarTexture(topology.basis);
    const count = topology.uv.length / 2;
    this.geometry = new BufferGeometry();
    for (const name of ["position", "normal"]) {
      const attribute = new BufferAttribute(new Float32Array(3 * count), 3);
      this.geometry.setAttribute(name, attribute.setUsage(DynamicDrawUsage));
    }
    this.geometry.setAttribute("uv", new BufferAttribute(topology.uv, 2));
    this.geometry.setIndex(new BufferAttribute(indices, 1));

    const empty = { width: 1, height: 1, rgba: Uint8Array.of(128, 255, 128, 255) };
    const surface = topology.surface?.width ? topology.surface : empty;
    const size = [surface.width, surface.height];
    this.surface = bytesTexture(surface.rgba, ...size);
    this.relief = bytesTexture(reliefMap(surface, studio.relief), ...size);

    const shadowed = topology.lit && studio.key !== null;
    this.shadow = shadowed ? new ShadowMap(programs, this.#caster(runs, topology, studio)) : null;
    this.uniforms = {
      clip_from_world: { value: new Matrix4() },
      eye: { value: new Vector3() },
      slope_scale: { value: slopeScale(surface, studio.relief) },
      albedo_map: { value: null },
      ...this.shadow?.uniforms,
      ...this.texture.basis?.uniforms,
    };
    for (const [name, value] of Object.entries(studio.uniforms)) this.uniforms[name] = { value };
    const materials = runs.map(({ part, start, count: length }, i) => {
      this.geometry.addGroup(start, length, i);
      return this.#material(programs, materialOf(studio, part, topology.lit), shadowed, topology.basis);
    });
    this.object = new Mesh(this.geometry, materials);
    this.object.frustumCulled = false;
    this.object.visible = false; // until there are vertices
    this.object.onBeforeRender = (renderer, scene, camera, geometry, material) =>
      this.#face(camera, material);
    this.fresh = false;
    this.opacity = 1;
  }

  #caster(runs, topology, studio) {
    const run = runs.find(({ part }) => materialOf(studio, part, topology.lit).kind === "skin");
    if (!run) return null;
    const caster = new BufferGeometry();
    caster.setAttribute("position", this.geometry.getAttribute("position"));
    caster.setIndex(this.geometry.getIndex());
    caster.setDrawRange(run.start, run.count);
    return caster;
  }

  #material(programs, { kind, wrap, material }, shadow, basis) {
    const seeThrough = SEE_THROUGH.includes(kind);
    const uniforms = {
      ...this.uniforms,
      wrap: { value: wrap },
      material: { value: material },
      surface_map: { value: seeThrough ? this.surface : this.relief },
    };
    const made = programs.material(programName(kind, shadow, basis), uniforms, { side: FrontSide });
    made.userData.seeThrough = seeThrough;
    setOpacity(made, 1);
    return made;
  }

  /** The eye that is about to draw. The mesh's frame is the avatar's world, and so are its lights. */
  #face(camera, material) {
    const worldFromStage = WORLD_FROM_STAGE.copy(this.object.matrixWorld).invert();
    this.uniforms.clip_from_world.value
      .multiplyMatrices(camera.projectionMatrix, camera.matrixWorldInverse)
      .multiply(this.object.matrixWorld);
    this.uniforms.eye.value.setFromMatrixPosition(camera.matrixWorld).applyMatrix4(worldFromStage);
    material.uniformsNeedUpdate = true;
  }

  /** Take an "avatar" message: mesh and texture of one frame. */
  show({ vertices, normals, texture }) {
    for (const [name, values] of [["position", vertices], ["normal", normals]]) {
      const attribute = this.geometry.getAttribute(name);
      if (values.length !== attribute.array.length)
        throw new Error(`AvatarMesh.show: expected ${attribute.count} vertices, got ${values.length / 3}`);
      attribute.array = values;
      attribute.needsUpdate = true;
    }
    this.texture.show(texture);
    this.uniforms.albedo_map.value = this.texture.current;
    this.object.visible = this.opacity > 0 && this.texture.current !== null;
    this.fresh = true;
  }

  /** Passes that come before drawing: the texture's planes, the shadow. */
  prepare(renderer) {
    if (!this.fresh) return;
    this.fresh = false;
    this.texture.prepare(renderer);
    this.shadow?.draw(renderer, this.vertices);
  }

  /** (3 V) metres, of the frame that was shown last. */
  get vertices() {
    return this.geometry.getAttribute("position").array;
  }

  /** 1: as it is; less: fading away; 0: hidden. */
  fade(opacity) {
    if (opacity === this.opacity) return;
    this.opacity = opacity;
    this.object.visible = opacity > 0 && this.texture.current !== null;
    for (const material of this.object.material) setOpacity(material, opacity);
  }

  dispose() {
    this.object.removeFromParent();
    this.object.material.forEach((material) => material.dispose());
    this.shadow?.dispose();
    this.texture.dispose();
    this.surface.dispose();
    this.relief.dispose();
    this.geometry.dispose();
  }
}

const WORLD_FROM_STAGE = new Matrix4();

function materialOf(studio, part, lit) {
  return studio.materials[lit ? "lit" : "baked"][part];
}

function programName(kind, shadow, basis) {
  return ShaderPrograms.nameOf(kind, { shadow: shadow && kind !== "baked", basis: Boolean(basis) });
}

/** Blending as in GlRenderer; below 1, everything by a constant share. */
function setOpacity(material, opacity) {
  const whole = opacity >= 1, { seeThrough } = material.userData;
  material.transparent = seeThrough || !whole;
  material.blending = material.transparent ? CustomBlending : NoBlending;
  material.blendEquation = AddEquation;
  material.blendSrc = whole ? OneFactor : ConstantAlphaFactor;
  material.blendDst = whole ? OneMinusSrcAlphaFactor : OneMinusConstantAlphaFactor;
  material.blendSrcAlpha = material.blendSrc;
  material.blendDstAlpha = material.blendDst;
  material.blendAlpha = opacity;
  material.depthWrite = true;
}
