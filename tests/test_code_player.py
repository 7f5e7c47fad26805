"""What the page shows of a code stream over time: frames as packets come, and what is shown in
their stead; and the stage that sends them."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.code_stream import CodeStream
from avatar.bitstream import BitstreamDecoder, BitstreamEncoder, BitstreamOptions
from avatar.page_decoder import page_decoder
from avatar.personal_avatar import PersonalAvatar
from headset.webxr.messages import SectionKind, code_tells_time, pack_code
from tests.page_decoding import SCRIPT, Json, gesturing, made_up_model, run_node, text

PLAYER = SCRIPT.with_name("player.mjs")
EVERY_MS, FRAME_MS = 33, 33
FIRST_MS = 5000
"""Of the sender's clock, where the packets' moments begin; they come from START_MS of the page's
on."""
START_MS = 1000
SLEW = 1.1 * FRAME_MS + 1e-6
"""Time goes by at most a tenth quicker, and as much slower."""


@pytest.fixture(scope="module")
def avatar() -> PersonalAvatar:
    return PersonalAvatar(made_up_model(1, glasses=False), "avatars/made/up")


@pytest.fixture(scope="module")
def decoder(avatar: PersonalAvatar, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("player") / "decoder"
    path.write_bytes(page_decoder(avatar))
    return path


@pytest.fixture(scope="module")
def packets(avatar: PersonalAvatar) -> list[bytes]:
    """Of 38 moments, each 33 ms after the one before, the first with a key."""
    encoder = BitstreamEncoder(avatar, BitstreamOptions(64.0))
    found = [encoder.encode(code) for code in gesturing(avatar, 38, 1)]
    return [packet for packet in found if packet is not None]


def played(decoder: Path, events: list[Json], **job: Any) -> Any:
    events = [{"atMs": 0, "decoder": str(decoder)}, *events]
    job = {"events": events, "part": int(SectionKind.CODE), **job}
    return run_node(PLAYER, decoder.parent, job)


def arriving(packets: list[bytes], lost: tuple[int, ...] = (), first: int = 0) -> list[Json]:
    return [
        {
            "atMs": START_MS + EVERY_MS * k, "packet": text(packet), "tMs": FIRST_MS + EVERY_MS * k,
        }
        for k, packet in enumerate(packets, first)
        if k not in lost
    ]  # fmt: skip


def require_python_shows(avatar: PersonalAvatar, events: list[Json], shown: list[Json]) -> None:
    """Each frame is what `BitstreamDecoder.at` gives of what had come before it."""
    receiver, waiting = BitstreamDecoder(avatar), list(events)
    receiver.decode(base64.b64decode(waiting.pop(0)["packet"]))  # which makes the first frame
    for frame in shown:
        while waiting and waiting[0]["atMs"] < frame["clockMs"]:
            receiver.decode(base64.b64decode(waiting.pop(0)["packet"]))
        code = receiver.at(1_000_000 * math.floor(frame["shownMs"]))
        assert code is not None
        assert receiver._newest is not None
        assert frame["concealed"] == (frame["shownMs"] > receiver._newest.t_ms)
        wanted = avatar.decode(code).vertices[:7000].mean(0)
        np.testing.assert_allclose(frame["place"], wanted, atol=1e-5)


def require_even_time(shown: list[Json]) -> None:
    steps = np.diff([frame["shownMs"] for frame in shown])
    assert (np.diff([frame["clockMs"] for frame in shown]) == FRAME_MS).all()
    assert (np.abs(steps - FRAME_MS) <= SLEW - FRAME_MS).all()


def test_frames_are_interpolated_between_packets(
    avatar: PersonalAvatar, decoder: Path, packets: list[bytes]
) -> None:
    assert len(packets) == 38
    events = arriving(packets)
    found = played(decoder, events)
    assert (found["fetched"], found["asked"], found["told"], found["left"]) == (1, [], [], 0)
    assert found["lossShare"] == 0.0
    require_even_time(found["shown"])
    require_python_shows(avatar, events, found["shown"])
    behind = [START_MS - FIRST_MS + f["shownMs"] - f["clockMs"] for f in found["shown"]]
    assert behind[0] == 0.0  # the first one is shown at once
    assert behind[-1] == pytest.approx(-1.1 * EVERY_MS, abs=1.0)
    assert not any(frame["concealed"] for frame in found["shown"][15:])


def test_what_is_missing_is_concealed(
    avatar: PersonalAvatar, decoder: Path, packets: list[bytes]
) -> None:
    events = arriving(packets, lost=(20, 21, 22))
    found = played(decoder, events)
    require_even_time(found["shown"])
    require_python_shows(avatar, events, found["shown"])
    concealed = [frame for frame in found["shown"][15:] if frame["concealed"]]
    assert 2 <= len(concealed) <= 3
    assert len({tuple(frame["place"]) for frame in concealed}) == len(concealed)  # it goes on
    assert 0.01 < found["lossShare"] < 0.1
    assert found["asked"] == []


def test_time_goes_on_evenly_when_packets_come_unevenly(
    avatar: PersonalAvatar, decoder: Path, packets: list[bytes]
) -> None:
    rng, events = np.random.default_rng(5), arriving(packets)
    at_ms = 0.0
    for event in events:
        at_ms = max(at_ms, event["atMs"] + float(rng.integers(0, 60)))
        event["atMs"] = at_ms
    found = played(decoder, events)
    require_even_time(found["shown"])
    require_python_shows(avatar, events, found["shown"])
    late = np.mean([frame["concealed"] for frame in found["shown"][20:]])
    assert late < 0.3


def test_after_a_second_of_silence_nothing_moves_any_more(
    decoder: Path, packets: list[bytes]
) -> None:
    quiet = [*arriving(packets[:10]), {"atMs": 9000}]
    shown = played(decoder, quiet)["shown"]
    assert 1000 <= shown[-1]["shownMs"] - (FIRST_MS + 9 * EVERY_MS) < 1000 + FRAME_MS
    again = [*quiet, *({**event, "atMs": 8000 + event["atMs"]} for event in arriving(packets)[10:])]
    assert played(decoder, again)["shown"][-1]["clockMs"] > 9900  # and then it goes on


def test_who_joins_amid_a_stream_asks_for_a_key_and_waits(
    decoder: Path, packets: list[bytes]
) -> None:
    found = played(decoder, arriving(packets[5:], first=5))
    first = {"clockMs": START_MS + 5 * EVERY_MS, "person": 3, "received": 1}
    assert found["asked"][0] == first
    assert len(found["asked"]) <= 2  # not at every packet
    assert 15 < len(found["shown"]) < 33  # whole after a period of the refresh


def test_damage_and_pauses_are_survived(decoder: Path, packets: list[bytes]) -> None:
    events = arriving(packets)
    events[10]["packet"] = text(b"\xff" + packets[10][1:])
    events[20]["pause"] = True
    found = played(decoder, events)
    assert len(found["told"]) == len(found["asked"]) == 1
    assert len(found["shown"]) >= 36


def test_a_decoder_that_cannot_be_read_is_told_once(decoder: Path, packets: list[bytes]) -> None:
    broken = decoder.with_name("broken")
    broken.write_bytes(decoder.read_bytes()[:5000])
    found = played(broken, arriving(packets))
    assert (found["fetched"], found["shown"]) == (1, [])
    assert len(found["told"]) == 1
    assert "cannot be decoded here" in found["told"][0]


def test_another_persons_eye_changes_the_colour_alone(decoder: Path, packets: list[bytes]) -> None:
    ahead, aside = (
        played(decoder, arriving(packets[:3]), eye=eye)["shown"][0]
        for eye in ([0.0, 0.0, 0.0], [2.0, 0.5, 0.0])
    )
    assert ahead["place"] == aside["place"]
    assert ahead["first"] != aside["first"]


def test_the_stage_sends_within_its_rate_and_keys_on_request(avatar: PersonalAvatar) -> None:
    sent: list[tuple[bytes, int]] = []
    stage = CodeStream(avatar, lambda packet, t_ns: sent.append((packet, t_ns)))
    codes = gesturing(avatar, 150, 2)
    for k, code in enumerate(codes):
        if k == 100:
            stage.need_key()
        stage.take(code)
    begun_ns = codes[0].t_ns + 10**9
    settled = [pack_code(0, 1, packet) for packet, t_ns in sent if t_ns >= begun_ns]
    seconds = (codes[-1].t_ns - begun_ns) / 1e9
    assert 15.0 < 8e-3 * sum(len(message) for message in settled) / seconds < 20.0
    assert all(code_tells_time(packet, t_ns) for packet, t_ns in sent)
    # As the packets of somebody in a room, whose machine has another clock.
    assert not any(code_tells_time(packet, t_ns + 5_000_000) for packet, t_ns in sent)
    joined = BitstreamDecoder(avatar)
    after = next(packet for packet, t_ns in sent if t_ns >= codes[100].t_ns)
    assert joined.decode(after) is not None  # it needs no earlier one
    late = BitstreamDecoder(avatar)
    another = next(packet for packet, t_ns in sent if t_ns >= codes[60].t_ns)
    assert late.decode(another) is None
