"""The OpenGL context: EGL without a surface when headless, GLFW when there is a window.

Everything that is particular to a platform stays in this file. On Linux PyOpenGL speaks EGL for
both, because the platform that PyOpenGL was imported with must be the one that made the context.
Windows and macOS have no surfaceless EGL; there a hidden GLFW window gives the context.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any, Protocol

from streams.closing import Releasing

_LINUX = sys.platform.startswith("linux")
_EGL_PLATFORM_SURFACELESS_MESA = 0x31DD
_EGL_PLATFORM_DEVICE_EXT = 0x313F
_VERSION = (4, 1)
_ADVICE = (
    "install Mesa's software OpenGL (apt-get install libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri) "
    "or a graphics driver, then run `visavis doctor`"
)

# PyOpenGL reads this when it is first imported.
if _LINUX:
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")


class GlUnavailableError(RuntimeError):
    """This machine gives us no OpenGL 4.1; the message says what to install."""


class GlContext(Protocol):
    """One OpenGL context of one thread."""

    def make_current(self) -> None:
        """Make this the context that GL calls of this thread go to."""
        ...

    def release(self) -> None:
        """Destroy the context; a second call does nothing."""
        ...


def open_headless_context() -> GlContext:
    """A context that draws to framebuffer objects only, needing no display.

    Raises GlUnavailableError when there is no OpenGL 4.1 core.
    """
    return EglContext() if _LINUX else GlfwContext((16, 16), "visavis", visible=False)


def describe_gl() -> str:
    """Vendor, renderer and version of the current context, in one line."""
    from OpenGL import GL

    words = (GL.glGetString(name) for name in (GL.GL_VENDOR, GL.GL_RENDERER, GL.GL_VERSION))
    return " | ".join(word.decode(errors="replace") if word else "?" for word in words)


def is_software_gl() -> bool:
    """True when the current context is drawn by the CPU."""
    text = describe_gl().lower()
    return any(word in text for word in ("llvmpipe", "softpipe", "swrast", "swiftshader"))


class EglContext:
    """OpenGL 4.1 core by EGL without any surface: Mesa's surfaceless platform, else a device."""

    def __init__(self) -> None:
        egl = _load_egl()
        self._egl = egl
        self._display: Any = None
        self._context: Any = None
        from OpenGL import error as gl_error

        reasons: list[str] = []
        for name, display in _egl_displays(egl):
            try:
                if not egl.eglInitialize(display, egl.EGLint(), egl.EGLint()):
                    raise RuntimeError("it does not start")
                self._context = _create_egl_context(egl, display)
            except (gl_error.Error, RuntimeError) as error:
                reasons.append(f"{name}: {_one_line(error)}")
                continue
            self._display = display
            self.make_current()
            return
        raise GlUnavailableError(
            f"OpenGL: no EGL display works ({'; '.join(reasons) or 'none offered'}); {_ADVICE}"
        )

    def make_current(self) -> None:
        if self._context is None:
            raise RuntimeError("EglContext.make_current: the context was released; open a new one")
        if _address(self._egl.eglGetCurrentContext()) == _address(self._context):
            return
        none = self._egl.EGL_NO_SURFACE
        self._egl.eglMakeCurrent(self._display, none, none, self._context)

    def release(self) -> None:
        if self._context is None:
            return
        egl, context, self._context = self._egl, self._context, None
        if _address(egl.eglGetCurrentContext()) == _address(context):
            egl.eglMakeCurrent(
                self._display, egl.EGL_NO_SURFACE, egl.EGL_NO_SURFACE, egl.EGL_NO_CONTEXT
            )
        egl.eglDestroyContext(self._display, context)
        # The display is the process's own and shared by later contexts: it is not terminated.


