"""What a page says of the pictures that its person wants: words, spoken ones too, and hands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from headset.webxr.client_messages import PLACE, pack_place, unpack_place
from headset.webxr.messages import (
    Message,
    MessageError,
    MessageKind,
    Section,
    SectionKind,
    unpack_exactly,
    unpack_text,
)
from streams.rigid import Rigid

MOST_WORDS = 4096
"""Bytes: a thousand characters of four."""
SPEECH_RATE = 16_000
"""Samples a second of what is spoken, mono."""
MOST_SAMPLES = 8000
"""Half a second."""
_LAST = 1


class PromptAct(IntEnum):
    """What was done with the words."""

    TYPED = 0
    KEPT = 1
    """Enter: keep the picture on the shelf."""
    TAKEN = 2
    """Tab: show the shelf's nearest picture instead."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """The whole line as it is now. Also from the server, where words came in another way."""

    words: str
    """As typed, not yet cleaned; empty: no picture is wanted."""
    act: PromptAct = PromptAct.TYPED

    @staticmethod
    def of(message: Message) -> Prompt:
        """Raises MessageError."""
        part = message.need(SectionKind.WORDS)
        if part.flags not in PromptAct._value2member_map_:
            raise MessageError(f"prompt: expected an act from 0 to 2, got {part.flags}")
        words = unpack_text("prompt", part.data, MOST_WORDS) if part.data else ""
        return Prompt(words, PromptAct(part.flags))

    def message(self) -> Message:
        return _message(MessageKind.PROMPT, SectionKind.WORDS, self.words.encode(), self.act)


@dataclass(frozen=True, slots=True)
class PanelChosen:
    """The person tapped a panel."""

    id: str

    @staticmethod
    def of(message: Message) -> PanelChosen:
        """Raises MessageError."""
        return PanelChosen(unpack_text("panel_chosen", message.need(SectionKind.TEXT).data))

    def message(self) -> Message:
        return _message(MessageKind.PANEL_CHOSEN, SectionKind.TEXT, self.id.encode())


@dataclass(frozen=True, slots=True)
class PanelDismissed:
    """The person threw a panel away."""

    id: str

    @staticmethod
    def of(message: Message) -> PanelDismissed:
        """Raises MessageError."""
        return PanelDismissed(unpack_text("panel_dismissed", message.need(SectionKind.TEXT).data))

    def message(self) -> Message:
        return _message(MessageKind.PANEL_DISMISSED, SectionKind.TEXT, self.id.encode())


@dataclass(frozen=True, slots=True, eq=False)
class Pinched:
    """A pinch where there is nothing to take."""

    world_from_pinch: Rigid
    """Turned as a panel that faces the person."""

    @staticmethod
    def of(message: Message) -> Pinched:
        """Raises MessageError."""
        values = unpack_exactly("pinched", PLACE, message.need(SectionKind.PLACE).data)
        place, _ = unpack_place("pinched", list(values))
        return Pinched(place)

    def message(self) -> Message:
        place = pack_place(self.world_from_pinch, (1.0, 1.0))
        return _message(MessageKind.PINCHED, SectionKind.PLACE, place)


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """A piece of what is spoken while the button is held."""

    samples: npt.NDArray[np.int16]
    """(N,) at SPEECH_RATE, 0 to MOST_SAMPLES."""
    last: bool = False
    """Whether the button was let go."""

    @staticmethod
    def of(message: Message) -> Speech:
        """Raises MessageError."""
        part = message.need(SectionKind.PCM)
        if part.flags & ~_LAST or len(part.data) % 2 or len(part.data) > 2 * MOST_SAMPLES:
            raise MessageError(
                f"speech: expected up to {MOST_SAMPLES} samples of 16 bits, "
                f"got {len(part.data)} bytes"
            )
        return Speech(np.frombuffer(part.data, "<i2").astype(np.int16), bool(part.flags))

    def message(self) -> Message:
        data = self.samples.astype("<i2").tobytes()
        return _message(MessageKind.SPEECH, SectionKind.PCM, data, int(self.last))


PromptMessage = Prompt | PanelChosen | PanelDismissed | Pinched | Speech

PROMPT_READERS = {
    MessageKind.PROMPT: Prompt.of,
    MessageKind.PANEL_CHOSEN: PanelChosen.of,
    MessageKind.PANEL_DISMISSED: PanelDismissed.of,
    MessageKind.PINCHED: Pinched.of,
    MessageKind.SPEECH: Speech.of,
}
"""How each is read."""


def _message(kind: MessageKind, part: SectionKind, data: bytes, flags: int = 0) -> Message:
    return Message(kind, (Section(part, data, flags),))
