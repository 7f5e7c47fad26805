"""What a face does at one moment, as a few plain numbers: the words in which a guide can ask."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from avatar.eye_balls import gaze_angles
from streams.face_shapes import SHAPE_INDEX
from streams.tracked_state import FacePose

_BOTH = {
    name: [SHAPE_INDEX[f"{name}{side}"] for side in ("Left", "Right")]
    for name in ("eyeBlink", "mouthSmile", "mouthPress")
}
BROWS, LID_CORNERS = [105, 66, 296, 334], [33, 133, 263, 362]
"""MediaPipe's points. The brows' height in millimetres tells more than the shapes: on people whose
brows are high at rest browInnerUp is near 1 throughout, and drawn frowns leave browDown at 0."""


@dataclass(frozen=True, slots=True)
class FaceSignals:
    """Angles in degrees, shapes 0..1."""

    turn: float
    """Yaw of the head to the person's left of the line to the camera."""
    nod: float
    """Pitch of the head above that line."""
    tilt: float
    """Roll of the head to the person's left shoulder."""
    look: float
    """Yaw of the gaze to the person's left of the head's own front, mean of the eyes."""
    look_up: float
    """Pitch of the gaze above the head's own front."""
    jaw: float
    lids: float
    """How closed the more open eye is."""
    smile: float
    pucker: float
    press: float
    """Lips pressed together or rolled in."""
    brows: float
    """Millimetres of the brows above the lids' corners."""

    @staticmethod
    def of(face: FacePose) -> FaceSignals:
        """Of a face in the world of a webcam: the camera is at the origin."""
        shapes, marks = face.blendshapes, face.landmarks[:, 1]
        turn, nod = head_angles(face)
        across = face.world_from_head.rotate(np.array([1.0, 0.0, 0.0]))
        gaze = np.rad2deg(gaze_angles(face.gaze)).mean(0)

        def both(name: str) -> float:
            return float(shapes[_BOTH[name]].min())

        return FaceSignals(
            turn=turn,
            nod=nod,
            tilt=-float(np.rad2deg(np.arcsin(np.clip(across[1], -1.0, 1.0)))),
            look=float(gaze[0]),
            look_up=float(gaze[1]),
            jaw=float(shapes[SHAPE_INDEX["jawOpen"]]),
            lids=both("eyeBlink"),
            smile=both("mouthSmile"),
            pucker=float(shapes[SHAPE_INDEX["mouthPucker"]]),
            press=max(float(shapes[SHAPE_INDEX["mouthRollLower"]]), both("mouthPress")),
            brows=1e3 * float(marks[BROWS].mean() - marks[LID_CORNERS].mean()),
        )


def head_angles(face: FacePose) -> tuple[float, float]:
    """Degrees that the head is turned to the person's left and up, seen from the camera at the
    world's origin: who looks straight into it has (0, 0) wherever the head is."""
    camera = face.world_from_head.inverse().xyz
    return (
        -float(np.rad2deg(np.arctan2(camera[0], camera[2]))),
        -float(np.rad2deg(np.arctan2(camera[1], np.hypot(camera[0], camera[2])))),
    )


REST_S = 12.0
"""Time constant of what counts as rest; until then it is the mean of what was seen."""


class Rest:
    """A person's own rest, from which looks, nods and brows are measured: where the screen is,
    what a tracker takes for straight ahead and the brows' usual height differ between people. It
    follows slowly, so a minute's new posture becomes rest and a grimace does not."""

    def __init__(self) -> None:
        self._at: FaceSignals | None = None
        self._seen_s = 0.0

    def relative(self, signals: FaceSignals, step_s: float) -> FaceSignals:
        """The signals with nod, look, look_up and brows counted from rest."""
        self._seen_s += max(0.0, step_s)
        at = self._at or signals
        share = step_s / min(REST_S, self._seen_s) if self._seen_s > 0 else 0.0
        self._at = at = replace(
            at,
            nod=at.nod + share * (signals.nod - at.nod),
            look=at.look + share * (signals.look - at.look),
            look_up=at.look_up + share * (signals.look_up - at.look_up),
            brows=at.brows + share * (signals.brows - at.brows),
        )
        return replace(
            signals,
            nod=signals.nod - at.nod,
            look=signals.look - at.look,
            look_up=signals.look_up - at.look_up,
            brows=signals.brows - at.brows,
        )
