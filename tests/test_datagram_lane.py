"""The datagram lane: tickets, limits, strangers. The page's own side is tested in
a real browser (`test_page_worker`)."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl

import pytest

from headset.webxr.datagram_lane import (
    BURST,
    MOST_BYTES,
    PATH,
    DatagramLanes,
    Lane,
    LaneOffer,
)

aioquic = pytest.importorskip("aioquic", reason='the extra "quic" is not installed')


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def offered() -> tuple[DatagramLanes, Lane, LaneOffer, list[bytes]]:
    port, got = free_port(), []
    lanes = DatagramLanes(lambda: port)
    return lanes, *(await lanes.offer(got.append)), got


def test_a_ticket_opens_one_lane_once() -> None:
    async def run() -> None:
        lanes, lane, offer, _ = await offered()
        path = PATH + offer.ticket.hex()
        assert lanes.redeem(PATH + "00" * 32) is None
        assert lanes.redeem(PATH + "no hexadecimal") is None
        assert lanes.redeem(offer.ticket.hex()) is None
        assert lanes.redeem(path) is lane
        assert lanes.redeem(path) is None
        old, late = await lanes.offer(lambda _datagram: None)
        old.expires_ns = 0
        assert lanes.redeem(PATH + late.ticket.hex()) is None
        lanes.close()

    asyncio.run(run())


def test_browsers_take_its_certificate() -> None:
    async def run() -> None:
        lanes, _, offer, _ = await offered()
        certificate = lanes._certificate
        life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert life <= datetime.timedelta(days=14)
        assert certificate.signature_hash_algorithm is not None
        assert len(offer.certificate_sha256) == 32
        lanes.close()

    asyncio.run(run())


def test_a_page_that_floods_loses_what_is_too_much() -> None:
    got: list[bytes] = []
    lane = Lane(got.append, 0)
    assert not lane.send(b"nobody is there yet")
    sent: list[bytes] = []
    lane.opened(sent.append)
    assert lane.send(bytes(MOST_BYTES))
    assert not lane.send(bytes(MOST_BYTES + 1))
    lane.take(bytes(MOST_BYTES + 1))
    assert got == []
    for _ in range(5000):
        lane.take(b"x")
    assert BURST <= len(got) < BURST + 500
    lane.close()
    lane.take(b"y")
    assert b"y" not in got
    assert not lane.send(b"z")


async def knock(port: int, path: str, datagram: bytes) -> str:
    """A client without a browser: the status that it gets; then it sends the datagram."""
    from aioquic.asyncio.client import connect
    from aioquic.asyncio.protocol import QuicConnectionProtocol
    from aioquic.h3.connection import H3_ALPN, H3Connection
    from aioquic.h3.events import HeadersReceived
    from aioquic.quic.configuration import QuicConfiguration

    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    class Client(QuicConnectionProtocol):
        http: H3Connection | None = None

        def quic_event_received(self, event: object) -> None:
            if self.http is None:
                return
            for heard in self.http.handle_event(event):  # pyright: ignore[reportArgumentType]
                if isinstance(heard, HeadersReceived) and not answer.done():
                    answer.set_result(dict(heard.headers)[b":status"].decode())

    configuration = QuicConfiguration(
        alpn_protocols=H3_ALPN, max_datagram_frame_size=65_536, verify_mode=ssl.CERT_NONE
    )
    async with connect(
        "127.0.0.1", port, configuration=configuration, create_protocol=Client
    ) as client:
        assert isinstance(client, Client)
        client.http = H3Connection(client._quic, enable_webtransport=True)
        stream = client._quic.get_next_available_stream_id()
        client.http.send_headers(stream, [
            (b":method", b"CONNECT"), (b":protocol", b"webtransport"), (b":scheme", b"https"),
            (b":authority", b"localhost"), (b":path", path.encode()),
        ])  # fmt: skip
        client.transmit()
        status = await asyncio.wait_for(answer, 5.0)
        client.http.send_datagram(stream, datagram)
        client.transmit()
        await asyncio.sleep(0.2)
    return status


def test_only_a_ticket_lets_datagrams_in() -> None:
    async def run() -> None:
        lanes, lane, offer, got = await offered()
        assert await knock(offer.port, PATH + "11" * 32, b"stranger") == "403"
        assert got == []
        assert not lane.is_open
        assert await knock(offer.port, PATH + offer.ticket.hex(), b"sample") == "200"
        assert got == [b"sample"]
        # Once used it is of no use to one who saw it.
        assert await knock(offer.port, PATH + offer.ticket.hex(), b"replayed") == "403"
        assert got == [b"sample"]
        lanes.close()

    asyncio.run(run())
