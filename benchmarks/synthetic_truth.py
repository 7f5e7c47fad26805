"""Does the tracker see the synthetic people as it sees real ones, and how far from the truth?

    python -m benchmarks.synthetic_truth [--avatar NAME ...] [--scene demo] [--fps 10]

For each person: how often face and hands are found, head pose and gaze against the truth in
degrees, the 2D distance of hand joints in palm lengths, and the correlation of blend shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tyro

from apps.sources import open_synthetic
from avatar.eye_balls import gaze_angles
from capture.synthetic import SyntheticOptions
from streams.camera import Camera
from streams.face_shapes import SHAPE_INDEX
from streams.projection import project
from streams.tracked_state import TrackedState
from tracking.evaluation import hand_shape_error
from tracking.tracker import Tracker

SHAPES = {
    "jawOpen": ("jawOpen",),
    "eyeBlink": ("eyeBlinkLeft", "eyeBlinkRight"),
    "mouthSmile": ("mouthSmileLeft", "mouthSmileRight"),
    "browInnerUp": ("browInnerUp",),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One person in one scene."""

    face: float
    """Share of the frames with a face in which one is found."""
    hands: float
    """Share of the hands wholly in the picture that are found, on the right side."""
    head_deg: float
    """Median angle between tracked and true head."""
    pitch_deg: float
    """Median of the tracked head's turn about its x axis against the truth."""
    gaze_deg: tuple[float, float]
    """Median absolute error of yaw and pitch while the eyes are open."""
    hand_shape: float
    """Median distance of joints after similarity alignment, in palm lengths."""
    correlation: dict[str, float]


def look(avatar: str, scene: str = "demo", fps: float = 10.0) -> Seen:
    """Film a person and track the pictures."""
    camera = Camera.from_fov((640, 480), np.deg2rad(56.0), name=f"synthetic {avatar}")
    options = SyntheticOptions(camera=camera, fps=fps, noise=1.5)
    pairs: list[tuple[TrackedState, TrackedState]] = []
    with open_synthetic(scene, options, avatar) as source, Tracker.open() as tracker:
        pairs = [(source.truth(frame.seq), tracker.track(frame)) for frame in source]
    return measure(camera, pairs)


def measure(camera: Camera, pairs: list[tuple[TrackedState, TrackedState]]) -> Seen:
    """(truth, tracked) -> figures."""
    faces = [(t.face, s.face) for t, s in pairs if t.face is not None]
    both = [(t, s) for t, s in faces if s is not None]
    turns = np.array([(t.world_from_head.inverse() @ s.world_from_head).rotvec() for t, s in both])
    open_eyed = [(t, s) for t, s in both if t.blendshapes[SHAPE_INDEX["eyeBlinkLeft"]] < 0.3]
    gaze = np.array([gaze_angles(s.gaze) - gaze_angles(t.gaze) for t, s in open_eyed])
    wanted = [
        (hand, s.hand(hand.side))
        for t, s in pairs
        for hand in t.hands
        if _inside(camera, hand.joints)
    ]
    found = [(t, s) for t, s in wanted if s is not None]
    correlation = {}
    for name, shapes in SHAPES.items():
        columns = [SHAPE_INDEX[shape] for shape in shapes]
        truth = np.array([t.blendshapes[columns].mean() for t, _ in both])
        seen = np.array([s.blendshapes[columns].mean() for _, s in both])
        correlation[name] = float(np.corrcoef(truth, seen)[0, 1])
    yaw, pitch = np.degrees(np.median(np.abs(gaze), axis=(0, 1)))
    return Seen(
        face=len(both) / max(len(faces), 1),
        hands=len(found) / max(len(wanted), 1),
        head_deg=float(np.degrees(np.median(np.linalg.norm(turns, axis=1)))),
        pitch_deg=float(np.degrees(np.median(turns[:, 0]))),
        gaze_deg=(float(yaw), float(pitch)),
        hand_shape=float(
            np.median([hand_shape_error(t.joints, s.joints) for t, s in found] or [1])
        ),
        correlation=correlation,
    )


def _inside(camera: Camera, joints: npt.NDArray[np.float32]) -> bool:
    """True when every joint lies in the picture."""
    pixels, depth = project(camera, joints)
    inside = (pixels >= 0).all(-1) & (pixels <= np.array(camera.size) - 1).all(-1)
    return bool((inside & (depth > 0)).all())


def main(
    avatar: tuple[str, ...] = ("default", "amara", "mei", "walter"),
    scene: str = "demo",
    fps: float = 10.0,
) -> None:
    """Print one line a person."""
    for name in avatar:
        seen = look(name, scene, fps)
        shapes = ", ".join(f"{shape} r {r:.2f}" for shape, r in seen.correlation.items())
        print(
            f"{name:8} face {seen.face:.0%}, hands {seen.hands:.0%}, head {seen.head_deg:.1f} deg "
            f"(pitch {seen.pitch_deg:+.1f}), gaze {seen.gaze_deg[0]:.1f}/{seen.gaze_deg[1]:.1f} "
            f"deg, hand shape {seen.hand_shape:.3f} palm; {shapes}"
        )


if __name__ == "__main__":
    tyro.cli(main)
