"""The runtime's images that we draw into: a swapchain for each eye's colours, one for its depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headset.openxr.binding import OpenXrError, readable
from headset.openxr.runtime import Runtime
from streams.array_contract import require_size
from streams.closing import Closing

SRGB8_ALPHA8 = 0x8C43
"""GL_SRGB8_ALPHA8: our pictures are sRGB-encoded, and the runtime must know that they are."""
DEPTH32F = 0x8CAC
"""GL_DEPTH_COMPONENT32F, the renderer's own: another one would have to be converted."""
WAIT_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class SwapchainPurpose:
    """What the images hold."""

    name: str
    format: int
    """GL enumerant."""
    is_depth: bool = False


COLOUR = SwapchainPurpose("colours", SRGB8_ALPHA8)
DEPTH = SwapchainPurpose("depth", DEPTH32F, is_depth=True)


class Swapchain(Closing):
    """Some images of one size that take turns. Raises OpenXrError where the runtime has no such
    format."""

    def __init__(
        self, runtime: Runtime, session: Any, size: tuple[int, int], purpose: SwapchainPurpose
    ) -> None:
        require_size("Swapchain size", size)
        xr = self._xr = runtime.xr
        self.size, self.purpose = size, purpose
        self._held = False
        self.handle: Any = None
        usage = xr.SwapchainUsageFlags.COLOR_ATTACHMENT_BIT
        if purpose.is_depth:
            usage = xr.SwapchainUsageFlags.DEPTH_STENCIL_ATTACHMENT_BIT
        wanted = xr.SwapchainCreateInfo(
            usage_flags=usage | xr.SwapchainUsageFlags.SAMPLED_BIT,
            format=purpose.format,
            sample_count=1,
            width=size[0],
            height=size[1],
            face_count=1,
            array_size=1,
            mip_count=1,
        )
        with readable(xr, f"making images for {purpose.name} of {size[0]}x{size[1]}"):
            self.handle = xr.create_swapchain(session, wanted)
            images = xr.enumerate_swapchain_images(self.handle, xr.SwapchainImageOpenGLKHR)
        self.textures = tuple(int(image.image) for image in images)
        """GL texture names, which belong to the runtime."""

    def acquire(self) -> int:
        """The GL texture to draw into now; `release` must follow.

        Raises OpenXrError when the runtime does not let go of it within two seconds.
        """
        xr = self._xr
        with readable(xr, "taking an image to draw into"):
            index = xr.acquire_swapchain_image(self.handle, xr.SwapchainImageAcquireInfo())
            self._held = True
            try:
                xr.wait_swapchain_image(self.handle, xr.SwapchainImageWaitInfo(timeout=WAIT_NS))
            except xr.exception.TimeoutExpired as error:
                # A held image that was not waited for cannot be released: the session is stuck.
                raise OpenXrError("OpenXR: the runtime keeps an image for over 2 s") from error
        return self.textures[int(index)]

    def release(self) -> None:
        """Hand the acquired image over to the runtime; without one nothing happens."""
        if self._held:
            self._held = False
            with readable(self._xr, "handing an image over"):
                self._xr.release_swapchain_image(self.handle, self._xr.SwapchainImageReleaseInfo())

    def whole(self) -> Any:
        """The XrSwapchainSubImage that is all of it."""
        xr = self._xr
        extent = xr.Extent2Di(*self.size)
        return xr.SwapchainSubImage(
            swapchain=self.handle, image_rect=xr.Rect2Di(xr.Offset2Di(0, 0), extent)
        )

    def close(self) -> None:
        """Destroy the images; may be called twice."""
        if self.handle is None:
            return
        handle, self.handle = self.handle, None
        try:
            self._xr.destroy_swapchain(handle)
        except self._xr.exception.XrException:
            pass  # They went with the session.


def session_formats(runtime: Runtime, session: Any) -> tuple[int, ...]:
    """The GL formats that swapchains of this session may have, the runtime's favourite first."""
    with readable(runtime.xr, "asking for formats of images"):
        return tuple(int(value) for value in runtime.xr.enumerate_swapchain_formats(session))


def require_format(formats: Sequence[int], purpose: SwapchainPurpose) -> None:
    """Raise OpenXrError unless images can hold this."""
    if purpose.format not in formats:
        offered = ", ".join(hex(value) for value in formats) or "none"
        raise OpenXrError(
            f"OpenXR: the runtime has no images of format {hex(purpose.format)} for "
            f"{purpose.name}; it offers {offered}"
        )
