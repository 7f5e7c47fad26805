// The renderer's own shaders and constants, served at /shaders by apps/page_shaders.py.

import { GLSL3, RawShaderMaterial } from "./vendor/three.module.min.js";

const VERSION = "#version 300 es\n"; // three.js writes this line itself

async function text(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: the server answered ${answer.status}`);
  return answer.text();
}

async function shader(path) {
  const source = await text(path);
  if (!source.startsWith(VERSION)) throw new Error(`${path}: expected ${VERSION.trim()}`);
  return source.slice(VERSION.length);
}

export class ShaderPrograms {
  /** Fetch the constants and the programs that need no avatar. */
  static async load() {
    const programs = new ShaderPrograms();
    programs.studio = JSON.parse(await text("/shaders/studio.json"));
    await programs.fetch(["background", "shadow"]);
    return programs;
  }

  constructor() {
    this.studio = null;
    this.sources = new Map();
  }

  /** The name of one part's program, as apps/page_shaders.py gives them. */
  static nameOf(kind, { shadow, basis }) {
    return kind + (shadow ? "-shadow" : "") + (basis ? "-basis" : "");
  }

  async fetch(names) {
    const missing = names.filter((name) => !this.sources.has(name));
    await Promise.all(
      missing.map(async (name) => {
        const paths = [`/shaders/${name}.vert`, `/shaders/${name}.frag`];
        const [vertexShader, fragmentShader] = await Promise.all(paths.map(shader));
        this.sources.set(name, { vertexShader, fragmentShader });
      }),
    );
  }

  /** A material of a program that was fetched. `uniforms`: name -> {value}. */
  material(name, uniforms, options = {}) {
    const source = this.sources.get(name);
    if (!source) throw new Error(`ShaderPrograms.material: ${name} was not fetched`);
    return new RawShaderMaterial({ name, glslVersion: GLSL3, ...source, uniforms, ...options });
  }
}
