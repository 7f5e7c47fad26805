"""The unit of a batch's work: one verb on one file, in a process of its own.

`run_task` runs where Ray puts it. It starts `python -m apps.batch_task VERB ...`, the same command
line as anywhere else, which writes into a folder of its own; what is whole there is then renamed to
where it belongs, and a receipt is written. So a crash of the verb, of the worker or of the machine
leaves no half file, and nothing that looks done.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from apps.batch_receipt import FileIdentity, Receipt, files_named
from apps.usage import FailedError, one_line

OUT = "{out}"
"""Stands in a command for the file to be written."""
DONE, FAILED, CRASHED = "done", "failed", "crashed"
_STOPPED = 130
_MEGABYTE = 1e6 / 1024 if sys.platform != "darwin" else 1e6
"""What getrusage counts memory in."""


@dataclass(frozen=True, slots=True)
class BatchTask:
    """One file's work. Every path is absolute."""

    name: str
    """For people: the input's path below the pattern's folder, without its ending."""
    input: Path
    folder: Path
    """The batch's."""
    output: Path
    """Below `folder`, with its ending."""
    template: tuple[str, ...]
    """The verb and its options, {input} and {out} still in them: what a receipt is compared by."""
    command: tuple[str, ...]
    """The same with only {out} left. Without {out}, what the verb prints is the output."""
    cwd: Path
    """What relative paths in the options are relative to."""
    version: str
    """Of Visavis, on the machine that asks."""
    gpus: float = 0.0
    time_limit: float | None = None
    """Seconds."""

    @property
    def key(self) -> Path:
        """The output below the batch's folder."""
        return self.output.relative_to(self.folder)

    @property
    def receipt(self) -> Path:
        """Where what is remembered of it lies."""
        return own_folder(self.folder) / "receipts" / f"{self.key}.json"

    @property
    def log(self) -> Path:
        """Where what the verb says of itself lies."""
        return own_folder(self.folder) / "logs" / f"{self.key}.log"

    def also(self) -> tuple[Path, ...]:
        """The files that its options name."""
        named = files_named(self.command[1:], self.cwd)
        return tuple(path for path in named if path != self.input)

    def kept(self) -> Receipt | None:
        """What was done before and need not be done again."""
        receipt = Receipt.read(self.receipt)
        if receipt is None or not receipt.holds(
            self.version, self.template, self.input, self.also(), self.folder
        ):
            return None
        return receipt


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What came of one try."""

    result: str
    """done; failed: the verb said why, and would again; crashed: worth another try."""
    reason: str = ""
    said: str = ""
    """The verb's last line."""
    outputs: tuple[tuple[str, int], ...] = ()
    """Names below the batch's folder, and bytes."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    """The most memory that the process held; at least what Ray's worker holds, about 130 MB."""
    host: str = ""


def visavis_version() -> str:
    """Of the installed package."""
    return metadata.version("visavis")


def own_folder(folder: Path) -> Path:
    """Where a batch keeps receipts, logs and unfinished work."""
    return folder / ".batch"


def run_task(task: BatchTask, attempt: int) -> BatchOutcome:
    """Do it, publish it, write the receipt. Never raises for what a file or a machine does wrong.

    `attempt` counts from 1, so that what is left of a killed try is in nobody's way.
    """
    begun = time.monotonic()
    try:
        _check_machine(task)
        with _work_folder(task, attempt) as work:
            return _run(task, attempt, work, begun)
    except (OSError, FailedError) as error:
        why = one_line(error) if isinstance(error, FailedError) else _os_error(error)
    except Exception as error:
        why = one_line(error)
        with contextlib.suppress(OSError), task.log.open("a") as log:
            traceback.print_exc(file=log)
    return BatchOutcome(FAILED, why, seconds=time.monotonic() - begun, host=socket.gethostname())


def _check_machine(task: BatchTask) -> None:
    """Raises FailedError where a machine of a cluster cannot do it."""
    host = socket.gethostname()
    if (here := visavis_version()) != task.version:
        raise FailedError(f"{host} has Visavis {here}, this machine {task.version}; expected equal")
    for path in (task.input, task.folder, task.cwd):
        if not path.exists():
            raise FailedError(
                f"{path} is not there on {host}: every machine has to see files and folder under "
                "the same paths"
            )