class GlfwContext(Releasing):
    """OpenGL 4.1 core of a GLFW window. Make, use and release it on the main thread."""

    def __init__(self, size: tuple[int, int], title: str, *, visible: bool = True) -> None:
        try:
            import glfw
        except ImportError as error:
            raise GlUnavailableError(f"GLFW: {_one_line(error)}; pip install glfw") from error
        self._glfw = glfw
        self.window: Any = None
        complaints: list[str] = []
        glfw.set_error_callback(lambda _code, text: complaints.append(_text(text)))
        if not glfw.init():
            raise GlUnavailableError(
                f"window: no display ({'; '.join(complaints) or 'GLFW cannot start'}); run in a "
                "desktop session or write a file instead (--out FILE.mp4)"
            )
        glfw.window_hint(glfw.CONTEXT_VERSION_MAJOR, _VERSION[0])
        glfw.window_hint(glfw.CONTEXT_VERSION_MINOR, _VERSION[1])
        glfw.window_hint(glfw.OPENGL_PROFILE, glfw.OPENGL_CORE_PROFILE)
        glfw.window_hint(glfw.OPENGL_FORWARD_COMPAT, True)
        glfw.window_hint(glfw.VISIBLE, visible)
        if _LINUX:
            glfw.window_hint(glfw.CONTEXT_CREATION_API, glfw.EGL_CONTEXT_API)
        self.window = glfw.create_window(size[0], size[1], title, None, None)
        if not self.window:
            raise GlUnavailableError(
                f"window: no OpenGL 4.1 ({'; '.join(complaints) or 'no reason given'}); {_ADVICE}"
            )
        self.make_current()
        if _LINUX:
            _load_egl()

    def make_current(self) -> None:
        if self.window is None:
            raise RuntimeError("GlfwContext.make_current: the window was closed; open a new one")
        if self._glfw.get_current_context() != self.window:
            self._glfw.make_context_current(self.window)

    def release(self) -> None:
        if self.window is None:
            return
        window, self.window = self.window, None
        self._glfw.destroy_window(window)


def _load_egl() -> Any:
    """PyOpenGL's EGL module, imported so that it works with error checks on or off."""
    try:
        import OpenGL.raw.EGL._errors as egl_errors

        # With OpenGL.ERROR_CHECKING False, PyOpenGL 3.1 names this attribute wrongly and the
        # import of OpenGL.EGL fails.
        if not hasattr(egl_errors, "_error_checker"):
            egl_errors._error_checker = None  # pyright: ignore
        from OpenGL import EGL
    except (ImportError, AttributeError, OSError) as error:
        raise GlUnavailableError(f"OpenGL: {_one_line(error)}; {_ADVICE}") from error
    import OpenGL

    platform = type(OpenGL.platform.PLATFORM).__name__  # pyright: ignore
    if platform != "EGLPlatform":
        raise GlUnavailableError(
            f"OpenGL: PyOpenGL was set up for {platform}, expected EGLPlatform; "
            "set PYOPENGL_PLATFORM=egl before Python starts"
        )
    return EGL


def _egl_displays(egl: Any) -> list[tuple[str, Any]]:
    """The displays to try in order: graphics cards first, then Mesa without any surface."""
    from OpenGL import error as gl_error
    from OpenGL.EGL.EXT.platform_base import eglGetPlatformDisplayEXT

    natives: list[tuple[str, int, Any]] = [
        (f"device {i}", _EGL_PLATFORM_DEVICE_EXT, device)
        for i, device in enumerate(_hardware_devices(egl))
    ]
    natives.append(("surfaceless", _EGL_PLATFORM_SURFACELESS_MESA, None))
    found: list[tuple[str, Any]] = []
    for name, platform, native in natives:
        try:
            display = eglGetPlatformDisplayEXT(platform, native, None)
        except gl_error.Error:
            continue
        if display:
            found.append((name, display))
    return found


def _hardware_devices(egl: Any) -> list[Any]:
    """EGL devices that are graphics cards; none where the driver cannot list them."""
    from OpenGL import error as gl_error
    from OpenGL.EGL.EXT import device_base, device_query

    try:
        named = [
            (device, device_query.eglQueryDeviceStringEXT(device, egl.EGL_EXTENSIONS))
            for device in device_base.egl_get_devices(16)
        ]
    except (gl_error.Error, ctypes.ArgumentError):
        return []
    return [device for device, names in named if b"software" not in (names or b"software")]


def _create_egl_context(egl: Any, display: Any) -> Any:
    if not egl.eglBindAPI(egl.EGL_OPENGL_API):
        raise RuntimeError("this EGL has no desktop OpenGL")
    wanted = (
        *(egl.EGL_CONTEXT_MAJOR_VERSION, _VERSION[0], egl.EGL_CONTEXT_MINOR_VERSION, _VERSION[1]),
        *(egl.EGL_CONTEXT_OPENGL_PROFILE_MASK, egl.EGL_CONTEXT_OPENGL_CORE_PROFILE_BIT),
        egl.EGL_NONE,
    )
    attributes = (egl.EGLint * len(wanted))(*wanted)
    context = egl.eglCreateContext(display, None, egl.EGL_NO_CONTEXT, attributes)
    if not context:
        raise RuntimeError("no OpenGL 4.1 core context")
    return context


def _text(words: str | bytes) -> str:
    """GLFW's binding hands bytes to its callback, whatever its types say."""
    return words.decode(errors="replace") if isinstance(words, bytes) else words


def _address(pointer: Any) -> int:
    """PyOpenGL's opaque pointers do not compare equal: compare where they point."""
    return ctypes.cast(pointer, ctypes.c_void_p).value or 0 if pointer else 0


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
