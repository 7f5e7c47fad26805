"""`headset.openxr` without any runtime: places, hands, times, session states, what is missing."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from apps.headset_hands import FRESH_NS, HeadsetHands, hands_at
from apps.preview import Preview
from apps.usage import UsageError
from headset.openxr.binding import OpenXrError, load_xr
from headset.openxr.graphics_binding import EGL, OPENGL, binding_extensions
from headset.openxr.hands import JOINT_LOCATION, JOINTS, webxr_joints_of
from headset.openxr.poses import head_of, rigid_of, seat_of, view_of
from headset.openxr.projection_layer import DepthRange
from headset.openxr.runtime_clock import FrameClock, Timespec
from headset.openxr.session_states import Reopening, ReopeningOptions, SessionStates
from streams.camera import Camera
from streams.frame import Frame
from streams.hand_skeleton import OPENXR_JOINTS, WEBXR_JOINTS, webxr_joints
from streams.headset_sample import HeadsetSample
from streams.mailbox import Mailbox
from streams.rigid import Rigid
from streams.tracked_state import FacePose, HandPose, TrackedState

RNG_SEED = 5


def xr_pose(place: Rigid) -> Any:
    """An XrPosef as pyopenxr shows it."""
    w, x, y, z = place.wxyz
    return SimpleNamespace(
        orientation=SimpleNamespace(x=x, y=y, z=z, w=w),
        position=SimpleNamespace(x=place.xyz[0], y=place.xyz[1], z=place.xyz[2]),
    )


def xr_view(place: Rigid, fov: tuple[float, float, float, float]) -> Any:
    """An XrView."""
    left, right, up, down = fov
    angles = SimpleNamespace(angle_left=left, angle_right=right, angle_up=up, angle_down=down)
    return SimpleNamespace(pose=xr_pose(place), fov=angles)


def random_place(rng: np.random.Generator) -> Rigid:
    return Rigid.from_rotvec(rng.normal(size=3), rng.normal(size=3))


# Places


def test_a_pose_keeps_its_place_and_turn() -> None:
    rng = np.random.default_rng(RNG_SEED)
    for _ in range(20):
        place = random_place(rng)
        found = rigid_of(xr_pose(place))
        assert found is not None
        assert np.allclose(found.matrix(), place.matrix(), atol=1e-12)


@pytest.mark.parametrize(
    "pose",
    [
        SimpleNamespace(
            orientation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=0.0),
            position=SimpleNamespace(x=0.0, y=0.0, z=0.0),
        ),
        SimpleNamespace(
            orientation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0),
            position=SimpleNamespace(x=0.0, y=float("nan"), z=0.0),
        ),
    ],
)
def test_a_pose_that_is_none_is_absent(pose: Any) -> None:
    assert rigid_of(pose) is None


def test_an_eye_sees_a_point_where_openxr_projects_it() -> None:
    """OpenXR 1.0, 12.2 (XrFovf): tan(angle) is the edge of the picture at distance 1 along -z."""
    rng = np.random.default_rng(RNG_SEED)
    fov, size = (-0.9, 0.7, 0.6, -0.8), (300, 200)
    left, right, up, down = np.tan(fov)
    for eye, name in ((0, "left"), (1, "right")):
        world_from_space, space_from_view = random_place(rng), random_place(rng)
        view = view_of(xr_view(space_from_view, fov), eye, 7, size, world_from_space)
        assert view is not None
        assert (view.eye, view.t_ns, view.size) == (name, 7, size)
        point = np.array([0.21, -0.13, -1.7])  # in the view: right, below, ahead
        world = (world_from_space @ space_from_view).apply(point)
        seen = np.asarray(view.world_from_eye.inverse().apply(world))
        pixel = view.camera().matrix() @ (seen / seen[2])
        across = (point[0] / -point[2] - left) / (right - left) * size[0] - 0.5
        below = (up - point[1] / -point[2]) / (up - down) * size[1] - 0.5
        assert np.allclose(pixel[:2], [across, below], atol=1e-9)


def test_a_field_of_view_that_is_none_gives_no_view() -> None:
    broken = xr_view(Rigid.identity(), (0.0, 0.0, 0.0, 0.0))
    assert view_of(broken, 0, 0, (8, 8), Rigid.identity()) is None


def test_a_head_faces_where_openxr_looks() -> None:
    """Who looks along -z with y up has their left at -x; our head's x is its left, z its face."""
    head = head_of(Rigid.from_translation((0.1, 0.2, 0.3)), Rigid.identity())
    assert np.allclose(head.rotate(np.array([0.0, 0.0, 1.0])), [0, 0, -1])
    assert np.allclose(head.rotate(np.array([1.0, 0.0, 0.0])), [-1, 0, 0])
    assert np.allclose(head.rotate(np.array([0.0, 1.0, 0.0])), [0, 1, 0])
    assert np.allclose(head.xyz, [0.1, 0.2, 0.3])


