"""Does the avatar follow the person? The tracker on our own output, against it on the source.

    python -m benchmarks.cycle                       # every clip in ../shared/data/faces and /hands
    python -m benchmarks.cycle a.mp4 b.mp4 --keep /tmp/videos --json

Each clip goes through `preview --out`; the tracker looks at the video that came out of it as it
looked at the source. The exit code is 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from apps.pipeline import Taps
from apps.preview import Preview
from apps.preview_file import write_preview
from apps.usage import FailedError
from capture.video_file import VideoFile
from streams.face_shapes import SHAPE_INDEX
from streams.tracked_state import HandPose, TrackedState
from tracking.evaluation import blendshape_correlation, hand_shape_error, rotation_error_deg
from tracking.tracker import Tracker, TrackerOptions

SIGNALS = {
    "jawOpen": ("jawOpen",),
    "eyeBlink": ("eyeBlinkLeft", "eyeBlinkRight"),
    "mouthSmile": ("mouthSmileLeft", "mouthSmileRight"),
    "browInnerUp": ("browInnerUp",),
}
"""What is correlated: the mean of these shapes."""
LEAST_CORRELATION = {"jawOpen": 0.90, "eyeBlink": 0.85, "mouthSmile": 0.85, "browInnerUp": 0.60}
LEAST_STD = 0.05
"""A source signal that varies less says nothing."""
MOST_ROTATION_DEG = 4.0
LEAST_FACES = 0.98
LEAST_HANDS = 0.90
MOST_HAND_ERROR = 0.10
"""Of the palm's length."""
HANDS_CLIP = 0.3
"""A clip with a hand in at least this part of its frames counts among the hand clips."""
FACES_CLIP = 0.3


@dataclass(frozen=True, slots=True)
class ClipResult:
    """One clip's figures; None where the clip has nothing to measure."""

    clip: str
    frames: int
    failed: str | None
    """Why the preview failed, or None."""
    source_faces: float
    """Part of the source's frames with a face."""
    faces: float | None
    """Part of those in which the output has one as well."""
    correlations: dict[str, float | None]
    """Pearson, each of SIGNALS; None where the source hardly varies."""
    rotation_deg: float | None
    """Median of the head's rotation error."""
    source_hands: float
    hands: float | None
    """Part of the hands of the source's frames that the output has too."""
    hand_error: float | None
    """Median mean joint distance after similarity alignment, in palm lengths."""


@dataclass(frozen=True, slots=True)
class Check:
    """One limit."""

    name: str
    value: float | None
    limit: float
    at_least: bool

    @property
    def passed(self) -> bool:
        if self.value is None or not np.isfinite(self.value):
            return False
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def run_clip(clip: Path, out: Path, size: str | None, avatar: str) -> ClipResult:
    """Preview one clip into `out` and compare what the tracker says of both."""
    source: list[TrackedState] = []
    failed: str | None = None
    preview = Preview(source=f"video:{clip}", out=out, size=size, avatar=avatar)
    try:
        write_preview(preview, out, Taps(state=source.append))
    except FailedError as error:
        failed = str(error)
    output: list[TrackedState] = []
    if out.exists():
        with (
            VideoFile(out) as video,
            Tracker.open(TrackerOptions(look_for_hands_every_ms=0)) as look,
        ):
            output.extend(look.track(frame) for frame in video)
    if len(source) != len(output) and failed is None:
        failed = f"{len(output)} pictures came of {len(source)} frames"
    return _compare(clip.name, source, output, failed)


def _compare(
    clip: str, source: list[TrackedState], output: list[TrackedState], failed: str | None
) -> ClipResult:
    pairs = list(zip(source, output, strict=False))
    both = [(a.face, b.face) for a, b in pairs if a.face is not None and b.face is not None]
    seen = sum(a.face is not None for a, _ in pairs)
    turned = [rotation_error_deg(a.world_from_head, b.world_from_head) for a, b in both]
    correlations: dict[str, float | None] = dict.fromkeys(SIGNALS)
    for name, shapes in SIGNALS.items():
        columns = [SHAPE_INDEX[shape] for shape in shapes]
        a = np.array([x.blendshapes[columns].mean() for x, _ in both])
        b = np.array([y.blendshapes[columns].mean() for _, y in both])
        if len(a) >= 3 and a.std() >= LEAST_STD:
            correlations[name] = blendshape_correlation(a, b)
    hands = [(hand, _same_hand(hand, b.hands)) for a, b in pairs for hand in a.hands]
    errors = [hand_shape_error(b.joints, a.joints) for a, b in hands if b is not None]
    count = max(1, len(pairs))
    return ClipResult(
        clip=clip,
        frames=len(source),
        failed=failed,
        source_faces=seen / count,
        faces=len(both) / seen if seen else None,
        correlations=correlations,
        rotation_deg=float(np.median(turned)) if turned else None,
        source_hands=sum(bool(a.hands) for a, _ in pairs) / count,
        hands=sum(b is not None for _, b in hands) / len(hands) if hands else None,
        hand_error=float(np.median(errors)) if errors else None,
    )


