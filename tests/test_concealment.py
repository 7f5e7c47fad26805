"""What is shown between and after packets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from avatar.bitstream import BitstreamDecoder, BitstreamEncoder, BitstreamOptions
from streams.avatar_code import AvatarCode
from streams.rigid import Rigid
from tests.talking_person import (
    Person,
    speech,
)


def head_error_mm(code: AvatarCode | None, wanted: AvatarCode) -> float:
    assert code is not None
    assert code.world_from_head is not None
    assert wanted.world_from_head is not None
    return 1e3 * float(np.linalg.norm(code.world_from_head.xyz - wanted.world_from_head.xyz))


def moving(count: int) -> list[AvatarCode]:
    """A head that goes to the right at 0.3 m/s while it turns at 1 rad/s, and hands with it."""
    codes = []
    for code in speech(count, hands=True):
        t = (code.t_ns - 5_000_000_000) / 1e9
        pose = Rigid.from_rotvec([0.0, 1.0 * t - 0.5, 0.0], [0.3 * t - 0.1, 0.0, -0.5])
        codes.append(replace(code, world_from_head=pose))
    return codes


def decoded(codes: list[AvatarCode]) -> BitstreamDecoder:
    """After all of them."""
    encoder = BitstreamEncoder(Person(), BitstreamOptions(64.0))
    decoder = BitstreamDecoder(Person())
    for code in codes:
        packet = encoder.encode(code)
        assert packet is not None
        assert decoder.decode(packet) is not None
    return decoder


def test_a_head_goes_on_while_packets_are_missing() -> None:
    codes = moving(34)
    decoder = decoded(codes[:31])
    last = decoder.concealed(codes[30].t_ns)
    for missed, share in ((1, 0.6), (3, 0.8)):
        wanted = codes[30 + missed]
        got = decoder.concealed(wanted.t_ns)
        assert got is not None
        assert got.t_ns == wanted.t_ns
        assert head_error_mm(got, wanted) < share * head_error_mm(last, wanted)
        assert got.world_from_head is not None
        assert wanted.world_from_head is not None
        assert last is not None
        assert last.world_from_head is not None
        turned = got.world_from_head.angle_to(wanted.world_from_head)
        assert turned < share * last.world_from_head.angle_to(wanted.world_from_head)
        assert len(got.hands) == 2


def test_at_the_newest_packet_concealing_changes_nothing() -> None:
    encoder, decoder = (
        BitstreamEncoder(Person(), BitstreamOptions(24.0)),
        BitstreamDecoder(Person()),
    )
    for code in speech(20, hands=True):
        got = decoder.decode(encoder.encode(code) or b"")
        assert got is not None
        for same in (decoder.concealed(got.t_ns), decoder.at(got.t_ns)):
            assert same is not None
            assert (same.geometry == got.geometry).all()
            assert (same.appearance == got.appearance).all()
            assert head_error_mm(same, got) == 0.0
            assert all(
                (a.joints == b.joints).all() for a, b in zip(same.hands, got.hands, strict=True)
            )


def test_concealing_settles_and_is_the_same_every_time() -> None:
    codes = moving(31)
    one, other = decoded(codes), decoded(codes)
    t_ns = codes[-1].t_ns
    places = []
    for ms in (0, 33, 100, 500, 1000, 1500, 60_000):
        a, b = one.concealed(t_ns + ms * 10**6), other.concealed(t_ns + ms * 10**6)
        assert a is not None
        assert b is not None
        assert a.world_from_head is not None
        assert (a.appearance == b.appearance).all()
        assert head_error_mm(a, b) == 0.0
        places.append(a.world_from_head.xyz[0])
        kept = np.linalg.norm(a.geometry) / np.linalg.norm(codes[-1].geometry)
        assert 0.2 < kept < 1.05
    moved_mm = 1e3 * np.diff(places)
    assert moved_mm[0] > moved_mm[2] / 3 > 0.0  # fast at first
    assert abs(moved_mm[-1]) == abs(moved_mm[-2]) == 0.0  # then at rest
    assert 1e3 * (places[-1] - places[0]) < 15.0  # 0.3 m/s for 40 ms


def test_who_plays_a_packet_late_sees_what_lies_between() -> None:
    codes = moving(61)
    decoder = decoded(codes[:31])
    a, b = codes[29], codes[30]
    for share in (0.0, 0.25, 0.5, 1.0):
        t_ns = round(a.t_ns + share * (b.t_ns - a.t_ns))
        got = decoder.at(t_ns)
        assert got is not None
        assert got.t_ns == t_ns
        assert a.world_from_head is not None
        assert b.world_from_head is not None
        wanted = a.world_from_head.interpolate(b.world_from_head, share)
        # A millisecond's way, because packets know whole ones.
        assert head_error_mm(got, replace(b, world_from_head=wanted)) < 0.5
        assert got.world_from_head is not None
        assert got.world_from_head.angle_to(wanted) < 3e-3
    early, after = decoder.at(a.t_ns - 10**9), decoder.at(b.t_ns + 10**7)
    hidden = decoder.concealed(b.t_ns + 10**7)
    assert head_error_mm(early, a) < 0.2
    assert after is not None
    assert hidden is not None
    assert (after.appearance == hidden.appearance).all()
    assert BitstreamDecoder(Person()).at(a.t_ns) is None


def test_a_hand_that_comes_or_goes_is_not_dragged_between() -> None:
    codes = moving(32)
    for before, after in ((True, False), (False, True)):
        ends = [
            replace(code, hands=code.hands if shown else ())
            for code, shown in zip(codes[30:], (before, after), strict=True)
        ]
        decoder = decoded(codes[:30] + ends)
        got = decoder.at((ends[0].t_ns + ends[1].t_ns) // 2)
        assert got is not None
        assert [hand.side for hand in got.hands] == (["left", "right"] if before else [])
        for hand, wanted in zip(got.hands, ends[0].hands, strict=False):
            assert np.linalg.norm(hand.joints - wanted.joints, axis=1).max() < 4e-3


def test_nothing_is_interpolated_over_a_pause() -> None:
    codes = moving(40)
    late = replace(codes[39], t_ns=codes[30].t_ns + 10**10)
    decoder = decoded([*codes[:31], late])
    got = decoder.at(codes[30].t_ns + 5 * 10**9)
    assert head_error_mm(got, late) < 0.2


def test_moments_left_out_at_few_bits_are_interpolated() -> None:
    codes = moving(150)
    for k, code in enumerate(codes):  # to and fro, twice a second
        pose = Rigid.from_rotvec([0.0, 0.0, 0.0], [0.03 * np.sin(2 * np.pi * k / 15), 0.0, -0.5])
        codes[k] = replace(code, world_from_head=pose, hands=())
    encoder, decoder = BitstreamEncoder(Person(), BitstreamOptions(4.0)), BitstreamDecoder(Person())
    waiting, stands, between, last = [], [], [], None
    for code in codes:
        packet = encoder.encode(code)
        waiting.append(code)
        got = None if packet is None else decoder.decode(packet)
        last = got or last
        if len(waiting) > 1 or got is None:
            stands.append(head_error_mm(last, code))
        if got is not None:
            between += [head_error_mm(decoder.at(late.t_ns), late) for late in waiting]
            waiting = []
    assert len(stands) > 50
    assert np.mean(between) < 0.5 * np.mean(stands)
