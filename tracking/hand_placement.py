"""One hand into the world: an average hand's shape, laid over its points in the picture.

One camera cannot tell a small hand from a far one. All hands are therefore taken as large as an
average adult's, which sets their distance; where the head is seen too, the distance is kept within
an arm's reach of it. The joints lie on the rays of the picture, so that what is drawn covers what
was seen, at depths that come from the engine's 3D shape.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from streams.camera import Camera
from streams.hand_skeleton import PALM_JOINTS, PALM_LENGTH, joint_angles, wrist_frame
from streams.rigid import Rigid
from streams.tracked_state import HandPose
from tracking.engine import HandMarks
from tracking.pose_fit import fit_pose, part_inside, rays_through
from tracking.user_hand import palm_span

Array = npt.NDArray[np.float64]

PALM_SPAN = 0.444 * PALM_LENGTH
"""Metres: root mean square distance of the palm's joints from their middle, of an average adult."""

HAND_LENGTH = 0.18
"""Metres, wrist to finger tip, of an average adult: the size by which filters of a hand's shape in
space are scaled."""

NEAREST, FARTHEST = 0.1, 3.0
"""Metres from the camera between which a hand is believed."""
REACH_FORWARD, REACH_BACK = 0.75, 0.25
"""Metres by which a hand may be nearer to the camera than the head, and farther."""
DEPTH_WEIGHT = 0.5
"""Of the engine's 3D shape along the ray against the picture."""
INSIDE_FACE = 0.9
"""Part of the joints inside the face's outline from which a hand is suspect."""
BEFORE_FACE = 0.85
"""A hand nearer than this part of the head's distance is believed even there."""
WORST_ERROR = 0.35
"""Misfit, as a part of the hand's spread in the picture, at which confidence reaches 0."""


def place_hand(
    camera: Camera, marks: HandMarks, world_from_head: Rigid | None = None
) -> HandPose | None:
    """The hand in the world, or None when no plausible hand stands behind the marks."""
    shape = np.asarray(marks.shape, np.float64)
    span = palm_span(shape[PALM_JOINTS])
    if not (np.isfinite(shape).all() and np.isfinite(marks.landmarks).all() and span > 1e-3):
        return None
    shape = shape * (PALM_SPAN / span)
    rays = rays_through(camera, marks.landmarks)
    try:
        # The engine turned the shape as seen along the ray, hence its z is the relative depth; the
        # distance that makes it a part of the whole follows from the sizes.
        depth = shape[:, 2] * inverse_distance(shape, rays)
        fit = fit_pose(shape, rays, depth, DEPTH_WEIGHT)
        along = fit.apply(shape)[:, 2]
        palm_depth = reachable_depth(camera, float(along[PALM_JOINTS].mean()), world_from_head)
        if not NEAREST <= palm_depth <= FARTHEST:
            return None
        joints = rays * (along * (palm_depth / float(along[PALM_JOINTS].mean())))[:, None]
        world = np.ascontiguousarray(camera.world_from_camera.apply(joints), np.float32)
        return HandPose(
            marks.side,
            world,
            wrist_frame(world, marks.side),
            joint_angles(world, marks.side),
            confidence_of(camera, marks, fit.error),
        )
    except (ValueError, np.linalg.LinAlgError):
        # Points on a line or behind the camera: MediaPipe's answer to something that is no hand.
        return None


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
    camera_from_world = camera.world_from_camera.inverse()
    depth = float(np.asarray(camera_from_world.apply(hand.joints[PALM_JOINTS]))[:, 2].mean())
    head_depth = float((camera_from_world @ world_from_head).xyz[2])
    if depth <= BEFORE_FACE * head_depth:
        return False
    points, outline = marks.landmarks, np.ascontiguousarray(face[:, :2], np.float32)
    # Few hands are even in the box round the face.
    boxed = ((points >= outline.min(0)) & (points <= outline.max(0))).all(1)
    if boxed.mean() < INSIDE_FACE:
        return False
    outline = cv2.convexHull(outline)
    inside = [cv2.pointPolygonTest(outline, (float(x), float(y)), False) >= 0 for x, y in points]
    return float(np.mean(inside)) >= INSIDE_FACE


def inverse_distance(shape: npt.NDArray[np.floating], rays: npt.NDArray[np.floating]) -> float:
    """1 / metres, from the spread across the ray in the picture and in the shape."""
    in_picture = float(((rays - rays.mean(0)) ** 2).sum())
    in_shape = float(((shape[:, :2] - shape[:, :2].mean(0)) ** 2).sum())
    return float(np.sqrt(in_picture / max(in_shape, 1e-12)))


def reachable_depth(camera: Camera, depth: float, world_from_head: Rigid | None) -> float:
    """`depth` in metres along the camera's z, held within reach of the head, where one is seen."""
    if world_from_head is None:
        return depth
    head = float((camera.world_from_camera.inverse() @ world_from_head).xyz[2])
    return min(max(depth, head - REACH_FORWARD), head + REACH_BACK)


def at_part_of_distance(pose: HandPose, camera: Camera, part: float) -> HandPose:
    """The same in the camera's picture at `part` of its distance, hence so many times as large."""
    centre = camera.world_from_camera.xyz
    wrist = pose.world_from_wrist
    joints = centre + part * (pose.joints - centre)
    return replace(
        pose,
        joints=joints.astype(np.float32),
        world_from_wrist=Rigid(wrist.wxyz, centre + part * (wrist.xyz - centre)),
    )


def confidence_of(camera: Camera, marks: HandMarks, error: float) -> float:
    """The side's score, times the part of the joints inside the picture, times how well the hand's
    3D shape and its picture agree."""
    agreement = min(max(1.0 - error / WORST_ERROR, 0.0), 1.0)
    return min(max(marks.score * part_inside(camera, marks.landmarks) * agreement, 0.0), 1.0)
