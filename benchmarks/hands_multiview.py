"""How far hands that several cameras see are from where they are.

    python -m benchmarks.hands_multiview                       our own hand, drawn for four rigs
    python -m benchmarks.hands_multiview --umetrack generic_hand_model.json
    python -m benchmarks.hands_multiview PATH                  UmeTrack's or HOT3D's recordings

Without PATH: 25 hands in turn open, relaxed, pointing, pinching and at random, palm and back,
40 cm from the rig, 640 x 480, f = 520 px; each picture is looked at twice by an engine that has
forgotten the one before; 19 landmarks (no wrist, no thumb base). The bones are known to the fit,
and so is by how much the net's landmarks lie beside the joints, measured on 20 other hands before
the studio rig.

With PATH: every clip below it goes through `RigTracker` as it would live. Figures are UmeTrack's
and the Multiview Egocentric Hand Tracking Challenge's; hands not found are counted apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tyro

from assets.manifest import asset_path
from benchmarks.rendered_hands import Artist, HandModel, OwnHand, Posed, UmeTrackModel, rig
from capture.frame_source import SourceError
from capture.hand_clip import find_clips, open_clip
from streams.camera import Camera
from streams.hand_skeleton import HandShape
from streams.tracked_state import SIDES
from tracking.engine import HandEngine, HandMarks, Picture
from tracking.engines.mediapipe_tasks import Confidences, MediaPipeHands
from tracking.evaluation import similarity
from tracking.hand_fit import fit_hand
from tracking.hand_metrics import HandFigures, hand_figures
from tracking.hand_view import HandView
from tracking.rig_tracker import OpenEngine, RigTracker, pipeline_hands
from tracking.triangulation import triangulate
from tracking.user_hand import UserHand, offsets_on_bones

Array = npt.NDArray[np.float64]

RIGS = ("mono", "stereo", "headset", "studio")
JUDGED = np.array([j for j in range(21) if j not in (0, 1)])
"""Without the wrist and the thumb's base, whose definitions differ most."""
FEWEST = 10
"""Triangulated landmarks for a hand to count."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """Measure multi-camera hands."""

    path: tyro.conf.Positional[Path | None] = None
    """A clip or a folder of clips: UmeTrack's NAME.mp4 with NAME.json, HOT3D's NAME.tar."""
    umetrack: Path | None = None
    """UmeTrack's generic_hand_model.json, to draw that hand instead of ours."""
    count: int = 25
    """Drawn hands."""
    most_moments: int | None = None
    """Of each clip, at most so many."""
    out: Path | None = None
    """Also write the figures as JSON."""


class Onlooker:
    """Looks at single pictures, each as if it were the first of a video: twice, because the second
    look's region comes from the first's landmarks."""

    def __init__(self, engine: HandEngine) -> None:
        self._engine, self._t_ms = engine, 0

    def look(self, picture: Picture) -> HandMarks | None:
        """The one hand in it."""
        nothing = np.full_like(picture, 60)
        found: Sequence[HandMarks] = ()
        for each in (nothing, picture, picture):
            found = self._engine.look(each, self._t_ms)
            self._t_ms += 33
        return found[0] if found else None


def rendered_table(
    model: HandModel, count: int, look: Callable[[Picture], HandMarks | None], artist: Artist
) -> dict[str, dict[str, float]]:
    """Figures in millimetres by rig."""

    def seen(hand: Posed, cameras: Sequence[Camera]) -> list[HandView]:
        views: list[HandView] = []
        for camera in cameras:
            marks = look(artist(hand.mesh, camera))
            if marks is not None:
                points, shape = (np.asarray(a, np.float64) for a in (marks.landmarks, marks.shape))
                views.append(HandView(camera, points, np.ones(21), shape))
        return views

    rng = np.random.default_rng(100)
    trained = [model.posed(index, rng) for index in range(20)]
    user = known_user(trained, [seen(hand, rig("studio")) for hand in trained])
    rng = np.random.default_rng(7)
    hands = [model.posed(index, rng) for index in range(count)]
    table: dict[str, dict[str, float]] = {}
    for kind in RIGS:
        cameras = rig(kind)
        errors: dict[str, list[float]] = {"triangulated": [], "fitted": [], "aligned": []}
        found = 0
        for hand in hands:
            views = seen(hand, cameras)
            found += len(views)
            truth = hand.truth[JUDGED]
            if len(views) >= 2:
                points = triangulate(views).points[JUDGED]
                if np.isfinite(points).all(-1).sum() >= FEWEST:
                    errors["triangulated"].append(_distance(points, truth))
            if views:
                joints = fit_hand(views, user).joints[JUDGED]
                errors["fitted"].append(_distance(joints, truth))
                errors["aligned"].append(_distance(similarity(joints, truth), truth))
        row: dict[str, float] = {"found": found / (len(cameras) * count)}
        for name, values in errors.items():
            row[f"{name} mean"] = float(np.mean(values)) if values else float("nan")
            row[f"{name} median"] = float(np.median(values)) if values else float("nan")
        table[kind] = row
    return table


