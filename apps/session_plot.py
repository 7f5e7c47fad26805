"""A session's survey drawn over time: streams with their gaps, rates, data rates, latency."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.session_survey import (
    STEADY_SEAMS,
    SessionSurvey,
    StreamSurvey,
    base_of,
    latencies_of,
)
from apps.survey_text import duration

COLOURS = {
    "frames": "#4477aa",
    "audio": "#aa3377",
    "headset": "#ee6677",
    "state": "#228833",
    "code": "#ccbb44",
    "panels": "#66ccee",
    "views": "#bbbbbb",
    "marks": "#222222",
}
"""Of each seam; Paul Tol's bright scheme, which colour-blind readers can tell apart."""
GAP_COLOUR = "#cc3311"
INK, FAINT = "#2b2f36", "#e3e6ea"
BINS = 240
"""Along the time axis at most; a bin is at least a second long."""


def plot_survey(survey: SessionSurvey, path: Path) -> None:
    """Write a PNG. Raises OSError when it cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    streams = survey.streams
    latency = _latency_lines(survey)
    heights = [0.3 + 0.34 * max(len(streams), 1), 1.5, 1.5] + ([1.9] if latency else [])
    figure = Figure(figsize=(11, 1.3 * sum(heights) + 1.5), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    _title(figure, survey)
    _draw_lanes(axes[0], survey)
    _draw_rates(axes[1], survey)
    _draw_sizes(axes[2], survey)
    if latency:
        _draw_latency(axes[3], latency, survey)
    for axis in axes:
        _quieten(axis)
    axes[-1].set_xlabel("seconds", color=INK)
    axes[0].set_xlim(0, max(survey.seconds, 1e-3))
    top = 1 - 0.95 / figure.get_figheight()
    bottom = 0.55 / figure.get_figheight()
    figure.subplots_adjust(left=0.15, right=0.86, top=top, bottom=bottom, hspace=0.36)
    figure.savefig(path, format="png", bbox_inches="tight", metadata={"Software": None})


def _title(figure: Any, survey: SessionSurvey) -> None:
    height = figure.get_figheight()
    figure.text(
        0.02, 1 - 0.32 / height, Path(survey.path).name, fontsize=14, weight="bold", color=INK
    )
    lost = sum(survey.lost.values())
    gaps = sum(len(s.gaps) for s in survey.streams)
    said = (
        f"{duration(survey.seconds)}, {survey.size / 1e6:.1f} MB, source "
        f"{survey.header.source or 'unknown'}; {gaps} gaps, {lost} records not recorded"
    )
    figure.text(0.02, 1 - 0.58 / height, said, fontsize=9.5, color=INK)


def _draw_lanes(axis: Any, survey: SessionSurvey) -> None:
    streams = survey.streams
    for k, stream in enumerate(streams):
        times = (stream.times - survey.start_ns) / 1e9
        colour = COLOURS[stream.seam]
        if stream.seam not in STEADY_SEAMS:
            axis.plot(times, np.full(len(times), k), "|", color=colour, ms=12, mew=1.4)
            continue
        step = 1 / stream.rate if stream.rate else 0.0
        cuts = [(g.t_ns - survey.start_ns) / 1e9 for g in stream.gaps]
        lengths = [g.length_ns / 1e9 for g in stream.gaps]
        begins = [times[0], *(c + n for c, n in zip(cuts, lengths, strict=True))]
        ends = [*(c + step for c in cuts), times[-1] + step]
        spans = [(b, max(e - b, 0.0)) for b, e in zip(begins, ends, strict=True)]
        axis.broken_barh(spans, (k - 0.28, 0.56), facecolors=colour, linewidth=0)
        missing = [(c + step, n - step) for c, n in zip(cuts, lengths, strict=True)]
        axis.broken_barh(
            missing, (k - 0.28, 0.56), facecolors=GAP_COLOUR, edgecolors=GAP_COLOUR, linewidth=0.8
        )
    axis.set_yticks(range(len(streams)), [_short(s.topic) for s in streams], fontsize=9)
    axis.set_ylim(len(streams) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    for k, stream in enumerate(streams):
        told = f"{stream.count:,}".replace(",", " ")
        gaps = f", {len(stream.gaps)} gaps" if stream.gaps else ""
        axis.annotate(
            told + gaps, (1.01, k), xycoords=("axes fraction", "data"), va="center", fontsize=8.5,
            color=GAP_COLOUR if stream.gaps else INK, annotation_clip=False,
        )  # fmt: skip


def _draw_rates(axis: Any, survey: SessionSurvey) -> None:
    edges, _, width = _bins(survey)
    steady = [s for s in survey.streams if s.seam in STEADY_SEAMS]
    for k, stream in enumerate(steady):
        counts, _ = np.histogram((stream.times - survey.start_ns) / 1e9, edges)
        # Streams of one rate lie upon each other: the later, the thinner.
        axis.stairs(counts / width, edges, color=COLOURS[stream.seam], baseline=None,
                    lw=1.2 + 1.1 * (len(steady) - 1 - k), label=_short(stream.topic))  # fmt: skip
    axis.set_ylim(bottom=0)
    axis.margins(y=0.15)
    _name(axis, "Records a second")
    _legend(axis)


def _draw_sizes(axis: Any, survey: SessionSurvey) -> None:
    edges, _, width = _bins(survey)
    drawn = sorted(survey.streams, key=lambda s: -s.bytes)
    below = np.zeros(len(edges) - 1)
    for stream in drawn:
        times = (stream.times - survey.start_ns) / 1e9
        sums, _ = np.histogram(times, edges, weights=stream.sizes.astype(np.float64))
        above = below + sums * 8 / 1000 / width
        axis.stairs(above, edges, baseline=below, fill=True, color=COLOURS[stream.seam], alpha=0.85,
                    linewidth=0, label=_short(stream.topic))  # fmt: skip
        below = above
    axis.set_ylim(bottom=0)
    _name(axis, "Kilobits a second, before packing")
    _legend(axis)


def _draw_latency(
    axis: Any, lines: list[tuple[StreamSurvey, str, npt.NDArray[Any]]], survey: SessionSurvey
) -> None:
    edges, middles, _ = _bins(survey)
    for stream, after, values in lines:
        at = np.clip(np.digitize(values[0], edges) - 1, 0, len(middles) - 1)
        low, middle, high = (np.full(len(middles), np.nan) for _ in range(3))
        for k in np.unique(at):
            inside = values[1][at == k]
            low[k], middle[k], high[k] = np.percentile(inside, (5, 50, 95))
        colour = COLOURS[stream.seam]
        axis.fill_between(middles, low, high, color=colour, alpha=0.22, linewidth=0)
        axis.plot(middles, middle, color=colour, lw=1.6, marker="." if len(middles) < 4 else "",
                  label=f"{_short(stream.topic)}{after}")  # fmt: skip
    axis.set_ylim(bottom=0)
    since = "from the observation" if survey.live else "after the frame"
    _name(axis, f"Latency {since} to the recorder, ms (median; band: 5 to 95 %)")
    _legend(axis)


def _latency_lines(
    survey: SessionSurvey,
) -> list[tuple[StreamSurvey, str, npt.NDArray[Any]]]:
    measured = {x.seam: x for x in survey.latencies}
    found = []
    for stream in survey.streams:
        if stream.topic not in measured:
            continue
        base = None if survey.live else base_of(stream, survey.streams)
        times, values = latencies_of(stream, base)
        after = "" if base is None else f" after {_short(base.topic)}"
        seconds = (times - survey.start_ns) / 1e9
        found.append((stream, after, np.array([seconds, values / 1e6])))
    return found


def _bins(
    survey: SessionSurvey,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Edges, middles and width, seconds, of bins of at least a second (less for short files)."""
    seconds = max(survey.seconds, 1e-3)
    count = int(np.clip(np.floor(seconds), 1, BINS))
    if seconds < 8:
        count = max(1, int(seconds * 4))
    edges = np.linspace(0.0, seconds * (1 + 1e-9), count + 1)
    return edges, (edges[1:] + edges[:-1]) / 2, float(edges[1] - edges[0])


def _short(topic: str) -> str:
    """ "/frames/a long name.mp4" -> "frames a long na..." """
    name = topic.strip("/").replace("/", " ")
    return name if len(name) <= 22 else name[:20] + "..."


def _name(axis: Any, text: str) -> None:
    axis.annotate(text, (0.0, 1.0), xytext=(0, 5), xycoords="axes fraction",
                  textcoords="offset points", fontsize=9, color=INK)  # fmt: skip


def _legend(axis: Any) -> None:
    if axis.get_legend_handles_labels()[1]:
        axis.legend(loc="upper left", bbox_to_anchor=(1.005, 1.0), fontsize=8, frameon=False,
                    handlelength=1.2, borderaxespad=0.0)  # fmt: skip


def _quieten(axis: Any) -> None:
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color("#9aa0a8")
    axis.tick_params(colors=INK, labelsize=8.5, color="#9aa0a8")
    axis.grid(axis="x", color=FAINT, lw=0.8)
    axis.grid(axis="y", color=FAINT, lw=0.8)
    axis.set_axisbelow(True)
