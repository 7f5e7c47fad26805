"""Mutated messages against the wire's decoder and against the real server.

    python -m benchmarks.fuzz_stream --count 100000              # seeded: the same messages always
    python -m benchmarks.fuzz_stream --only 4711                 # one of them, with its traceback

A message is one that a page sends (hello, sample, displayed, echo, need_key, panel_moved, wish,
statistics, prompt, panel_chosen, panel_dismissed, pinched, speech), changed at random: bits,
lengths, cuts, splices, kinds, or no message at all. The
decoder may read it or raise `MessageError`. The server gets each over a WebSocket of a paired
device and may read it (it then answers an echo) or end that link; a second device, which keeps the
rules, must get all its echoes on the link that it began with. Told are how many were read and
refused, the slowest, the log's lines, and what memory was added.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np

from headset.webxr.blob_store import BlobStore
from headset.webxr.certificate import machine_addresses, machine_names, own_certificate
from headset.webxr.client_messages import (
    Capability,
    Displayed,
    EchoMessage,
    Hello,
    NeedKey,
    PageStatistics,
    PanelMoved,
    Payload,
    Wish,
)
from headset.webxr.connections import ConnectionLimits
from headset.webxr.messages import MessageError, MessageKind, pack_message, parse_message
from headset.webxr.presentation import Presentation
from headset.webxr.prompt_messages import (
    PROMPT_READERS,
    PanelChosen,
    PanelDismissed,
    Pinched,
    Prompt,
    PromptAct,
    Speech,
)
from headset.webxr.sample_coding import DeviceSample, pack_sample, parse_sample
from headset.webxr.server import RequestLimits, WebXrServer, WebXrServerOptions
from headset.webxr.socket_link import LinkLimits
from streams.rigid import Rigid
from streams.view import View

CLIENTS = 4
READERS = {
    MessageKind.HELLO: Hello.of,
    MessageKind.DISPLAYED: Displayed.of,
    MessageKind.SAMPLE: parse_sample,
    MessageKind.NEED_KEY: NeedKey.of,
    MessageKind.PANEL_MOVED: PanelMoved.of,
    MessageKind.WISH: Wish.of,
    MessageKind.STATISTICS: PageStatistics.of,
    MessageKind.ECHO: EchoMessage.of,
    **PROMPT_READERS,
}
HUGE = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


@dataclass
class Findings:
    """What became of the messages."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_ms: float = 0.0

    def take(self, outcome: str, seconds: float) -> None:
        self.outcomes[outcome] += 1
        self.slowest_ms = max(self.slowest_ms, 1e3 * seconds)


def sound_messages() -> list[bytes]:
    """One of every kind that a page sends, and samples of every make."""
    rng = np.random.default_rng(0)
    head = Rigid.from_rotvec((0.1, 0.5, -0.2), (0.3, 1.6, -0.4))
    hand = rng.normal(0.0, 0.05, (25, 3)).astype(np.float32)
    fov = np.array([-0.8, 0.8, 0.8, -0.8])
    views = tuple(View(7, eye, head, fov, (1680, 1760)) for eye in ("left", "right"))
    messages = [
        Hello(Capability.GEOMETRY | Capability.XR, 512, "browser").message(),
        Displayed(7, 1, 123_456_789, 3.5).message(),
        EchoMessage(123_456_789).message(),
        EchoMessage(123_456_789, 987_654_321).message(),
        NeedKey(0, 12).message(),
        PanelMoved("text", head, (0.3, 0.2)).message(),
        Wish(Payload.CODE, 20_000).message(),
        Prompt("a blue cat, \u00e9\u732b\U0001f63a", PromptAct.KEPT).message(),
        PanelChosen("shelf 1").message(),
        PanelDismissed("imagined").message(),
        Pinched(head).message(),
        Speech(np.arange(-80, 80, dtype=np.int16), last=True).message(),
        PageStatistics(72.0, 30.0, 1500.0, 0.01).message(),
        pack_sample(DeviceSample(7, head)),
        pack_sample(DeviceSample(7, head, hand, None)),
        pack_sample(DeviceSample(7, head, hand, hand + 0.1, views)),
    ]
    return [pack_message(message) for message in messages]


