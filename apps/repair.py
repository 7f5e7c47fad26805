"""`visavis repair`: a sound session file of what a crash left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

if TYPE_CHECKING:
    from sessions.repair import Loss, RepairReport

SHOWN_LOSSES = 10


@dataclass(frozen=True, slots=True)
class Repair:
    """Write a sound file of what is whole in a cut or damaged session, and say what was lost."""

    file: tyro.conf.Positional[Path]
    """The session (or another MCAP file). It is only read."""
    out: Path | None = None
    """Where the clean file goes; FILE.repaired.mcap when not given. FILE itself: replaces it."""
    key_file: Path | None = None
    """File with the secret of a sealed session (or VISAVIS_SECRET). Repairing does not need it;
    with it seals are checked, and a last chunk that lost its index can be kept."""

    def run(self) -> int:
        """0 when the file is sound, or a sound one is written."""
        from apps.secret import given_secret
        from sessions.repair import repair, repaired_name

        out = self.out or repaired_name(self.file)
        report = repair(self.file, out, given_secret(self.key_file))
        for line in described(report):
            print(line)
        return 0


def described(report: RepairReport) -> list[str]:
    """What a user reads of it."""
    span_s = (report.last_ns - report.first_ns) / 1e9
    seams = ", ".join(f"{seam} {count}" for seam, count in report.kept.items())
    held = f"{report.messages} messages in {report.chunks} chunks, {span_s:.1f} s"
    held += f" ({seams})" if seams else ""
    checked = "checked" if report.seal_checked else "not checked: no secret was given"
    sealed = f"; sealed, seals {checked}" if report.sealed else ""
    if report.out is None:
        lines = [f"{report.path} is sound, nothing to repair: {held}{sealed}"]
    else:
        size = report.out.stat().st_size / 2**20
        lines = [f"wrote {report.out} ({size:.1f} MiB): {held}{sealed}"]
        lines += _losses(report)
    if not report.session and not report.sealed:
        library = f" (written by {report.library})" if report.library else ""
        lines.append(f"it is an MCAP file{library}, but no session of Visavis")
    if report.dropped:
        dropped = ", ".join(f"{seam} {count}" for seam, count in report.dropped.items())
        lines.append(f"the recorder itself had no time for: {dropped}")
    return lines


def _losses(report: RepairReport) -> list[str]:
    lines: list[str] = []
    if report.losses:
        seconds = f", about {report.lost_s:.1f} s" if report.lost_s >= 0.05 else ""
        places = len(report.losses)
        lines.append(
            f"lost: {report.lost_bytes} bytes in {places} place{'s' * (places > 1)}{seconds}"
        )
        lines += [_place(loss, report.first_ns) for loss in report.losses[:SHOWN_LOSSES]]
        if places > SHOWN_LOSSES:
            lines.append(f"  and {places - SHOWN_LOSSES} more places")
    else:
        lines.append("nothing of the file was lost")
    if report.lost:
        lost = ", ".join(f"{seam} {count}" for seam, count in report.lost.items())
        lines.append(f"records missing, about: {lost}")
    if report.unreadable:
        lines.append(f"left out: {report.unreadable} messages of which nothing says what they are")
    if report.header_lost:
        lines.append(
            "its header (date, models, consent) was lost; the new one says so, calibrations are "
            "saved"
        )
    if report.index:
        lines.append(f"the index was written anew: {report.index}")
    return lines


def _place(loss: Loss, first_ns: int) -> str:
    def moment(at_ns: int) -> str:
        return f"{(at_ns - first_ns) / 1e9:.2f} s"

    if loss.after_ns is None:
        when = "before the first record"
    elif loss.before_ns is None:
        when = f"after {moment(loss.after_ns)}"
    else:
        when = f"between {moment(loss.after_ns)} and {moment(loss.before_ns)}"
    chunks = f", about {loss.chunks} chunk{'s' * (loss.chunks > 1)}" if loss.chunks else ""
    return f"  bytes {loss.at} to {loss.end}{chunks}, {when}: {loss.why}"
