"""Hands and head by the product's own verb, with one camera against two and three: a synthetic
person is filmed by calibrated cameras, `visavis record` tracks the videos, and its states are
compared with what was acted.

    python -m benchmarks.rig_film [--scene hands] [--seconds 4] [--out FILE.json] [--picture FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from apps.command import run
from apps.preview_options import PreviewOptions
from apps.preview_stages import open_source_of
from apps.sources import open_synthetic
from apps.tracker_choice import open_tracker_of
from apps.video_writer import VideoWriter
from avatar.codec import Avatar
from avatar.hand_rig import HandRig
from benchmarks.rendered_hands import looking
from capture.frame_source import open_source
from capture.rig_file import read_rig, write_rig
from capture.synthetic import SyntheticOptions
from render.renderer import open_renderer
from sessions.reader import SessionReader
from streams.camera import Camera
from streams.hand_skeleton import PALM_JOINTS
from streams.tracked_state import SIDES, TrackedState
from streams.view import View
from tracking.tracker import TrackerOptions

SIZE, FOCAL = (640, 480), 600.0
ACTOR = "amara"
PLACES = ((0.0, 0.0, 0.0), (0.30, 0.05, -0.05), (-0.30, 0.10, -0.05))
"""Metres: on a laptop's lid, and to each side of it, all turned towards the hands."""


@dataclass(frozen=True, slots=True)
class RigFilm:
    """One performance in several videos."""

    sources: tuple[str, ...]
    """As --source takes them, the first camera's first."""
    rig: Path
    truth: tuple[TrackedState, ...]
    """What was acted in each frame; the hands' joints are those that were drawn."""

    def options(self, cameras: int) -> list[str]:
        """Of a verb that tracks with the first so many of the cameras."""
        more = ["--more-sources", *self.sources[1:cameras]] if cameras > 1 else []
        return ["--source", self.sources[0], *more, "--rig", str(self.rig)]


def film(
    folder: Path,
    scene: str = "hands",
    seconds: float = 4.0,
    places: Sequence[tuple[float, float, float]] = PLACES,
    fps: float = 30.0,
    actor: str = ACTOR,
) -> RigFilm:
    """An avatar `actor`, filmed. Write cameraN.mp4 and rig.json into `folder`."""
    cameras: list[Camera] = []
    states: list[TrackedState] = []
    for k, place in enumerate(places):
        path = folder / f"camera{k}.mp4"
        camera = looking(f"video:{path}", place, SIZE, FOCAL)
        cameras.append(camera)
        options = SyntheticOptions(camera=camera, fps=fps, noise=1.5, seed=k)
        writer = VideoWriter(path, SIZE, fps)
        with open_synthetic(scene, options, actor) as source:
            for frame in source:
                if frame.seq >= seconds * fps:
                    break
                writer.write(frame.rgb, frame.t_ns)
                if k == 0:
                    states.append(source.truth(frame.seq))
        writer.close()
    rig = folder / "rig.json"
    write_rig(rig, cameras)
    return RigFilm(tuple(camera.name for camera in cameras), rig, tuple(states))


@dataclass(frozen=True, slots=True)
class HandErrors:
    """Millimetres, over all frames and hands that were seen."""

    found: float
    """Of the hands acted, 0..1."""
    joints: float
    """Median of a hand's mean distance of its joints from the drawn ones."""
    mean: float
    """The same, mean."""
    depth: float
    """Median of the palm's distance from where it was, along the first camera's axis."""
    jitter: float
    """Median second difference of the wrist, mm a frame squared; of the truth it is `at_rest`."""
    at_rest: float


@dataclass(frozen=True, slots=True)
class HeadErrors:
    """Millimetres, medians over all frames in which the face was seen."""

    head: float
    """Of the head's place."""
    early: float
    """The same in the first second alone, when its size is being measured."""
    hand_to_face: float
    """By how much the distance from a palm's middle to the head is wrong."""
    size: float
    """`FacePose.size` at the end: a factor, no millimetres."""


def tracked(session: Path) -> list[TrackedState]:
    """The states in a session."""
    with SessionReader(session) as reader:
        return [r.record for r in reader.read(("state",)) if isinstance(r.record, TrackedState)]


def hand_errors(states: Sequence[TrackedState], truth: Sequence[TrackedState]) -> HandErrors:
    """Of states whose times are those of frames of the film (a file's times are rounded)."""
    rig = HandRig.open()
    times = np.array([state.t_ns for state in truth])
    acted = 0
    joints: list[float] = []
    depth: list[float] = []
    wrists: dict[str, list[npt.NDArray[np.float64]]] = {side: [] for side in SIDES}
    true_wrists: dict[str, list[npt.NDArray[np.float64]]] = {side: [] for side in SIDES}
    for state in states:
        true = truth[int(np.abs(times - state.t_ns).argmin())]
        for hand in true.hands:
            acted += 1
            drawn = rig.drawn_joints(hand).astype(np.float64)
            seen = state.hand(hand.side)
            nothing = np.full(3, np.nan)
            wrists[hand.side].append(nothing if seen is None else seen.joints[0].astype(float))
            true_wrists[hand.side].append(drawn[0])
            if seen is None:
                continue
            off = seen.joints - drawn
            joints.append(1e3 * float(np.linalg.norm(off, axis=1).mean()))
            depth.append(1e3 * abs(float(off[PALM_JOINTS, 2].mean())))
    return HandErrors(
        len(joints) / max(acted, 1),
        float(np.median(joints)),
        float(np.mean(joints)),
        float(np.median(depth)),
        _unrest(wrists),
        _unrest(true_wrists),
    )


