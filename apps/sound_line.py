"""Blocks of sound laid end to end on one time line: gaps become silence, repeats go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.audio_block import AudioBlock

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

    @property
    def laid_channels(self) -> int:
        """1 or 2: of what `SoundLine.add` gives."""
        return 2 if self.channels == 2 else 1


class SoundLine:
    """One source's samples from `start_ns` on."""

    def __init__(self, sound: SoundFormat, start_ns: int = 0) -> None:
        self.sound, self.start_ns = sound, start_ns
        self.laid = 0
        """Samples a channel until now."""

    def add(self, block: AudioBlock) -> npt.NDArray[np.int16]:
        """(N, 1 or 2) int16 to append: the block, with silence before it where there is a gap, and
        without what lies before `start_ns` or is there already.

        Raises ValueError for another rate or number of channels.
        """
        if SoundFormat.of(block) != self.sound:
            raise ValueError(
                f"sound of {block.source!r}: expected {self.sound.rate} Hz and "
                f"{self.sound.channels} channels, got {block.rate} Hz and {block.samples.shape[1]}"
            )
        samples = block.samples
        if samples.shape[1] > 2:
            samples = np.rint(samples.mean(1, keepdims=True)).astype(np.int16)
        at = round((block.t_ns - self.start_ns) * self.sound.rate / 1_000_000_000)
        apart = at - self.laid
        tolerance = round(TOLERANCE_S * self.sound.rate) if self.laid else 0
        if apart > tolerance:
            silence = np.zeros((apart, samples.shape[1]), np.int16)
            samples = np.concatenate([silence, samples])
        elif apart < -tolerance:
            samples = samples[-apart:]
        self.laid += len(samples)
        return samples
