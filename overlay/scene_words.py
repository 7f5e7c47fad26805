"""What a prompt says of a picture: things, how many, of which colour, and where they stand.

A small grammar of English, not a language model: what it does not know it leaves out, and what is
left is still shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from overlay.named_colour import COLOURS, SHADES
from overlay.sticker_search import bare_emoji

MOST_OF_A_KIND = 24
MOST_KINDS = 12

NUMBERS = {
    word: number
    for number, words in {
        1: "a an the one single my your",
        2: "two couple pair both",
        3: "three few some",
        4: "four",
        5: "five several pack bunch group row",
        6: "six",
        7: "seven herd",
        8: "eight",
        9: "nine many flock",
        10: "ten",
        11: "eleven",
        12: "twelve dozen lots crowd",
        24: "dozens hundreds",
    }.items()
    for word in words.split()
}
SIZES = {
    word: scale
    for scale, words in {
        0.45: "tiny mini",
        0.65: "little small",
        0.8: "short",
        1.3: "tall",
        1.4: "big large",
        1.8: "huge giant enormous",
    }.items()
    for word in words.split()
}
RELATIONS: dict[str, str] = {
    **dict.fromkeys(
        (
            *("next to", "beside", "besides", "near", "by", "alongside", "close to", "and", "with"),
            *(",", ";", ".", "plus", "or", "versus", "vs", "to the left of", "left of", "facing"),
            *("at", "from", "for", "against", "around", "then", "but", "while", "as", "between"),
        ),
        "beside",
    ),
    **dict.fromkeys(("to the right of", "right of"), "right of"),
    **dict.fromkeys(("on top of", "on", "upon", "onto", "atop", "riding", "rides"), "on"),
    **dict.fromkeys(("above", "over", "across"), "above"),
    **dict.fromkeys(("under", "below", "underneath", "beneath"), "under"),
    **dict.fromkeys(("behind", "in back of"), "behind"),
    **dict.fromkeys(("in front of", "before"), "in front of"),
    **dict.fromkeys(("in", "inside", "into", "within"), "in"),
    **dict.fromkeys(("wearing", "wears"), "wearing"),
    **dict.fromkeys(("holding", "holds", "carrying", "carries", "eating", "eats"), "holding"),
}
"""Words -> how what stands before them is placed against what comes after."""

PLACES: dict[str, str] = {
    **dict.fromkeys(
        ("meadow", "field", "grass", "park", "garden", "lawn", "farm", "hill"), "meadow"
    ),
    **dict.fromkeys(("forest", "woods", "jungle", "wood"), "forest"),
    **dict.fromkeys(("beach", "shore", "seaside", "coast", "sand"), "beach"),
    **dict.fromkeys(("sea", "ocean", "lake", "river", "waves"), "sea"),
    **dict.fromkeys(("underwater", "deep sea"), "underwater"),
    **dict.fromkeys(("desert", "dunes"), "desert"),
    **dict.fromkeys(("mountains", "alps"), "mountains"),
    **dict.fromkeys(("city", "town", "street", "skyline"), "city"),
    **dict.fromkeys(("snow", "winter", "snowfall", "ice"), "snow"),
    **dict.fromkeys(("space", "outer space", "galaxy", "universe"), "space"),
    **dict.fromkeys(("moon",), "moon"),
    **dict.fromkeys(("sky", "clouds", "air"), "sky"),
    **dict.fromkeys(("rain", "storm"), "rain"),
}
HOURS: dict[str, str] = {
    **dict.fromkeys(("sunset", "dusk", "evening", "twilight"), "sunset"),
    **dict.fromkeys(("sunrise", "dawn", "morning"), "sunrise"),
    **dict.fromkeys(
        ("night", "midnight", "stars", "moonlight", "night sky", "starry night"), "night"
    ),
    **dict.fromkeys(("day", "noon", "daylight", "sunshine", "sunlight"), "day"),
}
_PLACE_BEFORE = (
    *("in", "at", "on", "under", "over", "by", "into", "through", "above", "across", "near"),
)
_BARE_BACKDROPS = (
    *("underwater", "sunset", "sunrise", "dusk", "dawn", "twilight", "night", "midnight"),
    *("night sky", "starry night", "outer space", "skyline", "deep sea"),
)
"""These are no things even where nothing stands before them."""
_FILLERS = frozenset(
    (
        *("very", "really", "of", "is", "are", "was", "there", "it", "its", "his", "her", "their"),
        *("this", "that", "who", "which", "picture", "photo", "drawing", "image", "please", "to"),
        *("show", "me", "draw", "make", "i", "want", "see", "each", "other", "cute", "coloured"),
        *("colored", "top", "front", "left", "right", "side", "middle", "be", "so", "no", "not"),
    )
)
_VERBS = frozenset(
    (
        *("sitting", "sits", "standing", "stands", "lying", "lies", "sleeping", "sleeps", "flying"),
        *("flies", "swimming", "swims", "walking", "walks", "running", "runs", "playing", "plays"),
        *("jumping", "jumps", "looking", "looks", "chasing", "chases", "driving", "drives"),
        *("dancing", "dances", "floating", "floats", "hanging", "hiding", "resting", "waiting"),
        *("shining", "falling", "watching", "watches", "drinking", "drinks", "using", "making"),
        *("reading", "reads", "climbing", "climbs", "kissing", "hugging", "having", "parked"),
        *("leaning", "surrounded", "being", "going", "coming", "loves", "has", "talking"),
    )
)
_TOKENS = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*|\S")
_PLURALS = ("people", "men", "women", "children", "mice", "geese", "wolves", "policemen")
UNCOUNTED = 3
"""How many "dogs" are."""
_LONGEST_RELATION = 4
_LONGEST_NAME = 5


@dataclass(frozen=True, slots=True)
class Thing:
    """So many of a kind."""

    words: tuple[str, ...]
    """What it is called, without number, colour and size; one emoji by itself is its name."""
    count: int = 1
    colour: str | None = None
    """A word of COLOURS."""
    shade: str | None = None
    """A word of SHADES."""
    size: float = 1.0
    relation: str = "beside"
    """How the thing before it is placed against this one."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A prompt, understood as far as that goes."""

    things: tuple[Thing, ...] = ()
    place: str | None = None
    """A value of PLACES."""
    hour: str | None = None
    """A value of HOURS."""
    aloft: bool = False
    """Whether the things are in the air: "over the mountains"."""


