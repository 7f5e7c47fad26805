"""`visavis redact`: a copy of a session without pictures and sound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from apps.usage import UsageError


@dataclass(frozen=True, slots=True)
class Redact:
    """Copy a session without its frames and its audio; codes, states, views and marks stay.

    A tracked state still holds the landmarks of a face, and a code drives an avatar of it:
    `--remove state` or `--remove state code` where that is too much. The source stays as it is:
    delete it yourself.
    """

    file: tyro.conf.Positional[Path]
    """The session."""
    out: Path
    """The copy, which must not exist; sealed with the same secret when the session is sealed."""
    remove: tuple[str, ...] = ()
    """Seams to remove as well: headset, state, code, panels, views, marks."""
    keep: tuple[str, ...] = ()
    """Of frames and audio, what is to stay."""
    key_file: Path | None = None
    """File with the secret of a sealed session; or set VISAVIS_SECRET, or be asked."""

    def run(self) -> int:
        """0 when the copy is written."""
        from apps.secret import secret_of
        from sessions.redaction import REMOVED, redact
        from sessions.seams import SEAMS

        for option, names, choices in (
            ("--remove", self.remove, SEAMS),
            ("--keep", self.keep, REMOVED),
        ):
            for name in names:
                if name not in choices:
                    raise UsageError(f"{option} {name}: expected some of {', '.join(choices)}")
        seams = [s for s in SEAMS if s in {*REMOVED, *self.remove} and s not in self.keep]
        report = redact(self.file, self.out, seams, secret_of(self.file, self.key_file))
        size = report.out.stat().st_size / 2**20
        print(f"wrote {report.out} ({size:.1f} MiB): {_counted(report.kept)}")
        print(f"removed: {_counted(report.removed)}; {report.path} still holds them")
        if report.notes:
            print(f"removed from the header: {', '.join(report.notes)}")
        if report.foreign:
            print(f"left out: {report.foreign} messages of other software")
        return 0


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{seam} {count}" for seam, count in counts.items()) or "nothing"
