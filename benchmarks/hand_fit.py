"""How well and how quickly hands of known bones are fitted.

    python -m benchmarks.hand_fit [--hands 60] [--clip PATH] [--umetrack PATH] [--json FILE]

First made hands of which everything is known (1 pixel of noise, landmarks 4 mm a axis beside the
joints, the net's own shape with 10 mm of error along the view), seen by one, two and four cameras.
Then the hands that MediaPipe finds in a clip, by default the shipped one, whose truth is known:
joints placed on their rays (`tracking.hand_placement`, which the fit replaces) against fits with an
average hand and with one measured on the clip's own first half. Times are CPU times of this
process; the same moments go through both by turns, so that the ratio holds on a busy machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import tyro

from assets.manifest import asset_path
from benchmarks.hands_multiview import JUDGED, Onlooker
from benchmarks.hands_multiview import RIGS as MULTIVIEW
from benchmarks.rendered_hands import Artist, HandModel, OwnHand, UmeTrackModel
from benchmarks.rendered_hands import rig as drawn_rig
from capture.frame_source import SourceOptions, open_source
from capture.scenes import open_scene
from streams.hand_skeleton import PALM_JOINTS, HandShape
from streams.projection import project
from tests.seen_hands import RIGS, joint_error_mm, rig, seen_hand, user_hand
from tracking.engine import HandMarks
from tracking.engines.mediapipe_tasks import Confidences, MediaPipeHands
from tracking.evaluation import jitter, similarity
from tracking.hand_fit import HandFit, fit_hand, fit_hands
from tracking.hand_measuring import HandMeasuring
from tracking.hand_placement import place_hand
from tracking.hand_view import HandView
from tracking.pose_fit import facing_along, rays_through
from tracking.user_hand import UserHand, palm_span

Array = npt.NDArray[np.float64]
T = TypeVar("T")

DRAWN = 50
"""Hands of each kind."""


@dataclass(frozen=True)
class Options:
    """What to measure."""

    hands: int = 60
    """Made hands for each rig."""
    clip: Path | None = None
    """Another clip, without truth."""
    fov_deg: float | None = None
    """Its camera's angle of view."""
    umetrack: Path | None = None
    """UmeTrack's generic_hand_model.json, to draw that hand too."""
    json: Path | None = None
    """Also write the figures there."""


@dataclass(frozen=True)
class Row:
    """One way to place the hands of a clip."""

    what: str
    mean_mm: float
    median_mm: float
    """Mean and median over the hands of the mean joint error; then its median after moving the
    hands' middles onto each other, and after similarity alignment."""
    centred_mm: float
    aligned_mm: float
    overlay_px: float
    """Median distance between joints and the engine's landmarks in the picture."""
    bones_vary: float
    """Median over bones of the standard deviation of their length, as a part of it."""
    jitter_mm: float
    ms: float
    depth_slope: float
    depth_residual_mm: float
    """As `DepthRow`."""


@dataclass(frozen=True)
class DepthRow:
    """How far joints are behind the wrist, one way to know it against the truth."""

    hand: str
    views: int
    what: str
    mean_mm: float
    median_mm: float
    """Of the views' mean joint errors, without wrist and thumb base; NaN for a shape without a
    place."""
    depth_slope: float
    """Of the regression of the depths found (along the ray to the hand) on the true ones, through
    0: 1 is scaled right, below 1 is too flat."""
    depth_residual_mm: float
    """Root mean square of what that leaves."""


@dataclass(frozen=True)
class Found:
    """One hand that an engine found."""

    frame: int
    marks: HandMarks
    view: HandView
    truth: Array | None


def timed(call: Callable[[], T], into: list[float]) -> T:
    begin = time.process_time()
    result = call()
    into.append((time.process_time() - begin) * 1e3)
    return result