def head_errors(states: Sequence[TrackedState], truth: Sequence[TrackedState]) -> HeadErrors:
    """As `hand_errors`."""
    rig = HandRig.open()
    times = np.array([state.t_ns for state in truth])
    places: list[float] = []
    first: list[float] = []
    apart: list[float] = []
    size = 1.0
    for state in states:
        true = truth[int(np.abs(times - state.t_ns).argmin())]
        if state.face is None or true.face is None:
            continue
        size = state.face.size
        head, true_head = state.face.world_from_head.xyz, true.face.world_from_head.xyz
        places.append(1e3 * float(np.linalg.norm(head - true_head)))
        if state.t_ns - states[0].t_ns < 1_000_000_000:
            first.append(places[-1])
        for hand in true.hands:
            seen = state.hand(hand.side)
            if seen is not None:
                palm = seen.joints[PALM_JOINTS].astype(np.float64).mean(0)
                drawn = rig.drawn_joints(hand)[PALM_JOINTS].astype(np.float64).mean(0)
                there = np.linalg.norm(palm - head) - np.linalg.norm(drawn - true_head)
                apart.append(1e3 * abs(float(there)))
    return HeadErrors(
        float(np.median(places)), float(np.median(first)), float(np.median(apart)), size
    )


def cpu_ms(filmed: RigFilm, engine: str, rounds: int = 2) -> list[float]:
    """Processor's milliseconds a moment that tracking takes with one camera, two and so on, by
    turns; after the first second, when hands are found."""
    counts = range(1, len(filmed.sources) + 1)
    spent: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(rounds):
        for count in counts:
            preview = PreviewOptions(
                filmed.sources[0], more_sources=filmed.sources[1:count], rig=str(filmed.rig)
            )
            with (
                open_source_of(preview) as source,
                open_tracker_of(source, engine, TrackerOptions()) as tracker,
            ):
                for frame in source:
                    begun = time.process_time()
                    tracker.track(frame)
                    if frame.t_ns > 1_000_000_000:
                        spent[count].append(1e3 * (time.process_time() - begun))
    return [float(np.mean(spent[count])) for count in counts]


def side_picture(
    filmed: RigFilm, sessions: Sequence[Path], at_s: float, actor: str = ACTOR
) -> Image.Image:
    """The second camera's own picture at that time, and beside it what was tracked with one camera,
    two and so on, drawn from where it stands."""
    camera = read_rig(filmed.rig)[1]
    with open_source(filmed.sources[1]) as source:
        real = next(frame for frame in source if frame.t_ns >= at_s * 1e9)
    pictures = [real.rgb]
    view = View.from_camera(camera)
    with open_renderer("gl") as renderer, Avatar.open(actor) as avatar:
        for session in sessions:
            state = min(tracked(session), key=lambda each: abs(each.t_ns - real.t_ns))
            mesh = avatar.decode(avatar.encode(state), view)
            pictures.append(renderer.draw(mesh, view).rgba[:, :, :3])
    return Image.fromarray(np.ascontiguousarray(np.hstack(pictures))).reduce(2)


def _unrest(wrists: dict[str, list[npt.NDArray[np.float64]]]) -> float:
    steps = [np.diff(np.array(each), 2, axis=0) for each in wrists.values() if len(each) > 2]
    return 1e3 * float(np.nanmedian(np.linalg.norm(np.concatenate(steps), axis=1)))


def main() -> None:
    """Film, track, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", default="hands")
    parser.add_argument("--actor", default=ACTOR, help="whose head and hands are drawn")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--tracker", default="litert")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path, help="PNG or JPEG: seen from aside, after 0.85 s")
    options = parser.parse_args()
    report: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        filmed = film(folder, options.scene, options.seconds, actor=options.actor)
        cpu = cpu_ms(filmed, options.tracker)
        print(
            "cameras  found  joints median/mean  depth median  jitter (truth) mm  "
            "head (first second)  hand to face mm  CPU ms (ratio)"
        )
        for cameras in range(1, len(filmed.sources) + 1):
            session = folder / f"{cameras}.mcap"
            told = ["record", str(session), *filmed.options(cameras), "--seams", "state"]
            with contextlib.redirect_stdout(None):
                code = run([*told, "--tracker", options.tracker])
            if code:
                raise SystemExit(f"visavis {' '.join(told)}: exit code {code}")
            states = tracked(session)
            errors = hand_errors(states, filmed.truth)
            head = head_errors(states, filmed.truth)
            spent = cpu[cameras - 1]
            report[str(cameras)] = {**asdict(errors), **asdict(head), "cpu_ms": spent}
            print(
                f"{cameras:7}  {errors.found:5.2f}  {errors.joints:8.1f} / {errors.mean:5.1f}  "
                f"{errors.depth:12.1f}  {errors.jitter:6.2f} ({errors.at_rest:.2f})  "
                f"{head.head:12.1f} ({head.early:4.1f})  {head.hand_to_face:15.1f}  "
                f"{spent:12.1f} ({spent / cpu[0]:.2f})"
            )
        if options.picture is not None:
            sessions = [folder / f"{count + 1}.mcap" for count in range(len(filmed.sources))]
            side_picture(filmed, sessions, 0.85, options.actor).save(options.picture)
    if options.out is not None:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
