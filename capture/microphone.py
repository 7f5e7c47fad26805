"""The default microphone, through PortAudio (sounddevice, which MediaPipe brings)."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from capture.frame_source import SourceError
from streams.audio_block import AudioBlock
from streams.clock import now_ns
from streams.closing import Closing

RATE = 16_000
"""Speech; what speech recognisers want."""
BLOCK_S = 0.1
WAITING_BLOCKS = 100
SILENCE_S = 5.0
"""A microphone that gives nothing for so long counts as unplugged."""


class Microphone(Closing):
    """Blocks, by default of a tenth of a second, mono, with the time at which their first sample
    was heard.

    Raises SourceError when there is no microphone, or PortAudio is missing. What nobody fetches
    while a hundred more come is dropped: a gap in the blocks' times.
    """

    def __init__(self, device: int | str | None = None, block_s: float = BLOCK_S) -> None:
        """`block_s`: how long a block is; a talk wants short ones."""
        self._blocks: deque[AudioBlock] = deque(maxlen=WAITING_BLOCKS)
        self._changed = threading.Condition()
        self._closed = False
        self._next_ns = 0
        self._name = "microphone" if device is None else f"microphone {device}"
        try:
            import sounddevice
        except (ImportError, OSError) as error:
            raise SourceError(
                "microphone: needs PortAudio (Debian, Ubuntu: apt-get install libportaudio2)"
            ) from error
        try:
            self._stream = sounddevice.InputStream(
                RATE,
                round(RATE * block_s),
                device,
                channels=1,
                dtype="int16",
                callback=self._heard,
            )
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            raise SourceError(
                f"microphone: cannot be opened ({' '.join(str(error).split())}); plug one in"
            ) from error

    def __iter__(self) -> Iterator[AudioBlock]:
        return self

    def __next__(self) -> AudioBlock:
        with self._changed:
            came = self._changed.wait_for(lambda: self._closed or bool(self._blocks), SILENCE_S)
            if self._blocks:
                return self._blocks.popleft()
        if not came:
            raise SourceError(f"microphone: no sound for {SILENCE_S:g} s; check its plug")
        raise StopIteration

    def close(self) -> None:
        """Let go of the device; iterating ends after what was heard."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._stream.close()

    def _heard(self, samples: Any, count: int, times: Any, status: Any) -> None:
        """Called by PortAudio's thread. Its clock is another one; the block has just ended."""
        step_ns = count * 1_000_000_000 // RATE
        first_ns = max(now_ns() - step_ns, self._next_ns)
        self._next_ns = first_ns + step_ns
        block = AudioBlock(first_ns, self._name, RATE, np.array(samples, np.int16))
        with self._changed:
            self._blocks.append(block)
            self._changed.notify_all()
