"""Hand-over between threads: the newest value, or every value; and nothing waits for ever."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from streams.bounded_queue import BoundedQueue
from streams.mailbox import Mailbox, SeamClosedError

WAIT = 20.0
"""Seconds: far longer than anything here takes, so that a slow machine does not fail it."""


def test_mailbox_shows_the_newest_and_counts_what_was_skipped() -> None:
    box: Mailbox[str] = Mailbox()
    assert box.newest() is None
    for value in "abc":
        box.put(value)
    letter = box.wait(0.0)
    assert (letter.value, letter.seq) == ("c", 2)
    assert box.newest() is letter
    assert letter.age_ns(letter.put_ns + 7) == 7
    assert letter.age_ns() >= 0
    with pytest.raises(TimeoutError, match="mailbox: expected a new value within 0 s"):
        box.wait(0.0, after=letter.seq)


def test_mailbox_wakes_a_waiting_reader() -> None:
    box: Mailbox[int] = Mailbox()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(box.wait, WAIT)
        time.sleep(0.01)
        box.put(5)
        assert reading.result(WAIT).value == 5


def test_mailbox_under_many_readers_never_goes_back() -> None:
    box: Mailbox[int] = Mailbox()

    def read() -> list[int]:
        seen, after = [], -1
        while True:
            try:
                letter = box.wait(WAIT, after)
            except SeamClosedError:
                return seen
            assert letter.value == letter.seq
            seen.append(letter.value)
            after = letter.seq

    with ThreadPoolExecutor(4) as pool:
        readings = [pool.submit(read) for _ in range(4)]
        for value in range(2000):
            box.put(value)
        box.close()
        for reading in readings:
            seen = reading.result(WAIT)
            assert seen == sorted(set(seen))
            assert seen[-1] == 1999  # the last one is still read after close


def test_mailbox_hands_over_the_workers_exception() -> None:
    box: Mailbox[int] = Mailbox("tracker")
    box.put(1)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(box.wait, WAIT, 0)
        box.fail(OSError("unplugged"))
        with pytest.raises(OSError, match="unplugged"):
            reading.result(WAIT)
    box.fail(OSError("later"))
    with pytest.raises(OSError, match="unplugged"):
        box.newest()
    with pytest.raises(SeamClosedError, match="tracker: closed"):
        box.put(2)


def test_closed_mailbox() -> None:
    box: Mailbox[int] = Mailbox()
    box.close()
    box.close()
    assert box.closed
    with pytest.raises(SeamClosedError, match="nothing more will come"):
        box.wait(WAIT)


def test_queue_loses_nothing_and_keeps_the_order() -> None:
    queue: BoundedQueue[int] = BoundedQueue(3)

    def write() -> None:
        for value in range(3000):
            queue.put(value, WAIT)
            assert len(queue) <= 3
        queue.close()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        assert list(queue.drain(WAIT)) == list(range(3000))
        writing.result(WAIT)


def test_many_writers_and_readers_share_a_queue() -> None:
    queue: BoundedQueue[int] = BoundedQueue(2)

    def write(start: int) -> None:
        for value in range(start, start + 500):
            queue.put(value, WAIT)

    with ThreadPoolExecutor(5) as pool:
        writers = [pool.submit(write, n * 500) for n in range(3)]
        readers = [pool.submit(lambda: list(queue.drain(WAIT))) for _ in range(2)]
        for writer in writers:
            writer.result(WAIT)
        queue.close()
        got = [reader.result(WAIT) for reader in readers]
    assert sorted(got[0] + got[1]) == list(range(1500))


def test_full_and_empty_queues_do_not_wait_for_ever() -> None:
    queue: BoundedQueue[int] = BoundedQueue(1, "frames")
    with pytest.raises(TimeoutError, match="frames: expected a value within 0 s"):
        queue.get(0.0)
    queue.put(1, 0.0)
    with pytest.raises(TimeoutError, match="frames: expected room within 0 s"):
        queue.put(2, 0.0)
    assert queue.get(0.0) == 1


def test_closing_a_queue_keeps_what_is_in_it() -> None:
    queue: BoundedQueue[int] = BoundedQueue(4)
    queue.put(1, 0.0)
    queue.close()
    with pytest.raises(SeamClosedError):
        queue.put(2, 0.0)
    assert list(queue.drain(0.0)) == [1]
    with pytest.raises(SeamClosedError, match="closed and empty"):
        queue.get(0.0)


def test_a_failed_worker_is_heard_after_its_last_value() -> None:
    queue: BoundedQueue[int] = BoundedQueue(4)
    queue.put(1, 0.0)
    queue.fail(ValueError("broken frame"))
    got = []
    with pytest.raises(ValueError, match="broken frame"):  # noqa: PT012 - what came before counts
        for value in queue.drain(0.0):
            got.append(value)
    assert got == [1]


@pytest.mark.parametrize("end", ["abandon", "close", "fail"])
def test_a_writer_who_waits_for_room_is_woken_when_the_queue_ends(end: str) -> None:
    queue: BoundedQueue[int] = BoundedQueue(1)
    queue.put(1, 0.0)
    started = threading.Event()

    def write() -> None:
        started.set()
        queue.put(2, WAIT)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        assert started.wait(WAIT)
        queue.fail(OSError()) if end == "fail" else getattr(queue, end)()
        with pytest.raises(SeamClosedError):
            writing.result(WAIT)
    assert len(queue) == (0 if end == "abandon" else 1)
    assert queue.closed


def test_a_queue_has_room_for_something() -> None:
    with pytest.raises(ValueError, match=r"BoundedQueue\.capacity: expected at least 1, got 0"):
        BoundedQueue(0)
