"""Numbers to levels: the fast way gives what its slow twin gives."""

from __future__ import annotations

import numpy as np
import pytest

from avatar.code_numbers import GROUPS, CodeNumbers
from avatar.code_numbers import LARGEST as LIMIT
from avatar.packet_format import (
    PERIODS,
    QUALITIES,
    TURNS,
    Layout,
    PacketFormat,
)
from avatar.quantiser import Quantised, quantise
from avatar.slow_quantiser import slow_quantise
from tests.talking_person import (
    Numbers,
    Person,
    sent,
    speech,
)


def require_twin(
    layout: Layout, steps: Numbers, kinds: Numbers, wanted: Numbers, last: Numbers
) -> Quantised:
    """As `quantise`, which has to give what its slow twin gives."""
    fast = quantise(layout, steps, kinds, wanted, last)
    slow = slow_quantise(layout, *(x.tolist() for x in (steps, kinds, wanted, last)))
    got = (fast.keeps, fast.offsets, fast.kinds.tolist(), fast.levels.tolist())
    assert (*got, fast.values.tolist()) == slow
    return fast


def test_quantiser_gives_what_its_slow_twin_gives() -> None:
    rng, form = np.random.default_rng(7), PacketFormat(CodeNumbers(Person()))
    for _ in range(60):
        presences = tuple(int(p) for p in rng.integers(0, 3, len(GROUPS)))
        if not any(presences):
            continue
        quality, turn = int(rng.integers(QUALITIES)), int(rng.integers(TURNS))
        layout = form.layout(presences, turn, PERIODS[int(rng.integers(len(PERIODS)))])
        steps, kinds = form.steps(quality)[layout.order], form.kinds(quality)[layout.kind_index]
        count, reach = len(layout.order), 10.0 ** rng.uniform(0, 8)
        last = np.rint(rng.normal(size=count) * reach).astype(np.int64).clip(-LIMIT, LIMIT)
        moved = np.rint(rng.normal(size=count) * steps * 10.0 ** rng.uniform(-2, 3))
        # Halfway between levels, where rounding tells, and at the very ends of what is held.
        ties = last + steps * rng.integers(-20, 20, count) * 5 // 8
        wanted = np.where(rng.random(count) < 0.3, ties, last + moved).astype(np.int64)
        require_twin(layout, steps, kinds, wanted.clip(-LIMIT, LIMIT), last)


def test_quantiser_and_twin_agree_on_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avatar.bitstream.quantise", require_twin)
    shown, _, _ = sent(speech(40, hands=True), 24.0)
    assert shown[-1] is not None
