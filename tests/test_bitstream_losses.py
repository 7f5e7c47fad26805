"""Packets that are lost, late or repeated: what is healed, and how soon."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from avatar.bitstream import BitstreamDecoder, BitstreamEncoder
from avatar.code_numbers import GROUPS, CodeNumbers
from avatar.packet_format import (
    ABSENT,
    PERIODS,
    PREDICTED,
    TURNS,
    PacketFormat,
)
from tests.talking_person import (
    APPEARANCE,
    FPS,
    Person,
    error_of,
    sent,
    speech,
)


@pytest.mark.parametrize("burst", [1, 3, 10])
@pytest.mark.parametrize("at", [61, 70])
def test_a_loss_is_healed_within_half_a_second(burst: int, at: int) -> None:
    codes = speech(120)
    whole, _, _ = sent(codes, 24.0)
    shown, _, decoder = sent(codes, 24.0, lambda k: at <= k < at + burst)
    for k in range(at, at + burst):
        assert shown[k] is not None
    healed = at + burst + FPS // 2
    assert decoder.healing == 0.0
    for got, wanted in zip(shown[healed:], whole[healed:], strict=True):
        assert got is not None
        assert wanted is not None
        assert (got.geometry == wanted.geometry).all()
        assert (got.appearance == wanted.appearance).all()
        assert got.t_ns == wanted.t_ns
    after, before = shown[at + burst], whole[at + burst]
    assert after is not None
    assert before is not None
    assert (after.geometry != before.geometry).any(), "the loss is not seen at all: a weak test"


def test_the_share_that_is_healing_is_told() -> None:
    encoder, decoder = BitstreamEncoder(Person()), BitstreamDecoder(Person())
    shares = []
    for k, code in enumerate(speech(60)):
        packet = encoder.encode(code)
        assert packet is not None
        if k != 30:
            decoder.decode(packet)
            shares.append(decoder.healing)
    assert max(shares[:30]) == 0.0
    assert 0.8 < shares[30] < 1.0
    assert all(later < earlier for earlier, later in itertools.pairwise(shares[30:40]))
    assert shares[30 + FPS // 2] == 0.0


def test_random_losses_never_stop_it() -> None:
    rng = np.random.default_rng(3)
    codes = speech(300)
    gone = rng.random(300) < 0.1
    gone[0] = False
    shown, _, _ = sent(codes, 24.0, lambda k: bool(gone[k]))
    clean, _, _ = sent(codes, 24.0)
    pairs = [(a, b, c) for a, b, c in zip(shown[30:], clean[30:], codes[30:], strict=True)]
    lossy = np.median([error_of(a, c) for a, _, c in pairs if a])
    whole = np.median([error_of(b, c) for _, b, c in pairs if b])
    still = np.median([error_of(codes[0], c) for _, _, c in pairs])
    assert whole < lossy < 0.25 * still


def test_who_joins_late_sees_the_person_within_half_a_second() -> None:
    encoder, decoder = BitstreamEncoder(Person()), BitstreamDecoder(Person())
    packets = [encoder.encode(code) for code in speech(120)]
    seen = [decoder.decode(packet) for packet in packets[50:] if packet is not None]
    assert seen[0] is None
    assert all(code is not None for code in seen[FPS // 2 :])
    joined = BitstreamDecoder(Person())
    encoder.request_key()
    later = replace(speech(1)[0], t_ns=60_000_000_000)
    packet = encoder.encode(later)
    assert packet is not None
    got = joined.decode(packet)
    assert got is not None
    assert got.t_ns == later.t_ns


def test_late_and_repeated_packets_change_nothing() -> None:
    encoder, decoder = BitstreamEncoder(Person()), BitstreamDecoder(Person())
    packets = [p for p in (encoder.encode(code) for code in speech(20)) if p is not None]
    for packet in packets[:10]:
        decoder.decode(packet)
    assert decoder.decode(packets[9]) is None
    assert decoder.decode(packets[4]) is None
    kept = decoder._state.row.copy()
    assert decoder.decode(packets[7]) is None
    assert (kept == decoder._state.row).all()
    assert decoder.decode(packets[10]) is not None
    assert decoder.healing == 0.0


def test_numbers_wrap_and_times_go_on() -> None:
    codes = speech(3 * TURNS)  # 24 s: past the packet numbers' turn
    shown, _, decoder = sent(codes, 12.0)
    assert decoder.healing == 0.0
    for got, wanted in zip(shown, codes, strict=True):
        assert got is not None
        assert abs(got.t_ns - wanted.t_ns) <= 1_000_000


def test_a_pause_or_a_clock_set_back_begins_anew() -> None:
    encoder, decoder = BitstreamEncoder(Person()), BitstreamDecoder(Person())
    for t_ns in (10**10, 10**10 + 33_000_000, 10**12, 10**9):
        packet = encoder.encode(replace(speech(1)[0], t_ns=t_ns))
        assert packet is not None
        got = decoder.decode(packet)
        assert got is not None
        assert abs(got.t_ns - t_ns) <= 1_000_000


def test_every_number_is_refreshed_once_a_period() -> None:
    numbers = CodeNumbers(Person())
    form, first_number = PacketFormat(numbers), numbers.spans["appearance"].start
    for period in PERIODS:
        assert TURNS % period == 0
        for first in (0, 7, TURNS - 2):
            times = np.zeros(APPEARANCE, int)
            for turn in range(first, first + period):
                presences = tuple(PREDICTED if n == "appearance" else ABSENT for n in GROUPS)
                layout = form.layout(presences, turn % TURNS, period)
                assert sorted(layout.order - first_number) == list(range(APPEARANCE))
                times[layout.whole - first_number] += 1
            assert (times == 1).all()