def mutated(seeds: Sequence[bytes], number: int) -> bytes:
    """The message of that number: always the same."""
    chance = random.Random(number)
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        kind = chance.randrange(8)
        at = chance.randrange(len(data)) if data else 0
        if kind == 0 and data:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            size = chance.choice((1, 2, 4))
            data[at : at + size] = (chance.choice(HUGE) & (256**size - 1)).to_bytes(size, "little")
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + chance.randrange(1, 64)]
        elif kind == 4:
            data[at:at] = chance.randbytes(chance.randrange(1, 64))
        elif kind == 5:
            other = chance.choice(seeds)
            data[at:] = other[chance.randrange(len(other)) :]
        elif kind == 6 and data:
            data[0] = chance.choice([*MessageKind, chance.randrange(256)])
        else:
            data += bytes(chance.choice((1, 4, 700, 20_000)))
    return chance.randbytes(chance.randrange(2000)) if chance.random() < 0.02 else bytes(data)


def read(data: bytes) -> str:
    """ "read" or "refused". Raises what should not be raised."""
    try:
        message = parse_message(data)
        reader = READERS.get(message.kind)
        if reader is None:
            return "refused"  # No page says that.
        reader(message)
    except MessageError:
        return "refused"
    # Every link here has said hello already, and does so once.
    return "refused" if message.kind == MessageKind.HELLO else "read"


def fuzz_decoder(first: int, count: int) -> Findings:
    """Every message through the decoder alone."""
    seeds, findings = sound_messages(), Findings()
    for number in range(first, first + count):
        data, begun = mutated(seeds, number), time.perf_counter()
        try:
            findings.take(read(data), time.perf_counter() - begun)
        except Exception as error:
            findings.failures.append(f"number {number}: {type(error).__name__}: {error}")
    return findings


