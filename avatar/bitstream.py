"""An avatar's codes over a network at a chosen bitrate (docs/bitstream.md).

encoder = BitstreamEncoder(avatar, BitstreamOptions(kbit_s=24.0))
decoder = BitstreamDecoder(avatar)
packet = encoder.encode(code)            # bytes, or None: this moment is left out
seen = decoder.decode(packet)            # an AvatarCode, or None while too little is known

Each packet is read by itself; only what it predicts from may be missing. Every number is sent
without prediction once in `heal_s`, so that whatever was lost is whole again then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from avatar.code_numbers import GROUPS, LARGEST, CodedAvatar, CodeNumbers, turned_like
from avatar.eye_balls import STRAIGHT
from avatar.packet_format import (
    ABSENT,
    FRESH,
    KEEPS,
    MIDDLE,
    OFFSETS,
    PERIODS,
    PREDICTED,
    QUALITIES,
    TURNS,
    PacketFormat,
)
from avatar.range_coder import RangeCoderError, RangeDecoder, RangeEncoder
from avatar.rate_control import RateControl
from avatar.symbol_tables import (
    CLASSES,
    SYMBOLS,
    even_table,
    level_table,
    magnitude_bits,
    near_table,
    presence_table,
    rare_table,
)
from avatar.symbol_tables import LARGEST as LARGEST_LEVEL
from streams.avatar_code import ORIGINS, AvatarCode
from streams.tracked_state import SIDES

Int64 = npt.NDArray[np.int64]

ROUNDING = 6
"""Of 16: from which part of a step on a level is rounded up; 8 would be to the nearest. Small
changes are mostly the tracker's noise, and a zero is the cheapest level."""
HEADER = 3
"""Bytes before the range coder's: the packet's number, and its time in ms modulo 65536."""
KEY_EVERY = 64
LONGEST_PAUSE_NS = 20_000_000_000
"""After which the encoder sends a key packet, because the time in a header says too little."""
LEAST_ENCODED_KBIT_S = 8.0
"""Below, what a picture told does not fit beside the face: such codes go as driven ones. At this
rate both looked equally well on three talking people, at half of it driven by 1 dB and more."""
TOO_LARGE = 1.6
"""Times its wanted size, at which a packet is made again."""
MS = 1_000_000
MAGNITUDES = LARGEST_LEVEL + 2


class BitstreamError(ValueError):
    """A packet that cannot be of this avatar's stream; says why."""


