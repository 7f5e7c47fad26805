"""Where the annotated points of public face data lie among MediaPipe's 478 landmarks.

A layout gives for each annotated point the landmarks whose mean stands for it. The 68 points of
iBUG are those published as Mediapipe_2_Dlib_Landmarks (Peizhi Yan, 2024), the jaw as corrected in
that project's issue 4. A jaw's points lie anywhere along its outline, so errors of engines are
judged by the inner 51.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

MEDIAPIPE_LANDMARKS = 478


@dataclass(frozen=True, slots=True)
class FaceLayout:
    """The points of one data set, in its order."""

    landmarks: tuple[tuple[int, ...], ...]
    """For each point the indices of MediaPipe's landmarks whose mean it is."""
    outer_eye_corners: tuple[int, int]
    """Points whose distance is the unit of errors."""
    inner: slice | None
    """iBUG's inner 51 points (brows, nose, eyes, mouth); None where a set has other points."""

    def points(self, landmarks: npt.ArrayLike) -> Array:
        """(478, 2 or more) pixels in MediaPipe's order -> (points, 2) in this layout's."""
        given = np.asarray(landmarks, np.float64)
        if given.ndim != 2 or given.shape[0] != MEDIAPIPE_LANDMARKS or given.shape[1] < 2:
            raise ValueError(
                f"FaceLayout.points: expected ({MEDIAPIPE_LANDMARKS}, 2), got {given.shape}"
            )
        return np.array([given[list(each), :2].mean(axis=0) for each in self.landmarks])


def _each(*landmarks: int) -> tuple[tuple[int, ...], ...]:
    return tuple((index,) for index in landmarks)


_JAW = (
    ((234, 127), (93,), (132,), (58,), (172,), (136,), (149, 150), (176,), (152,))
    + ((400,), (379, 378), (365,), (397,), (288,), (361,), (323,), (454, 356))
)  # fmt: skip
_BROWS = _each(70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
_NOSE = ((168, 6), (197, 195), *_each(5, 4, 98, 97, 2, 326, 327))
_EYES = _each(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
_OUTER_LIP = _each(61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 91)
_INNER_LIP = _each(78, 82, 13, 312, 308, 317, 14, 87)

IBUG_68 = FaceLayout(
    _JAW + _BROWS + _NOSE + _EYES + _OUTER_LIP + _INNER_LIP, (36, 45), slice(17, 68)
)
"""300-W's markup: jaw, brows, nose, eyes, lips, the person's right first."""

AFLW_19 = FaceLayout(
    # Brows; the corners and middles of the eyes; nose; mouth; chin.
    (*_each(70, 105, 107, 336, 334, 300), *_each(33, 468, 133, 362, 473, 263))
    + (*_each(98, 4, 327), (61,), (13, 14), (291,), (152,)),
    (6, 11),
    None,
)
"""Of AFLW's 21 points those without the ears."""

COFW_29 = FaceLayout(
    # Brows' ends, then their upper and lower edges; eyes' corners, lids and irises.
    _each(70, 300, 107, 336, 105, 52, 334, 282, 33, 263, 133, 362, 159, 145, 386, 374, 468, 473)
    # Nose's sides, tip and base; mouth's corners and lips from above; chin.
    + _each(98, 327, 4, 2, 61, 291, 0, 13, 14, 17, 152),
    (8, 9),
    None,
)

WFLW_TO_IBUG = (
    *range(0, 33, 2), *range(33, 38), *range(42, 47), *range(51, 60),
    *(60, 61, 63, 64, 65, 67), *(68, 69, 71, 72, 73, 75), *range(76, 96),
)  # fmt: skip
"""Of WFLW's 98 points those that are iBUG's 68, in iBUG's order."""

LAPA_TO_IBUG = (
    *range(0, 33, 2), *range(33, 38), *range(42, 47), *range(51, 55), *range(58, 63),
    *(66, 67, 69, 70, 71, 73), *(75, 76, 78, 79, 80, 82), *range(84, 104),
)  # fmt: skip
"""Of LaPa's 106 points likewise."""
