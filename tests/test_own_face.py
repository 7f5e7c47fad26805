"""The user's calm face: kept for their cameras, said in sessions; head and hands drawn ahead."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from apps.own_face import FILE, NeutralLearning, learning_of, neutral_for
from apps.pacing import PacedSource
from apps.predicted_avatar import PredictedAvatar
from apps.preview_options import PreviewOptions
from apps.recording import Recording, RecordingOptions
from apps.usage import FailedError, UsageError
from avatar.codec import Avatar
from capture.frame_source import FrameSource
from sessions.reader import SessionReader
from sessions.session_header import CALM_FACE_NOTE, PERSONAL_NOTES
from streams.camera import Camera
from streams.rigid import Rigid
from tests.test_prediction import STEP_NS, head_at, state
from tracking.contact import Gaps
from tracking.evaluation import rotation_error_deg
from tracking.face_details import FaceDetails
from tracking.neutral_face import NeutralFace
from tracking.tracker import Tracker, TrackerOptions

REST = NeutralFace(np.full(52, 0.25, np.float32), Gaps((0.008, 0.008), 0.0005), (0.01, -0.02))


def source(live: bool) -> FrameSource:
    camera = Camera.from_fov((64, 48))
    return cast(FrameSource, SimpleNamespace(live=live, camera=camera, fps=30.0))


def learned(live: bool) -> NeutralLearning:
    details = FaceDetails()
    learning = NeutralLearning(details, live)
    details.neutral = REST  # as a calm face in front of a camera sets it
    return learning


def test_a_cameras_face_is_kept_for_its_owner_alone(home: Path) -> None:
    assert neutral_for(source(True)) is None
    learned(True).line()
    assert (home / FILE).stat().st_mode & 0o777 == 0o600
    back = neutral_for(source(True))
    assert back is not None
    assert back.blendshapes == pytest.approx(REST.blendshapes, abs=1e-4)
    assert neutral_for(source(False)) is None, "a video may show somebody else"
    assert neutral_for(PacedSource(source(False))) is None, "in a window too"


def test_a_videos_face_is_not_kept(home: Path) -> None:
    learned(False).line()
    assert not (home / FILE).exists()
    with Tracker.open(TrackerOptions(hands=0)) as tracker:
        for live in (False, True):
            learning = learning_of(tracker, live)  # as the key in a window does
            assert learning is not None
            tracker.details.neutral = replace(REST)
            learning.line()
            assert (home / FILE).exists() == live


def test_a_damaged_file_is_told_with_its_place(home: Path) -> None:
    home.mkdir()
    (home / FILE).write_text("nonsense")
    with pytest.raises(FailedError, match=r"neutral_face.json: .*or remove the file"):
        neutral_for(source(True))


def test_a_session_says_what_was_subtracted(home: Path, tmp_path: Path) -> None:
    learned(True).line()
    for live in (True, False):
        path = tmp_path / f"{live}.mcap"
        Recording(RecordingOptions(path), source(live)).close()
        with SessionReader(path) as session:
            note = session.header.notes.get(CALM_FACE_NOTE)
        assert (note is not None) == live
        if note is not None:
            assert NeutralFace.from_json(note).gaps == REST.gaps
            assert json.loads(note)["version"] == 1
    # Nobody tracks again where there are no frames.
    path = tmp_path / "states.mcap"
    Recording(RecordingOptions(path, ("state", "code")), source(True)).close()
    with SessionReader(path) as session:
        assert not set(PERSONAL_NOTES) & set(session.header.notes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"neutral": 0.2}, "expected 1 to 60 seconds"),
        ({"predict_ms": 200.0}, "expected 0 to 100"),
        ({"predict_ms": 30.0, "record": Path("a.mcap")}, "keeps what was seen"),
        ({"neutral": 3.0, "source": "session:a.mcap"}, "for cameras and videos"),
        ({"predict_ms": 30.0, "debug_3d": True}, "draws here alone"),
    ],
)
def test_options_that_make_no_sense(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        replace(PreviewOptions(), **changes).check()


def test_an_avatars_head_is_drawn_ahead_and_its_code_is_not() -> None:
    with Avatar.open("default") as avatar:
        ahead = PredictedAvatar(avatar, 0.05)
        states = [state(k * STEP_NS, head_at(k * STEP_NS * 1e-9), 0.01 * k) for k in range(40)]
        codes = [ahead.encode(one) for one in states]
        plain = avatar.encode(states[-1])
        assert codes[-1].t_ns == plain.t_ns
        np.testing.assert_array_equal(codes[-1].geometry, plain.geometry)
        late, now = codes[-1].world_from_head, plain.world_from_head
        assert late is not None
        assert now is not None
        truth = head_at(states[-1].t_ns * 1e-9 + 0.05)
        assert rotation_error_deg(late, truth) < 0.5 * rotation_error_deg(now, truth)
        # Another source, or a loop of the same file, begins anew.
        again = ahead.encode(state(0, Rigid())).world_from_head
    assert again is not None
    assert rotation_error_deg(again, Rigid()) < 1e-6
