"""Rooms: real clients over a real relay with real TLS."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from avatar.bitstream import BitstreamDecoder, BitstreamEncoder
from headset.rooms.room_client import AvatarCame, Connected
from headset.rooms.room_code import RoomCode
from headset.rooms.room_message import CodePacket, Presence, SoundPacket
from tests.room_network import Certificate, certificate, relay_at, run, running, until, visitor
from tests.talking_person import Person, speech


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("tls"))


def test_two_people_see_and_hear_each_other(tls: Certificate, tmp_path: Path) -> None:
    """Over TLS: presence, the avatar's file byte for byte, codes that decode alike."""
    files = [bytes(np.random.default_rng(k).bytes(300_000 + k)) for k in range(2)]
    codes = speech(20)

    async def meet() -> None:
        async with relay_at(tls) as (relay, address):
            code = RoomCode.new()
            a, b = (
                visitor(address, code, tmp_path / name, Presence(name, "avatars/x"))
                for name in "ab"
            )
            for one, file in zip((a, b), files, strict=True):
                sha256 = one.client.avatars.offer(file)
                name = one.client._presence.name
                one.client._presence = Presence(name, "avatars/x", sha256, len(file))
            async with running(a, b):
                await until(lambda: a.of(AvatarCame) and b.of(AvatarCame), "both avatars")
                for one, other in ((a, files[1]), (b, files[0])):
                    (came,) = one.of(AvatarCame)
                    assert came.path is not None
                    assert came.path.read_bytes() == other
                    assert came.sha256 == hashlib.sha256(other).digest()
                encoder, decoder = BitstreamEncoder(Person()), BitstreamDecoder(Person())
                twin = BitstreamDecoder(Person())
                for number, moment in enumerate(codes):
                    packet = encoder.encode(moment)
                    if packet is None:
                        continue
                    seen = len(b.heard(CodePacket))
                    a.client.say_code(packet, moment.t_ns)
                    a.client.say_sound(SoundPacket(moment.t_ns, number, b"opus" + packet[:9]))
                    await until(lambda seen=seen: len(b.heard(CodePacket)) > seen, "a code")
                    came_packet = b.heard(CodePacket)[-1]
                    assert came_packet == CodePacket(moment.t_ns, packet)
                    one, two = decoder.decode(came_packet.packet), twin.decode(packet)
                    assert one is not None
                    assert two is not None
                    assert np.array_equal(one.geometry, two.geometry)
                await until(lambda: len(b.heard(SoundPacket)) == len(codes), "all sound")
                (there,) = b.members
                assert there.presence is not None
                assert there.presence.name == "a"
                assert there.clock.synchronised
                assert not a.refused
                assert not b.refused
            await until(lambda: relay.rooms == 0, "the room to close")

    run(meet)


def test_another_code_leads_to_another_room(tls: Certificate, tmp_path: Path) -> None:
    async def meet() -> None:
        async with relay_at(tls) as (_, address):
            a = visitor(address, RoomCode.new(), tmp_path / "a")
            b = visitor(address, RoomCode.new(), tmp_path / "b")
            async with running(a, b):
                await until(lambda: a.of(Connected) and b.of(Connected), "both")
                a.client.say_code(b"packet", 0)
                await until(lambda: True, "nothing")
                assert not a.members
                assert not b.members
                assert not b.heard(CodePacket)

    run(meet)
