"""Mutated session files: every one of them must be read or refused with words, in bounded memory.

    python -m benchmarks.fuzz_sessions --count 100000            # seeded: the same files every time
    python -m benchmarks.fuzz_sessions --only 4711               # one of them, with its traceback

A file is one of a few small sound ones (pictures, sound, every other record; sealed; of another
writer; without an index), changed at random: cut, bits flipped, bytes moved, lengths made huge, or,
so that checksums do not stop all of it, the messages inside its chunks changed and everything
around them made to fit. Each is opened, read from end to end and at some moments, and repaired; of
every third what was repaired is repaired (there must be nothing to do) and read again, of every
twelfth redacted. What may come of it is `SessionError`.

The work is done in processes of their own with little address space, because the decoders under it
are written in C: a process that dies counts as a failure of the file it had in hand.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

import zstandard
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Message, Schema

from benchmarks.fuzz_seeds import QUICK, SECRET, write_seeds
from sessions import sealing
from sessions.chunk_file import ChunkFile
from sessions.reader import SessionReader
from sessions.record_scan import messages_of, names_of
from sessions.record_walk import Piece, RecordWalk
from sessions.redaction import redact
from sessions.repair import repair
from sessions.session_error import SessionError

MOST_BYTES = 3 << 30
"""Address space of a process; Python and its libraries have mapped a gigabyte of it."""
HANG_S = 30
"""An input that takes longer counts as a hang. The machine may be busy."""
BATCH = 500
HUGE = (0, 1, 0x7F, 0xFF, 2**16, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)


class Hang(BaseException):
    """Raised by the alarm; no `except Exception` swallows it."""


def mutated(seeds: Sequence[Path], number: int, path: Path) -> str:
    """Write the input of that number to `path`; what was done, in words."""
    rng = random.Random(number)
    seed = rng.choice(seeds)
    name, change = rng.choice(CHANGES)
    if change is None:
        _change_inside(seed, path, rng)
    else:
        data = bytearray(seed.read_bytes())
        for _ in range(rng.choice((1, 1, 2, 5))):
            data = change(data, rng)
        path.write_bytes(data)
    return f"{seed.stem}, {name}"


def _cut(data: bytearray, rng: random.Random) -> bytearray:
    return data[: rng.randrange(len(data) + 1)]


def _flip(data: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def _huge(data: bytearray, rng: random.Random) -> bytearray:
    """A number of 2, 4 or 8 bytes made extreme, wherever it is."""
    kind = rng.choice("HIQ")
    size = struct.calcsize(kind)
    if len(data) > size:
        at = rng.randrange(len(data) - size)
        value = rng.choice((*HUGE, len(data), rng.randrange(2**64)))
        struct.pack_into(f"<{kind}", data, at, value % 2 ** (8 * size))
    return data


def _noise(data: bytearray, rng: random.Random) -> bytearray:
    at, count = rng.randrange(len(data) + 1), rng.randrange(1, 64)
    data[at : at + rng.choice((0, count))] = rng.randbytes(count)
    return data


def _moved(data: bytearray, rng: random.Random) -> bytearray:
    """A stretch taken away or put somewhere else as well."""
    at, to, count = (rng.randrange(len(data) + 1) for _ in range(3))
    stretch = data[at : at + count % 2000]
    if rng.random() < 0.5:
        del data[at : at + len(stretch)]
    if rng.random() < 0.7:
        data[to:to] = stretch
    return data


def _change_inside(seed: Path, path: Path, rng: random.Random) -> None:
    """The messages of a file changed, and all lengths, checksums, indexes and seals made to fit."""
    secret = SECRET if "sealed" in seed.stem else None
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    messages: list[Message] = []
    with seed.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        seal = None
        for piece in RecordWalk(file, size):
            if isinstance(piece, Piece) and piece.opcode == Opcode.METADATA and secret:
                seal = sealing.Seal.opened(str(seed), piece.record.metadata, secret)
                break
        for piece in RecordWalk(file, size, seal):
            if not isinstance(piece, Piece) or piece.content is None:
                continue
            here = copy.deepcopy(names_of(piece.content))
            schemas.update(here[0])
            channels.update(here[1])
            for raw in messages_of(piece.content):
                messages.append(
                    Message(raw.channel, raw.log_ns, raw.data, raw.publish_ns, raw.sequence)
                )
    for _ in range(rng.choice((1, 1, 2, 4))):
        _change_one(messages, schemas, channels, rng)
    path.unlink(missing_ok=True)
    with ChunkFile(path, "fuzz", secret) as out:
        out.take_channels(schemas, channels)
        every = rng.choice((3, 8, 1000))
        for k, message in enumerate(messages):
            out.add(
                message.channel_id,
                message.sequence % 2**32,
                message.log_time % 2**64,
                message.publish_time % 2**64,
                message.data,
            )
            if k % every == 0:
                out.flush()
    if secret is None and rng.random() < 0.1:
        _lie(path, rng)


def _change_one(
    messages: list[Message],
    schemas: dict[int, Schema],
    channels: dict[int, Channel],
    rng: random.Random,
) -> None:
    if not messages:
        return
    message = rng.choice(messages)
    what = rng.randrange(9)
    if what < 4:
        data = bytearray(message.data)
        change = rng.choice((_cut, _flip, _flip, _huge, _noise, _moved))
        message.data = bytes(change(data, rng))
    elif what == 4:
        message.log_time = rng.choice((*HUGE, message.log_time + 1, 0))
    elif what == 5:
        message.publish_time = rng.choice(HUGE)
        message.sequence = rng.choice(HUGE)
    elif what == 6:
        message.channel_id = rng.choice(list(channels))
    elif what == 7:
        channel = rng.choice(list(channels.values()))
        key = rng.choice((*channel.metadata, "seam"))
        text = channel.metadata.get(key, "")
        channel.metadata[key] = rng.choice(("", "2", "-1", "frames", "state", text[:-3], text[1:]))
        channel.schema_id = rng.choice((channel.schema_id, *schemas))
    else:
        messages.remove(message)


def _lie(path: Path, rng: random.Random) -> None:
    """A chunk in the place of all others that unpacks to what it does not say, or to far more."""
    big = rng.choice((1 << 20, 64 << 20, 300 << 20))
    told = rng.choice((0, 1000, big, 2**40, 2**63))
    body = zstandard.compress(bytes(min(big, 64 << 20)))
    name = rng.choice(("zstd", "lz4", "", "none", "visavis.sealed.1"))
    path.with_suffix(".lie").unlink(missing_ok=True)  # of a process that ended here
    with ChunkFile(path.with_suffix(".lie"), "fuzz") as out:
        chunk = Chunk(name, body, 5, 0, 0, told)
        builder = RecordBuilder()
        chunk.write(builder)
        out.copy_chunk(builder.end(), chunk, {1: [(0, 0), (5, 100)]})
    path.with_suffix(".lie").replace(path)


Change = Callable[[bytearray, random.Random], bytearray]
CHANGES: tuple[tuple[str, Change | None], ...] = (
    ("cut", _cut),
    ("bits flipped", _flip),
    ("lengths made huge", _huge),
    ("noise", _noise),
    ("bytes moved", _moved),
    ("messages changed", None),
    ("messages changed", None),
    ("messages changed", None),
    ("messages changed", None),
)


def examined(path: Path, number: int) -> str:
    """Read, repair and read again; how it went. Raises whatever must not be."""
    rng = random.Random(number)
    outcome = _read(path, rng)
    clean = path.with_suffix(".clean")
    clean.unlink(missing_ok=True)
    try:
        report = repair(path, clean, SECRET)
    except SessionError:
        return f"{outcome}, not repaired"
    if report.out is None:
        return f"{outcome}, sound"
    if number % 3:
        return f"{outcome}, repaired"
    try:
        twice = repair(clean, path.with_suffix(".twice"), SECRET).out is not None
    except SessionError:
        twice = True
    if twice:
        raise ValueError("a clean file needs repair")
    again = _read(clean, rng)
    if number % 12 == 0:
        out = path.with_suffix(".redacted")
        out.unlink(missing_ok=True)
        try:
            redact(clean, out, secret=SECRET)
        except SessionError:
            pass
    return f"{outcome}, repaired and {again}"


def _read(path: Path, rng: random.Random) -> str:
    try:
        with SessionReader(path, SECRET) as session:
            count = sum(1 for _ in session.read())
            for seam in rng.sample(session.seams, min(2, len(session.seams))):
                session.at(seam, rng.randint(session.start_ns, session.end_ns))
            session.times("marks")
            return "read" if count and not session.undecodable else "read in parts"
    except SessionError:
        return "refused"


@dataclass(slots=True)
class Findings:
    """Over many inputs."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: int = 0
    most_mb: float = 0.0

    def lines(self) -> list[str]:
        """What to print."""
        done = sum(self.outcomes.values())
        return [
            f"inputs                {done + len(self.failures)}",
            *(f"  {count:7d} {name}" for name, count in sorted(self.outcomes.items())),
            f"slowest               {self.slowest_s:.2f} s (number {self.slowest})",
            f"most memory           {self.most_mb:.0f} MiB of a process",
            f"failures              {len(self.failures)}",
            *(f"  {failure}" for failure in self.failures[:50]),
        ]


