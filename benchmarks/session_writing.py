"""What recording costs: `python -m benchmarks.session_writing [VIDEO] [--minutes 60]`.

Three parts, in one run:
- the same records (1280 x 720 pictures, states, codes) written as our sessions, as MCAP of raw
  pictures by the `mcap` package's own writer, and by Rerun's logging; then read again;
- a long session of every seam at 30 frames a second: CPU, size, memory, opening and seeking;
- a live pipeline with and without a recorder, pair by pair, in CPU seconds.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from assets.manifest import asset_path
from capture.frame_source import open_source
from sessions.picture_track import PictureOptions
from sessions.reader import SessionReader
from sessions.record_messages import packed, state_message
from sessions.seams import Record
from sessions.session_header import SessionHeader
from sessions.writer import SessionOptions, SessionWriter
from streams.audio_block import AudioBlock
from streams.avatar_code import AvatarCode
from streams.camera import Camera
from streams.frame import Frame
from streams.headset_sample import HeadsetSample
from streams.rigid import Rigid
from streams.tracked_state import TrackedState
from streams.view import View
from tracking.tracker import Tracker

SIZE, FPS = (1280, 720), 30
STEP_NS = 1_000_000_000 // FPS
HEADER = SessionHeader(0, 0, "benchmark")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", nargs="?", type=Path, default=None)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    video = options.video or asset_path("clips/demo")
    frames, states = scene(video, options.frames)
    with tempfile.TemporaryDirectory() as folder:
        compare(frames, states, Path(folder))
        long_session(frames, states, options.minutes, Path(folder) / "long.mcap")
        overhead(video, options.rounds, Path(folder))


def scene(video: Path, count: int) -> tuple[list[Frame], list[TrackedState]]:
    """Pictures of a person, filled up to 16:9 with grey walls and a camera's noise, tracked."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0.0, 1.5, (SIZE[1], SIZE[0], 3)).astype(np.float32)
    camera = Camera.guessed(SIZE, name="camera")
    frames: list[Frame] = []
    with open_source(f"video:{video}") as source:
        for k, frame in enumerate(itertools.islice(source, count)):
            scale = SIZE[1] / frame.rgb.shape[0]
            width = min(SIZE[0], round(frame.rgb.shape[1] * scale))
            wall = np.full((SIZE[1], SIZE[0], 3), 120, np.float32)
            left = (SIZE[0] - width) // 2
            wall[:, left : left + width] = cv2.resize(frame.rgb, (width, SIZE[1]))
            wall += np.roll(noise, (7 * k, 13 * k), (0, 1))
            rgb = np.clip(np.rint(wall), 0, 255).astype(np.uint8)
            frames.append(Frame(k * STEP_NS, k, camera, rgb))
    with Tracker.open() as tracker:
        states = [tracker.track(frame) for frame in frames]
    return frames, states


def code_of(t_ns: int, rng: np.random.Generator) -> AvatarCode:
    """As long as a personal avatar's, of numbers that nothing can compress."""
    ahead = np.tile(np.array([0, 0, 1], np.float32), (2, 1))
    numbers = rng.normal(size=608).astype(np.float32)
    return AvatarCode(t_ns, "benchmark", numbers[:96], numbers[96:], ahead, Rigid())


