"""A session's survey as a page of text."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime

from apps.session_survey import SessionSurvey, StreamSurvey

SHOWN_GAPS = 5
"""Of each stream, the longest ones; --json lists all."""
LONGEST_NOTE = 80
"""Characters; --json has all."""


def survey_text(survey: SessionSurvey) -> str:
    """For reading in a terminal, at most 100 columns where names allow."""
    return "\n".join([*_head(survey), "", *_streams(survey), *_latency(survey), *_faults(survey)])


def _head(survey: SessionSurvey) -> list[str]:
    header = survey.header
    begun = datetime.fromtimestamp(survey.unix_ns / 1e9, UTC)
    sealed = ", sealed" if survey.sealed else ""
    lines = [
        f"{survey.path}: {duration(survey.seconds)}, {survey.size / 1e6:.1f} MB{sealed}",
        f"  recorded   {begun:%Y-%m-%d %H:%M:%S} UTC by {header.software or 'an unknown program'}",
        f"  source     {header.source or '-'}" + (" (live)" if survey.live else ""),
    ]
    if header.avatar:
        lines.append(f"  avatar     {header.avatar}")
    for camera in header.cameras:
        lines.append(
            f"  camera     {camera.name}, {camera.size[0]}x{camera.size[1]}, focal "
            f"{camera.focal[0]:.0f} px, lens {camera.distortion.model}"
        )
    lines.append(f"  consent    {header.consent or 'NONE is stored'}")
    for name, text in sorted(header.notes.items()):
        lines.append(f"  {name:<10} {textwrap.shorten(text, LONGEST_NOTE, placeholder=' ...')}")
    if header.models:
        names = ", ".join(f"{name} {sha[:8]}" for name, sha in sorted(header.models.items()))
        lines.append(f"  models     {len(header.models)}: {names}")
    return lines


def _streams(survey: SessionSurvey) -> list[str]:
    rows = [("stream", "records", "a second", "gaps", "MB", "kbit/s", "")]
    for s in survey.streams:
        rate = f"{s.rate:.2f}" if s.rate else "-"
        rows.append(
            (
                s.topic,
                str(s.count),
                rate,
                str(len(s.gaps)),
                f"{s.bytes / 1e6:.2f}",
                f"{s.kbit_s:.0f}",
                _about(s),
            )
        )
    return table(rows)


def _about(stream: StreamSurvey) -> str:
    if stream.size is None:
        return ""
    how = "lossless" if stream.lossless else "H.264"
    return f"{stream.size[0]}x{stream.size[1]} {how}, {stream.key_pictures} key pictures"


def _latency(survey: SessionSurvey) -> list[str]:
    if not survey.latencies:
        return []
    rows = [("latency, ms", "after", "records", "median", "95 %", "most")]
    rows += [
        (
            x.seam,
            x.after,
            str(x.count),
            f"{x.median_ms:.1f}",
            f"{x.p95_ms:.1f}",
            f"{x.largest_ms:.1f}",
        )
        for x in survey.latencies
    ]
    return ["", *table(rows, left=2)]


def _faults(survey: SessionSurvey) -> list[str]:
    lines = [
        f"  {seam}: {count} records found no room and were NOT recorded"
        for seam, count in sorted(survey.lost.items())
    ]
    for s in survey.streams:
        if s.undecodable:
            lines.append(
                f"  {s.topic}: {s.undecodable} pictures cannot be decoded (one before is missing)"
            )
        for gap in sorted(s.gaps, key=lambda gap: -gap.length_ns)[:SHOWN_GAPS]:
            at = (gap.t_ns - survey.start_ns) / 1e9
            missing = f"about {gap.missing} missing"
            lines.append(f"  {s.topic}: {gap.length_ns / 1e6:.0f} ms from {at:.3f} s on, {missing}")
        if len(s.gaps) > SHOWN_GAPS:
            lines.append(f"  {s.topic}: {len(s.gaps) - SHOWN_GAPS} shorter gaps (--json has all)")
    return ["", *(lines or ["  nothing is missing"])]


def table(rows: list[tuple[str, ...]], left: int = 1) -> list[str]:
    """Columns aligned: the first `left` and a last one of text to the left, numbers to the
    right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    last = len(rows[0]) - 1 if not rows[0][-1] else len(rows[0])
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if k < left or k >= last else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def duration(seconds: float) -> str:
    """For example "75.3 s" or "1:02:03"."""
    if seconds < 100:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02} min"
