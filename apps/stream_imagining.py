"""Pictures that follow words typed, spoken or pinched into a headset's page.

The network's thread only puts what it hears in a short line; the thread that draws works it off,
so that the page is never answered late and a flood of keys is one change.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from apps.imagine_panels import ImaginePanels
from apps.pipeline import Drawn
from headset.webxr.prompt_messages import (
    PanelChosen,
    PanelDismissed,
    Pinched,
    Prompt,
    PromptAct,
    PromptMessage,
    Speech,
)
from headset.webxr.rate_limits import TokenBucket
from overlay.board import PanelBoard
from render.window import WindowEvent

WAITING = 32
"""Things said that were not worked off; of more the oldest are left out."""
KEPT_S, KEPT_AT_ONCE = 1.0, 8.0
"""Pictures that a page may put on the shelf, a second and at once: each is a file."""


class PagePrompts:
    """What pages said and nobody worked off yet; there from the start, so that what is typed while
    models are loaded is not lost. Any thread; nothing waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: deque[PromptMessage] = deque(maxlen=WAITING)

    def put(self, said: PromptMessage) -> None:
        """Of words that were only typed, the newest count."""
        with self._lock:
            if _is_typed(said) and self._said and _is_typed(self._said[-1]):
                self._said.pop()
            self._said.append(said)

    def take(self) -> tuple[PromptMessage, ...]:
        """All since the last call, in order."""
        with self._lock:
            said = tuple(self._said)
            self._said.clear()
        return said


class StreamImagining:
    """What pages say to `ImaginePanels`, and what is told back."""

    def __init__(
        self,
        prompts: PagePrompts,
        imagined: ImaginePanels,
        board: PanelBoard,
        tell_words: Callable[[str], None],
        hands_are_the_pages: bool = False,
    ) -> None:
        """`hands_are_the_pages`: the hands of the tracked state are the wearer's, whose grip the
        page follows itself, without the way here and back; else they are those of somebody before
        the camera, who holds panels, too."""
        self._prompts, self._tell_words = prompts, tell_words
        self._imagined, self._board = imagined, board
        self._hands_are_the_pages = hands_are_the_pages
        self._keeping = TokenBucket(KEPT_S, KEPT_AT_ONCE)

    def hear(self, said: Speech) -> None:
        """A piece of speech; any thread, never waits."""
        self._imagined.hear(said.samples, said.last)

    def turn(self, drawn: Drawn | None, events: Sequence[WindowEvent] = ()) -> None:
        """Work off what was said since the last call and what was typed into a window here; put on
        the board what is ready. `drawn`: the newest picture of the avatar. In one thread."""
        for one in self._prompts.take():
            self._act(one)
        before = self._imagined.line.text
        self._imagined.take(events)
        if drawn is not None:
            state = replace(drawn.state, hands=()) if self._hands_are_the_pages else drawn.state
            self._imagined.follow(state)
            self._imagined.refresh(drawn.frame.t_ns)
        if self._imagined.line.text != before:
            # Spoken, or typed here: the page's field does not know.
            self._tell_words(self._imagined.line.text)

    def _act(self, said: PromptMessage) -> None:
        if isinstance(said, Prompt):
            self._imagined.say(said.words)
            if said.act == PromptAct.KEPT and self._keeping.take():
                self._imagined.keep()
            elif said.act == PromptAct.TAKEN:
                self._imagined.take_from_shelf(0)
        elif isinstance(said, PanelChosen):
            self._imagined.choose(said.id)
        elif isinstance(said, PanelDismissed):
            self._board.remove(said.id)
        elif isinstance(said, Pinched):
            self._imagined.call_to(said.world_from_pinch)


def _is_typed(said: PromptMessage) -> bool:
    return isinstance(said, Prompt) and said.act == PromptAct.TYPED
