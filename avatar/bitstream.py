"""An avatar's codes over a network at a chosen bitrate (docs/bitstream.md).

encoder = BitstreamEncoder(avatar, BitstreamOptions(kbit_s=24.0))
decoder = BitstreamDecoder(avatar)
packet = encoder.encode(code)            # bytes, or None: this moment is left out
seen = decoder.decode(packet)            # an AvatarCode, or None while too little is known
seen = decoder.concealed(t_ns)           # at a moment that no packet came for
seen = decoder.at(t_ns)                  # at any moment, for one who plays a packet late

Each packet is read by itself; only what it predicts from may be missing. Every number is sent
without prediction once in `heal_s`, so that whatever was lost is whole again then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avatar.band_coding import read_bands, write_bands
from avatar.code_numbers import GROUPS, CodedAvatar, CodeNumbers, turned_like
from avatar.concealment import HORIZON_MS, Concealment, Moment
from avatar.level_coding import read_levels, write_levels
from avatar.packet_format import (
    ABSENT,
    FRESH,
    PERIODS,
    PREDICTED,
    QUALITIES,
    TURNS,
    Layout,
    PacketFormat,
    Presences,
)
from avatar.quantiser import Quantised, quantise, reconstructed, shifted_class
from avatar.range_coder import RangeCoderError, RangeDecoder, RangeEncoder
from avatar.rate_control import RateControl
from avatar.symbol_tables import Table, even_table, presence_table, rare_table
from streams.avatar_code import ORIGINS, AvatarCode
from streams.tracked_state import SIDES

Int64 = npt.NDArray[np.int64]

HEADER = 3
"""Bytes before the range coder's: the packet's number, and its time in ms modulo 65536."""
KEY_EVERY = 64
LONGEST_PAUSE_NS = 20_000_000_000
"""After which the encoder sends a key packet, because the time in a header says too little."""
LEAST_ENCODED_KBIT_S = 8.0
"""Below, what a picture told does not fit beside the face: such codes go as driven ones. At this
rate both looked equally well on three talking people, at half of it driven by 1 dB and more."""
MS = 1_000_000
APPEARANCE = GROUPS.index("appearance")


class BitstreamError(ValueError):
    """A packet that cannot be of this avatar's stream; says why."""


@dataclass(frozen=True, slots=True)
class BitstreamOptions:
    """Raises ValueError outside of the ranges."""

    kbit_s: float = 24.0
    """2 to 64: of the packets' own bytes; transport adds its headers."""
    heal_s: float = 0.4
    """0.1 to 2: after which nothing lost shows any more."""
    header_bytes: int = 0
    """0 to 200: of what carries each packet; they count as the packet's own."""

    def __post_init__(self) -> None:
        if not 2.0 <= self.kbit_s <= 64.0:
            raise ValueError(f"BitstreamOptions.kbit_s: expected 2 to 64, got {self.kbit_s}")
        if not 0.1 <= self.heal_s <= 2.0:
            raise ValueError(f"BitstreamOptions.heal_s: expected 0.1 to 2, got {self.heal_s}")
        if not 0 <= self.header_bytes <= 200:
            raise ValueError(
                f"BitstreamOptions.header_bytes: expected 0 to 200, got {self.header_bytes}"
            )


def presence_tables() -> tuple[Table, ...]:
    """Of whether each of GROUPS is in a packet: hands are often absent."""
    return tuple(presence_table(16 if name in SIDES else 8) for name in GROUPS)


class _State:
    """What both ends know of the last packet."""

    def __init__(self, numbers: CodeNumbers) -> None:
        self.numbers = numbers
        self.format = PacketFormat(numbers)
        self.presence_tables = presence_tables()
        self.row = np.zeros(numbers.size, np.int64)
        """All numbers; those of absent groups are 0."""
        self.presences: Presences = (ABSENT,) * len(GROUPS)

    @property
    def values(self) -> dict[str, Int64]:
        """The row's groups."""
        return {name: self.row[self.numbers.spans[name]] for name in GROUPS}


