"""The code payload from end to end: the server, a paired browser, the page's own worker and
decoder, and the pixels that come of it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.code_stream import CodeStream
from apps.page_shaders import page_shaders
from avatar.avatar_file import read_avatar_file
from avatar.bitstream import BitstreamDecoder, BitstreamOptions
from avatar.codec import Avatar
from avatar.field_basis import atlas_nodes, field_basis
from avatar.mesh_assembly import view_direction
from avatar.page_decoder import page_decoder
from avatar.personal_avatar import PersonalAvatar
from headset.webxr.blob_store import BlobStore
from headset.webxr.certificate import machine_addresses, machine_names, own_certificate
from headset.webxr.client_messages import Payload
from headset.webxr.presentation import Presentation
from headset.webxr.server import WebXrServer, WebXrServerOptions
from streams.avatar_code import AvatarCode
from streams.mesh_nodes import MeshNodes
from streams.rigid import Rigid
from tests.page_decoding import gesturing
from tests.test_webxr_page import (
    BROWSERS,
    FLAGS,
    PIXELS,
    VIEW,
    OpenPage,
    drawn_here,
    require_alike,
)

EVERY_S = 0.1
"""Slower than real, because software draws: nothing here measures a rate."""
ONLY_WHAT_CAME = """() => {
    const { people } = visavis;
    delete people.receive;
    const receive = people.receive.bind(people);
    let last = null; // of a concealed frame the last one that came is shown
    people.receive = (message) => {
        if (!message.concealed) last = message;
        const { vertices, normals, texture } = last ?? message;
        receive({ ...message, vertices, normals, texture });
    } }"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    executable = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if executable is None:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield opened
        opened.close()


class Sender:
    """Repeats one code as packets, and its mesh, until it is ended: as a pipeline's thread does."""

    def __init__(self, avatar: Avatar | PersonalAvatar, presentation: Presentation) -> None:
        self.avatar, self.presentation = avatar, presentation
        self.decoder = BitstreamDecoder(avatar)
        self.stream = CodeStream(avatar, self._show, BitstreamOptions(kbit_s=64.0))
        self.decoded: AvatarCode | None = None
        self.code = gesturing(avatar, 1, 3)[0]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _show(self, packet: bytes, t_ns: int) -> None:
        self.decoded = self.decoder.decode(packet)
        self.presentation.show_code(packet, t_ns)

    def _run(self) -> None:
        t_ns = self.code.t_ns
        while not self._end.wait(EVERY_S):
            t_ns += round(1e9 * EVERY_S)
            code = replace(self.code, t_ns=t_ns)
            self.stream.take(code)
            if isinstance(self.avatar, PersonalAvatar):
                self.presentation.show(self.avatar.decode_nodes(code))

    @contextmanager
    def sending(self) -> Iterator[None]:
        self._thread.start()
        yield
        self._end.set()
        self._thread.join(10)


@dataclass
class Asked:
    """What the server lacks for `OpenPage`: it notes nothing of what a page asks for."""

    url: str
    missing: list[str]


@contextmanager
def shown(
    browser: Any, folder: Path, avatar: Avatar | PersonalAvatar
) -> Iterator[tuple[OpenPage, Sender, Presentation]]:
    """A paired page that is open, and a sender that sends."""
    blobs, senders = BlobStore(), list[Sender]()
    presentation = Presentation(blobs, on_code_key=lambda _person: senders[0].stream.need_key())
    senders.append(Sender(avatar, presentation))
    presentation.describe_avatar(0, blobs.add(page_decoder(avatar)))
    certificate = own_certificate(folder, machine_names(), machine_addresses())
    options = WebXrServerOptions(certificate, folder / "devices", port=0)
    server = WebXrServer(options, page_shaders(), blobs, presentation.serve, log=lambda _line: None)
    with presentation, server, senders[0].sending():
        url = f"https://localhost:{server.port}/"
        context = browser.new_context(
            ignore_https_errors=True, viewport={"width": 480, "height": 360}
        )
        cookie = {
            "name": "__Host-visavis", "value": server.devices.pair("Quest")[1], "url": url,
            "secure": True, "sameSite": "Strict", "httpOnly": True,
        }  # fmt: skip
        context.add_cookies([cookie])
        page = context.new_page()
        page.set_default_timeout(20_000)
        opened = OpenPage(page, Asked(url, []))  # pyright: ignore[reportArgumentType]
        page.add_init_script("globalThis.violations = []")
        opened.open()
        yield opened, senders[0], presentation
        opened.require_clean()
        context.close()