@pytest.mark.parametrize("pitch", [0.0, 0.5, -1.2, np.pi / 2 - 1e-4, -np.pi / 2 + 1e-4])
def test_a_seat_is_level_and_turned_as_the_head(pitch: float) -> None:
    yaw, place = 0.7, np.array([0.4, 1.6, -0.2])
    turned = Rigid.from_rotvec((0.0, yaw, 0.0))
    seat = seat_of(Rigid.from_translation(place) @ turned @ Rigid.from_rotvec((pitch, 0.0, 0.0)))
    assert np.allclose(seat.matrix(), (Rigid.from_translation(place) @ turned).matrix(), atol=1e-6)


# Hands


def joint_locations(places: np.ndarray, flags: int = 15) -> np.ndarray:
    """(26,) as XR_EXT_hand_tracking hands them over."""
    joints = np.zeros(JOINTS, JOINT_LOCATION)
    joints["xyz"], joints["flags"], joints["xyzw"] = places, flags, (0, 0, 0, 1)
    return joints


def test_of_26_joints_the_palm_is_left_out_and_the_order_kept() -> None:
    places = np.random.default_rng(RNG_SEED).normal(size=(26, 3)).astype(np.float32)
    world_from_space = Rigid.from_rotvec((0.1, -0.4, 0.3), (1.0, 2.0, 3.0))
    found = webxr_joints_of(joint_locations(places), world_from_space)
    assert found is not None
    assert found.dtype == np.float32
    for name in WEBXR_JOINTS:
        wanted = world_from_space.apply(places[OPENXR_JOINTS.index(name)].astype(np.float64))
        assert np.allclose(found[WEBXR_JOINTS.index(name)], wanted, atol=1e-5), name


def test_a_joint_lies_in_memory_as_openxr_says() -> None:
    """XrHandJointLocationEXT: flags of 64 bits, quaternion xyzw, position, radius."""
    assert JOINT_LOCATION.itemsize == 40
    offsets = [JOINT_LOCATION.fields[name][1] for name in ("flags", "xyzw", "xyz", "radius")]  # pyright: ignore
    assert offsets == [0, 8, 24, 36]


def test_a_hand_that_is_guessed_in_part_is_absent() -> None:
    places = np.zeros((26, 3), np.float32)
    joints = joint_locations(places)
    joints["flags"][17] = 1  # turned as if known, placed nowhere
    assert webxr_joints_of(joints, Rigid.identity()) is None
    joints = joint_locations(places)
    joints["xyz"][25, 1] = np.inf
    assert webxr_joints_of(joints, Rigid.identity()) is None
    joints = joint_locations(places)
    joints["flags"][0] = 0  # the palm, which is left out anyway
    assert webxr_joints_of(joints, Rigid.identity()) is not None


def right_hand() -> np.ndarray:
    """(21, 3) float32 metres, wrist frame at the origin: a stretched hand."""
    joints = np.zeros((21, 3), np.float32)
    for finger, x in enumerate((-0.03, -0.02, 0.0, 0.02, 0.04)):
        for bone in range(4):
            joints[1 + 4 * finger + bone] = (x * (1 + 0.2 * bone), 0.0, -0.05 - 0.03 * bone)
    return joints


def face_at(place: Rigid) -> FacePose:
    ahead = np.tile(np.array([0, 0, 1], np.float32), (2, 1))
    return FacePose(np.zeros(52, np.float32), np.zeros((478, 3), np.float32), ahead, place, 1.0)


def sample_at(head: Rigid, right: np.ndarray | None = None) -> HeadsetSample:
    return HeadsetSample(0, head, None, right)


def test_the_wearers_hand_is_where_it_is_from_the_wearers_head() -> None:
    rng = np.random.default_rng(RNG_SEED)
    for _ in range(10):
        wearer = Rigid.from_rotvec((0.0, rng.uniform(-3, 3), 0.0), rng.normal(size=3))
        avatar = Rigid.from_rotvec((0.0, rng.uniform(-3, 3), 0.0), rng.normal(size=3))
        head_from_hand = Rigid.from_rotvec(rng.normal(size=3) * 0.3, (0.2, -0.3, 0.4))
        joints = np.asarray((wearer @ head_from_hand).apply(right_hand()), np.float32)
        (hand,) = hands_at(sample_at(wearer, webxr_joints(joints, "right")), face_at(avatar))
        wanted = np.asarray((avatar @ head_from_hand).apply(right_hand()))
        assert hand.side == "right"
        assert np.allclose(hand.joints, wanted, atol=1e-5)


