"""`headset.openxr` without any runtime: places, hands, times, session states, what is missing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from headset.openxr.binding import OpenXrError
from headset.openxr.hands import JOINT_LOCATION, JOINTS, webxr_joints_of
from headset.openxr.poses import head_of, rigid_of, seat_of, view_of
from headset.openxr.projection_layer import DepthRange
from headset.openxr.runtime_clock import FrameClock, Timespec
from headset.openxr.session_states import Reopening, ReopeningOptions, SessionStates
from streams.hand_skeleton import OPENXR_JOINTS, WEBXR_JOINTS
from streams.rigid import Rigid

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


# Times


def test_a_timespec_counts_nanoseconds() -> None:
    assert Timespec(12, 345_678_901).total_ns() == 12_345_678_901


def test_frames_tell_the_clock_within_a_period() -> None:
    """The wait returns up to 11 ms before the display; the runtime's clock is 5 s behind ours."""
    rng = np.random.default_rng(RNG_SEED)
    clock, period, behind = FrameClock(), 11_111_111, 5_000_000_000
    for frame in range(1000):
        display = 40_000_000_000 + frame * period
        # Now and then a frame comes half a second late.
        lead = -500e6 if frame % 20 == 7 else rng.uniform(1e6, period)
        returned = display + behind - int(lead)
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
