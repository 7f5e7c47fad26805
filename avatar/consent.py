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

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConsentError(f"Consent.kind: expected one of {KINDS}, got {self.kind!r}")
        if not self.name.strip() or len(self.name) > 200:
            raise ConsentError(f"Consent.name: expected 1 to 200 letters, got {self.name!r}")
        if _plain(self.sentence) != _plain(SENTENCE):
            raise ConsentError(
                f"Consent.sentence: expected {SENTENCE!r}, got {self.sentence[:200]!r}; "
                "an avatar is made only with it"
            )


def _plain(sentence: str) -> str:
    """Letters and digits alone: case, spaces and punctuation do not matter."""
    return re.sub(r"[^a-z0-9]+", " ", sentence.lower()).strip()
