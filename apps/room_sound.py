"""Voices in a room: the own one from a microphone or a file, others' to the loudspeaker.

Where somebody is heard from follows from where they are seen: louder on the side where they are
(equal power, so that nobody gets louder by moving across) and softer with distance.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.pacing import PacedSource
from apps.room_person import RoomPerson
from apps.usage import FailedError
from capture.frame_source import FrameSource, SourceError
from capture.microphone import Microphone
from capture.sound_track import SoundTrack
from headset.rooms.opus_sound import RATE
from streams.audio_block import AudioBlock
from streams.clock import now_ns
from streams.closing import Closing
from streams.rigid import Rigid

Int16 = npt.NDArray[np.int16]

BLOCK_S = 0.02
NEAREST_M = 0.5
"""Closer than this nobody gets louder."""
LOUDEST = 32_000.0
JOIN_S = 5.0


def mixed(
    people: Iterable[tuple[RoomPerson, Rigid]], count: int, heard_ns: int, listener: Rigid
) -> Int16:
    """(count, 2) int16 at RATE: what a listener (room_from_head) hears of people at their mouths
    (room_from_head too) from `heard_ns` on."""
    line = np.zeros((count, 2), np.float32)
    for person, mouth in people:
        samples = person.sound.take(count, heard_ns)
        if samples.any():
            line += samples[:, None] * gains(listener.inverse().apply(mouth.xyz))
    # What would clip is bent instead.
    loud = np.abs(line).max(initial=0.0)
    if loud > LOUDEST:
        line = LOUDEST * np.tanh(line / LOUDEST)
    return np.round(line).astype(np.int16)


def gains(place: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """(3,) metres in the listener's head frame (x to the listener's left, z to the front) -> (2,)
    factors, left and right ear: their squares add up to the square of nearness."""
    x, _, z = (float(n) for n in np.asarray(place, np.float64))
    distance = max(float(np.linalg.norm(np.asarray(place, np.float64))), 1e-6)
    near = min(1.0, NEAREST_M / distance)
    side = x / max(float(np.hypot(x, z)), 1e-6)  # 1: at the left ear
    angle = (1.0 + side) * np.pi / 4
    return np.array([near * np.sin(angle), near * np.cos(angle)], np.float32)


class Loudspeaker(Closing):
    """Plays what `heard` gives. Raises FailedError where there is none."""

    def __init__(self, heard: Callable[[int, int], Int16]) -> None:
        """`heard(count, heard_ns)` -> (count, 2) int16 at RATE, called in PortAudio's thread."""
        self._heard = heard
        try:
            import sounddevice

            self._stream = sounddevice.OutputStream(
                RATE, round(RATE * BLOCK_S), channels=2, dtype="int16", callback=self._wanted,
                latency="low",
            )  # fmt: skip
            self._stream.start()
        except Exception as error:
            # PortAudioError exists only where PortAudio does.
            raise FailedError(
                f"no loudspeaker ({' '.join(str(error).split())}); plug one in, or give --silent"
            ) from error

    def close(self) -> None:
        """Let go of the device."""
        self._stream.close()

    def _wanted(self, out: Any, count: int, times: Any, status: Any) -> None:
        # PortAudio's clock is another one; what is asked for now is heard a latency later.
        latency_s = max(0.0, times.outputBufferDacTime - times.currentTime)
        out[:] = self._heard(count, now_ns() + round(1e9 * latency_s))


class Voice(Closing):
    """A thread that hands blocks on as they are heard. When there are no more, a line says why."""

    def __init__(self, blocks: Iterator[AudioBlock], say: Callable[[AudioBlock], None]) -> None:
        self._blocks, self._say = blocks, say
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="visavis voice", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End; a microphone is let go of."""
        self._stop.set()
        close = getattr(self._blocks, "close", None)
        if close is not None:
            with contextlib.suppress(ValueError):  # a generator that is running just now
                close()
        self._thread.join(JOIN_S)

    def _run(self) -> None:
        try:
            for block in self._blocks:
                if self._stop.is_set():
                    return
                self._say(block)
        except (SourceError, FailedError) as error:
            print(f"room: nobody hears you any more, {error}", file=sys.stderr, flush=True)


def microphone() -> Iterator[AudioBlock]:
    """The default one, in short blocks. Raises SourceError."""
    return Microphone(block_s=BLOCK_S)


def sound_of(path: Path, source: PacedSource, stop: threading.Event) -> Iterator[AudioBlock]:
    """The sound of the video that `source` plays, each block when it would have been heard, again
    in every round. Nothing where the video has none."""
    for number in itertools.count():
        track = SoundTrack.of(path)
        if track is None:
            return
        with track:
            while source.rounds < number or source.start_ns is None:
                if stop.wait(0.01):
                    return
            for block in track:
                begun = source.start_ns
                if begun is None or source.rounds > number:
                    break  # the pictures have begun anew
                t_ns = begun + block.t_ns
                # A block is known when its last sample was heard.
                due_s = (t_ns + block.duration_ns - now_ns()) / 1e9
                if due_s > 0 and stop.wait(due_s):
                    return
                yield AudioBlock(t_ns, block.source, block.rate, block.samples)


@contextlib.contextmanager
def speaking(
    source: FrameSource, path: Path | None, live: bool, say: Callable[[AudioBlock], None]
) -> Iterator[None]:
    """Say what is heard beside `source`: the sound of its video file `path`, or the microphone if
    it is `live`. Without a microphone a line is printed, and nothing is said."""
    stop = threading.Event()
    if path is not None and isinstance(source, PacedSource):
        blocks = sound_of(path, source, stop)
    elif live:
        try:
            blocks = microphone()
        except SourceError as error:
            print(f"room: nobody hears you, {error}", file=sys.stderr)
            yield
            return
    else:
        yield
        return
    with Voice(blocks, say):
        try:
            yield
        finally:
            stop.set()