@contextlib.asynccontextmanager
async def connected(
    session: aiohttp.ClientSession, url: str, token: str, name: str
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A link that has said hello."""
    headers = {"Origin": url, "Cookie": f"{name}={token}"}
    async with session.ws_connect(f"{url}/link", headers=headers) as ws:
        await ws.send_bytes(pack_message(Hello(Capability.GEOMETRY).message()))
        yield ws


async def echoed(ws: aiohttp.ClientWebSocketResponse, asked_ns: int) -> bool:
    """Whether the server answers; False when it has ended the link."""
    try:
        await ws.send_bytes(pack_message(EchoMessage(asked_ns).message()))
        while True:
            got = await ws.receive(timeout=20.0)
            if got.type is not aiohttp.WSMsgType.BINARY:
                return False
            message = parse_message(got.data, 1 << 24)
            if message.kind == MessageKind.ECHO:
                echo = EchoMessage.of(message)
                if echo.answered_ns is not None and echo.asked_ns == asked_ns:
                    return True
    except ConnectionError:
        return False


async def attack(server: WebXrServer, numbers: list[int], findings: Findings, name: str) -> None:
    """One bad client: a message, then an echo; a new link when it was ended."""
    seeds, token = sound_messages(), server.devices.pair(name)[1]
    url = f"http://localhost:{server.plain_port}"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        while numbers:
            async with connected(session, url, token, "visavis") as ws:
                while numbers:
                    number, begun = numbers.pop(), time.perf_counter()
                    try:
                        await ws.send_bytes(mutated(seeds, number))
                        alive = await echoed(ws, 1_000_000_000 + number)
                    except TimeoutError:
                        findings.failures.append(f"number {number}: no answer within 20 s")
                        break
                    findings.take("read" if alive else "refused", time.perf_counter() - begun)
                    if not alive:
                        break


async def keep_the_rules(server: WebXrServer, stop: asyncio.Event) -> list[float]:
    """The good client, over TLS: round trips in seconds. Raises when its link is ended."""
    token, trips = server.devices.pair("the good one")[1], []
    url = f"https://localhost:{server.port}"
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=False), cookie_jar=aiohttp.DummyCookieJar()
        ) as session,
        connected(session, url, token, "__Host-visavis") as ws,
    ):
        while not stop.is_set():
            begun = time.perf_counter()
            if not await echoed(ws, 7_000_000_000 + len(trips)):
                raise ConnectionError("the good client's link was ended")
            trips.append(time.perf_counter() - begun)
            await asyncio.sleep(0.05)
    return trips


def fuzz_server(first: int, count: int) -> tuple[Findings, list[float], list[str]]:
    """Every message through the server; findings, the good client's round trips, the log."""
    findings, lines = Findings(), []

    async def run(server: WebXrServer) -> list[float]:
        stop, numbers = asyncio.Event(), list(range(first + count - 1, first - 1, -1))
        good = asyncio.create_task(keep_the_rules(server, stop))
        bad = [
            asyncio.create_task(attack(server, numbers, findings, f"bad {k}"))
            for k in range(CLIENTS)
        ]
        while not all(task.done() for task in bad) and not good.done():
            await asyncio.wait([*bad, good], timeout=10.0, return_when=asyncio.FIRST_COMPLETED)
            done = sum(findings.outcomes.values())
            print(f"{done} of {count} through the server", file=sys.stderr, flush=True)
            await asyncio.sleep(0.1)
        stop.set()
        for task in bad:
            await task
        return await good

    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as opened:
        folder, blobs = Path(name), BlobStore()
        # A paired device is let through as often as it asks: its messages are what is tried here.
        free = 1e9
        options = WebXrServerOptions(
            own_certificate(folder, machine_names(), machine_addresses()),
            folder / "devices",
            port=0,
            plain_port=0,
            connections=ConnectionLimits(new_rate=free, new_burst=free),
            requests=RequestLimits(paired_rate=free, paired_burst=free),
            links=LinkLimits(messages_rate=free, messages_burst=free, bytes_rate=free),
        )
        presentation = opened.enter_context(Presentation(blobs))
        server = WebXrServer(options, {}, blobs, presentation.serve, log=lines.append)
        opened.enter_context(server)
        trips = asyncio.run(run(server))
    return findings, trips, lines


def memory_mb() -> float:
    """Most that the process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 when anything failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first message")
    parser.add_argument("--only", type=int, help="one message, through the decoder alone")
    options = parser.parse_args(arguments)
    if options.only is not None:
        data = mutated(sound_messages(), options.only)
        print(data.hex())
        print(read(data))
        return 0
    alone = fuzz_decoder(options.first, options.count)
    print(f"decoder: {dict(alone.outcomes)}, slowest {alone.slowest_ms:.1f} ms", flush=True)
    before, begun = memory_mb(), time.perf_counter()
    served, trips, lines = fuzz_server(options.first, options.count)
    print(
        f"server: {dict(served.outcomes)} in {time.perf_counter() - begun:.0f} s, "
        f"slowest {served.slowest_ms:.0f} ms; {memory_mb() - before:.0f} MB more; "
        f"{len(lines)} log lines\nthe good client's {len(trips)} round trips: median "
        f"{1e3 * np.median(trips):.1f} ms, 99 % {1e3 * np.quantile(trips, 0.99):.1f} ms"
    )
    failures = alone.failures + served.failures
    if alone.outcomes != served.outcomes:
        failures.append(f"the server's outcomes differ from the decoder's: {served.outcomes}")
    faults = [line for line in lines if "failed" in line or "fault" in line]
    for failure in (*failures, *faults):
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures or faults else 0


if __name__ == "__main__":
    sys.exit(main())
