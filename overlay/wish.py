"""What somebody wants to see: a prompt, and all that a picture of it depends on."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_size

MAX_PROMPT = 1000
"""Characters: more is no wish but a pasted document, and no text encoder here reads beyond it."""
SMALLEST_SIDE, LARGEST_SIDE = 64, 2048
_JOINER, _EMOJI_STYLE = "\u200d", "\ufe0f"
"""Invisible, and part of many emoji."""


class PromptError(ValueError):
    """A prompt that no picture can be made of. The message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """Raises PromptError for a prompt that is empty or too long, ValueError for the rest.

    While somebody types, only `prompt` changes: with the same seed the picture morphs.
    """

    prompt: str
    """Kept as `clean_prompt` gives it."""
    style: str = ""
    """A style that the model knows by name; empty is the model's own."""
    seed: int = 0
    """0 to 2^63 - 1."""
    size: tuple[int, int] = (512, 512)
    """(width, height) pixels, SMALLEST_SIDE to LARGEST_SIDE."""
    reference: npt.NDArray[np.uint8] | None = None
    """(H, W, 3) or (H, W, 4) uint8 sRGB that the picture is to follow, where a model can."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompt", clean_prompt(self.prompt))
        require_size("Wish.size", self.size)
        if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in self.size):
            raise ValueError(
                f"Wish.size: expected {SMALLEST_SIDE} to {LARGEST_SIDE} pixels a side, "
                f"got {self.size}"
            )
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"Wish.seed: expected 0 to 2^63 - 1, got {self.seed}")
        given = self.reference
        if given is not None and (
            given.dtype != np.uint8
            or given.ndim != 3
            or given.shape[2] not in (3, 4)
            or 0 in given.shape
        ):
            raise ValueError(
                "Wish.reference: expected uint8 (H, W, 3) or (H, W, 4), "
                f"got {given.dtype} {given.shape}"
            )

    @property
    def words(self) -> str:
        """The prompt with its style, for models that know styles by words alone."""
        return f"{self.prompt}, {self.style}" if self.style else self.prompt

    def content_hash(self, model: str) -> str:
        """SHA-256 in hex of everything that the picture by `model` depends on."""
        digest = hashlib.sha256()
        for part in (model, self.prompt, self.style, str(self.seed), repr(self.size)):
            data = part.encode()
            digest.update(len(data).to_bytes(4, "little") + data)
        if self.reference is not None:
            digest.update(repr(self.reference.shape).encode())
            digest.update(np.ascontiguousarray(self.reference).tobytes())
        return digest.hexdigest()

    def prompt_hash(self) -> str:
        """The first 12 hex digits of the prompt's SHA-256, to name it where it is too long."""
        return hashlib.sha256(self.prompt.encode()).hexdigest()[:12]


def clean_prompt(text: str) -> str:
    """One line, NFC, without control and direction characters. Raises PromptError.

    Direction characters (Unicode's bidirectional overrides) can make a label read as something
    else, and no model gains by them; what joins the parts of an emoji stays.
    """
    if len(text) > MAX_PROMPT:
        raise PromptError(
            f"a prompt of {len(text)} characters: expected at most {MAX_PROMPT}; shorten it"
        )
    # Lone surrogates (half a character) cannot be encoded; a terminal can deliver them.
    whole = text.encode("utf-8", "replace").decode("utf-8")
    kept = "".join(_kept(letter) for letter in unicodedata.normalize("NFC", whole))
    line = " ".join(kept.split())
    if not any(unicodedata.category(letter)[0] in "LNS" for letter in line):
        raise PromptError("the prompt is empty: expected some words, for example: a blue cat")
    return line


def _kept(letter: str) -> str:
    if letter in (_JOINER, _EMOJI_STYLE):
        return letter
    kind = unicodedata.category(letter)
    if letter.isspace() or kind in ("Zl", "Zp"):
        return " "
    # Cf: formats such as direction overrides; Cn: unassigned; Co: private; Cs: surrogates.
    return "" if kind.startswith("C") and kind != "Cn" else letter