def wish(page: OpenPage, payload: str) -> None:
    page.run(f"visavis.link.post({{type: 'wish', payload: '{payload}', mostBitsS: 0}})")
    told = f"visavis.link.state.payload === '{payload}'"
    page.until(lambda: page.run(told), f"the payload {payload}", 30.0)


def settled(page: OpenPage) -> PIXELS:
    """Once some frames were displayed: the viewer's place is known to the worker. Of a packet that
    came, never of a concealed moment."""
    page.run(ONLY_WHAT_CAME)
    shows = "visavis.people.people.get(0)?.shown?.frameId ?? 0"
    first = page.until(lambda: page.run(shows), "the first frame", 40.0)
    page.until(lambda: page.run(shows) > first + 4, "some more frames", 40.0)
    return page.picture()


def eye_of(page: OpenPage) -> Rigid:
    """Where the viewer is in the avatar's world."""
    script = """() => {
        const { people, stage } = visavis, matrix = stage.camera.matrixWorld;
        const worldFromStage = people.seats.stageFromWorld(0).invert();
        return worldFromStage.multiply(matrix).elements.slice(12, 15) }"""
    return Rigid.from_translation(page.run(script))


def seen_from(avatar: Avatar | PersonalAvatar, code: AvatarCode, eye: Rigid) -> MeshNodes:
    """What Python draws of a code for a viewer there."""
    view = replace(VIEW, world_from_eye=eye)
    if isinstance(avatar, PersonalAvatar):
        return avatar.decode_nodes(code, view)
    mesh = avatar.decode(code, view)
    assert code.world_from_head is not None
    towards = view_direction(code.world_from_head, view)
    nodes = atlas_nodes(avatar.decoder.nodes(code.appearance, towards))
    basis = field_basis(avatar.decoder, avatar.head.albedo)
    gain = np.ones(3, np.float32)
    return MeshNodes(code.t_ns, mesh.topology, mesh.vertices, mesh.normals, basis, nodes, gain)


def test_a_shipped_avatar_is_drawn_from_its_codes(browser: Any, tmp_path: Path) -> None:
    avatar = Avatar.open("default")
    with shown(browser, tmp_path, avatar) as (page, sender, presentation):
        picture = settled(page)
        assert page.run("visavis.link.state.payload") == "code"
        code = sender.decoded
        assert code is not None
        assert len(code.hands) == 2
        desktop = drawn_here(seen_from(avatar, code, eye_of(page)))
        assert np.ptp(desktop) > 150
        require_alike(picture, desktop)
        (client,) = presentation.statistics()
        assert client.payload is Payload.CODE
        assert client.bytes_sent < 1000 * client.frames_sent


def test_code_and_geometry_are_switched_live_and_look_alike(
    browser: Any, small_avatar: Path, tmp_path: Path
) -> None:
    file = read_avatar_file(small_avatar)
    avatar = PersonalAvatar(file.model, file.id)
    with shown(browser, tmp_path, avatar) as (page, sender, _):
        wish(page, "code")
        coded = settled(page)
        assert sender.decoded is not None
        require_alike(coded, drawn_here(seen_from(avatar, sender.decoded, eye_of(page))))
        wish(page, "geometry")
        geometry = settled(page)
        wish(page, "code")
        again = settled(page)
    assert np.abs(coded - geometry).mean() < 2.0
    assert np.abs(coded - again).mean() < 0.5
