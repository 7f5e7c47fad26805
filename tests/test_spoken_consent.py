"""Consent that is said aloud. Speech is made by flite (apt-get install flite), whose voices are cut
from recordings of people; espeak-ng's formants are too unlike speech for PocketSphinx."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from apps.command import FAILED, USAGE, run
from apps.spoken_consent import RATE, Sound, read_sound, recognised, spoken_consent
from apps.usage import FailedError
from avatar.consent import (
    SAID,
    SENTENCE,
    WORST_HEARD,
    Consent,
    ConsentError,
    is_said,
    spoken_words,
    word_error_rate,
)

DENIAL = "I am not the person in this video, and I do not agree that an avatar is made of it."
OTHER = "The quick brown fox jumps over the lazy dog, and then it goes to sleep in the garden."


def test_word_errors_are_counted() -> None:
    assert word_error_rate(SAID, SAID) == 0.0
    assert word_error_rate([], SAID) == 1.0
    assert word_error_rate(["a", "b", "d"], ["a", "b", "c", "d"]) == 0.25
    assert word_error_rate(["a", "x", "c", "d"], ["a", "b", "c", "d"]) == 0.25
    assert word_error_rate(["a", "b", "c", "d", "e"], ["a", "b", "c", "d"]) == 0.25


@pytest.mark.parametrize(
    ("heard", "accepted"),
    [
        (SENTENCE, True),
        # What PocketSphinx made of three voices of flite.
        ("i am the person in this video or i have a person's permission and i agree that an avatar "
         "is made of it", True),
        ("i am the person in this video or i have that person's permission and i agree that can "
         "have launcher is made of it", True),
        ("i am the person in this video i had that person's permission and i agree that an amateur "
         "is made of it", True),
        (DENIAL, False),
        # The sentence with a denial in it is near enough in words, and the opposite.
        (SENTENCE.replace("I agree", "I don't agree"), False),
        (SENTENCE.replace("and I agree", "but never agreed"), False),
        ("I agree that an avatar is made of it", False),
        (OTHER, False),
        ("", False),
    ],
)  # fmt: skip
def test_what_counts_as_said(heard: str, accepted: bool) -> None:
    assert is_said(heard) == accepted
    if accepted:
        Consent("A", heard, "spoken", 0, sound_sha256="0" * 64)
    else:
        with pytest.raises(ConsentError, match="sentence"):
            Consent("A", heard, "spoken", 0, sound_sha256="0" * 64)


def test_tolerance_and_hash_are_for_speech_alone() -> None:
    misheard = SENTENCE.replace("avatar", "amateur")
    with pytest.raises(ConsentError, match="sentence"):
        Consent("A", misheard, "typed", 0)
    with pytest.raises(ConsentError, match="sound_sha256"):
        Consent("A", misheard, "spoken", 0)
    with pytest.raises(ConsentError, match="sound_sha256"):
        Consent("A", SENTENCE, "typed", 0, sound_sha256="0" * 64)
    assert spoken_words("That PERSON'S, permission.") == ["that", "person's", "permission"]
    assert 0.1 < WORST_HEARD < 0.5


def said(text: str, to: Path, voice: str = "slt") -> Path:
    pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
    if shutil.which("flite") is None:
        pytest.skip("flite is not installed (apt-get install flite)")
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(to)], check=True, timeout=60)
    return to


@pytest.mark.parametrize("voice", ["slt", "rms"])
def test_the_sentence_is_recognised(tmp_path: Path, voice: str) -> None:
    wav = said(SENTENCE, tmp_path / "yes.wav", voice)
    consent = spoken_consent("Somebody", str(wav))
    assert (consent.kind, consent.name) == ("spoken", "Somebody")
    assert consent.sound_sha256 == read_sound(wav).sha256()
    assert "agree" in consent.sentence


def test_another_sentence_is_refused(
    tmp_path: Path, demo_clip: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("VISAVIS_HOME", str(tmp_path / "home"))
    for text in (DENIAL, OTHER):
        wav = said(text, tmp_path / "no.wav")
        arguments = ["enroll", str(demo_clip), "--name", "me", "--spoken", str(wav)]
        assert run(arguments) == FAILED
        line = capsys.readouterr().err.strip()
        assert line.count("\n") == 0
        assert "heard" in line
    assert run([*arguments, "--consent", SENTENCE]) == USAGE
    assert not (tmp_path / "home").exists()


def test_sound_that_is_none(tmp_path: Path, make_video) -> None:
    with pytest.raises(FailedError, match="cannot be read as sound"):
        read_sound(tmp_path / "absent.wav")
    (tmp_path / "bad.wav").write_bytes(b"not sound at all")
    with pytest.raises(FailedError, match="cannot be read as sound"):
        read_sound(tmp_path / "bad.wav")
    with pytest.raises(FailedError, match="no sound"):
        read_sound(make_video(frames=5))


def test_silence_is_nothing_said() -> None:
    pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
    assert not is_said(recognised(Sound(np.zeros(2 * RATE, np.int16))))
