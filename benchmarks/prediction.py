"""Prediction against what then came: head, blend shapes and wrists of videos.

    python -m benchmarks.prediction VIDEO ... [--most 250]

For each horizon the mean and the 95th percentile of the error, predicted / held as it was.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import tyro

from capture.frame_source import open_source
from streams.rigid import Rigid
from streams.tracked_state import TrackedState
from tracking.prediction import predict
from tracking.tracker import Tracker

HORIZONS_MS = (16, 33, 50, 100)
FIRST = 15
"""States before the first that is asked for."""


def pose_at(states: list[TrackedState], t_ns: int, part: str) -> Rigid | None:
    """Between the two states around `t_ns`."""
    times = np.array([state.t_ns for state in states])
    after = int(np.searchsorted(times, t_ns))
    if not 0 < after < len(states):
        return None
    a, b = (part_of(states[k], part) for k in (after - 1, after))
    if a is None or b is None:
        return None
    return a.interpolate(b, (t_ns - times[after - 1]) / (times[after] - times[after - 1]))


def part_of(state: TrackedState, part: str) -> Rigid | None:
    """The head's or a side's wrist's pose."""
    if part == "head":
        return None if state.face is None else state.face.world_from_head
    hand = state.hand(part)
    return None if hand is None else hand.world_from_wrist


def errors(states: list[TrackedState], part: str, ahead_ns: int) -> list[list[float]]:
    """Degrees and millimetres, predicted and held, a row a moment."""
    rows = []
    for k in range(FIRST, len(states)):
        held, late = part_of(states[k], part), states[k].t_ns + ahead_ns
        truth = pose_at(states, late, part)
        found = part_of(predict(states[max(0, k - 60) : k + 1], late), part)
        if held is None or truth is None or found is None:
            continue
        rows.append(
            [np.degrees(pose.angle_to(truth)) for pose in (found, held)]
            + [1e3 * float(np.linalg.norm(pose.xyz - truth.xyz)) for pose in (found, held)]
        )
    return rows


def main(videos: tyro.conf.Positional[tuple[Path, ...]], most: int = 250) -> None:
    """Print one line a video, part and horizon."""
    for path in videos:
        with open_source(f"video:{path}") as source, Tracker.open() as tracker:
            states = [tracker.track(frame) for frame in islice(source, most)]
        for part in ("head", "left", "right"):
            for ms in HORIZONS_MS:
                rows = np.array(errors(states, part, ms * 1_000_000))
                if len(rows) < 20:
                    continue
                mean, worst = rows.mean(0), np.percentile(rows, 95, axis=0)
                print(
                    f"{path.stem:10} {part:5} {ms:3} ms: {mean[0]:.2f}/{mean[1]:.2f} deg, "
                    f"{mean[2]:.1f}/{mean[3]:.1f} mm; 95 %: {worst[0]:.2f}/{worst[1]:.2f} deg, "
                    f"{worst[2]:.1f}/{worst[3]:.1f} mm"
                )


if __name__ == "__main__":
    tyro.cli(main)
