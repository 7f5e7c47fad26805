"""pyopenxr, imported so that PyOpenGL stays as it was, and what its exceptions mean to us."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any


class OpenXrError(RuntimeError):
    """The runtime or the headset cannot do what is asked. The message is one readable line."""


class SessionLostError(OpenXrError):
    """The session is gone and its objects with it; another may be begun in the same instance
    (OpenXR 1.0, 9.3: XR_SESSION_STATE_LOSS_PENDING, XR_ERROR_SESSION_LOST)."""


class InstanceLostError(OpenXrError):
    """The runtime is gone, and everything that was made with it (XR_ERROR_INSTANCE_LOST)."""


def load_xr() -> Any:
    """The module `xr`. Raises OpenXrError when pyopenxr is not installed or not whole.

    On Linux `import xr` puts GLX in the place of the platform that PyOpenGL was set up for, after
    which PyOpenGL looks up its functions for the wrong one and finds none; it is put back.
    """
    try:
        if sys.platform.startswith("linux"):
            # As the renderer does: PyOpenGL reads it once, when it is first imported.
            os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
        import OpenGL.platform as gl_platform

        platform = gl_platform.PLATFORM  # pyright: ignore[reportAttributeAccessIssue]
        try:
            xr = importlib.import_module("xr")
        finally:
            gl_platform.PLATFORM = platform  # pyright: ignore[reportAttributeAccessIssue]
        if not hasattr(xr, "create_instance"):
            raise OpenXrError(
                f"OpenXR: the module `xr` at {getattr(xr, '__file__', '?')} is not pyopenxr; "
                "pip uninstall it, then pip install 'visavis[openxr]'"
            )
    except ImportError as error:
        if error.name != "xr":
            raise OpenXrError(f"OpenXR: pyopenxr does not load ({_one_line(error)})") from error
        raise OpenXrError(
            "OpenXR: pyopenxr is not installed; pip install 'visavis[openxr]' (261 MB)"
        ) from error
    except OSError as error:
        raise OpenXrError(f"OpenXR: pyopenxr does not load ({_one_line(error)})") from error
    return xr


@contextlib.contextmanager
def readable(xr: Any, what: str) -> Iterator[None]:
    """Turn a result that pyopenxr raises within into an error of ours; `what` was being done."""
    try:
        yield
    except xr.exception.InstanceLostError as error:
        raise InstanceLostError(
            f"OpenXR: the runtime went away while {what}; start it again, then the preview"
        ) from error
    except (xr.exception.SessionLostError, xr.exception.SessionLossPending) as error:
        raise SessionLostError(f"OpenXR: the headset's session was lost while {what}") from error
    except xr.exception.XrException as error:
        raise OpenXrError(f"OpenXR: {what} failed: {result_name(error)}") from error


def result_name(error: BaseException) -> str:
    """The result as the specification spells it, where pyopenxr tells; else what it says."""
    get = getattr(error, "get_result_enum", None)
    result = get() if get is not None else None
    return f"XR_{result.name}" if result is not None else _one_line(error)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
