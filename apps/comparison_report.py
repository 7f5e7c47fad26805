"""A comparison as a table and as JSON."""

from __future__ import annotations

from typing import Any

from apps.session_comparison import SIGNALS, Comparison
from apps.survey_text import table


def comparison_text(comparison: Comparison) -> str:
    """For reading in a terminal."""
    c = comparison
    lines = [
        f"{c.a} (A) and {c.b} (B): {c.matched} moments matched {c.how}; "
        f"{c.only_a} only in A, {c.only_b} only in B"
    ]
    for seam in c.compared:
        lines.append(f"  {seam}: {c.identical[seam]} of {c.compared[seam]} the same bit for bit")
    lines += [f"  {what}: {count} moments" for what, count in sorted(c.seen.items())]
    rows = [("error", "moments", "mean", "95 %", "most", "at, s")]
    rows += [
        (
            SIGNALS[e.name],
            str(e.moments),
            number(e.mean),
            number(e.p95),
            number(e.largest),
            f"{e.largest_ns / 1e9:.3f}",
        )
        for e in c.errors
    ]
    lines += ["", *table(rows)] if c.errors else ["  no signal is in both"]
    if c.worst_shapes:
        shapes = ", ".join(f"{name} {number(value)}" for name, value in c.worst_shapes)
        lines.append(f"  worst blend shapes: {shapes}")
    for what in ("frames", "drawn"):
        told = c.pictures.get(what)
        if isinstance(told, str):
            lines.append(f"  {what}: {told}")
        elif told:
            flip = told["flip"]
            said = f"FLIP {flip:.4f}" if isinstance(flip, float) else flip
            psnr = told["psnr_db"]
            decibel = "no difference" if psnr is None else f"PSNR {psnr:.2f} dB"
            lines.append(f"  {what}: {decibel}, {said}, over {told['count']} pictures")
    return "\n".join(lines)


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Everything that was measured."""
    c = comparison
    return {
        "a": c.a,
        "b": c.b,
        "matched": c.matched,
        "only_a": c.only_a,
        "only_b": c.only_b,
        "how": c.how,
        "identical": dict(c.identical),
        "compared": dict(c.compared),
        "seen": dict(c.seen),
        "errors": {
            e.name: {
                "what": SIGNALS[e.name], "moments": e.moments, "mean": e.mean, "p95": e.p95,
                "largest": e.largest, "largest_ns": e.largest_ns,
            }
            for e in c.errors
        },
        "worst_blendshapes": dict(c.worst_shapes),
        "pictures": c.pictures,
    }  # fmt: skip


def exceeded(comparison: Comparison, limits: dict[str, float]) -> list[str]:
    """A line for each limit that is exceeded, or that nothing was measured for."""
    lines: list[str] = []
    for name, limit in limits.items():
        error = comparison.error(name)
        if error is None:
            lines.append(f"EXCEEDED: {name} could not be measured (limit {limit:g})")
        elif error.largest > limit:
            at = f"{error.largest_ns / 1e9:.3f} s"
            lines.append(f"EXCEEDED: {name} {number(error.largest)} at {at} (limit {limit:g})")
    return lines


def number(value: float) -> str:
    """Four digits that say something."""
    return "0" if value == 0 else f"{value:.4g}"
