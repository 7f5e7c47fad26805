"""What a kill costs a recording: `kill -9` at random moments, then repair, open and compare.

    python -m benchmarks.crash --rounds 200                      # the clip that ships
    python -m benchmarks.crash --clip d6.mp4 --rounds 200 --json # another video

Each round starts a recorder of its own, which records a video's frames at the video's rate with
sound and a mark a frame, as a live source does (nothing waits for the disk), and tells on a pipe
what `SessionWriter.saved` counts. It is killed at a seeded random moment. The clock is the same for
both processes, and a frame's time is when it was handed to the writer, so that what was lost before
the kill is the kill's moment less the newest record that the repaired file holds.

The exit code is 1 when a file does not open, more than a second is lost, or a record is missing
that was counted as saved.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import numpy as np

from assets.manifest import asset_path
from capture.video_file import VideoFile
from sessions.reader import SessionReader
from sessions.repair import repair
from sessions.session_header import SessionHeader
from sessions.writer import SessionOptions, SessionWriter
from streams.audio_block import AudioBlock
from streams.clock import now_ns
from streams.frame import Frame
from streams.mark import Mark

MOST_LOST_S = 1.0
SECRET = b"only for this benchmark"
SOUND_HZ = 16_000
CLIP_FRAMES = 150
"""Held in memory, and recorded again and again."""
START_S = 120.0
"""A recorder that has not begun after so long has failed."""


@dataclass(frozen=True, slots=True)
class Round:
    """One kill."""

    seed: int
    sealed: bool
    recorded_s: float
    """From the first frame to the kill."""
    frames: int
    """In the repaired file..."""
    saved: int
    """...and as the recorder had told."""
    lost_s: float
    """From the newest record of the file to the kill."""
    damaged_bytes: int
    failed: str
    """What must not be, however slow the machine is; "" when all is well."""


def record(out: Path, clip: Path, sealed: bool) -> None:
    """The recorder; runs until it is killed."""
    with VideoFile(clip) as video:
        fps = video.fps
        pictures = [frame for frame, _ in zip(video, range(CLIP_FRAMES), strict=False)]
    camera = pictures[0].camera
    noise = np.random.default_rng(0).integers(-999, 999, (SOUND_HZ, 1)).astype(np.int16)
    length = round(SOUND_HZ / fps)
    header = SessionHeader(now_ns(), time.time_ns(), "visavis", str(clip), cameras=(camera,))
    options = SessionOptions(fps=fps)
    with SessionWriter(out, header, options, SECRET if sealed else None) as session:
        print("ready", flush=True)
        told: dict[str, int] = {}
        due = time.monotonic()
        for number, picture in enumerate(cycle(pictures)):
            t_ns = now_ns()
            if not number:
                print(json.dumps({"began_ns": t_ns}), flush=True)
            sound = AudioBlock(t_ns, "noise", SOUND_HZ, noise[:length])
            mark = Mark(t_ns, f"frame {number}")
            session.write(Frame(t_ns, number, camera, picture.rgb), sound, mark)
            if session.lost:
                raise SystemExit(f"records found no room: {session.lost}")
            saved = session.saved
            if saved != told:
                told = saved
                print(json.dumps(saved), flush=True)
            due += 1 / fps
            time.sleep(max(0.0, due - time.monotonic()))


class Recorder:
    """A recorder in a process of its own."""

    def __init__(self, out: Path, clip: Path, seed: int, sealed: bool) -> None:
        self.out, self.seed, self.sealed = out, seed, sealed
        self._seconds = random.Random(seed).uniform(0.0, 4.0)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.crash", "--record", str(out), "--clip", str(clip)]
            + ["--sealed"] * sealed,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )

    def killed(self) -> Round:
        """Wait for its moment, kill it, and look at what it left."""
        lines = self._process.stdout
        assert lines is not None
        try:
            if lines.readline() != "ready\n":
                raise RuntimeError("the recorder did not begin")
            began_ns = int(json.loads(lines.readline())["began_ns"])
            time.sleep(max(0.0, self._seconds - (now_ns() - began_ns) / 1e9))
        finally:
            self._process.send_signal(signal.SIGKILL)
            killed_ns = now_ns()
            self._process.wait(START_S)
        told = [line for line in lines.read().splitlines(True) if line.endswith("\n")]
        saved: dict[str, int] = json.loads(told[-1]) if told else {}
        return self._examined(began_ns, killed_ns, saved)

    def _examined(self, began_ns: int, killed_ns: int, saved: dict[str, int]) -> Round:
        clean = self.out.with_name(f"{self.out.stem}.repaired.mcap")
        secret = SECRET if self.sealed else None
        failed, frames, newest_ns, damaged = "", 0, began_ns, 0
        try:
            report = repair(self.out, clean, secret)
            damaged = report.lost_bytes
            path = clean if report.out else self.out
            with SessionReader(path, secret) as session:
                records = list(session.read())
            counts = dict.fromkeys(saved, 0)
            for one in records:
                counts[one.seam] = counts.get(one.seam, 0) + 1
            frames = counts.get("frames", 0)
            newest_ns = max((one.t_ns for one in records), default=began_ns)
            seqs = [one.record.seq for one in records if isinstance(one.record, Frame)]
            if missing := {s: n - counts[s] for s, n in saved.items() if counts[s] < n}:
                failed = f"saved and missing: {missing}"
            elif seqs != list(range(len(seqs))):
                failed = "frames are missing between others"
            elif session.undecodable:
                failed = f"{session.undecodable} frames cannot be decoded"
            elif stat.S_IMODE(path.stat().st_mode) != 0o600:
                failed = "others may read the file"
        except (OSError, ValueError) as error:
            failed = str(error)
        lost_s = (killed_ns - newest_ns) / 1e9
        recorded_s = (killed_ns - began_ns) / 1e9
        told = saved.get("frames", 0)
        return Round(self.seed, self.sealed, recorded_s, frames, told, lost_s, damaged, failed)


def rounds(clip: Path, count: int, seed: int = 0, at_once: int = 1) -> list[Round]:
    """So many kills, every fourth of a sealed file; `at_once` recorders run beside one another."""
    done: list[Round] = []
    with tempfile.TemporaryDirectory() as folder:
        for first in range(0, count, at_once):
            recorders = [
                Recorder(Path(folder) / f"{k}.mcap", clip, seed + k, k % 4 == 3)
                for k in range(first, min(first + at_once, count))
            ]
            for recorder in recorders:
                done.append(recorder.killed())
                for path in Path(folder).glob(f"{recorder.out.stem}.*"):
                    path.unlink()
    return done


def table(done: Sequence[Round]) -> str:
    """Figures over all rounds."""
    lost = np.array([one.lost_s for one in done])
    gained = np.array([one.frames - one.saved for one in done])
    failures = [one for one in done if one.failed]
    lines = [
        f"kills                        {len(done)} ({sum(one.sealed for one in done)} sealed)",
        f"recorded before the kill     {min(one.recorded_s for one in done):.2f} to "
        f"{max(one.recorded_s for one in done):.2f} s",
        f"frames in all files          {sum(one.frames for one in done)}",
        f"lost                         median {np.median(lost):.2f} s, "
        f"95 % {np.quantile(lost, 0.95):.2f} s, most {lost.max():.2f} s",
        f"frames beyond what was told  {gained.min()} to {gained.max()}",
        f"files with damaged bytes     {sum(one.damaged_bytes > 0 for one in done)}",
        f"more than {MOST_LOST_S:g} s lost          {(lost > MOST_LOST_S).sum()}",
        f"failed                       {len(failures)}",
    ]
    return "\n".join(lines + [f"  seed {one.seed}: {one.failed}" for one in failures])


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clip", type=Path, default=asset_path("clips/demo"))
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="every round as a line of JSON")
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--sealed", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.record is not None:
        record(options.record, options.clip, options.sealed)
        return 0
    done = rounds(options.clip, options.rounds, options.seed, options.at_once)
    if options.json:
        for one in done:
            print(json.dumps(asdict(one)))
    print(table(done))
    return 1 if any(one.failed or one.lost_s > MOST_LOST_S for one in done) else 0


if __name__ == "__main__":
    sys.exit(main())
