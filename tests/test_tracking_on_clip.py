"""The tracker on the clip that the repository ships: a synthetic person."""

from __future__ import annotations

import av
import numpy as np
import pytest

from assets.manifest import AssetError, asset_path
from streams.camera import Camera
from streams.face_shapes import SHAPE_INDEX
from streams.frame import Frame
from streams.tracked_state import TrackedState
from tracking.tracker import Tracker


@pytest.fixture(scope="module")
def states() -> list[TrackedState]:
    try:
        path = asset_path("clips/demo")
    except AssetError as error:
        pytest.skip(f"the demo clip is not in the assets yet: {error}")
    found: list[TrackedState] = []
    with av.open(str(path)) as container, Tracker.open() as tracker:
        stream = container.streams.video[0]
        period_ns = round(1e9 / float(stream.average_rate or 25))
        for seq, picture in enumerate(container.decode(stream)):
            if seq >= 150:
                break
            rgb = np.ascontiguousarray(picture.to_ndarray(format="rgb24"), np.uint8)
            camera = Camera.from_fov((rgb.shape[1], rgb.shape[0]), name="clip")
            found.append(tracker.track(Frame(seq * period_ns, seq, camera, rgb)))
    return found


def test_the_synthetic_person_has_a_face(states: list[TrackedState]) -> None:
    assert np.mean([state.face is not None for state in states]) >= 0.95


def test_the_synthetic_person_looks_out_of_the_picture(states: list[TrackedState]) -> None:
    forward = [s.face.world_from_head.rotate([0.0, 0.0, 1.0]) for s in states if s.face is not None]
    assert np.median(forward, axis=0)[2] > 0.8


def test_the_synthetic_person_moves(states: list[TrackedState]) -> None:
    shapes = np.array([s.face.blendshapes for s in states if s.face is not None])
    assert shapes[:, SHAPE_INDEX["jawOpen"]].std() > 0.02
