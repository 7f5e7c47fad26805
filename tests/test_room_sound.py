"""Voice in a room: what comes out of Opus, what a loss sounds like, and whether lips fit."""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt
import pytest

from headset.rooms.opus_sound import FADE, FRAME, RATE, OpusDecoder, OpusEncoder
from headset.rooms.playout import PlayoutDelay, SoundPlayout
from headset.rooms.room_message import SoundPacket
from streams.audio_block import AudioBlock

LIPS_NS = 45_000_000
"""ITU-R BT.1359-1: from where on sound that leads is noticed."""
MS = 1_000_000


def voice(seconds: float, rate: int, seed: int = 0) -> npt.NDArray[np.int16]:
    """(N,) a voiced sound of changing pitch, in syllables four times a second."""
    t = np.arange(round(seconds * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(130.0 + 30.0 * np.sin(2 * np.pi * 0.7 * t + seed)) / rate
    tone = sum(np.sin(k * pitch) / k for k in range(1, 12))
    return np.round(6000.0 * tone * np.sin(np.pi * 4.0 * t) ** 2).astype(np.int16)


def packets_of(
    samples: npt.NDArray[np.int16], rate: int, start_ns: int = 0, twice: bool = False
) -> list[SoundPacket]:
    """As a microphone's blocks of 10 to 100 ms would give them."""
    encoder, rng, at, out = OpusEncoder(), np.random.default_rng(1), 0, []
    while at < len(samples):
        block = samples[at : at + int(rng.integers(rate // 100, rate // 10))]
        t_ns = start_ns + at * 1_000_000_000 // rate
        out += encoder.encode(AudioBlock(t_ns, "test", rate, block[:, None].copy()), twice)
        at += len(block)
    return out


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_sound_comes_out_at_its_time(rate: int) -> None:
    """Clicks come out where a packet's time says, within a millisecond, and voice sounds alike."""
    samples = voice(1.0, rate)
    packets = packets_of(samples, rate, 5_000_000_000)
    assert [packet.number for packet in packets] == list(range(len(packets)))
    decoder = OpusDecoder()
    heard = np.concatenate([decoder.decode(packet.packet) for packet in packets])
    times = packets[0].t_ns / 1e9 + np.arange(len(heard)) / RATE
    wanted = np.interp(times, 5.0 + np.arange(len(samples)) / rate, samples)
    calm = slice(RATE // 10, -RATE // 50)
    shifts = range(-96, 97)
    fits = [np.corrcoef(np.roll(heard, -s)[calm], wanted[calm])[0, 1] for s in shifts]
    assert abs(shifts[int(np.argmax(fits))]) <= RATE // 1000
    assert max(fits) > 0.8
    sizes = sum(len(packet.packet) for packet in packets)
    assert sizes * 8 / 1.0 < 30_000


def test_what_is_lost_is_never_louder_than_silence() -> None:
    """A missing packet fades within 5 ms from what was heard, then there is nothing; what comes
    after it fades in, and is itself again soon."""
    packets = packets_of(voice(4.0, RATE), RATE)
    whole, decoder = OpusDecoder(), OpusDecoder()
    rng = np.random.default_rng(3)
    clean = [whole.decode(packet.packet) for packet in packets]
    last, since = np.zeros(FRAME, np.int16), 0
    for packet, good in zip(packets, clean, strict=True):
        if rng.random() < 0.3:
            heard, since = decoder.lost(), 0
            assert np.abs(heard).max() <= np.abs(last[-FADE:].astype(int)).max()
            assert not heard[FADE:].any()
            assert np.all(np.abs(heard[:FADE].astype(int)) <= np.abs(last[::-1][:FADE].astype(int)))
        else:
            heard, since = decoder.decode(packet.packet), since + 1
            loud = max(np.abs(clean[max(0, packet.number - 1)]).max(), np.abs(good).max())
            assert np.abs(heard).max() <= 1.5 * loud + 300
            if since > 12:
                assert np.corrcoef(heard, good)[0, 1] > 0.9 or np.abs(good).max() < 300
        last = heard


def test_damaged_packets_count_as_lost() -> None:
    packets, rng, decoder = (
        packets_of(voice(1.0, RATE), RATE),
        np.random.default_rng(0),
        OpusDecoder(),
    )
    for _ in range(300):
        data = bytearray(packets[int(rng.integers(len(packets)))].packet)
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        heard = decoder.decode(bytes(data[: int(rng.integers(1, len(data) + 1))]))
        assert heard.shape == (FRAME,)
        assert heard.dtype == np.int16


def test_a_packet_after_a_lost_one_mends_it() -> None:
    """With packets sent twice single losses change nothing at all."""
    packets = packets_of(voice(2.0, RATE), RATE, 1_000_000_000, twice=True)
    kept = [packet for packet in packets if packet.number % 5 != 3]
    first, second = SoundPlayout(PlayoutDelay()), SoundPlayout(PlayoutDelay())
    lines = []
    for playout, chosen in ((first, packets), (second, kept)):
        arrivals = {packet.number: packet for packet in chosen}
        line = []
        for number in range(len(packets)):
            if number in arrivals:
                packet = arrivals[number]
                playout.put(packet, packet.t_ns, packet.t_ns + 20 * MS)
            line.append(playout.take(FRAME, packets[0].t_ns + number * 20 * MS + 10 * MS))
        lines.append(np.concatenate(line))
    assert second.mended >= 15
    assert second.concealed == 0
    assert np.array_equal(lines[0], lines[1])


@pytest.mark.parametrize(("jitter_ms", "loss"), [(10.0, 0.0), (40.0, 0.03), (80.0, 0.1)])
def test_lips_and_voice_stay_together(jitter_ms: float, loss: float) -> None:
    """Sound and codes over a network that delays each packet on its own; another clock at the
    sender; a microphone whose clock runs 200 ppm fast. Where there is sound, it is within 45 ms of
    the code that is shown."""
    rng, seconds = np.random.default_rng(7), 20.0
    fast = 1.0002
    samples = voice(seconds, RATE)
    packets = packets_of(samples, RATE)
    events: list[tuple[int, int, int | tuple[SoundPacket, int]]] = []
    alive: list[int] = []
    for k, packet in enumerate(packets):
        if rng.random() >= loss:
            seen_ns = round(packet.t_ns / fast)
            came = seen_ns + round(1e6 * (25.0 + rng.exponential(jitter_ms / 2)))
            heapq.heappush(events, (came, k, (packet, seen_ns)))
    for k in range(round(seconds * 30)):
        if rng.random() >= loss:
            t_ns = round(k * 1e9 / 30)
            alive.append(t_ns)
            came = t_ns + round(1e6 * (70.0 + rng.exponential(jitter_ms / 2)))
            heapq.heappush(events, (came, len(packets) + k, t_ns))
    delay = PlayoutDelay()
    playout = SoundPlayout(delay)
    waiting: list[int] = []
    shown_ns, apart, behind = -1, [], 0
    for now in range(0, round(seconds * 1e9), 10 * MS):
        while events and events[0][0] <= now:
            came, _, what = heapq.heappop(events)
            if isinstance(what, tuple):
                playout.put(what[0], what[1], came)
            else:
                delay.arrived("code", what, came)
                waiting.append(what)
        content = now - delay.delay_ns(now)
        due = [t_ns for t_ns in waiting if t_ns <= content]
        shown_ns = max([shown_ns, *due])
        waiting = [t_ns for t_ns in waiting if t_ns > content]
        line = playout.take(RATE // 100, now)
        if now < 2_000_000_000:
            continue  # the first packets tell how long to wait
        if np.abs(line).max() > 500:
            apart.append(playout.apart_ns)
            # The code of this very moment, or the one before it, is shown.
            behind += shown_ns < max(t_ns for t_ns in alive if t_ns <= content)
    assert len(apart) > 800
    assert behind <= 0.05 * len(apart)
    assert np.abs(apart).max() <= LIPS_NS
    assert np.percentile(np.abs(apart), 95) <= 31 * MS
    assert playout.lost_share <= loss + 0.06


def test_a_loudspeaker_that_slept_is_back_in_time_at_once() -> None:
    """Nobody takes sound for three seconds while it comes; and a sender who stops and goes on."""
    delay = PlayoutDelay()
    playout = SoundPlayout(delay)
    packets = packets_of(voice(8.0, RATE), RATE, 1_000_000_000)
    heard = []
    for number, packet in enumerate(packets):
        now = packet.t_ns + 20 * MS
        if not 250 <= number < 290:
            playout.put(packet, packet.t_ns, now)
        if number < 50 or number > 200:
            # Now and then the loudspeaker asks late, which must not be heard late.
            line = playout.take(FRAME, now + (70 * MS if number % 37 == 0 else 0))
            assert not line.any() or abs(playout.apart_ns) <= LIPS_NS
            if 203 <= number < 248 or number > 295:
                heard.append(np.abs(line).max() > 500)
            if 256 <= number < 290:
                assert not line.any()
    assert np.mean(heard) > 0.7
