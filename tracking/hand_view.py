"""One hand in one calibrated camera: what a skeleton is fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_array, require_finite
from streams.camera import Camera
from streams.projection import project
from streams.tracked_state import HandPose
from tracking.pose_fit import facing_along

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class HandView:
    """Where a camera saw the landmarks of a hand. All views of one fit share one world."""

    camera: Camera
    points: Array
    """(21, 2) float64 pixels of `camera`'s picture, MediaPipe's order."""
    weights: Array
    """(21,) float64, 0 or more: how much each landmark counts; 0 leaves it out (its pixels are then
    any finite numbers). 1 is a landmark as sure as a landmark net's usually is."""
    shape: Array | None = None
    """(21, 3) float64 metres: the landmark net's own 3D shape about any origin, OpenCV axes as seen
    along the ray to the hand, of any size (`HandMarks.shape`). None when there is none."""

    def __post_init__(self) -> None:
        for name, shape in (("points", (21, 2)), ("weights", (21,)), ("shape", (21, 3))):
            value = getattr(self, name)
            if value is None and name == "shape":
                continue
            checked = require_array(f"HandView.{name}", value, np.float64, shape)
            require_finite(f"HandView.{name}", checked)
            object.__setattr__(self, name, checked)
        if not (self.weights >= 0.0).all():
            raise ValueError(f"HandView.weights: expected 0 or more, got {self.weights.min():.4g}")

    @staticmethod
    def of_pose(camera: Camera, pose: HandPose) -> HandView:
        """What the landmark net must have seen of a tracked hand that was laid onto its rays, as
        `hand_placement` does: so that hands can be measured from tracked states.

        Raises ValueError when a joint lies behind the camera.
        """
        joints = pose.joints.astype(np.float64)
        points, depth = project(camera, joints)
        if not (depth > 0.0).all():
            raise ValueError("HandView.of_pose: expected a hand in front of the camera")
        in_camera = np.asarray(camera.world_from_camera.inverse().apply(joints))
        middle = in_camera.mean(0)
        shape = (in_camera - middle) @ facing_along(middle / middle[2])
        return HandView(camera, points, np.ones(21), shape)
