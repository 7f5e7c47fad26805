"""The `visavis` command.

Exit codes: 0 done; 1 failed, with one readable line on stderr; 2 the command line makes no sense;
130 stopped by Ctrl-C (files that were being written are closed and play). VISAVIS_DEBUG=1 shows
the traceback of a failure.
"""

from __future__ import annotations

import contextlib
import io
import os

# Before numpy is imported anywhere: the matrices here are small, and a pool of BLAS threads on
# busy cores makes one product wait tens of milliseconds. MediaPipe and torch have their own pools.
# Whatever the environment says: how a product is split changes its last bits, and a replay would
# not give what was recorded.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
# Mesa's software renderer: the stages already keep the cores busy, and threads that wait for one
# another cost more than they gain (a sixth of drawing's CPU time on two cores).
os.environ.setdefault("LP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // 2)))

import re
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import FrameType

from apps.batch import Batch, split_arguments
from apps.bench import Bench
from apps.calibrate import Calibrate
from apps.compare import Compare
from apps.demo import Demo
from apps.doctor import Doctor
from apps.enroll import Enroll
from apps.export import Export
from apps.film import Film
from apps.imagine import Imagine
from apps.inspect import Inspect
from apps.measure_hands import MeasureHands
from apps.preview import Preview
from apps.record import Record
from apps.redact import Redact
from apps.relay import Relay
from apps.repair import Repair
from apps.replay import Replay
from apps.session_import import Import
from apps.stream import Stream
from apps.test import Test
from apps.train import Train
from apps.usage import UsageError, one_line

DONE, FAILED, USAGE, STOPPED = 0, 1, 2, 130
Verb = (
    Batch
    | Bench
    | Calibrate
    | Compare
    | Demo
    | Doctor
    | Enroll
    | Export
    | Film
    | Imagine
    | Import
    | Inspect
    | MeasureHands
    | Preview
    | Record
    | Redact
    | Relay
    | Repair
    | Replay
    | Stream
    | Test
    | Train
)
# One entry a verb; the class holds its options, its `run` returns the exit code. What a verb needs
# (torch, MediaPipe, OpenGL) is imported inside `run`, so that --help answers at once.
VERBS: dict[str, type[Verb]] = {
    "demo": Demo,
    "preview": Preview,
    "stream": Stream,
    "record": Record,
    "replay": Replay,
    "inspect": Inspect,
    "compare": Compare,
    "doctor": Doctor,
    "enroll": Enroll,
    "measure-hands": MeasureHands,
    "export": Export,
    "import": Import,
    "bench": Bench,
    "calibrate": Calibrate,
    "film": Film,
    "imagine": Imagine,
    "batch": Batch,
    "train": Train,
    "repair": Repair,
    "redact": Redact,
    "relay": Relay,
    "test": Test,
}
DESCRIPTION = (
    "Photorealistic avatars: a camera in, tracked face and hands, a neural avatar drawn out.\n\n"
    "Try `visavis demo` first; `visavis doctor` tells what works on this machine."
)


def main() -> None:
    """The entry point of the installed command."""
    _quieten_native_code()
    # Whoever closes a pipe early (`visavis doctor | head`) gets silence, not a traceback.
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say; return the exit code."""
    try:
        verb = parse_arguments(list(arguments))
        if isinstance(verb, int):
            return verb
        with _terminate_as_interrupt():
            return verb.run()
    except UsageError as error:
        return _complain(f"{error}", USAGE)
    except KeyboardInterrupt:
        return _complain("stopped", STOPPED)
    except BrokenPipeError:
        return FAILED
    except Exception as error:
        if os.environ.get("VISAVIS_DEBUG"):
            traceback.print_exc()
        return _complain(one_line(error), FAILED)


def parse_arguments(arguments: list[str]) -> Verb | int:
    """The verb with its options, or an exit code when there is nothing more to do."""
    if arguments[:1] == ["test"] and arguments[1:] not in (["-h"], ["--help"]):
        # Everything after it is pytest's.
        return Test(tuple(arguments[1:]))
    if not arguments:
        arguments = ["--help"]
    if arguments[0] == "batch":
        own, options = split_arguments(arguments[1:])
        batch = _parsed(["batch", *own])
        return replace(batch, options=options) if isinstance(batch, Batch) else batch
    return _parsed(arguments)


def _parsed(arguments: list[str]) -> Verb | int:
    """The same, of one verb's own arguments."""
    import tyro

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.extras.subcommand_cli_from_dict(
                dict(VERBS), prog="visavis", description=DESCRIPTION, args=arguments
            )
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else FAILED
        if code == 0:
            return DONE
        verb = f" {arguments[0]}" if arguments[0] in VERBS else ""
        return _complain(f"{_unboxed(said.getvalue())} (see: visavis{verb} --help)", USAGE)


def _unboxed(text: str) -> str:
    """The message inside tyro's error box, as one line: up to the second rule, without the hint
    at --help."""
    parts: list[list[str]] = [[]]
    for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines():
        # Drawn with lines, or with ASCII where the terminal knows no better.
        words = line.strip("│| ").strip()
        if not words or words[0] in "╭╰+" or (words.endswith("---") and words.strip("-")):
            continue
        if set(words) <= {"─", "-"}:
            parts.append([])
        else:
            parts[-1].append(" ".join(words.split()))
    kept: list[str] = []
    for part in parts:
        text = " ".join(part).partition(" Got errors:")[0].rstrip(".")
        if text.startswith("Perhaps you meant"):
            names = dict.fromkeys(re.findall(r"--[a-z][a-z-]+", text))
            text = f"perhaps you meant {' or '.join(n for n in names if n != '--help')}"
        if text and not text.startswith(("For full", "Argument helptext")):
            kept.append(text)
    return "; ".join(kept) or "the command line makes no sense"


def _quieten_native_code() -> None:
    """Native libraries write notes to the process's stderr that no user can act on; ours keeps a
    descriptor of its own. What pytest starts, and VISAVIS_DEBUG=1, get everything."""
    if os.environ.get("VISAVIS_DEBUG") or sys.argv[1:2] == ["test"]:
        return
    try:
        own = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
    except OSError:  # stderr is closed: there is nothing to keep apart.
        return
    sys.stderr = os.fdopen(own, "w", buffering=1, errors="backslashreplace")
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _complain(line: str, code: int) -> int:
    print(f"visavis: {line}", file=sys.stderr, flush=True)
    return code


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM (a service manager, `timeout`) closes files as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # Not in the main thread (a test): leave signals alone.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
