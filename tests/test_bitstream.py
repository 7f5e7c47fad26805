"""The bitstream: what arrives, at which rate, after which losses, and what damaged bytes do."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.bitstream import BitstreamDecoder, BitstreamEncoder, BitstreamError, BitstreamOptions
from avatar.code_numbers import GROUPS, CodeNumbers
from avatar.code_numbers import LARGEST as LIMIT
from avatar.codec import Avatar
from avatar.eye_balls import gaze_from_angles
from avatar.hand_rig import HandRig
from avatar.packet_format import (
    ABSENT,
    PERIODS,
    PREDICTED,
    QUALITIES,
    TURNS,
    Layout,
    PacketFormat,
)
from avatar.quantiser import Quantised, quantise
from avatar.range_coder import RangeCoderError, RangeDecoder, RangeEncoder
from avatar.slow_quantiser import slow_quantise
from avatar.slow_range_coder import SlowRangeDecoder, SlowRangeEncoder
from avatar.symbol_tables import (
    CLASSES,
    LARGEST,
    SYMBOLS,
    UNIT_CLASS,
    even_table,
    level_table,
    near_table,
    presence_table,
    rare_table,
)
from capture.frame_source import open_source
from streams.avatar_code import AvatarCode
from streams.hand_skeleton import HandShape, joint_angles, joints_from_angles
from streams.rigid import Rigid
from streams.tracked_state import FacePose, HandPose, TrackedState
from tracking.tracker import Tracker, TrackerOptions

Float32 = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
FPS, GEOMETRY, APPEARANCE = 30, 24, 160


@dataclass
class Person:
    """An avatar of which only the code matters: its expectation is a fixed linear map."""

    id: str = "avatars/test"

    def weights(self) -> tuple[Float32, Float32]:
        falling = 40.0 / np.arange(1, APPEARANCE + 1, dtype=np.float32)
        return np.full(GEOMETRY, 30.0, np.float32), falling

    def expected(self, pose: Rigid, geometry: Float32, gaze: Float32) -> Float32:
        return np.tile(geometry, 7)[:APPEARANCE] * np.float32(0.3)


@cache
def resting_hand(side: str) -> Float32:
    """(21, 3)."""
    return HandRig.open().rest_joints(side)


def hand_at(side: str, t: float, rng: np.random.Generator) -> HandPose:
    """A hand that moves and bends its fingers."""
    rest = resting_hand(side)
    angles = joint_angles(rest, side) + np.float32(0.3 * np.sin(3 * t)) * np.float32(0.5)
    pose = Rigid.from_rotvec([0.4 * np.sin(t), 0.3, 0.2], [0.2, -0.1 + 0.05 * np.sin(2 * t), -0.5])
    aside = np.full((5, 2), 0.2 * np.sin(t))
    joints = joints_from_angles(angles, HandShape.of(rest, side), pose, aside)
    return HandPose(side, joints, pose, joint_angles(joints, side), float(rng.uniform(0.5, 1.0)))


def speech(count: int, seed: int = 0, hands: bool = False) -> list[AvatarCode]:
    """Codes that wander as a talking person's do, each number with a correlation of 0.9."""
    rng = np.random.default_rng(seed)
    geometry, told = rng.normal(size=GEOMETRY), rng.normal(size=APPEARANCE)
    person, codes = Person(), []
    for k in range(count):
        geometry = 0.9 * geometry + 0.43 * rng.normal(size=GEOMETRY)
        told = 0.9 * told + 0.43 * rng.normal(size=APPEARANCE)
        t = k / FPS
        pose = Rigid.from_rotvec(
            [0.2 * np.sin(t), 0.3 * np.sin(0.7 * t), 0.0], [0.03 * np.sin(t), 0.01, -0.5]
        )
        angles = np.array([[0.2 * np.sin(2 * t), 0.1], [0.2 * np.sin(2 * t), 0.1]])
        gaze, shape = gaze_from_angles(angles), geometry.astype(np.float32)
        appearance = person.expected(pose, shape, gaze) + told.astype(np.float32)
        seen = tuple(hand_at(side, t, rng) for side in ("left", "right")) if hands else ()
        codes.append(
            AvatarCode(
                5_000_000_000 + k * 1_000_000_000 // FPS, person.id, shape,
                appearance.astype(np.float32), gaze, pose, seen, "encoded",
            )
        )  # fmt: skip
    return codes


def error_of(code: AvatarCode, wanted: AvatarCode) -> float:
    """Squared error in code values, as the encoder weighs it."""
    geometry, appearance = Person().weights()
    return float(
        (geometry * (code.geometry - wanted.geometry) ** 2).sum()
        + (appearance * (code.appearance - wanted.appearance) ** 2).sum()
    )