def made(options: Options) -> list[dict[str, float | str]]:
    rows: list[dict[str, float | str]] = []
    for name in RIGS:
        random = np.random.default_rng(1)
        cold_mm, warm_mm, cold_ms, warm_ms = [], [], [], []
        views, users = [], []
        for index in range(options.hands):
            user = user_hand(random, ("left", "right")[index % 2])
            seen = seen_hand(random, user, rig(name))
            fit = timed(lambda: fit_hand(seen.views, user), cold_ms)  # noqa: B023
            again = timed(lambda: fit_hand(seen.views, user, fit), warm_ms)  # noqa: B023
            cold_mm.append(joint_error_mm(fit.joints, seen.joints))
            warm_mm.append(joint_error_mm(again.joints, seen.joints))
            views.append(seen.views)
            users.append(user)
        batch: list[float] = []
        fit_hands(views[:2], users[:2])  # Torch's own beginning.
        timed(lambda: fit_hands(views, users), batch)  # noqa: B023
        rows.append(
            {
                "rig": name,
                "mean_mm": float(np.mean(cold_mm)),
                "median_mm": float(np.median(cold_mm)),
                "warm_median_mm": float(np.median(warm_mm)),
                "cold_ms": float(np.median(cold_ms)),
                "warm_ms": float(np.median(warm_ms)),
                "torch_batch_ms_a_hand": batch[0] / options.hands,
            }
        )
    return rows


def depths(view: HandView, joints: Array) -> Array:
    """(20,) metres along the ray to the hand: joints (21, 3), world frame, behind the wrist."""
    inverse = view.camera.world_from_camera.inverse()
    rays = rays_through(view.camera, view.points).mean(0)
    along = np.asarray(inverse.apply(joints)) @ facing_along(rays)
    return along[1:, 2] - along[0, 2]


def slope(found: list[Array], truth: list[Array]) -> tuple[float, float]:
    """As `DepthRow.depth_slope` and `depth_residual_mm`."""
    if not found:
        return float("nan"), float("nan")
    y, x = np.concatenate(found), np.concatenate(truth)
    k = float(x @ y / (x @ x))
    return k, 1e3 * float(np.sqrt(((y - k * x) ** 2).mean()))


def drawn(model: HandModel, artist: Artist, count: int) -> list[DepthRow]:
    """Each view by itself, as one camera would see it."""
    engine = MediaPipeHands(
        asset_path("models/hand_landmarker.task"), Confidences(0.3, 0.3, 0.3), 1, 1
    )
    look, random = Onlooker(engine).look, np.random.default_rng(7)
    found: dict[str, list[Array]] = {"net's shape": [], "placed": [], "average": []}
    truth: list[Array] = []
    off: dict[str, list[float]] = {name: [] for name in found}
    for index in range(count):
        hand = model.posed(index, random)
        for camera in (camera for kind in MULTIVIEW for camera in drawn_rig(kind)):
            marks = look(artist(hand.mesh, camera))
            placed = None if marks is None else place_hand(camera, marks)
            if marks is None or placed is None:
                continue
            shape = marks.shape.astype(float)
            view = HandView(camera, marks.landmarks.astype(float), np.ones(21), shape)
            fit = fit_hand([view], UserHand.average(hand.side))
            size = palm_span(hand.joints[PALM_JOINTS]) / palm_span(shape[PALM_JOINTS])
            found["net's shape"].append((shape[1:, 2] - shape[0, 2]) * size)
            truth.append(depths(view, hand.joints))
            for name, joints in (("placed", placed.joints.astype(float)), ("average", fit.joints)):
                found[name].append(depths(view, joints))
                off[name].append(joint_error_mm(joints[JUDGED], hand.truth[JUDGED]))
    engine.close()
    rows: list[DepthRow] = []
    for name, values in found.items():
        errors = np.array(off[name] or [np.nan])
        rows.append(
            DepthRow(
                model.name, len(truth), name, float(errors.mean()), float(np.median(errors)),
                *slope(values, truth),
            )
        )  # fmt: skip
    return rows


def found_in(options: Options) -> list[Found]:
    scene = open_scene("demo") if options.clip is None else None
    path = options.clip or asset_path("clips/demo")
    fov = 56.0 if options.clip is None else options.fov_deg
    asked = SourceOptions(fov_long_side=None if fov is None else float(np.deg2rad(fov)))
    found: list[Found] = []
    engine = MediaPipeHands(
        asset_path("models/hand_landmarker.task"), Confidences(0.5, 0.5, 0.5), 2, 1
    )
    with open_source(f"video:{path}", asked) as source:
        for frame in source:
            truth = scene.state_at(frame.t_ns) if scene is not None else None
            picture = np.ascontiguousarray(frame.rgb)
            for marks in engine.look(picture, frame.seq * 33):
                hand = truth.hand(marks.side) if truth is not None else None
                points, shape = marks.landmarks.astype(float), marks.shape.astype(float)
                view = HandView(frame.camera, points, np.ones(21), shape)
                joints = hand.joints.astype(float) if hand is not None else None
                found.append(Found(frame.seq, marks, view, joints))
    engine.close()
    return found


