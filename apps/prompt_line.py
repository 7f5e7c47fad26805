"""The line of words that is typed into a window."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from overlay.wish import MAX_PROMPT
from render.window import WindowEvent

_JOINER = "\u200d"


class PromptLine:
    """What was typed, with its end as the only place to change it."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.entered = 0
        """How often Enter was pressed."""

    def take(self, events: Iterable[WindowEvent]) -> bool:
        """Apply what was typed; whether the text changed. No more is taken than a prompt holds."""
        before = self.text
        for event in events:
            if event.kind == "text":
                self.text = (self.text + event.key)[: MAX_PROMPT + 1]
            elif event.kind == "key" and event.key == "backspace":
                self.text = self.text[: -_last_letter(self.text)] if self.text else ""
            elif event.kind == "key" and event.key == "enter":
                self.entered += 1
        return self.text != before


def _last_letter(text: str) -> int:
    """How many characters the last thing that one sees is made of: an accent or the parts of an
    emoji belong to what they stand on."""
    count = 1
    while count < len(text) and (
        unicodedata.combining(text[-count])
        or text[-count] in (_JOINER, "\ufe0f")
        or 0x1F3FB <= ord(text[-count]) <= 0x1F3FF
        or text[-count - 1] == _JOINER
    ):
        count += 1
    return count
