"""`--rig FILE`: the calibrated camera of a source."""

from __future__ import annotations

from pathlib import Path

from apps.usage import FailedError
from streams.camera import Camera


def calibrated_camera(
    rig: str | None, source: str, index: int = 0, count: int = 1
) -> Camera | None:
    """The camera of `source`, the `index`-th of `count` sources; None without a rig.

    `rig` is FILE.json, or FILE.json#NAME to say which camera of it. Without a name it is the one
    that was calibrated as this very source, else the only one, else, where there are as many
    sources as cameras, the one in its place. Raises FailedError when none is it, RigError for a
    file that is no rig.
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
    if not name and (len(cameras) == 1 == count or (len(cameras) == count > 1)):
        return cameras[index]
    raise FailedError(
        f"--rig {rig}: holds the cameras {', '.join(names)}, none of them {wanted!r}; say which "
        f"with --rig {path}#NAME"
    )
