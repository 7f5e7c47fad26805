"""Pictures that follow typing: newest wins, work stops between steps, nothing is left over."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Generator

import numpy as np
import pytest

from overlay.generation_event import (
    GenerationCancelled,
    GenerationEvent,
    GenerationFailed,
    GenerationFinished,
    PictureUpdate,
)
from overlay.image_model import ModelError, ModelStep
from overlay.live_generation import LiveGeneration, LiveOptions
from overlay.picture_cache import PictureCache
from overlay.wish import MAX_PROMPT, PromptError, Wish, clean_prompt
from streams.rigid import Rigid

WAIT_S = 10.0


class CountingModel:
    """A real model that draws its prompt's length and its step, and counts what runs at once."""

    label = "counting model"
    licence = "Apache-2.0"
    generates = True

    def __init__(self, name: str = "counting", instant: bool = False, steps: int = 3) -> None:
        self.name, self.instant, self._steps = name, instant, steps
        self.running = self.most = self.begun = self.closed = 0
        self.gate: threading.Event | None = None
        self.entered = threading.Event()
        self._lock = threading.Lock()

    def steps(self, wish: Wish, cancelled: Callable[[], bool]) -> Generator[ModelStep, None, None]:
        with self._lock:
            self.begun += 1
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            for step in range(1, self._steps + 1):
                self.entered.set()
                if self.gate is not None and step > 1:
                    assert self.gate.wait(WAIT_S)
                rgba = np.full((8, 8, 4), 255, np.uint8)
                rgba[0, 0, 0], rgba[0, 0, 1] = len(wish.prompt), step
                yield ModelStep(step, self._steps, rgba)
        finally:
            with self._lock:
                self.running -= 1

    def close(self) -> None:
        self.closed += 1


class HandClock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.t_ns = 1_000_000_000

    def __call__(self) -> int:
        return self.t_ns


def updates(events: list[GenerationEvent]) -> list[PictureUpdate]:
    return [event for event in events if isinstance(event, PictureUpdate)]


def until_idle(live: LiveGeneration) -> list[GenerationEvent]:
    assert live.wait_until_idle(WAIT_S)
    return list(live.take_events())


def test_a_wish_gives_every_step_and_says_what_made_it() -> None:
    with LiveGeneration([CountingModel()], LiveOptions(debounce_ns=0)) as live:
        generation = live.ask(Wish("a cat"))
        events = until_idle(live)
    shown = updates(events)
    assert [(u.generation, u.step, u.steps) for u in shown] == [
        (generation, step, 3) for step in (1, 2, 3)
    ]
    assert isinstance(events[-1], GenerationFinished)
    panel = shown[-1].panel("imagined", "world", Rigid.identity(), 0.2)
    assert panel.generated_by == "counting model"
    assert panel.size_m == pytest.approx((0.2, 0.2))


def test_the_debounce_counts_from_the_last_key() -> None:
    clock, model = HandClock(), CountingModel()
    with LiveGeneration([model], LiveOptions(debounce_ns=100_000_000), clock) as live:
        for _ in range(5):
            live.ask(Wish("a cat"))
            clock.t_ns += 99_999_999
            live.wake()
            assert not live.wait_until_idle(0.02)
        assert model.begun == 0
        clock.t_ns += 1
        live.wake()
        assert live.wait_until_idle(WAIT_S)
        assert model.begun == 1


def test_an_instant_model_does_not_wait_for_the_debounce() -> None:
    clock = HandClock()
    instant, slow = CountingModel("instant", instant=True, steps=1), CountingModel("slow")
    with LiveGeneration([instant, slow], clock=clock) as live:
        live.ask(Wish("a cat"))
        deadline = time.monotonic() + WAIT_S
        while not (shown := updates(list(live.take_events()))) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert [u.model for u in shown] == ["instant"]
        assert slow.begun == 0