def _batch(pipe: Connection, seeds: list[Path], folder: Path, first: int, last: int) -> None:
    """A process: the inputs of these numbers, told one by one."""
    # A fork holds what its parent does, which libraries' reservations make gigabytes of.
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MOST_BYTES, held + MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sealing.OPS, sealing.MEMORY = QUICK
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)

    def alarm(signum: int, frame: FrameType | None) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, alarm)
    for number in range(first, last):
        pipe.send(("begins", number, "", 0.0))
        path = folder / "input.mcap"
        words = mutated(seeds, number, path)
        began = time.perf_counter()
        signal.alarm(HANG_S)
        try:
            outcome, kind = examined(path, number), "done"
        except Hang:
            outcome, kind = f"{words}: takes more than {HANG_S} s", "failed"
        except BaseException as error:
            text = "".join(traceback.format_exception(error)[-2:]).strip().replace("\n", " | ")
            outcome, kind = f"{words}: {text}", "failed"
        signal.alarm(0)
        pipe.send((kind, number, outcome, time.perf_counter() - began))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send(("memory", last, "", memory))
    pipe.close()


def fuzzed(first: int, count: int, tell: Callable[[Findings], None] | None = None) -> Findings:
    """Examine the inputs of `count` numbers from `first` on."""
    findings = Findings()
    # Where files are in memory, when there is such a place: writing is not what is tested.
    shm = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shm if os.access(shm, os.W_OK) else None))
    context = multiprocessing.get_context("fork")
    try:
        seeds = write_seeds(folder)
        number, end = first, first + count
        while number < end:
            last = min(number + BATCH, end)
            here, there = context.Pipe(False)
            process = context.Process(target=_batch, args=(there, seeds, folder, number, last))
            process.start()
            there.close()
            number = _followed(here, number, last, findings)
            process.join(HANG_S)
            if process.is_alive():
                process.kill()
                process.join(HANG_S)
            if tell is not None:
                tell(findings)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return findings


