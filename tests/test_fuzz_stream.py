"""A few of the mutated messages of benchmarks/fuzz_stream.py: the decoder, and the real server."""

from __future__ import annotations

import pytest

from benchmarks.fuzz_stream import fuzz_decoder, fuzz_server, mutated, read, sound_messages


def test_the_decoder_reads_or_refuses():
    found = fuzz_decoder(0, 4000)
    assert found.failures == []
    assert found.outcomes["read"] > 100
    assert found.outcomes["refused"] > 1000


def test_sound_messages_are_read_and_mutations_are_always_the_same():
    seeds = sound_messages()
    assert [read(seed) for seed in seeds].count("read") == len(seeds) - 1  # a second hello
    assert mutated(seeds, 7) == mutated(seeds, 7)
    assert len({mutated(seeds, number) for number in range(100)}) > 95


def test_the_server_ends_bad_links_and_no_other(capsys: pytest.CaptureFixture[str]):
    served, trips, lines = fuzz_server(0, 120)
    assert served.failures == []
    assert served.outcomes == fuzz_decoder(0, 120).outcomes
    assert len(trips) >= 1
    assert not [line for line in lines if "failed" in line or "fault" in line]
