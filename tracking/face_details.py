"""What avatars need of a face beyond landmarks: expression, lids, lips and gaze of this person.

Between the landmark network and the record: the person's rest is subtracted, lids and lips close
fully, gaze outlives a blink.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from streams.tracked_state import PartConfidence
from tracking.contact import Gaps, closed_shapes
from tracking.gaze import gaze_from_iris
from tracking.gaze_memory import GazeMemory
from tracking.neutral_face import CalmMoment, NeutralFace, NotCalmError, learn_neutral
from tracking.visibility import ALL_SEEN, PartsSeen

FROM_OTHER_EYE = 0.4
"""Of an eye's confidence that the other one has, whose iris is not seen."""
Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FaceDetail:
    """Of one face in one picture."""

    blendshapes: Float32
    """(52,) float32 0..1, ARKit's order."""
    gaze: Float32
    """(2, 3) float32 unit vectors, head frame, the person's left eye first."""
    parts: PartConfidence


def _parts(believed: tuple[float, float], mouth: float) -> PartConfidence:
    left, right = believed
    # Eyes turn together, so what one does tells of the other, but not whether it looks nearer.
    return PartConfidence(
        max(left, FROM_OTHER_EYE * right), max(right, FROM_OTHER_EYE * left), mouth
    )


class FaceDetails:
    """Follows one person's face. Remembers gaze; `neutral` is the person's rest, or None."""

    def __init__(self, neutral: NeutralFace | None = None) -> None:
        self.neutral = neutral
        self._memory = GazeMemory()
        self._asked_s: float | None = None
        self._from_ns = 0
        self._moments: list[CalmMoment | None] | None = None
        self._said = ""

    def forget(self) -> None:
        """The next face is seen for the first time. A rest that is being learned is given up."""
        self._memory.forget()
        self._moments = None

    def ask_neutral(self, seconds: float) -> None:
        """Learn the person's rest from the next `seconds`, begun by the next picture. May be called
        from another thread. Raises ValueError unless seconds are above 0."""
        if not 0.0 < seconds <= 60.0:
            raise ValueError(f"ask_neutral: expected 0 to 60 seconds, got {seconds!r}")
        self._asked_s = seconds

    @property
    def neutral_said(self) -> str:
        """How learning the rest goes or went, one line; empty before it was asked for."""
        return self._said

    def of(
        self,
        t_ns: int,
        landmarks: Float32,
        blendshapes: Float32,
        camera_in_head: Array,
        seen: PartsSeen = ALL_SEEN,
    ) -> FaceDetail:
        """`landmarks` (478, 3) metres, head frame; `blendshapes` (52,) as the network gives them;
        `camera_in_head` (3,) metres; `seen` how much of its parts the picture shows."""
        gaps, calm = Gaps.of(landmarks), self.neutral
        own = gaps if calm is None else gaps.against(calm.gaps)
        look = gaze_from_iris(landmarks, blendshapes, camera_in_head, own, seen.eyes)
        self._learn(t_ns, CalmMoment(blendshapes, gaps, (look.yaw, look.pitch), camera_in_head))
        if calm is not None:
            blendshapes = calm.freed(blendshapes)
            yaw, pitch = calm.gaze
            look = replace(look, yaw=look.yaw - yaw, pitch=look.pitch - pitch)
        look = self._memory.follow(t_ns, look)
        return FaceDetail(
            closed_shapes(blendshapes, own), look.vectors(), _parts(look.believed, seen.mouth)
        )

    def unseen(self, t_ns: int) -> None:
        """A picture without a face."""
        self._memory.forget()
        self._learn(t_ns, None)

    def _learn(self, t_ns: int, moment: CalmMoment | None) -> None:
        if self._asked_s is not None and self._moments is None:
            self._moments, self._from_ns = [], t_ns
        if self._asked_s is None or self._moments is None:
            return
        self._moments.append(moment)
        left_s = self._asked_s - (t_ns - self._from_ns) * 1e-9
        self._said = f"neutral face: hold still, {max(left_s, 0.0):.1f} s"
        if left_s > 0.0:
            return
        moments, self._moments, self._asked_s = self._moments, None, None
        try:
            self.neutral = learn_neutral(moments)
            self._said = "neutral face: learned"
        except NotCalmError as error:
            self._said = str(error)
