"""Text as the word pieces that a BERT encoder reads.

WordPiece as in Devlin et al. (2019), "BERT", and its uncased vocabulary: lower case, accents
stripped, punctuation and Chinese characters apart, then the longest pieces from the left.
"""

from __future__ import annotations

import functools
import unicodedata
from pathlib import Path

PAD, UNKNOWN, BEGIN, END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
LONGEST_WORD = 100
"""Letters: a longer word is unknown, as in the published tokenizer."""


class WordPieces:
    """A vocabulary and how text is cut by it."""

    def __init__(self, vocabulary: list[str]) -> None:
        """`vocabulary`: each piece at its number. Raises ValueError without the special ones."""
        self._number_of = {piece: number for number, piece in enumerate(vocabulary)}
        missing = [p for p in (PAD, UNKNOWN, BEGIN, END) if p not in self._number_of]
        if missing:
            raise ValueError(f"WordPieces: expected {', '.join(missing)} in the vocabulary")
        self._pieces_of = functools.lru_cache(maxsize=4096)(self._cut)

    @staticmethod
    def read(path: Path) -> WordPieces:
        """From a file with a piece a line."""
        return WordPieces(path.read_text(encoding="utf-8").split("\n"))

    def encode(self, text: str, longest: int) -> list[int]:
        """Piece numbers with the begin and end signs; at most `longest`, the rest is cut off."""
        numbers = [n for word in split_words(text) for n in self._pieces_of(word)]
        return [
            self._number_of[BEGIN],
            *numbers[: max(longest - 2, 0)],
            self._number_of[END],
        ]

    def _cut(self, word: str) -> tuple[int, ...]:
        unknown = (self._number_of[UNKNOWN],)
        if len(word) > LONGEST_WORD:
            return unknown
        numbers: list[int] = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else f"##{word[start:end]}"
                number = self._number_of.get(piece)
                if number is not None:
                    numbers.append(number)
                    start = end
                    break
            else:
                return unknown
        return tuple(numbers)


def split_words(text: str) -> list[str]:
    """Lower case words without accents; each sign of punctuation and Chinese letter by itself."""
    spaced: list[str] = []
    for letter in text:
        code, kind = ord(letter), unicodedata.category(letter)
        if code in (0, 0xFFFD) or (kind.startswith("C") and letter not in "\t\n\r"):
            continue
        if letter.isspace():
            spaced.append(" ")
        elif _is_chinese(code):
            spaced.append(f" {letter} ")
        else:
            spaced.append(letter)
    decomposed = unicodedata.normalize("NFD", "".join(spaced).lower())
    words: list[str] = []
    for word in decomposed.split():
        start_new = True
        for letter in word:
            kind = unicodedata.category(letter)
            if kind == "Mn":
                continue
            if _is_punctuation(letter, kind):
                words.append(letter)
                start_new = True
            elif start_new:
                words.append(letter)
                start_new = False
            else:
                words[-1] += letter
    return words


def _is_punctuation(letter: str, kind: str) -> bool:
    # Every ASCII sign that is no letter, digit or space counts, as in the published tokenizer.
    return kind.startswith("P") or (letter.isascii() and not letter.isalnum())


def _is_chinese(code: int) -> bool:
    """The blocks of CJK Unified Ideographs and their compatibility forms."""
    return any(
        first <= code <= last
        for first, last in (
            (0x4E00, 0x9FFF),
            (0x3400, 0x4DBF),
            (0x20000, 0x2A6DF),
            (0x2A700, 0x2B73F),
            (0x2B740, 0x2B81F),
            (0x2B820, 0x2CEAF),
            (0xF900, 0xFAFF),
            (0x2F800, 0x2FA1F),
        )
    )
