"""`visavis stream --room`: who is in the room stands on the page, and is heard there."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import cv2
import numpy as np
import pytest

from apps.room_avatar import open_own_avatar
from headset.webxr.client_messages import Capability, Displayed, EchoMessage, Hello
from headset.webxr.messages import MOST_DOWN_BYTES, MessageKind, pack_message, parse_message
from streams.clock import now_ns
from tests.headless_chromium import chromium
from tests.meeting_people import PATIENCE_S, Meeters, running_relay, talk
from tests.stream_process import StreamProcess, connected


@pytest.fixture
def meeters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meeters]:
    with running_relay(tmp_path) as relay:
        made = Meeters(relay, tmp_path, monkeypatch)
        yield made
        made.leave()


@pytest.fixture
def streamed(meeters: Meeters, root: Path, tmp_path: Path) -> Iterator[StreamProcess]:
    """A stream without a camera, in a room where Ada talks."""
    meeters.home("ada")
    ada = open_own_avatar("amara")
    room = meeters.enter("Ada", ada)
    stop = threading.Event()
    talking = threading.Thread(target=talk, args=(room, ada, now_ns(), stop))
    talking.start()
    stream = StreamProcess(
        root, tmp_path / "host", "--source", "headset", "--room", str(meeters.code),
        "--relay", meeters.relay, "--name", "Bob", "--silent",
    )  # fmt: skip
    try:
        yield stream
    finally:
        stop.set()
        talking.join(PATIENCE_S)
        stream.process.kill()
        stream.process.wait(10.0)


def test_a_page_is_sent_who_is_in_the_room(
    streamed: StreamProcess, meeters: Meeters, tmp_path: Path
) -> None:
    """Scene, meshes and voice of person 1, at times of the host's clock; and that they left."""
    kinds: Counter[MessageKind] = Counter()
    ages: list[float] = []

    async def watch(ws: aiohttp.ClientWebSocketResponse) -> None:
        hello = Hello(Capability.GEOMETRY | Capability.H264, 64)
        await ws.send_bytes(pack_message(hello.message()))
        left = False
        while not left:
            message = parse_message(await ws.receive_bytes(timeout=30.0), MOST_DOWN_BYTES)
            if message.kind == MessageKind.ECHO:
                asked = EchoMessage.of(message)
                if asked.answered_ns is None:
                    answer = EchoMessage(asked.asked_ns, now_ns())
                    await ws.send_bytes(pack_message(answer.message()))
            if message.person != 1:
                continue
            kinds[message.kind] += 1
            if message.kind == MessageKind.AVATAR:
                shown = Displayed(message.frame_id, 1, now_ns(), 1.0)
                await ws.send_bytes(pack_message(shown.message()))
            if message.kind in (MessageKind.AVATAR, MessageKind.AUDIO):
                ages.append((now_ns() - message.t_ns) / 1e9)
            enough = kinds[MessageKind.AVATAR] >= 5 and kinds[MessageKind.AUDIO] >= 20
            if enough and meeters.rooms:
                meeters.rooms.pop().close()
                kinds[MessageKind.SCENE] = 0
            left = not meeters.rooms and kinds[MessageKind.SCENE] > 0

    asyncio.run(connected(streamed, tmp_path / "host", watch))
    assert kinds[MessageKind.AVATAR] >= 5
    # The two have one clock here, whose offset is known to half of the shortest round trip: what
    # is shown was observed just before.
    assert -0.5 < np.median(ages) < 2.0
    assert streamed.find("room: (Ada is here)")
    assert streamed.find("room: (Ada left)")
    streamed.stop()


def test_a_browser_shows_who_is_in_the_room(streamed: StreamProcess, tmp_path: Path) -> None:
    """The real page draws Ada, though nobody wears the headset."""
    url = streamed.find(r"On this machine: (https://\S+/)#")
    with chromium() as browser:
        page = browser.new_context(
            ignore_https_errors=True, viewport={"width": 360, "height": 360}
        ).new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        page.get_by_label("The six digits").fill(streamed.find(r"PIN (\d{6})"))
        page.get_by_role("button", name="Pair").click()
        page.get_by_role("status").get_by_text("Connected").wait_for(timeout=120_000)
        until, share = time.monotonic() + 120.0, 0.0
        while time.monotonic() < until and share < 0.5:
            shot = np.frombuffer(page.screenshot(path=tmp_path / "page.png"), np.uint8)
            bgr = cv2.imdecode(shot, cv2.IMREAD_COLOR)
            assert bgr is not None
            middle = bgr[120:240, 120:240].astype(int)
            share = float((middle[..., 2] - middle[..., 0] > 30).mean())  # Skin, before grey.
        assert share >= 0.5, "she stands in the middle, where the absent wearer takes no seat"
        assert complaints == []
    streamed.stop()
