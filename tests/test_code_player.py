"""What the page shows of a code stream over time: frames as packets come, and what is shown in
their stead; and the stage that sends them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.code_stream import CodeStream
from avatar.bitstream import BitstreamDecoder, BitstreamEncoder, BitstreamOptions
from avatar.page_decoder import page_decoder
from avatar.personal_avatar import PersonalAvatar
from headset.webxr.messages import Message, MessageKind, Section, SectionKind, pack_message
from tests.page_decoding import SCRIPT, Json, gesturing, made_up_model, run_node, text

PLAYER = SCRIPT.with_name("player.mjs")
EVERY_MS = 33


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


def arriving(packets: list[bytes], lost: tuple[int, ...] = ()) -> list[Json]:
    return [
        {"atMs": 1000 + EVERY_MS * k, "packet": text(packet)}
        for k, packet in enumerate(packets)
        if k not in lost
    ]


def test_each_packet_is_a_frame(
    avatar: PersonalAvatar, decoder: Path, packets: list[bytes]
) -> None:
    assert len(packets) == 38
    found = played(decoder, arriving(packets))
    assert [shown["frameId"] for shown in found["shown"]] == list(range(1, 39))
    assert found["fetched"] == 1
    assert (found["asked"], found["told"], found["left"]) == ([], [], 0)
    assert found["lossShare"] == 0.0
    receiver = BitstreamDecoder(avatar)
    for packet, shown in zip(packets, found["shown"], strict=True):
        code = receiver.decode(packet)
        assert code is not None
        wanted = avatar.decode(code).vertices[:7000].mean(0)
        np.testing.assert_allclose(shown["place"], wanted, atol=1e-5)


def test_what_is_missing_is_concealed(
    avatar: PersonalAvatar, decoder: Path, packets: list[bytes]
) -> None:
    """Three packets are lost: from when the first is overdue on, a frame in the place of each."""
    found = played(decoder, arriving(packets, lost=(20, 21, 22)))
    between = [shown for shown in found["shown"] if shown["frameId"] == 20]
    assert len(between) == 4  # the one that came, and three in the place of others
    receiver = BitstreamDecoder(avatar)
    for packet in packets[:20]:
        last = receiver.decode(packet)
    assert last is not None
    assert receiver._newest is not None
    came = between[0]["clockMs"]
    for shown in between[1:]:
        passed_ms = int(shown["clockMs"] - came)
        code = receiver.concealed(1_000_000 * (receiver._newest.t_ms + passed_ms))
        assert code is not None
        wanted = avatar.decode(code).vertices[:7000].mean(0)
        np.testing.assert_allclose(shown["place"], wanted, atol=1e-5)
    assert [shown["concealed"] for shown in between] == [False, True, True, True]
    places = [shown["place"] for shown in between]
    assert places[0] != places[1] != places[2]
    assert 0.01 < found["lossShare"] < 0.1
    assert found["asked"] == []


def test_after_a_second_of_silence_nothing_moves_any_more(
    decoder: Path, packets: list[bytes]
) -> None:
    quiet = [*arriving(packets[:10]), {"atMs": 9000}]
    shown = played(decoder, quiet)["shown"]
    last = shown[-1]["clockMs"] - shown[9]["clockMs"]
    assert 1000 <= last < 1100
    assert len(shown) == pytest.approx(10 + 30, abs=3)


def test_who_joins_amid_a_stream_asks_for_a_key_and_waits(
    decoder: Path, packets: list[bytes]
) -> None:
    found = played(decoder, arriving(packets[5:]))
    assert found["asked"][0] == {"clockMs": 1000, "person": 3, "received": 1}
    assert len(found["asked"]) <= 2  # not at every packet
    assert 20 < len(found["shown"]) < 33  # whole after a period of the refresh


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
    settled = [Message(MessageKind.AVATAR, (Section(SectionKind.CODE, packet),), 1, t_ns)
               for packet, t_ns in sent if t_ns >= begun_ns]  # fmt: skip
    seconds = (codes[-1].t_ns - begun_ns) / 1e9
    assert 15.0 < 8e-3 * sum(len(pack_message(message)) for message in settled) / seconds < 20.0
    joined = BitstreamDecoder(avatar)
    after = next(packet for packet, t_ns in sent if t_ns >= codes[100].t_ns)
    assert joined.decode(after) is not None  # it needs no earlier one
    late = BitstreamDecoder(avatar)
    another = next(packet for packet, t_ns in sent if t_ns >= codes[60].t_ns)
    assert late.decode(another) is None
