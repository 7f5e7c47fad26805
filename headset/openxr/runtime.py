"""The runtime and the headset it has: instance, system, and what both of them offer."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from headset.openxr.binding import OpenXrError, load_xr, readable, result_name
from headset.openxr.graphics_binding import binding_extensions
from streams.closing import Closing

HANDS = "XR_EXT_hand_tracking"
DEPTH = "XR_KHR_composition_layer_depth"
TIMESPEC = "XR_KHR_convert_timespec_time"
WANTED = (HANDS, DEPTH, TIMESPEC)
"""Enabled where the runtime offers them."""
ADVICE = (
    "start the headset's runtime and choose it as the active one, or name its manifest in "
    "XR_RUNTIME_JSON (docs/openxr.md)"
)


@dataclass(frozen=True, slots=True)
class EyeSize:
    """What the runtime says of one eye's picture, pixels."""

    recommended: tuple[int, int]
    largest: tuple[int, int]


class Runtime(Closing):
    """One OpenXR instance and its head-mounted display.

    Raises OpenXrError when pyopenxr or a runtime is missing, when no headset is connected, or when
    the runtime does not take our OpenGL.
    """

    def __init__(self) -> None:
        xr = self.xr = load_xr()
        offered = offered_extensions(xr)
        self.extensions = frozenset(
            (*binding_extensions(offered), *(name for name in WANTED if name in offered))
        )
        """Those that are enabled."""
        application = xr.ApplicationInfo("Visavis", 1, "Visavis", 1, xr.Version(1, 0, 0))
        try:
            self.instance: Any = xr.create_instance(
                xr.InstanceCreateInfo(
                    application_info=application, enabled_extension_names=sorted(self.extensions)
                )
            )
        except xr.exception.XrException as error:
            raise OpenXrError(
                f"OpenXR: the runtime does not start ({result_name(error)}); {ADVICE}"
            ) from error
        try:
            with readable(xr, "asking for the runtime's name"):
                about = xr.get_instance_properties(self.instance)
            version = xr.Version(about.runtime_version)
            self.name = f"{_text(about.runtime_name)} {version.major}.{version.minor}"
            self.find_headset()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Destroy the instance and whatever was made with it; may be called twice."""
        if self.instance is None:
            return
        instance, self.instance = self.instance, None
        try:
            self.xr.destroy_instance(instance)
        except self.xr.exception.XrException:
            pass  # It was lost: there is nothing left to destroy.

    def function(self, name: str, *arguments: Any) -> Any:
        """An extension's function, for the given ctypes; it returns its XrResult as a number."""
        with readable(self.xr, f"looking for {name}"):
            pointer = self.xr.get_instance_proc_addr(self.instance, name)
        return ctypes.cast(pointer, ctypes.CFUNCTYPE(ctypes.c_int, *arguments))

    def require_graphics(self) -> None:
        """Ask for the OpenGL that the runtime needs, which must come before a session.

        Raises OpenXrError when it answers with an error.
        """
        xr = self.xr
        wanted = xr.GraphicsRequirementsOpenGLKHR()
        ask = self.function(
            "xrGetOpenGLGraphicsRequirementsKHR",
            *(ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p),
        )
        result = ask(handle_value(self.instance), self.system.value, ctypes.byref(wanted))
        if result < 0:
            raise OpenXrError(f"OpenXR: {self.name} does not tell what OpenGL it needs ({result})")

    def find_headset(self) -> None:
        """Look for the headset, and what it can do now: again after a session was lost.

        Raises OpenXrError when none is connected.
        """
        xr = self.xr
        stereo = xr.ViewConfigurationType.PRIMARY_STEREO
        try:
            self.system: Any = xr.get_system(
                self.instance, xr.SystemGetInfo(xr.FormFactor.HEAD_MOUNTED_DISPLAY)
            )
        except xr.exception.FormFactorUnavailableError as error:
            raise OpenXrError(
                f"OpenXR: {self.name} has no headset now; connect it and switch it on"
            ) from error
        except xr.exception.XrException as error:
            raise OpenXrError(
                f"OpenXR: {self.name} drives no headset ({result_name(error)})"
            ) from error
        with readable(xr, "asking what the headset can do"):
            properties = xr.get_system_properties(self.instance, self.system)
            views = xr.enumerate_view_configuration_views(self.instance, self.system, stereo)
            modes = xr.enumerate_environment_blend_modes(self.instance, self.system, stereo)
        self.headset = _text(properties.system_name)
        self.most_layers = max(int(properties.graphics_properties.max_layer_count), 1)
        self.eyes = tuple(
            EyeSize(
                (view.recommended_image_rect_width, view.recommended_image_rect_height),
                (view.max_image_rect_width, view.max_image_rect_height),
            )
            for view in views
        )
        if len(self.eyes) != 2:
            raise OpenXrError(f"OpenXR: expected a headset with 2 views, got {len(self.eyes)}")
        opaque = xr.EnvironmentBlendMode.OPAQUE
        offered = [xr.EnvironmentBlendMode(mode) for mode in modes]
        self.blend_mode: Any = opaque if opaque in offered or not offered else offered[0]
        self.tracks_hands = HANDS in self.extensions and self._system_tracks_hands()

    def _system_tracks_hands(self) -> bool:
        """The extension is the runtime's; whether this headset sees hands is another question."""
        xr = self.xr
        hands = xr.SystemHandTrackingPropertiesEXT()
        properties = xr.SystemProperties(next=ctypes.cast(ctypes.pointer(hands), ctypes.c_void_p))
        result = xr.raw_functions.xrGetSystemProperties(
            self.instance, self.system, ctypes.byref(properties)
        )
        return xr.Result(result).value >= 0 and bool(hands.supports_hand_tracking)


def handle_value(handle: Any) -> int | None:
    """An OpenXR handle as the number that a ctypes void pointer takes."""
    return ctypes.cast(handle, ctypes.c_void_p).value


def offered_extensions(xr: Any) -> set[str]:
    """What the active runtime can do; it is loaded for that, but not started.

    Raises OpenXrError when there is none.
    """
    try:
        offered = xr.enumerate_instance_extension_properties()
    except xr.exception.RuntimeUnavailableError as error:
        raise OpenXrError(f"OpenXR: no runtime is installed or active; {ADVICE}") from error
    except xr.exception.XrException as error:
        raise OpenXrError(
            f"OpenXR: the runtime does not load ({result_name(error)}); {ADVICE}"
        ) from error
    return {_text(extension.extension_name) for extension in offered}


def _text(words: bytes | str) -> str:
    return words.decode(errors="replace") if isinstance(words, bytes) else words
