"""Every kind of source by its name, those that `capture` cannot make alone included."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from apps.usage import UsageError
from capture.frame_source import FrameSource, SourceOptions, open_source
from streams.camera import Camera
from streams.tracked_state import TrackedState
from streams.view import View

if TYPE_CHECKING:
    from avatar.codec import Avatar
    from capture.synthetic import SyntheticOptions, SyntheticPerson
    from render.renderer import Renderer

SPECS = "webcam:NUMBER, video:PATH, session:PATH, synthetic:SCENE"


def camera_options(
    fov_deg: float | None, mirrored: bool, camera: Camera | None = None
) -> SourceOptions:
    """What --fov-deg, --mirrored and a rig say of a source's camera."""
    fov = None if fov_deg is None else float(np.deg2rad(fov_deg))
    return SourceOptions(fov_long_side=fov, camera=camera, mirrored=mirrored)


def open_any(spec: str, options: SourceOptions | None = None) -> FrameSource:
    """Open a source of any kind. Raises UsageError for a spec that makes no sense, SourceError or
    SessionError for a source that cannot be opened, FailedError for a session without frames."""
    kind, colon, where = spec.partition(":")
    if not colon or not where or kind not in ("webcam", "video", "session", "synthetic"):
        hint = f" (a file? video:{spec})" if not colon else ""
        raise UsageError(f"--source {spec}: expected one of {SPECS}{hint}")
    if kind == "synthetic":
        return open_synthetic(where)
    if kind == "session":
        return open_recorded(Path(where), options)
    return open_source(spec, options)


def open_recorded(path: Path, options: SourceOptions | None = None) -> FrameSource:
    """The frames of a session's first camera, at their recorded times; of a calibrated rig, those
    of the other cameras beside them."""
    from apps.session_moments import first_seam
    from apps.session_source import SessionSource, beside, open_session, rig_of

    told = options or SourceOptions()
    if told.fov_long_side is not None or told.camera is not None or told.mirrored:
        raise UsageError(
            f"session:{path}: its calibration was recorded with it; leave --fov-deg, --rig and "
            "--mirrored away"
        )
    session = open_session(path)
    try:
        first_seam(session, "frames")
        source = SessionSource(session, owned=True)
        return beside(session, source) if rig_of(session) else source
    except BaseException:
        session.close()
        raise


def open_synthetic(
    scene: str, options: SyntheticOptions | None = None, avatar_id: str = "default"
) -> SyntheticPerson:
    """An avatar acting `scene`; by default filmed in 512x512 at 30 frames a second, with noise.

    Raises UsageError for an unknown scene.
    """
    from capture.scenes import SCENES, open_scene
    from capture.synthetic import SyntheticOptions, SyntheticPerson

    if scene not in SCENES:
        raise UsageError(f"synthetic scene {scene!r}: expected one of {', '.join(SCENES)}")
    if options is None:
        camera = Camera.from_fov((512, 512), name=f"synthetic {scene}")
        options = SyntheticOptions(camera, noise=1.5)
    artist = Artist(View.from_camera(options.camera), avatar_id)
    return SyntheticPerson(open_scene(scene), artist, options, release=artist.close)


class Artist:
    """Draws states with an avatar and a renderer of its own, opened at the first picture so that
    the OpenGL context belongs to the thread that uses it."""

    def __init__(self, view: View, avatar_id: str = "default") -> None:
        self._view, self._avatar_id = view, avatar_id
        self._avatar: Avatar | None = None
        self._renderer: Renderer | None = None

    def __call__(self, state: TrackedState) -> npt.NDArray[np.uint8]:
        if self._avatar is None or self._renderer is None:
            from avatar.codec import Avatar
            from render.renderer import open_renderer

            self._avatar, self._renderer = Avatar.open(self._avatar_id), open_renderer("gl")
        mesh = self._avatar.rig(state)  # not the codec: what is filmed is the truth
        return np.ascontiguousarray(self._renderer.draw(mesh, self._view).rgba[:, :, :3])

    def close(self) -> None:
        """Release both; in the thread that drew."""
        if self._renderer is not None:
            self._renderer.release()
        if self._avatar is not None:
            self._avatar.close()
        self._avatar = self._renderer = None
