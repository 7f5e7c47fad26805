"""Our tracking beside MediaPipe's, in one table: `python -m benchmarks.tracking [PART ...]`.

Parts: accuracy, parity, motion, cost, cameras, cuda; all of them when none is named. Real data is
read from ../shared/data; the 25 hands and 18 faces of the required figures are MMPose's test data
(`tests/data` of github.com/open-mmlab/mmpose), given as `--photographs FOLDER`. Without any real
data the clip of the synthetic person stands in, and the required figures are not judged.

Times are by turns with MediaPipe's tasks in this very run; use an idle machine for the wall's.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from assets.manifest import asset_path
from benchmarks import tracking_gpu
from benchmarks.annotated_photographs import read_faces, read_hands
from benchmarks.compared_trackers import (
    BesideItself,
    Both,
    CalmHands,
    MediaPipePhotographs,
    OurPhotographs,
    TrackedHands,
    WholeTracker,
    mediapipe_face,
    mediapipe_hands,
    open_both,
    open_nets,
)
from benchmarks.film_frames import frames, side_by_side
from benchmarks.hands_multiview import Onlooker, rendered_table
from benchmarks.rendered_hands import Artist, OwnHand, UmeTrackModel
from benchmarks.tracking_accuracy import (
    PROTOCOLS,
    face_accuracy,
    hand_accuracy,
    hands_on_faces,
    photograph,
)
from benchmarks.tracking_cost import Cost, Look, by_turns
from benchmarks.tracking_motion import (
    cut_to_hand,
    face_stills,
    face_track,
    film_table,
    hand_stills,
    hand_track,
    motion_table,
)
from benchmarks.tracking_parity import LANDMARKS, net_parity, pipeline_parity, real_inputs
from benchmarks.tracking_report import Report, bar_table
from tracking.engine import HandEngine, Picture
from tracking.engine_lanes import FACE_THREADS, HAND_THREADS
from tracking.engines.face_pipeline import FacePipeline, FaceSettings
from tracking.engines.hand_pipeline import HandPipeline, HandSettings
from tracking.tracker import TrackerOptions

PARTS = ("accuracy", "parity", "motion", "cost", "cameras", "cuda")
OURS = ("litert", "openvino", "torch")
STUDY_HANDS, STUDY_FACES = 25, 18
"""Photographs for which the required figures were set."""


@dataclass(frozen=True, slots=True)
class DrawnHands:
    """Hands whose truth is known, seen by a rig of cameras."""

    landmarks: str
    """Whose."""
    rig: str
    count: int
    found: float
    """Share of the views."""
    triangulated_median: float
    """Of the hands' mean joint errors, millimetres."""
    fitted_median: float
    fitted_mean: float


