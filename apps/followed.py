"""What a followed picture follows: the camera's frames, or the avatar as it looks now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from apps.pipeline import Draw, Drawn
from overlay.following_model import FollowingModel
from render.renderer import Renderer, RenderOptions, open_renderer
from streams.closing import Closing
from streams.image import Image
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.view import View

AVATAR_HIGH = 512
"""Pixels of the avatar's picture."""


class Followed(Closing):
    """Gives a `FollowingModel` what it follows. All in the thread that owns OpenGL."""

    def __init__(self, model: FollowingModel, what: str, view: View) -> None:
        """`what`: "camera" or "avatar"; `view`: from where the avatar is seen."""
        self._model, self._what = model, what
        width, height = view.size
        self._view = replace(view, size=(round(AVATAR_HIGH * width / height), AVATAR_HIGH))
        self._mesh: MeshTexture | None = None
        self._renderer: Renderer | None = None

    def drawing(self, draw: Draw) -> Draw:
        """The same drawing, which leaves the avatar here."""

        def drawn(mesh: MeshTexture, view: View, panels: Sequence[Panel]) -> Image | None:
            self._mesh = mesh
            return draw(mesh, view, panels)

        return drawn

    def show(self, drawn: Drawn) -> None:
        """The newest picture of a preview, if one is waited for."""
        if not self._model.hungry:
            return
        if self._what == "camera":
            self._model.put(drawn.frame.rgb)
        elif self._mesh is not None:
            # By itself: what the window shows has the followed picture in it.
            if self._renderer is None:
                self._renderer = open_renderer("gl", RenderOptions(depth=False))
            self._model.put(self._renderer.draw(self._mesh, self._view, ()).rgba[..., :3])

    def close(self) -> None:
        """Give the renderer back. May be called twice."""
        renderer, self._renderer = self._renderer, None
        if renderer is not None:
            renderer.release()
