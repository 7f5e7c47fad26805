"""How long it takes to reach any moment of a long session, forwards and backwards.

    python -m benchmarks.seek [--clip CLIP.mp4] [--minutes 10] [--session FILE.mcap]

A clip, enlarged to 1280 x 720 and played back and forth, is recorded with states and codes at 30
a second; then pictures, states and codes are asked for at random times, and stepped through. Each
seek is by one reader that stays open; the system's file cache is warm.
"""

from __future__ import annotations

import argparse
import builtins
import itertools
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from assets.manifest import asset_path
from capture.scenes import open_scene
from capture.video_file import VideoFile
from sessions import chunk_reader
from sessions.picture_track import PictureOptions
from sessions.reader import SessionReader
from sessions.session_header import SessionHeader
from sessions.writer import SessionOptions, SessionWriter
from streams.avatar_code import AvatarCode
from streams.camera import Camera
from streams.frame import Frame
from streams.tracked_state import TrackedState

SIZE = (1280, 720)
PICTURES = 75
"""Of the clip, kept in memory (200 MB)."""
STEP_NS = 33_333_333
SEEKS = 300


class CountedFile:
    """Counts the bytes that are read of a file."""

    count = 0

    def __init__(self, path: Path) -> None:
        self._file = builtins.open(path, "rb")  # noqa: SIM115 - closed by the reader

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        CountedFile.count += len(data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def record(path: Path, clip: Path, minutes: float, lossless: bool) -> None:
    """The long session."""
    with VideoFile(clip) as video:
        pictures = [
            np.asarray(cv2.resize(frame.rgb, SIZE), np.uint8)
            for frame in itertools.islice(video, PICTURES)
        ]
    order = [*range(len(pictures)), *range(len(pictures) - 2, 0, -1)]
    camera = Camera.from_fov(SIZE, name="camera")
    scene = open_scene("demo")
    gaze = np.tile(np.array([0, 0, 1], np.float32), (2, 1))
    options = SessionOptions(PictureOptions(lossless=lossless), wait_s=600.0, stamped=False)
    with SessionWriter(path, SessionHeader(0, 0, cameras=(camera,)), options) as writer:
        for k in range(round(minutes * 60 * 30)):
            t_ns = k * STEP_NS
            state = scene.state_at(t_ns % 8_000_000_000)
            state = TrackedState(t_ns, "camera", state.face, state.hands)
            rng = np.random.default_rng(k)
            numbers = rng.normal(size=96).astype(np.float32)
            head = None if state.face is None else state.face.world_from_head
            code = AvatarCode(t_ns, "avatars/none", numbers, numbers[:32], gaze, head, state.hands)
            writer.write(Frame(t_ns, k, camera, pictures[order[k % len(order)]]), state, code)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds on the clock, and of this process's CPU."""
    begun, cpu = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - begun) * 1e3, (time.process_time() - cpu) * 1e3


def told(name: str, values: list[tuple[float, float]]) -> str:
    """One line: on a busy machine the clock tells of the others' work too, the CPU does not."""
    parts = []
    for what, numbers in zip(("clock", "CPU"), np.array(values).T, strict=True):
        middle, late, most = np.percentile(numbers, (50, 95, 100))
        parts.append(f"{what} p50 {middle:6.2f} p95 {late:6.2f} max {most:6.2f} ms")
    return f"{name:40} {';  '.join(parts)}"


def seeks(
    session: SessionReader, times: npt.NDArray[np.int64], seam: str, order: Iterable[int]
) -> list[tuple[float, float]]:
    """Milliseconds of each."""
    return [timed(lambda k=k: session.at(seam, int(times[k]))) for k in order]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", type=Path, default=None)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--session", type=Path, default=None, help="made there, or used")
    parser.add_argument("--lossless", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = options.session or Path(folder) / "long.mcap"
        if not path.exists():
            clip = options.clip or asset_path("clips/demo")
            took, _ = timed(lambda: record(path, clip, options.minutes, options.lossless))
            print(f"recorded in {took / 1e3:.0f} s")
        measure(path)


def measure(path: Path) -> None:
    """All figures of one file."""
    chunk_reader.opened = CountedFile  # type: ignore[assignment]
    rng = np.random.default_rng(0)
    print(f"{path.stat().st_size / 1e6:.1f} MB")
    opening = [timed(lambda: SessionReader(path).close()) for _ in range(10)]
    CountedFile.count = 0
    with SessionReader(path) as session:
        print(f"opening reads {CountedFile.count / 1e3:.1f} kB")
        print(told("open", opening))
        CountedFile.count = 0
        whole, _ = timed(lambda: session.times("frames"))
        print(f"times of all frames: {whole:.1f} ms, {CountedFile.count / 1e3:.1f} kB of index")
        times = session.times("frames")
        count = len(times)
        anywhere = rng.integers(0, count, SEEKS)
        for seam in ("frames", "state", "code"):
            print(told(f"{seam}: anywhere", seeks(session, times, seam, anywhere)))
        forwards = np.sort(rng.integers(0, count, SEEKS))
        print(told("frames: forwards", seeks(session, times, "frames", forwards)))
        print(told("frames: backwards", seeks(session, times, "frames", forwards[::-1])))
        middle = count // 2
        on = range(middle, middle + SEEKS)
        print(told("frames: one step on, again and again", seeks(session, times, "frames", on)))
        back = range(middle + SEEKS, middle, -1)
        print(told("frames: one step back, again and again", seeks(session, times, "frames", back)))


if __name__ == "__main__":
    main()
