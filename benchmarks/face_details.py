"""Gaze under lids at every height, blinks and lip contact against what synthetic people act.

    python -m benchmarks.face_details [--avatar NAME ...] [--tracker litert]

Gaze: mean error in degrees (yaw, pitch) after each person's own offset under open lids is taken
away, as a neutral face does. Lids and lips: what the network alone says, and what is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tyro

from apps.sources import Artist
from assets.manifest import asset_path
from avatar.eye_balls import gaze_angles
from capture.performance import Expression, Performance
from capture.speech import Speech
from capture.synthetic import SyntheticOptions, SyntheticPerson
from streams.camera import Camera
from streams.face_shapes import SHAPE_INDEX
from streams.tracked_state import FacePose
from streams.view import View
from tracking.canonical_face import read_canonical_face
from tracking.engine import subjects_face
from tracking.engine_lanes import Wanted, open_face_engine
from tracking.engines.face_pipeline import FaceSettings
from tracking.face_details import FaceDetails
from tracking.head_pose import fit_head
from tracking.net import FACE_BUNDLE
from tracking.visibility import parts_seen

Float32 = npt.NDArray[np.float32]

LIDS = (0.0, 0.2, 0.4, 0.55, 0.7, 0.85, 1.0)
"""eyeBlink; the synthetic people's lids touch at 0.7 to 0.8."""
LOOKS = ((0, 0), (18, 0), (-18, 0), (9, 6), (-9, -6), (0, 10), (0, -10))
LOOK_S = 0.4
SAID = (
    "m aa m aa . m i m u m o . aa f aa m e m . d i s i m aa r d m i m . u m aa s i m u f m aa",
    "i m u m aa m e m o m . s d i e m aa",
)
BLINK = [SHAPE_INDEX["eyeBlinkLeft"], SHAPE_INDEX["eyeBlinkRight"]]
LEVELS = {"open": (0.0, 0.25), "half": (0.35, 0.45), "nearly": (0.5, 0.6), "shut": (0.65, 1.01)}
LIP_MM = {
    "mouthLowerDownLeft": 1.85, "mouthLowerDownRight": 1.85,
    "mouthUpperUpLeft": 2.35, "mouthUpperUpRight": 2.35, "mouthFunnel": 14.0,
}  # fmt: skip
"""By how many millimetres a whole shape parts the template's lips; jawOpen less mouthClose: 34."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One picture."""

    truth: FacePose
    network: Float32
    """(52,): the network's own blend shapes."""
    told: Float32
    gaze: Float32


def lids() -> Performance:
    """Lids at each height while the eyes look about."""
    expressions: list[Expression] = []
    looks: list[tuple[float, float, float]] = []
    at_s = 0.3
    for level in LIDS:
        length_s = len(LOOKS) * LOOK_S
        expressions.append(Expression(at_s - 0.1, length_s - 0.15, {"eyeBlink": level}, 0.1, 0.1))
        looks += [(at_s + LOOK_S * k, *look) for k, look in enumerate(LOOKS)]
        at_s += length_s + 0.1
    return Performance(
        "lids", at_s, expressions=tuple(expressions), gaze_deg=tuple(looks), sway=0.5
    )


def talk() -> Performance:
    """Many lip contacts and blinks."""
    first = Speech(SAID[0], 0.4)
    second = Speech(SAID[1], first.end_s + 0.5)
    blinks = tuple(np.arange(0.6, second.end_s, 0.9).tolist())
    turns = ((2.0, 10.0, 0.0, 0.0), (4.0, -12.0, 4.0, 0.0), (6.0, 0.0, -5.0, 3.0))
    return Performance(
        "talk", second.end_s + 0.4, speech=(first, second), blinks_s=blinks, head_deg=turns
    )


