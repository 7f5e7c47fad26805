"""Panels as quad layers: the runtime draws them itself, at the display's resolution and rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from headset.openxr.binding import OpenXrError
from headset.openxr.reference_spaces import PlaySpace
from headset.openxr.runtime import Runtime
from headset.openxr.swapchains import COLOUR, Swapchain
from streams.closing import Closing
from streams.panel import Panel

PictureOf = Callable[[Panel], npt.NDArray[np.uint8]]
"""What is shown of a panel: (H, W, 4) uint8 sRGB, straight alpha, row 0 on top, with its label."""


@dataclass(slots=True)
class _Shown:
    panel: Panel
    images: Swapchain


class QuadLayers(Closing):
    """The panels that are shown now; a picture is sent again only when it changed."""

    def __init__(self, runtime: Runtime, session: Any, picture_of: PictureOf) -> None:
        self._runtime, self._session, self._picture_of = runtime, session, picture_of
        self._shown: dict[str, _Shown] = {}

    def layers(self, panels: Sequence[Panel], space: PlaySpace) -> list[Any]:
        """XrCompositionLayerQuad of every panel, in the given order: a later one covers an earlier
        one. Panels that are not given any more lose their images.

        Raises OpenXrError for more panels than the runtime shows layers, ValueError for a panel
        that is not anchored to the world.
        """
        xr = self._runtime.xr
        most = self._runtime.most_layers - 1
        if len(panels) > most:
            raise OpenXrError(f"OpenXR: expected at most {most} panels, got {len(panels)}")
        made: list[Any] = []
        for panel in panels:
            if panel.anchor != "world":
                raise ValueError(
                    f"QuadLayers: expected panels anchored to 'world', got {panel.anchor!r} for "
                    f"{panel.id!r}; resolve them with overlay.place_panels"
                )
            flags = xr.CompositionLayerFlags
            made.append(
                xr.CompositionLayerQuad(
                    layer_flags=flags.BLEND_TEXTURE_SOURCE_ALPHA_BIT
                    | flags.UNPREMULTIPLIED_ALPHA_BIT,
                    space=space.handle,
                    eye_visibility=xr.EyeVisibility.BOTH,
                    sub_image=self._images(panel).whole(),
                    pose=space.pose(panel.anchor_from_panel),
                    size=xr.Extent2Df(*panel.size_m),
                )
            )
        self._forget({panel.id for panel in panels})
        return made

    def close(self) -> None:
        """Destroy all images; may be called twice."""
        self._forget(set())

    def _images(self, panel: Panel) -> Swapchain:
        kept = self._shown.get(panel.id)
        if kept is not None and _same_picture(kept.panel, panel):
            kept.panel = panel
            return kept.images
        picture = self._picture_of(panel)
        size = (picture.shape[1], picture.shape[0])
        if kept is not None and kept.images.size != size:
            kept.images.close()
            kept = None
        images = Swapchain(self._runtime, self._session, size, COLOUR) if kept is None else (
            kept.images
        )  # fmt: skip
        self._shown[panel.id] = _Shown(panel, images)
        texture = images.acquire()
        try:
            write_texture(texture, picture)
        finally:
            images.release()
        return images

    def _forget(self, shown: set[str]) -> None:
        for name in [name for name in self._shown if name not in shown]:
            self._shown.pop(name).images.close()


def write_texture(texture: int, picture: npt.NDArray[np.uint8]) -> None:
    """`picture` (H, W, 4) uint8, row 0 on top, into the runtime's texture, GL's row 0 below."""
    # Here: PyOpenGL takes its platform from where it is first imported, which is the renderer's.
    from OpenGL import GL

    GL.glBindTexture(GL.GL_TEXTURE_2D, texture)
    GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)
    GL.glTexSubImage2D(
        *(GL.GL_TEXTURE_2D, 0, 0, 0, picture.shape[1], picture.shape[0]),
        *(GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, np.ascontiguousarray(picture[::-1])),
    )
    GL.glBindTexture(GL.GL_TEXTURE_2D, 0)


def _same_picture(a: Panel, b: Panel) -> bool:
    """Whether both show the very same pixels with the same label and shape."""
    pixels = a.rgba.__array_interface__["data"] == b.rgba.__array_interface__["data"]
    return (
        pixels
        and a.rgba.shape == b.rgba.shape
        and (a.generated_by, a.size_m) == (b.generated_by, b.size_m)
    )
