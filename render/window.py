"""A desktop window that shows the last drawn picture without reading it back from the card."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from render.gl_context import GlfwContext
from render.panels import premultiplied
from render.renderer import RenderOptions
from render.text_picture import text_block
from streams.array_contract import require_array, require_size
from streams.closing import Releasing

_INSET_SHARE = 0.22
_MARGIN_PX = 12
_TEXT_PX = 15
_INK = (232, 236, 242)
_KEPT_EVENTS = 256
_LONGEST_PASTE = 20_000
_BARS = (0.055, 0.06, 0.07)
"""sRGB of what the picture does not cover."""


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """How the window opens."""

    title: str = "Visavis"
    size: tuple[int, int] = (960, 720)
    """Width and height, in screen units."""
    vsync: bool = True
    """Whether `show` waits for the display."""

    def __post_init__(self) -> None:
        require_size("WindowOptions.size", self.size)


@dataclass(frozen=True, slots=True)
class WindowEvent:
    """Something that the window's user did."""

    kind: str
    """"key", "key up" (of keys without a letter), "text", "press" and "release" (of the left mouse
    button), or "move"."""
    key: str = ""
    """The letter or sign on the key, or one of "space", "left", "right", "home", "end", "page up",
    "page down", "backspace", "enter", "tab", "f8"; a key that is held comes again and again. Of
    "text": what was typed or pasted, as the keyboard's layout gives it."""
    at: tuple[float, float] = (0.0, 0.0)
    """Of the mouse: 0 to 1 from the left and from the top."""