def test_twenty_fast_keys_leave_one_generation_and_no_thread() -> None:
    gc.collect()
    threads = threading.active_count()
    instant, slow = CountingModel("instant", instant=True), CountingModel("slow")
    text = "twenty quick letters"
    assert len(text) == 20
    with LiveGeneration([instant, slow], LiveOptions(debounce_ns=1_000_000)) as live:
        for end in range(1, 21):
            live.ask(Wish(text[:end]))
            time.sleep(0.002)
        events = until_idle(live)
        assert instant.most == slow.most == 1
        assert instant.running == slow.running == 0
        last = updates(events)[-1]
        assert (last.wish.prompt, last.model, last.step) == (text, "slow", 3)
        orders = [u.order for u in updates(events)]
        assert orders == sorted(orders)
    assert threading.active_count() == threads
    assert (instant.closed, slow.closed) == (1, 1)


def test_a_newer_wish_stops_the_older_one_between_its_steps() -> None:
    model = CountingModel()
    model.gate = threading.Event()
    with LiveGeneration([model], LiveOptions(debounce_ns=0)) as live:
        old = live.ask(Wish("old"))
        assert model.entered.wait(WAIT_S)
        new = live.ask(Wish("newer"))
        model.gate.set()
        events = until_idle(live)
    cancelled = [event for event in events if isinstance(event, GenerationCancelled)]
    assert [event.generation for event in cancelled] == [old]
    assert cancelled[0].steps_done < 3
    assert model.most == 1
    assert {u.generation for u in updates(events) if u.step > 1} == {new}
    assert model.running == 0


def test_withdrawing_stops_and_shows_nothing_more() -> None:
    model = CountingModel()
    model.gate = threading.Event()
    with LiveGeneration([model], LiveOptions(debounce_ns=0)) as live:
        live.ask(Wish("old"))
        assert model.entered.wait(WAIT_S)
        live.withdraw()
        model.gate.set()
        assert all(u.step == 1 for u in updates(until_idle(live)))
        assert live.wait_until_idle(WAIT_S)
        assert model.running == 0


def test_a_slow_step_does_not_hold_up_the_instant_picture() -> None:
    instant, slow = CountingModel("instant", instant=True, steps=1), CountingModel("slow")
    slow.gate = threading.Event()
    with LiveGeneration([instant, slow], LiveOptions(debounce_ns=0)) as live:
        live.ask(Wish("first"))
        assert slow.entered.wait(WAIT_S)
        second = live.ask(Wish("second"))
        deadline = time.monotonic() + WAIT_S
        shown: list[PictureUpdate] = []
        while time.monotonic() < deadline and not any(u.generation == second for u in shown):
            shown += updates(list(live.take_events()))
            time.sleep(0.001)
        assert any(u.generation == second and u.model == "instant" for u in shown)
        assert slow.running == 1
        slow.gate.set()


def test_fast_typing_shows_instant_pictures_on_the_way_but_never_an_older_one_later() -> None:
    model = CountingModel("instant", instant=True, steps=2)
    model.gate = threading.Event()
    with LiveGeneration([model]) as live:
        first = live.ask(Wish("a"))
        assert model.entered.wait(WAIT_S)
        for text in ("ab", "abc", "abcd"):
            last = live.ask(Wish(text))
        model.gate.set()
        events = until_idle(live)
        assert model.begun == 2
        shown = [(u.generation, u.step) for u in updates(events)]
        # The first step came before the keys; the last wish is made whole, those between are not.
        assert shown == [(first, 1), (last, 1), (last, 2)] or shown == [
            *[(first, 1), (first, 2), (last, 1), (last, 2)]
        ]
        live.withdraw()
    assert model.running == 0


