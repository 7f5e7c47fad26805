"""Hands as BVH: what forward kinematics of the file gives is what was tracked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from capture.frame_source import open_source
from capture.scenes import open_scene
from sessions.hand_bvh import BvhOptions, write_hand_bvh
from streams.hand_skeleton import FINGER_JOINTS, HandParts
from streams.rigid import Rigid
from streams.tracked_state import SIDES, HandPose
from tracking.tracker import Tracker, TrackerOptions

Moments = list[tuple[int, HandPose | None]]


@dataclass
class Joint:
    """A joint of a file, read by the format's description alone."""

    name: str
    offset: np.ndarray
    channels: list[str] = field(default_factory=list)
    children: list[Joint] = field(default_factory=list)


@dataclass
class Bvh:
    root: Joint
    step_s: float
    rows: np.ndarray

    @staticmethod
    def read(path: Path) -> Bvh:
        words = path.read_text().split()
        assert words[:2] == ["HIERARCHY", "ROOT"]
        root, at = Bvh._joint(words, 2)
        assert words[at : at + 2] == ["MOTION", "Frames:"]
        assert words[at + 3 : at + 5] == ["Frame", "Time:"]
        rows = np.array(words[at + 6 :], float).reshape(int(words[at + 2]), -1)
        return Bvh(root, float(words[at + 5]), rows)

    @staticmethod
    def _joint(words: list[str], at: int) -> tuple[Joint, int]:
        assert words[at + 1 : at + 3] == ["{", "OFFSET"]
        joint = Joint(words[at], np.array(words[at + 3 : at + 6], float))
        at += 6
        if words[at] == "CHANNELS":
            count = int(words[at + 1])
            joint.channels = words[at + 2 : at + 2 + count]
            at += 2 + count
        while words[at] != "}":
            assert words[at] in ("JOINT", "End")
            child, at = Bvh._joint(words, at + 1)
            joint.children.append(child)
        return joint, at + 1

    def places(self, row: np.ndarray) -> dict[str, np.ndarray]:
        """Where each joint is; an end site is called as its joint, with a "+"."""
        out: dict[str, np.ndarray] = {}
        numbers = iter(row)

        def walk(joint: Joint, world: np.ndarray, name: str) -> None:
            here = np.eye(4)
            here[:3, 3] = joint.offset
            for channel in joint.channels:
                value, axis = next(numbers), "XYZ".index(channel[0])
                step = np.eye(4)
                if channel.endswith("position"):
                    step[axis, 3] = value
                else:
                    turn = np.eye(3)[axis] * np.deg2rad(value)
                    step = Rigid.from_rotvec(turn).matrix()
                here = here @ step
            world = world @ here
            out[name] = world[:3, 3]
            for child in joint.children:
                end = child.name == "Site"
                walk(child, world, f"{name}+" if end else child.name)

        walk(self.root, np.eye(4), self.root.name)
        assert next(numbers, None) is None
        return out

    def joints(self, row: np.ndarray) -> np.ndarray:
        """(21, 3): the file's order is MediaPipe's."""
        places = list(self.places(row).values())
        assert len(places) == 21
        return np.array(places)


def acted(scene: str, side: str, fps: float = 30.0) -> Moments:
    performance = open_scene(scene)
    times = [round(k * 1e9 / fps) for k in range(int(performance.duration_s * fps))]
    return [(t, performance.state_at(t).hand(side)) for t in times]


@pytest.mark.parametrize("side", SIDES)
def test_the_file_gives_the_joints_back(tmp_path: Path, side: str) -> None:
    moments, path = acted("hands", side), tmp_path / "hand.bvh"
    take = write_hand_bvh(moments, side, path)
    file = Bvh.read(path)
    assert take.frames == len(file.rows) == len(moments)
    assert file.step_s == pytest.approx(1 / 30, abs=1e-6)
    worst = 0.0
    for row, (_, hand) in zip(file.rows, moments, strict=True):
        if hand is not None:
            worst = max(worst, float(np.abs(file.joints(row) - hand.joints).max()))
    # Six decimals of metres and degrees.
    assert worst < 1e-5
    assert take.error_mm < 1e-3
    assert list(file.places(file.rows[0]))[-4:] == [
        f"{side}_little_{name}" for name in ("mcp", "pip", "dip", "dip+")
    ]