class Window(Releasing):
    """Owns a GLFW window and the renderer that draws for it. Main thread only.

    Draw with `window.renderer.render(mesh, view, panels)` (no read-back), then `window.show(...)`,
    until `window.closed` (Esc or the close button). Raises RuntimeError when there is no display.
    """

    def __init__(
        self, options: WindowOptions | None = None, render: RenderOptions | None = None
    ) -> None:
        chosen = options or WindowOptions()
        self._context: GlfwContext | None = GlfwContext(chosen.size, chosen.title)
        # Only now: PyOpenGL binds its functions to the first context that is there.
        import glfw

        from render.gl_objects import Program, Texture, VertexArray
        from render.gl_renderer import GlRenderer

        self._glfw: Any = glfw
        self._handle = self._context.window
        self.renderer = GlRenderer(self._context, render or RenderOptions())
        """Draws for this window, in its context."""
        self._escaped = False
        glfw.swap_interval(1 if chosen.vsync else 0)
        self._events: deque[WindowEvent] = deque(maxlen=_KEPT_EVENTS)
        self._key_names = {
            glfw.KEY_SPACE: "space",
            glfw.KEY_LEFT: "left",
            glfw.KEY_RIGHT: "right",
            glfw.KEY_HOME: "home",
            glfw.KEY_END: "end",
            glfw.KEY_PAGE_UP: "page up",
            glfw.KEY_PAGE_DOWN: "page down",
            glfw.KEY_BACKSPACE: "backspace",
            glfw.KEY_ENTER: "enter",
            glfw.KEY_TAB: "tab",
            glfw.KEY_KP_ENTER: "enter",
            glfw.KEY_F8: "f8",
        }
        glfw.set_key_callback(self._handle, self._on_key)
        glfw.set_char_callback(self._handle, self._on_letter)
        glfw.set_mouse_button_callback(self._handle, self._on_button)
        glfw.set_cursor_pos_callback(self._handle, self._on_move)
        self._program = Program(("panel.vert",), ("panel.frag",))
        self._arrays = VertexArray()
        self._inset: Texture | None = None
        self._hud: Texture | None = None
        self._whole: Texture | None = None
        self._bar: Texture | None = None
        self._hud_lines: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels now; a view drawn at this size is shown pixel for pixel."""
        if self._context is None:
            return (1, 1)
        width, height = self._glfw.get_framebuffer_size(self._handle)
        return (max(width, 1), max(height, 1))

    @property
    def closed(self) -> bool:
        """True after Esc, the close button or `release`."""
        if self._context is None:
            return True
        return self._escaped or bool(self._glfw.window_should_close(self._handle))

    def take_events(self) -> tuple[WindowEvent, ...]:
        """What the user did since the last call, in order."""
        taken = tuple(self._events)
        self._events.clear()
        return taken

    def show(
        self,
        inset: npt.NDArray[np.uint8] | None = None,
        hud: Sequence[str] = (),
        bar: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        """Present the last drawn picture, with `inset` (H, W, 3) uint8 sRGB small in the lower
        right corner, the lines of `hud` in the upper left one, and `bar` (H, W, 4) uint8 straight
        alpha pixel for pixel along the lower edge; then look at keys and mouse."""
        if self._context is None:
            raise RuntimeError("Window.show: the window was released; open a new one")
        from OpenGL import GL

        self._context.make_current()
        size = self.size
        picture = self.renderer.last_drawn()
        GL.glBindFramebuffer(GL.GL_DRAW_FRAMEBUFFER, 0)
        GL.glViewport(0, 0, *size)
        GL.glClearColor(*_BARS, 1.0)
        GL.glClear(GL.GL_COLOR_BUFFER_BIT)
        if picture is not None:
            picture.bind(GL.GL_READ_FRAMEBUFFER)
            box = _fitted(picture.size, size)
            GL.glBlitFramebuffer(
                *(0, 0, *picture.size, *box, GL.GL_COLOR_BUFFER_BIT),
                GL.GL_NEAREST if picture.size == size else GL.GL_LINEAR,
            )
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, 0)
        GL.glDisable(GL.GL_DEPTH_TEST)
        GL.glDisable(GL.GL_CULL_FACE)
        GL.glEnable(GL.GL_BLEND)
        GL.glBlendFunc(GL.GL_ONE, GL.GL_ONE_MINUS_SRC_ALPHA)
        if inset is not None:
            self._draw_inset(inset, size, 0 if bar is None else bar.shape[0])
        if bar is not None:
            self._bar = _written(self._bar, premultiplied(bar))
            self._draw_quad(self._bar, (0, size[1] - bar.shape[0]), size)
        if hud:
            self._draw_hud(tuple(hud), size)
        GL.glDisable(GL.GL_BLEND)
        self._glfw.swap_buffers(self._handle)
        self._glfw.poll_events()

    def show_picture(self, rgb: npt.NDArray[np.uint8]) -> None:
        """Present (H, W, 3) uint8 sRGB, as large as fits, in place of what the renderer drew; then
        look at keys and mouse."""
        if self._context is None:
            raise RuntimeError("Window.show_picture: the window was released; open a new one")
        from OpenGL import GL

        pixels = require_array("Window.show_picture rgb", rgb, np.uint8, (None, None, 3))
        self._context.make_current()
        size = self.size
        left, bottom, right, top = _fitted((pixels.shape[1], pixels.shape[0]), size)
        scaled = cv2.resize(rgb, (max(right - left, 1), max(top - bottom, 1)))
        rgba = np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2RGBA), np.uint8)
        self._whole = _written(self._whole, rgba)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, 0)
        GL.glViewport(0, 0, *size)
        GL.glClearColor(*_BARS, 1.0)
        GL.glClear(GL.GL_COLOR_BUFFER_BIT)
        GL.glDisable(GL.GL_DEPTH_TEST)
        GL.glDisable(GL.GL_CULL_FACE)
        GL.glDisable(GL.GL_BLEND)
        self._draw_quad(self._whole, (left, size[1] - top), size)
        self._glfw.swap_buffers(self._handle)
        self._glfw.poll_events()

    def release(self) -> None:
        """Close the window and give back its renderer; a second call does nothing."""
        if self._context is None:
            return
        self._context.make_current()
        for thing in (
            *(self._program, self._arrays, self._inset, self._hud, self._whole, self._bar),
        ):
            if thing is not None:
                thing.release()
        self._context = None
        self.renderer.release()

    def _on_letter(self, _window: object, code: int) -> None:
        self._events.append(WindowEvent("text", chr(code)))

    def _on_key(self, _window: object, key: int, code: int, action: int, mods: int) -> None:
        if action not in (self._glfw.PRESS, self._glfw.REPEAT):
            if key in self._key_names:
                self._events.append(WindowEvent("key up", self._key_names[key]))
            return
        if key == self._glfw.KEY_ESCAPE:
            self._escaped = True
            return
        if key == self._glfw.KEY_V and mods & self._glfw.MOD_CONTROL:
            pasted = self._glfw.get_clipboard_string(self._handle) or b""
            text = pasted.decode("utf-8", "replace") if isinstance(pasted, bytes) else pasted
            self._events.append(WindowEvent("text", text[:_LONGEST_PASTE]))
            return
        name = self._key_names.get(key) or self._glfw.get_key_name(key, code) or ""
        self._events.append(WindowEvent("key", name.lower()))

    def _on_button(self, _window: object, button: int, action: int, _mods: int) -> None:
        if button == self._glfw.MOUSE_BUTTON_LEFT:
            kind = "press" if action == self._glfw.PRESS else "release"
            at = self._glfw.get_cursor_pos(self._handle)
            self._events.append(WindowEvent(kind, at=self._share(*at)))

    def _on_move(self, _window: object, x: float, y: float) -> None:
        if self._events and self._events[-1].kind == "move":
            self._events.pop()  # only where the mouse is now counts
        self._events.append(WindowEvent("move", at=self._share(x, y)))

    def _share(self, x: float, y: float) -> tuple[float, float]:
        width, height = self._glfw.get_window_size(self._handle)
        return x / max(width, 1), y / max(height, 1)

    def _draw_inset(
        self, rgb: npt.NDArray[np.uint8], window: tuple[int, int], below: int = 0
    ) -> None:
        pixels = require_array("Window.show inset", rgb, np.uint8, (None, None, 3))
        if 0 in pixels.shape:
            return
        height, width = pixels.shape[:2]
        scale = _INSET_SHARE * max(window) / max(width, height)
        small = (max(round(width * scale), 1), max(round(height * scale), 1))
        shrunk = cv2.resize(rgb, small, interpolation=cv2.INTER_AREA)
        framed = cv2.copyMakeBorder(shrunk, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(70, 74, 82))
        rgba = np.asarray(cv2.cvtColor(framed, cv2.COLOR_RGB2RGBA), np.uint8)
        self._inset = _written(self._inset, rgba)
        left = window[0] - _MARGIN_PX - rgba.shape[1]
        top = window[1] - _MARGIN_PX - rgba.shape[0] - below
        self._draw_quad(self._inset, (left, top), window)

    def _draw_hud(self, lines: tuple[str, ...], window: tuple[int, int]) -> None:
        if lines != self._hud_lines or self._hud is None:
            picture = text_block(lines, _TEXT_PX, _INK)
            self._hud = _written(self._hud, premultiplied(picture))
            self._hud_lines = lines
        self._draw_quad(self._hud, (_MARGIN_PX, _MARGIN_PX), window)

    def _draw_quad(self, texture: Any, corner: tuple[int, int], window: tuple[int, int]) -> None:
        """`texture` pixel for pixel; `corner`: its upper left one, in pixels from the top left."""
        from OpenGL import GL

        width, height = texture.size
        matrix = np.eye(4, dtype=np.float32)
        matrix[0, 0], matrix[1, 1] = 2.0 * width / window[0], 2.0 * height / window[1]
        matrix[0, 3] = 2.0 * (corner[0] + width / 2) / window[0] - 1.0
        matrix[1, 3] = 1.0 - 2.0 * (corner[1] + height / 2) / window[1]
        self._program.use()
        self._program.set({"picture": 0, "clip_from_panel": matrix})
        self._arrays.bind()
        texture.bind(0)
        GL.glDrawArrays(GL.GL_TRIANGLE_STRIP, 0, 4)


def _fitted(picture: tuple[int, int], window: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, bottom, right, top of the largest box of the picture's shape in the window's middle."""
    scale = min(window[0] / picture[0], window[1] / picture[1])
    width, height = round(picture[0] * scale), round(picture[1] * scale)
    left, bottom = (window[0] - width) // 2, (window[1] - height) // 2
    return left, bottom, left + width, bottom + height


def _written(texture: Any, rgba: npt.NDArray[np.uint8]) -> Any:
    """`rgba` in `texture`, or in a new one when the size changed."""
    from render.gl_objects import Texture

    size = (rgba.shape[1], rgba.shape[0])
    if texture is not None and texture.size != size:
        texture.release()
        texture = None
    texture = texture or Texture(size)
    texture.write(rgba)
    return texture
