"""`visavis bench`: what each stage costs, and how old the shown picture is."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from apps.demo import CLIP
from apps.preview import Preview
from apps.usage import FailedError, UsageError

if TYPE_CHECKING:
    from apps.meter import Meter, StageCost
    from apps.pipeline import Stages

WARM_UP_FRAMES = 15
WARM_UP_S = 2.0
COST_FRAMES = 150
WORK_STAGES = ("tracking", "encode", "decode", "render")


@dataclass(frozen=True, slots=True)
class BenchReport:
    """What was measured."""

    source: str
    size: tuple[int, int]
    costs: tuple[StageCost, ...]
    """Stages one after the other: CPU is the whole process's during each."""
    work_cpu_ms: float
    """Mean CPU milliseconds a frame of tracking, encode, decode and render together."""
    source_fps: float
    shown_fps: float
    live_cpu_ms: float
    """CPU milliseconds of the whole process a shown frame, live, the source's decoding included."""
    age_median_ms: float
    age_p95_ms: float
    age_quarters_ms: tuple[float, ...]
    """Median age in each quarter of the run: rising numbers are a growing delay."""
    memory_start_mb: float
    memory_end_mb: float


@dataclass(frozen=True, slots=True)
class Bench:
    """Measure on this machine: CPU and wall milliseconds of each stage, one after the other; then
    the age of the shown picture with the source played at its own rate."""

    source: str | None = None
    """As in preview; by default the clip that is shipped, played over and over."""
    seconds: float = 20.0
    """How long the live part runs."""
    size: str = "512x512"
    """WIDTHxHEIGHT of the drawn picture."""
    avatar: str = "default"
    """Which avatar is drawn."""
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> int:
        """0 when it was measured."""
        if not self.seconds > 0:
            raise UsageError(f"--seconds {self.seconds:g}: expected more than 0")
        preview = Preview(source=self.source or _shipped_clip(), avatar=self.avatar, size=self.size)
        preview.check()
        report = measure(preview, self.seconds)
        print(json.dumps(asdict(report), indent=2) if self.json else _table(report))
        return 0


def measure(preview: Preview, seconds: float) -> BenchReport:
    """Run both parts. Raises FailedError when the source is too short to measure anything."""
    import numpy as np

    from apps.meter import Meter
    from apps.preview_stages import open_source_of, open_stages

    meter = Meter(time.process_time)
    with open_source_of(preview) as source, open_stages(preview, source) as stages:
        size = _cost_pass(stages, meter)
        source.close()
        live = _live_pass(preview, stages, seconds)
        fps = source.fps
    if len(live.ages_ms) < 4:
        raise FailedError(
            f"{preview.source}: too few pictures ({len(live.ages_ms)}) to measure; use a longer "
            "source or --seconds"
        )
    ages_ms, costs = np.array(live.ages_ms), meter.costs()
    return BenchReport(
        source=preview.source,
        size=size,
        costs=costs,
        work_cpu_ms=sum(cost.cpu_mean for cost in costs if cost.stage in WORK_STAGES),
        source_fps=fps,
        shown_fps=len(ages_ms) / live.wall_s,
        live_cpu_ms=live.cpu_s * 1e3 / len(ages_ms),
        age_median_ms=float(np.median(ages_ms)),
        age_p95_ms=float(np.percentile(ages_ms, 95)),
        age_quarters_ms=tuple(float(np.median(part)) for part in np.array_split(ages_ms, 4)),
        memory_start_mb=live.memory_start_mb,
        memory_end_mb=live.memory_end_mb,
    )


@dataclass(frozen=True, slots=True)
class _Live:
    ages_ms: tuple[float, ...]
    cpu_s: float
    wall_s: float
    memory_start_mb: float
    memory_end_mb: float


def _cost_pass(stages: Stages, meter: Meter) -> tuple[int, int]:
    """Fill `meter` with stages that run one after the other; return the pictures' size."""
    from apps.pipeline import Pipeline, PipelineOptions

    size = (0, 0)
    with Pipeline(stages, PipelineOptions(threads=False), meter=meter) as pipeline:
        for count, drawn in enumerate(pipeline):
            size = drawn.view.size
            if count == WARM_UP_FRAMES:
                meter.clear()
            if count == WARM_UP_FRAMES + COST_FRAMES:
                break
    return size


def _live_pass(preview: Preview, stages: Stages, seconds: float) -> _Live:
    """Play the source at its own rate, over and over, and look at each shown picture's age."""
    from apps.pacing import PacedSource
    from apps.pipeline import Pipeline
    from apps.preview_stages import open_source_of

    source = open_source_of(preview)
    if not source.live:
        source = PacedSource(source, reopen=lambda: open_source_of(preview))
    ages_ms: list[float] = []
    with source, Pipeline(replace(stages, source=source)) as pipeline:
        begun, cpu_begun, memory_start = time.monotonic(), 0.0, 0.0
        measuring = False
        for drawn in pipeline:
            now = time.monotonic()
            if not measuring:
                if now - begun >= WARM_UP_S:
                    measuring, begun = True, now
                    cpu_begun, memory_start = time.process_time(), _memory_mb()
                continue
            ages_ms.append(drawn.age_ms)
            if now - begun >= seconds:
                break
        cpu_s, wall_s = time.process_time() - cpu_begun, time.monotonic() - begun
        memory_end = _memory_mb()
    return _Live(tuple(ages_ms), cpu_s, wall_s, memory_start, memory_end)


def _shipped_clip() -> str:
    from assets.manifest import asset_path

    return f"video:{asset_path(CLIP)}"


def _memory_mb() -> float:
    """Resident memory of this process; its greatest so far where only that is told."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, ValueError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _table(report: BenchReport) -> str:
    width, height = report.size
    lines = [
        f"{report.source} at {report.source_fps:.2f} fps, drawn in {width}x{height}",
        "",
        f"{'stage':<10}{'frames':>8}{'wall ms':>10}{'p95':>8}{'CPU ms':>10}{'p95':>8}{'mean':>8}",
    ]
    lines += [
        f"{cost.stage:<10}{cost.frames:>8}{cost.wall_median:>10.1f}{cost.wall_p95:>8.1f}"
        f"{cost.cpu_median:>10.1f}{cost.cpu_p95:>8.1f}{cost.cpu_mean:>8.1f}"
        for cost in report.costs
    ]
    quarters = " ".join(f"{age:.0f}" for age in report.age_quarters_ms)
    lines += [
        "",
        f"{' + '.join(WORK_STAGES)}: {report.work_cpu_ms:.1f} CPU-ms a frame",
        f"live: {report.shown_fps:.1f} pictures a second, {report.live_cpu_ms:.1f} CPU-ms each",
        f"age of the shown picture: median {report.age_median_ms:.0f} ms, "
        f"p95 {report.age_p95_ms:.0f} ms; by quarters {quarters} ms",
        f"memory: {report.memory_start_mb:.0f} MB -> {report.memory_end_mb:.0f} MB",
    ]
    return "\n".join(lines)
