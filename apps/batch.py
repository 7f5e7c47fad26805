"""`visavis batch`: one verb on many files, on all cores of this machine or on a Ray cluster."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from apps.usage import FailedError, UsageError

if TYPE_CHECKING:
    from apps.batch_plan import BatchOrder
    from apps.batch_report import FileResult, Progress
    from apps.batch_task import BatchTask
    from apps.ray_cluster import RayCluster

POLL_S = 1.0
MOST_TRIES = 20
NAMED = 5
"""Failed files that the last line names."""
FLAGS = ("--help", "-h", "--anew", "--no-anew")


@dataclass(frozen=True, slots=True)
class Batch:
    """Run a verb on many files through Ray, a process a file: `batch replay 'DIR/*.mcap' --out
    FOLDER --from frames`. Options that are not batch's own are the verb's, and all after `--`.
    The same command again goes on where it was stopped; what is done is kept."""

    verb: tyro.conf.Positional[str]
    """What to run on each file."""
    inputs: tyro.conf.Positional[tuple[str, ...]]
    """Files, or a pattern in quotes: 'DIR/*.mcap', 'DIR/*/*.mcap', 'DIR/**/*.mcap'."""
    out: Path
    """The folder to write to (made if need be): files named after the inputs, and batch.json."""
    to: str | None = None
    """The ending of what is written, such as .csv; by default the verb's usual one."""
    cpus: float = 1.0
    """CPUs for one file; as many files are worked on as there is room for."""
    gpus: float = 0.0
    """GPUs for one file, 0.5 for two files to share one; with 0 the verb sees none."""
    at_once: int | None = None
    """At most so many files at once."""
    address: str | None = None
    """A Ray cluster, HOST:PORT or auto; by default this machine. The cluster's machines
    need this version of Visavis, and the files under the same paths."""
    tries: int = 3
    """How often a file is tried whose process or machine dies. What a verb refuses is not tried
    again."""
    time_limit: float | None = None
    """Seconds after which a file's process is ended; by default none."""
    anew: bool = False
    """Do again what was done before."""
    options: tyro.conf.Suppress[tuple[str, ...]] = ()
    """The verb's own, which `split_arguments` set apart."""

    def run(self) -> int:
        """0 when every file is done; FailedError names those that are not, when all others are."""
        self._check()
        from apps.batch_plan import BatchOrder

        order = BatchOrder(
            self.verb, self.inputs, self.options, self.out, self.to, self.gpus, self.time_limit
        )
        tasks = order.tasks()
        if tasks and (code := _refused(tasks[0])):
            return code
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            with _locked(self.out):
                return self._work(order, tasks)
        except OSError as error:
            where = error.filename or self.out
            why = error.strerror or error
            raise FailedError(
                f"{where}: {why}; what is done is whole, the same command goes on"
            ) from error

    def _check(self) -> None:
        for name, value, least in (("cpus", self.cpus, 0.0), ("time-limit", self.time_limit, 0.0)):
            if value is not None and not least < value < 1e9:
                raise UsageError(f"--{name} {value:g}: expected more than 0")
        if not 0 <= self.gpus < 1e6:
            raise UsageError(f"--gpus {self.gpus:g}: expected 0 or more")
        if self.at_once is not None and self.at_once < 1:
            raise UsageError(f"--at-once {self.at_once}: expected 1 or more")
        if not 1 <= self.tries <= MOST_TRIES:
            raise UsageError(f"--tries {self.tries}: expected 1 to {MOST_TRIES}")
        if not self.inputs:
            raise UsageError(f"batch {self.verb}: say which files, for example 'DIR/*.mcap'")

    def _work(self, order: BatchOrder, tasks: Sequence[BatchTask]) -> int:
        from apps.batch_report import (
            NOT_DONE,
            FileResult,
            counts,
            table,
            write_report,
        )

        begun = time.monotonic()
        results: dict[Path, FileResult] = {}
        if not self.anew:
            for task in tasks:
                if (receipt := task.kept()) is not None:
                    results[task.output] = FileResult.kept(task, receipt)
        todo = [task for task in tasks if task.output not in results]
        print(f"batch {self.verb}: {_files(len(tasks))}, {len(results)} done before", flush=True)
        whole = False
        try:
            if todo:
                for result in self._through_ray(todo):
                    results[result.task.output] = result
            whole = True
        finally:
            # Also after Ctrl-C, or when the cluster is lost.
            last = [results.get(task.output, FileResult(task, NOT_DONE)) for task in tasks]
            report = write_report(order, self.out, last, time.monotonic() - begun)
            if not whole:
                print(f"{counts(last)}; the same command goes on ({report})", flush=True)
        print(table(last))
        print(f"{counts(last)}; figures in {report}")
        failed = [result for result in last if result.result == "failed"]
        if failed:
            raise FailedError(_failure(failed, len(last)))
        return 0

    def _through_ray(self, todo: Sequence[BatchTask]) -> Iterator[FileResult]:
        from apps.batch_report import Progress
        from apps.ray_cluster import TaskNeeds, open_cluster

        with open_cluster(self.address, TaskNeeds(self.cpus, self.gpus)) as cluster:
            slots = cluster.slots()
            at_once = min(self.at_once or slots, slots, len(todo))
            print(f"{len(todo)} to do, {at_once} at once", flush=True)
            yield from self._results(cluster, todo, Progress(todo))

    def _results(
        self, cluster: RayCluster, todo: Sequence[BatchTask], progress: Progress
    ) -> Iterator[FileResult]:
        from apps.batch_report import FileResult
        from apps.batch_task import CRASHED

        waiting = deque((task, 1) for task in todo)
        while waiting or cluster.in_flight:
            # One file in Ray's hands beyond those that run: a free worker never waits for us. Asked
            # each time: machines come, and the last one that could do it may go.
            slots = cluster.slots()
            room = self.at_once or slots + 1
            while waiting and cluster.in_flight < room:
                cluster.submit(*waiting.popleft())
            for task, attempt, outcome in cluster.finished(POLL_S):
                if outcome.result == CRASHED and attempt < self.tries:
                    progress.again(task, attempt + 1, self.tries, outcome.reason)
                    waiting.appendleft((task, attempt + 1))
                    continue
                result = FileResult.of(task, attempt, outcome)
                progress.ended(result)
                yield result


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Batch's own arguments, and the verb's options: those that are not batch's, from the first one
    on, and all after `--`."""
    valued = {
        f"--{field.name.replace('_', '-')}"
        for field in dataclasses.fields(Batch)
        if field.name not in ("verb", "inputs", "anew", "options")
    }
    given = list(arguments)
    cut = given.index("--") if "--" in given else len(given)
    own: list[str] = []
    rest: list[str] = []
    left = iter(given[:cut])
    for argument in left:
        name, equals, _ = argument.partition("=")
        if argument in FLAGS:
            own.append(argument)
        elif name in valued:
            own.append(argument)
            value = None if equals else next(left, None)
            own.extend([] if value is None else [value])
        else:
            rest.append(argument)
    first = next((k for k, text in enumerate(rest) if text.startswith("-")), len(rest))
    return rest[:first] + own, (*rest[first:], *given[cut + 1 :])


def _refused(task: BatchTask) -> int:
    """The exit code when the verb does not understand its options, which it has then said; 0 when
    it does."""
    from apps.command import parse_arguments

    parsed = parse_arguments(list(task.command))
    if not isinstance(parsed, int):
        return 0
    if parsed == 0:
        raise UsageError(f"batch {task.command[0]}: this is a question for the verb itself")
    return parsed


def _failure(failed: Sequence[FileResult], count: int) -> str:
    names = ", ".join(result.task.name for result in failed[:NAMED])
    if len(failed) == 1:
        names += f" ({failed[0].reason})"
    more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
    rest = "; the others are done" if len(failed) < count else ""
    return f"batch: {len(failed)} of {_files(count)} failed: {names}{more}{rest}"


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One batch at a time in a folder; what a killed one left unfinished is cleared away."""
    import fcntl

    from apps.batch_task import own_folder

    own = own_folder(folder)
    own.mkdir(parents=True, exist_ok=True)
    with open(own / "lock", "a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise FailedError(
                f"{folder}: another batch writes here (process {file.read().strip() or 'unknown'})"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        shutil.rmtree(own / "work", ignore_errors=True)
        try:
            yield
        finally:
            shutil.rmtree(own / "work", ignore_errors=True)
