"""The server's own drawing for a headset's eyes: for pages that cannot draw an avatar themselves.

A page that decodes meshes or codes draws at its own rate and needs none of this. Pictures are drawn
for the head pose of the newest sample; the page turns them by what the head has turned since.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from render.renderer import Renderer, RenderOptions, open_renderer
from streams.closing import Closing
from streams.headset_sample import HeadsetSample
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.view import View


class TakesPictures(Protocol):
    """What this needs of a `Presentation`."""

    @property
    def wants_pictures(self) -> bool: ...

    def show_pictures(
        self, rgb: npt.NDArray[np.uint8], views: tuple[View, ...], t_ns: int
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class StereoOptions:
    """How pictures are drawn."""

    largest_side: int = 768
    """Pixels of an eye's picture; what a headset asks for is scaled down to it."""
    fresh_ns: int = 500_000_000
    """Without a sample for so long nobody wears the headset: one picture, as a webcam's place sees
    it, takes the place of two."""


class StereoPictures(Closing):
    """Draws while a page wants it. `take_*` come from any thread, `draw` from the one that owns
    OpenGL."""

    def __init__(self, presentation: TakesPictures, options: StereoOptions | None = None) -> None:
        self.options = options or StereoOptions()
        self._presentation = presentation
        self._lock = threading.Lock()
        self._mesh: MeshTexture | MeshNodes | None = None
        self._panels: tuple[Panel, ...] = ()
        self._sample: HeadsetSample | None = None
        self._renderer: Renderer | None = None
        self._drawn: tuple[object, object] = (None, None)

    def take_mesh(self, mesh: MeshTexture | MeshNodes) -> None:
        """The newest moment of the avatar."""
        with self._lock:
            self._mesh = mesh

    def take_panels(self, panels: tuple[Panel, ...]) -> None:
        """All panels in view, in the world."""
        with self._lock:
            self._panels = panels

    def take_sample(self, sample: HeadsetSample) -> None:
        """What the headset that controls reports."""
        with self._lock:
            self._sample = sample

    def draw(self, now_ns: int) -> bool:
        """Draw the newest once, if a page wants pictures and there is something new; whether it
        did. The renderer is given back while nobody wants any.

        Raises RuntimeError when there is no OpenGL.
        """
        if not self._presentation.wants_pictures:
            self.close()
            return False
        with self._lock:
            mesh, panels, sample = self._mesh, self._panels, self._sample
        if sample is not None and now_ns - sample.t_ns > self.options.fresh_ns:
            sample = None
        if mesh is None or self._drawn == (mesh, sample):
            return False
        if self._renderer is None:
            self._renderer = open_renderer("gl", RenderOptions(depth=False))
        views = self._views(sample, mesh.t_ns)
        eyes = [self._renderer.draw(mesh, view, panels).rgba[..., :3] for view in views]
        self._presentation.show_pictures(np.concatenate(eyes, axis=1), views, mesh.t_ns)
        self._drawn = mesh, sample
        return True

    def close(self) -> None:
        """Give back the renderer; the next `draw` opens one. May be called twice."""
        renderer, self._renderer = self._renderer, None
        if renderer is not None:
            renderer.release()
        self._drawn = None, None

    def _views(self, sample: HeadsetSample | None, t_ns: int) -> tuple[View, ...]:
        side = self.options.largest_side
        asked = () if sample is None else sample.views
        if not asked:
            return (View.front((side, side * 3 // 4 // 2 * 2), t_ns),)
        # Side by side they are of one size.
        width, height = (max(view.size[k] for view in asked) for k in (0, 1))
        scale = min(1.0, side / max(width, height))
        size = (max(2, round(width * scale) // 2 * 2), max(2, round(height * scale) // 2 * 2))
        return tuple(replace(view, size=size) for view in asked)
