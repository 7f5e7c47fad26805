"""The picture that follows typed words, beside the avatar in a preview."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from apps.preview_panels import PANEL_DISTANCE
from apps.prompt_line import PromptLine
from apps.shelf_row import ShelfRow, shelf_number
from apps.spoken_prompt import SpokenPrompt
from apps.view_places import as_backdrop, beside, beside_head, on_desk
from apps.viewpoint import world_from_facing
from overlay.board import PanelBoard
from overlay.generation_event import GenerationFailed, PictureUpdate
from overlay.image_model import ImageModel, ModelStep, NothingForItError, final_step
from overlay.image_panel import image_panel
from overlay.live_generation import LiveGeneration, LiveOptions
from overlay.panel_hands import PanelHands, PanelHeld
from overlay.panel_places import PanelPlace, at_hand
from overlay.shelf import Shelf
from overlay.text_panel import TextStyle, text_panel
from overlay.wish import MAX_PROMPT, PromptError, Wish
from render.window import WindowEvent
from streams.clock import now_ns
from streams.closing import Closing
from streams.mark import Mark
from streams.panel import Panel
from streams.rigid import Rigid
from streams.tracked_state import TrackedState
from streams.view import View

PICTURE_PX = 384
"""Side of what is made while somebody types: the renderer's label needs no more, and a picture of
that size is drawn in half the time of one of 512."""
QUIET_NS = 600_000_000
"""So long nothing was typed before a message is shown: half a word is no mistake."""
_NOBODY = Rigid.from_translation((0.0, 0.0, -0.6))
"""A head where most sit before a webcam."""
SPEAK_KEY = "f8"
"""Held while one speaks: a key that no words are typed with."""
MARK = "imagined"
"""Name of the marks in a session that say from what each picture was made."""


@dataclass(frozen=True, slots=True)
class ImagineOptions:
    """Where the pictures go and what they begin from."""

    view: View
    prompt: str = ""
    seed: int = 0
    place: str = "beside"
    """One of overlay.panel_places.PLACES."""
    live: LiveOptions | None = None
    shelf: Shelf | None = None
    """What is shown under the picture and kept with Enter."""
    around_head: bool = False
    """Whether "beside" means beside the head, for viewers who walk about; else it is the upper
    right of the view."""


class ImaginePanels(Closing):
    """Owns the models and the threads that work. `take` and `refresh` never wait for them."""

    def __init__(
        self,
        board: PanelBoard,
        models: Sequence[ImageModel],
        options: ImagineOptions,
        mark: Callable[[Mark], None] = lambda _mark: None,
        clock: Callable[[], int] = now_ns,
        spoken: SpokenPrompt | None = None,
    ) -> None:
        """`spoken`: what recognises speech, which its owner closes."""
        self._spoken = spoken
        self.line = PromptLine(options.prompt)
        self._board, self._options, self._mark, self._clock = board, options, mark, clock
        self._beside = beside_head(_NOBODY) if options.around_head else beside(options.view)
        self._facing = world_from_facing(options.view, 0.0, 0.0, PANEL_DISTANCE)
        self._hands = PanelHands(board)
        self._world_from_head: Rigid | None = None
        self._called_to: PanelPlace | None = None
        """Where somebody pinched at nothing."""
        self._unplaced = False
        """Whether the picture waits beside until somebody is seen."""
        self._row = ShelfRow(board, options.shelf) if options.shelf is not None else None
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
        """What was typed since the last call; Enter keeps the picture on the shelf, Tab shows the
        first one of the shelf, and while F8 is held one speaks."""
        entered = self.line.entered
        if self.line.take(events):
            self._ask()
        if self.line.entered > entered:
            self.keep()
        if any(event.kind == "key" and event.key == "tab" for event in events):
            self.take_from_shelf(0)
        for event in events:
            if self._spoken is not None and event.key == SPEAK_KEY:
                if event.kind == "key":
                    self._spoken.begin()
                else:
                    self._spoken.end()

    def hear(self, samples: npt.NDArray[np.int16], last: bool) -> None:
        """Speech from a microphone elsewhere, as in SpokenPrompt.hear."""
        if self._spoken is not None:
            self._spoken.hear(samples, last)

    def say(self, words: str) -> None:
        """Let the line be these words, which were typed elsewhere or spoken."""
        words = words[: MAX_PROMPT + 1]
        if words != self.line.text:
            self.line.text = words
            self._ask()

    def keep(self) -> None:
        """Put the picture that is shown on the shelf."""
        if self._row is not None and self.shown is not None:
            self._row.keep(self.shown)

    def take_from_shelf(self, number: int) -> None:
        """Show the picture of that place in the row, from 0, in place of the made one."""
        chosen = None if self._row is None else self._row.at(number)
        if chosen is not None:
            self._stop()
            place = self._place()
            item, picture = chosen
            self._board.put(
                image_panel(
                    *("imagined", picture, "world", place.world_from_panel, place.tall), item.label
                )
            )

    def choose(self, panel_id: str) -> None:
        """Somebody tapped a panel: one of the row is shown large."""
        number = shelf_number(panel_id)
        if number is not None:
            self.take_from_shelf(number)

    def call_to(self, world_from_pinch: Rigid) -> None:
        """Somebody pinched at nothing, there, turned as a panel that faces them."""
        if self._options.place != "hand":
            return
        self._called_to = there = at_hand(np.array(world_from_pinch.xyz), world_from_pinch)
        panel = self._board.get("imagined")
        if panel is not None:
            self._board.put(replace(panel, anchor_from_panel=there.world_from_panel))

    def follow(self, state: TrackedState) -> list[PanelHeld]:
        """Where the person is now: hands hold panels, and pictures appear beside what is seen."""
        if state.face is not None:
            if self._world_from_head is None and self._options.around_head:
                self._beside = beside_head(state.face.world_from_head)
            self._world_from_head = state.face.world_from_head
        before = {pinch.side for pinch in self._hands.pinches}
        events = self._hands.update(state.hands, state.t_ns)
        grabbing = {event.side for event in events if event.kind == "grabbed"}
        begun = [p for p in self._hands.pinches if p.side not in before | grabbing]
        panel = self._board.get("imagined")
        if self._unplaced and self._world_from_head is not None and panel is not None:
            place = self._fresh_place()
            scale = place.tall / panel.size_m[1]
            self._board.put(
                replace(
                    panel,
                    anchor_from_panel=place.world_from_panel,
                    size_m=(panel.size_m[0] * scale, place.tall),
                )
            )
        elif self._options.place == "hand" and begun and panel is not None:
            # A pinch at nothing calls the picture.
            there = at_hand(np.array(begun[0].world_from_pinch.xyz), self._facing)
            self._board.put(replace(panel, anchor_from_panel=there.world_from_panel))
        return events

    def refresh(self, t_ns: int) -> None:
        """Take what was recognised, and put on the board what is ready; `t_ns`: of the frame that
        is drawn next."""
        if self._spoken is not None:
            words, failure = self._spoken.take(), self._spoken.take_failure()
            if words is not None:
                self.say(words)
            if failure is not None:
                self._failure = failure
        newest: PictureUpdate | None = None
        for event in self._live.take_events():
            if isinstance(event, PictureUpdate):
                newest, self._failure = event, None
                # Of one that follows frames, without end, the first; the others are in the panels.
                if event.step in (1, event.steps):
                    self._mark(_mark_of(event, t_ns))
            elif isinstance(event, GenerationFailed):
                self._failure = event.message
        if newest is not None:
            self.shown = newest
            self._board.put(self._picture_panel(newest))
        self._tell()
        if self._row is not None:
            self._row.refresh(self._beside)

    def lines(self) -> tuple[str, ...]:
        """What is typed, for the corner of a window."""
        if self._spoken is not None and self._spoken.held:
            return (f"{self.line.text[-60:]} ...", "listening while F8 is held")
        if self.line.text:
            return (f"{self.line.text[-60:]}_",)
        if self._spoken is None:
            return ("type what you want to see",)
        return ("type what you want to see, or hold F8 and say it",)

    def close(self) -> None:
        """Stop the work and close the models."""
        if self._row is not None:
            self._row.close()
        self._live.close()

    def _ask(self) -> None:
        self._typed_ns, self._failure = self._clock(), None
        if self._row is not None:
            self._row.ask(self.line.text)
        try:
            self._generation = self._live.ask(
                Wish(self.line.text, seed=self._options.seed, size=(PICTURE_PX, PICTURE_PX))
            )
        except PromptError as error:
            self._stop()
            if self.line.text.strip():
                self._failure = str(error)
            else:
                self._hide()

    def _stop(self) -> None:
        """Nothing is wanted of the models, nor what of theirs waits to be shown."""
        self._live.withdraw()
        self._live.take_events()

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
        place = self._place()
        return update.panel("imagined", "world", place.world_from_panel, place.tall)

    def _place(self) -> PanelPlace:
        """Where the picture is now, or where a new one appears."""
        held = self._board.get("imagined")
        if held is not None:
            return PanelPlace(held.anchor_from_panel, held.size_m[1])
        return self._fresh_place()

    def _fresh_place(self) -> PanelPlace:
        """Where the options say, as far as that is seen."""
        place, head = self._options.place, self._world_from_head
        if self._called_to is not None:
            return self._called_to
        if place == "hand" and self._hands.pinches:
            return at_hand(np.array(self._hands.pinches[0].world_from_pinch.xyz), self._facing)
        waits = place in ("desk", "backdrop") or (place == "beside" and self._options.around_head)
        self._unplaced = waits and head is None
        if place == "desk" and head is not None:
            return on_desk(self._options.view, head)
        if place == "backdrop" and head is not None:
            return as_backdrop(self._options.view, head)
        return self._beside

    def _message_panel(self, message: str) -> Panel:
        tall = self._beside.tall
        letter = tall / 16
        style = TextStyle(
            letter_m=letter,
            wrap_m=0.92 * tall,
            margin_m=0.6 * letter,
            pixels_per_m=24 / letter,
            max_lines=6,
        )
        panel = text_panel("imagined message", message, "world", Rigid.identity(), style)
        down = (tall + panel.size_m[1]) / 2 + letter
        below = Rigid.from_translation((0.0, -down, 0.0))
        return replace(panel, anchor_from_panel=self._beside.world_from_panel @ below)


def imagine_once(
    board: PanelBoard,
    models: Sequence[ImageModel],
    options: ImagineOptions,
    t_ns: int = 0,
    mark: Callable[[Mark], None] = lambda _mark: None,
) -> tuple[Wish, ImageModel]:
    """Put the best of the models' pictures on the board, and wait for it: for a video that is
    written to a file and begins at `t_ns`. Returns what was asked for and which model made it.
    Raises ModelError or PromptError."""
    wish = Wish(options.prompt, seed=options.seed, size=(PICTURE_PX, PICTURE_PX))
    stage, model, step = _best(models, wish)
    update = PictureUpdate(
        *(1, 0, wish, model.name, model.label, stage, step.step, step.steps, step.rgba)
    )
    place = beside(options.view)
    mark(_mark_of(update, t_ns))
    board.put(update.panel("imagined", "world", place.world_from_panel, place.tall))
    return wish, model


def _best(models: Sequence[ImageModel], wish: Wish) -> tuple[int, ImageModel, ModelStep]:
    """The picture of the last model that has learned what the words say, its stage and model."""
    for stage in range(len(models) - 1, 0, -1):
        try:
            return stage, models[stage], final_step(models[stage], wish)
        except NothingForItError:
            continue
    return 0, models[0], final_step(models[0], wish)


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
