"""Simultaneous frames of several cameras: put together by their times, whatever a camera does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pacing import PacedSource
from capture.companion import JUDGED, KEPT, Companion, LiveCompanion, WaitingFrames
from capture.frame_source import SourceError, cameras_of, open_source
from capture.rig_source import WAIT_S, RigSource
from streams.camera import Camera
from streams.clock import now_ns
from streams.closing import Closing
from streams.frame import SIMULTANEOUS_NS, Frame

STEP_NS = 33_333_333


def frame(name: str, t_ns: int, seq: int = 0) -> Frame:
    return Frame(t_ns, seq, Camera.from_fov((16, 16), name=name), np.zeros((16, 16, 3), np.uint8))


class Listed(Closing):
    """A file's frames, given one by one."""

    live = False
    damaged = 0
    fps = 30.0

    def __init__(self, name: str, times: list[int], fails: str = "") -> None:
        self.camera = Camera.from_fov((16, 16), name=name)
        self.times, self.fails, self.given, self.closed = times, fails, 0, False

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        if self.given >= len(self.times):
            if self.fails:
                raise SourceError(self.fails)
            raise StopIteration
        self.given += 1
        return replace(frame(self.camera.name, self.times[self.given - 1]), seq=self.given - 1)

    def close(self) -> None:
        self.closed = True


class Camera30(Closing):
    """A live camera that gives a frame each 33 ms, at its own phase, until it does something
    else."""

    live = True
    damaged = 0
    fps = 30.0

    def __init__(self, name: str, phase_s: float = 0.0, then: str = "", after: int = 10**9) -> None:
        self.camera = Camera.from_fov((16, 16), name=name)
        self._phase_s, self._then, self._after = phase_s, then, after
        self._begun = time.monotonic()
        self._stop = threading.Event()
        self.given = 0

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        self.given += 1
        due = self._begun + self._phase_s + self.given * STEP_NS / 1e9
        self._stop.wait(max(0.0, due - time.monotonic()))
        if self.given > self._after and self._then == "stalls":
            self._stop.wait(60.0)
        if self.given > self._after and self._then == "fails":
            raise SourceError("webcam: stopped giving pictures; was it unplugged?")
        if self._stop.is_set() or (self.given > self._after and self._then == "ends"):
            raise StopIteration
        return frame(self.camera.name, now_ns(), self.given)

    def close(self) -> None:
        self._stop.set()


def regular(count: int, step_ns: int = STEP_NS, begin_ns: int = 0) -> list[int]:
    return [begin_ns + k * step_ns for k in range(count)]


def moments(
    first: list[int], *others: list[int], said: list[str] | None = None
) -> list[tuple[int, ...]]:
    """For each moment the times of its frames beside, relative to it, -1 for none."""
    sources = [Listed(f"c{k}", times) for k, times in enumerate((first, *others))]
    told = [] if said is None else said
    with RigSource(sources[0], sources[1:], told.append) as source:
        found = []
        for each in source:
            beside = {other.camera.name: other.t_ns - each.t_ns for other in each.beside}
            found.append(tuple(beside.get(f"c{k + 1}", -1) for k in range(len(others))))
    assert all(source.closed for source in sources)
    return found


