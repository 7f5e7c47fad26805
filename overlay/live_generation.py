"""Pictures that follow what somebody types: the newest wish wins, older work stops.

Instant models are asked at every keystroke, as often as they can answer. The others wait until
nothing was typed for a moment, and are stopped between two of their steps when something is. Each
kind has one thread, so that at most one wish of each kind is worked on however fast the keys come,
and a slow step never holds up the instant picture. Whoever draws only takes what is ready.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from overlay.generation_event import (
    GenerationCancelled,
    GenerationEvent,
    GenerationFailed,
    GenerationFinished,
    PictureUpdate,
)
from overlay.image_model import ImageModel, ModelError, ModelStep, NothingForItError
from overlay.picture_cache import PictureCache
from overlay.wish import PromptError, Wish
from streams.clock import now_ns
from streams.closing import Closing

_CLOSING_S = 10.0


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How eagerly."""

    debounce_ns: int = 100_000_000
    """Nothing may have been typed for so long before a model that is not instant begins."""
    max_events: int = 64
    """Events that nobody took; beyond it the oldest are dropped."""
    cache_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        for name, least in (("debounce_ns", 0), ("max_events", 1), ("cache_bytes", 1)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"LiveOptions.{name}: expected at least {least}, got {getattr(self, name)}"
                )


@dataclass(frozen=True, slots=True)
class _Asked:
    generation: int
    wish: Wish
    t_ns: int


@dataclass(slots=True)
class _Lane:
    """The models of one kind and how far their thread is."""

    models: list[tuple[int, ImageModel]]
    """(stage, model)."""
    debounce_ns: int
    taken: int = 0
    """The last generation that the thread began or found outdated."""
    busy: bool = False
    thread: threading.Thread | None = field(default=None, repr=False)


