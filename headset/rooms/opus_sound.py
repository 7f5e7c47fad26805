"""Sound as Opus packets of 20 ms (RFC 6716) and back, with an end to what gets lost.

FFmpeg's decoder neither conceals nor reads in-band error correction, so what is missing here comes
from the packet after it, which may carry its predecessor once more (`room_message.SoundPacket`), or
fades to silence within 5 ms: never louder than what was heard before, never a loop of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.packet import Packet

from headset.rooms.room_message import LARGEST_SOUND, SoundPacket
from streams.audio_block import AudioBlock

Int16 = npt.NDArray[np.int16]

RATE = 48_000
"""What a decoder gives, samples a second."""
FRAME_S = 0.02
FRAME = round(RATE * FRAME_S)
BIT_RATE = 24_000
"""Of a voice, bits a second."""
FADE = round(RATE * 0.005)
ENCODER_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
JUMP_NS = 40_000_000
"""A microphone whose blocks are so far from where they were expected had a gap; less than that is
its clock, which is followed slowly."""
FOLLOWED = 0.05
"""Share of a block's deviation that the clock is moved by."""


class OpusEncoder:
    """One microphone's blocks, of any length and rate, to numbered packets."""

    def __init__(self) -> None:
        self._context: AudioCodecContext | None = None
        self._block_rate = self._rate = 0
        self._waiting = np.zeros(0, np.int16)
        self._start_ns, self._taken = 0, 0
        self._resampler: av.AudioResampler | None = None
        self._number, self._last = 0, b""

    def encode(self, block: AudioBlock, twice: bool = False) -> Iterator[SoundPacket]:
        """Packets that became complete. `twice`: each carries the one before once more."""
        if self._context is None or block.rate != self._block_rate:
            self._open(block)
        mono = self._resampled(block.samples.mean(1).round().astype(np.int16))
        expected_ns = self._start_ns + self._taken * 1_000_000_000 // self._rate
        apart_ns = block.t_ns - expected_ns
        if abs(apart_ns) > JUMP_NS:
            # What waits is older than the gap and shorter than a packet: it goes.
            self._start_ns, self._taken = block.t_ns, 0
            self._waiting = np.zeros(0, np.int16)
        else:
            self._start_ns += round(FOLLOWED * apart_ns)
        self._taken += len(mono)
        self._waiting = np.concatenate([self._waiting, mono])
        size = round(self._rate * FRAME_S)
        while len(self._waiting) >= size:
            first = self._taken - len(self._waiting)
            t_ns = self._start_ns + first * 1_000_000_000 // self._rate
            samples, self._waiting = self._waiting[:size], self._waiting[size:]
            yield from self._packets(samples, t_ns, twice)

    def _open(self, block: AudioBlock) -> None:
        self._block_rate = block.rate
        self._start_ns, self._taken = block.t_ns, 0
        self._waiting = np.zeros(0, np.int16)
        self._rate = rate = block.rate if block.rate in ENCODER_RATES else RATE
        self._resampler = None
        if rate != block.rate:
            self._resampler = av.AudioResampler("s16", "mono", rate)
        context = av.CodecContext.create("libopus", "w")
        if not isinstance(context, AudioCodecContext):
            raise TypeError("OpusEncoder: expected an encoder of sound")
        context.sample_rate, context.layout, context.format = rate, "mono", "s16"
        context.bit_rate = BIT_RATE
        context.time_base = Fraction(1, rate)
        context.options = {"application": "voip", "frame_duration": "20", "vbr": "constrained"}
        context.open()
        self._context = context

    def _resampled(self, samples: Int16) -> Int16:
        if self._resampler is None:
            return samples
        frames = self._resampler.resample(_frame(samples, self._block_rate))
        parts = [np.asarray(one.to_ndarray(), np.int16).ravel() for one in frames]
        return np.concatenate([np.zeros(0, np.int16), *parts])

    def _packets(self, samples: Int16, t_ns: int, twice: bool) -> Iterator[SoundPacket]:
        if self._context is None:
            return
        for packet in self._context.encode(_frame(samples, self._rate)):
            data = bytes(packet)
            if len(data) <= LARGEST_SOUND:
                before = self._last if twice else b""
                yield SoundPacket(max(0, t_ns - LOOKAHEAD_NS), self._number, data, before)
            self._number, self._last = (self._number + 1) & 0xFFFFFFFF, data


def _frame(samples: Int16, rate: int) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), "s16", "mono")
    frame.sample_rate = rate
    return frame


LOOKAHEAD_NS = 6_500_000
"""An encoder's look-ahead: a decoder's first sample is that much older than the encoder's first
(312 samples at 48 kHz, as in `OpusHead` of RFC 7845)."""


class OpusDecoder:
    """Packets of one person, in order, to FRAME samples each."""

    def __init__(self) -> None:
        self._context = _decoder()
        self._tail = np.zeros(FADE, np.int16)
        self._silent = True

    def decode(self, packet: bytes) -> Int16:
        """(FRAME,) int16 at RATE. A damaged packet, or one of another length, counts as lost."""
        samples = self._decoded(packet)
        if samples is None:
            return self.lost()
        if self._silent:
            samples = samples.copy()
            samples[:FADE] = (samples[:FADE] * np.linspace(0.0, 1.0, FADE)).astype(np.int16)
        self._tail, self._silent = samples[-FADE:], False
        return samples

    def lost(self) -> Int16:
        """(FRAME,) for a packet that did not come: the last 5 ms back, fading, then silence."""
        out = np.zeros(FRAME, np.int16)
        if not self._silent:
            out[:FADE] = (self._tail[::-1] * np.linspace(1.0, 0.0, FADE)).astype(np.int16)
        self._silent = True
        return out

    def _decoded(self, packet: bytes) -> Int16 | None:
        try:
            parts = [
                np.asarray(frame.to_ndarray()) for frame in self._context.decode(Packet(packet))
            ]
        except (av.error.FFmpegError, ValueError):
            self._context = _decoder()
            return None
        if [(part.dtype, part.size) for part in parts] != [(np.int16, FRAME)]:
            return None
        return np.asarray(parts[0], np.int16).ravel()


def _decoder() -> AudioCodecContext:
    context = av.CodecContext.create("libopus", "r")
    if not isinstance(context, AudioCodecContext):
        raise TypeError("OpusDecoder: expected a decoder of sound")
    context.sample_rate, context.layout = RATE, "mono"
    return context
