"""Two sessions (or two replays of one) measured against each other, signal by signal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.record_fields import first_difference
from apps.usage import FailedError
from streams.avatar_code import AvatarCode
from streams.face_shapes import FACE_SHAPES
from streams.rigid import Rigid
from streams.tracked_state import SIDES, FacePose, TrackedState

Float64 = npt.NDArray[np.float64]

SIGNALS = {
    "head-mm": "head position, mm",
    "head-deg": "head rotation, degrees",
    "landmarks-mm": "face landmarks in the head's frame, mean distance, mm",
    "blendshapes": "blend shapes, mean difference",
    "blendshape-most": "blend shapes, largest difference",
    "gaze-deg": "gaze, the worse eye, degrees",
    "hands-mm": "hand joints, mean distance, mm",
    "code-geometry": "code's geometry, RMS",
    "code-appearance": "code's appearance, RMS",
    "code-head-mm": "code's head position, mm",
    "code-head-deg": "code's head rotation, degrees",
}
"""What is measured at each moment, and in which unit."""
SAME_TIMES = 0.5
"""When so many of the fewer times are equal, the two have one clock."""


@dataclass(frozen=True, slots=True)
class Error:
    """One signal over all moments where both have it."""

    name: str
    moments: int
    mean: float
    p95: float
    largest: float
    largest_ns: int
    """The time, in A, of the largest."""


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """What one of the two says of a moment."""

    t_ns: int
    state: TrackedState | None = None
    code: AvatarCode | None = None


@dataclass(slots=True)
class Comparison:
    """What came of comparing B with A."""

    a: str
    b: str
    matched: int = 0
    """Moments that both have."""
    only_a: int = 0
    only_b: int = 0
    how: str = ""
    """How moments were matched."""
    identical: Counter[str] = field(default_factory=Counter)
    """Records that are the same bit for bit, by seam; times are compared only where both have one
    clock."""
    compared: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    """Moments in which only one of the two sees something: "face only in A", ..."""
    errors: list[Error] = field(default_factory=list)
    worst_shapes: list[tuple[str, float]] = field(default_factory=list)
    """Blend shapes by their mean difference, the worst first."""
    pictures: dict[str, Any] = field(default_factory=dict)
    """PSNR and FLIP of frames and of drawn pictures, or words why there are none."""
    kept: list[tuple[Tracked, Tracked]] = field(default_factory=list)
    """A few matched moments, evenly spread, for drawing."""

    def error(self, name: str) -> Error | None:
        """One signal; None where it was never measured."""
        return next((error for error in self.errors if error.name == name), None)


@dataclass(frozen=True, slots=True)
class Matching:
    """Which moments of the two belong together."""

    pairs: tuple[tuple[int, int], ...]
    """Times in A and B."""
    how: str
    one_clock: bool


def match_times(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> Matching:
    """Pairs of times, rising: equal ones where the two have one clock, else the nearest ones after
    each one's beginning, within half a step.

    Raises FailedError when nothing matches.
    """
    if not len(a) or not len(b):
        raise FailedError("compare: one of the two sessions holds no states and no codes to match")
    same = np.intersect1d(a, b)
    if len(same) >= SAME_TIMES * min(len(np.unique(a)), len(np.unique(b))):
        return Matching(tuple((int(t), int(t)) for t in same), "by equal times", True)
    steps = np.diff(a)
    half = float(np.median(steps[steps > 0])) / 2 if (steps > 0).any() else 1e9
    mine, yours = a - a[0], b - b[0]
    right = np.clip(np.searchsorted(yours, mine), 0, len(yours) - 1)
    left = np.maximum(right - 1, 0)
    nearer = np.abs(yours[left] - mine) <= np.abs(yours[right] - mine)
    nearest = np.where(nearer, left, right)
    pairs: list[tuple[int, int]] = []
    used = -1
    for k, n in enumerate(nearest):
        if n > used and abs(yours[n] - mine[k]) <= half:
            pairs.append((int(a[k]), int(b[n])))
            used = int(n)
    if not pairs:
        raise FailedError("compare: no two moments of the sessions lie at the same time")
    how = f"from each one's beginning, within {half / 1e6:.1f} ms (their clocks are different)"
    return Matching(tuple(pairs), how, False)


def compare_moments(
    a: Iterable[Tracked],
    b: Iterable[Tracked],
    matching: Matching,
    comparison: Comparison,
    kept: int = 12,
) -> None:
    """Fill `comparison` with the errors over all matched moments, and keep `kept` of these; both
    come in order of time."""
    comparison.how, comparison.matched = matching.how, len(matching.pairs)
    places = np.linspace(0, comparison.matched - 1, min(kept, comparison.matched)).round()
    measures = _Measures()
    for k, (mine, yours) in enumerate(_paired(a, b, matching.pairs)):
        if k in places:
            comparison.kept.append((mine, yours))
        _count_same(comparison, mine, yours, matching.one_clock)
        if mine.state is not None and yours.state is not None:
            _measure_states(comparison, measures, mine.state, yours.state)
        if mine.code is not None and yours.code is not None:
            _measure_codes(measures, mine.code, yours.code)
    comparison.errors = measures.errors()
    comparison.worst_shapes = measures.worst_shapes()


def _paired(
    a: Iterable[Tracked], b: Iterable[Tracked], pairs: tuple[tuple[int, int], ...]
) -> Iterator[tuple[Tracked, Tracked]]:
    left, right = iter(a), iter(b)
    for t_a, t_b in pairs:
        mine = next((m for m in left if m.t_ns == t_a), None)
        yours = next((m for m in right if m.t_ns == t_b), None)
        if mine is None or yours is None:
            return
        yield mine, yours


class _Measures:
    """Values of every signal at every moment."""

    def __init__(self) -> None:
        self._values: dict[str, list[tuple[float, int]]] = {name: [] for name in SIGNALS}
        self._shapes: list[Float64] = []

    def add(self, name: str, value: float, t_ns: int) -> None:
        self._values[name].append((float(value), t_ns))

    def add_shapes(self, differences: Float64) -> None:
        self._shapes.append(differences)

    def errors(self) -> list[Error]:
        found: list[Error] = []
        for name, pairs in self._values.items():
            if pairs:
                values = np.array([value for value, _ in pairs])
                worst = int(values.argmax())
                found.append(
                    Error(
                        name,
                        len(values),
                        float(values.mean()),
                        float(np.percentile(values, 95)),
                        float(values[worst]),
                        pairs[worst][1],
                    )
                )
        return found

    def worst_shapes(self, count: int = 5) -> list[tuple[str, float]]:
        if not self._shapes:
            return []
        mean = np.mean(self._shapes, axis=0)
        order = np.argsort(-mean, kind="stable")[:count]
        return [(FACE_SHAPES[k], float(mean[k])) for k in order if mean[k] > 0]


def _count_same(comparison: Comparison, mine: Tracked, yours: Tracked, one_clock: bool) -> None:
    for seam in ("state", "code"):
        a, b = getattr(mine, seam), getattr(yours, seam)
        if a is None or b is None:
            continue
        comparison.compared[seam] += 1
        difference = first_difference(a, b)
        comparison.identical[seam] += one_clock and difference is None


def _measure_states(
    comparison: Comparison, measures: _Measures, a: TrackedState, b: TrackedState
) -> None:
    if a.face is not None and b.face is not None:
        _measure_faces(measures, a.face, b.face, a.t_ns)
    elif a.face is not None or b.face is not None:
        comparison.seen[f"face only in {'A' if a.face is not None else 'B'}"] += 1
    for side in SIDES:
        mine, yours = a.hand(side), b.hand(side)
        if mine is not None and yours is not None:
            apart = np.linalg.norm(mine.joints.astype(np.float64) - yours.joints, axis=1)
            measures.add("hands-mm", apart.mean() * 1000, a.t_ns)
        elif mine is not None or yours is not None:
            comparison.seen[f"{side} hand only in {'A' if mine is not None else 'B'}"] += 1


def _measure_faces(measures: _Measures, a: FacePose, b: FacePose, t_ns: int) -> None:
    moved = np.linalg.norm(a.world_from_head.xyz - b.world_from_head.xyz)
    measures.add("head-mm", float(moved) * 1000, t_ns)
    measures.add("head-deg", turned_deg(a.world_from_head, b.world_from_head), t_ns)
    apart = np.linalg.norm(a.landmarks.astype(np.float64) - b.landmarks, axis=1)
    measures.add("landmarks-mm", apart.mean() * 1000, t_ns)
    shapes = np.abs(a.blendshapes.astype(np.float64) - b.blendshapes)
    measures.add_shapes(shapes)
    measures.add("blendshapes", shapes.mean(), t_ns)
    measures.add("blendshape-most", shapes.max(), t_ns)
    measures.add("gaze-deg", float(angles_deg(a.gaze, b.gaze).max()), t_ns)


def _measure_codes(measures: _Measures, a: AvatarCode, b: AvatarCode) -> None:
    if a.avatar == b.avatar:
        for name in ("geometry", "appearance"):
            mine, yours = getattr(a, name).astype(np.float64), getattr(b, name)
            if mine.shape == yours.shape and mine.size:
                rms = float(np.sqrt(((mine - yours) ** 2).mean()))
                measures.add(f"code-{name}", rms, a.t_ns)
    if a.world_from_head is not None and b.world_from_head is not None:
        moved = np.linalg.norm(a.world_from_head.xyz - b.world_from_head.xyz)
        measures.add("code-head-mm", float(moved) * 1000, a.t_ns)
        turned = turned_deg(a.world_from_head, b.world_from_head)
        measures.add("code-head-deg", turned, a.t_ns)


def turned_deg(a: Rigid, b: Rigid) -> float:
    """Degrees of the rotation between the two; exactly 0 for equal ones."""
    return 0.0 if (a.wxyz == b.wxyz).all() else float(np.rad2deg(a.angle_to(b)))


def angles_deg(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Float64:
    """(N,) degrees between unit vectors (N, 3); exact for small angles too (atan2 of the cross and
    the dot product)."""
    mine, yours = a.astype(np.float64), b.astype(np.float64)
    sine = np.linalg.norm(np.cross(mine, yours), axis=-1)
    return np.rad2deg(np.arctan2(sine, (mine * yours).sum(-1)))
