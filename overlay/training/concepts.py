"""What the generator learns: things with their names, in colours, alone and two beside each other,
and which of these it never sees, so that it can be asked for them afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from overlay.flow_model import with_article
from overlay.sticker_book import Sticker
from overlay.sticker_search import EVERYDAY_NAMES, bare_emoji

COLOURS = (
    *("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"),
)
"""Words of `overlay.named_colour` that things are painted in."""
HELD_OUT_COLOURS = 0.15
"""Of all (thing, colour)."""
HELD_OUT_PAIRS = 0.1
"""Of all two things beside each other."""
MOST_NAMES = 3
BESIDE = ("next to", "beside", "and", "with")
EVERYDAY = (
    "🐵🦍🐶🐺🦊🦝🐱🦁🐯🐆🐴🦄🦓🦌🐮🐷🐏🐑🐐🐪🦙🦒🐘🦏🦛🐭🐹🐰🐿🦔🦇🐻🐨🐼🦥🦘🦃🐔🐓🐤🐧🕊🦅🦆🦢🦉🦩🦚🦜🐸🐊🐢🦎🐍"
    "🐲🦕🦖🐳🐬🦭🐟🐡🦈🐙🐚🪼🦀🦞🦐🦑🐌🦋🐛🐜🐝🐞🕷🦂🌹🌺🌻🌼🌷🌵🌿🍀🍁🍄🌲🌳🌴🍇🍉🍊🍋🍌🍍🍎🍐🍑🍒🍓🥝🍅🥥🥑🍆🥔🥕🌽🥦🥜"
    "🍞🥐🥨🥞🧀🍔🍟🍕🌭🥪🌮🥚🍳🥗🍿🍦🍩🍪🎂🍰🧁🥧🍫🍬🍭🍯🥛☕🍵🍷🍸🍺⛰🌋🏝🏠🏢🏰⛲⛺🚂🚌🚑🚒🚓🚕🚗🚙🚚🚜🏎🏍🛵🚲🛴🚦⚓⛵🛶🚢"
    "✈🚁🚀🛸☀🌙🪐⭐☁🌧🌪🌈☂⚡❄⛄🔥💧🌊🎃🎄🎈🎁🎀🏆⚽⚾🏀🏐🏈🎾🎳🎯🪁🎮🎲🧩🧸🎨🧶👓👔👕👖🧣🧤🧥🧦👗👙👜🎒👞👠👢👑🎩🧢💄💍💎"
    "🎤🎧📻🎷🎺🎸🎹🎻🥁📱☎💻🖨📺📷🔍🕯💡📖📰💰✉📦✏✂🔑🔒🔨🪓🗡💣🛡🔧⚙🧲🪜🔬🔭🚪🪟🛏🛋🪑🚽🛁🧹🧺🪣🧽⏰⌛😀😍😂😢😡😱💀👻👽🤖❤👁👄🦷"
)
"""Things that people ask for often: all that the small model learns."""


@dataclass(frozen=True, slots=True)
class Concept:
    """A thing with a number."""

    number: int
    emoji: str
    name: str
    """What captions of two things call it."""
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """A thing in a colour, or in its own."""

    concept: int
    colour: str | None


@dataclass(frozen=True, slots=True)
class Caption:
    """Words, and the things from left to right that they say."""

    text: str
    subjects: tuple[Subject, ...]
    held_out: bool


def everyday(stickers: Sequence[Sticker]) -> list[Concept]:
    """The things of EVERYDAY that there are stickers of."""
    by_emoji = {bare_emoji(sticker.emoji): sticker for sticker in stickers}
    return number_concepts([by_emoji[emoji] for emoji in EVERYDAY if emoji in by_emoji])


def number_concepts(stickers: Sequence[Sticker]) -> list[Concept]:
    """Each sticker with the names that captions call it: a short one first, then what people say
    for it every day, then Unicode's."""
    said: dict[str, list[str]] = {}
    for word, name in EVERYDAY_NAMES.items():
        if not word.endswith(("s", "men", "kid")):
            said.setdefault(name, []).append(word)
    exact = {sticker.names[0] for sticker in stickers}
    chosen: list[list[str]] = []
    for sticker in stickers:
        first = sticker.names[0].removesuffix(" face")
        first = sticker.names[0] if first in exact else first
        names = [*said.get(sticker.names[0], ()), first]
        names += [name for name in sticker.names[1:] if " " not in name]
        # "Tiger" is also said of the tiger's face, but there is a drawing just called so.
        names = [name for name in names if name == sticker.names[0] or name not in exact]
        chosen.append(list(dict.fromkeys(sorted(names, key=lambda name: name.count(" ")))))
    # A word means one thing only: the one that it is the first name of, else the first in order.
    firsts: list[str] = []
    for sticker, names in zip(stickers, chosen, strict=True):
        firsts.append(next((n for n in (*names, *sticker.names) if n not in firsts), names[0]))
    taken = set(firsts)
    concepts: list[Concept] = []
    for number, (sticker, first) in enumerate(zip(stickers, firsts, strict=True)):
        others = [name for name in chosen[number] if name not in taken][: MOST_NAMES - 1]
        taken.update(others)
        concepts.append(Concept(number, sticker.emoji, first, (first, *others)))
    return concepts


def is_held_out(seed: int, share: float, *parts: str) -> bool:
    """Whether this combination is one of the share that is never trained on."""
    digest = hashlib.sha256("\0".join((str(seed), *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < share


class CaptionWriter:
    """Writes captions of concepts; the seed decides which combinations are held out."""

    def __init__(self, concepts: Sequence[Concept], seed: int) -> None:
        self.concepts = tuple(concepts)
        self.seed = seed

    def held_out(self, *subjects: Subject) -> bool:
        """Whether one of the things has a held-out colour, or two of them may not be together."""
        emoji = [self.concepts[s.concept].emoji for s in subjects]
        if any(
            s.colour and is_held_out(self.seed, HELD_OUT_COLOURS, e, s.colour)
            for s, e in zip(subjects, emoji, strict=True)
        ):
            return True
        return len(emoji) > 1 and is_held_out(self.seed, HELD_OUT_PAIRS, *sorted(emoji))

    def singles(self) -> list[Caption]:
        """Each thing in each colour and in its own, by its names, with and without an article."""
        written: list[Caption] = []
        for concept in self.concepts:
            for colour in (None, *COLOURS):
                subject = Subject(concept.number, colour)
                for name in concept.names:
                    text = f"{colour} {name}" if colour else name
                    held = self.held_out(subject)
                    written.append(Caption(with_article(text), (subject,), held))
                    written.append(Caption(text, (subject,), held))
        return written

    def pairs(self, count: int, rng: np.random.Generator, held_out: bool) -> list[Caption]:
        """So many captions of two different things beside each other."""
        written: list[Caption] = []
        while len(written) < count:
            left, right = rng.choice(len(self.concepts), 2, replace=False).tolist()
            subjects = tuple(
                Subject(number, COLOURS[rng.integers(len(COLOURS))] if rng.random() < 0.5 else None)
                for number in (left, right)
            )
            if self.held_out(*subjects) is not held_out:
                continue
            said = [
                with_article(f"{s.colour or ''} {self.concepts[s.concept].name}".strip())
                for s in subjects
            ]
            beside = BESIDE[rng.integers(len(BESIDE))]
            written.append(Caption(f"{said[0]} {beside} {said[1]}", subjects, held_out))
        return written
