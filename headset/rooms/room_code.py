"""A room's code: 128 secret bits that people read to each other.

lusab-babad-gutih-tugad-hibiv-jofom-nazig-pudor-bakil

Nine words of consonant, vowel, consonant, vowel, consonant: sixteen bits each (Wilkerson 2009, "A
Proposal for Proquints", arXiv:0901.4016). Eight are the secret, the ninth is a check, so that a
misheard word is noticed before anybody waits in an empty room. The secret is long enough that
nobody guesses it from the room id, which is all that a relay learns: no password protocol is
needed.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Self

CONSONANTS, VOWELS = "bdfghjklmnprstvz", "aiou"
SECRET_BYTES = 16
WORDS = SECRET_BYTES // 2 + 1
_PARTS = ((CONSONANTS, 12), (VOWELS, 10), (CONSONANTS, 6), (VOWELS, 4), (CONSONANTS, 0))
"""Letters and the place of their bits in a word's sixteen."""
_WORD = re.compile(f"[{CONSONANTS}][{VOWELS}][{CONSONANTS}][{VOWELS}][{CONSONANTS}]")


class RoomCodeError(ValueError):
    """What was typed is no room code; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class RoomCode:
    """Who has it is in the room. Its `repr` does not show it; `str` does."""

    secret: bytes = field(repr=False)
    """SECRET_BYTES bytes."""

    def __post_init__(self) -> None:
        if type(self.secret) is not bytes or len(self.secret) != SECRET_BYTES:
            raise RoomCodeError(f"RoomCode.secret: expected {SECRET_BYTES} bytes")

    @classmethod
    def new(cls) -> Self:
        """A room that nobody has been in, from the system's random numbers."""
        return cls(secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> Self:
        """What somebody typed: any case, words apart or not. Raises RoomCodeError."""
        letters = re.sub(r"[\s\-_.,]+", "", text.lower())
        words = [letters[at : at + 5] for at in range(0, len(letters), 5)]
        if len(letters) != 5 * WORDS:
            raise RoomCodeError(
                f"room code: expected {WORDS} words of 5 letters, got {len(letters)} letters"
            )
        for place, word in enumerate(words, 1):
            if not _WORD.fullmatch(word):
                raise RoomCodeError(
                    f"room code: word {place}, {word!r}, cannot be right (consonants "
                    f"{CONSONANTS}, vowels {VOWELS}, in turns); ask for it again"
                )
        numbers = b"".join(_number(word).to_bytes(2, "big") for word in words)
        secret, check = numbers[:SECRET_BYTES], numbers[SECRET_BYTES:]
        if check != _check(secret):
            raise RoomCodeError(
                "room code: a word is wrong (the last is a check); ask for it again"
            )
        return cls(secret)

    def __str__(self) -> str:
        numbers = self.secret + _check(self.secret)
        return "-".join(
            _word(int.from_bytes(numbers[at : at + 2], "big")) for at in range(0, len(numbers), 2)
        )


def _check(secret: bytes) -> bytes:
    return hashlib.sha256(b"visavis room code" + secret).digest()[:2]


def _word(number: int) -> str:
    return "".join(letters[number >> shift & len(letters) - 1] for letters, shift in _PARTS)


def _number(word: str) -> int:
    return sum(
        letters.index(letter) << shift
        for letter, (letters, shift) in zip(word, _PARTS, strict=True)
    )
