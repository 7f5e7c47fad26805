"""Hands fitted to landmarks: against slow twins, against the truth, and what must not happen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.optimize import least_squares

from assets.manifest import asset_path
from capture.frame_source import open_source
from streams.camera import Distortion
from streams.hand_skeleton import HandParts, HandShape, joint_angles, wrist_frame
from streams.projection import project
from streams.rigid import Rigid
from tests.seen_hands import joint_error_mm, rig, seen_hand, user_hand
from tracking import hand_fit
from tracking.engines.mediapipe_tasks import Confidences, MediaPipeHands
from tracking.hand_fit import HandFit, fit_hand, fit_hands
from tracking.hand_kinematics import Hands, Skeletons, landmark_moves, posed, turned_by
from tracking.hand_limits import HIGHEST, LOWEST
from tracking.hand_sight import DEPTH_ERROR, LANDMARK_ERROR, FacingView
from tracking.hand_view import HandView
from tracking.user_hand import UserHand, palm_span

Array = npt.NDArray[np.float64]
NUMPY, TORCH = np.zeros(0), torch.zeros(0, dtype=torch.float64)


def random_hands(random: np.random.Generator, count: int) -> tuple[list[UserHand], Hands]:
    users = [user_hand(random, side) for side in random.choice(["left", "right"], count)]
    turns = [Rigid.from_rotvec(random.normal(0.0, 1.0, 3)).rotation() for _ in users]
    angles = random.uniform(LOWEST, HIGHEST, (count, 22))
    return users, Hands(np.stack(turns), random.normal(0.0, 0.3, (count, 3)), angles)


def test_kinematics_is_that_of_the_skeleton_in_streams() -> None:
    users, hands = random_hands(np.random.default_rng(1), 7)
    at = posed(hands, Skeletons.of(users, NUMPY), np)
    sideways = np.zeros((7, 5, 2))
    sideways[:, 0] = hands.angles[:, 20:]
    parts = HandParts(
        tuple(user.side for user in users),
        np.stack([user.shape.bases for user in users]),
        np.stack([user.shape.bones for user in users]),
        hands.angles[:, :20].reshape(7, 5, 4),
        sideways,
    )
    turn = hands.rotation[:, None, None]
    world = parts.joints() @ hands.rotation.swapaxes(1, 2) + hands.place[:, None]
    assert np.abs(at.joints - world).max() < 1e-12
    assert np.abs(at.rotations - turn @ parts.rotations()).max() < 1e-12
    # A tip's landmark lies beside it in the last bone's frame, a knuckle's in the wrist's.
    for index, user in enumerate(users):
        beside = at.landmarks[index] - at.joints[index]
        assert np.allclose(beside[8], at.rotations[index, 1, 2] @ user.offsets[8])
        assert np.allclose(beside[13], hands.rotation[index] @ user.offsets[13])


def test_derivatives_are_those_of_autograd_and_of_both_libraries() -> None:
    users, hands = random_hands(np.random.default_rng(2), 3)
    skeletons = Skeletons.of(users, NUMPY)
    ours = landmark_moves(hands, posed(hands, skeletons, np), skeletons, np)
    of_torch = Skeletons.of(users, TORCH)
    tensors = Hands(*(torch.tensor(part) for part in (hands.rotation, hands.place, hands.angles)))

    def moved(step: torch.Tensor) -> torch.Tensor:
        turned = turned_by(tensors.rotation, step[:, :3], torch)
        held = Hands(turned, tensors.place + step[:, 3:6], tensors.angles + step[:, 6:])
        return posed(held, of_torch, torch).landmarks

    still = torch.zeros(3, 28, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(moved, still)
    assert isinstance(jacobian, torch.Tensor)
    for hand in range(3):
        assert np.abs(jacobian[hand, :, :, hand].numpy() - ours[hand]).max() < 1e-12
    also = landmark_moves(tensors, posed(tensors, of_torch, torch), of_torch, torch)
    assert np.abs(also.numpy() - ours).max() < 1e-12


class SlowFit:
    """`hand_solver` written as its docstring says it, with a numeric Jacobian, by scipy."""

    def __init__(self, views: list[HandView], user: UserHand, start: HandFit) -> None:
        self.views, self.user, self.start = views, user, start
        self.facing = [FacingView.of(view) for view in views]
        self.seen = sum(bool(view.weights.any()) for view in views)

    def landmarks(self, x: Array) -> Array:
        turned = Rigid.from_rotvec(x[:3]) @ Rigid(self.start.world_from_wrist.wxyz)
        place = self.start.world_from_wrist.xyz + x[3:6]
        hands = Hands(turned.rotation()[None], place[None], x[None, 6:])
        return posed(hands, Skeletons.of([self.user], NUMPY), np).landmarks[0]

    def terms(self, x: Array) -> Array:
        """What half the sum of squares of is the cost."""
        alone = self.seen == 1
        limit = (hand_fit.ALONE_DOUBT if alone else hand_fit.LANDMARK_DOUBT) ** 2
        landmarks = self.landmarks(x)
        rows: list[Array] = []
        for view in self.facing:
            seen = landmarks @ view.turn.T + view.shift
            off = seen[:, :2] / seen[:, 2:] - view.marks
            square = (off**2).sum(-1) / (LANDMARK_ERROR * view.spread) ** 2
            deep = np.zeros(21)
            if view.shape is not None:
                net = view.shape[:, 2] * (
                    self.user.palm_span() / palm_span(view.shape[[0, 5, 9, 13, 17]])
                )
                deep = seen[:, 2] - seen[:, 2].mean() - (net - net.mean())
                deep = (deep / (DEPTH_ERROR * self.seen)) ** 2
            each = square / (1.0 + square / limit) + deep / (1.0 + deep / limit)
            whole = float((view.weights * each).sum())
            if self.seen > 1:
                mean = whole / float(view.weights.sum())
                whole /= 1.0 + mean / hand_fit.VIEW_DOUBT**2
            # The same sum in as many terms, because scipy wants more residuals than unknowns.
            share = view.weights * each / max(float((view.weights * each).sum()), 1e-300)
            rows.append(np.sqrt(whole * share))
        prior, wanted, _, _ = hand_fit._beliefs()
        return np.concatenate([*rows, prior @ x[6:] - wanted])

    def cost(self, x: Array) -> float:
        return 0.5 * float((self.terms(x) ** 2).sum())

    def solve(self) -> Array:
        angles = np.append(self.start.angles.ravel(), self.start.sideways[0])
        free = np.full(6, np.inf)
        bounds = np.concatenate([-free, LOWEST]), np.concatenate([free, HIGHEST])
        x = np.append(np.zeros(6), np.clip(angles, LOWEST + 1e-6, HIGHEST - 1e-6))
        return least_squares(self.terms, x, bounds=bounds, xtol=1e-10, ftol=1e-10, gtol=1e-10).x


def as_x(fit: HandFit, start: HandFit) -> Array:
    turn = Rigid(fit.world_from_wrist.wxyz) @ Rigid(start.world_from_wrist.wxyz).inverse()
    shift = fit.world_from_wrist.xyz - start.world_from_wrist.xyz
    return np.concatenate([turn.rotvec(), shift, fit.angles.ravel(), fit.sideways[0]])


def check_against_twin(views: list[HandView], user: UserHand) -> None:
    fit = fit_hand(views, user)
    slow = SlowFit(views, user, fit)
    x = slow.solve()
    # It is the same cost, and nowhere near is one that is lower by more than the last step's gain.
    assert fit.cost == pytest.approx(slow.cost(as_x(fit, fit)), rel=1e-9)
    assert fit.cost <= slow.cost(x) * (1.0 + 2e-3)
    assert np.abs(slow.landmarks(x) - fit.landmarks).max() < 0.003


@pytest.mark.parametrize("name", ["mono", "stereo", "four"])
@pytest.mark.parametrize("with_shape", [True, False])
def test_no_slow_solver_finds_better_on_random_hands(name: str, with_shape: bool) -> None:
    random = np.random.default_rng(3)
    user = user_hand(random, "left" if with_shape else "right")
    check_against_twin(seen_hand(random, user, rig(name), with_shape=with_shape).views, user)


@pytest.fixture(scope="module")
def real_views() -> list[tuple[str, HandView]]:
    """What MediaPipe says of the shipped clip."""
    found: list[tuple[str, HandView]] = []
    engine = MediaPipeHands(
        asset_path("models/hand_landmarker.task"), Confidences(0.5, 0.5, 0.5), 2, 1
    )
    with open_source(f"video:{asset_path('clips/demo')}") as source:
        for index, frame in enumerate(source):
            if index % 12 == 0:
                marks = engine.look(np.ascontiguousarray(frame.rgb), index * 33)
                for hand in marks:
                    points, shape = hand.landmarks.astype(float), hand.shape.astype(float)
                    view = HandView(frame.camera, points, np.ones(21), shape)
                    found.append((hand.side, view))
    engine.close()
    assert len(found) >= 10
    return found


def test_no_slow_solver_finds_better_on_a_real_clip(
    real_views: list[tuple[str, HandView]],
) -> None:
    for side, view in real_views[::6]:
        check_against_twin([view], UserHand.average(side))


def test_a_real_clip_is_covered_within_a_part_of_the_hand(
    real_views: list[tuple[str, HandView]],
) -> None:
    off = []
    for side, view in real_views:
        fit = fit_hand([view], UserHand.average(side))
        pixels, _ = project(view.camera, fit.landmarks)
        size = float(np.ptp(view.points, axis=0).max())
        off.append(np.median(np.linalg.norm(pixels - view.points, axis=-1)) / size)
        assert fit.errors[0] == pytest.approx(off[-1] * size, rel=0.2)
        assert HandShape.of(fit.joints, side).bones == pytest.approx(
            UserHand.average(side).shape.bones, abs=1e-9
        )
    # An average hand's bones, not this person's, hence not nothing.
    assert np.median(off) < 0.015


@pytest.mark.parametrize(("name", "most_mm"), [("mono", 6.0), ("stereo", 2.5), ("four", 1.5)])
def test_known_bones_are_found(name: str, most_mm: float) -> None:
    """One pixel of noise at 520 pixels of focal length and 45 cm is 0.9 mm."""
    random = np.random.default_rng(4)
    errors, warm = [], []
    for index in range(20):
        user = user_hand(random, ("left", "right")[index % 2])
        seen = seen_hand(random, user, rig(name))
        fit = fit_hand(seen.views, user)
        errors.append(joint_error_mm(fit.joints, seen.joints))
        warm.append(joint_error_mm(fit_hand(seen.views, user, fit).joints, seen.joints))
    assert np.median(errors) < most_mm
    assert np.median(warm) < most_mm


def test_offsets_left_out_make_a_fit_worse() -> None:
    random = np.random.default_rng(5)
    known, unknown = [], []
    for _ in range(10):
        user = user_hand(random, "right", 0.006)
        seen = seen_hand(random, user, rig("four"))
        known.append(joint_error_mm(fit_hand(seen.views, user).joints, seen.joints))
        bare = UserHand(user.shape)
        unknown.append(joint_error_mm(fit_hand(seen.views, bare).joints, seen.joints))
    assert np.median(known) < 0.5 * np.median(unknown)


@pytest.mark.parametrize(("flatness", "most_mm"), [(1.0, 1.1), (0.3, 1.1)])
def test_several_views_measure_depth_themselves(flatness: float, most_mm: float) -> None:
    """However flat the net takes the hand to be, alike in all views."""
    random = np.random.default_rng(14)
    errors = []
    for _ in range(12):
        user = user_hand(random, "right")
        seen = seen_hand(random, user, rig("four"))
        flat = [
            replace(view, shape=view.shape * [1.0, 1.0, flatness])
            for view in seen.views
            if view.shape is not None
        ]
        errors.append(joint_error_mm(fit_hand(flat, user).joints, seen.joints))
    assert np.mean(errors) < most_mm


def test_many_hands_in_torch_are_those_one_by_one_in_numpy() -> None:
    random = np.random.default_rng(6)
    views, users = [], []
    for name in ("four", "mono", "stereo", "four"):
        users.append(user_hand(random, "left"))
        views.append(seen_hand(random, users[-1], rig(name)).views)
    cold = fit_hands(views, users)
    for seen, user, fit in zip(views, users, cold, strict=True):
        assert joint_error_mm(fit.joints, fit_hand(seen, user).joints) < 0.1
    warm = fit_hands(views, users, cold)
    for seen, user, start, fit in zip(views, users, cold, warm, strict=True):
        assert joint_error_mm(fit.joints, fit_hand(seen, user, start).joints) < 0.1
    assert fit_hands([], []) == []


def test_a_view_of_something_else_is_left_out() -> None:
    random = np.random.default_rng(7)
    for _ in range(5):
        user = user_hand(random, "right")
        seen, other = (seen_hand(random, user, rig("four")) for _ in range(2))
        wrong = other.views[2]
        points = wrong.points[:, ::-1] + [60.0, -40.0]
        views = [*seen.views[:2], replace(wrong, points=points), seen.views[3]]
        fit = fit_hand(views, user)
        assert fit.trust[2] < 0.1 * fit.trust[[0, 1, 3]].min()
        assert joint_error_mm(fit.joints, seen.joints) < 2.0
        # Nor does a camera that somebody knocked have a say, though no landmark is far off.
        knocked = replace(seen.views[2], points=seen.views[2].points + [14.0, 9.0])
        fit = fit_hand([*seen.views[:2], knocked, seen.views[3]], user)
        assert fit.trust[2] < 0.2 * fit.trust[[0, 1, 3]].min()
        assert joint_error_mm(fit.joints, seen.joints) < 2.0


def test_a_view_without_weight_leaves_the_other_alone() -> None:
    """To rounding: with nothing to contradict it, landmarks are believed longer."""
    user = UserHand.average("left")
    views = seen_hand(np.random.default_rng(3), user, list(rig("stereo")), noise=2.0).views
    blind = [views[0], replace(views[1], weights=np.zeros(21))]
    assert np.allclose(
        fit_hand(blind, user).joints, fit_hand(views[:1], user).joints, rtol=0.0, atol=1e-6
    )


def test_a_landmark_that_slipped_moves_little() -> None:
    random = np.random.default_rng(8)
    user = user_hand(random, "left")
    seen = seen_hand(random, user, rig("four"))
    points = seen.views[0].points.copy()
    points[8] += [90.0, 70.0]
    fit = fit_hand([replace(seen.views[0], points=points), *seen.views[1:]], user)
    assert np.linalg.norm(fit.joints - seen.joints, axis=-1).max() < 0.004
    assert fit.trust[0] > 0.6 * fit.trust[1:].min(), "the rest of that view is good"
    # One without weight may be anywhere.
    points[8] = 1e7
    weights = np.ones(21)
    weights[8] = 0.0
    views = [replace(seen.views[0], points=points, weights=weights), *seen.views[1:]]
    assert joint_error_mm(fit_hand(views, user).joints, seen.joints) < 2.0


def test_joints_stay_within_their_limits() -> None:
    random = np.random.default_rng(9)
    user = user_hand(random, "right")
    for _ in range(5):
        seen = seen_hand(random, user, rig("mono"), noise=12.0)
        fit = fit_hand(seen.views, user)
        angles = np.append(fit.angles.ravel(), fit.sideways[0])
        assert (angles >= LOWEST).all()
        assert (angles <= HIGHEST).all()


def test_a_lost_start_is_given_up() -> None:
    random = np.random.default_rng(10)
    user = user_hand(random, "right")
    first, second = (seen_hand(random, user, rig("stereo")) for _ in range(2))
    start = fit_hand(first.views, user)
    away = replace(start, world_from_wrist=Rigid.from_rotvec([0.0, 0.0, 3.0], [0.4, 0.3, -0.3]))
    found = fit_hand(second.views, user, away)
    assert joint_error_mm(found.joints, second.joints) < 5.0


@pytest.mark.parametrize(
    "distortion",
    [
        Distortion("pinhole_brown", (-0.2, 0.05, 1e-3, -1e-3, 0.0)),
        Distortion("fisheye", (-0.03, 0.01, 0.0, 0.0)),
    ],
)
def test_lenses(distortion: Distortion) -> None:
    random = np.random.default_rng(11)
    cameras = [replace(camera, distortion=distortion) for camera in rig("stereo")]
    user = user_hand(random, "left")
    seen = seen_hand(random, user, cameras, noise=0.2)
    fit = fit_hand(seen.views, user)
    assert joint_error_mm(fit.joints, seen.joints) < 1.5
    pixels, _ = project(cameras[0], fit.landmarks)
    assert np.median(np.linalg.norm(pixels - seen.views[0].points, axis=-1)) < 0.5


def test_what_leaves_is_a_hand_pose_of_the_same_angles() -> None:
    random = np.random.default_rng(12)
    user = user_hand(random, "right")
    fit = fit_hand(seen_hand(random, user, rig("stereo")).views, user)
    pose = fit.pose(0.7)
    assert joint_angles(pose.joints, "right") == pytest.approx(pose.angles, abs=1e-4)
    assert pose.world_from_wrist.angle_to(wrist_frame(pose.joints, "right")) < 1e-4


def test_bad_input() -> None:
    random = np.random.default_rng(13)
    user = user_hand(random, "right")
    (view,) = seen_hand(random, user, rig("mono")).views
    with pytest.raises(ValueError, match=r"HandView.points: expected float64 \(21, 2\)"):
        replace(view, points=view.points[:20])
    with pytest.raises(ValueError, match=r"HandView\.weights: expected 0 or more"):
        replace(view, weights=-view.weights)
    with pytest.raises(ValueError, match=r"HandView\.shape: expected finite"):
        replace(view, shape=np.full((21, 3), np.nan))
    with pytest.raises(ValueError, match="expected one with weight, got 1 without"):
        fit_hand([replace(view, weights=np.zeros(21))], user)
    with pytest.raises(ValueError, match="expected one with weight, got 0 without"):
        fit_hand([], user)
    with pytest.raises(ValueError, match="span an area"):
        fit_hand([replace(view, points=np.tile([100.0, 100.0], (21, 1)))], user)
    fit = fit_hand([view], user)
    with pytest.raises(ValueError, match="expected a left hand, got a right one"):
        fit_hand([view], user.mirrored(), fit)
    with pytest.raises(ValueError, match="as many views and starts as users, got 1, 2 and 2"):
        fit_hands([[view]], [user, user])
    line = np.linspace(0.0, 1.0, 21)[:, None] * [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="points on a line"):
        fit_hand([replace(view, shape=line)], user)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_many_hands_on_a_gpu() -> None:
    random = np.random.default_rng(14)
    user = user_hand(random, "right")
    views = [seen_hand(random, user, rig("stereo")).views for _ in range(8)]
    for gpu, cpu in zip(
        fit_hands(views, [user] * 8, device="cuda"), fit_hands(views, [user] * 8), strict=True
    ):
        assert joint_error_mm(gpu.joints, cpu.joints) < 0.1
