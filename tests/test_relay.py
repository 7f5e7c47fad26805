"""A relay among slow, rude and many clients; cut transfers, restarts, and NATS between relays."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from headset.rooms.avatar_transfer import (
    AvatarCache,
    AvatarDownload,
    AvatarTransfer,
    AvatarTransferError,
)
from headset.rooms.meeting import Came, Left
from headset.rooms.nats_transport import NatsError, NatsTransport
from headset.rooms.relay import Relay, RelayError, RelayOptions
from headset.rooms.relay_address import RelayAddress, RelayAddressError
from headset.rooms.relay_frame import BULK, CODE, CONTROL, LARGEST, SOUND, Frame, unpack_down
from headset.rooms.relay_outbox import RelayOutbox
from headset.rooms.room_client import AvatarCame, Connected, Disconnected
from headset.rooms.room_code import RoomCode
from headset.rooms.room_message import CHUNK_BYTES, Chunk, CodePacket, Presence, SoundPacket
from tests.room_network import certificate, relay_at, run, running, until, visitor

ROOM = "0" * 64


def test_a_slow_reader_gets_the_newest_codes_and_no_queue() -> None:
    """The last 3 codes of each sender, the last 8 sounds; control first."""
    outbox = RelayOutbox()
    for number in range(1000):
        for sender in (1, 2):
            outbox.put(Frame(CODE, sender, bytes([number % 256])))
            outbox.put(Frame(SOUND, sender, bytes([number % 256])))
        outbox.put(Frame(BULK, 1, bytes(100)))
    outbox.put(Frame(CONTROL, 1, b"first"))
    frames = unpack_down(outbox.take())
    assert frames[0].payload == b"first"
    for sender in (1, 2):
        codes = [f.payload[0] for f in frames if f.kind == CODE and f.member == sender]
        assert codes == [n % 256 for n in range(997, 1000)]
    assert [f.payload[0] for f in frames if f.kind == SOUND and f.member == 1] == [
        n % 256 for n in range(992, 1000)
    ]
    assert sum(f.kind == BULK for f in frames) == 1
    assert outbox.dropped == 2 * 997 + 2 * 992 + 968


def test_who_reads_slowly_over_a_socket_misses_and_disturbs_nobody(tmp_path: Path) -> None:
    """One client stops reading for a while. The others hear every code; it then gets fresh ones,
    not what piled up."""

    async def meet() -> None:
        async with relay_at() as (_, address), aiohttp.ClientSession() as http:
            url = f"{address}/room/{ROOM}"
            sleeper = await http.ws_connect(url)
            await sleeper.receive()
            reader, sender = await http.ws_connect(url), await http.ws_connect(url)
            payload, came = bytes(4000), []

            async def read() -> None:
                async for message in reader:
                    came.extend(f for f in unpack_down(message.data) if f.kind == CODE)

            reading = asyncio.create_task(read())
            for number in range(1500):  # 6 MB
                await sender.send_bytes(
                    bytes([CODE, 0, 0, 0, 0]) + number.to_bytes(4, "little") + payload[4:]
                )
                if number % 10 == 9:
                    await asyncio.sleep(0.001)
            last = (1499).to_bytes(4, "little")
            await until(lambda: came and came[-1].payload[:4] == last, "the last code")
            assert len(came) > 500
            slow: list[int] = []
            while not slow or slow[-1] != 1499:
                message = await asyncio.wait_for(sleeper.receive(), 5.0)
                slow += [
                    int.from_bytes(f.payload[:4], "little")
                    for f in unpack_down(message.data)
                    if f.kind == CODE
                ]
            assert len(slow) < 400, "what waited was bounded by buffers, not by what was sent"
            reading.cancel()

    run(meet)


def test_rude_clients_are_sent_away_with_one_line_each(tmp_path: Path) -> None:
    """And two people who talk meanwhile notice nothing."""
    lines: list[str] = []

    async def meet() -> None:
        options = RelayOptions(port=0, most_clients=30, most_from_address=30, request_s=0.3)
        async with (
            relay_at(options=options, log=lines.append) as (relay, address),
            aiohttp.ClientSession() as http,
        ):
            code = RoomCode.new()
            a, b = (visitor(address, code, tmp_path / name) for name in "ab")
            async with running(a, b):
                await until(lambda: a.members and b.members, "both")
                url = f"{address}/room/{ROOM}"
                rude = [
                    b"", b"\1", bytes([9, 0, 0, 0, 0]),
                    bytes([CODE]) + bytes(4 + LARGEST[CODE] + 1),
                    bytes(5 + LARGEST[BULK] + 1), bytes(1_000_000),
                ]  # fmt: skip
                for message in rude:
                    before = len(lines)
                    async with http.ws_connect(url) as socket_:
                        await socket_.send_bytes(message)
                        while (got := await socket_.receive()).type is aiohttp.WSMsgType.BINARY:
                            pass
                        assert got.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
                    await until(lambda before=before: len(lines) > before, "a line")
                    assert len(lines) == before + 1
                async with http.ws_connect(url) as socket_:
                    await socket_.send_str("hello")
                    await until(lambda: "binary" in lines[-1], "a line")
                for path, headers, status in (
                    ("/room/../../etc/passwd", {}, 404), ("/room/" + "g" * 64, {}, 404),
                    (f"/room/{ROOM}", {"Origin": "https://evil.example"}, 403), ("/", {}, 404),
                ):  # fmt: skip
                    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                        await http.ws_connect(address + path, headers=headers)
                    assert refused.value.status == status
                crowd = [await http.ws_connect(url) for _ in range(28)]
                before = len(lines)
                for _ in range(20):
                    with pytest.raises(aiohttp.WSServerHandshakeError):
                        await http.ws_connect(url)
                assert len(lines) == before + 20
                assert relay.clients == 30
                for socket_ in crowd:
                    await socket_.close()
                # Somebody who connects and says nothing.
                silent = await asyncio.open_connection("127.0.0.1", relay.port)
                assert await asyncio.wait_for(silent[0].read(), 3.0) == b""
                silent[1].close()
                heard = len(b.heard(CodePacket))
                a.client.say_code(b"still here", 1)
                await until(lambda: len(b.heard(CodePacket)) > heard, "a code")
                assert not a.of(Disconnected)
                assert not b.of(Disconnected)

    run(meet)
    assert all("\n" not in line and len(line) < 200 for line in lines)


def test_two_hundred_connections_are_served_and_the_next_is_not() -> None:
    lines: list[str] = []

    async def meet() -> None:
        options = RelayOptions(port=0, most_from_address=500)
        async with (
            relay_at(options=options, log=lines.append) as (relay, address),
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        ):
            urls = [f"{address}/room/{number % 20:064x}" for number in range(200)]
            crowd = await asyncio.gather(*(http.ws_connect(url) for url in urls))
            assert relay.clients == 200
            assert relay.rooms == 20
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await http.ws_connect(urls[0])
            assert len(lines) == 1
            await asyncio.gather(*(one.close() for one in crowd))
            await until(lambda: relay.clients == 0 and relay.rooms == 0, "all to leave")

    run(meet)


def test_who_sends_too_much_is_read_more_slowly() -> None:
    async def meet() -> None:
        options = RelayOptions(port=0, frames_s=100.0, burst_s=0.5)
        async with relay_at(options=options) as (_, address), aiohttp.ClientSession() as http:
            url = f"{address}/room/{ROOM}"
            sender, reader = await http.ws_connect(url), await http.ws_connect(url)
            came, begun = 0, time.monotonic()
            for _ in range(150):
                await sender.send_bytes(bytes([CONTROL, 0, 0, 0, 0, 1]))
            while came < 150:
                message = await asyncio.wait_for(reader.receive(), 5.0)
                came += sum(f.kind == CONTROL for f in unpack_down(message.data))
            assert time.monotonic() - begun > 0.9  # 100 too many, at 100 a second

    run(meet)


def test_a_cut_half_way_through_an_avatar_costs_nothing(tmp_path: Path) -> None:
    """The relay goes at 50 % and another one takes its place: both are back, and only the missing
    half is sent."""
    file = np.random.default_rng(0).bytes(3_000_000)

    async def meet() -> None:
        code, tls = RoomCode.new(), certificate(tmp_path)
        a = visitor("ws://127.0.0.1:1", code, tmp_path / "a")
        sha256 = a.client.avatars.offer(file)
        presence = Presence("Ada", "avatars/ada", sha256, len(file))
        async with relay_at(tls) as (first, address):
            port = first.port
            a = visitor(address, code, tmp_path / "a", presence)
            b = visitor(address, code, tmp_path / "b")
            a.client.avatars.offer(file)
            at = asyncio.get_running_loop().time
            async with running(a, b):
                await until(lambda: (b.client.avatars.done(sha256) or 0.0) >= 0.5, "half of it")
                assert not b.of(AvatarCame)
                await first.close()
                await until(lambda: a.of(Disconnected) and b.of(Disconnected), "the cut")
                sent = a.client.avatars.sent_chunks
                assert len(a.of(Left)) == len(b.of(Left)) == 1
                async with relay_at(tls, port):
                    begun = at()
                    await until(lambda: len(a.of(Came)) == 2 and len(b.of(Came)) == 2, "both")
                    assert at() - begun <= 2.0
                    await until(lambda: b.of(AvatarCame), "the avatar")
                    (came,) = b.of(AvatarCame)
                    assert came.path is not None
                    assert came.path.read_bytes() == file
                    chunks = -(-len(file) // CHUNK_BYTES)
                    assert a.client.avatars.sent_chunks - sent <= 0.55 * chunks
                    a.client.say_code(b"after", 1)
                    await until(lambda: b.heard(CodePacket), "a code after it")

    run(meet)


def test_a_file_that_is_not_what_was_offered_is_thrown_away(tmp_path: Path) -> None:
    cache, file = AvatarCache(tmp_path), np.random.default_rng(0).bytes(100_000)
    finished: list[tuple[Path | None, str]] = []
    transfer = AvatarTransfer(cache, lambda _sha, path, reason: finished.append((path, reason)))
    owner = AvatarTransfer(cache, lambda *_: None)
    sha256 = owner.offer(file)
    transfer.want(sha256, len(file), 1)
    for step in range(20):
        for _, wish in transfer.wishes(step):
            for chunk in owner.answer(wish):
                changed = bytes([chunk.data[0] ^ 1]) + chunk.data[1:]
                transfer.take(1, Chunk(sha256, chunk.index, changed), step)
    ((path, reason),) = finished
    assert path is None
    assert "not the one that was offered" in reason
    assert not list(tmp_path.iterdir())
    transfer.want(sha256, len(file), 1)  # from this member no more
    assert not transfer.wishes(100)
    transfer.want(sha256, len(file), 2)
    assert transfer.wishes(100)
    with pytest.raises(AvatarTransferError, match="20 MiB"):
        owner.offer(bytes(21 * 1024 * 1024))
    with pytest.raises(AvatarTransferError):
        AvatarDownload(cache, sha256, 21 * 1024 * 1024)


def test_pieces_may_be_lost_doubled_and_mixed(tmp_path: Path) -> None:
    """And what nobody asked for changes nothing."""
    rng, file = np.random.default_rng(1), np.random.default_rng(0).bytes(700_001)
    cache = AvatarCache(tmp_path)
    finished: list[Path | None] = []
    transfer = AvatarTransfer(cache, lambda _sha, path, _reason: finished.append(path))
    owner = AvatarTransfer(cache, lambda *_: None)
    sha256 = owner.offer(file)
    transfer.want(sha256, len(file), 1)
    now, pieces = 0, []
    while not finished:
        now += 100_000_000
        assert now < 600_000_000_000
        for _, wish in transfer.wishes(now):
            pieces += [chunk for chunk in owner.answer(wish) if rng.random() > 0.2]
        rng.shuffle(pieces)
        for chunk in pieces[: len(pieces) // 2 + 1]:
            transfer.take(2, chunk, now)
            transfer.take(1, chunk, now)
            transfer.take(1, chunk, now)
        pieces = pieces[len(pieces) // 2 + 1 :]
        transfer.take(1, Chunk(sha256, int(rng.integers(60000)), b"x"), now)
    assert finished[0] is not None
    assert finished[0].read_bytes() == file
    assert finished[0].stat().st_mode & 0o077 == 0


def test_a_cache_keeps_what_was_used_last(tmp_path: Path) -> None:
    cache, files = AvatarCache(tmp_path, 2_500), [bytes([k]) * 1000 for k in range(4)]
    owner = AvatarTransfer(cache, lambda *_: None)
    finished: list[object] = []
    for k, file in enumerate(files):
        transfer = AvatarTransfer(cache, lambda *told: finished.append(told))
        sha256 = owner.offer(file)
        transfer.want(sha256, 1000, 1)
        for _, wish in transfer.wishes(0):
            for chunk in owner.answer(wish):
                transfer.take(1, chunk, 0)
        assert len(finished) == k + 1
        time.sleep(0.02)
    assert [cache.find(owner.offer(file)) is not None for file in files] == [
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    "text",
    ["http://x", "wss://", "ws://x#sha256=" + "a" * 64, "wss://x#sha256=12", "wss://x:99999"],
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(RelayAddressError, match="relay"):
        RelayAddress.parse(text)


def test_addresses() -> None:
    assert RelayAddress.parse("relay.example").url == "wss://relay.example:8444"
    assert RelayAddress.parse("ws://[::1]:5/").url == "ws://[::1]:5"
    assert RelayAddress.parse("wss://a:1#sha256=" + "ab" * 32).fingerprint == bytes([0xAB]) * 32


def test_another_certificate_is_not_taken(tmp_path: Path) -> None:
    """Neither one that the address does not name, nor one that no authority vouches for."""

    async def meet() -> None:
        async with relay_at(certificate(tmp_path)) as (relay, _):
            for address in (f"wss://127.0.0.1:{relay.port}#sha256={'0' * 64}",
                            f"wss://127.0.0.1:{relay.port}"):  # fmt: skip
                a = visitor(address, RoomCode.new(), tmp_path / "a")
                async with running(a):
                    await until(lambda a=a: a.of(Disconnected), "a refusal")
                    assert "certificate" in a.of(Disconnected)[0].reason
                    assert not a.of(Connected)

    run(meet)


def test_a_port_that_is_taken_is_told() -> None:
    async def meet() -> None:
        async with relay_at() as (relay, _):
            with pytest.raises(RelayError, match="choose another --port"):
                await Relay(RelayOptions(port=relay.port)).start()

    run(meet)


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """A real nats-server."""
    program = shutil.which("nats-server") or shutil.which("/usr/sbin/nats-server")
    if program is None:
        pytest.skip("nats-server is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [program, "-a", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def test_a_room_spans_relays_over_nats(broker: str, tmp_path: Path) -> None:
    """Two at one relay, one at another: all see, hear and get avatars; then one relay dies."""
    file = np.random.default_rng(0).bytes(400_000)

    async def meet() -> None:
        code = RoomCode.new()
        async with (
            await NatsTransport.open(broker) as one,
            await NatsTransport.open(broker) as two,
            relay_at(trunk=one) as (_, first),
            relay_at(trunk=two) as (other, second),
        ):
            a, b = visitor(first, code, tmp_path / "a"), visitor(first, code, tmp_path / "b")
            sha256 = a.client.avatars.offer(file)
            a.client._presence = Presence("Ada", "avatars/ada", sha256, len(file))
            c = visitor(second, code, tmp_path / "c")
            stranger = visitor(second, RoomCode.new(), tmp_path / "d")
            async with running(a, b, c, stranger):
                everybody = (a, b, c)
                await until(lambda: all(len(v.members) == 2 for v in everybody), "all three")
                await until(lambda: c.of(AvatarCame), "the avatar across")
                (came,) = c.of(AvatarCame)
                assert came.path is not None
                assert came.path.read_bytes() == file
                a.client.say_code(b"to both", 1)
                c.client.say_sound(SoundPacket(1, 0, b"from there"))
                await until(lambda: b.heard(CodePacket) and c.heard(CodePacket), "codes")
                await until(lambda: a.heard(SoundPacket) and b.heard(SoundPacket), "sound")
                assert all(not v.refused["forged"] for v in everybody)
                assert not stranger.members
                c.client.close()
                await until(lambda: len(a.members) == len(b.members) == 1, "c to leave")
            await until(lambda: other.rooms == 0, "its rooms to close")

    run(meet)


def test_no_broker_and_no_package_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def meet() -> None:
        with pytest.raises(NatsError, match="is nats-server running"):
            await NatsTransport.open("nats://user:secret@127.0.0.1:1")
        monkeypatch.setitem(__import__("sys").modules, "nats", None)
        with pytest.raises(NatsError, match=r"visavis\[nats\]"):
            await NatsTransport.open("nats://127.0.0.1:1")

    run(meet)
