"""What strangers may try on the real server, over real TLS, while a paired client goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from headset.webxr.certificate import given_certificate
from headset.webxr.connections import ConnectionLimits
from headset.webxr.link import Link, LinkClosedError
from headset.webxr.server import ServerError, WebXrServer, WebXrServerOptions
from headset.webxr.socket_link import LinkLimits
from tests.stream_server import FRONT, client, paired, refusals, serving, trusting, until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    with serving(tmp_path) as started:
        yield started


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(30.0):
            await test()

    asyncio.run(limited())


@contextlib.asynccontextmanager
async def undisturbed(server: Any) -> AsyncIterator[list[float]]:
    """A paired client that sends and gets back a message every 20 ms; at the end it must have got
    all, on the link that it began with. Gives its round trips, seconds."""
    trips: list[float] = []
    stop = asyncio.Event()
    begun = asyncio.Event()

    async def go_on() -> None:
        async with client(server, paired(server, "the good one")) as good:
            async with good.ws_connect("/link") as ws:
                after = 0
                while after < 3:  # Three more when the attack is over.
                    after += stop.is_set()
                    sent, at = os.urandom(600), asyncio.get_running_loop().time()
                    await ws.send_bytes(sent)
                    assert await ws.receive_bytes(timeout=5.0) == sent
                    trips.append(asyncio.get_running_loop().time() - at)
                    begun.set()
                    await asyncio.sleep(0.02)
            async with good.get("/") as answer:
                assert await answer.read() == FRONT

    going = asyncio.create_task(go_on())
    await asyncio.wait([asyncio.create_task(begun.wait()), going], return_when="FIRST_COMPLETED")
    try:
        yield trips
    finally:
        stop.set()
        await going
        assert len(trips) >= 4
        assert [line for line in server.lines if "the good one" in line] == [
            "connected the good one", "disconnected the good one"
        ]  # fmt: skip


def test_an_unpaired_client_gets_the_pairing_page_and_nothing_else(server: Any):
    name = server.blobs.add(b"somebody's face")

    async def attack() -> None:
        async with client(server) as stranger:
            for path in ("/", "/pair.js", "/pair.css"):
                async with stranger.get(path) as answer:
                    assert answer.status == 200
                    assert FRONT not in await answer.read()
            for path in (
                "/index.html", "/pair.html", "/main.js", "/shaders/a.glsl", f"/blob/{name}",
                "/link", "/nothing",
            ):  # fmt: skip
                async with stranger.get(path) as answer:
                    assert answer.status == 403
                    assert await answer.json() == {"error": "pair this device first"}
        async with client(server, paired(server)) as good:
            for path, status in (("/shaders/a.glsl", 200), ("/nothing", 404), ("/pair.js", 200)):
                async with good.get(path) as answer:
                    assert answer.status == status

    run(attack)
    assert len(refusals(server)) == 2, "one line each for files and for the WebSocket"


def test_every_answer_has_its_headers(server: Any):
    async def look() -> None:
        name = server.blobs.add(bytes(100_000))
        async with client(server, paired(server)) as good, client(server) as stranger:
            for session, path in (
                (stranger, "/"), (stranger, "/x"), (good, "/"), (good, "/x"),
                (good, f"/blob/{name}"),
            ):  # fmt: skip
                async with session.get(path) as answer:
                    headers = answer.headers
                    assert headers["X-Content-Type-Options"] == "nosniff"
                    assert "default-src 'self';" in headers["Content-Security-Policy"]
                    assert "unsafe-inline" not in headers["Content-Security-Policy"]
                    assert "aiohttp" not in headers["Server"]
                    kept = path.startswith("/blob") and answer.status == 200
                    assert headers["Cache-Control"] == (
                        "private, max-age=31536000, immutable" if kept else "no-store"
                    )

    run(look)


def test_blobs_go_on_where_they_stopped(server: Any):
    blob = os.urandom(300_001)

    async def fetch() -> None:
        name = server.blobs.add(blob)
        async with client(server, paired(server)) as good:
            async with good.get(f"/blob/{name}") as answer:
                assert await answer.read() == blob
            for header, wanted in (
                ("bytes=100000-", blob[100_000:]), ("bytes=5-9", blob[5:10]),
                ("bytes=-7", blob[-7:]),
            ):  # fmt: skip
                async with good.get(f"/blob/{name}", headers={"Range": header}) as answer:
                    assert answer.status == 206
                    assert await answer.read() == wanted
            async with good.get(f"/blob/{name}", headers={"Range": "bytes=400000-"}) as answer:
                assert answer.status == 416
            async with good.head(f"/blob/{name}") as answer:
                assert answer.headers["Content-Length"] == "300001"
            async with good.get(f"/blob/{name[:-1]}") as answer:
                assert answer.status == 404

    run(fetch)


def test_pins_are_guessed_in_vain(server: Any):
    async def attack() -> None:
        async with undisturbed(server), client(server) as stranger:
            right, answers = server.pairing.pin, []
            for k in range(60):
                pin = f"{(int(right) + 1 + k) % 10**6:06d}"
                async with stranger.post("/pair", json={"pin": pin}) as answer:
                    answers.append(answer.status)
                    assert "Set-Cookie" not in answer.headers
            # Ten tries of two PINs, then a rest; more requests than are let through at all.
            assert answers[:10] == [403] * 10
            assert set(answers[10:]) == {429}
            server.time.add(20.0)
            async with stranger.post("/pair", json={"pin": right}) as answer:
                assert answer.status == 403, "a PIN that was used up"
            async with stranger.post("/pair", json={"pin": server.pairing.pin}) as answer:
                assert answer.status == 200

    run(attack)
    lines = [line.partition(": ")[2].partition(" (")[0] for line in refusals(server)]
    assert lines[:3] == [
        "a wrong PIN or ticket", "a PIN while none is taken", "too many requests"
    ]  # fmt: skip
    assert len(lines) <= 5


def test_a_pin_or_ticket_is_worth_one_device(server: Any):
    async def attack() -> None:
        async with client(server) as first, client(server) as second:
            for secret in ({"pin": server.pairing.pin}, {"ticket": server.pairing.ticket}):
                async with first.post("/pair", json=secret) as answer:
                    assert answer.status == 200
                    cookie = answer.headers["Set-Cookie"]
                    for part in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/"):
                        assert part in cookie
                    assert "Domain" not in cookie
                async with second.post("/pair", json=secret) as answer:
                    assert answer.status == 403

    run(attack)
    assert len(server.devices.all()) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'{"pin": 123456}', b'{"pin": "123456", "x": ""}', b'{"x": "1"}',
        b'{"pin": null}', b'{"pin": "\\u0661"}', b"[" * 1000, b'{"pin": "' + b"1" * 5000 + b'"}',
        b"\xff\xfe",
    ],
)  # fmt: skip
def test_pairing_requests_that_make_no_sense(server: Any, body: bytes):
    async def attack() -> None:
        async with client(server) as stranger:
            headers = {"Content-Type": "application/json"}
            async with stranger.post("/pair", data=body, headers=headers) as answer:
                assert answer.status == 400
            async with stranger.post("/pair", data={"pin": "123456"}) as answer:
                assert answer.status == 400, "a form, as a page elsewhere can send it"

    run(attack)
    assert refusals(server) == ["refused 127.0.0.1: a pairing request that makes no sense"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:{port}", "https://localhost", None]
)
def test_pages_elsewhere_neither_pair_nor_connect(server: Any, origin: str | None):
    async def attack() -> None:
        async with undisturbed(server):
            headers = {} if origin is None else {"Origin": origin.format(port=server.port)}
            token = paired(server, "victim")
            url = f"https://localhost:{server.port}"
            # The browser of somebody who is paired, led to a page elsewhere.
            async with aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trusting(server)),
                headers={"Cookie": f"__Host-visavis={token}", **headers},
            ) as stranger:
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await stranger.ws_connect(f"{url}/link")
                assert refused.value.status == 403
                pin = server.pairing.pin
                async with stranger.post(f"{url}/pair", json={"pin": pin}) as answer:
                    assert answer.status == 403
                assert server.pairing.pin == pin, "not even tried"

    run(attack)
    assert len(refusals(server)) == 2


@pytest.mark.parametrize(
    "host", ["evil.example:{port}", "localhost.evil.example", "192.0.2.7:{port}", "", "a b"]
)
def test_a_rebound_host_gets_nothing(server: Any, host: str):
    async def attack() -> None:
        async with undisturbed(server):
            token, shown = paired(server, "victim"), host.format(port=server.port)
            headers = {"Host": shown, "Origin": f"https://{shown}"}
            async with client(server, token) as stranger:
                for path in ("/", "/pair.js", "/index.html"):
                    async with stranger.get(path, headers=headers) as answer:
                        assert answer.status == 421
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await stranger.ws_connect("/link", headers=headers)
                assert refused.value.status == 421

    run(attack)
    assert len(refusals(server)) == 1
    assert "asked for another host" in refusals(server)[0]


def test_tokens_are_neither_forged_nor_used_after_they_are_revoked(server: Any):
    async def attack() -> None:
        async with undisturbed(server):
            token = paired(server, "lost headset")
            for forged in ("", "x" * 43, token[:-1], token + "A", token.swapcase()):
                async with client(server, forged) as stranger:
                    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                        await stranger.ws_connect("/link")
                    assert refused.value.status == 403
            async with client(server, token) as lost, lost.ws_connect("/link") as ws:
                await ws.send_bytes(b"still here")
                assert await ws.receive_bytes() == b"still here"
                # As `visavis stream --revoke` does it, from another process.
                server.devices.revoke("lost headset")
                closing = await ws.receive(timeout=5.0)
                assert closing.type is aiohttp.WSMsgType.CLOSE
                assert closing.extra == "this device was revoked"
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await lost.ws_connect("/link")
                assert refused.value.status == 403

    run(attack)
    assert "disconnected lost headset: it was revoked" in server.lines
    assert {line.partition(": ")[2] for line in refusals(server)} == {
        "an unknown or revoked token", "a WebSocket without a valid token"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("send", "reason", "code"),
    [
        (lambda ws: ws.send_bytes(bytes(70_000)), "a message above 65536 bytes", 1009),
        (lambda ws: ws.send_bytes(bytes(5_000_000)), "a message above 65536 bytes", 1009),
        (lambda ws: ws.send_str("text"), "a message that is not binary", 1003),
        (lambda ws: ws.send_bytes(b"nonsense"), "a message that makes no sense", 1007),
        (lambda ws: ws.send_bytes(b"fault"), None, None),
    ],
)
def test_messages_out_of_bounds_end_their_link_alone(
    server: Any, send: Callable[..., Awaitable[None]], reason: str | None, code: int | None
):
    async def attack() -> None:
        async with undisturbed(server):
            async with (
                client(server, paired(server, "bad one")) as bad,
                bad.ws_connect("/link") as ws,
            ):
                with contextlib.suppress(ConnectionError):
                    await send(ws)
                got = await ws.receive(timeout=5.0)
                if got.type is aiohttp.WSMsgType.CLOSE and code is not None:
                    assert got.data == code
                else:
                    assert got.type in (
                        aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR
                    )  # fmt: skip
            await until(lambda: "disconnected bad one" in server.lines)

    run(attack)
    if reason is None:
        assert "serving bad one failed: KeyError: 'a fault of ours'" in server.lines
    else:
        (line,) = refusals(server)
        assert reason in line
        assert "bad one" in line


def test_frames_that_are_no_websocket_end_their_link_alone(server: Any):
    async def attack() -> None:
        async with undisturbed(server):
            token = paired(server, "bad one")
            for garbage in (
                b"\xff" * 64, b"\x83\x80" + bytes(4), b"\x09\x80" + bytes(4),
                b"\x89\xfe\x00\xff" + bytes(300),
            ):  # fmt: skip
                reader, writer = await asyncio.open_connection(
                    "localhost", server.port, ssl=trusting(server)
                )
                writer.write(
                    f"GET /link HTTP/1.1\r\nHost: localhost:{server.port}\r\n"
                    f"Origin: https://localhost:{server.port}\r\nCookie: __Host-visavis={token}\r\n"
                    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
                )
                assert b"101 Switching Protocols" in await reader.readuntil(b"\r\n\r\n")
                writer.write(garbage)
                async with asyncio.timeout(5.0):
                    await reader.read()  # to the end
                writer.close()

    run(attack)
    assert [line for line in refusals(server) if "a broken WebSocket frame" in line]
    assert len(refusals(server)) <= 2


def test_a_flood_of_messages_ends_its_link_alone(server: Any):
    async def attack() -> None:
        async with undisturbed(server) as trips:
            async with (
                client(server, paired(server, "bad one")) as bad,
                bad.ws_connect("/link") as ws,
            ):

                async def read() -> None:
                    async for _ in ws:
                        pass

                reading = asyncio.create_task(read())
                with contextlib.suppress(ConnectionError):
                    for k in range(20_000):
                        await ws.send_bytes(b"x")
                        if k % 100 == 0:
                            await asyncio.sleep(0)
                await asyncio.wait_for(reading, 5.0)
            assert trips

    run(attack)
    assert refusals(server) == ["refused 127.0.0.1: too many messages (bad one)"]
    assert server.serve.received.count(b"x") < 3000


def test_who_does_not_read_is_dropped(tmp_path: Path):
    failed: list[LinkClosedError] = []

    async def serve(link: Link) -> None:
        if link.name == "the good one":
            while (message := await link.receive()) is not None:
                await link.send(message)
            return
        try:
            while True:
                await link.send(bytes(200_000))
        except LinkClosedError as error:
            failed.append(error)
            raise

    async def attack(server: Any) -> None:
        async with undisturbed(server):
            reader, writer = await asyncio.open_connection(
                "localhost", server.port, ssl=trusting(server), limit=1024
            )
            token = paired(server, "slow one")
            writer.write(
                f"GET /link HTTP/1.1\r\nHost: localhost:{server.port}\r\n"
                f"Origin: https://localhost:{server.port}\r\nCookie: __Host-visavis={token}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            await reader.readuntil(b"\r\n\r\n")
            await until(lambda: failed)
            await until(lambda: "disconnected slow one" in server.lines)
            writer.transport.abort()

    limits = LinkLimits(send_s=0.3, slowest_rate=1e6)
    with serving(tmp_path, serve, links=limits) as server:
        run(lambda: attack(server))
        assert refusals(server) == ["refused 127.0.0.1: does not read what is sent (slow one)"]


def test_two_hundred_connections_shut_nobody_out(server: Any):
    async def attack() -> None:
        async with undisturbed(server):
            held = [
                await asyncio.open_connection("127.0.0.1", server.port) for _ in range(100)
            ]  # They do not even begin TLS.
            for _ in range(100):
                with contextlib.suppress(OSError):
                    held.append(
                        await asyncio.open_connection(
                            "127.0.0.1", server.port, ssl=trusting(server)
                        )
                    )
            known, unknown = server._connections.counts()
            assert known <= 2
            assert unknown <= 16
            # Somebody new can pair meanwhile, and a paired device come back.
            pin = {"pin": server.pairing.pin}
            async with client(server) as new, new.post("/pair", json=pin) as answer:
                assert answer.status == 200
            token = paired(server, "back again")
            async with client(server, token) as back, back.ws_connect("/link") as ws:
                await ws.send_bytes(b"here")
                assert await ws.receive_bytes() == b"here"
            for _, writer in held:
                writer.transport.abort()

    run(attack)
    assert refusals(server) == ["refused 127.0.0.1: too many connections"]


def test_a_flood_of_connections_is_turned_away_before_tls(tmp_path: Path):
    limits = ConnectionLimits(new_rate=20.0, new_burst=60.0)

    async def attack(server: Any) -> None:
        async with undisturbed(server) as trips:
            for _ in range(500):
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                    writer.transport.abort()
            assert trips
            assert server._connections.counts()[1] <= 16
        server.time.add(10.0)
        async with client(server) as new, new.get("/") as answer:
            assert answer.status == 200

    with serving(tmp_path, connections=limits) as server:
        run(lambda: attack(server))
        assert "refused 127.0.0.1: connects too often" in refusals(server)
        assert len(refusals(server)) <= 2


def test_who_connects_and_says_nothing_is_dropped(tmp_path: Path):
    limits = ConnectionLimits(handshake_s=0.2)

    async def attack(server: Any) -> None:
        async with undisturbed(server):
            silent, _ = await asyncio.open_connection("localhost", server.port)
            assert await asyncio.wait_for(silent.read(), 5.0) == b""
            slow, writer = await asyncio.open_connection(
                "localhost", server.port, ssl=trusting(server)
            )
            writer.write(b"GET / HTTP/1.1\r\nHost: localh")
            await writer.drain()
            server.time.add(16.0)
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(slow.read(), 5.0) == b""

    with serving(tmp_path, connections=limits) as server:
        run(lambda: attack(server))
        assert refusals(server) == [
            "refused 127.0.0.1: no TLS handshake in time",
            "refused 127.0.0.1: connected and asked for nothing",
        ]


def test_a_device_has_so_many_links(server: Any):
    async def attack() -> None:
        async with client(server, paired(server)) as greedy, contextlib.AsyncExitStack() as open_:
            for _ in range(4):
                await open_.enter_async_context(greedy.ws_connect("/link"))
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await greedy.ws_connect("/link")
            assert refused.value.status == 503

    run(attack)
    assert refusals(server) == ["refused 127.0.0.1: too many WebSockets (Quest 3)"]


@pytest.mark.parametrize(
    "path",
    [
        "/../certificate_key.pem", "/../../../../../etc/passwd", "//etc/passwd", "/..%2f..%2fetc",
        "/%2e%2e/%2e%2e/etc/passwd", "/..\\..\\x", "/blob/../../x", "/pair.js/../index.html",
        "/pair.js%00.css", "/shaders/../../webxr/server.py", "http://evil.example/", "*",
    ],
)  # fmt: skip
def test_no_path_leads_outside(server: Any, path: str):
    async def attack() -> None:
        async with undisturbed(server):
            for token in (None, paired(server, "curious one")):
                reader, writer = await asyncio.open_connection(
                    "localhost", server.port, ssl=trusting(server)
                )
                cookie = "" if token is None else f"Cookie: __Host-visavis={token}\r\n"
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: localhost:{server.port}\r\n{cookie}"
                    "Connection: close\r\n\r\n".encode()
                )
                got = await asyncio.wait_for(reader.read(), 5.0)
                writer.close()
                status = int(got.split()[1])
                if token is None and path == "http://evil.example/":
                    assert status in (200, 400, 403)  # "/" of the Host that was checked
                    assert FRONT not in got
                elif path != "http://evil.example/":
                    assert status in (400, 403, 404), got[:200]
                assert b"root:" not in got
                assert b"PRIVATE KEY" not in got

    run(attack)
    assert len(refusals(server)) <= 2


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00" * 100,
        b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 20_000,
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_malformed_http_is_refused_in_one_line(server: Any, sent: bytes):
    async def attack() -> None:
        async with undisturbed(server):
            reader, writer = await asyncio.open_connection(
                "localhost", server.port, ssl=trusting(server)
            )
            writer.write(sent)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
                got = await asyncio.wait_for(reader.read(), 5.0)
                assert int(got.split()[1]) in (400, 405, 421), got[:200]
                assert b"aiohttp" not in got
                assert b"Traceback" not in got
            writer.close()

    run(attack)
    assert len(refusals(server)) == 1


def test_every_name_and_address_of_the_certificate_is_answered(tmp_path: Path):
    """Real TLS that checks the host against the certificate's names."""
    with serving(tmp_path, lan=True) as server:

        async def look() -> None:
            # Names of a machine lead to it only where a network's name server says so.
            hosts = ["localhost", *server.options.certificate.addresses]
            connector = aiohttp.TCPConnector(ssl=trusting(server))
            async with aiohttp.ClientSession(connector=connector) as session:
                for host in hosts:
                    async with session.get(server.url(host)) as answer:
                        assert answer.status == 200, host
                        assert b"Pair this device" in await answer.read()
                with pytest.raises(aiohttp.ClientConnectorCertificateError):
                    await session.get(server.url("127.0.0.2"))

        run(look)
        assert refusals(server) == []