def test_looking_down_at_a_hand_does_not_move_the_avatars() -> None:
    joints = webxr_joints(
        np.asarray(Rigid.from_translation((0.2, 1.2, 0.3)).apply(right_hand()), np.float32), "right"
    )
    level = Rigid.from_translation((0.0, 1.6, 0.0))
    avatar = face_at(Rigid.from_translation((0.0, 0.0, -0.6)))
    (straight,) = hands_at(sample_at(level, joints), avatar)
    down = level @ Rigid.from_rotvec((0.9, 0.0, 0.0))
    (looked_at,) = hands_at(sample_at(down, joints), avatar)
    assert np.allclose(straight.joints, looked_at.joints, atol=1e-6)
    assert not np.allclose(straight.joints[0], joints[0], atol=0.1), "it was moved to the avatar"


def test_points_on_a_line_are_no_hand() -> None:
    line = np.zeros((25, 3), np.float32)
    line[:, 2] = -np.arange(25) * 0.01
    assert hands_at(sample_at(Rigid.identity(), line), None) == ()


class _Sees:
    """A tracker that always sees the same hand."""

    def track(self, frame: Frame) -> TrackedState:
        joints = np.asarray(right_hand(), np.float32)
        seen = HandPose("right", joints, Rigid.identity(), np.zeros((5, 4), np.float32), 1.0)
        return TrackedState(frame.t_ns, "camera", None, (seen,))


def test_old_samples_and_none_leave_the_avatar_without_hands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    samples: Mailbox[HeadsetSample] = Mailbox()
    tracker = HeadsetHands(_Sees(), samples)
    frame = Frame(0, 5, Camera.from_fov((8, 8)), np.zeros((8, 8, 3), np.uint8))
    assert tracker.track(frame).hands == (), "what the camera saw is not the wearer's"
    monkeypatch.setattr("streams.mailbox.now_ns", lambda: 1_000_000_000)
    samples.put(sample_at(Rigid.identity(), webxr_joints(right_hand(), "right")))
    assert len(tracker.track(frame).hands) == 1
    monkeypatch.setattr("streams.mailbox.now_ns", lambda: 1_000_000_000 + FRESH_NS + 1)
    assert tracker.track(frame).hands == ()


def test_a_slow_frame_loop_is_no_sleeping_headset(monkeypatch: pytest.MonkeyPatch) -> None:
    samples: Mailbox[HeadsetSample] = Mailbox()
    tracker = HeadsetHands(_Sees(), samples)
    frame = Frame(0, 5, Camera.from_fov((8, 8)), np.zeros((8, 8, 3), np.uint8))

    def hands_ms(put_ms: tuple[int, ...], at_ms: int) -> int:
        for ms in put_ms:
            monkeypatch.setattr("streams.mailbox.now_ns", lambda: ms * 1_000_000)  # noqa: B023
            samples.put(sample_at(Rigid.identity(), webxr_joints(right_hand(), "right")))
        monkeypatch.setattr("streams.mailbox.now_ns", lambda: at_ms * 1_000_000)
        return len(tracker.track(frame).hands)

    assert hands_ms((1000,), 1000) == 1
    # One every 300 ms, of which the tracker sees every second one.
    assert hands_ms((1300, 1600), 1600) == 1
    assert hands_ms((), 2499) == 1
    assert hands_ms((), 2501) == 0
    # Two seconds are too old at any rate.
    assert hands_ms((7000,), 8999) == 1
    assert hands_ms((), 9001) == 0


# Times


def test_a_timespec_counts_nanoseconds() -> None:
    assert Timespec(12, 345_678_901).total_ns() == 12_345_678_901


def test_frames_tell_the_clock_within_a_period() -> None:
    """The wait returns up to 11 ms before the display; the runtime's clock is 5 s behind ours."""
    rng = np.random.default_rng(RNG_SEED)
    clock, period, behind = FrameClock(), 11_111_111, 5_000_000_000
    for frame in range(1000):
        display = 40_000_000_000 + frame * period
        returned = display + behind - int(rng.uniform(1e6, period))
        clock.note_frame(display, returned)
    late = clock.host_ns(display) - (display + behind)
    assert -period <= late <= 0
    assert clock.xr_time(clock.host_ns(display)) == display


