"""The table of `benchmarks.tracking`: figures, what is required of them, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

UNMEASURED = "unmeasured"


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure that is required."""

    what: str
    mediapipe: float | str
    required: str
    """As the reader sees it."""
    reach: str
    ours: float | str
    verdict: str
    """reached for, reached, missed, or why it is not judged."""


@dataclass(slots=True)
class Report:
    """Grows while the parts of the benchmark run."""

    bars: list[Bar] = field(default_factory=list)
    figures: dict[str, list[Any]] = field(default_factory=dict)
    """Rows (dataclasses of one kind) by title."""

    def show(self, title: str, rows: Sequence[Any]) -> None:
        """Print rows, and keep them."""
        print(f"\n{title}\n{row_table(rows)}", flush=True)
        self.figures.setdefault(title, []).extend(rows)

    def judge(
        self,
        what: str,
        theirs: float | str,
        ours: float,
        required: float,
        reach: float | None = None,
        least: bool = True,
        why_not: str = "",
    ) -> None:
        """A figure that is to be at least (or else at most) `required`; with `why_not` it is shown
        and not judged."""
        sign = ">=" if least else "<="
        self.bars.append(
            Bar(
                what,
                theirs,
                f"{sign} {required:g}",
                "" if reach is None else f"{sign} {reach:g}",
                ours,
                why_not or verdict(ours, required, reach, least),
            )
        )

    def unjudged(self, what: str, why: str) -> None:
        """A figure that could not be taken."""
        self.bars.append(Bar(what, "", "", "", UNMEASURED, why))

    @property
    def missed(self) -> bool:
        return any(bar.verdict == "missed" for bar in self.bars)

    def document(self) -> dict[str, Any]:
        """For JSON, which knows no NaN."""
        rows = {name: [asdict(row) for row in rows] for name, rows in self.figures.items()}
        return _without_nan({"bars": [asdict(bar) for bar in self.bars], **rows})


def verdict(ours: float, required: float, reach: float | None, least: bool) -> str:
    """Of a figure that is to be at least, or at most, `required`; NaN misses."""

    def kept(limit: float) -> bool:
        return ours >= limit if least else ours <= limit

    if reach is not None and kept(reach):
        return "reached for"
    return "reached" if kept(required) else "missed"


def row_table(rows: Sequence[Any]) -> str:
    """Markdown, of dataclasses of one kind."""
    if not rows:
        return "(none)"
    names = list(asdict(rows[0]))
    cells = [[_shown(value) for value in asdict(row).values()] for row in rows]
    return _markdown(names, cells)


def bar_table(bars: Sequence[Bar]) -> str:
    names = ["what", "MediaPipe", "required", "reach for", "ours", "verdict"]
    return "\n" + _markdown(names, [[_shown(v) for v in asdict(bar).values()] for bar in bars])


def _markdown(names: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return " / ".join(_shown(each) for each in value)
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3g}"
    return str(value)


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN."""
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
