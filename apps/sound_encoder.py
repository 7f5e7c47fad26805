"""Blocks of sound as AAC beside the pictures of a video, each sample at its own time."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from av.audio.frame import AudioFrame
from av.container import OutputContainer
from av.packet import Packet

from apps.sound_line import SoundFormat, SoundLine
from streams.audio_block import AudioBlock

AAC_RATES = frozenset(
    (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
)
"""Samples a second that AAC has (ISO/IEC 14496-3, table 1.18); others become USUAL_RATE."""
USUAL_RATE = 48_000


class SoundEncoder:
    """Adds a stream of sound to a container that is being written."""

    def __init__(self, container: OutputContainer, sound: SoundFormat) -> None:
        self._container, self._line = container, SoundLine(sound)
        rate = sound.rate if sound.rate in AAC_RATES else USUAL_RATE
        self._layout = "stereo" if sound.laid_channels == 2 else "mono"
        self._stream = container.add_stream("aac", rate=rate, layout=self._layout)

    def write(self, block: AudioBlock) -> None:
        """Add a block; its time counts from the file's time 0 (see `SoundLine.add`).

        Raises ValueError for another rate or number of channels.
        """
        before = self._line.laid
        samples = self._line.add(block)
        if not len(samples):
            return
        packed = np.ascontiguousarray(samples).reshape(1, -1)
        frame = AudioFrame.from_ndarray(packed, "s16", self._layout)
        frame.sample_rate = self._line.sound.rate
        frame.time_base = Fraction(1, frame.sample_rate)
        frame.pts = before
        self._mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if self._line.laid:
            self._mux(self._stream.encode(None))

    def _mux(self, packets: list[Packet]) -> None:
        # AAC's first packet is the encoder's run-up, before time 0. With it FFmpeg moves every
        # picture by 21 ms; without it the first 21 ms of sound fade in.
        self._container.mux([p for p in packets if p.pts is not None and p.pts >= 0])
