"""The wiring, with stand-in stages: order, loss, failures, taps, shutdown."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from apps.meter import Meter
from apps.pacing import PacedSource
from apps.pipeline import Pipeline, PipelineOptions, Stages, Taps
from streams.avatar_code import AvatarCode
from streams.camera import Camera
from streams.clock import now_ns
from streams.frame import Frame
from streams.image import Image
from streams.mesh_texture import MeshTexture
from streams.topology import Topology
from streams.tracked_state import TrackedState
from streams.view import View

CAMERA = Camera.from_fov((32, 24))
NOTHING = Topology(
    "nothing",
    np.zeros((0, 3), np.int32), np.zeros((0, 2), np.float32), np.zeros(0, np.uint8),
    np.zeros((1, 1, 4), np.uint8),
)  # fmt: skip
GAZE = np.tile(np.array([0, 0, 1], np.float32), (2, 1))


class Film:
    """`count` frames at 25 a second, failing after `fails_after`."""

    live = False
    damaged = 0
    camera = CAMERA
    fps = 25.0

    def __init__(self, count: int, fails_after: int = 10**9, wait_s: float = 0.0) -> None:
        self.count, self.fails_after, self.wait_s = count, fails_after, wait_s
        self.seq = 0
        self.closed_by: list[str] = []

    def __iter__(self):
        return self

    def __next__(self) -> Frame:
        if self.seq >= self.fails_after:
            raise ConnectionResetError("the camera burned down")
        if self.seq >= self.count or self.closed_by:
            raise StopIteration
        time.sleep(self.wait_s)
        seq, self.seq = self.seq, self.seq + 1
        rgb = np.full((24, 32, 3), seq % 256, np.uint8)
        return Frame(seq * 40_000_000, seq, CAMERA, rgb)

    def close(self) -> None:
        self.closed_by.append(threading.current_thread().name)

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Worker:
    """Tracker, avatar and renderer in one, each with its own pace and faults."""

    track_s: float = 0.0
    decode_s: float = 0.0
    track_fails_at: int = -1
    decode_fails_at: int = -1
    threads: dict[str, set[str]] = field(default_factory=dict)

    def _here(self, stage: str) -> None:
        self.threads.setdefault(stage, set()).add(threading.current_thread().name)

    def track(self, frame: Frame) -> TrackedState:
        self._here("track")
        if frame.seq == self.track_fails_at:
            raise RuntimeError("tracking fell over")
        time.sleep(self.track_s)
        return TrackedState(frame.t_ns, "test")

    def encode(self, state: TrackedState, frame: Frame | None = None) -> AvatarCode:
        self._here("encode")
        none = np.zeros(0, np.float32)
        return AvatarCode(state.t_ns, "test", none, none, GAZE, None)

    def decode(self, code: AvatarCode, view: View | None = None) -> MeshTexture:
        time.sleep(self.decode_s)
        if code.t_ns == self.decode_fails_at * 40_000_000:
            raise ValueError("no such code")
        none = np.zeros((0, 3), np.float32)
        return MeshTexture(code.t_ns, NOTHING, none, none, np.zeros((1, 1, 3), np.uint8))

    def draw(self, mesh: MeshTexture, view: View, panels=()) -> Image:
        self._here("draw")
        width, height = view.size
        rgba = np.zeros((height, width, 4), np.uint8)
        return Image(mesh.t_ns, view, rgba, np.zeros((height, width), np.float32))


def _stages(film, worker: Worker) -> Stages:
    return Stages(film, worker, worker, worker.draw, lambda f: View.from_camera(CAMERA, f.t_ns))


LOSSLESS = PipelineOptions(lossless=True, timeout_s=5.0, join_s=5.0)
LIVE = PipelineOptions(timeout_s=5.0, join_s=5.0)


def _no_threads_left() -> bool:
    return not any(t.name.startswith("visavis") for t in threading.enumerate())


@pytest.mark.parametrize("options", [LOSSLESS, PipelineOptions(threads=False)])
def test_every_frame_arrives_in_order(options):
    film, worker = Film(60), Worker(track_s=0.001, decode_s=0.002)
    with Pipeline(_stages(film, worker), options) as pipeline:
        drawn = list(pipeline)
    assert [d.frame.seq for d in drawn] == list(range(60))
    for d in drawn:
        assert d.image is not None
        assert d.frame.t_ns == d.state.t_ns == d.code.t_ns == d.image.t_ns == d.view.t_ns
    assert pipeline.ended
    assert _no_threads_left()


def test_drawing_stays_in_the_calling_thread_and_the_source_in_its_own():
    film, worker = Film(5), Worker()
    with Pipeline(_stages(film, worker), LOSSLESS) as pipeline:
        list(pipeline)
    assert worker.threads["draw"] == {threading.current_thread().name}
    assert worker.threads["track"] == {"visavis tracking"}
    assert worker.threads["encode"] == {"visavis avatar"}
    assert film.closed_by == ["visavis source"]


def test_lossless_memory_is_bounded_by_the_slowest_stage():
    film, worker = Film(10_000), Worker(decode_s=0.01)
    with Pipeline(_stages(film, worker), LOSSLESS) as pipeline:
        for count, drawn in enumerate(pipeline):
            # Two queues of two, and one frame in each stage's hands.
            assert film.seq - drawn.frame.seq <= 3 * LOSSLESS.capacity + 4
            if count == 20:
                break
    assert film.seq < 60
    assert _no_threads_left()


def test_live_shows_the_newest_and_skips_the_rest():
    paced = PacedSource(Film(40))
    worker = Worker(track_s=0.09)
    ages = []
    with Pipeline(_stages(paced, worker), LIVE) as pipeline:
        seqs = []
        for drawn in pipeline:
            seqs.append(drawn.frame.seq)
            ages.append(drawn.age_ms)
    assert seqs == sorted(set(seqs))
    assert 3 <= len(seqs) < 40
    # No queue builds up: the last picture is no older than two rounds of the slowest stage.
    assert ages[-1] < 600


@pytest.mark.parametrize("options", [LOSSLESS, LIVE, PipelineOptions(threads=False)])
@pytest.mark.parametrize(
    ("film", "worker", "kind", "words"),
    [
        (lambda: Film(9, fails_after=4), Worker(), ConnectionResetError, "burned down"),
        (lambda: Film(9, wait_s=0.01), Worker(track_fails_at=0), RuntimeError, "fell over"),
        (lambda: Film(9, wait_s=0.01), Worker(decode_fails_at=0), ValueError, "no such code"),
    ],
)
def test_a_stages_exception_reaches_who_iterates(options, film, worker, kind, words):
    with pytest.raises(kind, match=words), Pipeline(_stages(film(), worker), options) as pipeline:
        list(pipeline)
    assert _no_threads_left()


def _collect(pipeline: Pipeline, drawn: list[int]) -> None:
    for one in pipeline:
        drawn.append(one.frame.seq)


def test_lossless_hands_on_what_came_before_the_failure():
    drawn = []
    with (
        pytest.raises(RuntimeError, match="fell over"),
        Pipeline(_stages(Film(20), Worker(track_fails_at=7)), LOSSLESS) as pipeline,
    ):
        _collect(pipeline, drawn)
    assert drawn == list(range(7))


def test_leaving_early_ends_the_threads():
    film = Film(10**6)
    with Pipeline(_stages(film, Worker()), LOSSLESS) as pipeline:
        next(iter(pipeline))
    assert _no_threads_left()
    assert film.closed_by


def test_an_interrupt_closes_everything():
    film = Film(10**6)

    def interrupt(_state: TrackedState) -> tuple[()]:
        raise KeyboardInterrupt

    stages = replace(_stages(film, Worker()), panels_of=interrupt)
    with pytest.raises(KeyboardInterrupt), Pipeline(stages, LOSSLESS) as pipeline:
        next(iter(pipeline))
    assert _no_threads_left()


def test_a_stage_that_hangs_is_an_error_not_a_hang():
    options = PipelineOptions(lossless=True, timeout_s=0.3, join_s=0.2)
    release = threading.Event()

    class Hangs(Worker):
        def track(self, frame: Frame) -> TrackedState:
            release.wait(20.0)
            return super().track(frame)

    try:
        with (
            pytest.raises(TimeoutError),
            Pipeline(_stages(Film(10), Hangs()), options) as pipeline,
        ):
            list(pipeline)
    finally:
        release.set()


def test_taps_hear_every_record():
    heard: dict[str, list[int]] = {name: [] for name in ("frame", "state", "code", "mesh", "image")}
    taps = Taps(
        frame=lambda x: heard["frame"].append(x.t_ns),
        state=lambda x: heard["state"].append(x.t_ns),
        code=lambda x: heard["code"].append(x.t_ns), mesh=lambda x: heard["mesh"].append(x.t_ns),
        image=lambda x: heard["image"].append(x.t_ns),
    )  # fmt: skip
    with Pipeline(_stages(Film(6), Worker()), LOSSLESS, taps) as pipeline:
        list(pipeline)
    assert all(times == [i * 40_000_000 for i in range(6)] for times in heard.values())


def test_costs_are_counted_a_stage():
    meter = Meter()
    with Pipeline(_stages(Film(8), Worker(track_s=0.01)), LOSSLESS, meter=meter) as pipeline:
        list(pipeline)
    costs = {cost.stage: cost for cost in meter.costs()}
    assert set(costs) == {"source", "tracking", "encode", "decode", "render"}
    assert costs["tracking"].frames == 8
    assert costs["tracking"].wall_median >= 9.0
    assert costs["tracking"].cpu_median < costs["tracking"].wall_median
    meter.clear()
    assert meter.costs() == ()


def test_pacing_restamps_and_starts_over():
    before = now_ns()
    rounds = iter([Film(3)])
    with PacedSource(Film(4), reopen=lambda: next(rounds)) as paced:
        frames = [next(paced) for _ in range(7)]
    assert [f.seq for f in frames] == list(range(7))
    steps = np.diff([f.t_ns for f in frames]) / 1e6
    assert frames[0].t_ns >= before
    assert (steps > 0).all()
    assert steps[:3] == pytest.approx([40.0] * 3, abs=0.01)
    assert paced.live


def test_closing_a_paced_source_wakes_it():
    class Slow(Film):
        def __next__(self) -> Frame:
            frame = super().__next__()
            return Frame(frame.t_ns * 100, frame.seq, CAMERA, frame.rgb)

    paced = PacedSource(Slow(10))
    next(paced)
    threading.Timer(0.1, paced.close).start()
    begun = time.monotonic()
    assert list(paced) in ([], [None]) or time.monotonic() - begun < 3.0