def measured(found: list[Found]) -> dict[str, UserHand]:
    users: dict[str, UserHand] = {}
    for side in ("left", "right"):
        measuring = HandMeasuring(side)
        for one in found[: len(found) // 2]:
            if one.marks.side == side:
                measuring.add([one.view])
        try:
            users[side] = measuring.finish().user
        except ValueError:
            users[side] = UserHand.average(side)
    return users


def on_clip(options: Options) -> list[Row]:
    found = found_in(options)
    own = measured(found)
    tested = found[len(found) // 2 :]
    average = {side: UserHand.average(side) for side in own}
    last: dict[str, dict[str, tuple[int, HandFit]]] = {"average": {}, "own": {}}
    joints: dict[str, list[Array]] = {"placed": [], "average": [], "own": []}
    times: dict[str, list[float]] = {name: [] for name in joints}
    kept: list[Found] = []
    for one in tested:
        camera, side = one.view.camera, one.marks.side
        pose = timed(lambda: place_hand(camera, one.marks), times["placed"])  # noqa: B023
        if pose is None:
            continue
        kept.append(one)
        joints["placed"].append(pose.joints.astype(float))
        for name, users in (("average", average), ("own", own)):
            frame, start = last[name].get(side, (-9, None))
            start = start if one.frame - frame == 1 else None
            fit = timed(lambda: fit_hand([one.view], users[side], start), times[name])  # noqa: B023
            last[name][side] = one.frame, fit
            joints[name].append(fit.joints)
    return [row(name, joints[name], kept, times[name]) for name in joints]


def row(name: str, joints: list[Array], kept: list[Found], times: list[float]) -> Row:
    whole, centred, aligned, overlay = [], [], [], []
    deep: tuple[list[Array], list[Array]] = [], []
    for p, one in zip(joints, kept, strict=True):
        pixels, _ = project(one.view.camera, p)
        overlay.append(np.median(np.linalg.norm(pixels - one.view.points, axis=-1)))
        if one.truth is not None:
            t = one.truth
            whole.append(joint_error_mm(p, t))
            centred.append(joint_error_mm(p - p.mean(0), t - t.mean(0)))
            aligned.append(joint_error_mm(similarity(p, t), t))
            deep[0].append(depths(one.view, p))
            deep[1].append(depths(one.view, t))
    vary, unrest = [], []
    for side in ("left", "right"):
        of_side = [p for p, one in zip(joints, kept, strict=True) if one.marks.side == side]
        if len(of_side) > 2:
            bones = np.stack([HandShape.of(p, side).bones for p in of_side])
            vary.append(np.median(bones.std(0) / bones.mean(0)))
            unrest.append(jitter(np.stack([p - p[:1] for p in of_side])) * 1e3)
    nan = float("nan")
    return Row(
        name,
        float(np.mean(whole)) if whole else nan,
        float(np.median(whole)) if whole else nan,
        float(np.median(centred)) if centred else nan,
        float(np.median(aligned)) if aligned else nan,
        float(np.median(overlay)),
        float(np.mean(vary)),
        float(np.mean(unrest)),
        float(np.median(times)),
        *slope(*deep),
    )


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    rows = made(options)
    for one in rows:
        print("  ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{v}" for k, v in one.items()))
    clip = [asdict(one) for one in on_clip(options)]
    for one in clip:
        print("  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{v}" for k, v in one.items()))
    models = [OwnHand(), *([UmeTrackModel(options.umetrack)] if options.umetrack else [])]
    with Artist() as artist:
        deep = [asdict(row) for model in models for row in drawn(model, artist, DRAWN)]
    for model in models:
        model.close()
    for one in deep:
        print("  ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{v}" for k, v in one.items()))
    if options.json is not None:
        options.json.write_text(json.dumps({"made": rows, "clip": clip, "drawn": deep}, indent=1))


if __name__ == "__main__":
    main()
