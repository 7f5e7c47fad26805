"""What a batch tells: a line a file, a table at the end, and FOLDER/batch.json."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.batch_plan import REPORT, BatchOrder
from apps.batch_receipt import Receipt
from apps.batch_task import CRASHED, DONE, FAILED, BatchOutcome, BatchTask, visavis_version
from avatar.whole_file import write_whole

KEPT, NOT_DONE = "kept", "not done"
TABLE_ROWS = 40
FIGURES_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FileResult:
    """One file's last word."""

    task: BatchTask
    result: str
    """done, kept (done before), failed or not done."""
    reason: str = ""
    tries: int = 0
    outputs: tuple[tuple[str, int], ...] = ()
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    host: str = ""
    said: str = ""

    @staticmethod
    def of(task: BatchTask, attempt: int, outcome: BatchOutcome) -> FileResult:
        """Of the last try."""
        failed = outcome.result in (FAILED, CRASHED)
        reason = outcome.reason
        if outcome.result == CRASHED:
            reason = f"{reason}, {attempt} tries" if attempt > 1 else reason
        return FileResult(
            task, FAILED if failed else DONE, reason, attempt, outcome.outputs, outcome.seconds,
            outcome.cpu_seconds, outcome.peak_mb, outcome.host, outcome.said,
        )  # fmt: skip

    @staticmethod
    def kept(task: BatchTask, receipt: Receipt) -> FileResult:
        """Of a run before this one."""
        return FileResult(task, KEPT, outputs=receipt.outputs, **receipt.figures)

    def entry(self) -> dict[str, Any]:
        """For batch.json; the one JSON file that the verb wrote is in it as `figures`."""
        entry: dict[str, Any] = {
            "name": self.task.name,
            "input": str(self.task.input),
            "input_bytes": input_bytes(self.task),
            "result": self.result,
            "reason": self.reason,
            "tries": self.tries,
            "outputs": dict(self.outputs),
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "peak_mb": self.peak_mb,
            "host": self.host,
            "said": self.said,
        }
        written = [name for name, _ in self.outputs if name.endswith(".json")]
        if len(written) == 1 and dict(self.outputs)[written[0]] <= FIGURES_BYTES:
            with contextlib.suppress(OSError, ValueError):
                entry["figures"] = json.loads((self.task.folder / written[0]).read_bytes())
        return entry


class Progress:
    """A line for each file that ended, with how many, and about how long the rest takes."""

    def __init__(self, todo: Sequence[BatchTask]) -> None:
        self._count = len(todo)
        self._bytes = {task.output: max(1, input_bytes(task)) for task in todo}
        self._left = sum(self._bytes.values())
        self._whole = self._left
        self._ended = 0
        self._begun = time.monotonic()

    def ended(self, result: FileResult) -> None:
        """Print its line."""
        self._ended += 1
        self._left -= self._bytes[result.task.output]
        what = f"done in {result.seconds:.1f} s"
        if result.result == FAILED:
            what = f"FAILED: {result.reason} (log: {result.task.log})"
        elif not result.outputs:
            what += f", no file written: {result.said}"
        if result.result != FAILED and result.tries > 1:
            what += f", at try {result.tries}"
        width = len(str(self._count))
        print(
            f"[{self._ended:{width}}/{self._count}{self._rest()}] {result.task.name}: {what}",
            flush=True,
        )

    def again(self, task: BatchTask, attempt: int, tries: int, reason: str) -> None:
        """Print that it is tried again."""
        print(f"{task.name}: {reason}; try {attempt} of {tries} begins", flush=True)

    def _rest(self) -> str:
        """By the inputs' sizes: files differ in length, and what runs now counts as not begun."""
        if self._left <= 0:
            return ""
        spent = time.monotonic() - self._begun
        return f", {duration(spent * self._left / (self._whole - self._left))} left"


def input_bytes(task: BatchTask) -> int:
    """Of its input; 0 when that is gone."""
    try:
        return task.input.stat().st_size
    except OSError:
        return 0


def duration(seconds: float) -> str:
    """ "42 s", "3 min", "2.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def counts(results: Sequence[FileResult]) -> str:
    """ "3 done, 1 failed, 2 kept"."""
    found = [result.result for result in results]
    words = [f"{found.count(what)} {what}" for what in (DONE, FAILED, KEPT, NOT_DONE)]
    return ", ".join(word for word in words if not word.startswith("0 ")) or "nothing to do"


def table(results: Sequence[FileResult]) -> str:
    """A row a file; of many files only those that failed."""
    shown = list(results)
    left_out = 0
    if len(shown) > TABLE_ROWS:
        shown = [result for result in results if result.result in (FAILED, NOT_DONE)][:TABLE_ROWS]
        left_out = len(results) - len(shown)
    head = ("file", "result", "seconds", "CPU s", "peak MB", "MB in", "MB out", "tries")
    rows = [
        (
            result.task.name,
            result.result,
            f"{result.seconds:.1f}",
            f"{result.cpu_seconds:.1f}",
            f"{result.peak_mb:.0f}",
            f"{input_bytes(result.task) / 1e6:.2f}",
            f"{sum(size for _, size in result.outputs) / 1e6:.2f}",
            str(result.tries or "-"),
        )
        for result in shown
    ]
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    lines = [
        "  ".join(
            text.ljust(width) if k < 2 else text.rjust(width)
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]
    if left_out:
        lines.append(f"... and {left_out} more, all in {REPORT}")
    return "\n".join(lines) if rows or left_out else ""


def write_report(
    order: BatchOrder, folder: Path, results: Sequence[FileResult], seconds: float
) -> Path:
    """Write FOLDER/batch.json; return its path. Raises OSError."""
    found = [result.result for result in results]
    data = {
        "visavis": visavis_version(),
        "verb": order.verb,
        "options": list(order.options),
        "seconds": round(seconds, 3),
        **{what.replace(" ", "_"): found.count(what) for what in (DONE, KEPT, FAILED, NOT_DONE)},
        "files": [result.entry() for result in results],
    }
    path = folder / REPORT
    write_whole(path, (json.dumps(data, indent=1) + "\n").encode())
    return path