def compare(frames: list[Frame], states: list[TrackedState], folder: Path) -> None:
    rng = np.random.default_rng(1)
    codes = [code_of(frame.t_ns, rng) for frame in frames]
    raw_mb = sum(frame.rgb.nbytes for frame in frames) / 1e6
    print(f"\n{len(frames)} pictures of {SIZE[0]}x{SIZE[1]}, states and codes; raw {raw_mb:.0f} MB")
    print(f"{'writer':34}{'CPU ms/frame':>14}{'wall':>8}{'MB':>9}{'read CPU ms/frame':>19}")

    def ours(lossless: bool) -> Callable[[Path], Callable[[], int]]:
        def write(path: Path) -> Callable[[], int]:
            options = SessionOptions(PictureOptions(lossless=lossless), fps=FPS, wait_s=60.0)
            with SessionWriter(path, HEADER, options) as writer:
                for frame, state, code in zip(frames, states, codes, strict=True):
                    writer.write(frame, state, code)

            def read() -> int:
                with SessionReader(path) as session:
                    return sum(1 for _ in session.read())

            return read

        return write

    row("Visavis session (H.264)", ours(False), folder / "h264.mcap", len(frames))
    row("Visavis session, lossless", ours(True), folder / "lossless.mcap", len(frames))
    for name in ("NONE", "ZSTD"):
        row(
            f"mcap's writer, raw pictures, {name.lower()}",
            lambda path, name=name: plain_mcap(path, name, frames, states, codes),
            folder / f"plain_{name}.mcap",
            len(frames),
        )
    try:
        import rerun  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        print("Rerun: not installed (pip install 'visavis[rerun]')")
        return
    for name, quality in (("raw pictures", None), ("JPEG 90", 90)):
        row(
            f"Rerun's log, {name}",
            lambda path, quality=quality: rerun_log(path, quality, frames, states, codes),
            folder / f"rerun_{quality}.rrd",
            len(frames),
        )


def row(
    name: str, write: Callable[[Path], Callable[[], int] | None], path: Path, count: int
) -> None:
    cpu, wall = time.process_time(), time.perf_counter()
    read = write(path)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    size = path.stat().st_size / 1e6
    reading = "-"
    if read is not None:
        begun = time.process_time()
        read()
        reading = f"{(time.process_time() - begun) / count * 1e3:.2f}"
    print(f"{name:34}{cpu / count * 1e3:14.2f}{wall / count * 1e3:8.2f}{size:9.1f}{reading:>19}")


def plain_mcap(
    path: Path,
    compression: str,
    frames: list[Frame],
    states: list[TrackedState],
    codes: list[AvatarCode],
) -> Callable[[], int]:
    from mcap.reader import make_reader
    from mcap.writer import CompressionType, Writer

    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType[compression])
        writer.start()
        channels = [writer.register_channel(t, "raw", 0) for t in ("frames", "state", "code")]
        for frame, state, code in zip(frames, states, codes, strict=True):
            numbers = np.concatenate([code.geometry, code.appearance]).tobytes()
            for channel, data in zip(
                channels, (frame.rgb.tobytes(), packed(state_message(state)), numbers), strict=True
            ):
                writer.add_message(channel, frame.t_ns, data, frame.t_ns)
        writer.finish()

    def read() -> int:
        with path.open("rb") as file:
            return sum(len(m.data) > 0 for _, _, m in make_reader(file).iter_messages())

    return read


def rerun_log(
    path: Path,
    quality: int | None,
    frames: list[Frame],
    states: list[TrackedState],
    codes: list[AvatarCode],
) -> None:
    import rerun as rr  # pyright: ignore[reportMissingImports]

    stream = rr.RecordingStream("visavis_benchmark")
    stream.save(path)
    for frame, state, code in zip(frames, states, codes, strict=True):
        stream.set_time("t", duration=np.timedelta64(frame.t_ns, "ns"))
        image = rr.Image(frame.rgb)
        stream.log("camera", image if quality is None else image.compress(jpeg_quality=quality))
        if state.face is not None:
            stream.log("landmarks", rr.Points3D(state.face.landmarks))
            stream.log("shapes", rr.Scalars(state.face.blendshapes))
        stream.log("code", rr.Scalars(np.concatenate([code.geometry, code.appearance])))
    stream.flush()
    stream.disconnect()


