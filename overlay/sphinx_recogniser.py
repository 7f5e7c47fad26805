"""PocketSphinx, whose package carries a model of American English: nothing is fetched, and nothing
leaves the machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from overlay.speech_recogniser import RATE, SpeechError


class SphinxRecogniser:
    """A SpeechRecogniser of any English words, lower case.

    Raises SpeechError when the package is not there.
    """

    name = "PocketSphinx en-us"

    def __init__(self) -> None:
        try:
            from pocketsphinx import Decoder
        except ImportError as error:
            raise SpeechError(
                "speech needs the speech extra (.venv/bin/pip install 'visavis[speech]')"
            ) from error
        self._decoder: Any = Decoder(samprate=RATE, loglevel="FATAL")
        self._listening = False

    def begin(self) -> None:
        self.end()
        self._decoder.start_utt()
        self._listening = True

    def hear(self, samples: npt.NDArray[np.int16]) -> str:
        self._decoder.process_raw(samples.astype("<i2").tobytes())
        return self._words()

    def end(self) -> str:
        if self._listening:
            self._decoder.end_utt()
            self._listening = False
        return self._words()

    def whole(self, samples: npt.NDArray[np.int16]) -> str:
        """What is said in all of a recording, (N,) int16: better than in pieces, because loudness
        is levelled over all of it first."""
        self.begin()
        self._decoder.process_raw(samples.astype("<i2").tobytes(), full_utt=True)
        return self.end()

    def _words(self) -> str:
        found = self._decoder.hyp()
        return "" if found is None else str(found.hypstr)
