"""`--rig FILE`: the calibrated cameras of sources, one or several."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from apps.usage import FailedError, UsageError
from capture.frame_source import FrameSource
from streams.camera import Camera

TOGETHER = ("webcam", "video")
"""Kinds of sources that can be calibrated."""


def calibrated_camera(rig: str | None, source: str, sources: Sequence[str] = ()) -> Camera | None:
    """The camera of `source`, one of several `sources`; None without a rig.

    `rig` is FILE.json, or FILE.json#NAME to say which camera of it. Without a name it is the one
    that was calibrated as this very source, else the only one, else, where the rig has as many
    cameras as there are sources and none of these by name, the one in its place. Raises FailedError
    when none is it, RigError for a file that is no rig.
    """
    if rig is None:
        return None
    from capture.rig_file import read_rig

    path, _, name = rig.partition("#")
    cameras = read_rig(Path(path))
    names = [camera.name for camera in cameras]
    wanted = name or source
    if wanted in names:
        return cameras[names.index(wanted)]
    specs = sources or (source,)
    if not name and len(cameras) == len(specs) and not set(names) & set(specs):
        return cameras[specs.index(source)]
    raise FailedError(
        f"--rig {rig}: holds the cameras {', '.join(names)}, none of them {wanted!r}; "
        + (f"say which with --rig {path}#NAME" if len(specs) == 1 else "calibrate them together")
    )


def check_each_once(sources: Sequence[str]) -> None:
    """Raise UsageError for a source that is given twice."""
    for k, spec in enumerate(sources):
        if spec in sources[:k]:
            raise UsageError(f"--more-sources {spec}: this camera is given twice")


def check_together(source: str, more_sources: Sequence[str], rig: str | None) -> None:
    """Raise UsageError unless these sources can be tracked as one rig."""
    if not more_sources:
        return
    specs = (source, *more_sources)
    check_each_once(specs)
    for spec in specs:
        if spec.partition(":")[0] not in TOGETHER:
            raise UsageError(
                f"--more-sources: goes with webcam:NUMBER and video:PATH, not with {spec}"
            )
    if rig is None:
        raise UsageError(
            "--more-sources: where the cameras stand must be known; measure them with `visavis "
            f"calibrate rig.json --sources {' '.join(specs)}` and add --rig rig.json"
        )
    if "#" in rig:
        raise UsageError(f"--rig {rig}: names one camera of {len(specs)}; leave #NAME away")


def open_together(
    rig: str, specs: Sequence[str], open_one: Callable[[str, Camera], FrameSource]
) -> FrameSource:
    """Several sources as one, the first leading, each opened by `open_one` as the camera that `rig`
    holds of it. Lines about a camera that falls out are told on stderr.

    Raises as `calibrated_camera` and what opening raises; UsageError for cameras beside files.
    """
    from capture.rig_source import RigSource

    cameras = [calibrated_camera(rig, spec, specs) for spec in specs]
    with contextlib.ExitStack() as opened:
        sources: list[FrameSource] = []
        for spec, camera in zip(specs, cameras, strict=True):
            if camera is None:
                raise ValueError(f"open_together: expected a rig, got {rig!r}")
            source = open_one(spec, camera)
            opened.callback(source.close)
            if sources and source.live != sources[0].live:
                raise UsageError(
                    f"--more-sources {spec}: cameras and files have different clocks; take all "
                    "live, or all from files"
                )
            sources.append(source)
        together = RigSource(sources[0], sources[1:], _tell)
        opened.pop_all()
    return together


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
