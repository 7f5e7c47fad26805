"""Blocks of sound as AAC beside the pictures of a video, each sample at its own time."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.audio.frame import AudioFrame
from av.container import OutputContainer
from av.packet import Packet

from streams.audio_block import AudioBlock

AAC_RATES = frozenset(
    (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
)
"""Samples a second that AAC has (ISO/IEC 14496-3, table 1.18); others become USUAL_RATE."""
USUAL_RATE = 48_000
TOLERANCE_S = 0.015
"""Blocks whose times wander by less are laid end to end; beyond it silence is put in or sound left
out. Lips and voice are seen apart from about 45 ms (ITU-R BT.1359)."""


@dataclass(frozen=True, slots=True)
class SoundFormat:
    """What sound comes."""

    rate: int
    """Samples a second and channel."""
    channels: int
    """1 and 2 stay what they are; more (microphones all around) are averaged to one."""

    @staticmethod
    def of(block: AudioBlock) -> SoundFormat:
        """As in this block."""
        return SoundFormat(block.rate, block.samples.shape[1])


class SoundEncoder:
    """Adds a stream of sound to a container that is being written."""

    def __init__(self, container: OutputContainer, sound: SoundFormat) -> None:
        self._container, self.sound = container, sound
        rate = sound.rate if sound.rate in AAC_RATES else USUAL_RATE
        self._layout = "stereo" if sound.channels == 2 else "mono"
        self._stream = container.add_stream("aac", rate=rate, layout=self._layout)
        self._written = 0
        self.silence = 0
        """Samples of silence that were put in where no sound came."""

    def write(self, block: AudioBlock) -> None:
        """Add a block; what lies before time 0 or was already written is left out.

        Raises ValueError for another rate or number of channels.
        """
        if SoundFormat.of(block) != self.sound:
            raise ValueError(
                f"SoundEncoder.write: expected {self.sound.rate} Hz and {self.sound.channels} "
                f"channels, got {block.rate} Hz and {block.samples.shape[1]}"
            )
        samples = block.samples
        at = round(block.t_ns * self.sound.rate / 1_000_000_000)
        apart = at - self._written
        tolerance = round(TOLERANCE_S * self.sound.rate)
        if apart > (tolerance if self._written else 0):
            self._encode(np.zeros((apart, samples.shape[1]), np.int16))
            self.silence += apart
        elif apart < (-tolerance if self._written else 0):
            samples = samples[-apart:]
        self._encode(samples)

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if self._written:
            self._mux(self._stream.encode(None))

    def _encode(self, samples: np.ndarray) -> None:
        if not len(samples):
            return
        if samples.shape[1] > 2:
            samples = np.rint(samples.mean(1, keepdims=True)).astype(np.int16)
        packed = np.ascontiguousarray(samples).reshape(1, -1)
        frame = AudioFrame.from_ndarray(packed, "s16", self._layout)
        frame.sample_rate = self.sound.rate
        frame.time_base = Fraction(1, self.sound.rate)
        frame.pts = self._written
        self._written += len(samples)
        self._mux(self._stream.encode(frame))

    def _mux(self, packets: list[Packet]) -> None:
        # AAC's first packet is the encoder's run-up, before time 0. With it FFmpeg moves every
        # picture by 21 ms; without it the first 21 ms of sound fade in.
        self._container.mux([p for p in packets if p.pts is not None and p.pts >= 0])