def test_loopback_alone_unless_the_network_is_asked_for(tmp_path: Path):
    def bound(server: Any) -> set[str]:
        with open("/proc/net/tcp", encoding="ascii") as table:
            rows = [line.split()[1] for line in table if line.split()[3] == "0A"]
        return {row.partition(":")[0] for row in rows if row.endswith(f":{server.port:04X}")}

    if not Path("/proc/net/tcp").exists():
        pytest.skip("no table of the system's sockets")
    with serving(tmp_path) as server:
        assert bound(server) == {"0100007F"}
    with serving(tmp_path, lan=True) as server:
        assert bound(server) == {"00000000"}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_tls_and_plain_http_are_refused(server: Any):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    plain = socket.create_connection(("localhost", server.port), 5.0)
    with plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain)
    with socket.create_connection(("localhost", server.port), 5.0) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in plain.recv(100)
    run(lambda: until(lambda: refusals(server)))  # It is told after the connection ended.
    assert refusals(server) == ["refused 127.0.0.1: plain HTTP where TLS is spoken"]


def test_through_adb_the_page_comes_without_tls_on_loopback_alone(tmp_path: Path):
    with serving(tmp_path, lan=True, plain_port=0) as server:
        url = f"http://localhost:{server.plain_port}"

        async def use() -> None:
            async with aiohttp.ClientSession(url, headers={"Origin": url}) as usb:
                async with usb.post("/pair", json={"pin": server.pairing.pin}) as answer:
                    assert answer.status == 200
                    token = answer.cookies["visavis"].value
                    assert "Secure" in answer.headers["Set-Cookie"]
                cookie = {"Cookie": f"visavis={token}"}
                async with usb.ws_connect("/link", headers=cookie) as ws:
                    await ws.send_bytes(b"here")
                    assert await ws.receive_bytes() == b"here"
                other = {**cookie, "Origin": f"https://localhost:{server.plain_port}"}
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await usb.ws_connect("/link", headers=other)

        run(use)
        address = next(
            (a for a in server.options.certificate.addresses if a[:4] not in ("127.", "::1")), None
        )
        if address is not None:
            with pytest.raises(OSError):
                socket.create_connection((address, server.plain_port), 1.0).close()


def test_a_port_that_is_taken_is_named(server: Any, tmp_path: Path):
    certificate = given_certificate(
        server.options.certificate.chain, server.options.certificate.key
    )
    options = WebXrServerOptions(certificate, tmp_path, port=server.port)
    second = WebXrServer(options, {}, server.blobs, server.serve)
    with pytest.raises(ServerError, match=f"port {server.port}: another program has it.*--port"):
        second.start()
    second.stop()


def test_a_stop_tells_everybody_and_the_port_is_free_again(tmp_path: Path):
    with serving(tmp_path) as server:
        port, token = server.port, paired(server)

        async def stopped() -> None:
            async with client(server, token) as good, good.ws_connect("/link") as ws:
                await ws.send_bytes(b"here")
                await ws.receive_bytes()
                stopping = asyncio.get_running_loop().run_in_executor(None, server.stop)
                closing = await ws.receive(timeout=5.0)
                assert closing.extra == "the server stops"
                await stopping

        run(stopped)
    assert server.lines[-1] == "disconnected Quest 3"
    socket.create_server(("127.0.0.1", port)).close()
