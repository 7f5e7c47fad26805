"""What is drawn into: per view size one target, its resolved copy, and the ready-made wall."""

from __future__ import annotations

from collections import OrderedDict

import cv2
import numpy as np
import numpy.typing as npt
from OpenGL import GL

from render.background import background_uniforms
from render.gl_objects import Framebuffer, Program, VertexArray
from streams.view import View

Size = tuple[int, int]


class Target:
    """Colour and depth of one view size, at `scale` drawn pixels a shown pixel each way."""

    def __init__(self, size: Size, samples: int, scale: int) -> None:
        self.size = size
        self.scale = scale
        drawn = (size[0] * scale, size[1] * scale)
        self.drawn = Framebuffer(drawn, samples=samples)
        self._resolved = Framebuffer(drawn) if samples > 1 else None
        self._wall = Framebuffer(drawn, samples=samples, depth=False)
        self._wall_key: bytes | None = None
        self.fresh_resolve = False

    def begin(self, view: View, wall: Program, arrays: VertexArray) -> None:
        """Fill colour with the studio wall and clear depth; leaves the target bound."""
        # A still camera has a still wall: it is drawn once and then copied.
        key = view.fov.tobytes() + view.world_from_eye.wxyz.tobytes()
        width, height = self.drawn.size
        GL.glViewport(0, 0, width, height)
        if key != self._wall_key:
            self._wall.bind()
            GL.glDisable(GL.GL_DEPTH_TEST)
            wall.use()
            wall.set(background_uniforms(view, self.scale))
            arrays.bind()
            GL.glDrawArrays(GL.GL_TRIANGLES, 0, 3)
            self._wall_key = key
        self._wall.copy_to(self.drawn, GL.GL_COLOR_BUFFER_BIT)
        self.drawn.bind()
        GL.glClear(GL.GL_DEPTH_BUFFER_BIT)
        self.fresh_resolve = False

    def resolve(self, *, depth: bool = False) -> Framebuffer:
        """The framebuffer with one sample a pixel."""
        if self._resolved is None:
            return self.drawn
        if depth:
            self.drawn.copy_to(self._resolved, GL.GL_DEPTH_BUFFER_BIT)
        if not self.fresh_resolve:
            self.drawn.copy_to(self._resolved, GL.GL_COLOR_BUFFER_BIT)
            self.fresh_resolve = True
        return self._resolved

    def read_colour(self) -> npt.NDArray[np.uint8]:
        """(height, width, 4) uint8, row 0 on top."""
        self.resolve().bind(GL.GL_READ_FRAMEBUFFER)
        width, height = self.drawn.size
        pixels = np.empty((height, width, 4), np.uint8)
        GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
        GL.glReadPixels(0, 0, width, height, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, pixels)
        if self.scale > 1:
            pixels = np.asarray(
                cv2.resize(pixels, self.size, interpolation=cv2.INTER_AREA), np.uint8
            )
        # GL's row 0 is the lowest: turned over here and nowhere else.
        return np.ascontiguousarray(pixels[::-1])

    def read_depth(self) -> npt.NDArray[np.float32]:
        """(height, width) float32 depth-buffer values 0..1, row 0 on top."""
        self.resolve(depth=True).bind(GL.GL_READ_FRAMEBUFFER)
        width, height = self.drawn.size
        values = np.empty((height, width), np.float32)
        GL.glReadPixels(0, 0, width, height, GL.GL_DEPTH_COMPONENT, GL.GL_FLOAT, values)
        if self.scale > 1:
            values = _shrunk_depth(values, self.size, self.scale)
        return np.ascontiguousarray(values[::-1])

    def release(self) -> None:
        for buffer in (self.drawn, self._resolved, self._wall):
            if buffer is not None:
                buffer.release()


class Targets:
    """The targets of the last few view sizes; the oldest are released."""

    def __init__(self, samples: int, scale: int, capacity: int = 3) -> None:
        self._samples, self._scale, self._capacity = samples, scale, capacity
        self._targets: OrderedDict[Size, Target] = OrderedDict()
        self._wall = Program(("background.vert",), ("background.frag",))
        self._arrays = VertexArray()

    def begin(self, view: View) -> Target:
        """The target of this view's size, filled with the wall and bound."""
        target = self._targets.get(view.size)
        if target is None:
            while len(self._targets) >= self._capacity:
                self._targets.popitem(last=False)[1].release()
            # Beyond 2048 pixels a side, edges are fine enough and memory is not.
            large = max(view.size) > 2048
            samples, scale = (1, 1) if large else (self._samples, self._scale)
            target = self._targets[view.size] = Target(view.size, samples, scale)
        self._targets.move_to_end(view.size)
        target.begin(view, self._wall, self._arrays)
        return target

    def release(self) -> None:
        for target in self._targets.values():
            target.release()
        self._targets.clear()
        self._wall.release()
        self._arrays.release()


def _shrunk_depth(
    values: npt.NDArray[np.float32], size: Size, scale: int
) -> npt.NDArray[np.float32]:
    """The mean of a pixel's samples (exact on a plane), or the nearest where surfaces meet."""
    width, height = size
    blocks = values.reshape(height, scale, width, scale)
    low, high = blocks.min(axis=(1, 3)), blocks.max(axis=(1, 3))
    # 2e-4 of the buffer's range is a step of about 2 mm at 0.6 m... more is an edge.
    return np.where(high - low < 2e-4, blocks.mean(axis=(1, 3), dtype=np.float32), low)
