"""What can crash or hang when it is tried: each probe runs in a process of its own.

`python -m apps.probes NAME` prints one finding as JSON. Used by `visavis doctor`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

STATUSES = ("ok", "warn", "fail")
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report."""

    name: str
    status: str
    """"ok"; "warn": something is missing that is not needed for everything; "fail": the main job
    cannot work."""
    text: str
    mend: str = ""
    """What to do about it."""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"Finding.status: expected one of {STATUSES}, got {self.status!r}")


def probe(name: str, timeout_s: float = TIMEOUT_S) -> Finding:
    """Run one probe in a process of its own; a crash or a hang becomes a finding."""
    command = [sys.executable, "-m", "apps.probes", name]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding(name, "fail", f"no answer within {timeout_s:g} s", _MEND.get(name, ""))
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        said = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit {done.returncode}"
        return Finding(name, "fail", f"crashed ({how}): {said[:160]}", _MEND.get(name, ""))
    return Finding(**json.loads(lines[-1]))


_MEND = {
    "opengl": "apt-get install libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri",
    "tracking": "apt-get install libegl1 libgles2 libgl1 libglib2.0-0, then reinstall mediapipe",
    "avatar": "restore assets/ (git checkout -- assets) and reinstall torch",
    "video files": "reinstall PyAV: pip install --force-reinstall av",
}


def _opengl() -> Finding:
    from render.gl_context import describe_gl, is_software_gl, open_headless_context

    try:
        context = open_headless_context()
    except RuntimeError as error:
        return Finding("opengl", "fail", str(error), _MEND["opengl"])
    text = describe_gl()
    software = is_software_gl()
    context.release()
    return Finding("opengl", "ok", f"{text}{' (drawn by the CPU)' if software else ''}")


def _text(words: str | bytes) -> str:
    """GLFW's binding hands bytes to its callback, whatever its types say."""
    return words.decode(errors="replace") if isinstance(words, bytes) else words


def _display() -> Finding:
    import glfw

    complaints: list[str] = []
    glfw.set_error_callback(lambda _code, text: complaints.append(_text(text)))
    if not glfw.init():
        reason = complaints[-1].splitlines()[0] if complaints else "none"
        return Finding(
            "display", "warn", f"no window can be opened ({reason})",
            "write videos instead: visavis preview --out FILE.mp4",
        )  # fmt: skip
    monitor = glfw.get_primary_monitor()
    mode = glfw.get_video_mode(monitor) if monitor else None
    size = f"{mode.size.width}x{mode.size.height}" if mode else "without a monitor"
    glfw.terminate()
    return Finding("display", "ok", size)


def _cameras() -> Finding:
    from capture.frame_source import SourceError, SourceOptions
    from capture.webcam import Webcam, cameras_present

    opened: list[str] = []
    shut: list[str] = []
    for path in cameras_present():
        try:
            with Webcam(path, SourceOptions(timeout_s=3.0)) as camera:
                opened.append(f"{path} {camera.camera.size[0]}x{camera.camera.size[1]}")
        except SourceError:
            # Many cameras have a second device that only carries metadata.
            shut.append(path)
    if opened:
        rest = f"; not: {', '.join(shut)}" if shut else ""
        return Finding("cameras", "ok", f"{', '.join(opened)}{rest}")
    if shut:
        return Finding(
            "cameras", "warn", f"none gives a picture: {', '.join(shut)}",
            "close other programs that use it; be in the group `video`",
        )  # fmt: skip
    return Finding("cameras", "warn", "none", "plug one in, or use --source video:PATH")


def _tracking() -> Finding:
    import time

    import numpy as np

    from streams.camera import Camera
    from streams.face_shapes import UNTRACKED_SHAPES
    from streams.frame import Frame
    from tracking.tracker import Tracker, TrackerOptions

    begun = time.perf_counter()
    camera = Camera.from_fov((64, 64))
    with Tracker.open(TrackerOptions(engine="auto")) as tracker:
        engine = tracker.engine
        state = tracker.track(Frame(0, 0, camera, np.zeros((64, 64, 3), np.uint8)))
    if state.face is not None:
        return Finding("tracking", "fail", "sees a face in a black picture", _MEND["tracking"])
    ready_s = time.perf_counter() - begun
    unseen = ", ".join(UNTRACKED_SHAPES)
    text = f"face and hands by {engine}, ready in {ready_s:.1f} s; shapes not available: {unseen}"
    return Finding("tracking", "ok", text)


def _avatar() -> Finding:
    from avatar.codec import Avatar
    from streams.tracked_state import TrackedState

    with Avatar.open("default") as avatar:
        avatar.decode(avatar.encode(TrackedState(0, "doctor")))
    return Finding("avatar", "ok", "the default avatar decodes")


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("gpu", "ok", f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}")
    return Finding("gpu", "ok", f"none for torch {torch.__version__}: the CPU is used")


def _video_files() -> Finding:
    import av
    import av.codec

    av.codec.Codec("libx264", "w")
    av.codec.Codec("h264", "r")
    version = ".".join(str(n) for n in av.library_versions["libavcodec"])
    return Finding("video files", "ok", f"PyAV {av.__version__}, libavcodec {version}, H.264")


def _openxr() -> Finding:
    from headset.openxr.binding import OpenXrError, load_xr
    from headset.openxr.graphics_binding import binding_extensions
    from headset.openxr.runtime import HANDS, offered_extensions

    mend = "only `visavis preview --openxr` needs it: docs/openxr.md"
    try:
        # Loaded, not started: a runtime that starts may open windows and wake the headset.
        offered = offered_extensions(load_xr())
        binding_extensions(offered)
    except OpenXrError as error:
        return Finding("openxr", "warn", str(error).removeprefix("OpenXR: "), mend)
    hands = "with" if HANDS in offered else "without"
    return Finding("openxr", "ok", f"a runtime that takes our OpenGL, {hands} hand tracking")


PROBES: dict[str, Callable[[], Finding]] = {
    "opengl": _opengl,
    "tracking": _tracking,
    "avatar": _avatar,
    "video files": _video_files,
    "display": _display,
    "cameras": _cameras,
    "gpu": _gpu,
    "openxr": _openxr,
}


def main() -> int:
    """Print the finding of the probe that is named on the command line."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in PROBES:
        print(f"apps.probes: expected one of {', '.join(PROBES)}, got {name!r}", file=sys.stderr)
        return 2
    try:
        finding = PROBES[name]()
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        finding = Finding(name, "fail", text[:300], _MEND.get(name, ""))
    print(json.dumps(asdict(finding)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