@dataclass(frozen=True, slots=True)
class TrackingBenchmark:
    """Measure."""

    parts: tyro.conf.Positional[tuple[str, ...]] = ()
    """Of accuracy, parity, motion, cost, cameras, cuda."""
    data: Path = Path(__file__).parents[2] / "shared" / "data"
    """Real films and photographs."""
    photographs: Path | None = None
    """MMPose's tests/data; by default the annotated photographs of `data`."""
    engine: str = "litert"
    """Whose networks our pipeline runs."""
    turns: int = 20
    """Of the cost part, for each film."""
    umetrack: Path | None = None
    """UmeTrack's generic_hand_model.json, to draw that hand for the cameras instead of ours."""
    drawn_hands: int = 25
    json: Path | None = None
    """Write all figures there as well."""

    def main(self) -> int:
        """0 when nothing that is required is missed, else 1; 2 for a wrong part."""
        wrong = sorted(set(self.parts) - set(PARTS))
        if wrong or self.engine not in OURS:
            what, known = (wrong[0], PARTS) if wrong else (self.engine, OURS)
            print(f"tracking: expected one of {', '.join(known)}, got {what}", file=sys.stderr)
            return 2
        report = Report()
        measures = {
            "accuracy": self._accuracy,
            "parity": self._parity,
            "motion": self._motion,
            "cost": self._cost,
            "cameras": self._cameras,
            "cuda": self._cuda,
        }
        for part in self.parts or PARTS:
            measures[part](report)
        print(bar_table(report.bars))
        if self.json is not None:
            document = {"engine": self.engine, **report.document()}
            self.json.write_text(json.dumps(document, indent=1) + "\n")
        return 1 if report.missed else 0

    def _accuracy(self, report: Report) -> None:
        folders = [self.photographs] if self.photographs else self._ground_truth()
        hands = [hand for folder in folders for hand in read_hands(folder)]
        faces = [face for folder in folders for face in read_faces(folder)]
        if not hands and not faces:
            report.unjudged("accuracy", "no annotated photographs at hand")
            return
        theirs = MediaPipePhotographs()
        ours = OurPhotographs(self._nets(), FaceSettings(), HandSettings())
        for name, finder in (("MediaPipe", theirs), ("ours", ours)):
            for protocol in PROTOCOLS:
                report.show(f"hands, {name}", hand_accuracy(hands, finder, protocol))
                report.show(f"faces, {name}", face_accuracy(faces, finder, protocol))
        shown = [photograph(path) for path in sorted({face.picture for face in faces})]
        shown += [rgb for film in self._face_films() for rgb in frames(film, 400)[::100]]
        on_faces = [hands_on_faces(shown, "MediaPipe", theirs), hands_on_faces(shown, "ours", ours)]
        report.show("hands on pictures of faces", on_faces)
        theirs.close()
        whole = {
            name: (
                _all_of(report.figures[f"hands, {name}"]),
                _all_of(report.figures[f"faces, {name}"]),
            )
            for name in ("MediaPipe", "ours")
        }
        (their_hand, their_face), (our_hand, our_face) = whole["MediaPipe"], whole["ours"]
        study = len(hands) == STUDY_HANDS and len(faces) == STUDY_FACES
        why_not = "" if study else "other photographs"
        for what, theirs, our, required, reach, least in (
            ("hands found", their_hand.found, our_hand.found, 0.78, 0.85, True),
            ("hands NME-box", their_hand.box_error, our_hand.box_error, 0.090, 0.080, False),
            ("hands PCK@0.1", their_hand.correct_10, our_hand.correct_10, 0.69, None, True),
            ("faces found", their_face.found, our_face.found, 0.94, None, True),
            ("faces NME51", their_face.inner_error, our_face.inner_error, 0.045, None, False),
        ):
            report.judge(what, theirs, our, required, reach, least, why_not)

    def _parity(self, report: Report) -> None:
        reference = open_nets("litert", 1)
        film = self._face_and_hands(8)
        inputs = real_inputs(reference, film)
        for engine, limit in (("torch-fp32", None), ("torch-fp16", 0.1), ("openvino-fp32", None)):
            # Half precision is slow on processors, and required of landmarks alone.
            some = inputs if limit is None else {n: inputs[n][:4] for n in LANDMARKS if n in inputs}
            try:
                rows = net_parity(reference, engine, open_nets(engine, 1), some)
            except (ImportError, RuntimeError) as error:
                report.unjudged(f"nets, {engine}", str(error).splitlines()[0])
                continue
            report.show("network parity", rows)
            if limit is None:
                worst = max(row.largest for row in rows)
                report.judge(f"nets, {engine}, largest", "", worst, 1e-3, least=False)
            else:
                worst = max(row.mean_px for row in rows if not math.isnan(row.mean_px))
                report.judge(f"nets, {engine}, mean px", "", worst, limit, least=False)
        theirs = MediaPipePhotographs()
        faces = [frames(path, 90) for path in self._face_films()[:3]]
        gestures = [photograph(p) for p in sorted(self.data.glob("hands/gestures/*/*.jpg"))]
        parity = pipeline_parity(
            open_nets("litert", 1), faces, gestures or self._demo(20, every=20), theirs
        )
        theirs.close()
        report.show("pipeline parity", [parity])
        add = report.judge
        add("face film, mean px", "", parity.face_mean_px, 0.05, least=False)
        add("blendshapes, largest", "", parity.blendshape_largest, 0.02, least=False)
        add("hands, median of max px", "", parity.hand_median_of_max_px, 0.2, least=False)

    def _motion(self, report: Report) -> None:
        nets = self._nets()
        finder = MediaPipePhotographs()
        folders = [folder for folder in (self.data, self.photographs) if folder]
        faces = face_stills(folders)
        hands = hand_stills(folders, finder)
        if not faces or not hands:
            demo = self._demo(10, every=40)
            faces = faces or demo[:2]
            hands = hands or [cut for rgb in demo if (cut := cut_to_hand(rgb, finder)) is not None]
        finder.close()
        one = HandSettings(hands=1)
        alone = TrackerOptions(engine=self.engine, faces=0, hands=1)
        face_by = {
            "MediaPipe": mediapipe_face,
            "ours": lambda: FacePipeline(nets),
            "ours, unfiltered": lambda: FacePipeline(nets, FaceSettings(filter=None)),
            "ours, five looks": lambda: FacePipeline(nets, FaceSettings(looks=5)),
            "ours, one of two": lambda: BesideItself(FacePipeline(nets, FaceSettings(faces=2))),
        }
        hands_by = {
            "MediaPipe": lambda: mediapipe_hands(1),
            "ours": lambda: CalmHands(HandPipeline(nets, one)),
            "ours, unfiltered": lambda: HandPipeline(nets, one),
            "ours, five looks": lambda: CalmHands(HandPipeline(nets, replace(one, looks=5))),
            "whole tracker, hands fitted": lambda: TrackedHands(alone),
            "whole tracker, hands placed": lambda: TrackedHands(replace(alone, hand_fit=False)),
        }
        moved = motion_table("face", faces, {n: face_track(o) for n, o in face_by.items()})
        moved += motion_table("hand", hands, {n: hand_track(o) for n, o in hands_by.items()})
        report.show("known motion", moved)
        films = [(frames(path, 90), 25.0) for path in self._face_films()]
        rows = film_table(
            "face",
            films,
            {n: lambda fps, o=o: face_track(o, fps) for n, o in face_by.items()},
            "ours, unfiltered",
        )
        hand_films = [(frames(path, 90), 25.0) for path in self._hand_films()]
        rows += film_table(
            "hand",
            hand_films,
            {n: lambda fps, o=o: hand_track(o, fps) for n, o in hands_by.items()},
            "ours, unfiltered",
        )
        report.show("real films", rows)
        by = {(row.what, row.tracker): row for row in moved}
        for what, required, reach in (("face", 0.045, 0.025), ("hand", 0.25, 0.15)):
            for tracker in ("ours", "ours, five looks"):
                row, theirs = by[what, tracker], by[what, "MediaPipe"]
                name = f"{what} jitter % of box{tracker.removeprefix('ours')}"
                report.judge(
                    name, theirs.jitter_percent, row.jitter_percent, required, reach, least=False
                )
                name = f"{what} lag ms{tracker.removeprefix('ours')}"
                report.judge(name, theirs.lag_ms, row.lag_ms, 7.0, least=False)

    def _cost(self, report: Report) -> None:
        both = self._face_and_hands(48)
        hand_film, face_film = self._hand_films()[0], self._face_films()[0]
        one, none = frames(hand_film, 48), frames(face_film, 48)
        for scene, film, what in (
            ("face and two hands", both, "both"),
            ("one hand visible", one, "hands"),
            ("no hand visible", none, "hands"),
            ("face", none, "face"),
        ):
            opened = self._contenders(report, what)
            looks: dict[str, Look] = {name: engine.look for name, engine in opened.items()}
            rows = by_turns(scene, film, looks, self.turns)
            for engine in opened.values():
                engine.close()
            report.show("cost", rows)
            self._cost_bar(report, scene, rows)

    def _contenders(self, report: Report, what: str) -> Mapping[str, Any]:
        """Each by name, the one that others are compared with first."""
        engines = [self.engine]
        if self.engine == "litert":
            try:
                open_nets("openvino", 1)
                engines.append("openvino")
            except RuntimeError as error:
                report.unjudged("cost with openvino", str(error).splitlines()[0])
        opened: dict[str, Any] = {}
        if what == "hands":
            opened["MediaPipe"] = mediapipe_hands()
            for engine in engines:
                opened[f"ours, {engine}"] = HandPipeline(open_nets(engine, HAND_THREADS))
        elif what == "face":
            opened["MediaPipe"] = mediapipe_face()
            for engine in engines:
                opened[f"ours, {engine}"] = FacePipeline(open_nets(engine, FACE_THREADS))
        else:
            opened["MediaPipe"] = Both(mediapipe_face(), mediapipe_hands())
            opened["MediaPipe, two threads"] = Both(
                mediapipe_face(), mediapipe_hands(), ThreadPoolExecutor(1)
            )
            for engine in engines:
                opened[f"ours, {engine}"] = open_both(engine)
            for name, fit in (("hands fitted", True), ("hands placed", False)):
                options = TrackerOptions(engine=self.engine, hand_fit=fit)
                opened[f"whole tracker, {name}"] = WholeTracker(options)
        return opened

    def _cost_bar(self, report: Report, scene: str, rows: Sequence[Cost]) -> None:
        limits = {"face and two hands": (1.9, 2.3), "one hand visible": (2.5, 3.5)}
        if scene not in limits:
            return
        required, reach = limits[scene]
        for row in rows:
            if row.tracker.startswith("ours"):
                name = f"{scene}, wall, {row.tracker.removeprefix('ours, ')}"
                report.judge(name, 1.0, row.wall_ratio[1], required, reach)

    def _cameras(self, report: Report) -> None:
        """Drawn hands of `benchmarks.hands_multiview`, seen by four headset cameras."""
        drawn = UmeTrackModel(self.umetrack) if self.umetrack else OwnHand()
        alone = HandSettings(hands=1, search_every_ms=0)
        lookers: dict[str, HandEngine] = {
            "MediaPipe": mediapipe_hands(1),
            "ours": HandPipeline(self._nets(), alone),
        }
        rows: list[DrawnHands] = []
        with Artist() as artist:
            for name, engine in lookers.items():
                table = rendered_table(drawn, self.drawn_hands, Onlooker(engine).look, artist)
                rows += [
                    DrawnHands(
                        name,
                        rig,
                        self.drawn_hands,
                        row["found"],
                        row["triangulated median"],
                        row["fitted median"],
                        row["fitted mean"],
                    )
                    for rig, row in table.items()
                ]
                engine.close()
        drawn.close()
        report.show("drawn hands, mm", rows)
        theirs, ours = (
            next(r for r in rows if (r.landmarks, r.rig) == (who, "headset")) for who in lookers
        )
        for what, required, reach in (
            ("triangulated_median", 7.5, None),
            ("fitted_median", 6.5, 5.0),
            ("fitted_mean", 8.0, None),
        ):
            report.judge(
                f"four cameras, mm, {what.replace('_', ' ')}",
                getattr(theirs, what),
                getattr(ours, what),
                required,
                reach,
                least=False,
            )

    def _cuda(self, report: Report) -> None:
        import torch

        if not torch.cuda.is_available():
            report.unjudged("CUDA, face and two hands from 720p", "no CUDA device here")
            return
        benchmark = tracking_gpu.TrackingGpu()
        picture, regions = tracking_gpu.scene()
        with torch.no_grad():
            peer, ours, *_ = benchmark.latency(picture, regions).values()
            rate = max(benchmark.throughput(picture, regions).values())
        report.judge("CUDA, times MediaPipe's speed", 1.0, peer / ours, 10.0)
        report.judge("CUDA, ms a frame", peer, ours, peer / 10.0, 1.0, least=False)
        report.judge("CUDA, camera-frames a second", 1000.0 / peer, rate, 2000.0)

    def _nets(self) -> Any:
        return open_nets(self.engine, HAND_THREADS)

    def _ground_truth(self) -> list[Path]:
        return [self.data / kind / "ground_truth" for kind in ("hands", "faces")]

    def _face_films(self) -> list[Path]:
        return sorted(self.data.glob("faces/*.mp4")) or [asset_path("clips/demo")]

    def _hand_films(self) -> list[Path]:
        return sorted(self.data.glob("hands/*.mp4")) or [asset_path("clips/demo")]

    def _face_and_hands(self, count: int) -> list[Picture]:
        face, hand = self._face_films()[0], self._hand_films()[0]
        if face == hand:  # The synthetic person shows all three.
            return frames(face, count)
        return side_by_side(frames(face, count), frames(hand, count))

    def _demo(self, count: int, every: int) -> list[Picture]:
        return frames(asset_path("clips/demo"), count * every)[::every]


def _all_of(rows: Sequence[Any]) -> Any:
    return next(row for row in rows if (row.data_set, row.protocol) == ("all", "image"))


if __name__ == "__main__":
    sys.exit(tyro.cli(TrackingBenchmark, description=__doc__).main())