@dataclass(frozen=True, slots=True, eq=False)
class _Packet:
    """A packet that is not sent yet, and what the receiver will know after it."""

    data: bytes
    presences: Presences
    row: Int64


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
        self._require_own(code)
        last = self._last_t_ns
        if last is not None and not 0 < code.t_ns - last <= LONGEST_PAUSE_NS:
            self._key = True
        budget = None if self._key else self._rate.budget(code.t_ns)
        if budget is None and not self._key:
            return None
        turn = (self._turn + 1) % TURNS
        self._choose_period(code.t_ns)
        row, presences = self._wanted(code, self._key)
        shows = self._shows(code)
        packet = self._packet(code, row, presences, shows, turn)
        if budget is not None and self._bits(packet) > budget.tolerated:
            self._rate.coarser(self._bits(packet), budget)
            packet = self._packet(code, row, presences, shows, turn)
            if self._bits(packet) > budget.most:
                self._rate.coarser(self._bits(packet), budget)
                return None
        self._rate.sent(code.t_ns, self._bits(packet), budget)
        self._state.row, self._state.presences = packet.row, packet.presences
        self._turn, self._last_t_ns, self._key = turn, code.t_ns, False
        return packet.data

    def _bits(self, packet: _Packet) -> int:
        return 8 * (len(packet.data) + self.options.header_bytes)

    def _wanted(self, code: AvatarCode, key: bool) -> tuple[Int64, Presences]:
        """All numbers of the code but the appearance's, and how they are to be sent."""
        state, numbers = self._state, self._state.numbers
        row, presences = np.zeros(numbers.size, np.int64), [ABSENT] * len(GROUPS)
        found = numbers.hands(code.hands)
        face = numbers.face(code)
        if face is not None:
            found["face"] = face
        for name, values in found.items():
            group, span = GROUPS.index(name), numbers.spans[name]
            row[span] = turned_like(values, state.row[span])
            known = state.presences[group] != ABSENT and not key
            presences[group] = PREDICTED if known else FRESH
        return row, tuple(presences)

    def _packet(
        self, code: AvatarCode, row: Int64, presences: Presences, shows: Int64 | None, turn: int
    ) -> _Packet:
        state, quality = self._state, self._rate.quality
        after = np.zeros(len(row), np.int64)
        parts = [self._part(row, presences, turn, after)] if any(presences) else []
        span = state.numbers.spans["appearance"]
        if presences[0] != ABSENT and (
            shows is None or bool((shows >= state.format.steps(quality)[span]).any())
        ):
            row[span] = state.numbers.told(code, after[state.numbers.spans["face"]])
            told = (ABSENT,) * APPEARANCE + (FRESH if self._key else PREDICTED,)
            parts.append(self._part(row, told, turn, after))
            presences = presences[:APPEARANCE] + told[APPEARANCE:]
        origin = "encoded" if shows is None else "driven"
        data = self._written(code.t_ns // MS, origin, turn, presences, parts)
        return _Packet(data, presences, after)

    def _part(
        self, row: Int64, presences: Presences, turn: int, after: Int64
    ) -> tuple[Layout, Quantised]:
        """Quantise the numbers of `row` that are present; what they become goes to `after`."""
        form, quality = self._state.format, self._rate.quality
        layout = form.layout(presences, turn, self._period)
        steps, kinds = form.tables(layout, quality)
        order = layout.order
        part = quantise(layout, steps, kinds, row.take(order), self._state.row.take(order))
        after[order] = part.values
        return layout, part

    def _written(
        self,
        time_ms: int,
        origin: str,
        turn: int,
        presences: Presences,
        parts: list[tuple[Layout, Quantised]],
    ) -> bytes:
        coder = RangeEncoder()
        coder.encode_one(int(self._key), rare_table(KEY_EVERY))
        if self._key:
            coder.encode_bits((time_ms >> 16) & 0xFFFFFFFF, 32)
            coder.encode_bits(self._state.numbers.check, 32)
        coder.encode_one(self._rate.quality, even_table(QUALITIES))
        coder.encode_one(PERIODS.index(self._period), even_table(len(PERIODS)))
        coder.encode_one(ORIGINS.index(origin), even_table(len(ORIGINS)))
        for presence, table in zip(presences, self._state.presence_tables, strict=True):
            coder.encode_one(presence, table)
        for layout, part in parts:
            write_bands(coder, layout, part.offsets, part.keeps)
        if len(parts) == 1:
            write_levels(coder, parts[0][1].kinds, parts[0][1].levels)
        elif parts:
            kinds = np.concatenate([part.kinds for _, part in parts])
            write_levels(coder, kinds, np.concatenate([part.levels for _, part in parts]))
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
        self._stale = np.ones(len(self._state.row), bool)
        self._known = np.zeros(len(self._state.row), bool)
        self._concealment = Concealment(self._state.numbers)
        self._speed = np.zeros_like(self._state.row)
        self._before: Moment | None = None
        self._newest: Moment | None = None

    @property
    def healing(self) -> float:
        """0..1: share of the numbers present that a loss may have left wrong."""
        spans = self._state.numbers.spans
        marks = [
            self._stale[spans[name]]
            for name, presence in zip(GROUPS, self._state.presences, strict=True)
            if presence != ABSENT
        ]
        return float(np.concatenate(marks).mean()) if marks else 0.0

    def concealed(self, t_ns: int) -> AvatarCode | None:
        """What to show at a moment from the newest packet on whose own is missing: how heads and
        hands have likely gone on. None before the first."""
        newest = self._newest
        if newest is None:
            return None
        passed_ms = (t_ns - newest.t_ms * MS) // MS
        row = self._concealment.carried(newest.row, newest.speed, passed_ms)
        return self._state.numbers.code_of(row, newest.known, t_ns, newest.origin)

    def at(self, t_ns: int) -> AvatarCode | None:
        """What to show at any moment, for one who plays one packet late: interpolated between the
        last two, and `concealed` after them. None before the first."""
        before, newest = self._before, self._newest
        if newest is None or before is None or t_ns >= newest.t_ms * MS:
            return self.concealed(t_ns)
        row = self._concealment.between(before, newest, t_ns // MS)
        return self._state.numbers.code_of(row, before.known, t_ns, before.origin)

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
        presences = tuple(coder.decode_one(table) for table in state.presence_tables)
        layout = form.layout(presences, turn, period)
        passed_ms = 0 if self._time_ms is None else time_ms - self._time_ms
        base = state.row
        if gap != 1:  # what the sender had before this packet is only guessed
            base = self._concealment.carried(
                base, self._speed, passed_ms * (gap - 1) // max(gap, 1)
            )
            self._stale[:] = True
        after = np.zeros(len(base), np.int64)
        if any(presences):
            after[layout.order] = self._numbers(coder, layout, quality, base)
        self._turn, self._time_ms = turn, time_ms
        state.row, state.presences = after, presences
        jumped = layout.whole[self._stale[layout.whole]]
        self._speed = self._concealment.speed(base, after, passed_ms // max(gap, 1), jumped)
        self._stale[layout.whole], self._known[layout.whole] = False, True
        if len(layout.absent):
            self._stale[layout.absent], self._known[layout.absent] = True, False
            if presences[APPEARANCE] == ABSENT:  # then it is as expected: exactly known
                self._stale[state.numbers.spans["appearance"]] = False
        came = np.logical_and.reduceat(self._known, state.numbers.starts).tolist()
        came[APPEARANCE] = True  # what is missing of it is as expected
        known = tuple(
            presence != ABSENT and whole for presence, whole in zip(presences, came, strict=True)
        )
        if presences[0] != ABSENT and not known[0]:
            return None
        last = self._newest  # what lies on the other side of a pause has nothing between
        follows = last is not None and 0 < time_ms - last.t_ms <= HORIZON_MS
        self._before = last if follows else None
        self._newest = Moment(time_ms, after, self._speed, known, origin)
        return state.numbers.code_of(after, known, time_ms * MS, origin)

    def _numbers(self, coder: RangeDecoder, layout: Layout, quality: int, base: Int64) -> Int64:
        """(N,) in the order of coding, predicted from `base`."""
        steps, kinds = self._state.format.tables(layout, quality)
        offsets, kept = read_bands(coder, layout)
        levels = read_levels(coder, shifted_class(kinds, layout, offsets))
        guess = np.array(kept).take(layout.band_of)
        guess *= base.take(layout.order)
        guess >>= 3
        return reconstructed(guess, levels, steps)
