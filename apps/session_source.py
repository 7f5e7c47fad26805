"""A recorded session as a source: its frames, or blank ones where only states or codes are held."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from apps.secret import secret_of
from apps.session_moments import Moment, MomentOptions, chosen_source, read_moments
from apps.usage import FailedError
from capture.frame_source import FrameSource
from capture.rig_source import RigSource
from sessions.reader import SessionReader
from streams.camera import Camera
from streams.closing import Closing
from streams.frame import SIMULTANEOUS_NS, Frame

KEPT_MOMENTS = 64
"""More than a pipeline has under way between its source and its drawing."""
USUAL_SIZE = (1280, 720)
"""Of the camera that is guessed for a session that names none."""
DEFAULT_FPS = 30.0
RATE_TIMES = 90
"""Records at the beginning whose steps tell the rate."""


def open_session(path: Path, key_file: Path | None = None) -> SessionReader:
    """The session, opened with the secret that is given or typed. Raises SessionError."""
    return SessionReader(path, secret_of(path, key_file))


class SessionSource(Closing):
    """A FrameSource over a session: one frame for each moment, at its own recorded time.

    `owned`: closing it closes the session too. Raises FailedError when the session holds no such
    seam or camera.
    """

    live = False

    def __init__(
        self, session: SessionReader, options: MomentOptions | None = None, owned: bool = False
    ) -> None:
        self.session, self.options = session, options or MomentOptions()
        self._owned = owned
        self.camera = _camera_of(session, self.options)
        self.fps = rate_of(session, self.options.seam)
        self.damaged = 0
        self._blank = np.zeros((self.camera.size[1], self.camera.size[0], 3), np.uint8)
        self._seq = 0
        self._lock = threading.Lock()
        self._moments: OrderedDict[int, Moment] = OrderedDict()
        self._read = read_moments(session, self.options)

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        moment = next(self._read, None)
        if moment is None:
            self.damaged = self.session.undecodable
            raise StopIteration
        with self._lock:
            self._moments[moment.t_ns] = moment
            while len(self._moments) > KEPT_MOMENTS:
                self._moments.popitem(last=False)
        if moment.frame is not None:
            return moment.frame
        frame = Frame(moment.t_ns, self._seq, self.camera, self._blank)
        self._seq += 1
        return frame

    def moment(self, t_ns: int) -> Moment:
        """Everything recorded of a frame that was given out lately; from any thread."""
        with self._lock:
            found = self._moments.get(t_ns)
        if found is None:
            raise ValueError(f"SessionSource.moment: expected a frame's time, got {t_ns} ns")
        return found

    def close(self) -> None:
        """Iterating ends."""
        self._read = iter(())
        if self._owned:
            self.session.close()


def rig_of(session: SessionReader) -> tuple[Camera, ...]:
    """The cameras of a session that saw one world from several calibrated places, the one that
    leads first; none for any other session."""
    cameras: dict[str, Camera] = {}
    for channel in session.channels:
        if channel.seam == "frames" and channel.count and channel.camera is not None:
            cameras.setdefault(channel.source, channel.camera)
    places = {
        (*camera.world_from_camera.wxyz.tolist(), *camera.world_from_camera.xyz.tolist())
        for camera in cameras.values()
    }
    # Those that nobody calibrated are all taken to stand at the origin.
    return tuple(cameras.values()) if 1 < len(cameras) == len(places) else ()


def beside(session: SessionReader, first: SessionSource) -> FrameSource:
    """The frames of `first`, those of the rig's other cameras beside them; from readers of their
    own, since decoders remember."""
    options = first.options
    start_ns = None if options.start_ns is None else options.start_ns - SIMULTANEOUS_NS
    others = [
        SessionSource(
            session.opened_again(),
            replace(options, camera=camera.name, start_ns=start_ns, end_ns=None),
            owned=True,
        )
        for camera in rig_of(session)
        if camera.name != first.camera.name
    ]
    return RigSource(first, others, lambda _line: None)


def rate_of(session: SessionReader, seam: str) -> float:
    """Nominal records a second at `seam`: the middle step between the first ones; 30 for a single
    record."""
    times = session.times(seam, limit=RATE_TIMES)
    steps = np.diff(times)
    steps = steps[steps > 0]
    if not len(steps):
        return DEFAULT_FPS
    return float(np.clip(1e9 / np.median(steps), 0.1, 1000.0))


def _camera_of(session: SessionReader, options: MomentOptions) -> Camera:
    source = chosen_source(session, options.seam, options.camera)
    cameras = [
        channel.camera
        for channel in session.channels
        if channel.seam == "frames" and channel.camera is not None
    ]
    cameras += session.header.cameras
    if options.seam == "frames" and source not in session.sources("frames"):
        raise FailedError(f"{session.path}: holds no frames of {source!r}")
    named = [camera for camera in cameras if camera.name == (options.camera or source)]
    return (named or cameras or [Camera.guessed(USUAL_SIZE, name="unknown")])[0]
