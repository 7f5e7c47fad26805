"""Both eyes' pictures as one projection layer, with depth where the runtime takes it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from headset.openxr.binding import OpenXrError
from headset.openxr.runtime import DEPTH as DEPTH_EXTENSION
from headset.openxr.runtime import Runtime
from headset.openxr.swapchains import COLOUR, DEPTH, Swapchain, require_format, session_formats
from streams.closing import Closing


@dataclass(frozen=True, slots=True)
class DepthRange:
    """What the depth buffer's 0 and 1 mean."""

    near: float
    """Metres."""
    far: float
    """Metres."""

    def __post_init__(self) -> None:
        if not 0.0 < self.near < self.far:
            raise ValueError(f"DepthRange: expected 0 < near < far, got {self.near}, {self.far}")


@dataclass(frozen=True, slots=True)
class EyeImage:
    """Where one eye's picture goes; the textures belong to the runtime."""

    colour: int
    """GL texture of GL_SRGB8_ALPHA8, to be filled with sRGB-encoded bytes, lower row first."""
    depth: int | None
    """GL texture of GL_DEPTH_COMPONENT32F, or None where depth is not taken."""
    size: tuple[int, int]
    """(width, height) pixels."""


class ProjectionLayer(Closing):
    """The swapchains of both eyes. `depth`: None to submit none."""

    def __init__(
        self, runtime: Runtime, session: Any, size: tuple[int, int], depth: DepthRange | None
    ) -> None:
        formats = session_formats(runtime, session)
        require_format(formats, COLOUR)
        self._xr, self.size, self._range = runtime.xr, size, depth
        for eye in runtime.eyes:
            if size[0] > eye.largest[0] or size[1] > eye.largest[1]:
                raise OpenXrError(
                    f"OpenXR: expected pictures of at most {eye.largest[0]}x{eye.largest[1]} "
                    f"pixels, got {size[0]}x{size[1]}"
                )
        self.with_depth = (
            depth is not None and DEPTH_EXTENSION in runtime.extensions and DEPTH.format in formats
        )
        """Whether depth is submitted."""
        self._colour: list[Swapchain] = []
        self._depth: list[Swapchain] = []
        try:
            for _ in runtime.eyes:
                self._colour.append(Swapchain(runtime, session, size, COLOUR))
                if self.with_depth:
                    self._depth.append(Swapchain(runtime, session, size, DEPTH))
        except BaseException:
            self.close()
            raise

    def acquire(self) -> tuple[EyeImage, ...]:
        """Both eyes' images; `release` must follow."""
        colours = [swapchain.acquire() for swapchain in self._colour]
        depths = [swapchain.acquire() for swapchain in self._depth] or [None] * len(colours)
        return tuple(
            EyeImage(colour, depth, self.size)
            for colour, depth in zip(colours, depths, strict=True)
        )

    def release(self) -> None:
        """Hand all acquired images over."""
        for swapchain in (*self._colour, *self._depth):
            swapchain.release()

    def layer(self, located: Any, space: Any) -> Any:
        """XrCompositionLayerProjection of the XrViews that were drawn; keep it until the frame was
        ended."""
        xr = self._xr
        views = (xr.CompositionLayerProjectionView * len(self._colour))()
        kept: list[Any] = [views]
        for eye, view in enumerate(located):
            chained = None
            if self.with_depth and self._range is not None:
                depth = xr.CompositionLayerDepthInfoKHR(
                    sub_image=self._depth[eye].whole(),
                    min_depth=0.0,
                    max_depth=1.0,
                    near_z=self._range.near,
                    far_z=self._range.far,
                )
                kept.append(depth)
                chained = ctypes.cast(ctypes.pointer(depth), ctypes.c_void_p)
            views[eye] = xr.CompositionLayerProjectionView(
                pose=view.pose, fov=view.fov, sub_image=self._colour[eye].whole(), next=chained
            )
        layer = xr.CompositionLayerProjection(space=space, view_count=len(views), views=views)
        layer.kept_alive = kept
        return layer

    def close(self) -> None:
        """Destroy the images; may be called twice."""
        swapchains = (*self._colour, *self._depth)
        self._colour, self._depth = [], []
        for swapchain in swapchains:
            swapchain.close()
