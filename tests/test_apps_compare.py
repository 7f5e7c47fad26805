"""`visavis compare`: errors whose truth is known, matching of clocks, pictures, limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apps import command
from apps.comparison_run import compare_sessions
from apps.record_fields import Digest, fields_of, first_difference
from apps.session_comparison import angles_deg, match_times
from apps.usage import FailedError
from capture.scenes import open_scene
from sessions.reader import SessionReader
from sessions.session_header import SessionHeader
from sessions.writer import SessionOptions, SessionWriter
from streams.avatar_code import AvatarCode
from streams.camera import Camera
from streams.face_shapes import FACE_SHAPES
from streams.frame import Frame
from streams.rigid import Rigid
from streams.tracked_state import TrackedState

STEP = 40_000_000
CAMERA = Camera.from_fov((96, 64), name="cam")
GAZE = np.tile(np.array([0, 0, 1], np.float32), (2, 1))


def _states(count: int = 12) -> list[TrackedState]:
    scene = open_scene("hands")
    return [replace(scene.state_at(k * STEP), source="cam", t_ns=k * STEP) for k in range(count)]


def _code(state: TrackedState, geometry: float = 0.0) -> AvatarCode:
    assert state.face is not None
    numbers = np.full(8, geometry, np.float32)
    return AvatarCode(
        state.t_ns, "avatars/none", numbers, np.zeros(4, np.float32), GAZE,
        state.face.world_from_head,
    )  # fmt: skip


def _write(path: Path, records: list, header: SessionHeader | None = None) -> Path:
    options = SessionOptions(wait_s=10.0, stamped=False)
    with SessionWriter(path, header or SessionHeader(0, 0), options) as writer:
        writer.write(*records)
    return path


def _compared(tmp_path: Path, change: Callable[[TrackedState], TrackedState]):
    states = _states()
    a = _write(tmp_path / "a.mcap", states)
    b = _write(tmp_path / "b.mcap", [change(state) for state in states])
    with SessionReader(a) as one, SessionReader(b) as other:
        return compare_sessions(one, other)


def test_each_error_is_what_was_put_in(tmp_path):
    turn = Rigid.from_rotvec((0.0, np.deg2rad(2.0), 0.0))

    def change(state: TrackedState) -> TrackedState:
        face = state.face
        assert face is not None
        k = state.t_ns // STEP
        shift = Rigid.from_translation((0.003 if k == 5 else 0.001, 0.0, 0.0))
        shapes = face.blendshapes.copy()
        shapes[FACE_SHAPES.index("jawOpen")] += 0.25
        shapes[FACE_SHAPES.index("browInnerUp")] += 0.125
        other = replace(
            face,
            world_from_head=shift @ face.world_from_head @ turn,
            blendshapes=shapes.clip(0, 1),
            landmarks=face.landmarks + np.float32(0.0005) * np.array([0, 0, 1], np.float32),
            gaze=face.gaze @ turn.rotation().astype(np.float32),
        )
        hands = tuple(
            replace(h, joints=h.joints + np.array([0, 0.007, 0], np.float32)) for h in state.hands
        )
        return replace(state, face=other, hands=hands)

    found = _compared(tmp_path, change)
    assert found.matched == 12
    assert found.only_a == found.only_b == 0
    assert found.how == "by equal times"
    errors = {e.name: e for e in found.errors}
    assert errors["head-mm"].mean == pytest.approx((11 * 1 + 3) / 12, abs=1e-6)
    assert errors["head-mm"].largest == pytest.approx(3.0, abs=1e-6)
    assert errors["head-mm"].largest_ns == 5 * STEP
    assert errors["head-deg"].largest == pytest.approx(2.0, abs=1e-6)
    assert errors["landmarks-mm"].mean == pytest.approx(0.5, abs=1e-3)
    assert errors["gaze-deg"].largest == pytest.approx(2.0, abs=1e-3)
    assert errors["hands-mm"].mean == pytest.approx(7.0, abs=1e-3)
    assert errors["blendshape-most"].largest == pytest.approx(0.25, abs=1e-6)
    assert errors["blendshapes"].mean == pytest.approx(0.375 / 52, rel=0.05)
    assert [name for name, _ in found.worst_shapes][:2] == ["jawOpen", "browInnerUp"]
    assert found.identical["state"] == 0
    assert found.compared["state"] == 12


def test_the_same_is_the_same(tmp_path):
    found = _compared(tmp_path, lambda state: state)
    assert found.identical["state"] == found.compared["state"] == 12
    assert all(error.largest == 0.0 for error in found.errors)
    assert found.worst_shapes == []


def test_what_only_one_sees_is_counted(tmp_path):
    def change(state: TrackedState) -> TrackedState:
        k = state.t_ns // STEP
        return replace(
            state, face=None if k < 3 else state.face, hands=() if k == 7 else state.hands
        )

    found = _compared(tmp_path, change)
    assert found.seen["face only in A"] == 3
    hands = {h.side for h in _states()[7].hands}
    assert hands
    assert all(found.seen[f"{side} hand only in A"] == 1 for side in hands)
    error = found.error("head-mm")
    assert error is not None
    assert error.moments == 9


def test_codes_are_measured(tmp_path):
    states = _states(6)
    a = _write(tmp_path / "a.mcap", [_code(s) for s in states])
    b = _write(tmp_path / "b.mcap", [_code(s, 0.5) for s in states[:5]])
    with SessionReader(a) as one, SessionReader(b) as other:
        found = compare_sessions(one, other)
    assert (found.matched, found.only_a, found.only_b) == (5, 1, 0)
    error = found.error("code-geometry")
    assert error is not None
    assert (error.mean, error.largest) == (0.5, 0.5)


def test_clocks_that_differ_are_matched_from_the_beginning():
    a = np.arange(10, dtype=np.int64) * STEP
    b = 7_000_000_123 + np.delete(np.arange(12, dtype=np.int64) * STEP, 4) + 3_000_000
    b[0] -= 3_000_000
    found = match_times(a, b)
    assert not found.one_clock
    assert "20.0 ms" in found.how
    assert [x // STEP for x, _ in found.pairs] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert len({y for _, y in found.pairs}) == 9
    assert match_times(a, a[::2]).pairs == tuple((int(t), int(t)) for t in a[::2])
    with pytest.raises(FailedError, match="holds no states"):
        match_times(a, a[:0])


def test_small_angles_are_exact():
    a = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    small = np.deg2rad(1e-6)
    b = np.array([[0.0, 0.0, 1.0], [np.sin(small), 0.0, np.cos(small)], [-1.0, 0.0, 0.0]])
    assert angles_deg(a, b) == pytest.approx([0.0, 1e-6, 180.0], rel=1e-9)


def test_pictures_are_shown_side_by_side_and_measured(tmp_path, capsys):
    pytest.importorskip("flip_evaluator")
    rng = np.random.default_rng(5)
    pictures = [rng.integers(0, 200, (64, 96, 3)).astype(np.uint8) for _ in range(6)]
    states = _states(6)
    paths = []
    from sessions.picture_track import PictureOptions

    for name, brighter in (("a", 0), ("b", 8)):
        path = tmp_path / f"{name}.mcap"
        options = SessionOptions(PictureOptions(lossless=True), wait_s=10.0, stamped=False)
        with SessionWriter(path, SessionHeader(0, 0), options) as writer:
            for k, state in enumerate(states):
                writer.write(Frame(k * STEP, k, CAMERA, pictures[k] + np.uint8(brighter)), state)
        paths.append(str(path))
    out = tmp_path / "made" / "here"
    assert command.run(["compare", *paths, "--out", str(out), "--pictures", "3"]) == 0
    said = capsys.readouterr().out
    told = json.loads((out / "comparison.json").read_text())
    frames = told["pictures"]["frames"]
    assert frames["count"] == 3
    assert frames["psnr_db"] == pytest.approx(20 * np.log10(255 / 8), abs=1e-6)
    assert 0 < frames["flip"] < 0.2
    assert told["pictures"]["drawn"] == "not both hold codes"
    assert "frames: PSNR 30.07 dB, FLIP" in said
    sheet = np.asarray(Image.open(out / "pictures.png"))
    assert sheet.shape[1] == 3 * (96 + 12) + 12
    assert told["identical"] == {"state": 6}
    # The second picture of a row is the first one, brighter; the third is their difference.
    top = 40 + 26 + 10
    one, other, apart = (sheet[top : top + 40, x + 20 : x + 80].astype(int) for x in (12, 120, 228))
    assert (other - one).mean() == pytest.approx(8.0, abs=0.5)
    assert apart.mean() == pytest.approx(64.0, abs=0.5)


def test_codes_of_shipped_avatars_are_drawn(demo_clip, tmp_path, capsys):
    from tests.replayed_sessions import record_clip

    a, b, out = tmp_path / "a.mcap", tmp_path / "b.mcap", tmp_path / "out"
    record_clip(a, demo_clip, 3, lossless=False)
    assert (
        command.run(["replay", str(a), "--from", "state", "--avatar", "mei", "--out", str(b)]) == 0
    )
    arguments = ["compare", str(a), str(b), "--out", str(out), "--pictures", "1"]
    assert command.run([*arguments, "--max-error", "head-mm=0", "gaze-deg=0.1"]) == 0
    assert command.run([*arguments, "--max-error", "code-geometry=9"]) == 1
    said = capsys.readouterr().out
    assert "frames: only A holds any" in said
    assert "EXCEEDED: code-geometry could not be measured" in said
    drawn = json.loads((out / "comparison.json").read_text())["pictures"]["drawn"]
    assert 8 < drawn["psnr_db"] < 30


def test_two_sessions_are_tracked_first_where_asked(demo_clip, tmp_path, capsys):
    from tests.replayed_sessions import record_clip

    paths = [str(record_clip(tmp_path / f"{n}.mcap", demo_clip, 3, ("frames",))) for n in "ab"]
    assert command.run(["compare", *paths]) == 1
    assert "compare --from frames tracks it first" in capsys.readouterr().err
    assert command.run(["compare", *paths, "--from", "frames"]) == 0
    assert "state: 3 of 3 the same bit for bit" in capsys.readouterr().out


def test_limits_that_make_no_sense_are_refused(tmp_path, capsys):
    a = str(_write(tmp_path / "a.mcap", _states(2)))
    for arguments in (
        ["--max-error", "nose=1"], ["--max-error", "head-mm"], ["--max-error", "head-mm=-2"],
        ["--pictures", "13"], ["--from", "code"],
    ):  # fmt: skip
        assert command.run(["compare", a, a, *arguments]) == 2
    assert "expected NAME=LIMIT" in capsys.readouterr().err


def test_fields_are_compared_bit_by_bit():
    state = next(state for state in _states(12) if state.hands)
    assert first_difference(state, state) is None
    face = state.face
    assert face is not None
    negative = face.blendshapes.copy()
    zero = int(np.flatnonzero(negative == 0)[0])
    negative[zero] = -0.0
    found = first_difference(state, replace(state, face=replace(face, blendshapes=negative)))
    assert found is not None
    assert (found.field, found.largest) == ("face.blendshapes", 0.0)
    lost = first_difference(state, replace(state, face=None))
    assert lost is not None
    assert "only one has it" in lost.how
    assert first_difference(replace(state, source="x"), state) is not None
    fewer = first_difference(state, replace(state, hands=state.hands[:-1]))
    assert fewer is not None
    assert fewer.field == "hands (how many)"
    names = [name for name, _ in fields_of(state)]
    assert "face.world_from_head.wxyz" in names
    assert "hands[0].joints" in names
    one, other = Digest(), Digest()
    one.add(state)
    other.add(replace(state, t_ns=1))
    assert one.text != other.text
    with pytest.raises(ValueError, match="expected a record"):
        list(fields_of(object()))