def _followed(pipe: Connection, number: int, last: int, findings: Findings) -> int:
    """Take in what a process tells; the number to go on with."""
    begun = number
    try:
        while pipe.poll(2 * HANG_S):
            kind, at, text, figure = pipe.recv()
            if kind == "begins":
                begun = at
            elif kind == "memory":
                findings.most_mb = max(findings.most_mb, figure)
                return last
            else:
                if figure > findings.slowest_s:
                    findings.slowest_s, findings.slowest = figure, at
                if kind == "done":
                    findings.outcomes[text] += 1
                else:
                    findings.failures.append(f"number {at}: {text}")
        findings.failures.append(f"number {begun}: the process hangs")
    except EOFError:
        findings.failures.append(f"number {begun}: the process died")
    return begun + 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 when anything failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--only", type=int, help="one input, in this process")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.only is not None:
        with tempfile.TemporaryDirectory() as name:
            sealing.OPS, sealing.MEMORY = QUICK
            seeds = write_seeds(Path(name))
            path = Path(name) / "input.mcap"
            print(mutated(seeds, options.only, path))
            print(examined(path, options.only))
        return 0
    began = time.perf_counter()

    told = 0

    def tell(findings: Findings) -> None:
        nonlocal told
        done = sum(findings.outcomes.values()) + len(findings.failures)
        rate = done / (time.perf_counter() - began)
        print(f"{done} done, {rate:.0f}/s", file=sys.stderr, flush=True)
        for failure in findings.failures[told:]:
            print(f"failed: {failure}", file=sys.stderr, flush=True)
        told = len(findings.failures)

    findings = fuzzed(options.first, options.count, tell)
    if options.json:
        print(json.dumps({"outcomes": findings.outcomes, "failures": findings.failures}))
    print("\n".join(findings.lines()))
    return 1 if findings.failures else 0


if __name__ == "__main__":
    sys.exit(main())