def test_a_tracked_hand_is_met_within_millimetres(tmp_path: Path, demo_clip: Path) -> None:
    with (
        open_source(f"video:{demo_clip}") as source,
        Tracker.open(TrackerOptions(faces=0)) as tracker,
    ):
        states = [tracker.track(frame) for _, frame in zip(range(150), source, strict=False)]
    moments = [(state.t_ns, state.hand("right")) for state in states]
    take = write_hand_bvh(moments, "right", tmp_path / "hand.bvh")
    file = Bvh.read(tmp_path / "hand.bvh")
    apart = [
        np.linalg.norm(file.joints(row) - hand.joints, axis=1).mean()
        for row, (_, hand) in zip(file.rows, moments, strict=True)
        if hand is not None
    ]
    # Bones that keep their length cannot follow tracked ones, which change theirs by 5 to 8 mm.
    assert len(apart) > 20
    assert float(np.mean(apart)) < 0.005
    assert take.error_mm == pytest.approx(1e3 * float(np.mean(apart)), abs=0.5)


def test_zero_is_the_flat_hand(tmp_path: Path) -> None:
    write_hand_bvh(acted("hands", "left"), "left", tmp_path / "hand.bvh")
    file = Bvh.read(tmp_path / "hand.bvh")
    flat = file.joints(np.zeros(file.rows.shape[1]))
    parts = HandParts.of(flat[None], ("left",))
    assert np.abs(parts.angles).max() < 1e-3
    assert np.abs(parts.sideways).max() < 1e-3
    assert flat[12, 2] < -0.1  # -z leads to the fingers


def test_where_no_hand_is_seen_it_stays(tmp_path: Path) -> None:
    moments = acted("hands", "right")
    first = next(k for k, (_, hand) in enumerate(moments) if hand is not None) + 10
    gone = [(t, None if first <= k < first + 60 else h) for k, (t, h) in enumerate(moments)]
    take = write_hand_bvh(gone, "right", tmp_path / "hand.bvh")
    file = Bvh.read(tmp_path / "hand.bvh")
    assert take.seen == sum(hand is not None for _, hand in gone)
    np.testing.assert_allclose(np.ptp(file.rows[first - 1 : first + 60], axis=0), 0, atol=1e-9)
    back = gone[first + 60][1]
    assert back is not None
    np.testing.assert_allclose(file.joints(file.rows[first + 60]), back.joints, atol=1e-4)


def test_uneven_times_are_evened_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    performance = open_scene("hands")
    times = np.cumsum(rng.integers(20, 46, 150)) * 1_000_000 + 1_000_000_000
    moments = [(int(t), performance.state_at(int(t)).hand("left")) for t in times]
    take = write_hand_bvh(moments, "left", tmp_path / "a.bvh", BvhOptions(fps=60.0))
    file = Bvh.read(tmp_path / "a.bvh")
    assert take.frames == len(file.rows) == round((times[-1] - times[0]) / 1e9 * 60) + 1
    wrong = []
    for k, row in enumerate(file.rows):
        hand = performance.state_at(int(times[0] + k * 1e9 / 60)).hand("left")
        near = np.abs(times - times[0] - k * 1e9 / 60).min() < 30e6
        if hand is not None and near:
            wrong.append(np.linalg.norm(file.joints(row) - hand.joints, axis=1).mean())
    assert np.median(wrong) < 0.001


def test_turns_do_not_jump(tmp_path: Path) -> None:
    write_hand_bvh(acted("hands", "left"), "left", tmp_path / "a.bvh")
    assert np.abs(np.diff(Bvh.read(tmp_path / "a.bvh").rows[:, 3:], axis=0)).max() < 180.0


def test_what_is_no_hand_is_refused(tmp_path: Path) -> None:
    moments = acted("hands", "left")
    with pytest.raises(ValueError, match="never seen"):
        write_hand_bvh([(t, None) for t, _ in moments], "left", tmp_path / "a.bvh")
    with pytest.raises(ValueError, match="right hands only"):
        write_hand_bvh(moments, "right", tmp_path / "a.bvh")
    with pytest.raises(ValueError, match="rise"):
        write_hand_bvh([*moments, moments[-1]], "left", tmp_path / "a.bvh")
    assert not (tmp_path / "a.bvh").exists()


def test_bone_frames_lead_along_their_bones() -> None:
    hands = [hand for _, hand in acted("hands", "right", 5.0) if hand is not None]
    wrists = [h.world_from_wrist.inverse().apply(h.joints) for h in hands]
    local = np.asarray(wrists, np.float64)
    local += np.random.default_rng(0).normal(0, 0.004, local.shape)
    local[:, 0] = 0.0
    frames = HandParts.of(local, ("right",) * len(local)).rotations()
    fingers = local[:, FINGER_JOINTS]
    bones = np.diff(fingers, axis=2)
    bones /= np.linalg.norm(bones, axis=-1, keepdims=True)
    np.testing.assert_allclose(-frames[..., 2], bones, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(frames), 1.0, atol=1e-9)
    np.testing.assert_allclose(
        frames @ frames.swapaxes(-1, -2), np.broadcast_to(np.eye(3), frames.shape), atol=1e-9
    )
