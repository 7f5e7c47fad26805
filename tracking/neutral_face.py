"""A person's own calm face, against which their expressions are measured.

The landmark network knows an average face at rest. A person's own rest shows as a frown, a squint
or a smile that is always there, narrow eyes as half a blink. A few seconds of a calm face tell what
to subtract. Nothing of it depends on the camera: blend shapes, gaps on the face's own scale, and
the gaze against the direction to the camera.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_array, require_finite
from streams.face_shapes import FACE_SHAPES, SHAPE_INDEX
from tracking.contact import USUAL_LIDS, Gaps

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

VERSION = 1
MOST_NEUTRAL = 0.8
"""No more of a shape is subtracted, so that a fifth of its range is left. (Brows and squint do rest
this high: the network's medians of nine real people are up to 0.94 and 0.65.)"""
MOST_MOUTH, MOST_JAW = 0.5, 0.15
"""Of the mouth's shapes and of jawOpen: above, a mouth smiles, pouts or is open."""
MOST_GAZE = np.deg2rad(15.0)
"""Radians between gaze and camera that are a person's eyes; beyond, they look elsewhere."""

_LOOKS = np.array([name.startswith("eyeLook") for name in FACE_SHAPES])
"""Where the eyes look is no expression."""
_MOUTH = np.array([name.startswith("mouth") for name in FACE_SHAPES])
_JAW_OPEN = SHAPE_INDEX["jawOpen"]
_LIDS = np.array([name.startswith(("eyeBlink", "eyeWide")) for name in FACE_SHAPES])


@dataclass(frozen=True, slots=True, eq=False)
class NeutralFace:
    """One person at rest, eyes open, lips together, looking into the camera."""

    blendshapes: Float32
    """(52,) float32 0..MOST_NEUTRAL: what the network says of it; 0 for the eyeLook shapes."""
    gaps: Gaps
    """Between lids and lips."""
    gaze: tuple[float, float]
    """Radians, yaw to the person's left and pitch upwards, by which gaze misses the camera."""

    def __post_init__(self) -> None:
        shapes = require_array("NeutralFace.blendshapes", self.blendshapes, np.float32, (52,))
        require_finite("NeutralFace.blendshapes", self.blendshapes)
        object.__setattr__(self, "blendshapes", shapes)
        if self.blendshapes.min() < 0.0 or self.blendshapes.max() > MOST_NEUTRAL + 1e-6:
            raise ValueError(
                f"NeutralFace.blendshapes: expected 0 to {MOST_NEUTRAL}, got "
                f"{self.blendshapes.min():.4g} to {self.blendshapes.max():.4g}"
            )
        others = (*self.gaps.lids, self.gaps.lips, *self.gaze)
        if not np.isfinite(others).all() or min(self.gaps.lids) <= 0.0:
            raise ValueError(
                f"NeutralFace: expected finite gaps with open lids, got {self.gaps}, {self.gaze}"
            )

    def freed(self, blendshapes: npt.NDArray[np.floating]) -> Float32:
        """(52,) 0..1 with this person's rest at 0 and 1 still at 1, each shape for itself."""
        rest = self.blendshapes.astype(np.float64)
        return np.clip((blendshapes - rest) / (1.0 - rest), 0.0, 1.0).astype(np.float32)

    def to_json(self) -> str:
        """As kept in a file or a session's notes."""
        return json.dumps(
            {
                "version": VERSION,
                "blendshapes": [round(float(n), 4) for n in self.blendshapes],
                "lids_m": [round(gap, 6) for gap in self.gaps.lids],
                "lips_m": round(self.gaps.lips, 6),
                "gaze_rad": [round(angle, 5) for angle in self.gaze],
            }
        )

    @staticmethod
    def from_json(text: str) -> NeutralFace:
        """The inverse of `to_json`, to its rounding. Raises ValueError for anything else."""
        try:
            data: Any = json.loads(text)
            if data["version"] != VERSION:
                raise ValueError(f"of version {data['version']!r}")
            lids, gaze = data["lids_m"], data["gaze_rad"]
            return NeutralFace(
                np.array(data["blendshapes"], np.float32),
                Gaps((float(lids[0]), float(lids[1])), float(data["lips_m"])),
                (float(gaze[0]), float(gaze[1])),
            )
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ValueError(
                f"neutral face: expected version {VERSION}, got something else ({error}); make it "
                "again with `visavis preview --neutral 3`"
            ) from error


class NotCalmError(ValueError):
    """The face was not calm enough to learn its rest from. The message says what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class CalmMoment:
    """What one picture says of a face that is meant to be calm."""

    blendshapes: Float32
    """(52,) float32, the network's own."""
    gaps: Gaps
    gaze: tuple[float, float]
    """Radians, yaw and pitch, head frame."""
    camera: Array
    """(3,) metres: where the camera stands in the head frame."""


FEWEST = 15
"""Pictures with a face."""
LEAST_SEEN = 0.8
"""Share of the pictures that show it."""
MOST_YAW, MOST_PITCH = np.deg2rad(15.0), np.deg2rad(20.0)
"""Radians that the face may be turned from the camera; cameras stand above screens."""
MOST_TURN, MOST_SHIFT = np.deg2rad(3.0), 0.04
"""Standard deviations: of the turn, radians, and of the distance, as its share."""
MOST_PLAY = 0.10
"""Of a blend shape that is neither lids nor eyes: upper quartile of its distance from its median.
Nine real people who talk have 0.13 to 0.63, in their quietest second and a half 0.07 to 0.26."""
BLINKING = 0.7
"""Of the median gap: pictures with less are blinks and left out."""
NARROWEST = 0.25 * USUAL_LIDS
"""Metres between lids that count as open."""


def learn_neutral(moments: Iterable[CalmMoment | None]) -> NeutralFace:
    """The rest of a face from a few seconds of it; None is a picture without a face.

    Raises NotCalmError when it was not seen, turned away, moved, made faces or shut its eyes.
    """
    every = list(moments)
    seen = [moment for moment in every if moment is not None]
    if len(seen) < FEWEST or len(seen) < LEAST_SEEN * len(every):
        raise NotCalmError(
            f"neutral face: expected a face in {FEWEST} pictures and most of all, got it in "
            f"{len(seen)} of {len(every)}; sit in the light, the whole face in the picture"
        )
    towards = np.array([moment.camera for moment in seen])
    turns = _angles(towards)
    yaw, pitch = np.median(turns, axis=0)
    if abs(yaw) > MOST_YAW or abs(pitch) > MOST_PITCH:
        raise NotCalmError(
            f"neutral face: expected a face turned to the camera, got {np.rad2deg(yaw):.0f} "
            f"degrees aside and {np.rad2deg(pitch):.0f} up or down; look straight into it"
        )
    distances = np.linalg.norm(towards, axis=1)
    if turns.std(axis=0).max() > MOST_TURN or distances.std() > MOST_SHIFT * distances.mean():
        raise NotCalmError("neutral face: the head moved; hold it still for a few seconds")
    lids = np.array([moment.gaps.lids for moment in seen])
    median = np.median(lids, axis=0)
    if median.min() < NARROWEST:
        raise NotCalmError("neutral face: the eyes were shut; keep them open")
    awake = (lids > BLINKING * median).all(axis=1)
    shapes = np.array([moment.blendshapes for moment in seen])[awake]
    rest = np.where(_LOOKS, 0.0, np.median(shapes, axis=0))
    # A shape's quietest half may rest while a mouth talks, so its loudest quarter counts.
    play = np.where(_LOOKS | _LIDS, 0.0, np.quantile(np.abs(shapes - rest), 0.75, axis=0))
    if play.max() > MOST_PLAY:
        raise NotCalmError(
            f"neutral face: the face moved ({FACE_SHAPES[int(play.argmax())]}); be calm, lips "
            "together, and do not speak"
        )
    beyond = np.where(_MOUTH, rest / MOST_MOUTH, 0.0)
    beyond[_JAW_OPEN] = rest[_JAW_OPEN] / MOST_JAW
    if beyond.max() > 1.0:
        raise NotCalmError(
            f"neutral face: this is an expression ({FACE_SHAPES[int(beyond.argmax())]}); be calm, "
            "lips together, and try again"
        )
    gaze = np.array([moment.gaze for moment in seen])[awake] - turns[awake]
    miss = np.median(gaze, axis=0)
    if np.abs(miss).max() > MOST_GAZE:
        raise NotCalmError("neutral face: the eyes looked elsewhere; look into the camera")
    lips = float(np.median([moment.gaps.lips for moment in seen]))
    calm = np.median(lids[awake], axis=0)
    return NeutralFace(
        np.minimum(rest.astype(np.float32), np.float32(MOST_NEUTRAL)),
        Gaps((float(calm[0]), float(calm[1])), lips),
        (float(miss[0]), float(miss[1])),
    )


def _angles(directions: Array) -> Array:
    """(N, 3) -> (N, 2) radians: yaw to the face's left, pitch upwards."""
    x, y, z = directions.T
    return np.stack([np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))], axis=-1)