@dataclass(frozen=True, slots=True)
class BitstreamOptions:
    """Raises ValueError outside of the ranges."""

    kbit_s: float = 24.0
    """2 to 64: of the packets' own bytes; transport adds its headers."""
    heal_s: float = 0.4
    """0.1 to 2: after which nothing lost shows any more."""

    def __post_init__(self) -> None:
        if not 2.0 <= self.kbit_s <= 64.0:
            raise ValueError(f"BitstreamOptions.kbit_s: expected 2 to 64, got {self.kbit_s}")
        if not 0.1 <= self.heal_s <= 2.0:
            raise ValueError(f"BitstreamOptions.heal_s: expected 0.1 to 2, got {self.heal_s}")


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One group of a packet that is being written."""

    name: str
    presence: int
    offsets: list[int]
    keeps: list[int]
    """Indices into KEEPS; of fresh bands 0."""
    kinds: Int64
    levels: Int64
    values: Int64
    """What the receiver will have."""


class _State:
    """What both ends know of the last packet."""

    def __init__(self, numbers: CodeNumbers) -> None:
        self.numbers = numbers
        self.format = PacketFormat(numbers)
        self.values = {
            name: np.zeros(len(group.step), np.int64) for name, group in numbers.groups.items()
        }
        self.present: dict[str, bool] = dict.fromkeys(GROUPS, False)

    def forget(self, name: str) -> None:
        """The group is not in the packet."""
        self.values[name] = np.zeros_like(self.values[name])
        self.present[name] = False


class BitstreamEncoder:
    """Codes in, packets out. Not shared between threads."""

    def __init__(self, avatar: CodedAvatar, options: BitstreamOptions | None = None) -> None:
        self.options = options or BitstreamOptions()
        self._state = _State(CodeNumbers(avatar))
        self._rate = RateControl(1000.0 * self.options.kbit_s)
        self._turn, self._last_t_ns, self._interval_ns = -1, None, 33e6
        self._period = 12
        self._key = True

    def request_key(self) -> None:
        """The next packet needs no earlier one: a receiver joined or asks for it."""
        self._key = True

    def encode(self, code: AvatarCode) -> bytes | None:
        """The packet of this moment; None: left out, for the bitrate. Raises ValueError for a code
        of another avatar."""
        numbers = self._state.numbers
        self._require_own(code)
        last = self._last_t_ns
        if last is not None and not 0 < code.t_ns - last <= LONGEST_PAUSE_NS:
            self._key = True
        wanted = self._rate.wanted_bits(code.t_ns)
        if wanted is None and not self._key:
            return None
        wanted = 8.0 if wanted is None else wanted
        key, turn = self._key, (self._turn + 1) % TURNS
        self._choose_period(code.t_ns)
        hands = {hand.side: hand for hand in code.hands}
        shown = {side: numbers.hand(hand) for side, hand in hands.items()}
        face, shows = numbers.face(code), self._shows(code)
        packet, parts = self._packet(code, shows, face, shown, key, turn)
        if not key and 8 * len(packet) > TOO_LARGE * wanted:
            self._rate.coarser(8 * len(packet), wanted)
            packet, parts = self._packet(code, shows, face, shown, key, turn)
        self._rate.sent(code.t_ns, 8 * len(packet), wanted, key)
        for name in GROUPS:
            if name in parts:
                self._state.values[name] = parts[name].values
                self._state.present[name] = True
            else:
                self._state.forget(name)
        self._turn, self._last_t_ns, self._key = turn, code.t_ns, False
        return packet

    def _packet(
        self,
        code: AvatarCode,
        shows: Int64 | None,
        face: Int64 | None,
        hands: dict[str, Int64],
        key: bool,
        turn: int,
    ) -> tuple[bytes, dict[str, _Part]]:
        quality, state = self._rate.quality, self._state
        parts: dict[str, _Part] = {}
        if face is not None:
            face = turned_like(face, state.values["face"])
            parts["face"] = self._part("face", face, key, turn, quality)
            steps = state.format.steps("appearance", quality)
            if shows is None or bool((shows >= steps).any()):
                told = state.numbers.told(code, parts["face"].values)
                parts["appearance"] = self._part("appearance", told, key, turn, quality)
        for side, values in hands.items():
            like = turned_like(values, state.values[side])
            parts[side] = self._part(side, like, key, turn, quality)
        origin = "encoded" if shows is None else "driven"
        return self._written(code.t_ns // MS, origin, key, turn, quality, parts), parts

    def _part(self, name: str, wanted: Int64, key: bool, turn: int, quality: int) -> _Part:
        """Quantise one group; the prediction and the table of each band are those that cost
        least."""
        form, before = self._state.format, self._state.values[name]
        fresh = key or not (self._state.present[name] or name == "appearance")
        layout = form.layout(name, fresh, turn, self._period)
        kinds = form.kinds(name, fresh, turn, self._period, quality)
        steps = form.steps(name, quality)[layout.order]
        x, last = wanted[layout.order], before[layout.order]
        counts = layout.counts
        # Which prediction: the one with the fewest bits by a rough measure.
        tried = np.array(KEEPS if not layout.fresh.all() else KEEPS[:1])
        part, whole = np.float32(1.0) / steps.astype(np.float32), tried.astype(np.float32) / 8
        off = np.abs(x * part - whole[:, None] * (last * part))
        rough = np.log2(np.float32(1.0) + off)
        sums = np.add.reduceat(rough, layout.starts, axis=1)
        sums[1:, layout.fresh] = np.inf
        keeps = sums.argmin(0)
        guess = (last * np.repeat(tried[keeps], counts)) >> 3
        levels = _levels(x - guess, steps)
        # Which table: by what the levels cost.
        size = np.minimum(np.abs(levels), LARGEST_LEVEL + 1)
        # A band's costs by table and class: (OFFSETS, B).
        costs = np.add.reduceat(
            offset_bits().reshape(OFFSETS, -1).take(kinds * MAGNITUDES + size, axis=1),
            layout.starts, axis=1,
        )  # fmt: skip
        offsets, near = [], MIDDLE
        for band in range(len(counts)):
            near = int((costs[:, band] + np.abs(np.arange(OFFSETS) - near)).argmin())
            offsets.append(near)
        chosen = _class(kinds + np.repeat(np.array(offsets) - MIDDLE, counts))
        values = np.empty_like(wanted)
        values[layout.order] = _held(guess + levels * steps)
        presence = FRESH if fresh else PREDICTED
        return _Part(name, presence, offsets, [int(k) for k in keeps], chosen, levels, values)

    def _written(
        self,
        time_ms: int,
        origin: str,
        key: bool,
        turn: int,
        quality: int,
        parts: dict[str, _Part],
    ) -> bytes:
        coder = RangeEncoder()
        coder.encode_one(int(key), rare_table(KEY_EVERY))
        if key:
            coder.encode_bits((time_ms >> 16) & 0xFFFFFFFF, 32)
            coder.encode_bits(self._state.numbers.check, 32)
        coder.encode_one(quality, even_table(QUALITIES))
        coder.encode_one(PERIODS.index(self._period), even_table(len(PERIODS)))
        coder.encode_one(ORIGINS.index(origin), even_table(len(ORIGINS)))
        for name in GROUPS:
            part = parts.get(name)
            presence = ABSENT if part is None else part.presence
            coder.encode_one(presence, presence_table(16 if name in SIDES else 8))
        for part in parts.values():
            layout = self._state.format.layout(
                part.name, part.presence == FRESH, turn, self._period
            )
            offset, keep = MIDDLE, len(KEEPS) - 1
            for band, fresh in enumerate(layout.fresh):
                coder.encode_one(part.offsets[band], near_table(OFFSETS, offset))
                offset = part.offsets[band]
                if not fresh:
                    coder.encode_one(part.keeps[band], near_table(len(KEEPS), keep))
                    keep = part.keeps[band]
        if parts:
            kinds = np.concatenate([part.kinds for part in parts.values()])
            levels = np.concatenate([part.levels for part in parts.values()])
            _write_levels(coder, kinds, levels)
        header = bytes([turn]) + (time_ms & 0xFFFF).to_bytes(2, "big")
        return header + coder.finish()

    def _shows(self, code: AvatarCode) -> Int64 | None:
        """(A,) what a driven code has beyond that which its own face tells: nothing, but for
        one made elsewhere. None: encoded, so all that the picture told is sent."""
        if code.origin != "encoded":
            return self._state.numbers.unexpected(code)
        if self.options.kbit_s < LEAST_ENCODED_KBIT_S:
            return np.zeros(self._state.numbers.appearance, np.int64)
        return None

    def _choose_period(self, t_ns: int) -> None:
        if self._last_t_ns is not None and 0 < t_ns - self._last_t_ns < 1e9:
            self._interval_ns += 0.1 * (t_ns - self._last_t_ns - self._interval_ns)
        fits = 1e9 * self.options.heal_s / self._interval_ns
        # A change breaks the round, so it waits until it is worth it.
        if not self._period <= fits * 1.05 <= 1.6 * self._period:
            self._period = max([p for p in PERIODS if p <= fits] or [1])

    def _require_own(self, code: AvatarCode) -> None:
        numbers = self._state.numbers
        sizes = (len(code.geometry), len(code.appearance))
        if code.avatar != numbers.avatar.id or sizes != (numbers.geometry, numbers.appearance):
            raise ValueError(
                f"BitstreamEncoder: expected codes of {numbers.avatar.id!r} with "
                f"{numbers.geometry} + {numbers.appearance} numbers, got {code.avatar!r} with "
                f"{sizes[0]} + {sizes[1]}"
            )


class BitstreamDecoder:
    """Packets in, codes out. Any of them may be missing, late or twice. Not shared between
    threads."""

    def __init__(self, avatar: CodedAvatar) -> None:
        self._state = _State(CodeNumbers(avatar))
        self._turn, self._time_ms = None, None
        self._stale = {
            name: np.ones(len(values), bool) for name, values in self._state.values.items()
        }
        self._known = {name: ~stale for name, stale in self._stale.items()}
        self._last: AvatarCode | None = None

    @property
    def healing(self) -> float:
        """0..1: share of the numbers present that a loss may have left wrong."""
        marks = [self._stale[name] for name in GROUPS if self._state.present[name]]
        return float(np.concatenate(marks).mean()) if marks else 0.0

    def concealed(self, t_ns: int) -> AvatarCode | None:
        """What to show at a moment whose packet is missing: the last that is known."""
        return None if self._last is None else replace(self._last, t_ns=t_ns)

    def decode(self, packet: bytes) -> AvatarCode | None:
        """The code; None for a packet that is late or a copy, and after joining without a key
        packet until every number has come. Raises BitstreamError, after which the stream goes on.
        """
        if len(packet) < HEADER or packet[0] >= TURNS:
            raise BitstreamError(
                f"bitstream: expected a packet of {HEADER} bytes and more, got {len(packet)} bytes"
            )
        turn = packet[0]
        gap = 1 if self._turn is None else (turn - self._turn) % TURNS
        coder = RangeDecoder(packet[HEADER:])
        try:
            key = bool(coder.decode_one(rare_table(KEY_EVERY)))
            if not key and (gap == 0 or gap > TURNS // 2):
                return None
            return self._decoded(coder, key, turn, gap, int.from_bytes(packet[1:3], "big"))
        except RangeCoderError as error:
            raise BitstreamError(f"bitstream: {error}; was the packet damaged?") from error

    def _decoded(
        self, coder: RangeDecoder, key: bool, turn: int, gap: int, low_ms: int
    ) -> AvatarCode | None:
        state, form = self._state, self._state.format
        if key:
            high_ms, check = coder.decode_bits(32), coder.decode_bits(32)
            if check != state.numbers.check:
                raise BitstreamError(
                    f"bitstream: expected packets of {state.numbers.avatar.id!r}, got another "
                    "avatar's or version's; open the avatar that the sender uses"
                )
            time_ms = high_ms << 16 | low_ms
        elif self._time_ms is None:
            time_ms = low_ms
        else:
            ahead = (low_ms - self._time_ms) & 0xFFFF
            time_ms = self._time_ms + (ahead if ahead < 0xF000 else ahead - 0x10000)
        quality = coder.decode_one(even_table(QUALITIES))
        period = PERIODS[coder.decode_one(even_table(len(PERIODS)))]
        origin = ORIGINS[coder.decode_one(even_table(len(ORIGINS)))]
        presences = {
            name: coder.decode_one(presence_table(16 if name in SIDES else 8)) for name in GROUPS
        }
        present = [name for name in GROUPS if presences[name] != ABSENT]
        keeps: dict[str, Int64] = {}
        kinds: list[Int64] = []
        for name in present:
            fresh = presences[name] == FRESH
            layout = form.layout(name, fresh, turn, period)
            offset, keep = MIDDLE, len(KEEPS) - 1
            offsets, kept = [], []
            for is_fresh in layout.fresh:
                offset = coder.decode_one(near_table(OFFSETS, offset))
                offsets.append(offset - MIDDLE)
                if not is_fresh:
                    keep = coder.decode_one(near_table(len(KEEPS), keep))
                kept.append(0 if is_fresh else KEEPS[keep])
            counts = layout.counts
            keeps[name] = np.repeat(np.array(kept), counts)
            shift = np.repeat(np.array(offsets), counts)
            base = form.kinds(name, fresh, turn, period, quality)
            kinds.append(_class(base + shift))
        levels = _read_levels(coder, np.concatenate(kinds)) if kinds else np.zeros(0, np.int64)
        self._turn, self._time_ms = turn, time_ms
        start = 0
        for name in GROUPS:
            if name not in present:
                state.forget(name)
                self._known[name][:] = False
                self._stale[name][:] = name != "appearance"
                continue
            fresh = presences[name] == FRESH
            layout = form.layout(name, fresh, turn, period)
            count = len(layout.order)
            steps = form.steps(name, quality)[layout.order]
            guess = (state.values[name][layout.order] * keeps[name]) >> 3
            some = guess + levels[start : start + count] * steps
            start += count
            values = np.empty(count, np.int64)
            values[layout.order] = _held(some)
            state.values[name], state.present[name] = values, True
            if gap != 1:
                self._stale[name][:] = True
            self._stale[name][layout.whole] = False
            self._known[name][layout.whole] = True
        code = self._code(time_ms * MS, origin)
        self._last = code if code is not None else self._last
        return code

    def _code(self, t_ns: int, origin: str) -> AvatarCode | None:
        state, numbers = self._state, self._state.numbers
        pose, gaze = None, STRAIGHT
        geometry = np.zeros(numbers.geometry, np.float32)
        appearance = np.zeros(numbers.appearance, np.float32)
        if state.present["face"]:
            if not self._known["face"].all():
                return None
            face = state.values["face"]
            pose, gaze, geometry = numbers.face_of(face)
            told = state.values["appearance"] if state.present["appearance"] else None
            appearance = numbers.appearance_of(told, face)
        hands = tuple(
            numbers.hand_of(side, state.values[side])
            for side in SIDES
            if state.present[side] and self._known[side].all()
        )
        return AvatarCode(t_ns, numbers.avatar.id, geometry, appearance, gaze, pose, hands, origin)


@cache
def offset_bits() -> npt.NDArray[np.float32]:
    """(OFFSETS, CLASSES, magnitudes): what a level costs when its class is shifted."""
    shifts = np.arange(-MIDDLE, OFFSETS - MIDDLE)[:, None]
    kinds = np.clip(np.arange(CLASSES) + shifts, 0, CLASSES - 1)
    return magnitude_bits()[kinds].astype(np.float32)


def _held(values: Int64) -> Int64:
    return np.minimum(np.maximum(values, -LARGEST), LARGEST)  # a third of what np.clip takes


def _class(kinds: Int64) -> Int64:
    return np.minimum(np.maximum(kinds, 0), CLASSES - 1)


def _levels(residual: Int64, steps: Int64) -> Int64:
    size = (16 * np.abs(residual) + ROUNDING * steps) // (16 * steps)
    return np.where(residual < 0, -size, size)


def _write_levels(coder: RangeEncoder, kinds: Int64, levels: Int64) -> None:
    """By classes, in each in the order of the packet; escaped magnitudes follow."""
    limit = LARGEST_LEVEL + 1
    symbols = (np.minimum(np.maximum(levels, -limit), limit) + limit).astype(np.int32)
    order = np.argsort(kinds, kind="stable")
    counts = np.bincount(kinds, minlength=CLASSES)
    start = 0
    for kind in np.flatnonzero(counts):
        count = int(counts[kind])
        coder.encode(symbols[order[start : start + count]], level_table(int(kind)))
        start += count
    for level in levels[np.abs(levels) >= limit]:
        coder.encode_number(abs(int(level)) - limit)


def _read_levels(coder: RangeDecoder, kinds: Int64) -> Int64:
    limit = LARGEST_LEVEL + 1
    order = np.argsort(kinds, kind="stable")
    counts = np.bincount(kinds, minlength=CLASSES)
    sorted_symbols = [
        coder.decode(int(counts[kind]), level_table(int(kind))) for kind in np.flatnonzero(counts)
    ]
    levels = np.empty(len(kinds), np.int64)
    levels[order] = np.concatenate(sorted_symbols).astype(np.int64) - limit
    for index in np.flatnonzero((levels == -limit) | (levels == SYMBOLS - 1 - limit)):
        size = limit + coder.decode_number()
        levels[index] = size if levels[index] > 0 else -size
    return levels
