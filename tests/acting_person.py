"""A synthetic person who acts what a test asks for, filmed: pictures with the truth beside them."""

from __future__ import annotations

import numpy as np

from apps.sources import Artist
from capture.performance import Performance
from capture.synthetic import SyntheticOptions, SyntheticPerson
from streams.camera import Camera
from streams.frame import Frame
from streams.tracked_state import TrackedState
from streams.view import View


def act(
    performance: Performance, fps: float = 15.0, person: str = "amara"
) -> list[tuple[Frame, TrackedState]]:
    """Every frame of a 640 x 480 webcam, and what was acted in it."""
    name = f"{person} {performance.name}"
    camera = Camera.from_fov((640, 480), np.deg2rad(56.0), name=name)
    options = SyntheticOptions(camera=camera, fps=fps, noise=1.5)
    artist = Artist(View.from_camera(camera), person)
    with SyntheticPerson(performance, artist, options, release=artist.close) as source:
        return [(frame, source.truth(frame.seq)) for frame in source]
