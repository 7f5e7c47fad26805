"""The panel pass on OpenGL: every panel's picture as a texture, sent again only when it changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from OpenGL import GL

from render.gl_objects import Program, Texture, TextureFormat, VertexArray
from render.panels import back_to_front, panel_matrix, panel_picture
from streams.panel import Panel
from streams.view import View

_KEPT = 32
"""Panel textures kept when they are not drawn, at most."""


@dataclass(slots=True)
class _Shown:
    panel: Panel
    texture: Texture


class GlPanels:
    """Draws panels back to front, blended, tested against the depth of what is drawn already."""

    def __init__(self) -> None:
        self._program = Program(("panel.vert",), ("panel.frag",))
        self._arrays = VertexArray()
        self._shown: dict[str, _Shown] = {}

    def draw(
        self, panels: Sequence[Panel], view: View, clip_from_world: npt.NDArray[np.float64]
    ) -> None:
        if not panels:
            return
        self._program.use()
        self._program.set({"picture": 0})
        self._arrays.bind()
        GL.glDisable(GL.GL_CULL_FACE)
        GL.glEnable(GL.GL_BLEND)
        GL.glBlendFunc(GL.GL_ONE, GL.GL_ONE_MINUS_SRC_ALPHA)
        for panel in back_to_front(panels, view):
            self._texture(panel).bind(0)
            matrix = clip_from_world @ panel_matrix(panel)
            self._program.set({"clip_from_panel": matrix.astype(np.float32)})
            GL.glDrawArrays(GL.GL_TRIANGLE_STRIP, 0, 4)
        GL.glDisable(GL.GL_BLEND)
        self._forget({panel.id for panel in panels})

    def release(self) -> None:
        for shown in self._shown.values():
            shown.texture.release()
        self._shown.clear()
        self._program.release()
        self._arrays.release()

    def _texture(self, panel: Panel) -> Texture:
        kept = self._shown.get(panel.id)
        if kept is not None and _same_picture(kept.panel, panel):
            return kept.texture
        picture = panel_picture(panel)
        size = (picture.shape[1], picture.shape[0])
        if kept is None or kept.texture.size != size:
            if kept is not None:
                kept.texture.release()
            form = TextureFormat(
                levels=max(size).bit_length(), min_filter=GL.GL_LINEAR_MIPMAP_LINEAR
            )
            kept = self._shown[panel.id] = _Shown(panel, Texture(size, form))
        kept.panel = panel
        kept.texture.write(picture)
        kept.texture.generate_mipmaps()
        return kept.texture

    def _forget(self, drawn: set[str]) -> None:
        idle = [name for name in self._shown if name not in drawn]
        for name in idle[: max(len(self._shown) - _KEPT, 0)]:
            self._shown.pop(name).texture.release()


def _same_picture(a: Panel, b: Panel) -> bool:
    """True when both panels show the very same pixels array with the same label and shape."""
    same_pixels = a.rgba is b.rgba or (
        a.rgba.base is not None
        and a.rgba.base is b.rgba.base
        and a.rgba.shape == b.rgba.shape
        and a.rgba.ctypes.data == b.rgba.ctypes.data
    )
    return same_pixels and a.generated_by == b.generated_by and a.size_m == b.size_m
