"""The sentence of consent, said aloud: recorded or read from a file, recognised on this machine.

PocketSphinx carries its model of American English in its package, so nothing is fetched and nothing
leaves the machine.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from apps.usage import FailedError
from avatar.consent import SENTENCE, Consent, is_said
from capture.frame_source import SourceError
from overlay.speech_recogniser import RATE, SpeechError
from overlay.sphinx_recogniser import SphinxRecogniser
from streams.audio_block import AudioBlock

Int16 = npt.NDArray[np.int16]

MICROPHONE = "mic"
RECORDED_S = 12.0
LONGEST_S = 60.0
LEAST_LEVEL = 200.0
"""RMS of 16-bit samples below which a microphone heard nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """Speech, mono."""

    samples: Int16
    """(N,) at RATE."""

    def sha256(self) -> str:
        """Of the samples, little-endian."""
        return hashlib.sha256(self.samples.astype("<i2").tobytes()).hexdigest()


def spoken_consent(person: str, source: str) -> Consent:
    """Consent of `person`, said in a sound file or into the microphone (MICROPHONE).

    Raises FailedError when something else was said, or sound or recogniser are not to be had.
    """
    sound = record() if source == MICROPHONE else read_sound(Path(source))
    heard = recognised(sound)
    if not is_said(heard):
        raise FailedError(
            f'--spoken: expected to hear "{SENTENCE}", heard "{heard[:200]}"; say it again slowly '
            "and close to the microphone, or type it with --consent"
        )
    return Consent(person, heard, "spoken", int(time.time()), sound_sha256=sound.sha256())


def read_sound(path: Path) -> Sound:
    """Any sound file that FFmpeg reads. Raises FailedError."""
    from capture.sound_track import NoSoundError, SoundTrack

    try:
        with SoundTrack(path, RATE) as track:
            sound = _joined(track, LONGEST_S + 1.0)
    except NoSoundError as error:
        raise FailedError(f"--spoken {error}") from error
    except SourceError as error:
        raise FailedError(f"--spoken: cannot be read as sound ({error})") from error
    if len(sound.samples) > LONGEST_S * RATE:
        raise FailedError(f"--spoken {path}: expected at most {LONGEST_S:.0f} s")
    return sound


def record(seconds: float = RECORDED_S) -> Sound:
    """From the default microphone. Raises FailedError when there is none or it is silent."""
    from capture.microphone import Microphone

    try:
        with Microphone() as microphone:
            print(f"Read aloud, within {seconds:.0f} s:\n  {SENTENCE}", flush=True)
            sound = _joined(microphone, seconds)
    except SourceError as error:
        raise FailedError(f"--spoken mic: {error}, or give --spoken FILE.wav") from error
    if float(np.sqrt((sound.samples.astype(np.float64) ** 2).mean())) < LEAST_LEVEL:
        raise FailedError("--spoken mic: the microphone heard nothing; is it muted?")
    return sound


def _joined(blocks: Iterable[AudioBlock], seconds: float) -> Sound:
    """What comes first, mono at RATE, up to so many seconds."""
    parts: list[Int16] = [np.zeros(0, np.int16)]
    left = round(seconds * RATE)
    for block in blocks:
        parts.append(block.samples[:left, 0])
        left -= len(parts[-1])
        if left <= 0:
            break
    return Sound(np.concatenate(parts))


def recognised(sound: Sound) -> str:
    """What was said, in lower case, as PocketSphinx hears it: any words, not only the expected."""
    try:
        return SphinxRecogniser().whole(sound.samples)
    except SpeechError as error:
        raise FailedError(f"--spoken: {error}, or type the sentence with --consent") from error