def test_the_same_wish_again_is_looked_up() -> None:
    model = CountingModel()
    with LiveGeneration([model], LiveOptions(debounce_ns=0)) as live:
        live.ask(Wish("a cat"))
        first = updates(until_idle(live))[-1]
        live.ask(Wish("a dog there"))
        until_idle(live)
        live.ask(Wish("  a cat "))
        again = updates(until_idle(live))
        assert model.begun == 2
        assert [u.cached for u in again] == [True]
        np.testing.assert_array_equal(again[0].rgba, first.rgba)
        live.ask(Wish("a cat", seed=1))
        until_idle(live)
        assert model.begun == 3


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (ModelError("the server\nis away"), "the server is away"),
        (MemoryError(), "out of memory"),
        (KeyError("weights"), "unexpected KeyError: 'weights'"),
    ],
)
def test_a_model_that_fails_is_told_and_the_next_wish_goes_on(
    failure: Exception, said: str
) -> None:
    class Failing(CountingModel):
        def steps(
            self, wish: Wish, cancelled: Callable[[], bool]
        ) -> Generator[ModelStep, None, None]:
            if wish.prompt == "bad":
                raise failure
            yield from super().steps(wish, cancelled)

    with LiveGeneration([Failing()], LiveOptions(debounce_ns=0)) as live:
        live.ask(Wish("bad"))
        events = until_idle(live)
        assert [type(event) for event in events] == [GenerationFailed]
        assert isinstance(events[0], GenerationFailed)
        assert said in events[0].message
        live.ask(Wish("good"))
        assert updates(until_idle(live))[-1].step == 3


def test_events_that_nobody_takes_do_not_pile_up() -> None:
    with LiveGeneration([CountingModel()], LiveOptions(debounce_ns=0, max_events=5)) as live:
        for number in range(20):
            live.ask(Wish(f"wish {number}"))
            assert live.wait_until_idle(WAIT_S)
        events = live.take_events()
    assert len(events) == 5
    assert isinstance(events[-1], GenerationFinished)


def test_the_cache_forgets_what_was_used_longest_ago() -> None:
    cache = PictureCache(max_bytes=3 * 64)
    for name in "abc":
        cache.put(name, np.zeros((4, 4, 4), np.uint8))
    assert cache.get("a") is not None
    cache.put("d", np.zeros((4, 4, 4), np.uint8))
    assert cache.get("b") is None
    assert cache.get("a") is not None
    assert cache.bytes_held == 3 * 64
    cache.put("large", np.zeros((40, 40, 4), np.uint8))
    assert cache.get("large") is None
    cache.put("a", np.ones((2, 2, 4), np.uint8))
    assert cache.bytes_held == 2 * 64 + 16


def test_everything_that_a_picture_depends_on_is_in_its_hash() -> None:
    grey = np.zeros((4, 4, 3), np.uint8)
    wishes = [
        Wish("a cat"),
        Wish("a cat", style="flat"),
        Wish("a cat", seed=1),
        Wish("a cat", size=(256, 512)),
        Wish("a cat", reference=grey),
        Wish("a cat", reference=grey + np.uint8(1)),
        Wish("a cats"),
    ]
    hashes = {wish.content_hash("m") for wish in wishes} | {wishes[0].content_hash("n")}
    assert len(hashes) == len(wishes) + 1
    assert Wish("a\n cat").content_hash("m") == wishes[0].content_hash("m")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  a \t blue\ncat ", "a blue cat"),
        ("a\x00 b\x1b[31mlue cat\x07", "a b[31mlue cat"),
        ("\u202ea cat\u202c", "a cat"),
        ("👩\u200d🚀 on the moon", "👩\u200d🚀 on the moon"),
        ("cafe\u0301", "café"),
        ("חתול כחול", "חתול כחול"),
        ("half \ud83d letter", "half ? letter"),
    ],
)
def test_a_prompt_is_one_clean_line(given: str, kept: str) -> None:
    assert clean_prompt(given) == kept


@pytest.mark.parametrize("given", ["", "   \n", "\u200d\ufe0f", "\x00\x01", "... !", "x" * 10_000])
def test_a_prompt_that_says_nothing_or_too_much_is_refused(given: str) -> None:
    with pytest.raises(PromptError, match=r"empty|at most 1000"):
        Wish(given)
    assert MAX_PROMPT == 1000


def test_a_wish_of_wrong_size_or_seed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Wish\.size"):
        Wish("a cat", size=(16, 512))
    with pytest.raises(ValueError, match=r"Wish\.size"):
        Wish("a cat", size=(512, 100_000))
    with pytest.raises(ValueError, match=r"Wish\.seed"):
        Wish("a cat", seed=-1)
    with pytest.raises(ValueError, match=r"Wish\.reference"):
        Wish("a cat", reference=np.zeros((4, 4), np.uint8))
