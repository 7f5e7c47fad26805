"""A remote clock: the error bound holds, whatever the network does."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.clock import Echo, RemoteClock, RemoteClockOptions, now_ns

DELAYS = st.integers(1_000, 80_000_000)
SECOND = 1_000_000_000


@settings(max_examples=200)
@given(
    offset=st.integers(-(10**17), 10**17),
    drift_ppm=st.floats(-90, 90),
    exchanges=st.lists(st.tuples(st.integers(0, SECOND), DELAYS, DELAYS), min_size=1, max_size=100),
    ask_after=st.integers(-SECOND, 5 * SECOND),
)
def test_the_bound_holds_under_jitter_asymmetry_and_drift(
    offset: int, drift_ppm: float, exchanges: list[tuple[int, int, int]], ask_after: int
) -> None:
    def remote_of(local_ns: int) -> int:
        return local_ns + offset + int(local_ns * drift_ppm * 1e-6)

    clock = RemoteClock()
    now = 0
    for pause, there, back in exchanges:
        sent = now + pause
        clock.add(Echo(sent, remote_of(sent + there), sent + there + back))
        now = sent + there + back
    at = now + ask_after
    truth = remote_of(at) - at
    assert abs(clock.offset_ns(at) - truth) <= clock.error_bound_ns(at)
    assert abs(clock.remote_from_local(at) - remote_of(at)) <= clock.error_bound_ns(at)
    # Mapping back may choose another exchange: it is off by that one's bound.
    mapped = clock.local_from_remote(remote_of(at))
    assert abs(mapped - at) <= clock.error_bound_ns(mapped) + 1_000


def test_the_shortest_round_trip_is_believed() -> None:
    clock = RemoteClock()
    clock.add(Echo(0, 1_000_000 + 9_000, 10_000))  # slow and lopsided
    clock.add(Echo(20_000, 1_000_000 + 20_050, 20_100))
    clock.add(Echo(30_000, 1_000_000 + 39_000, 40_000))
    assert clock.offset_ns(40_000) == 1_000_000
    assert clock.error_bound_ns(40_000) <= 55


def test_the_bound_grows_with_age() -> None:
    clock = RemoteClock(RemoteClockOptions(drift_ppm=100))
    clock.add(Echo(0, 500, 1000))
    assert clock.error_bound_ns(500) == 501
    assert clock.error_bound_ns(500 + SECOND) == 501 + 100_000


def test_a_remote_clock_that_was_set_is_noticed() -> None:
    clock = RemoteClock()
    clock.add(Echo(0, 50, 100))
    clock.add(Echo(1000, 1050 + 3600 * SECOND, 1100 + 5000))
    assert clock.offset_ns(1000) == pytest.approx(3600 * SECOND, abs=5000)


def test_nothing_is_mapped_before_the_first_exchange() -> None:
    clock = RemoteClock()
    assert not clock.synchronised
    with pytest.raises(ValueError, match="RemoteClock: expected at least one echo exchange"):
        clock.local_from_remote(0)


def test_old_exchanges_are_forgotten() -> None:
    clock = RemoteClock(RemoteClockOptions(window=4))
    for i in range(10):
        clock.add(Echo(i * 1000, i * 1000, i * 1000))
    assert clock.synchronised
    assert clock.error_bound_ns(0) >= 1  # the one at 6000 is the oldest
    with pytest.raises(ValueError, match=r"Echo\.received_ns: expected at least sent_ns"):
        Echo(5, 0, 4)
    with pytest.raises(ValueError, match=r"Echo\.remote_ns: expected int nanoseconds"):
        Echo(0, 0.5, 1)  # pyright: ignore[reportArgumentType]


def test_now_is_the_monotonic_clock() -> None:
    before, now, after = time.monotonic_ns(), now_ns(), time.monotonic_ns()
    assert before <= now <= after
