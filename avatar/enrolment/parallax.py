"""Whether a head that turned is solid: a flat picture that is turned obeys a homography.

The points of a plane move between two views by one homography (Hartley and Zisserman 2004, section
13.1); a nose in front of cheeks does not. Two signs are asked for together: how far MediaPipe's
points lie off their best homography, and how badly the picture itself, warped by it, matches. On
four people who turned 18 to 30 degrees the first was 0.026 to 0.046 of the face's size and the
second 0.23 to 0.55; on photographs turned until tracking lost them, 0.008 at 20 degrees (match
0.97) to 0.030 at 49 (0.69), and there the tracker reported 13 degrees at most.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from streams.frame import Frame
from streams.mirror import mirror_frame
from streams.projection import project
from streams.tracked_state import FacePose

Float32 = npt.NDArray[np.float32]

FIXED = np.array(
    [
        1, 2, 4, 5, 6, 10, 33, 54, 67, 93, 109, 111, 114, 117, 119, 121, 127, 133, 134, 143, 168,
        188, 195, 197, 198, 234, 263, 284, 297, 323, 338, 340, 343, 346, 348, 350, 356, 362, 363,
        372, 412, 420, 454,
    ]
)  # fmt: skip
"""MediaPipe's points that talking and blinking move little: nose, lid corners, cheek bones,
temples, forehead and the outline beside the ears."""
LEAST_OFF_PLANE, MOST_MATCH = 0.022, 0.72


@dataclass(frozen=True, slots=True, eq=False)
class FaceView:
    """One picture of a face, reduced to what parallax is measured on."""

    points: Float32
    """(n, 2) pixels of FIXED."""
    grey: Float32
    """(H, W), smoothed."""

    @staticmethod
    def of(frame: Frame, face: FacePose) -> FaceView:
        """A mirrored frame is looked at as if taken without."""
        seen = mirror_frame(frame) if frame.mirrored else frame
        marks = face.landmarks[FIXED].astype(np.float64)
        points, _ = project(seen.camera, face.world_from_head.apply(marks))
        grey = cv2.cvtColor(seen.rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
        blur = max(1.0, float(np.ptp(points[:, 0])) / 120.0)
        smooth = np.asarray(cv2.GaussianBlur(grey, (0, 0), blur), np.float32)
        return FaceView(points.astype(np.float32), smooth)


@dataclass(frozen=True, slots=True)
class Parallax:
    """What a plane does not explain of two views."""

    off_plane: float
    """RMS of the points off the best homography, of the face's size."""
    match: float
    """Correlation of the second picture's detail with the first one's, warped; 1 = the same."""

    @property
    def solid(self) -> bool:
        """Whether both signs say so."""
        return self.off_plane >= LEAST_OFF_PLANE and self.match <= MOST_MATCH

    @staticmethod
    def between(front: FaceView, turned: FaceView) -> Parallax:
        """Of two views; (0, 1) where no homography can be fitted."""
        homography, _ = cv2.findHomography(front.points, turned.points, 0)
        if homography is None:
            return Parallax(0.0, 1.0)
        mapped = cv2.perspectiveTransform(front.points[None], homography)[0]
        size = float(np.linalg.norm(np.ptp(turned.points, axis=0)))
        off = float(np.sqrt(((mapped - turned.points) ** 2).sum(1).mean())) / max(size, 1.0)
        height, width = turned.grey.shape
        warped = np.asarray(
            cv2.warpPerspective(front.grey, homography, (width, height)), np.float32
        )
        inside = np.zeros((height, width), np.uint8)
        outline = cv2.convexHull(np.rint(turned.points).astype(np.int32))
        cv2.fillConvexPoly(inside, outline, 1)
        return Parallax(off, _correlation(warped, turned.grey, inside > 0, size / 12.0))


def _correlation(
    a: npt.NDArray[np.floating],
    b: npt.NDArray[np.floating],
    mask: npt.NDArray[np.bool_],
    blur: float,
) -> float:
    """Of what a blur takes away of both, inside the mask."""
    if mask.sum() < 64:
        return 1.0
    x = (a - cv2.GaussianBlur(a, (0, 0), blur))[mask]
    y = (b - cv2.GaussianBlur(b, (0, 0), blur))[mask]
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / max(float(np.sqrt((x * x).sum() * (y * y).sum())), 1e-9))