def _same_hand(hand: HandPose, found: tuple[HandPose, ...]) -> HandPose | None:
    return next((other for other in found if other.side == hand.side), None)


def checks(results: Sequence[ClipResult]) -> tuple[Check, ...]:
    """The limits of the whole, medians over the clips."""
    found = [
        Check(
            f"median correlation of {name}",
            _median([result.correlations[name] for result in results]),
            limit,
            True,
        )
        for name, limit in LEAST_CORRELATION.items()
    ]
    faces = [result for result in results if result.source_faces >= FACES_CLIP]
    if faces:
        rotation = _median([result.rotation_deg for result in faces])
        kept = min((result.faces or 0.0) for result in faces)
        found.append(
            Check("median head rotation error, degrees", rotation, MOST_ROTATION_DEG, False)
        )
        found.append(Check("faces found again, the worst clip", kept, LEAST_FACES, True))
    hands = [result for result in results if result.source_hands >= HANDS_CLIP]
    if hands:
        kept = min((result.hands or 0.0) for result in hands)
        error = _median([result.hand_error for result in hands])
        found.append(Check("hands found again, the worst hand clip", kept, LEAST_HANDS, True))
        found.append(Check("hand shape error, palm lengths", error, MOST_HAND_ERROR, False))
    failed = float(sum(result.failed is not None for result in results))
    found.append(Check("clips that failed", failed, 0.0, False))
    return tuple(found)


def _median(values: Sequence[float | None]) -> float | None:
    known = np.array([v for v in values if v is not None and np.isfinite(v)])
    return float(np.median(known)) if len(known) else None


def _default_clips() -> list[Path]:
    data = Path(__file__).parents[2] / "shared" / "data"
    return [*sorted((data / "faces").glob("*.mp4")), *sorted((data / "hands").glob("*.mp4"))]


def _row(result: ClipResult) -> str:
    cells: list[float | None] = [result.source_faces, result.faces]
    cells += [result.correlations[name] for name in SIGNALS]
    cells += [result.rotation_deg, result.source_hands, result.hands, result.hand_error]
    shown = "".join(f"{'-' if v is None else f'{v:.2f}':>9}" for v in cells)
    return f"{result.clip[:16]:<16}{result.frames:>7}{shown}  {result.failed or ''}".rstrip()


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every limit is kept, 1 when one is missed, 2 when there is no clip."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cycle", description=__doc__)
    parser.add_argument("clips", nargs="*", type=Path, help="videos; default ../shared/data")
    parser.add_argument("--size", help="WIDTHxHEIGHT of the output; default the clip's own")
    parser.add_argument("--avatar", default="default")
    parser.add_argument("--keep", type=Path, help="folder to keep the output videos in")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    clips = options.clips or _default_clips()
    if not clips:
        print("cycle: no clips given and none in ../shared/data", file=sys.stderr)
        return 2
    results: list[ClipResult] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if not options.json:
            print(_HEADER)
        for clip in clips:
            results.append(run_clip(clip, folder / clip.name, options.size, options.avatar))
            if not options.json:
                print(_row(results[-1]), flush=True)
    limits = checks(results)
    if options.json:
        report = {
            "clips": [asdict(result) for result in results],
            "checks": [{**asdict(check), "passed": check.passed} for check in limits],
        }
        print(json.dumps(report, indent=2))
    else:
        for check in limits:
            value = "-" if check.value is None else f"{check.value:.3f}"
            sign = ">=" if check.at_least else "<="
            verdict = "pass" if check.passed else "FAIL"
            print(f"{verdict}  {check.name}: {value} (limit {sign} {check.limit:g})")
    return 0 if all(check.passed for check in limits) else 1


_COLUMNS = ("src face", "found", "jaw", "blink", "smile", "brow", "rot deg", "src hand", "found")
_HEADER = f"{'clip':<16}{'frames':>7}{''.join(f'{name:>9}' for name in (*_COLUMNS, 'error'))}"


if __name__ == "__main__":
    sys.exit(main())