def all_seams(
    frames: list[Frame], states: list[TrackedState], count: int
) -> Iterator[tuple[Record, ...]]:
    """Every seam, forwards and backwards through the same pictures, with 16 kHz of sound."""
    rng = np.random.default_rng(2)
    cycle = len(frames)
    for k in range(count):
        there = k % (2 * cycle)
        at = there if there < cycle else 2 * cycle - 1 - there
        t_ns = k * STEP_NS
        samples = rng.integers(-2000, 2000, (16_000 // FPS, 1), np.int16)
        view = View.front(SIZE, t_ns=t_ns)
        yield (
            replace(frames[at], t_ns=t_ns, seq=k),
            AudioBlock(t_ns, "microphone", 16_000, samples),
            replace(states[at], t_ns=t_ns),
            code_of(t_ns, rng),
            view,
            HeadsetSample(t_ns, Rigid(), rng.normal(size=(25, 3)).astype(np.float32)),
        )


def long_session(
    frames: list[Frame], states: list[TrackedState], minutes: float, path: Path
) -> None:
    count = round(minutes * 60 * FPS)
    options = SessionOptions(fps=FPS, wait_s=60.0, queue_bytes=32 << 20)
    making = time.process_time()
    for _ in all_seams(frames, states, min(count, 900)):
        pass
    making = (time.process_time() - making) / min(count, 900) * count
    memory: list[float] = []
    cpu = time.process_time()
    with SessionWriter(path, HEADER, options) as writer:
        for k, records in enumerate(all_seams(frames, states, count)):
            writer.write(*records)
            if k % max(1, count // 6) == 0:
                memory.append(resident_mb())
    memory.append(resident_mb())
    cpu = time.process_time() - cpu - making
    seconds = count / FPS
    size = path.stat().st_size
    print(f"\n{minutes:g} minutes of 720p30 with frames, sound, headset, state, code, views")
    print(f"writer: {cpu / seconds * 100:.1f} % of one core (making the records subtracted)")
    print(f"size: {size / 1e6:.0f} MB, {size / seconds * 3600 / 1e9:.2f} GB an hour")
    print("memory, MB: " + " ".join(f"{value:.0f}" for value in memory))
    begun = time.perf_counter()
    session = SessionReader(path)
    opening_ms = (time.perf_counter() - begun) * 1e3
    rng = np.random.default_rng(3)
    seeks: list[float] = []
    with session:
        for t_ns in rng.integers(0, count * STEP_NS, 100):
            begun = time.perf_counter()
            session.at("frames", int(t_ns))
            seeks.append((time.perf_counter() - begun) * 1e3)
    print(
        f"opening: {opening_ms:.0f} ms; seeking a picture: median {np.median(seeks):.0f}, "
        f"p95 {np.percentile(seeks, 95):.0f}, most {max(seeks):.0f} ms"
    )


def overhead(video: Path, rounds: int, folder: Path) -> None:
    from apps.pipeline import Pipeline, PipelineOptions
    from apps.preview import Preview
    from apps.preview_stages import open_source_of, open_stages
    from apps.recording import recording_of

    plain = Preview(source=f"video:{video}", seconds=4.0)

    def cpu_s(preview: Preview) -> float:
        with (
            open_source_of(preview) as source,
            recording_of(preview, source) as taps,
            open_stages(preview, source) as stages,
            Pipeline(stages, PipelineOptions(lossless=True), taps) as pipeline,
        ):
            shown = iter(pipeline)
            next(shown)
            begun = time.process_time()
            for drawn in shown:
                if drawn.frame.t_ns >= 4e9:
                    break
            return time.process_time() - begun

    ratios: list[float] = []
    for k in range(rounds):
        recorded = replace(plain, record=folder / f"{k}.mcap")
        order = (plain, recorded) if k % 2 else (recorded, plain)
        spent = {preview.record is None: cpu_s(preview) for preview in order}
        ratios.append(spent[False] / spent[True])
    extra = (np.median(ratios) - 1) * 100
    print(f"\nrecording beside a pipeline (frames, state, code, panels, views): {extra:+.1f} % CPU")
    print("rounds: " + " ".join(f"{(ratio - 1) * 100:+.1f}" for ratio in ratios))


def resident_mb() -> float:
    """Memory of this process now, MB (Linux); elsewhere the most that it ever had."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
