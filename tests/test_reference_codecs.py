"""The codecs that ours is compared with, on the beginning of the clip that ships."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from avatar.enrolment.observations import Observations
from avatar.enrolment.recipe import EnrolmentOptions, enrol
from avatar.enrolment.texture_basis_fit import BasisOptions
from avatar.personal_model import PersonalModel
from avatar.training.face_codec import FaceScale
from benchmarks.reference_codecs import (
    ExactCodec,
    PersonCapture,
    PersonUnwrapping,
    ReferenceAvatar,
    compare,
    mean_atlas,
)
from capture.frame_source import open_source
from streams.frame import Frame
from streams.mirror import mirror_frame
from streams.tracked_state import TrackedState
from tracking.tracker import Tracker, TrackerOptions

TRAINED, SIZE = 48, 64
Moment = tuple[Frame, TrackedState]


@pytest.fixture(scope="module")
def moments(demo_clip: Path) -> list[Moment]:
    with (
        open_source(f"video:{demo_clip}") as source,
        Tracker.open(TrackerOptions(hands=0)) as tracker,
    ):
        frames = [frame for k, frame in zip(range(180), source, strict=False) if k % 3 == 0]
        return [(frame, tracker.track(frame)) for frame in frames]


@pytest.fixture(scope="module")
def model(moments: list[Moment]) -> PersonalModel:
    options = EnrolmentOptions(
        appearance=16, basis=BasisOptions(grid=6, planes=4, rounds=1), least_frames=20
    )
    seen = Observations.of([state for _, state in moments[:TRAINED]])
    return enrol(lambda: (frame for frame, _ in moments), seen, options)


def test_rows_come_in_the_order_of_what_they_know(
    moments: list[Moment], model: PersonalModel
) -> None:
    def training() -> Iterator[Moment]:
        return iter(moments[:TRAINED])

    def held_out() -> Iterator[Moment]:
        return iter(moments[TRAINED::3])

    rows = dict(compare(model, training, held_out, seconds=2.0, size=SIZE))
    names = list(rows)
    assert names[:3] == ["mean texture", f"at {SIZE} texels", "PCA 64"]
    assert names[3].startswith("conv, ")
    mean, exact, pca = (rows[name].psnr_db for name in names[:3])
    assert mean + 0.3 < pca < exact
    assert np.isfinite(rows[names[3]].psnr_db)


def test_what_the_codec_gives_is_what_is_drawn(moments: list[Moment], model: PersonalModel) -> None:
    """The atlas of a frame through the exact codec is the frame's texture where it is seen; a
    mirrored frame gives the same."""
    unwrapping = PersonUnwrapping(model, 512)
    capture = PersonCapture.read(unwrapping, moments[:6])
    scale = FaceScale.of(capture, 512)
    mean = mean_atlas(model, scale, unwrapping)
    frame, state = moments[3]
    with ReferenceAvatar(
        model, "avatars/test", unwrapping, ExactCodec(scale.texture_mean), mean
    ) as avatar:
        nodes = avatar.decode_nodes(avatar.encode(state, frame))
        driven = avatar.decode_nodes(avatar.encode(state))
    assert driven.basis is avatar.basis
    shown = nodes.materialised().albedo.reshape(512, 2, 512, 2, 3).astype(np.float32).mean((1, 3))
    seen = capture[3].seen > 0.99
    error = np.abs(shown - capture[3].texture)[seen]
    assert error.mean() < 4.0
    assert state.face is not None
    mirrored = unwrapping.of(mirror_frame(frame), state.face)
    assert np.abs(mirrored.texture.astype(int) - capture[3].texture)[seen].mean() < 1.0
