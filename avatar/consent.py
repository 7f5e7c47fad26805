"""That the person shown agrees: an avatar file without it is neither written nor read."""

from __future__ import annotations

import re
from dataclasses import dataclass

SENTENCE = (
    "I am the person in this video, or I have that person's permission, "
    "and I agree that an avatar is made of it."
)
KINDS = ("typed", "spoken", "synthetic")
"""How it was given; "synthetic": the person does not exist."""


class ConsentError(ValueError):
    """There is no consent, or not this one."""


@dataclass(frozen=True, slots=True)
class Consent:
    """Whose avatar it is and what was agreed to."""

    name: str
    """Who is shown, as they want to be called."""
    sentence: str
    """What was typed or said."""
    kind: str
    given_unix_s: int
    """Wall-clock seconds; an avatar file is no record of a moment of the pipeline."""
    live: tuple[str, ...] = ()
    """What a person in front of the camera was seen to do when asked; empty for a video."""
    sound_sha256: str = ""
    """Of the recording in which it was said, in hexadecimal; empty unless `kind` is "spoken"."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConsentError(f"Consent.kind: expected one of {KINDS}, got {self.kind!r}")
        if not self.name.strip() or len(self.name) > 200:
            raise ConsentError(f"Consent.name: expected 1 to 200 letters, got {self.name!r}")
        spoken = self.kind == "spoken"
        if bool(re.fullmatch(r"[0-9a-f]{64}", self.sound_sha256)) != spoken:
            raise ConsentError(
                f"Consent.sound_sha256: expected {'64 hexadecimal digits' if spoken else 'nothing'}"
                f" for {self.kind} consent, got {self.sound_sha256[:80]!r}"
            )
        if not (is_said(self.sentence) if spoken else _plain(self.sentence) == _plain(SENTENCE)):
            raise ConsentError(
                f"Consent.sentence: expected {SENTENCE!r}, got {self.sentence[:200]!r}; "
                "an avatar is made only with it"
            )


WORST_HEARD = 0.3
"""Share of wrong, missing or additional words in what a recogniser heard. With PocketSphinx three
synthetic voices that read the sentence had 0.04 to 0.13, saying its opposite 0.35 to 0.48, another
sentence 0.96. Not measured on people."""
DENIALS = frozenset(
    [
        "not",
        "no",
        "never",
        "don't",
        "didn't",
        "won't",
        "isn't",
        "aren't",
        "doesn't",
        "cannot",
        "can't",
        "disagree",
        "refuse",
    ]
)
"""One of these words turns a sentence over, and the sentence itself has none."""


def is_said(heard: str) -> bool:
    """Whether what a recogniser heard is the sentence, give or take what recognisers mishear."""
    words = spoken_words(heard)
    return not DENIALS & set(words) and word_error_rate(words, SAID) <= WORST_HEARD


def spoken_words(text: str) -> list[str]:
    """Lower-case words, apostrophes kept."""
    return re.findall(r"[a-z0-9']+", text.lower())


def word_error_rate(heard: list[str], said: list[str]) -> float:
    """Words to put in, take out or exchange (Levenshtein), for each word of `said`."""
    before = list(range(len(said) + 1))
    for i, one in enumerate(heard, 1):
        row = [i]
        for j, other in enumerate(said, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (one != other)))
        before = row
    return before[-1] / max(1, len(said))


SAID = spoken_words(SENTENCE)


def _plain(sentence: str) -> str:
    """Letters and digits alone: case, spaces and punctuation do not matter."""
    return re.sub(r"[^a-z0-9]+", " ", sentence.lower()).strip()