def test_the_nearest_frame_of_each_camera_joins_the_first_cameras() -> None:
    first, early, late = regular(9), regular(9, begin_ns=5_000_000), regular(9, begin_ns=15_000_000)
    assert moments(first, early, late) == [(5_000_000, 15_000_000)] * 9
    slow = regular(5, 2 * STEP_NS)  # every second moment
    assert moments(first, slow) == [(0,), (-1,)] * 4 + [(0,)]
    fast = regular(40, STEP_NS // 4)
    assert max(abs(apart) for (apart,) in moments(first, fast)) <= STEP_NS // 8


def test_a_dropped_frame_is_missed_in_its_moment_alone() -> None:
    first, other = regular(9), regular(9, begin_ns=4_000_000)
    del other[4]
    assert moments(first, other) == [(4_000_000,)] * 4 + [(-1,)] + [(4_000_000,)] * 4
    # At 60 Hz a neighbour is near enough; the next moments have their own again.
    first, other = regular(9, 16_000_000), regular(9, 16_000_000)
    del other[4]
    assert moments(first, other) == [(0,)] * 4 + [(-16_000_000,)] + [(0,)] * 4
    # And frames that the first camera drops belong to no moment.
    first, other = regular(9), regular(9)
    del first[4]
    assert moments(first, other) == [(0,)] * 8


def test_a_file_that_ends_or_breaks_leaves_the_others_and_is_told_once() -> None:
    said: list[str] = []
    assert moments(regular(60), regular(20), regular(60), said=said)[19:21] == [(0, 0), (-1, 0)]
    (line,) = said
    assert line == "c1: ended after 0.6 s; the others go on without it"
    said.clear()
    assert len(moments(regular(30), regular(29), said=said)) == 30
    assert not said, "files of one take seldom end in the same frame"
    sources = Listed("c0", regular(60)), Listed("c1", regular(20), fails="c1.mp4: is cut off")
    with RigSource(sources[0], sources[1:], said.append) as source:
        assert len(list(source)) == 60
    assert said == ["c1: c1.mp4: is cut off; the others go on without it"]


def test_a_camera_out_of_step_is_told_once_with_how_much() -> None:
    said: list[str] = []
    found = moments(regular(90), regular(30, begin_ns=2_000_000_000), said=said)
    assert found[:30] == [(-1,)] * 30
    (line,) = said
    assert line.startswith("c1: out of step with the first camera: of 30 moments it shows 0, ")
    assert "its pictures are 1533 ms beside the others (at most 20 belong together)" in line
    said.clear()
    drops = [t for k, t in enumerate(regular(90)) if k % 3]
    moments(regular(90), drops, said=said)
    assert not said, "a third is missing; most are there"
    assert JUDGED == 30


def test_what_is_no_rig_is_refused() -> None:
    with pytest.raises(ValueError, match="different names"):
        RigSource(Listed("c", []), [Listed("c", [])], print)
    camera = Camera30("d")
    with pytest.raises(ValueError, match="all live"):
        RigSource(Listed("c", []), [camera], print)


def test_frames_hold_others_but_not_themselves() -> None:
    one, two = frame("a", 5), frame("b", 7)
    both = replace(one, beside=(two,))
    moved = both.at(1_000_000_000, 3)
    assert (moved.t_ns, moved.seq, moved.beside[0].t_ns) == (1_000_000_000, 3, 1_000_000_002)
    for wrong in ((one,), (two, two), (replace(two, beside=(frame("c", 7),)),)):
        with pytest.raises(ValueError, match=r"Frame.beside: expected single pictures"):
            replace(one, beside=wrong)


@given(st.data())
def test_what_was_put_together_live_is_put_together_again_from_a_recording(
    data: st.DataObject,
) -> None:
    """Frames come in when they like; those of moments are recorded, and their times alone give the
    same moments again."""
    step = data.draw(st.sampled_from([8, 16, 33]))
    first = np.cumsum(data.draw(st.lists(st.integers(1, 2 * step), min_size=3, max_size=25)))
    other = np.cumsum(data.draw(st.lists(st.integers(1, 2 * step), min_size=3, max_size=60)))
    delays = data.draw(st.lists(st.integers(0, 90), min_size=len(other), max_size=len(other)))
    # A camera's frames come in their order, the later ones never before the earlier.
    arrivals = np.maximum.accumulate(other + delays)
    live, put, taken = WaitingFrames(), 0, []
    for t in first:
        now = t + data.draw(st.integers(0, 60))
        while put < len(other) and arrivals[put] <= now:
            live.add(frame("b", int(other[put]) * 1_000_000))
            put += 1
        taken.append(live.take(int(t) * 1_000_000))
    recorded = sorted({found.t_ns for found in taken if found is not None})
    first_ns = [int(t) * 1_000_000 for t in first]
    again = []
    sources = Listed("a", first_ns), Listed("b", recorded)
    for each in RigSource(sources[0], sources[1:], lambda _line: None):
        again.append(each.beside[0].t_ns if each.beside else None)
    assert again == [None if found is None else found.t_ns for found in taken]


def test_no_more_than_a_few_frames_wait() -> None:
    waiting = WaitingFrames()
    for k in range(1000):
        waiting.add(frame("b", k * STEP_NS))
    assert len(waiting._frames) == KEPT
    assert waiting.take(999 * STEP_NS) is not None
    assert waiting.take(2000 * STEP_NS) is None
    assert len(waiting._frames) == 0


@pytest.mark.parametrize("phase_s", [0.0, 0.012, -0.012])
def test_live_cameras_of_any_phase_are_together(phase_s: float) -> None:
    cameras = Camera30("a", 0.1), Camera30("b", 0.1 + phase_s), Camera30("c", 0.1)
    with RigSource(cameras[0], cameras[1:], print) as source:
        assert source.live
        assert [camera.name for camera in cameras_of(source)] == ["a", "b", "c"]
        found = [next(source) for _ in range(20)]
    together = [len(each.beside) for each in found]
    assert np.mean(together) > 1.2, together  # a busy machine may be late now and then
    assert all(
        abs(other.t_ns - each.t_ns) <= SIMULTANEOUS_NS for each in found for other in each.beside
    )


@pytest.mark.parametrize(("late", "lines"), [(20, 0), (45, 1)])
def test_a_camera_that_begins_late_is_only_missed_until_then(late: int, lines: int) -> None:
    said: list[str] = []
    companion = Companion(Listed("b", []), said.append)
    found = []
    for k in range(100):
        if k >= late:
            companion._waiting.add(frame("b", k * STEP_NS))
        found.append(companion._take(k * STEP_NS) is not None)
    assert found == [False] * late + [True] * (100 - late)
    assert said == ["b: gives no pictures; the others go on without it"] * lines


@pytest.mark.parametrize("then", ["stalls", "fails", "ends"])
def test_a_live_camera_that_falls_out_holds_nobody_up(then: str) -> None:
    said: list[str] = []
    cameras = Camera30("a"), Camera30("b", then=then, after=8), Camera30("c")
    with RigSource(cameras[0], cameras[1:], said.append) as source:
        found = [next(source) for _ in range(75)]
    assert not any(other.camera.name == "b" for each in found[20:] for other in each.beside)
    assert np.mean([len(each.beside) for each in found[20:]]) > 0.5, "the third goes on"
    (line,) = [line for line in said if line.startswith("b: ")]
    expected = {
        "stalls": "b: has given no picture for 0.",
        "fails": "b: webcam: stopped giving pictures; was it unplugged?; the others go on",
        "ends": "b: ended; the others go on without it",
    }[then]
    assert expected in line
    assert WAIT_S < 0.05


class Hung(Camera30):
    """Its driver gives no picture, and does not end either."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.release = threading.Event()

    def __next__(self) -> Frame:
        self.release.wait(120.0)
        raise StopIteration

    def close(self) -> None:
        pass


def test_a_hung_camera_is_waited_for_once_and_left_behind_by_closing() -> None:
    camera = Hung("b")
    found: list[Frame | None] = []

    def ask_and_close() -> None:
        companion = LiveCompanion(camera, print)
        found.append(companion.at(STEP_NS, time.monotonic() + 0.05))
        found.append(companion.at(2 * STEP_NS, time.monotonic() + 90.0))
        companion.close()

    asking = threading.Thread(target=ask_and_close, daemon=True)
    asking.start()
    asking.join(30.0)  # It takes a second; waiting again would take 90.
    assert not asking.is_alive()
    assert found == [None, None]
    camera.release.set()


def test_the_first_camera_ends_the_rig() -> None:
    cameras = Camera30("a", then="fails", after=5), Camera30("b")
    with RigSource(cameras[0], cameras[1:], print) as source:
        assert len([next(source) for _ in range(5)]) == 5
        with pytest.raises(SourceError, match="unplugged"):
            next(source)


def test_a_rig_of_files_is_paced_as_one(make_video: Callable[..., Path]) -> None:
    paths = [make_video(6, name=name) for name in ("left.mp4", "right.mp4")]
    opened = [open_source(f"video:{path}") for path in paths]
    with PacedSource(RigSource(opened[0], opened[1:], print)) as source:
        assert len(cameras_of(source)) == 2
        found = list(source)
    assert [len(each.beside) for each in found] == [1] * 6
    assert all(each.beside[0].t_ns == each.t_ns for each in found)
    assert found[0].t_ns > 1_000_000_000
