"""Flow control on a simulated link, with a simulated clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from headset.webxr.client_messages import Capability, Payload
from headset.webxr.flow_control import (
    LADDER,
    MS,
    SECOND,
    FlowControl,
    FlowOptions,
    PayloadChoice,
    Rung,
    Sources,
)

FPS = 30
MESH_BYTES = 5_000
ALL = Capability(127)


@dataclass
class Link:
    """A pipe: `rate(t_ns)` bits a second (0: nothing moves), a delay each way, in order."""

    rate: Callable[[int], float]
    delay_ns: int = 5 * MS
    free_ns: int = 0
    arrivals: list[tuple[int, int]] = field(default_factory=list)

    def send(self, frame_id: int, size: int, now_ns: int) -> None:
        at = max(now_ns, self.free_ns)
        left = 8.0 * size
        while left > 0:  # in steps of a millisecond
            left -= self.rate(at) * 1e-3
            at += MS
        self.free_ns = at
        self.arrivals.append((at + self.delay_ns, frame_id))


@dataclass
class Run:
    """What a run told, a row a moment."""

    flow: FlowControl
    in_flight: list[int] = field(default_factory=list)
    rungs: list[tuple[float, int]] = field(default_factory=list)
    ages: list[tuple[float, float]] = field(default_factory=list)
    """(seconds, milliseconds from the observation to the display) of what was displayed."""

    def age_at(self, start_s: float, end_s: float) -> float:
        """The median age."""
        return float(np.median([age for t, age in self.ages if start_s <= t < end_s]))


def simulate(
    link: Link,
    seconds: float,
    flow: FlowControl | None = None,
    size: Callable[[Rung], float] | None = None,
) -> Run:
    """A source of FPS, a page that draws each 11 ms what has come, acknowledgements at once."""
    run = Run(flow or FlowControl())
    made: dict[int, int] = {}
    frame_id = observed = 0
    for t_ms in range(round(seconds * 1000)):
        now = t_ms * MS
        if t_ms % 11 == 0:
            come = [k for at, k in link.arrivals if at <= now]
            if come:
                newest = max(come)
                link.arrivals = [(at, k) for at, k in link.arrivals if at > now]
                run.flow.displayed(newest, now + link.delay_ns)
                run.ages.append((t_ms / 1000, (now - made[newest]) / MS))
        if int(t_ms * FPS / 1000) > observed:
            observed = int(t_ms * FPS / 1000)
            if run.flow.may_send(now):
                frame_id += 1
                made[frame_id] = now
                step = run.flow.step
                texture = step.bits_s / 8 / FPS if size is None else size(step)
                run.flow.sent(frame_id, now, run.flow.key_needed)
                link.send(frame_id, round(MESH_BYTES + texture), now)
        if t_ms % 1000 == 0:  # an echo, which waits behind what is on the way
            run.flow.round_trip(max(link.free_ns - now, 0) + 2 * link.delay_ns, now)
        run.in_flight.append(run.flow.in_flight)
        run.rungs.append((t_ms / 1000, run.flow.rung))
    return run


def steady(mbit_s: float) -> Callable[[int], float]:
    return lambda _t: mbit_s * 1e6


def test_a_good_link_climbs_to_the_top_and_stays() -> None:
    run = simulate(Link(steady(100)), 12)
    assert max(run.in_flight) <= 3
    assert run.flow.rung == 0
    assert run.age_at(5, 12) < 30


def test_a_narrow_link_steps_down_until_it_fits() -> None:
    run = simulate(Link(steady(3)), 20)
    assert max(run.in_flight) <= 3
    kept = [rung for t, rung in run.rungs if t > 8]
    # 1.2 Mbit/s of meshes leave 1.8 for textures.
    assert all(LADDER[rung].bits_s <= 2_000_000 for rung in kept)
    assert run.age_at(8, 20) < 150


def test_a_failed_step_up_doubles_the_wait() -> None:
    run = simulate(Link(steady(3)), 90)
    rungs = np.array([rung for _, rung in run.rungs])
    ups = np.nonzero(np.diff(rungs) < 0)[0] / 1000.0
    waits = np.diff(ups)
    assert len(ups) >= 3
    assert len(ups) < 12  # a step each 3 s would be 30
    assert waits[-1] > 2.0 * waits[0] or waits.max() > 10.0


@pytest.mark.parametrize("stall_s", [0.08, 0.5, 2.0])
def test_age_recovers_within_a_second_after_a_stall(stall_s: float) -> None:
    start, end = 5.0, 5.0 + stall_s

    def rate(t_ns: int) -> float:
        return 0.0 if start <= t_ns / SECOND < end else 20e6

    run = simulate(Link(rate), end + 3)
    assert max(run.in_flight) <= 3
    usual = run.age_at(3, 5)
    assert run.age_at(end + 1.0, end + 3) < usual + 40
    # What waited is shown, then frames are as fresh as before.
    after = [age for t, age in run.ages if end + 0.5 <= t]
    assert max(after) < usual + 60


def test_a_short_stall_is_no_reason_to_step_down() -> None:
    def rate(t_ns: int) -> float:
        return 0.0 if (t_ns // MS) % 2000 < 80 else 40e6

    run = simulate(Link(rate), 15)
    assert max(rung for _, rung in run.rungs) <= 1


def test_the_ladder_goes_up_again_when_the_link_does() -> None:
    def rate(t_ns: int) -> float:
        return 2e6 if t_ns < 6 * SECOND else 50e6

    run = simulate(Link(rate), 60)
    assert max(rung for t, rung in run.rungs if t < 6) >= 3
    assert run.flow.rung <= 1


def test_the_same_run_is_the_same() -> None:
    first, second = (simulate(Link(steady(4)), 15) for _ in range(2))
    assert (first.rungs, first.ages) == (second.rungs, second.ages)


def test_acknowledging_a_frame_acknowledges_those_before() -> None:
    flow = FlowControl()
    for frame_id in (1, 2, 3):
        assert flow.may_send(0)
        flow.sent(frame_id, frame_id * MS)
    assert not flow.may_send(4 * MS)
    with pytest.raises(ValueError, match="3 frames"):
        flow.sent(4, 4 * MS)
    assert flow.displayed(2, 10 * MS) == 8 * MS
    assert flow.in_flight == 1
    assert flow.displayed(2, 11 * MS) is None
    assert flow.displayed(99, 12 * MS) is None
    assert flow.in_flight == 0


def test_a_key_is_needed_first_and_when_asked_for() -> None:
    flow = FlowControl()
    assert flow.key_needed
    flow.sent(1, 0, key=False)
    assert flow.key_needed
    flow.sent(2, 1, key=True)
    assert not flow.key_needed
    flow.sent(3, 2)
    flow.need_key(received=2)
    assert flow.key_needed
    assert flow.in_flight == 1  # the third one is still on the way
    flow.sent(4, 3, key=True)
    assert not flow.key_needed


def test_a_hidden_page_is_not_a_slow_one() -> None:
    flow = FlowControl()
    for frame_id in (1, 2, 3):
        flow.sent(frame_id, 0)
    before = flow.rung
    for second in range(6, 60):
        assert not flow.may_send(second * SECOND)
    assert flow.rung == before


def test_a_starved_link_gets_codes_and_tries_geometry_again() -> None:
    choice, both = PayloadChoice(retry_ns=10 * SECOND), Sources(mesh=True, code=True)

    def chosen(starved: bool, second: float, wish: Payload = Payload.AUTO) -> Payload | None:
        return choice.choose(ALL, both, wish, starved, round(second * SECOND))

    assert chosen(False, 0) is Payload.GEOMETRY
    assert chosen(True, 1) is Payload.CODE
    assert chosen(False, 5) is Payload.CODE
    assert chosen(False, 11.5) is Payload.GEOMETRY
    assert chosen(True, 12) is Payload.CODE  # and now for twice as long
    assert chosen(False, 23) is Payload.CODE
    assert chosen(False, 32.5) is Payload.GEOMETRY
    assert chosen(False, 33, Payload.CODE) is Payload.CODE


def test_payloads_are_what_page_and_server_both_can() -> None:
    now = 0
    every = Sources(mesh=True, code=True, video=True)
    cases = [
        (ALL, Sources(), Payload.AUTO, None),
        (ALL, every, Payload.AUTO, Payload.GEOMETRY),
        (ALL, every, Payload.VIDEO, Payload.VIDEO),
        (ALL, Sources(code=True), Payload.GEOMETRY, Payload.CODE),
        (Capability.VIDEO, every, Payload.AUTO, Payload.VIDEO),
        (Capability.CODE, every, Payload.AUTO, Payload.CODE),
        (Capability(0), every, Payload.AUTO, None),
    ]
    for can, sources, wish, expected in cases:
        assert PayloadChoice().choose(can, sources, wish, False, now) is expected


def test_starvation_is_told_on_the_lowest_rung_only() -> None:
    link = Link(steady(0.6), delay_ns=20 * MS)
    flow = FlowControl(FlowOptions())
    run = simulate(link, 12, flow)
    assert flow.rung == len(LADDER) - 1
    assert flow.starved(12 * SECOND)
    assert max(run.in_flight) <= 3
    good = FlowControl()
    simulate(Link(steady(50)), 5, good)
    assert not good.starved(5 * SECOND)


def test_lost_datagrams_do_not_stop_the_stream() -> None:
    flow = FlowControl()
    for frame_id in (1, 2, 3):
        flow.sent(frame_id, frame_id * MS, lossy=True)
    assert not flow.may_send(100 * MS)
    assert flow.may_send(201 * MS)
    assert flow.in_flight == 2
    # What goes through the socket arrives: it is waited for.
    flow = FlowControl()
    for frame_id in (1, 2, 3):
        flow.sent(frame_id, frame_id * MS)
    assert not flow.may_send(SECOND)
    assert flow.in_flight == 3
