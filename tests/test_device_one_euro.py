"""The filter on the device against the host's, on random and on real sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.network_inputs import frames
from tracking.engine import Picture
from tracking.engines.face_pipeline import FACE_BETA, FacePipeline, FaceSettings
from tracking.nets.device_one_euro import DeviceOneEuro
from tracking.nets.litert import LiteRtNets
from tracking.one_euro import LONGEST_GAP_NS, OneEuro, OneEuroOptions, bridged_seconds

OPTIONS = OneEuroOptions(beta=FACE_BETA)
EXACT = 1e-9
"""Pixels: both compute in float64, in the same order."""

gaps = st.one_of(
    st.integers(1, 200_000_000),
    st.sampled_from([0, -5, LONGEST_GAP_NS, LONGEST_GAP_NS + 1, 10**12]),
)


class Twins:
    """Filters on the device, and the host's, which are given the same."""

    def __init__(self, slots: int, shape: tuple[int, ...], device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.ours = DeviceOneEuro(slots, shape, OPTIONS, self.device)
        self.theirs = [OneEuro(OPTIONS) for _ in range(slots)]
        self._t_ns = [-(10**15)] * slots
        self.quieted = 0.0
        """Pixels: how far a filter has held anything back."""

    def step(self, t_ns: int, slots: list[int], values: np.ndarray, sizes: np.ndarray) -> float:
        """The largest difference."""
        seconds = [bridged_seconds(self._t_ns[slot], t_ns) for slot in slots]
        for slot in slots:
            self._t_ns[slot] = t_ns
        with torch.inference_mode():
            found = self.ours.filtered(
                torch.tensor(slots, device=self.device),
                torch.tensor(seconds, dtype=torch.float64, device=self.device),
                torch.from_numpy(values).to(self.device),
                torch.from_numpy(sizes).to(self.device),
            ).cpu()
        expected = [
            self.theirs[slot].filter(t_ns, value, size)
            for slot, value, size in zip(slots, values, sizes, strict=True)
        ]
        self.quieted = max(self.quieted, float(np.abs(values - np.array(expected)).max()))
        return float(np.abs(found.numpy() - np.array(expected)).max())

    def begin(self, t_ns: int, slot: int, value: np.ndarray) -> None:
        """As a detector that found the face does."""
        self._t_ns[slot] = t_ns
        self.theirs[slot].reset()
        self.theirs[slot].filter(t_ns, value, 1.0)
        self.ours.begin(slot, value)


@settings(max_examples=40)
@given(st.lists(st.tuples(gaps, st.integers(0, 5)), min_size=2, max_size=40), st.integers(0, 999))
def test_it_is_the_hosts(steps: list[tuple[int, int]], seed: int) -> None:
    """Several at once, in any slots, with gaps, with times that stand still or run backwards."""
    rng = np.random.default_rng(seed)
    twins = Twins(4, (7, 3))
    t_ns = 0
    for gap, what in steps:
        t_ns += gap
        if what == 0:
            twins.begin(t_ns, int(rng.integers(4)), rng.normal(300.0, 50.0, (7, 3)))
            continue
        slots = rng.permutation(4)[: rng.integers(1, 5)].tolist()
        values = rng.normal(300.0, 10.0 ** rng.integers(-3, 3), (len(slots), 7, 3))
        sizes = rng.uniform(0.0, 300.0, len(slots)) * (rng.random(len(slots)) < 0.9)
        assert twins.step(t_ns, slots, values, sizes) <= EXACT


def _landmarks(clip: Path, count: int) -> list[tuple[np.ndarray, float]]:
    """Unfiltered, of the synthetic person, and the size."""
    engine = FacePipeline(LiteRtNets(threads=1), FaceSettings(filter=None))
    found: list[tuple[np.ndarray, float]] = []
    pictures: list[Picture] = list(frames(clip, *range(count)))
    for t, rgb in enumerate(pictures):
        (face,) = engine.look(rgb, 40 * t)
        found.append((face.landmarks.astype(np.float64), float(np.ptp(face.landmarks[:, 0]))))
    return found


def _require_real(device: str, clip: Path) -> None:
    twins = Twins(2, (478, 3), device)
    rng = np.random.default_rng(3)
    t_ns = 0
    for k, (value, size) in enumerate(_landmarks(clip, 40)):
        t_ns += int(rng.integers(5_000_000, 90_000_000))
        # The other slot has a face of its own.
        both = np.stack([value, value[::-1]])
        assert twins.step(t_ns, [1, 0], both, np.array([size, size])) <= EXACT
        if k == 20:
            twins.begin(t_ns, 0, value)
    assert twins.quieted > 0.05, "a filter that passes everything would be its twin here too"


def test_it_is_the_hosts_on_a_face(demo_clip: Path) -> None:
    _require_real("cpu", demo_clip)


@pytest.mark.gpu
def test_it_is_the_hosts_on_cuda(demo_clip: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    _require_real("cuda", demo_clip)


def test_what_was_in_a_slot_does_not_matter_to_what_begins_there() -> None:
    """Not even numbers that are none, which an unfinished answer may have left."""
    twins = Twins(1, (2, 3))
    nan = np.full((1, 2, 3), np.nan)
    twins.step(1, [0], nan, np.ones(1))
    twins.step(2, [0], nan, np.ones(1))
    assert twins.step(1, [0], np.ones((1, 2, 3)), np.ones(1)) <= EXACT
    assert twins.step(40_000_000, [0], np.full((1, 2, 3), 2.0), np.ones(1)) <= EXACT
