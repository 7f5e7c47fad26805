"""The graphics binding: how the runtime is told of the OpenGL context that draws for it.

Only EGL is built: our contexts are EGL's on Linux, and Monado takes them (XR_MNDX_egl_enable), also
without any surface. Two others would go beside it in `binding_extension` and `current_binding`:
`XrGraphicsBindingOpenGLXlibKHR` for runtimes that take OpenGL from GLX alone (SteamVR on Linux),
which needs a GLX context and thus PyOpenGL's GLX platform, and `XrGraphicsBindingOpenGLWin32KHR`
(wglGetCurrentDC, wglGetCurrentContext) on Windows. Neither could be tried, so neither is here.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Collection
from typing import Any

from headset.openxr.binding import OpenXrError

OPENGL = "XR_KHR_opengl_enable"
EGL = "XR_MNDX_egl_enable"

_EGL_CONFIG_ID = 0x3028
_EGL_NONE = 0x3038


class EglGraphicsBinding(ctypes.Structure):
    """XrGraphicsBindingEGLMNDX. pyopenxr's own has fields of whatever types PyOpenGL gave it."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("get_proc_address", ctypes.c_void_p),
        ("display", ctypes.c_void_p),
        ("config", ctypes.c_void_p),
        ("context", ctypes.c_void_p),
    ]


def binding_extensions(offered: Collection[str]) -> tuple[str, ...]:
    """What to enable so that the runtime takes our OpenGL. Raises OpenXrError when it cannot."""
    if not sys.platform.startswith("linux"):
        raise OpenXrError(
            "OpenXR: this preview draws through EGL, which is on Linux only; use `visavis stream` "
            "and the headset's browser"
        )
    lacking = [name for name in (OPENGL, EGL) if name not in offered]
    if lacking:
        raise OpenXrError(
            f"OpenXR: the runtime does not offer {' and '.join(lacking)}; Monado does. With "
            "another one use `visavis stream` and the headset's browser"
        )
    return OPENGL, EGL


def current_binding(xr: Any) -> EglGraphicsBinding:
    """Of the EGL context that is current in this thread. Keep it until the session is made.

    Raises OpenXrError when there is none.
    """
    egl = ctypes.CDLL("libEGL.so.1")
    for name in ("eglGetCurrentDisplay", "eglGetCurrentContext"):
        getattr(egl, name).restype = ctypes.c_void_p
    display, context = egl.eglGetCurrentDisplay(), egl.eglGetCurrentContext()
    if not display or not context:
        raise OpenXrError("OpenXR: expected a current EGL context, got none; open a renderer first")
    return EglGraphicsBinding(
        int(xr.StructureType.GRAPHICS_BINDING_EGL_MNDX.value),
        None,
        ctypes.cast(egl.eglGetProcAddress, ctypes.c_void_p).value,
        display,
        _config_of(egl, display, context),
        context,
    )


def _config_of(egl: Any, display: int, context: int) -> int | None:
    """The EGLConfig that a context was made with; None when it was made with none."""
    pointer = ctypes.c_void_p
    wanted = ctypes.c_int(0)
    egl.eglQueryContext.argtypes = [pointer, pointer, ctypes.c_int, pointer]
    egl.eglQueryContext(display, context, _EGL_CONFIG_ID, ctypes.byref(wanted))
    if not wanted.value:
        return None
    egl.eglChooseConfig.argtypes = [pointer, pointer, pointer, ctypes.c_int, pointer]
    attributes = (ctypes.c_int * 3)(_EGL_CONFIG_ID, wanted.value, _EGL_NONE)
    config, count = ctypes.c_void_p(), ctypes.c_int(0)
    egl.eglChooseConfig(
        *(display, attributes, ctypes.byref(config), 1),
        ctypes.byref(count),
    )
    return config.value if count.value else None
