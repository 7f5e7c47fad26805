"""Prompts that no picture is made of: a plain list that anybody can read, and judges of one's own.

A list of words stops accidents and the lazy, not who is determined; it sees no meaning. Whoever
needs more plugs in a classifier.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Protocol

from overlay.image_model import ImageModel, ModelStep
from overlay.wish import PromptError, Wish

LIST = Path(__file__).with_name("refused_words.txt")
_DISGUISES = str.maketrans("013457@$!", "oieastasi")
_WORDS = re.compile(r"[^\W_]+")


class PromptJudge(Protocol):
    """A classifier of prompts, for example a local network."""

    def objection(self, prompt: str) -> str | None:
        """Why the prompt is refused, for its author to read; None when it is not."""
        ...


class PromptFilter:
    """Refuses prompts by a list, then by each judge in turn. Any thread that its judges allow."""

    def __init__(self, rules: Iterable[str], judges: Iterable[PromptJudge] = ()) -> None:
        """`rules`: as in refused_words.txt."""
        self._rules = [
            tuple(_phrase(part) for part in rule.split("+"))
            for rule in (line.partition("#")[0].strip() for line in rules)
            if rule
        ]
        self._judges = tuple(judges)

    @staticmethod
    def read(*files: Path, judges: Iterable[PromptJudge] = ()) -> PromptFilter:
        """The shipped list and these. Raises PromptError for a file that cannot be read."""
        rules: list[str] = []
        for file in (LIST, *files):
            try:
                rules += file.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
                raise PromptError(f"{file}: the list of refused words: {reason}") from error
        return PromptFilter(rules, judges)

    def check(self, prompt: str) -> None:
        """Raise PromptError when the prompt is refused."""
        readings = {_phrase(prompt), _phrase(prompt.translate(_DISGUISES)), _unspaced(prompt)}
        for rule in self._rules:
            for reading in readings:
                if all(_contains(reading, part) for part in rule):
                    said = " and ".join(" ".join(part) for part in rule)
                    raise PromptError(f"this prompt is refused because of {said!r}")
        for judge in self._judges:
            objection = judge.objection(prompt)
            if objection is not None:
                raise PromptError(f"this prompt is refused: {objection}")


class FilteredModel:
    """An ImageModel that makes no picture of a refused prompt; in all else the one inside."""

    def __init__(self, inner: ImageModel, prompts: PromptFilter) -> None:
        self.inner, self._prompts = inner, prompts

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def label(self) -> str:
        return self.inner.label

    @property
    def licence(self) -> str:
        return self.inner.licence

    @property
    def instant(self) -> bool:
        return self.inner.instant

    @property
    def generates(self) -> bool:
        return self.inner.generates

    def steps(self, wish: Wish, cancelled: Callable[[], bool]) -> Generator[ModelStep, None, None]:
        """Raises PromptError before the model sees a refused prompt."""
        self._prompts.check(f"{wish.prompt} {wish.style}")
        yield from self.inner.steps(wish, cancelled)

    def close(self) -> None:
        self.inner.close()


def _phrase(text: str) -> tuple[str, ...]:
    """Words in lower case, without accents, in the singular where an s makes the plural."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return tuple(_singular(word) for word in _WORDS.findall(plain))


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] not in "su" else word


def _unspaced(text: str) -> tuple[str, ...]:
    """Letters that stand alone ("n u d e") put together to words."""
    joined = re.sub(r"\b(\w)[\W_]+(?=\w\b)", r"\1", text)
    return _phrase(joined)


def _contains(words: tuple[str, ...], phrase: tuple[str, ...]) -> bool:
    length = len(phrase)
    return any(words[i : i + length] == phrase for i in range(len(words) - length + 1))
