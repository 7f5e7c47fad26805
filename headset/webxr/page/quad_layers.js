// Panels as quad layers of the compositor: sharper than a texture that is sampled twice. They lie
// below the drawn layer, which has a hole where each of them is, so that hands and people cover them.

import { Quaternion, Vector3 } from "./vendor/three.module.min.js";

export class QuadLayers {
  /** Null unless the session grants layers. */
  static of(session, renderer) {
    const granted = session.enabledFeatures?.includes("layers") && session.renderState.layers?.length;
    const binding = granted ? renderer.xr.getBinding?.() : null;
    return binding?.createQuadLayer ? new QuadLayers(session, renderer, binding) : null;
  }

  constructor(session, renderer, binding) {
    this.session = session;
    this.renderer = renderer;
    this.binding = binding;
    this.drawn = [...session.renderState.layers]; // what three.js draws into
    this.layers = new Map(); // panel -> XRQuadLayer
  }

  /** Bring the layers to what the panels are now; in a frame of the session. */
  update(panels, frame, space) {
    const wanted = new Set([...panels].filter((panel) => panel.visible));
    let changed = false;
    for (const [panel, layer] of this.layers) {
      const { width, height } = panel.board.canvas, [was, high] = layer.pixels;
      if (wanted.has(panel) && was === width && high === height) continue;
      this.#remove(panel);
      changed = true;
    }
    for (const panel of wanted) {
      if (!this.layers.has(panel)) {
        this.#add(panel, space);
        changed = true;
      }
      this.#place(panel);
    }
    if (changed) {
      const quads = [...this.layers.values()].map(({ layer }) => layer);
      this.session.updateRenderState({ layers: [...quads, ...this.drawn] });
    }
    for (const [panel, held] of this.layers) {
      if (!panel.fresh && !held.layer.needsRedraw) continue;
      this.#upload(panel, held.layer, frame);
      panel.fresh = false;
    }
  }

  #add(panel, space) {
    const { width, height } = panel.board.canvas;
    const layer = this.binding.createQuadLayer({
      space, viewPixelWidth: width, viewPixelHeight: height, layout: "mono",
    });
    this.layers.set(panel, { layer, pixels: [width, height] });
    panel.fresh = true;
    panel.board.cutOut(true);
  }

  #place(panel) {
    const { layer } = this.layers.get(panel);
    panel.board.stageFromBoard.decompose(PLACE, TURN, SIZE);
    layer.transform = new XRRigidTransform(
      { x: PLACE.x, y: PLACE.y, z: PLACE.z }, { x: TURN.x, y: TURN.y, z: TURN.z, w: TURN.w });
    // Browsers take these as half sizes (so does three.js), whatever the draft says.
    layer.width = panel.sizeM[0] / 2;
    layer.height = panel.sizeM[1] / 2;
  }

  #upload(panel, layer, frame) {
    const gl = this.renderer.getContext();
    const { colorTexture } = this.binding.getSubImage(layer, frame);
    this.renderer.state.activeTexture(gl.TEXTURE0);
    this.renderer.state.bindTexture(gl.TEXTURE_2D, colorTexture);
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, true);
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, true);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, gl.RGBA, gl.UNSIGNED_BYTE, panel.board.canvas);
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, false);
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
    this.renderer.state.unbindTexture();
  }

  #remove(panel) {
    this.layers.get(panel)?.layer.destroy?.();
    this.layers.delete(panel);
    panel.board.cutOut(false);
  }

  /** The session is over: panels are drawn again. */
  dispose() {
    for (const panel of [...this.layers.keys()]) {
      this.layers.delete(panel);
      panel.board.cutOut(false);
    }
  }
}

const PLACE = new Vector3(), TURN = new Quaternion(), SIZE = new Vector3();