def test_no_time_is_mapped_before_any_frame() -> None:
    with pytest.raises(OpenXrError, match="got none yet"):
        FrameClock().host_ns(5)


def test_a_clock_that_was_set_is_forgotten() -> None:
    clock = FrameClock()
    for frame in range(200):
        jump = 0 if frame < 100 else 60_000_000_000
        clock.note_frame(10_000_000_000 + frame * 10_000_000 + jump, frame * 10_000_000)
    assert clock.host_ns(70_000_000_000) == 0


# Session states


def test_a_whole_session() -> None:
    states = SessionStates()
    todo = [
        (state, states.enter(state), states.running, states.visible)
        for state in (
            "idle", "ready", "synchronized", "visible", "focused", "visible", "synchronized",
            "stopping", "idle", "exiting",
        )
    ]  # fmt: skip
    assert todo == [
        ("idle", "nothing", False, False),
        ("ready", "begin", True, False),
        ("synchronized", "nothing", True, False),
        ("visible", "nothing", True, True),
        ("focused", "nothing", True, True),
        ("visible", "nothing", True, True),
        ("synchronized", "nothing", True, False),
        ("stopping", "end", False, False),
        ("idle", "nothing", False, False),
        ("exiting", "leave", False, False),
    ]


@pytest.mark.parametrize("before", ["idle", "ready", "focused", "stopping"])
def test_a_session_can_be_lost_from_anywhere(before: str) -> None:
    states = SessionStates()
    states.enter(before)
    assert states.enter("loss pending") == "lose"
    assert not states.running


def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(ValueError, match="asleep"):
        SessionStates().enter("asleep")


def test_a_session_that_is_lost_again_and_again_is_given_up() -> None:
    reopening = Reopening(ReopeningOptions(limit=2, window_s=10.0))
    second = 1_000_000_000
    assert reopening.lost(0)
    assert reopening.lost(1 * second)
    assert not reopening.lost(2 * second)
    reopening = Reopening(ReopeningOptions(limit=2, window_s=10.0))
    assert all(reopening.lost(k * 6 * second) for k in range(20)), "now and then is borne for ever"


@pytest.mark.parametrize("near_far", [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0)])
def test_a_depth_range_has_an_extent(near_far: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="0 < near < far"):
        DepthRange(*near_far)


# What is missing


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="EGL is on Linux")
def test_a_runtime_without_egl_is_named() -> None:
    with pytest.raises(OpenXrError, match="does not offer XR_MNDX_egl_enable"):
        binding_extensions({OPENGL, "XR_EXT_hand_tracking"})
    assert binding_extensions({OPENGL, EGL, "more"}) == (OPENGL, EGL)


def test_without_pyopenxr_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xr", None)
    with pytest.raises(OpenXrError, match=r"pip install 'visavis\[openxr\]'"):
        load_xr()


def test_another_xr_is_not_taken_for_pyopenxr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xr", SimpleNamespace(__file__="xr.py"))  # pyright: ignore
    with pytest.raises(OpenXrError, match="is not pyopenxr"):
        load_xr()


def test_pyopengl_keeps_its_platform() -> None:
    _require_pyopenxr()
    code = (
        "import render.gl_context, OpenGL.platform as p; before = p.PLATFORM\n"
        "from headset.openxr.binding import load_xr; xr = load_xr()\n"
        "assert p.PLATFORM is before, type(p.PLATFORM); print(type(before).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "EGLPlatform"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="EGL is on Linux")
def test_the_verb_says_in_one_line_that_no_runtime_is_there(tmp_path) -> None:
    _require_pyopenxr()
    done = _preview("--source", "synthetic:still", XR_RUNTIME_JSON=str(tmp_path / "none.json"))
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("visavis: ")]
    assert "runtime" in line
    assert "XR_RUNTIME_JSON" in line
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"headset_hands": True}, "add --openxr"),
        ({"headset_space": "stage"}, "add --openxr"),
        ({"openxr": True, "headset_space": "moon"}, "expected one of local, stage"),
        ({"openxr": True, "debug_3d": True}, "leave --out and --debug-3d away"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Preview(**options).check()


def _require_pyopenxr() -> None:
    # Not imported here: that would change PyOpenGL's platform for every other test.
    if importlib.util.find_spec("xr") is None:
        pytest.skip("pyopenxr is not installed (extra openxr)")


def _preview(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-c", "from apps.command import main; main()"),
            *("preview", "--openxr", *arguments),
        ],
        env=os.environ | environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
