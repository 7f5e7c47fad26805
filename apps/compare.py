"""`visavis compare`: two sessions, or two replays of one, against each other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from apps.usage import FailedError, UsageError

if TYPE_CHECKING:
    from apps.session_comparison import Comparison
    from sessions.reader import SessionReader

SEAMS = ("frames", "state")


@dataclass(frozen=True, slots=True)
class Compare:
    """Measure session B against session A: per-signal errors of states and codes, how many records
    are the same bit for bit, and pictures side by side with PSNR and FLIP. Exit 1 where
    --max-error is exceeded."""

    a: tyro.conf.Positional[Path]
    """A.mcap: the reference."""
    b: tyro.conf.Positional[Path]
    """B.mcap: for example what `replay A.mcap --avatar ... --out B.mcap` wrote."""
    out: Path | None = None
    """Folder for comparison.json and pictures.png; made where it is missing."""
    from_: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """frames or state: replay both from there first. By default what was recorded is compared."""
    max_error: tuple[str, ...] = ()
    """NAME=LIMIT, on the largest error over time, for example head-mm=1 landmarks-mm=0.5."""
    pictures: int = 4
    """How many moments are shown in pictures.png, 0 to 12."""
    key_file: Path | None = None
    """The secret of sealed sessions; VISAVIS_SECRET does as well."""

    def run(self) -> int:
        """0 when all is within --max-error."""
        limits = self.checked()
        from apps.comparison_report import comparison_json, comparison_text, exceeded
        from apps.comparison_run import compare_sessions
        from apps.session_source import open_session

        with open_session(self.a, self.key_file) as a, open_session(self.b, self.key_file) as b:
            comparison = compare_sessions(a, b, self.from_)
            if self.out is not None:
                self._draw(a, b, comparison, self.out)
                data = json.dumps(comparison_json(comparison), indent=2, ensure_ascii=False)
                (self.out / "comparison.json").write_text(data + "\n", encoding="utf-8")
        print(comparison_text(comparison))
        if self.out is not None:
            print(f"wrote {self.out}/comparison.json" + self._drawn(comparison))
        for line in exceeded(comparison, limits):
            print(line)
        return 1 if exceeded(comparison, limits) else 0

    def checked(self) -> dict[str, float]:
        """The limits of --max-error. Raises UsageError for options that make no sense."""
        from apps.session_comparison import SIGNALS

        if self.from_ is not None and self.from_ not in SEAMS:
            raise UsageError(f"--from {self.from_}: expected frames or state")
        if not 0 <= self.pictures <= 12:
            raise UsageError(f"--pictures {self.pictures}: expected 0 to 12")
        limits: dict[str, float] = {}
        for text in self.max_error:
            name, _, limit = text.partition("=")
            try:
                limits[name] = float(limit)
            except ValueError:
                limits[name] = -1.0
            if name not in SIGNALS or not limits[name] >= 0:
                raise UsageError(
                    f"--max-error {text}: expected NAME=LIMIT with one of {', '.join(SIGNALS)}"
                )
        return limits

    def _draw(self, a: SessionReader, b: SessionReader, comparison: Comparison, out: Path) -> None:
        from apps.comparison_pictures import draw_comparison

        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FailedError(f"--out {out}: cannot be made ({error.strerror})") from error
        draw_comparison(a, b, comparison, out / "pictures.png", self.pictures)

    def _drawn(self, comparison: Comparison) -> str:
        return f" and {self.out}/pictures.png" if comparison.pictures.get("file") else ""