def known_user(hands: Sequence[Posed], views: Sequence[Sequence[HandView]]) -> UserHand:
    """The bones, which are known, and the landmarks' median offsets from the joints in the frames
    that `UserHand.offsets` names, from triangulated hands."""
    side = hands[0].side
    shapes = [HandShape.of(hand.joints, side) for hand in hands]
    shape = HandShape(
        side,
        np.mean([each.bases for each in shapes], axis=0),
        np.mean([each.bones for each in shapes], axis=0),
    )
    well_seen = [(h, v) for h, v in zip(hands, views, strict=True) if len(v) >= 3]
    joints = np.stack([hand.joints for hand, _ in well_seen])
    landmarks = np.stack([triangulate(seen).points for _, seen in well_seen])
    return UserHand(shape, offsets_on_bones(side, joints, landmarks))


def measure_clip(
    path: Path, open_engine: OpenEngine = pipeline_hands, most_moments: int | None = None
) -> list[tuple[Array, Array]]:
    """Found and true joints (T, 21, 3) metres of each side; NaN where not found or not labelled.

    The thumb's base joint and the wrist are left out of the truth. Raises SourceError.
    """
    found: dict[str, list[Array]] = {side: [] for side in SIDES}
    truth: dict[str, list[Array]] = {side: [] for side in SIDES}
    nothing = np.full((21, 3), np.nan)
    with open_clip(path) as clip, RigTracker(open_engine=open_engine) as tracker:
        for index, moment in enumerate(clip):
            if most_moments is not None and index >= most_moments:
                break
            state = tracker.track(moment.frames)
            for side in SIDES:
                hand = state.hand(side)
                found[side].append(nothing if hand is None else hand.joints.astype(np.float64))
                true = moment.truth.get(side, nothing).copy()
                true[[0, 1]] = np.nan
                truth[side].append(true)
    return [(np.array(found[s]), np.array(truth[s])) for s in SIDES if found[s]]


def main(arguments: Arguments) -> None:
    """Print a table."""
    if arguments.path is not None:
        figures = published_table(arguments.path, arguments.most_moments)
        written = {name: asdict(each) for name, each in figures.items()}
    else:
        model = UmeTrackModel(arguments.umetrack) if arguments.umetrack else OwnHand()
        bundle = asset_path("models/hand_landmarker.task")
        engine = MediaPipeHands(bundle, Confidences(0.3, 0.3, 0.3), 1, 1)
        with Artist() as artist:
            table = rendered_table(model, arguments.count, Onlooker(engine).look, artist)
        print(f"{arguments.count} drawn hands ({model.name}), mm, mean / median")
        print(f"{'rig':8} {'found':>6} {'triangulated':>14} {'fitted':>14} {'fitted, aligned':>16}")
        for kind, row in table.items():
            cells = (
                f"{row[f'{name} mean']:6.1f} /{row[f'{name} median']:5.1f}"
                for name in ("triangulated", "fitted", "aligned")
            )
            print(f"{kind:8} {row['found']:6.2f} " + "  ".join(f"{cell:>13}" for cell in cells))
        written = {model.name: table}
        model.close()
        engine.close()
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(written, indent=2) + "\n")


def published_table(path: Path, most_moments: int | None) -> dict[str, HandFigures]:
    """Figures by clip, and of all together; printed as they come."""
    print(f"{'clip':32} {'hands':>6} {'found':>6} {'MPJPE':>6} {'median':>6} {'MPJPA':>6} "
          f"{'(true)':>6} {'PA':>6} {'AUC':>5}   mm")  # fmt: skip
    figures: dict[str, HandFigures] = {}
    everything: list[tuple[Array, Array]] = []
    for clip in find_clips(path):
        try:
            sequences = measure_clip(clip, most_moments=most_moments)
        except SourceError as error:
            print(f"{clip.name}: left out: {error}")
            continue
        everything += sequences
        figures[clip.name] = hand_figures(sequences)
        _print_figures(clip.name, figures[clip.name])
    if len(figures) > 1:
        figures["all"] = hand_figures(everything)
        _print_figures("all", figures["all"])
    return figures


def _print_figures(name: str, f: HandFigures) -> None:
    print(
        f"{name[-32:]:32} {f.truths:6} {f.found / max(f.truths, 1):6.2f} {f.mpjpe_mm:6.1f} "
        f"{f.median_mm:6.1f} {f.mpjpa_mm:6.2f} {f.true_mpjpa_mm:6.2f} {f.aligned_mm:6.1f} "
        f"{f.auc:5.3f}"
    )


def _distance(points: Array, truth: Array) -> float:
    return 1e3 * float(np.nanmean(np.linalg.norm(points - truth, axis=-1)))


if __name__ == "__main__":
    main(tyro.cli(Arguments))