def watch(person: str, performance: Performance, fps: float, tracker: str) -> Iterator[Seen]:
    """Film and follow one face."""
    bundle = asset_path(FACE_BUNDLE)
    average = read_canonical_face(bundle)
    camera = Camera.from_fov((640, 480), np.deg2rad(56.0), name=person)
    artist = Artist(View.from_camera(camera), person)
    options = SyntheticOptions(camera=camera, fps=fps, noise=1.5)
    wanted = Wanted(tracker, FaceSettings(), None, {FACE_BUNDLE: bundle}, patience_s=30.0)
    engine, details = open_face_engine(wanted), FaceDetails()
    with SyntheticPerson(performance, artist, options, release=artist.close) as source:
        for frame in source:
            truth = source.truth(frame.seq).face
            marks = subjects_face(engine.look(frame.rgb, frame.t_ns // 1_000_000))
            if marks is None or truth is None:
                details.unseen(frame.t_ns)
                continue
            fit = fit_head(camera, marks.landmarks, average)
            place = (fit.world_from_head.inverse() @ camera.world_from_camera).xyz
            seen = parts_seen(frame.rgb, marks.landmarks)
            found = details.of(frame.t_ns, fit.landmarks, marks.blendshapes, place, seen)
            yield Seen(truth, marks.blendshapes, found.blendshapes, found.gaze)
    engine.close()


def lips_mm(shapes: Float32) -> float:
    """By how much these shapes part the template's lips."""
    jaw = shapes[SHAPE_INDEX["jawOpen"]] - shapes[SHAPE_INDEX["mouthClose"]]
    others = sum(shapes[SHAPE_INDEX[name]] * mm for name, mm in LIP_MM.items())
    return float(34.0 * max(jaw, 0.0) + others)


def gaze_errors(seen: list[Seen]) -> dict[str, npt.NDArray[np.float64]]:
    """Degrees of yaw and pitch by the height of the lids."""
    closed = np.array([one.truth.blendshapes[BLINK].mean() for one in seen])
    off = np.rad2deg([gaze_angles(one.gaze) - gaze_angles(one.truth.gaze) for one in seen])
    off = off - np.median(off[closed < LEVELS["open"][1]], axis=0)
    return {
        name: np.abs(off[(closed >= low) & (closed < high)]).mean((0, 1))
        for name, (low, high) in LEVELS.items()
    }


def closings(seen: list[Seen]) -> list[str]:
    """Shares of shut lids and met lips that are told as such, and of others that are told falsely;
    the network's first."""
    shut = np.array([one.truth.blendshapes[BLINK].mean() >= 0.85 for one in seen])
    wide = np.array([one.truth.blendshapes[BLINK].mean() <= 0.45 for one in seen])
    gap = np.array([lips_mm(one.truth.blendshapes) for one in seen])
    lines = []
    for name in ("network", "told"):
        shapes = [one.network if name == "network" else one.told for one in seen]
        blink = np.array([s[BLINK].mean() for s in shapes])
        lips = np.array([lips_mm(s) for s in shapes])
        lines.append(
            f"{name}: eyeBlink while shut {blink[shut].mean():.2f}, at least 0.95 in "
            f"{(blink[shut] >= 0.95).mean():.0%}, falsely in {(blink[wide] >= 0.9).mean():.0%}; "
            f"lips that meet {lips[gap < 0.6].mean():.2f} mm apart, within 0.8 mm in "
            f"{(lips[gap < 0.6] < 0.8).mean():.0%}, falsely in {(lips[gap > 3.0] < 0.8).mean():.0%}"
        )
    return lines


def main(
    avatar: tuple[str, ...] = ("default", "amara", "mei", "walter"), tracker: str = "litert"
) -> None:
    """Print a few lines a person."""
    for person in avatar:
        held = gaze_errors(list(watch(person, lids(), 15.0, tracker)))
        talked = list(watch(person, talk(), 30.0, tracker))
        blinks = gaze_errors(talked)
        for what, errors in (("held lids", held), ("blinks", blinks)):
            shown = ", ".join(f"{name} {e[0]:.1f}/{e[1]:.1f}" for name, e in errors.items())
            print(f"{person:8} gaze, {what}: {shown}")
        for line in closings(talked):
            print(f"{person:8} {line}")


if __name__ == "__main__":
    tyro.cli(main)
