"""The code payload from end to end: the server, a paired browser, the page's own worker and
decoder, and the pixels that come of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.code_stream import CodeStream
from apps.page_shaders import page_shaders
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
from tests.headless_chromium import chromium
from tests.headset_page import PIXELS, VIEW, OpenPage, drawn_here, require_alike
from tests.page_decoding import gesturing, made_up_model

EVERY_S = 0.1
"""Slower than real, because software draws: nothing here measures a rate."""
STILL_S = 2.5
"""A code goes on being shown for a second after its last packet; then nothing changes any more."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


class Sender:
    """Repeats one code as packets, and its mesh, until it is ended: as a pipeline's thread does.
    Each packet is a key, so that the page has the same numbers whatever a busy machine makes the
    server leave out."""

    def __init__(self, avatar: Avatar | PersonalAvatar, presentation: Presentation) -> None:
        self.avatar, self.presentation = avatar, presentation
        self.decoder = BitstreamDecoder(avatar)
        self.stream = CodeStream(avatar, self._show, BitstreamOptions(kbit_s=64.0))
        self.code = gesturing(avatar, 1, 3)[0]
        self.quiet, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def at_rest(self) -> AvatarCode:
        """What is shown long after the last packet."""
        code = self.decoder.concealed(self.code.t_ns + 10**15)
        assert code is not None
        return code

    def _show(self, packet: bytes, t_ns: int) -> None:
        self.decoder.decode(packet)
        self.presentation.show_code(packet, t_ns)

    def _run(self) -> None:
        t_ns = self.code.t_ns
        while not self._end.wait(EVERY_S):
            t_ns += round(1e9 * EVERY_S)
            code = replace(self.code, t_ns=t_ns)
            if not self.quiet.is_set():
                self.stream.need_key()
                self.stream.take(code)
            if isinstance(self.avatar, PersonalAvatar):
                self.presentation.show(self.avatar.decode_nodes(code))

    @contextmanager
    def sending(self) -> Iterator[None]:
        self._thread.start()
        yield
        self._end.set()
        self._thread.join(10)


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
        opened = OpenPage(page, [])
        page.add_init_script("globalThis.violations = []")
        page.goto(url)
        opened.wait_ready()
        yield opened, senders[0], presentation
        opened.require_clean()
        context.close()


def wish(page: OpenPage, payload: str) -> None:
    page.run(f"visavis.link.post({{type: 'wish', payload: '{payload}', mostBitsS: 0}})")
    told = f"visavis.link.state.payload === '{payload}'"
    page.until(lambda: page.run(told), f"the payload {payload}", 30.0)


def shown_frame(page: OpenPage, kind: str) -> Any:
    """[frame id, time] of what the page shows, once it is of that payload."""
    script = """(code) => {
        const shown = visavis.people.people.get(0)?.shown;
        const fits = shown && shown.id.startsWith("code/") === code;
        return fits ? [shown.frameId, shown.tMs] : null }"""
    return page.until(lambda: page.run(script, kind == "code"), f"a frame by {kind}", 60.0)


def picture_at_rest(page: OpenPage, sender: Sender) -> PIXELS:
    """By code, long after the last packet: the same at whatever rate this machine can draw."""
    first = shown_frame(page, "code")[0]
    later = lambda: shown_frame(page, "code")[0] > first + 3  # noqa: E731
    page.until(later, "more frames", 60.0)  # now the worker knows the viewer's place
    sender.quiet.set()
    before = None
    while before != (now := shown_frame(page, "code")):
        before = now
        time.sleep(STILL_S)
    page.run("""() => {
        visavis.people.people.get(0).arrivedAt = Infinity; // else the page fades what is not fed
        return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))) }""")
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
        picture = picture_at_rest(page, sender)
        assert page.run("visavis.link.state.payload") == "code"
        code = sender.at_rest()
        assert len(code.hands) == 2
        desktop = drawn_here(seen_from(avatar, code, eye_of(page)))
        assert np.ptp(desktop) > 150
        require_alike(picture, desktop)
        (client,) = presentation.statistics()
        assert client.payload is Payload.CODE
        assert client.bytes_sent < 1000 * client.frames_sent


def test_code_and_geometry_are_switched_live(browser: Any, tmp_path: Path) -> None:
    avatar = PersonalAvatar(made_up_model(1, glasses=False), "avatars/made/up")
    with shown(browser, tmp_path, avatar) as (page, sender, _):
        wish(page, "code")
        coded = picture_at_rest(page, sender)
        require_alike(coded, drawn_here(seen_from(avatar, sender.at_rest(), eye_of(page))))
        wish(page, "geometry")
        shown_frame(page, "geometry")
        geometry = page.picture()
        away = np.abs(geometry - drawn_here(avatar.decode_nodes(sender.code)))
        assert away.mean() < 2.0  # but for coordinates in steps of 0.1 mm
        sender.quiet.clear()
        wish(page, "code")
        assert np.abs(picture_at_rest(page, sender) - coded).mean() < 0.5
    assert np.abs(coded - geometry).mean() > 0.5  # or it was not switched
