"""Slow twins of the tracker's own steps: as they read before they were made quick.

They are the specification; `test_tracking_twins` holds the quick ones to them.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from streams.camera import Camera
from streams.face_outlines import INNER_LIPS, LIDS
from streams.hand_skeleton import FINGER_JOINTS, PALM_JOINTS
from streams.rigid import Rigid
from streams.tracked_state import HandPose
from tracking.engine import FaceMarks, HandMarks, Picture
from tracking.hand_placement import BEFORE_FACE, INSIDE_FACE
from tracking.landmark_flow import (
    LEAST_TRUST,
    LEFT_SIDE,
    RIGHT_SIDE,
    SURFACE,
    LandmarkFlowOptions,
    spread_points,
)
from tracking.pose_fit import CONVERGED, OUTLIER, STEPS, PoseFit
from tracking.region import OUTER_CORNERS
from tracking.visibility import (
    EYES_APART,
    FACE_CROP,
    FINGERS,
    HAND_CROP,
    HAND_SIZE,
    LID,
    LIP,
    NO_FINGERS,
    NO_LID,
    NO_LIP,
    ONE_SKIN,
    SHARP,
    SMEARED,
    TWO_SKINS,
    PartsSeen,
)

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_LEAST_BRIGHTNESS = 0.05
_BESIDE_BONE = 10


def facing_along(ray: Array) -> Array:
    """(3, 3) the smallest rotation that takes +z to the direction of `ray` (3,)."""
    sine = float(np.hypot(ray[0], ray[1]))
    if sine < 1e-12:
        return np.eye(3)
    angle = float(np.arctan2(sine, ray[2]))
    return Rigid.from_rotvec(np.array([-ray[1], ray[0], 0.0]) / sine * angle).rotation()


def fit_pose(shape: Array, rays: Array, depth: Array, depth_weight: float) -> PoseFit:
    """Lay `shape` (N, 3) metres over `rays` (N, 3) with z = 1.

    `depth` (N,) is how far each point lies behind the others along the ray to their middle, as
    a part of the middle's distance along z; only differences count. `depth_weight` is the weight
    of a depth residual against one in the picture.

    Raises ValueError when the rays span no area or the shape lands behind the camera.
    """
    middle = rays.mean(0)
    stretch = float(np.linalg.norm(middle))
    axis = middle / stretch
    depth = depth - depth.mean()
    spread = float(np.sqrt(((rays - middle) ** 2).sum(-1).mean()))
    if not spread > 1e-6:
        raise ValueError(f"fit_pose rays: expected points that span an area, got spread {spread}")

    rotation, offset = _start(shape, rays, depth, axis)
    limit = OUTLIER * spread
    for _ in range(STEPS):
        turned = shape @ rotation.T
        points = turned + offset
        z = points[:, 2:]
        # d(point)/d(turn, shift): a small turn w moves a point by w x turned.
        moves = np.zeros((len(shape), 3, 6))
        moves[:, 0, 1], moves[:, 0, 2] = turned[:, 2], -turned[:, 1]
        moves[:, 1, 0], moves[:, 1, 2] = -turned[:, 2], turned[:, 0]
        moves[:, 2, 0], moves[:, 2, 1] = turned[:, 1], -turned[:, 0]
        moves[:, (0, 1, 2), (3, 4, 5)] = 1.0
        xy = points[:, :2] / z
        flat = (moves[:, :2] - xy[:, :, None] * moves[:, 2:]) / z[:, :, None]
        along = points @ axis
        mean = float(along.mean())
        deep = axis @ moves
        deep = (deep - deep.mean(0)) * (stretch / mean)
        off_xy = xy - rays[:, :2]
        off_z = (along / mean - 1.0) * stretch - depth
        weights = np.concatenate(
            [
                np.repeat(limit / np.maximum(np.sqrt((off_xy * off_xy).sum(-1)), limit), 2),
                depth_weight**2 * limit / np.maximum(np.abs(off_z), limit),
            ]
        )
        rows = np.concatenate([flat.reshape(-1, 6), deep])
        weighted = (rows * weights[:, None]).T
        normal = weighted @ rows
        normal[np.diag_indices(6)] *= 1.0 + 1e-9
        step = np.linalg.solve(normal, weighted @ np.concatenate([off_xy.reshape(-1), off_z]))
        rotation = Rigid.from_rotvec(-step[:3]).rotation() @ rotation
        offset = offset - step[3:]
        if np.abs(step).max() < CONVERGED:
            break

    points = shape @ rotation.T + offset
    if not (points[:, 2] > 0.0).all():
        raise ValueError("fit_pose: expected a shape in front of the camera, got one behind it")
    missed = points[:, :2] / points[:, 2:] - rays[:, :2]
    error = float(np.median(np.sqrt((missed * missed).sum(-1))) / spread)
    return PoseFit(rotation, offset, error)


def _start(shape: Array, rays: Array, depth: Array, axis: Array) -> tuple[Array, Array]:
    """Scaled orthography about `axis`: the similarity of shape to picture (Umeyama 1991)."""
    facing = facing_along(axis)
    flat = (rays / (rays @ axis)[:, None]) @ facing  # In axes whose z is the axis.
    middle = np.append(flat[:, :2].mean(0), 1.0)
    centre = shape.mean(0)
    b = np.column_stack([flat[:, :2] - middle[:2], depth])
    a = shape - centre
    u, s, vt = np.linalg.svd(b.T @ a)
    s[2] *= np.sign(np.linalg.det(u @ vt))
    u[:, 2] *= np.sign(np.linalg.det(u @ vt))
    rotation = u @ vt
    distance = float((a * a).sum()) / max(float(s.sum()), 1e-9)
    return facing @ rotation, facing @ (middle * distance - rotation @ centre)


def parts_seen(rgb: Picture, landmarks: npt.NDArray[np.floating]) -> PartsSeen:
    """Of a face whose landmarks are (478, 2 or more) pixels in `rgb`."""
    marks = landmarks[:468, :2].astype(np.float64)
    right, left = marks[OUTER_CORNERS[0]], marks[OUTER_CORNERS[1]]
    across = left - right
    apart = max(float(np.hypot(*across)), 1.0)
    turn = np.array([[across[0], across[1]], [-across[1], across[0]]]) / apart
    small, seen = _small(rgb, marks, turn * (EYES_APART / apart), FACE_CROP)
    grey = small @ _GREY
    inner = grey[FACE_CROP // 4 : -FACE_CROP // 4, FACE_CROP // 4 : -FACE_CROP // 4]
    brightness = max(float(np.median(inner)), _LEAST_BRIGHTNESS)
    lids = [_shown(grey, seen[list(rim)], brightness, NO_LID, LID) for rim in LIDS]
    lips = _shown(grey, seen[list(INNER_LIPS)], brightness, NO_LIP, LIP)
    return PartsSeen((lids[0], lids[1]), lips)


def hand_seen(rgb: Picture, landmarks: npt.NDArray[np.floating]) -> float:
    """0..1 of the hand of (21, 2) pixels in `rgb`."""
    marks = landmarks[:, :2].astype(np.float64)
    size = max(float((marks.max(0) - marks.min(0)).max()), 1.0)
    small, seen = _small(rgb, marks, np.eye(2) * (HAND_SIZE / size), HAND_CROP)
    grey = small @ _GREY
    colours = _sampled(small, seen[None])[0]
    brightness = max(float(np.median(colours @ _GREY)), _LEAST_BRIGHTNESS)
    start = seen[FINGER_JOINTS[:, :-1]].reshape(-1, 2)
    end = seen[FINGER_JOINTS[:, 1:]].reshape(-1, 2)
    way = end - start
    length = np.linalg.norm(way, axis=1)
    long = length > 2.0
    if not long.any():
        return 0.0
    start, way, length = start[long], way[long], length[long]
    aside = np.stack([-way[:, 1], way[:, 0]], axis=1) / length[:, None]
    beside = np.arange(-_BESIDE_BONE, _BESIDE_BONE + 1.0)
    at = np.concatenate([start + 0.35 * way, start + 0.65 * way])
    lines = at[:, None] + beside[:, None] * np.tile(aside, (2, 1))[:, None]
    profile = _sampled(grey, lines)
    steps = np.abs(np.diff(profile, axis=1))
    # Before a dark room even a blurred hand has high steps, but no sudden ones.
    sudden = float(np.median(steps.max(1) / np.maximum(np.ptp(profile, axis=1), 0.02)))
    steps /= brightness
    # A finger has an edge on either side; one that is crossed by a cover has one at most.
    both = np.minimum(steps[:, :_BESIDE_BONE].max(1), steps[:, _BESIDE_BONE:].max(1))
    edges = _level(both, NO_FINGERS, FINGERS)
    chroma = colours / (colours.sum(1, keepdims=True) + 1e-3)
    spread = float(np.linalg.norm(chroma - np.median(chroma, axis=0), axis=1).mean())
    one_surface = 1.0 - _ramp(spread, ONE_SKIN, TWO_SKINS)
    return edges * _ramp(sudden, SMEARED, SHARP) * (0.3 + 0.7 * one_surface)


def _small(rgb: Picture, marks: Array, to_small: Array, side: int) -> tuple[Float32, Array]:
    """A (side, side, 3) float32 0..1 picture round the middle of the marks, and where they lie."""
    shrinks = float(np.sqrt(abs(np.linalg.det(to_small))))
    middle = (marks.min(0) + marks.max(0)) / 2.0
    half = side / shrinks
    low = np.floor(np.maximum(middle - half, 0.0)).astype(int)
    high = np.ceil(np.minimum(middle + half, rgb.shape[1::-1])).astype(int) + 1
    part = rgb[low[1] : max(high[1], low[1] + 1), low[0] : max(high[0], low[0] + 1)]
    if part.size == 0:
        return np.zeros((side, side, 3), np.float32), np.zeros_like(marks)
    if shrinks < 0.6:  # Against aliasing.
        part = cv2.GaussianBlur(part, (0, 0), 0.45 / shrinks)
    offset = (side - 1) / 2.0 - to_small @ middle
    warp = np.column_stack([to_small, offset + to_small @ low])
    small = cv2.warpAffine(part, warp, (side, side), flags=cv2.INTER_LINEAR)
    return np.asarray(small, np.float32) / np.float32(255.0), marks @ to_small.T + offset


def _shown(grey: Float32, rim: Array, brightness: float, none: float, full: float) -> float:
    """Of a closed outline (N, 2): steps of brightness across it, one pixel to either side."""
    ahead = np.roll(rim, -1, axis=0)
    at = np.concatenate([rim, (rim + ahead) / 2.0])
    along = np.concatenate([ahead - np.roll(rim, 1, axis=0), ahead - rim])
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)
    lines = at[:, None] + np.array([-1.0, 0.0, 1.0])[:, None] * across[:, None]
    steps = np.abs(np.diff(_sampled(grey, lines), axis=1)).max(1) / brightness
    return _level(steps, none, full)


def _level(steps: npt.NDArray[np.floating], none: float, full: float) -> float:
    """0..1: the mean counts, and the weakest quarter, which tells of half a cover."""
    strength = 0.5 * float(steps.mean()) + 0.7 * float(np.quantile(steps, 0.25))
    return _ramp(strength, none, full)


def _sampled(picture: Float32, at: Array) -> Float32:
    """(H, W) or (H, W, 3) at (..., N, 2) pixels, bilinear; 0 beyond its edge."""
    x, y = (
        np.ascontiguousarray(at[..., 0], np.float32),
        np.ascontiguousarray(at[..., 1], np.float32),
    )
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR), np.float32)


def _ramp(value: float, low: float, high: float) -> float:
    return min(max((value - low) / (high - low), 0.0), 1.0)


def lies_on_face(
    marks: HandMarks,
    hand: HandPose,
    face: npt.NDArray[np.floating],
    camera: Camera,
    world_from_head: Rigid,
) -> bool:
    """Whether engines took a part of the face (a mouth, a beard) for this hand.

    A hand that is seen before the face is nearer than the face, hence at least as long in the
    picture, and its wrist comes from outside. So what lies wholly inside the face's outline and
    is no larger than a hand at the face's distance is no hand. `face` (478, 2 or more) pixels.
    """
    outline = cv2.convexHull(np.ascontiguousarray(face[:, :2], np.float32))
    inside = [
        cv2.pointPolygonTest(outline, (float(x), float(y)), False) >= 0 for x, y in marks.landmarks
    ]
    camera_from_world = camera.world_from_camera.inverse()
    depth = float(np.asarray(camera_from_world.apply(hand.joints[PALM_JOINTS]))[:, 2].mean())
    head_depth = float((camera_from_world @ world_from_head).xyz[2])
    return float(np.mean(inside)) >= INSIDE_FACE and depth > BEFORE_FACE * head_depth


class SlowFlow:
    """`tracking.landmark_flow.LandmarkFlow` on whole grey pictures, its field landmark by
    landmark."""

    def __init__(self, average_face: Array, options: LandmarkFlowOptions) -> None:
        self._options = options
        self._points = spread_points(average_face, options.points)
        width = float(np.linalg.norm(average_face[LEFT_SIDE] - average_face[RIGHT_SIDE]))
        apart = average_face[:, None] - average_face[None, self._points]
        self._near = np.exp(-0.5 * (apart**2).sum(2) / (options.reach * width) ** 2)
        self._last: tuple[npt.NDArray[np.uint8], Array, Array] | None = None

    def moved(self, rgb: Picture, t_ms: int, marks: FaceMarks) -> Array:
        """Without gaps: `t_ms` is not looked at."""
        grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        seen = marks.landmarks[:SURFACE, :2].astype(np.float64)
        moved = np.zeros_like(seen)
        if self._last is not None:
            moved = self._carried(*self._last, grey, seen)
        self._last = grey, seen, seen + moved
        return moved

    def _carried(
        self,
        before: npt.NDArray[np.uint8],
        said: Array,
        old: Array,
        grey: npt.NDArray[np.uint8],
        seen: Array,
    ) -> Array:
        o, at = self._options, self._points
        low, high = old.min(0), old.max(0)
        scale = o.crop / max(float((high - low).max()) * 1.3, 1.0)
        offset = (o.crop - 1) / 2.0 - scale * (low + high) / 2.0
        to_crop = np.array([[scale, 0.0, offset[0]], [0.0, scale, offset[1]]])
        a, b = (
            np.asarray(
                cv2.warpAffine(p, to_crop, (o.crop, o.crop), flags=cv2.INTER_LINEAR), np.uint8
            )
            for p in (before, grey)
        )
        start = (old[at] * scale + offset)[:, None].astype(np.float32)
        guess = ((old + seen - said)[at] * scale + offset)[:, None].astype(np.float32)
        there, found = self._followed(a, b, start, guess)
        back, found_back = self._followed(b, a, there, start.copy())
        missed = ((back - start)[:, 0].astype(np.float64) ** 2).sum(1)
        beyond = (there[:, 0] - offset) / scale - seen[at]
        width = max(float(np.linalg.norm(seen[LEFT_SIDE] - seen[RIGHT_SIDE])), 1.0)
        apart = np.maximum((beyond**2).sum(1), 1e-12) / width**2
        trust = np.exp(-missed / o.round_trip**2) * np.minimum(1.0, o.slip**2 / apart)
        trust *= found & found_back
        carried = np.median(np.linalg.norm((there - start)[:, 0], axis=1)) / (scale * width)
        pull = o.pull_moving + (o.pull - o.pull_moving) * float(np.exp(-((carried / o.speed) ** 2)))
        moved = np.zeros_like(seen)
        for landmark, near in enumerate(self._near):
            share = near * trust
            total = share.sum() + LEAST_TRUST * near.sum()
            moved[landmark] = (1.0 - pull) * (share[:, None] * beyond)[trust > 0].sum(0) / total
        return moved

    def _followed(
        self, a: Picture, b: Picture, start: Float32, guess: Float32
    ) -> tuple[Float32, npt.NDArray[np.bool_]]:
        found, status, _ = cv2.calcOpticalFlowPyrLK(
            a, b, start, guess,
            winSize=(self._options.window, self._options.window), maxLevel=self._options.levels,
            criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03),
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )  # fmt: skip
        fine = np.asarray(np.isfinite(found[:, 0]).all(axis=1), bool)
        return np.where(fine[:, None, None], found, start), (status[:, 0] > 0) & fine
