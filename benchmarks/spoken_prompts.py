"""How well spoken prompts are understood, by each recogniser that is installed.

    python -m benchmarks.spoken_prompts

Twelve prompts, said by four voices of flite (apt-get install flite), go through the recognisers in
pieces of a tenth of a second, as from a microphone. Told are the share of words that are wrong
(substituted, left out or put in: Levenshtein's distance over the length), by voice, what each
prompt was heard as by one voice, and processor seconds for a second of speech. A synthetic voice
is no person: figures for people will be others.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avatar.consent import word_error_rate
from capture.sound_track import SoundTrack
from overlay.speech_recogniser import RATE, SpeechError, SpeechRecogniser
from overlay.sphinx_recogniser import SphinxRecogniser
from overlay.whisper_recogniser import WhisperRecogniser

PROMPTS = (
    "a blue cat next to a red car",
    "three dogs beside an old man at sunset",
    "two green frogs under an umbrella",
    "a big yellow moon over the mountains",
    "a robot holding a pizza",
    "a penguin in the snow at night",
    "five butterflies above a purple flower",
    "an astronaut wearing a crown in space",
    "a small house in the forest",
    "an octopus playing the guitar underwater",
    "a white horse in front of a castle",
    "a dragon over the city at night",
)
VOICES = ("slt", "rms", "awb", "kal16")
SHOWN_VOICE = "rms"
BLOCK = 1600
_DIGITS = dict(zip("23456", ("two", "three", "four", "five", "six"), strict=True))

Int16 = npt.NDArray[np.int16]


def spoken(text: str, voice: str, folder: Path) -> Int16:
    """(N,) at RATE, a moment of silence at either end, as who presses a button leaves."""
    path = folder / "said.wav"
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
    with SoundTrack(path, RATE) as track:
        samples = np.concatenate([block.samples[:, 0] for block in track])
    silence = np.zeros(RATE // 5, np.int16)
    return np.concatenate([silence, samples, silence])


def heard(recogniser: SpeechRecogniser, samples: Int16) -> str:
    """In pieces, as from a microphone."""
    recogniser.begin()
    for at in range(0, len(samples), BLOCK):
        recogniser.hear(samples[at : at + BLOCK])
    return recogniser.end()


def words(text: str) -> list[str]:
    """Without signs and capitals; digits as words."""
    plain = re.sub(r"[^a-z0-9 ]", " ", text.lower()).split()
    return [_DIGITS.get(word, word) for word in plain]


def main() -> int:
    if shutil.which("flite") is None:
        print("flite is not installed (apt-get install flite)", file=sys.stderr)
        return 1
    kinds: tuple[Callable[[], SpeechRecogniser], ...] = (SphinxRecogniser, WhisperRecogniser)
    with tempfile.TemporaryDirectory() as folder:
        said = {(p, v): spoken(p, v, Path(folder)) for p in PROMPTS for v in VOICES}
    seconds = sum(len(samples) for samples in said.values()) / RATE
    for kind in kinds:
        try:
            recogniser = kind()
        except SpeechError as error:
            print(error)
            continue
        begun = time.process_time()
        found = {key: heard(recogniser, samples) for key, samples in said.items()}
        spent = time.process_time() - begun
        print(f"\n{recogniser.name}: {spent / seconds:.2f} processor seconds a second of speech")
        for voice in VOICES:
            wrong = [word_error_rate(words(found[p, voice]), words(p)) for p in PROMPTS]
            print(f"  {voice:6} {100 * float(np.mean(wrong)):.0f} % of words wrong")
        for prompt in PROMPTS:
            got = " ".join(words(found[prompt, SHOWN_VOICE]))
            print(f"    {prompt}" + ("" if got == prompt else f"  ->  {got}"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