class Names(Protocol):
    """What stickers are called."""

    def has(self, words: Sequence[str]) -> bool:
        """Whether a sticker is called so, in the singular or plural."""
        ...

    def has_exactly(self, words: Sequence[str]) -> bool:
        """Whether a sticker is called just so."""
        ...


def read_scene(prompt: str, names: Names) -> Scene:
    """What the prompt says. Words that are a name together stay together ("hot dog")."""
    return _Reader(_tokens(prompt), names).scene()


def _tokens(prompt: str) -> list[str]:
    """Lower-case words, commas, and emoji with the invisible signs that belong to them."""
    joined: list[str] = []
    for token in _TOKENS.findall(prompt.lower()):
        glues = bool(joined) and (
            token in ("\u200d", "\ufe0f")
            or joined[-1].endswith("\u200d")
            or 0x1F3FB <= ord(token[0]) <= 0x1F3FF
        )
        if glues:
            joined[-1] += token
        else:
            joined.append(token)
    return joined


class _Reader:
    """Walks over the words once."""

    def __init__(self, tokens: list[str], names: Names) -> None:
        self._tokens, self._names = tokens, names
        self._things: list[Thing] = []
        self._place: str | None = None
        self._hour: str | None = None
        self._aloft = False
        self._begin("beside")

    def _begin(self, relation: str) -> None:
        self._words: list[str] = []
        self._count: int | None = None
        self._colour: str | None = None
        self._shade: str | None = None
        self._size = 1.0
        self._relation = relation

    def scene(self) -> Scene:
        at = 0
        while at < len(self._tokens) and len(self._things) < MOST_KINDS:
            at += self._step(at)
        self._end("beside")
        return Scene(tuple(self._things), self._place, self._hour, self._aloft)

    def _step(self, at: int) -> int:
        """Take in what stands there; how many words that was."""
        tokens = self._tokens
        backdrop = self._backdrop(at)
        if backdrop:
            return backdrop
        for length in range(min(_LONGEST_NAME, len(tokens) - at), 1, -1):
            # A name of several words is not taken apart: "three hot dogs".
            name = tokens[at : at + length]
            if name[0] not in NUMBERS and self._names.has(name):
                self._words += name
                self._end("beside")
                return length
        for length in range(min(_LONGEST_RELATION, len(tokens) - at), 0, -1):
            relation = RELATIONS.get(" ".join(tokens[at : at + length]))
            if relation is not None:
                self._end(relation)
                return length
        self._word(at)
        return 1

    def _word(self, at: int) -> None:
        word = self._tokens[at]
        number = int(word) if word.isascii() and word.isdecimal() and len(word) < 9 else None
        number = NUMBERS.get(word, number)
        if number is not None:
            if self._words:
                self._end("beside")
            # "a few", "the three", "a dozen": the article says less.
            said = max(number, 1)
            self._count = said if self._count in (None, 1) else self._count
        elif word in SIZES and not self._names.has_exactly([word]):
            self._size *= SIZES[word]
        elif word in COLOURS and not self._is_fruit(at):
            self._colour = word
        elif word in SHADES and not self._words:
            self._shade = word
        elif self._is_verb(word):
            self._aloft = self._aloft or word in ("flying", "flies", "floating", "floats")
            self._end("beside")
        elif not word[0].isalnum():
            if not word.isascii():
                self._emoji(word)
        elif word not in _FILLERS:
            self._words.append(word)

    def _is_verb(self, word: str) -> bool:
        """A known verb, or what ends like one after a noun: "a knight fighting a dragon"."""
        if word in _VERBS:
            return True
        ends = word.endswith("ing") and len(word) > 5
        return ends and bool(self._words) and not self._names.has_exactly([word])

    def _is_fruit(self, at: int) -> bool:
        """Whether "orange" and "olive" are meant as things: when no noun comes after them."""
        if self._tokens[at] not in ("orange", "olive"):
            return False
        following = self._tokens[at + 1 : at + 2]
        return not following or following[0] in RELATIONS or following[0] in _VERBS

    def _emoji(self, emoji: str) -> None:
        self._end("beside")
        last = self._things[-1] if self._things else None
        if last is not None and last.words == (bare_emoji(emoji),) and self._relation == "beside":
            again = min(last.count + 1, MOST_OF_A_KIND)
            self._things[-1] = Thing(last.words, again, relation=last.relation)
            return
        self._words = [bare_emoji(emoji)]
        self._end("beside")

    def _backdrop(self, at: int) -> int:
        """How many words from there name a place or an hour, 0 when they do not."""
        tokens = self._tokens
        begin = at
        led = tokens[begin] in _PLACE_BEFORE
        if led:
            begin += 1
            if tokens[begin : begin + 1] and tokens[begin] in ("a", "an", "the", "some"):
                begin += 1
        for length in (2, 1):
            words = tokens[begin : begin + length]
            if len(words) < length:
                continue
            name = " ".join(words)
            if not led and name not in _BARE_BACKDROPS:
                continue
            after = tokens[begin + length] if begin + length < len(tokens) else ","
            ends = after in RELATIONS or after in _VERBS or after in _BARE_BACKDROPS
            if not ends or not (name in PLACES or name in HOURS):
                continue
            place, hour = PLACES.get(name), HOURS.get(name)
            if name == "sea" and tokens[at] == "under":
                place = "underwater"
            if place is not None and tokens[at] in ("over", "above", "through", "across"):
                self._aloft = True
            self._place = place or self._place
            self._hour = hour or self._hour
            self._end("beside")
            return begin + length - at
        return 0

    def _end(self, relation: str) -> None:
        """The thing that was being read is complete; `relation` leads to the next one."""
        if self._words and len(self._things) < MOST_KINDS:
            count = self._count or 1
            if count == 1 and self._is_plural(self._words):
                count = UNCOUNTED
            self._things.append(
                Thing(
                    tuple(self._words),
                    min(count, MOST_OF_A_KIND),
                    self._colour,
                    self._shade,
                    self._size,
                    self._relation,
                )
            )
            self._begin(relation)
        elif relation != "beside":
            # "sitting on", "a number of cats on": the later word says more.
            self._relation = relation

    def _is_plural(self, words: Sequence[str]) -> bool:
        """ "dogs", but not "grapes", which one sticker shows."""
        last = words[-1]
        if last in _PLURALS:
            return True
        ends = last.endswith("s") and not last.endswith(("ss", "us", "is"))
        return ends and len(last) > 3 and not self._names.has_exactly(words[-1:])