def sent(
    codes: list[AvatarCode],
    kbit_s: float,
    lost: Callable[[int], bool] = lambda k: False,
) -> tuple[list[AvatarCode | None], float, BitstreamDecoder]:
    """What is shown at each moment, kbit/s after the first second, and the decoder."""
    encoder = BitstreamEncoder(Person(), BitstreamOptions(kbit_s))
    decoder, shown, size = BitstreamDecoder(Person()), [], 0
    for k, code in enumerate(codes):
        packet = encoder.encode(code)
        arrives = packet is not None and not lost(k)
        size += len(packet) if packet is not None and k >= FPS else 0
        got = decoder.decode(packet) if packet is not None and arrives else None
        shown.append(got or decoder.concealed(code.t_ns))
    return shown, 8e-3 * size / max((len(codes) - FPS) / FPS, 1e-9), decoder


# -- the coder ------------------------------------------------------------------------------------


@st.composite
def messages(draw: st.DrawFn) -> list[tuple[int, int]]:
    """(table, symbol) pairs."""
    pairs = st.tuples(st.integers(0, len(TABLES) - 1), st.integers(0, 10_000))
    return draw(st.lists(pairs, max_size=60))


TABLES = [
    *(level_table(kind) for kind in range(CLASSES)),
    even_table(2), even_table(256), near_table(16, 8), rare_table(64), presence_table(8),
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(messages())
def test_range_coder_writes_the_bytes_of_its_slow_twin(message: list[tuple[int, int]]) -> None:
    fast, slow, wanted = RangeEncoder(), SlowRangeEncoder(), []
    for index, number in message:
        table = TABLES[index]
        symbol = number % len(table.probabilities)
        wanted.append(symbol)
        fast.encode_one(symbol, table)
        slow.encode(symbol, table.probabilities)
    data = fast.finish()
    assert data == slow.finish()
    quick, patient = RangeDecoder(data), SlowRangeDecoder(data)
    assert [quick.decode_one(TABLES[index]) for index, _ in message] == wanted
    assert [patient.decode(TABLES[index].probabilities) for index, _ in message] == wanted


def test_likely_symbols_carry_run_and_still_equal_the_twin() -> None:
    rng = np.random.default_rng(1)
    for _ in range(500):  # about 3 % of these end behind a carry
        fast, slow = RangeEncoder(), SlowRangeEncoder()
        for _ in range(int(rng.integers(1, 40))):
            table = level_table(int(rng.integers(CLASSES)))
            symbol = int(np.clip(np.rint(rng.normal(LARGEST + 1, 3)), 0, SYMBOLS - 1))
            fast.encode_one(symbol, table)
            slow.encode(symbol, table.probabilities)
        assert fast.finish() == slow.finish()


@given(st.integers(0, (1 << 26) - 2), st.integers(0, (1 << 20) - 1))
@settings(deadline=None)
def test_numbers_and_bits_survive(value: int, bits: int) -> None:
    encoder = RangeEncoder()
    encoder.encode_number(value)
    encoder.encode_bits(bits, 20)
    decoder = RangeDecoder(encoder.finish())
    assert decoder.decode_number() == value
    assert decoder.decode_bits(20) == bits


def test_tables_are_exact_and_as_wide_as_they_say() -> None:
    for kind in range(CLASSES):
        table = level_table(kind)
        assert sum(table.probabilities) == 1
        assert table.probabilities == tuple(reversed(table.probabilities))
        decay = table.probabilities[LARGEST + 2] / table.probabilities[LARGEST + 1]
        mean = float(2 * decay / (1 - decay**2))  # of the distribution before it escapes
        assert mean == pytest.approx(2 ** ((kind - UNIT_CLASS) / 2), rel=0.02)
    assert sum(presence_table(8).probabilities) == Fraction(1)


# -- the quantiser --------------------------------------------------------------------------------


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


# -- what arrives ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kbit_s", [2.0, 6.0, 16.0, 64.0])
def test_the_chosen_rate_is_kept(kbit_s: float) -> None:
    _, used, _ = sent(speech(300), kbit_s)
    assert used <= kbit_s
    if kbit_s < 20.0:  # 64 is more than these numbers can fill
        assert used > 0.8 * kbit_s


@pytest.mark.parametrize("kbit_s", [2.0, 5.0, 8.0, 12.0, 32.0])
@pytest.mark.parametrize("wild", [False, True])
def test_the_chosen_rate_is_a_ceiling_after_the_first_second(kbit_s: float, wild: bool) -> None:
    """Over every 3 s, also when a calm person begins to grimace and to gesture."""
    codes = speech(270, hands=wild)
    if wild:
        calm = [replace(codes[0], t_ns=code.t_ns) for code in codes[:120]]
        codes = calm + codes[120:]
    encoder = BitstreamEncoder(Person(), BitstreamOptions(kbit_s))
    sizes = np.array([len(encoder.encode(code) or b"") for code in codes])
    total = np.concatenate([[0], np.cumsum(8e-3 * sizes[FPS:])])
    assert total[-1] <= (len(codes) / FPS - 1.0) * kbit_s
    if wild and kbit_s == 2.0:  # one packet with two hands is half a second's worth
        assert (sizes[FPS:] > 0).mean() > 0.06
    else:
        window = 3 * FPS
        assert (total[window:] - total[:-window]).max() <= 3.0 * kbit_s
        assert (sizes[FPS:] > 0).mean() > (0.2 if kbit_s < 8.0 else 0.6)


def test_a_requested_key_packet_is_paid_back() -> None:
    encoder = BitstreamEncoder(Person(), BitstreamOptions(12.0))
    sizes = []
    for k, code in enumerate(speech(270)):
        if k == 60:
            encoder.request_key()
        sizes.append(len(encoder.encode(code) or b""))
    assert sizes[60] > 1.5 * np.median(sizes)
    assert 8e-3 * sum(sizes[30:]) <= 12.0 * 240 / FPS


def test_more_bits_mean_less_error() -> None:
    codes, errors = speech(240), []
    for kbit_s in (9.0, 16.0, 32.0):
        shown, _, _ = sent(codes, kbit_s)
        pairs = zip(shown[60:], codes[60:], strict=True)
        errors.append(np.mean([error_of(code, wanted) for code, wanted in pairs if code]))
    assert all(after < 0.8 * before for before, after in itertools.pairwise(errors))


def test_everything_in_the_code_arrives() -> None:
    codes = speech(90, hands=True)
    shown, _, _ = sent(codes, 64.0)
    got, wanted = shown[-1], codes[-1]
    assert got is not None
    assert got.world_from_head is not None
    assert wanted.world_from_head
    away = got.world_from_head.inverse() @ wanted.world_from_head
    assert np.abs(away.xyz).max() < 1e-3
    assert np.linalg.norm(away.rotvec()) < 0.01
    assert np.abs(got.gaze - wanted.gaze).max() < 0.02
    assert np.abs(got.geometry - wanted.geometry).max() < 0.1
    assert error_of(got, wanted) < 10.0
    assert (got.origin, got.avatar) == (wanted.origin, wanted.avatar)
    assert abs(got.t_ns - wanted.t_ns) <= 1_000_000
    assert [hand.side for hand in got.hands] == ["left", "right"]
    for hand, real in zip(got.hands, wanted.hands, strict=True):
        assert np.linalg.norm(hand.joints - real.joints, axis=1).max() < 3e-3
        assert np.abs(hand.angles - real.angles).max() < 0.1
        assert hand.confidence == pytest.approx(real.confidence, abs=0.1)


def test_a_real_hand_arrives(shared_data: Path) -> None:
    """A person who spells with one hand; what the tracker makes of it."""
    video = shared_data / "hands" / "asl_hand.mp4"
    with (
        open_source(f"video:{video}") as source,
        Tracker.open(TrackerOptions(faces=0, hands=1)) as tracker,
    ):
        states = [tracker.track(frame) for frame in islice(source, 90)]
    assert all(state.hands for state in states)
    absent = replace(speech(1)[0], world_from_head=None)
    codes = [replace(absent, t_ns=state.t_ns, hands=state.hands) for state in states]
    for kbit_s, most_mm in ((8.0, 2.0), (16.0, 0.2)):
        shown, used, _ = sent(codes, kbit_s)
        real_fps = 1e9 * (len(codes) - FPS) / (codes[-1].t_ns - codes[FPS - 1].t_ns)
        assert used * real_fps / FPS <= kbit_s
        errors = [
            np.linalg.norm(got.hands[0].joints - wanted.hands[0].joints, axis=1).mean()
            for got, wanted in zip(shown[FPS:], codes[FPS:], strict=True)
            if got
        ]
        assert 1e3 * np.mean(errors) < most_mm


def test_both_ends_agree_bit_by_bit() -> None:
    encoder = BitstreamEncoder(Person(), BitstreamOptions(12.0))
    decoder = BitstreamDecoder(Person())
    for code in speech(120, hands=True):
        packet = encoder.encode(code)
        if packet is not None:
            decoder.decode(packet)
            assert (decoder._state.row == encoder._state.row).all()


def test_what_is_not_seen_is_absent() -> None:
    codes = speech(30, hands=True)
    codes[10:20] = [replace(code, world_from_head=None, hands=()) for code in codes[10:20]]
    shown, _, _ = sent(codes, 64.0)
    for k, got in enumerate(shown):
        assert got is not None
        assert (got.world_from_head is None) == (10 <= k < 20)
        assert len(got.hands) == (0 if 10 <= k < 20 else 2)


def test_a_driven_code_as_expected_sends_no_appearance() -> None:
    codes = speech(120)
    person = Person()
    driven = [
        replace(
            code, origin="driven",
            appearance=person.expected(Rigid.identity(), code.geometry, code.gaze),
        )
        for code in codes
    ]  # fmt: skip
    shown, used, _ = sent(driven, 64.0)
    _, encoded, _ = sent(codes, 64.0)
    assert used < 0.5 * encoded
    got = shown[-1]
    assert got is not None
    assert got.origin == "driven"
    assert np.abs(got.appearance - driven[-1].appearance).max() < 0.05


def test_at_few_bits_the_face_moves_rather_than_a_poor_picture() -> None:
    codes = speech(120)
    low, high = sent(codes, 6.0)[0][-1], sent(codes, 12.0)[0][-1]
    assert low is not None
    assert high is not None
    assert (low.origin, high.origin) == ("driven", "encoded")
    assert low.world_from_head is not None
    expected = Person().expected(low.world_from_head, low.geometry, low.gaze)
    assert (low.appearance == expected).all()


def test_the_avatars_that_ship_have_a_stream() -> None:
    with Avatar.open("default") as avatar:
        encoder = BitstreamEncoder(avatar, BitstreamOptions(16.0))
        decoder = BitstreamDecoder(avatar)
        moved, rng = [], np.random.default_rng(2)
        shapes, marks = np.full(52, 0.2), np.zeros((478, 3), np.float32)
        for k in range(60):
            shapes = np.clip(shapes + 0.05 * rng.normal(size=52), 0.0, 1.0)
            gaze = gaze_from_angles(np.full((2, 2), 0.2 * np.sin(k / 10)))
            pose = Rigid.from_rotvec([0.1 * np.sin(k / 15), 0.0, 0.0], [0.0, 0.0, -0.5])
            face = FacePose(shapes.astype(np.float32), marks, gaze, pose, 1.0)
            code = avatar.encode(TrackedState(k * 33_333_333, "test", face))
            packet = encoder.encode(code)
            got = None if packet is None else decoder.decode(packet)
            if got is not None and k > 20:
                away = avatar.decode(got).vertices - avatar.decode(code).vertices
                moved.append(float(np.linalg.norm(away, axis=1).mean()))
        assert len(moved) > 30
        assert np.mean(moved) < 5e-4


# -- losses ---------------------------------------------------------------------------------------


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


# -- between and after packets --------------------------------------------------------------------


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


# -- what cannot be -------------------------------------------------------------------------------


def test_damaged_packets_end_in_one_error_and_the_stream_goes_on() -> None:
    rng = np.random.default_rng(4)
    encoder, decoder = BitstreamEncoder(Person()), BitstreamDecoder(Person())
    refused = 0
    for k, code in enumerate(speech(400, hands=True)):
        packet = encoder.encode(code)
        if packet is None:
            continue
        bad = bytearray(packet)
        if k % 4 == 1:
            bad[int(rng.integers(len(bad)))] ^= int(rng.integers(1, 256))
        elif k % 4 == 2:
            bad = bad[: int(rng.integers(len(bad)))]
        elif k % 4 == 3:
            bad = bytearray(rng.integers(0, 256, int(rng.integers(0, 300)), np.uint8).tobytes())
        try:
            decoder.decode(bytes(bad))
        except BitstreamError:
            refused += 1
        for seen in (decoder.concealed(code.t_ns), decoder.at(code.t_ns)):
            assert seen is None or np.isfinite(seen.appearance).all()
    assert refused > 5
    encoder.request_key()
    packet = encoder.encode(replace(speech(1)[0], t_ns=90_000_000_000))
    assert packet is not None
    assert decoder.decode(packet) is not None
    assert decoder.healing == 0.0


def test_strangers_are_refused() -> None:
    other = Person("avatars/other")
    code = speech(1)[0]
    with pytest.raises(ValueError, match="avatars/other"):
        BitstreamEncoder(other).encode(code)
    packet = BitstreamEncoder(Person()).encode(code)
    assert packet is not None
    with pytest.raises(BitstreamError, match="avatars/other"):
        BitstreamDecoder(other).decode(packet)
    with pytest.raises(RangeCoderError):
        RangeDecoder(b"\xff" * 64).decode(40, near_table(16, 0))


@pytest.mark.parametrize("options", [{"kbit_s": 1.0}, {"kbit_s": 65.0}, {"heal_s": 0.0}])
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="BitstreamOptions"):
        BitstreamOptions(**options)
