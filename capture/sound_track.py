"""The sound of a video or sound file, through FFmpeg (PyAV), with the time of each sample."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from capture.frame_source import SourceError
from streams.audio_block import AudioBlock
from streams.closing import Closing

LEAST_BLOCK_S = 0.02
"""Shorter pieces (a few samples a packet in some formats) are joined up to this."""


class SoundTrack(Closing):
    """Blocks of the first sound stream of a file, in order, at its own rate and channels, or one
    channel at a chosen rate.

    Times count from the same zero as `VideoFile`'s. What cannot be decoded is left out: a gap in
    the blocks' times; `damaged` counts it.
    """

    def __init__(self, path: Path, mono_rate: int | None = None) -> None:
        """`mono_rate`: samples a second of the one channel that all are mixed to. Raises
        SourceError when the file cannot be read or has no sound."""
        self.path = path
        self.damaged = 0
        self._container, self._stream = _open(path)
        context = self._stream.codec_context
        if context is None:  # FFmpeg has no decoder for it; PyAV's types leave that out
            self._container.close()
            raise SourceError(f"{path}: its sound is of a kind that FFmpeg does not know")
        self.rate = int(context.sample_rate)
        self.channels = int(context.channels)
        if self.rate < 1 or self.channels < 1:
            self._container.close()
            raise SourceError(
                f"{path}: its sound has no rate or no channels; is the file complete?"
            )
        layout = context.layout if mono_rate is None else "mono"
        if mono_rate is not None:
            self.rate, self.channels = mono_rate, 1
        self._resampler = AudioResampler("s16p", layout, self.rate)
        self._held_ns = 0 if mono_rate is None else 5_000_000
        self._blocks = self._joined()

    @staticmethod
    def of(path: Path) -> SoundTrack | None:
        """The same, or None for a file without sound."""
        try:
            return SoundTrack(path)
        except NoSoundError:
            return None

    def __iter__(self) -> Iterator[AudioBlock]:
        return self

    def __next__(self) -> AudioBlock:
        return next(self._blocks)

    def close(self) -> None:
        """Close the file; iterating ends."""
        self._blocks = iter(())
        self._container.close()

    def _joined(self) -> Iterator[AudioBlock]:
        least = round(self.rate * LEAST_BLOCK_S)
        parts: list[np.ndarray] = []
        first_ns, count = 0, 0
        for t_ns, samples in self._pieces():
            expected_ns = first_ns + count * 1_000_000_000 // self.rate
            # A sample's length apart is one stream; anything else is a gap or an overlap.
            if parts and abs(t_ns - expected_ns) > 2_000_000_000 // self.rate:
                yield self._block(first_ns, parts)
                parts, count = [], 0
            if not parts:
                first_ns = t_ns
            parts.append(samples)
            count += len(samples)
            if count >= least:
                yield self._block(first_ns, parts)
                parts, count = [], 0
        if parts:
            yield self._block(first_ns, parts)

    def _block(self, t_ns: int, parts: list[np.ndarray]) -> AudioBlock:
        return AudioBlock(t_ns, self.path.name, self.rate, np.concatenate(parts))

    def _pieces(self) -> Iterator[tuple[int, np.ndarray]]:
        """(t_ns, (N, C) int16) of each decoded frame."""
        next_ns = 0
        for frame in chain(self._frames(), (None,)):  # None: what the resampler still holds
            if frame is not None:
                if frame.pts is not None and frame.time_base is not None:
                    told_ns = round(frame.pts * frame.time_base * 1_000_000_000)
                    # The resampler holds some samples back; only a gap moves what comes out of it.
                    if abs(told_ns - next_ns) > self._held_ns:
                        next_ns = told_ns
                frame.pts = None
            try:
                pieces = [part.to_ndarray() for part in self._resampler.resample(frame)]
            except (av.error.FFmpegError, ValueError):
                # Rate or channels changed on the way: what follows is not this stream.
                self.damaged += 1
                continue
            for planar in pieces:
                samples = np.ascontiguousarray(planar.T, np.int16)
                if len(samples):
                    yield next_ns, samples
                    next_ns += len(samples) * 1_000_000_000 // self.rate

    def _frames(self) -> Iterator[AudioFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = self._stream.codec_context.decode(packet)
            except av.error.InvalidDataError:
                self.damaged += 1
                continue
            except av.error.FFmpegError:
                self.damaged += 1
                return
            yield from frames


class NoSoundError(SourceError):
    """The file has no sound."""


def _open(path: Path) -> tuple[InputContainer, AudioStream]:
    if not path.is_file():
        raise SourceError(f"{path}: there is no such file")
    try:
        container = av.open(str(path), mode="r")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"{path}: not a file that FFmpeg can read ({reason})") from error
    if not container.streams.audio:
        container.close()
        raise NoSoundError(f"{path}: holds no sound")
    return container, container.streams.audio[0]
