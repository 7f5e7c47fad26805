"""The sentence of consent, said aloud: recorded or read from a file, recognised on this machine.

PocketSphinx carries its model of American English in its package, so nothing is fetched and nothing
leaves the machine.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from apps.usage import FailedError
from avatar.consent import SENTENCE, Consent, is_said

if TYPE_CHECKING:
    from av import AudioFrame

Int16 = npt.NDArray[np.int16]

RATE = 16_000
MICROPHONE = "mic"
RECORDED_S = 12.0
LONGEST_S = 60.0
PATIENCE_S = 3.0
"""For a device that gives its last samples late."""
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
    import av
    import av.error

    parts: list[Int16] = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise FailedError(f"--spoken {path}: holds no sound")
            resampler = av.AudioResampler("s16", "mono", RATE)
            for frame in container.decode(audio=0):
                parts += [_samples(x) for x in resampler.resample(frame)]
                if sum(map(len, parts)) > LONGEST_S * RATE:
                    raise FailedError(f"--spoken {path}: expected at most {LONGEST_S:.0f} s")
            parts += [_samples(x) for x in resampler.resample(None)]
    except (OSError, av.error.FFmpegError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise FailedError(f"--spoken {path}: cannot be read as sound ({reason})") from error
    return Sound(np.concatenate([*parts, np.zeros(0, np.int16)]))


def _samples(frame: AudioFrame) -> Int16:
    return np.asarray(frame.to_ndarray(), np.int16).ravel()


def record(seconds: float = RECORDED_S) -> Sound:
    """From the default microphone. Raises FailedError when there is none or it is silent."""
    try:
        import sounddevice
    except ImportError as error:
        raise FailedError(_extra()) from error
    except OSError as error:
        raise FailedError(
            "--spoken mic: needs PortAudio (Debian, Ubuntu: apt-get install libportaudio2), or "
            "record a sound file elsewhere and give --spoken FILE.wav"
        ) from error
    print(f"Read aloud, within {seconds:.0f} s:\n  {SENTENCE}", flush=True)
    try:
        samples = sounddevice.rec(round(seconds * RATE), RATE, channels=1, dtype="int16")
        latest = time.monotonic() + seconds + PATIENCE_S
        while sounddevice.get_stream().active and time.monotonic() < latest:
            time.sleep(0.05)
        sounddevice.stop()
    except sounddevice.PortAudioError as error:
        raise FailedError(
            f"--spoken mic: no microphone ({error}); plug one in, or give --spoken FILE.wav"
        ) from error
    sound = Sound(np.ascontiguousarray(samples[:, 0], np.int16))
    if float(np.sqrt((sound.samples.astype(np.float64) ** 2).mean())) < LEAST_LEVEL:
        raise FailedError("--spoken mic: the microphone heard nothing; is it muted?")
    return sound


def recognised(sound: Sound) -> str:
    """What was said, in lower case, as PocketSphinx hears it: any words, not only the expected."""
    try:
        from pocketsphinx import Decoder
    except ImportError as error:
        raise FailedError(_extra()) from error
    decoder = Decoder(samprate=RATE, loglevel="FATAL")
    decoder.start_utt()
    decoder.process_raw(sound.samples.astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return "" if found is None else str(found.hypstr)


def _extra() -> str:
    return (
        "--spoken: needs the speech extra (.venv/bin/pip install 'visavis[speech]'), or type the "
        "sentence with --consent"
    )
