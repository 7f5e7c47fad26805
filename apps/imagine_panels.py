"""The picture that follows typed words, beside the avatar in a preview."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from apps.preview_panels import PANEL_DISTANCE
from apps.prompt_line import PromptLine
from apps.viewpoint import world_from_facing
from overlay.board import PanelBoard
from overlay.generation_event import GenerationFailed, PictureUpdate
from overlay.image_model import ImageModel, final_step
from overlay.live_generation import LiveGeneration, LiveOptions
from overlay.text_panel import TextStyle, text_panel
from overlay.wish import PromptError, Wish
from render.window import WindowEvent
from streams.clock import now_ns
from streams.closing import Closing
from streams.mark import Mark
from streams.panel import Panel
from streams.rigid import Rigid
from streams.view import View

PICTURE_PX = 384
"""Side of what is made while somebody types: the renderer's label needs no more, and a picture of
that size is drawn in half the time of one of 512."""
PANEL_SHARE = 0.42
"""The panel's height as a share of the picture's shorter side."""
QUIET_NS = 600_000_000
"""So long nothing was typed before a message is shown: half a word is no mistake."""
MARK = "imagined"
"""Name of the marks in a session that say from what each picture was made."""


@dataclass(frozen=True, slots=True)
class ImagineOptions:
    """Where the pictures go and what they begin from."""

    view: View
    prompt: str = ""
    seed: int = 0
    live: LiveOptions | None = None


class ImaginePanels(Closing):
    """Owns the models and the threads that work. `take` and `refresh` never wait for them."""

    def __init__(
        self,
        board: PanelBoard,
        models: Sequence[ImageModel],
        options: ImagineOptions,
        mark: Callable[[Mark], None] = lambda _mark: None,
        clock: Callable[[], int] = now_ns,
    ) -> None:
        self.line = PromptLine(options.prompt)
        self._board, self._options, self._mark, self._clock = board, options, mark, clock
        self._place = _place(options.view)
        self._live = LiveGeneration(models, options.live, clock)
        self._failure: str | None = None
        self._typed_ns = clock()
        self._told = False
        self._generation = 0
        self.shown: PictureUpdate | None = None
        """The picture on the panel."""
        if options.prompt:
            self._ask()

    def take(self, events: Sequence[WindowEvent]) -> None:
        """What was typed since the last call."""
        if self.line.take(events):
            self._ask()

    def refresh(self, t_ns: int) -> None:
        """Put on the board what is ready; `t_ns`: of the frame that is drawn next."""
        newest: PictureUpdate | None = None
        for event in self._live.take_events():
            if isinstance(event, PictureUpdate):
                newest, self._failure = event, None
                self._mark(_mark_of(event, t_ns))
            elif isinstance(event, GenerationFailed):
                self._failure = event.message
        if newest is not None:
            self.shown = newest
            self._board.put(self._picture_panel(newest))
        self._tell()

    def lines(self) -> tuple[str, ...]:
        """What is typed, for the corner of a window."""
        if not self.line.text:
            return ("type what you want to see",)
        return (f"{self.line.text[-60:]}_",)

    def close(self) -> None:
        """Stop the work and close the models."""
        self._live.close()

    def _ask(self) -> None:
        self._typed_ns, self._failure = self._clock(), None
        try:
            self._generation = self._live.ask(
                Wish(self.line.text, seed=self._options.seed, size=(PICTURE_PX, PICTURE_PX))
            )
        except PromptError as error:
            self._live.withdraw()
            if self.line.text.strip():
                self._failure = str(error)
            else:
                self._hide()

    def _hide(self) -> None:
        self._board.remove("imagined")
        self.shown = None

    def _tell(self) -> None:
        """Show or take away the message under the picture."""
        wanted = self._failure is not None and self._clock() - self._typed_ns >= QUIET_NS
        if wanted and not self._told and self._failure is not None:
            self._board.put(self._message_panel(self._failure))
            if self.shown is not None and self.shown.generation != self._generation:
                # A picture of other words would contradict the message.
                self._hide()
        elif self._told and not wanted:
            self._board.remove("imagined message")
        self._told = wanted

    def _picture_panel(self, update: PictureUpdate) -> Panel:
        return update.panel("imagined", "world", self._place.world_from_panel, self._place.tall)

    def _message_panel(self, message: str) -> Panel:
        letter = self._place.tall / 16
        style = TextStyle(
            letter_m=letter,
            wrap_m=0.92 * self._place.tall,
            margin_m=0.6 * letter,
            pixels_per_m=24 / letter,
            max_lines=6,
        )
        panel = text_panel("imagined message", message, "world", Rigid.identity(), style)
        down = (self._place.tall + panel.size_m[1]) / 2 + letter
        below = Rigid.from_translation((0.0, -down, 0.0))
        return replace(panel, anchor_from_panel=self._place.world_from_panel @ below)


def imagine_once(
    board: PanelBoard,
    models: Sequence[ImageModel],
    options: ImagineOptions,
    mark: Callable[[Mark], None] = lambda _mark: None,
) -> Wish:
    """Put the best of the models' pictures on the board, and wait for it: for a video that is
    written to a file. Returns what was asked for. Raises ModelError or PromptError."""
    wish = Wish(options.prompt, seed=options.seed, size=(PICTURE_PX, PICTURE_PX))
    stage, model = len(models) - 1, models[-1]
    step = final_step(model, wish)
    update = PictureUpdate(
        *(1, 0, wish, model.name, model.label, stage, step.step, step.steps, step.rgba)
    )
    place = _place(options.view)
    mark(_mark_of(update, 0))
    board.put(update.panel("imagined", "world", place.world_from_panel, place.tall))
    return wish


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    world_from_panel: Rigid
    tall: float


def _place(view: View) -> _Place:
    """Upper right, facing the viewer, beside the face."""
    left, right, up, down = np.tan(view.fov) * PANEL_DISTANCE
    width, height = float(right - left), float(up - down)
    tall = PANEL_SHARE * min(width, height)
    across = 1.0 - tall / width - 1 / 15
    up_share = 1.0 - tall / height - 1 / 15
    return _Place(world_from_facing(view, across, up_share, PANEL_DISTANCE), tall)


def _mark_of(update: PictureUpdate, t_ns: int) -> Mark:
    """All that the picture depends on, so that whoever has the session can make it again."""
    wish = update.wish
    text = json.dumps(
        {
            "prompt": wish.prompt,
            "style": wish.style,
            "seed": wish.seed,
            "size": list(wish.size),
            "model": update.model,
            "step": update.step,
            "steps": update.steps,
            "content_hash": wish.content_hash(update.model),
        },
        ensure_ascii=False,
    )
    return Mark(t_ns, MARK, text)