class LiveGeneration(Closing):
    """Owns the threads that make pictures, and the models: `close` closes these too.

    `clock` gives monotonic nanoseconds. With a clock that does not run by itself, call `wake`
    after setting it.
    """

    def __init__(
        self,
        models: Sequence[ImageModel],
        options: LiveOptions | None = None,
        clock: Callable[[], int] = now_ns,
    ) -> None:
        if not models:
            raise ValueError("LiveGeneration: expected at least one model, got none")
        self.options = options or LiveOptions()
        self.cache = PictureCache(self.options.cache_bytes)
        self._models = tuple(models)
        self._clock = clock
        self._changed = threading.Condition()
        self._asked: _Asked | None = None
        self._generation = 0
        self._closed = False
        self._events: deque[GenerationEvent] = deque(maxlen=self.options.max_events)
        self._order = (0, 0, 0)
        staged = list(enumerate(models))
        self._lanes = [
            _Lane([pair for pair in staged if pair[1].instant is instant], debounce_ns)
            for instant, debounce_ns in ((True, 0), (False, self.options.debounce_ns))
        ]
        self._lanes = [lane for lane in self._lanes if lane.models]
        for lane in self._lanes:
            lane.thread = threading.Thread(
                target=self._work, args=(lane,), name="imagine", daemon=True
            )
            lane.thread.start()

    def ask(self, wish: Wish) -> int:
        """Want this from now on, and nothing older. Returns its generation; never waits."""
        with self._changed:
            if self._closed:
                raise RuntimeError("LiveGeneration.ask: it was closed; open a new one")
            self._generation += 1
            self._asked = _Asked(self._generation, wish, self._clock())
            self._changed.notify_all()
            return self._generation

    def withdraw(self) -> None:
        """Want nothing: what is being made stops after its step."""
        with self._changed:
            self._generation += 1
            self._asked = None
            self._changed.notify_all()

    def take_events(self) -> tuple[GenerationEvent, ...]:
        """What happened since the last call, in order; never waits for a model."""
        with self._changed:
            taken = tuple(self._events)
            self._events.clear()
            return taken

    def wake(self) -> None:
        """Look at the clock again."""
        with self._changed:
            self._changed.notify_all()

    def wait_until_idle(self, timeout: float) -> bool:
        """Whether all work on the newest wish ended within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(self._is_idle, timeout)

    def close(self) -> None:
        """Stop after the current step. Raises RuntimeError when a model does not stop."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._generation += 1
            self._asked = None
            self._changed.notify_all()
        for lane in self._lanes:
            if lane.thread is not None:
                lane.thread.join(_CLOSING_S)
        hung = [lane for lane in self._lanes if lane.thread is not None and lane.thread.is_alive()]
        for lane in self._lanes:
            if lane not in hung:
                for _, model in lane.models:
                    model.close()
        if hung:
            names = ", ".join(model.name for lane in hung for _, model in lane.models)
            raise RuntimeError(f"{names}: did not stop within {_CLOSING_S:g} s of being asked to")

    def _is_idle(self) -> bool:
        return all(
            not lane.busy and (self._asked is None or lane.taken == self._asked.generation)
            for lane in self._lanes
        )

    def _work(self, lane: _Lane) -> None:
        while True:
            asked = self._next(lane)
            if asked is None:
                return
            try:
                for stage, model in lane.models:
                    if not self._run(asked, stage, model):
                        break
            finally:
                with self._changed:
                    lane.busy = False
                    self._changed.notify_all()

    def _next(self, lane: _Lane) -> _Asked | None:
        """Wait for a wish that this lane has not seen and that nothing was typed after."""
        with self._changed:
            while not self._closed:
                asked = self._asked
                if asked is None or asked.generation == lane.taken:
                    self._changed.wait()
                    continue
                left_ns = asked.t_ns + lane.debounce_ns - self._clock()
                if left_ns <= 0:
                    lane.taken, lane.busy = asked.generation, True
                    return asked
                self._changed.wait(left_ns / 1e9)
            return None

    def _run(self, asked: _Asked, stage: int, model: ImageModel) -> bool:
        """Make one model's picture. False when the wish is outdated."""
        key = asked.wish.content_hash(model.name)
        held = self.cache.get(key)
        if held is not None:
            self._update(asked, stage, model, ModelStep(1, 1, held), cached=True)
            self._tell(GenerationFinished(asked.generation, self._clock(), asked.wish, model.name))
            return True

        def cancelled() -> bool:
            return self._generation != asked.generation

        done, whole = 0, False
        try:
            with contextlib.closing(model.steps(asked.wish, cancelled)) as steps:
                for step in steps:
                    done += 1
                    self._update(asked, stage, model, step)
                    if step.final:
                        self.cache.put(key, step.rgba)
                    whole = whole or step.final
                    if cancelled():
                        break
            if done == 0 and not cancelled():
                raise ModelError(f"{model.name}: made no picture, and said no reason")
        except NothingForItError as error:
            # Where other models make pictures, one that has nothing to add is no failure.
            if not cancelled() and len(self._models) == 1:
                self._tell_failure(asked, model, error)
            return not cancelled()
        except Exception as error:
            # A model is foreign code that fails in its own ways, and typing must go on.
            if not cancelled():
                self._tell_failure(asked, model, error)
                return True
        if cancelled() and not whole:
            self._tell(
                GenerationCancelled(asked.generation, self._clock(), asked.wish, model.name, done)
            )
            return False
        self._tell(GenerationFinished(asked.generation, self._clock(), asked.wish, model.name))
        return not cancelled()

    def _tell_failure(self, asked: _Asked, model: ImageModel, error: Exception) -> None:
        told = asked.generation, self._clock(), asked.wish, model.name
        self._tell(GenerationFailed(*told, failure_text(error)))

    def _update(
        self, asked: _Asked, stage: int, model: ImageModel, step: ModelStep, cached: bool = False
    ) -> None:
        update = PictureUpdate(
            asked.generation,
            self._clock(),
            asked.wish,
            model.name,
            model.label,
            stage,
            step.step,
            step.steps,
            step.rgba,
            cached,
        )
        with self._changed:
            # The other thread may already have shown something better, or for a newer wish.
            # What is instant is shown though a key came meanwhile: of fast typing one would
            # otherwise see nothing until its end.
            newest = asked.generation == self._generation
            wanted = newest or (model.instant and self._asked is not None)
            if update.order > self._order and wanted:
                self._order = update.order
                self._events.append(update)
                self._changed.notify_all()

    def _tell(self, event: GenerationEvent) -> None:
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()


def failure_text(error: Exception) -> str:
    """What a panel says of a model's failure: one line."""
    if isinstance(error, ModelError | PromptError):
        return " ".join(str(error).split())
    # torch's CUDA error is a RuntimeError of this name.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory: ask for a smaller picture, or for a smaller model"
    text = " ".join(str(error).split())[:300]
    return f"unexpected {type(error).__name__}: {text or 'no message'}"
