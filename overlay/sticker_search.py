"""Which sticker is meant: by name first, then by meaning, names before tags."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from overlay.sticker_book import Sticker, StickerBook
from overlay.text_encoder import TextEncoder

LEAST_SCORE = 0.42
"""Below it a sticker has nothing to do with the words. Nonsense
reaches 0.34 to 0.41 by the likeness of its spelling, abstract words 0.44 to 0.6."""
EVERYDAY_NAMES = {
    "men": "man",
    "women": "woman",
    "children": "child",
    "mice": "mouse",
    "geese": "goose",
    "feet": "foot",
    "teeth": "tooth",
    "wolves": "wolf",
    "knives": "kitchen knife",
    "policemen": "police officer",
    "snowmen": "snowman",
    "kids": "child",
    "kid": "child",
    "guy": "man",
    "lady": "woman",
    "grandpa": "old man",
    "grandfather": "old man",
    "grandma": "old woman",
    "grandmother": "old woman",
    "puppy": "dog face",
    "puppies": "dog face",
    "kitten": "cat face",
    "kittens": "cat face",
    "alien": "alien monster",
    "wizard": "mage",
    "witch": "mage",
    "king": "person with crown",
    "queen": "princess",
    "chef": "cook",
    "flower": "blossom",
    "tree": "deciduous tree",
    "heart": "red heart",
    "moon": "full moon",
    "water": "droplet",
    "snow": "snowflake",
    "rain": "cloud with rain",
    "coffee": "hot beverage",
    "tea": "teacup without handle",
    "cup": "teacup without handle",
    "beer": "beer mug",
    "wine": "wine glass",
    "cake": "birthday cake",
    "burger": "hamburger",
    "soup": "pot of food",
    "bike": "bicycle",
    "plane": "airplane",
    "boat": "sailboat",
    "tv": "television",
    "train": "locomotive",
    "truck": "delivery truck",
    "bus": "bus",
    "hat": "top hat",
    "book": "closed book",
    "phone": "mobile phone",
    "computer": "laptop",
    "ball": "soccer ball",
    "football": "soccer ball",
    "present": "wrapped gift",
    "gift": "wrapped gift",
    "box": "package",
    "lamp": "light bulb",
    "sword": "dagger",
    "diamond": "gem stone",
    "money": "money bag",
    "skyscraper": "office building",
    "sofa": "couch and lamp",
    "couch": "couch and lamp",
    "bridge": "bridge at night",
    "piano": "musical keyboard",
    "dinosaur": "t-rex",
}
"""Plurals without a rule, and everyday words where Unicode's names tell several drawings apart.
An entry is only used where a sticker has that name."""


@dataclass(frozen=True, slots=True)
class Match:
    """A sticker for some words."""

    sticker: Sticker
    score: float
    """Above 1 where a name says it, else the likeness of meaning."""


@functools.cache
def shipped_search() -> StickerSearch:
    """Among the stickers that ship: read and indexed once. Raises AssetError without its files."""
    return StickerSearch(StickerBook.load(), TextEncoder())


class StickerSearch:
    """Finds stickers in a book. Thread-safe: it only reads, and remembers what it found."""

    def __init__(self, book: StickerBook, encoder: TextEncoder) -> None:
        self.book = book
        self.encoder = encoder
        self._by_emoji = {bare_emoji(s.emoji): i for i, s in enumerate(book.stickers)}
        self._named: dict[str, tuple[int, int]] = {}
        # Unicode's own names win over what people type, and earlier stickers over later ones.
        for place in range(max(len(s.names) for s in book.stickers)):
            for number, sticker in enumerate(book.stickers):
                if place < len(sticker.names):
                    self._named.setdefault(sticker.names[place], (place, number))
        self._heads = [{_head(name) for name in sticker.names} for sticker in book.stickers]
        self._tags = [set(sticker.tags) for sticker in book.stickers]
        # Signs and faces turn up as the tag of half of everything: things come first.
        self._bias = np.array(
            [_BIAS.get(sticker.group, 0.0) for sticker in book.stickers], np.float32
        )
        self._find = functools.lru_cache(maxsize=1024)(self._search)

    def by_emoji(self, emoji: str) -> Sticker | None:
        """The sticker of that character."""
        number = self._by_emoji.get(bare_emoji(emoji))
        return None if number is None else self.book.stickers[number]

    def has(self, words: Sequence[str]) -> bool:
        """Whether a sticker is called so, in the singular or plural."""
        return self._number_named(" ".join(words)) is not None

    def has_exactly(self, words: Sequence[str]) -> bool:
        """Whether just so is Unicode's name of a sticker."""
        return self._named.get(" ".join(words), (1, 0))[0] == 0

    def find(self, words: Sequence[str]) -> Match | None:
        """The best sticker for a phrase whose last word is what it is about, or None."""
        return self._find(" ".join(words))

    def ranked(self, text: str, count: int) -> list[Match]:
        """The stickers nearest to any text by meaning alone, best first."""
        scores = self._meaning(text)
        best = np.argsort(-scores, kind="stable")[:count]
        return [Match(self.book.stickers[i], float(scores[i])) for i in best.tolist()]

    def _number_named(self, phrase: str) -> int | None:
        """By its name or the name of its last word's singular; Unicode's names come first."""
        first, _, last = phrase.rpartition(" ")
        found = [self._named.get(f"{first} {word}".strip()) for word in singulars(last)]
        known = [pair for pair in found if pair is not None]
        return min(known, key=lambda pair: pair[0])[1] if known else None

    def _search(self, phrase: str) -> Match | None:
        words = phrase.split()
        if not words:
            return None
        whole = self._number_named(phrase)
        if whole is not None:
            return Match(self.book.stickers[whole], 2.0)
        scores = self._meaning(phrase)
        for start in range(1, len(words)):
            # "very old man" is an old man; a longer name says more than a shorter one.
            number = self._number_named(" ".join(words[start:]))
            if number is not None:
                scores[number] += 0.35
                break
        heads = set(singulars(words[-1]))
        for number in range(len(scores)):
            if heads & self._heads[number]:
                scores[number] += 0.22
            elif heads & self._tags[number]:
                scores[number] += 0.1
            if phrase in self._tags[number]:
                scores[number] += 0.2
        best = int(scores.argmax())
        if scores[best] < LEAST_SCORE:
            return None
        return Match(self.book.stickers[best], float(scores[best]))

    def _meaning(self, text: str) -> npt.NDArray[np.float32]:
        """(N,) likeness of each sticker: of its names, and a little of its tags."""
        vector = self.encoder.encode(text)
        names, tags = self.book.name_vectors @ vector, self.book.tag_vectors @ vector
        near = np.maximum(names, 0.85 * tags) * 0.75 + 0.25 * tags + self._bias
        return near.astype(np.float32)


def _head(name: str) -> str:
    """What a name is about: "house" of "house with garden", "car" of "police car"."""
    words = name.split()
    ends = [i for i, word in enumerate(words) if i > 0 and word in _AFTER_HEAD]
    return words[ends[0] - 1] if ends else words[-1]


_AFTER_HEAD = ("with", "without", "of", "in", "at", "on", "over", "behind", "and")
_BIAS = {"symbols": -0.06, "smileys-emotion": -0.03, "people-body": -0.02}


def bare_emoji(emoji: str) -> str:
    """Without the sign that asks for the coloured form."""
    return emoji.replace("\ufe0f", "")


def singulars(word: str) -> list[str]:
    """The word itself and what it may be the plural of; everyday words by their drawing's name."""
    forms = [word]
    if word.endswith("ies") and len(word) > 4:
        forms.append(f"{word[:-3]}y")
    if word.endswith("ves"):
        forms.append(f"{word[:-3]}f")
    if word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
        forms.append(word[:-2])
    if word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        forms.append(word[:-1])
    everyday = [EVERYDAY_NAMES[form] for form in forms if form in EVERYDAY_NAMES]
    return list(dict.fromkeys([*everyday, *forms]))
