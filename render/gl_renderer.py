"""The OpenGL 4.1 renderer: shadow pass, wall, parts, panels, read-back.

Shading is linear and high-range inside the fragment shaders, which end with tone curve and sRGB
encoding; samples are therefore averaged after encoding. That keeps a bright background from eating
the edges of a dark subject, and the target at four bytes a sample.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from OpenGL import GL

from render.gl_basis import NODES_UNIT, PLANES_UNIT, GlBasisCache
from render.gl_context import GlContext, is_software_gl
from render.gl_mesh import GlMesh, GlMeshCache, PartRange
from render.gl_objects import DepthTarget, Framebuffer, Program
from render.gl_panels import GlPanels
from render.gl_targets import Target, Targets
from render.gl_texture_target import TextureTarget
from render.materials import SHADER_KINDS
from render.projection_matrix import (
    SHADOW_TEXELS,
    ShadowFrame,
    clip_from_world,
    metres_from_depth,
    shadow_frame,
)
from render.renderer import RenderOptions, require_drawable
from render.shader_text import mesh_program
from streams.closing import Releasing
from streams.image import Image
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.view import View

Uniforms = dict[str, npt.NDArray[np.float32]]


class GlRenderer(Releasing):
    """Draws with the given context, which it owns. Use it on one thread."""

    def __init__(self, context: GlContext, options: RenderOptions) -> None:
        self._context: GlContext | None = context
        self._options = options
        context.make_current()
        self.antialias = _chosen_antialias(options.antialias)
        """What "auto" became."""
        self._shadow = (
            DepthTarget(SHADOW_TEXELS) if options.shadows and options.environment.lights else None
        )
        self._programs: dict[tuple[str, bool], Program] = {}
        for kind in SHADER_KINDS:
            self._programs[kind, False] = self._program(kind, basis=False)
        self._bases = GlBasisCache()
        self._shadow_program = Program(("shadow.vert",), ("shadow.frag",))
        self._meshes = GlMeshCache()
        self._panels = GlPanels()
        self._targets = Targets(
            4 if self.antialias == "msaa" else 1, 2 if self.antialias == "supersample" else 1
        )
        self._drawn: tuple[Target, View, int] | None = None
        self._textures: TextureTarget | None = None
        self._shadow_of: tuple[MeshTexture | MeshNodes, ShadowFrame] | None = None
        self._no_depth = np.zeros((0, 0), np.float32)

    def draw(
        self, mesh: MeshTexture | MeshNodes, view: View, panels: Sequence[Panel] = ()
    ) -> Image:
        """See `Renderer.draw`."""
        self.render(mesh, view, panels)
        return self.read()

    def render(
        self, mesh: MeshTexture | MeshNodes, view: View, panels: Sequence[Panel] = ()
    ) -> None:
        """Draw without reading back: the picture stays on the card for `read` or a window."""
        context = self._current_context("render")
        require_drawable(mesh, view, panels)
        context.make_current()
        self._set_state()
        matrix = clip_from_world(view)
        if len(mesh.topology.faces):
            on_card = self._meshes.get(mesh.topology)
            on_card.upload(mesh, self._bases)
            shadow = self._draw_shadow(on_card, mesh) if mesh.topology.lit else None
            target = self._targets.begin(view)
            self._draw_parts(on_card, mesh, view, matrix, shadow)
        else:
            target = self._targets.begin(view)
        self._panels.draw(panels, view, matrix)
        self._drawn = (target, view, mesh.t_ns)

    def read(self) -> Image:
        """The last drawn picture."""
        context = self._current_context("read")
        if self._drawn is None:
            raise RuntimeError("GlRenderer.read: nothing was drawn yet; call render or draw first")
        context.make_current()
        target, view, t_ns = self._drawn
        rgba = target.read_colour()
        if self._options.depth:
            depth = metres_from_depth(target.read_depth())
        else:
            if self._no_depth.shape != rgba.shape[:2]:
                self._no_depth = np.zeros(rgba.shape[:2], np.float32)
            depth = self._no_depth
        return Image(t_ns, view, rgba, depth)

    def last_drawn(self) -> Framebuffer | None:
        """The last picture where it lies on the card, one sample a pixel, for a window to show."""
        return self._drawn[0].resolve() if self._drawn else None

    def copy_to_textures(self, colour: int, depth: int | None = None) -> None:
        """Copy the last drawn picture, on the card, into GL textures that somebody else owns, of
        the view's size: `colour` RGBA8 or SRGB8_ALPHA8 (it gets sRGB-encoded bytes), `depth`
        DEPTH_COMPONENT32F (0..1 between `projection_matrix.NEAR` and FAR). For a headset's images.
        """
        context = self._current_context("copy_to_textures")
        if self._drawn is None:
            raise RuntimeError("GlRenderer.copy_to_textures: nothing was drawn yet; call render")
        context.make_current()
        if self._textures is None:
            self._textures = TextureTarget()
        target, view, _ = self._drawn
        picture = target.resolve(depth=depth is not None)
        self._textures.copy_from(picture, view.size, colour, depth)

    def release(self) -> None:
        """Give back every GL object and the context; a second call does nothing."""
        if self._context is None:
            return
        context, self._context = self._context, None
        context.make_current()
        self._drawn = self._shadow_of = None
        for program in (*self._programs.values(), self._shadow_program):
            program.release()
        for owner in (
            *(self._meshes, self._bases, self._panels, self._targets, self._shadow),
            self._textures,
        ):
            if owner is not None:
                owner.release()
        context.release()

    def _current_context(self, what: str) -> GlContext:
        if self._context is None:
            raise RuntimeError(f"GlRenderer.{what}: it was released; open a new renderer")
        return self._context

    def _program(self, kind: str, *, basis: bool) -> Program:
        """Compile and set what no frame changes. `basis`: for MeshNodes."""
        made_of = mesh_program(kind, shadow=bool(self._shadow), basis=basis)
        program = Program(made_of.vertex, made_of.fragment, made_of.defines)
        program.use()
        program.set(self._lasting_uniforms())
        return program

    def _lasting_uniforms(self) -> dict[str, int | npt.NDArray[np.float32]]:
        environment = self._options.environment
        return {
            "albedo_map": 0,
            "surface_map": 1,
            "shadow_map": 2,
            "planes_map": PLANES_UNIT,
            "nodes_map": NODES_UNIT,
            "surround": environment.irradiance_matrices(),
            "light_frame": environment.light_frames().reshape(12, 3),
            "light_colour": environment.light_colours(),
            "light_radiance": environment.light_radiances(),
        }

    @staticmethod
    def _set_state() -> None:
        """Everything that a window's drawing or another user may have changed."""
        GL.glEnable(GL.GL_CULL_FACE)
        GL.glCullFace(GL.GL_BACK)
        GL.glFrontFace(GL.GL_CCW)
        GL.glDepthFunc(GL.GL_LEQUAL)
        GL.glDepthMask(True)
        GL.glColorMask(True, True, True, True)
        GL.glClearDepth(1.0)
        for state in (GL.GL_BLEND, GL.GL_SCISSOR_TEST, GL.GL_FRAMEBUFFER_SRGB):
            GL.glDisable(state)

    def _draw_shadow(self, on_card: GlMesh, mesh: MeshTexture | MeshNodes) -> ShadowFrame | None:
        """Fill the key light's depth map; returns where it lies. The same mesh again (the other
        eye) finds it filled."""
        if self._shadow is None:
            return None
        if self._shadow_of is not None and self._shadow_of[0] is mesh:
            return self._shadow_of[1]
        light = self._options.environment.lights[0]
        frame = shadow_frame(light, mesh.vertices, SHADOW_TEXELS)
        self._shadow.bind()
        GL.glViewport(0, 0, SHADOW_TEXELS, SHADOW_TEXELS)
        GL.glEnable(GL.GL_DEPTH_TEST)
        GL.glClear(GL.GL_DEPTH_BUFFER_BIT)
        self._shadow_program.use()
        self._shadow_program.set({"clip_from_world": frame.clip_from_world.astype(np.float32)})
        on_card.bind()
        if on_card.caster is not None:
            _draw_indices(GL.GL_TRIANGLES, on_card.caster.first, on_card.caster.count)
        self._shadow_of = (mesh, frame)
        return frame

    def _draw_parts(
        self,
        on_card: GlMesh,
        mesh: MeshTexture | MeshNodes,
        view: View,
        matrix: npt.NDArray[np.float64],
        shadow: ShadowFrame | None,
    ) -> None:
        values: Uniforms = {
            "clip_from_world": matrix.astype(np.float32),
            "eye": view.world_from_eye.xyz.astype(np.float32),
            "slope_scale": on_card.slope_scale,
        }
        if shadow is not None and self._shadow is not None:
            values["shadow_from_world"] = shadow.texture_from_world.astype(np.float32)
            values["shadow_blur"] = shadow.blur.astype(np.float32)
            self._shadow.texture.bind(2)
        basis = isinstance(mesh, MeshNodes)
        if isinstance(mesh, MeshNodes):
            self._bases.get(mesh.basis).bind()
            values |= self._basis_uniforms(mesh, view)
        GL.glEnable(GL.GL_DEPTH_TEST)
        on_card.bind()
        opaque = [part for part in on_card.ranges if part.material.kind != "fibre"]
        fibres = [part for part in on_card.ranges if part.material.kind == "fibre"]
        self._draw_ranges(on_card, opaque, values, GL.GL_TRIANGLES, basis)
        if self.antialias == "outline":
            outlines = on_card.upload_outlines(mesh, matrix)
            self._draw_outlines(on_card, outlines, values, basis)
        # Fibres after the outlines: they are blended over whatever lies behind them.
        on_card.bind()
        self._draw_ranges(on_card, fibres, values, GL.GL_TRIANGLES, basis)
        GL.glDisable(GL.GL_BLEND)

    def _draw_outlines(
        self, on_card: GlMesh, lines: Sequence[PartRange], values: Uniforms, basis: bool
    ) -> None:
        """Smooth lines over the jagged edges, shaded like the surface that ends there."""
        on_card.bind_outlines()
        GL.glEnable(GL.GL_LINE_SMOOTH)
        GL.glLineWidth(1.0)
        GL.glDepthMask(False)
        # Across a line there is no slope to take relief from.
        flat = [replace(part, material=replace(part.material, bump=0.0)) for part in lines]
        self._draw_ranges(on_card, flat, values, GL.GL_LINES, basis)
        GL.glDepthMask(True)
        GL.glDisable(GL.GL_LINE_SMOOTH)

    def _basis_uniforms(self, mesh: MeshNodes, view: View) -> Uniforms:
        """See local_basis.glsl."""
        planes = len(mesh.basis.planes)
        foveation = self._options.foveation
        near, far = float(planes), float(planes)
        centre, radius = (0.0, 0.0), 1e9
        if foveation is not None:
            far = float(min(planes, foveation.planes_outside))
            width, height = view.size
            x, y = foveation.centre
            centre, radius = (x * width, (1.0 - y) * height), foveation.radius * height
            # Drawn larger to be averaged: gl_FragCoord counts those pixels.
            scale = 2.0 if self.antialias == "supersample" else 1.0
            centre, radius = (centre[0] * scale, centre[1] * scale), radius * scale
        is_log = 1.0 if mesh.basis.space == "log" else 0.0
        return {
            "gain": np.array([*mesh.gain, is_log], np.float32),
            "planes_used": np.array([near, far], np.float32),
            "fovea": np.array([*centre, radius], np.float32),
        }

    def _draw_ranges(
        self,
        on_card: GlMesh,
        parts: Sequence[PartRange],
        values: Uniforms,
        shape: int,
        basis: bool,
    ) -> None:
        kind = ""
        for part in parts:
            key = (part.material.kind, basis)
            if key not in self._programs:
                self._programs[key] = self._program(part.material.kind, basis=basis)
            program = self._programs[key]
            if part.material.kind != kind:
                kind = part.material.kind
                program.use()
                program.set(values)
                self._set_kind_state(on_card, kind, lines=shape == GL.GL_LINES)
            program.set(part.material.uniforms())
            _draw_indices(shape, part.first, part.count)

    @staticmethod
    def _set_kind_state(on_card: GlMesh, kind: str, *, lines: bool) -> None:
        see_through = kind in ("fibre", "baked")
        (on_card.surface if see_through else on_card.relief).bind(1)
        (GL.glEnable if see_through or lines else GL.glDisable)(GL.GL_BLEND)
        # Fibres come premultiplied; a smooth line's coverage arrives in alpha alone.
        source = GL.GL_SRC_ALPHA if lines else GL.GL_ONE
        GL.glBlendFuncSeparate(
            source, GL.GL_ONE_MINUS_SRC_ALPHA, GL.GL_ONE, GL.GL_ONE_MINUS_SRC_ALPHA
        )


def _draw_indices(shape: int, first: int, count: int) -> None:
    if count:
        GL.glDrawElements(shape, count, GL.GL_UNSIGNED_INT, ctypes.c_void_p(4 * first))


def _chosen_antialias(wanted: str) -> str:
    if wanted == "auto":
        return "outline" if is_software_gl() else "msaa"
    return wanted