@contextlib.contextmanager
def _work_folder(task: BatchTask, attempt: int) -> Iterator[Path]:
    work = own_folder(task.folder) / "work" / f"{task.key}.{attempt}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run(task: BatchTask, attempt: int, work: Path, begun: float) -> BatchOutcome:
    source, also = FileIdentity.of(task.input), tuple(FileIdentity.of(p) for p in task.also())
    out = work / task.output.name
    task.log.parent.mkdir(parents=True, exist_ok=True)
    with task.log.open("a" if attempt > 1 else "w") as log:
        print(f"-- try {attempt} on {socket.gethostname()}: {' '.join(task.command)}", file=log)
        log.flush()
        from_here = log.tell()
        ended = _spawn(task, out, log.fileno())
    # What the verb wrote is about to be elsewhere.
    said = _last_line(task.log, from_here).replace(f"{work}{os.sep}", "")
    figures = {
        "seconds": round(time.monotonic() - begun, 3),
        "cpu_seconds": round(ended.cpu_seconds, 3),
        "peak_mb": round(ended.peak_mb, 1),
        "host": socket.gethostname(),
    }
    if ended.code != 0:
        return BatchOutcome(*_fate(task, ended, said), **figures)
    if task.input.stat().st_mtime_ns != source.mtime_ns:
        return BatchOutcome(FAILED, f"{task.input} was changed while it was read", **figures)
    # None for a verb that found nothing to do, as `repair` of a sound file.
    outputs = _publish(task, work)
    outcome = BatchOutcome(DONE, "", said, outputs, **figures)
    Receipt(
        task.version, task.template, source, also, outputs, {"said": said, **figures}
    ).write(task.receipt)  # fmt: skip
    return outcome


def _publish(task: BatchTask, work: Path) -> tuple[tuple[str, int], ...]:
    """Rename what was written to where it belongs; names and sizes. The receipt comes after, so
    whoever is killed in between does it again."""
    made: list[tuple[str, int]] = []
    task.receipt.unlink(missing_ok=True)
    for path in sorted(work.rglob("*")):
        if path.is_file():
            target = task.output.parent / path.relative_to(work)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
            made.append((str(target.relative_to(task.folder)), target.stat().st_size))
    return tuple(made)


@dataclass(frozen=True, slots=True)
class _Ended:
    code: int
    """Of exit; below 0 the signal's."""
    cpu_seconds: float
    peak_mb: float
    ran_out: bool
    """It was killed for its time limit."""


def _spawn(task: BatchTask, out: Path, log: int) -> _Ended:
    """Run the verb in a process of its own, which ends when this one does."""
    prints = OUT not in " ".join(task.command)
    arguments = [argument.replace(OUT, str(out)) for argument in task.command]
    environment = {**os.environ, "VISAVIS_DEBUG": "1", "PYTHONUNBUFFERED": "1"}
    root = str(Path(__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    if not task.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            # -P: no folder of the user's comes before the packages.
            [sys.executable, "-P", "-m", "apps.batch_task", *arguments],
            cwd=task.cwd, env=environment, stdin=subprocess.PIPE, start_new_session=True,
            stdout=stack.enter_context(out.open("wb")) if prints else log, stderr=log,
        )  # fmt: skip
        ran_out = threading.Event()

        def stop() -> None:
            ran_out.set()
            _kill_group(process.pid)

        timer = threading.Timer(task.time_limit or 0.0, stop)
        timer.daemon = True
        if task.time_limit is not None:
            timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            _kill_group(process.pid)
            process.wait()
            raise
        finally:
            timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.stdin is not None:
            process.stdin.close()
    return _Ended(
        process.returncode,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / _MEGABYTE,
        ran_out.is_set(),
    )


def _kill_group(pid: int) -> None:
    """The process, and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _fate(task: BatchTask, ended: _Ended, said: str) -> tuple[str, str]:
    """Result and reason of a verb that did not end well."""
    if ended.ran_out:
        return FAILED, f"took longer than --time-limit {task.time_limit:g} s"
    if ended.code < 0:
        try:
            name = signal.Signals(-ended.code).name
        except ValueError:
            name = f"signal {-ended.code}"
        return CRASHED, f"crashed ({name})"
    if ended.code == _STOPPED:
        return CRASHED, "was stopped from outside"
    if said.startswith("visavis: "):
        return FAILED, said.removeprefix("visavis: ")
    return FAILED, f"ended with exit code {ended.code}"


def _os_error(error: OSError) -> str:
    return f"{error.filename or 'files'}: {error.strerror or error}"


def _last_line(log: Path, begin: int) -> str:
    """The last line from that place on that says something; the verb's own where there is one."""
    with log.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(begin, end - 8192))
        lines = file.read().decode("utf-8", "replace").splitlines()
    lines = [" ".join(line.split()) for line in lines if line.strip()]
    own = [line for line in lines if line.startswith("visavis: ")]
    return (own or lines or [""])[-1][:1000]


def _main() -> None:
    """The process of one verb: the command line, bound to the life of who started it."""
    import faulthandler

    # A crash's stack belongs in the log, which stderr may not be for long.
    faulthandler.enable(os.fdopen(os.dup(2), "w"))
    lifeline = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()
    from apps.command import main

    sys.argv[0] = "visavis"
    main()


def _die_with_parent(lifeline: int) -> None:
    """Nobody writes to it: it ends when the other side, a worker that may be killed, does."""
    os.read(lifeline, 1)
    _kill_group(os.getpid())


if __name__ == "__main__":
    _main()
