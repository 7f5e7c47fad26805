"""Everything that a headset meets, with nothing in anybody's place: the TLS server, pairing, the
socket, the page's worker and its decoders, and the page; only the headset is emulated."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.codeccontext import AudioCodecContext

from apps.page_shaders import page_shaders
from avatar.codec import Avatar
from benchmarks.portraits import portrait
from headset.webxr.blob_store import BlobStore
from headset.webxr.certificate import machine_addresses, machine_names, own_certificate
from headset.webxr.client_messages import PanelMoved
from headset.webxr.presentation import Presentation
from headset.webxr.server import WebXrServer, WebXrServerOptions
from render.renderer import RenderOptions, open_renderer
from streams.clock import now_ns
from streams.headset_sample import HeadsetSample
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.rigid import Rigid
from streams.shown_panels import ShownPanels
from tests.headless_chromium import chromium
from tests.headset_page import VIEW, OpenPage

RATE = 48000
PANEL = Panel(
    "note", np.full((64, 96, 4), (255, 0, 0, 255), np.uint8), "world",
    Rigid.from_translation([-0.22, 0.05, -0.5]), (0.15, 0.1), "a model",
)  # fmt: skip


class Host:
    """One side of a stream: a person who looks about, slowly."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.samples: list[HeadsetSample] = []
        self.moved: list[PanelMoved] = []
        self.blobs = BlobStore()
        self.presentation = Presentation(
            self.blobs, on_sample=self._hear, on_panel_moved=self.moved.append
        )
        with Avatar.open("default") as avatar:
            self.meshes = [
                avatar.rig(portrait(avatar, {"jawOpen": 0.3}, (0.1, 0.0), (0.0, 0.01 * k, 0.0)))
                for k in range(4)
            ]
        self.still = threading.Event()
        self._end = threading.Event()
        self.server = self.listening(0)
        self._thread = threading.Thread(target=self._show, name="host", daemon=True)
        self._thread.start()

    def _hear(self, _name: str, sample: HeadsetSample) -> None:
        self.samples.append(sample)

    def listening(self, port: int) -> WebXrServer:
        certificate = own_certificate(self.folder, machine_names(), machine_addresses())
        options = WebXrServerOptions(certificate, self.folder / "devices", port=port)
        server = WebXrServer(options, page_shaders(), self.blobs, self.presentation.serve)
        server.start()
        return server

    def restart(self) -> None:
        port = self.server.port
        self.server.stop()
        self.server = self.listening(port)

    def last(self) -> MeshTexture:
        return self.meshes[0]

    def _show(self) -> None:
        tone = tones()
        for k in range(10**6):
            mesh = self.last() if self.still.is_set() else self.meshes[k % 4]
            self.presentation.show(replace(mesh, t_ns=now_ns()))
            for _ in range(5):  # 20 ms each
                self.presentation.hear(next(tone), now_ns())
                if self._end.wait(0.02):
                    return

    def close(self) -> None:
        self._end.set()
        self._thread.join(5)
        self.server.stop()
        self.presentation.close()


def tones() -> Iterator[bytes]:
    """Opus packets of 20 ms of a quiet tone, for ever."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = RATE, "mono", "flt"
    samples, at = 960, 0
    while True:
        times = (np.arange(samples) + at) / RATE
        pcm = (0.1 * np.sin(2 * np.pi * 220 * times)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(pcm[None], "flt", "mono")
        frame.sample_rate, frame.pts = RATE, at
        at += samples
        yield from (bytes(packet) for packet in encoder.encode(frame))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(tmp_path_factory.mktemp("stream"))
    yield host
    host.close()


@pytest.fixture(scope="module")
def page(host: Host) -> Iterator[OpenPage]:
    with chromium() as browser:
        size = {"width": 640, "height": 360}
        tab = browser.new_context(ignore_https_errors=True, viewport=size).new_page()
        page = OpenPage(tab, [])
        page.emulate("quest")
        tab.goto(f"https://localhost:{host.server.port}/")
        tab.fill("#pin", host.server.pairing.pin)
        tab.click("#go")
        page.wait_ready()
        yield page


def test_a_paired_browser_shows_the_avatar_as_the_desktop_draws_it(host: Host, page: OpenPage):
    shown = "visavis.people.people.get(0)?.shown?.frameId"
    page.until(lambda: page.run(shown), "the first frame")
    host.still.set()
    # Some frames of the same picture, for the video to become sharp.
    first = page.run(shown)
    page.until(lambda: page.run(shown) > first + 6, "more frames", 30)
    with open_renderer("gl", RenderOptions(antialias="none", depth=False)) as renderer:
        desktop = renderer.draw(host.last(), VIEW).rgba[..., :3].astype(int)
    away = np.abs(page.picture() - desktop)
    assert away.mean() < 1.5  # H.264 lies between
    assert np.percentile(away, 99) < 12
    assert page.status() == "Connected"
    state = page.run("visavis.link.state")
    assert state["payload"] == "geometry"
    assert state["lossShare"] == 0
    assert 0 < state["clock"]["boundMs"] < 1000
    host.still.clear()


def test_head_and_hands_come_back_and_a_voice_is_heard(host: Host, page: OpenPage):
    page.run("headset.position.set(0, 1.6, 0)")
    page.page.click("#enter .vr")
    page.until(lambda: page.run("visavis.arrived && visavis.pointers.hand('right')"), "VR")
    host.samples.clear()
    sample = page.until(
        lambda: next((s for s in host.samples if s.left is not None and s.right is not None), None),
        "a sample",
    )
    assert [view.eye for view in sample.views] == ["left", "right"]
    apart = sample.views[1].world_from_eye.xyz - sample.views[0].world_from_eye.xyz
    assert np.linalg.norm(apart) == pytest.approx(0.063, abs=1e-4)
    # They look at the avatar's head, which is where the camera's world has it.
    middle = (sample.views[0].world_from_eye.xyz + sample.views[1].world_from_eye.xyz) / 2
    assert middle == pytest.approx(sample.world_from_head.xyz, abs=1e-3)
    ahead = sample.views[0].world_from_eye.rotation() @ [0.0, 0.0, 0.9]
    assert middle + ahead == pytest.approx([0.0, 0.035, -0.6], abs=0.08)
    assert sample.world_from_head.rotation() @ [0, 0, 1] == pytest.approx([0, 0, -1], abs=1e-3)
    voice = "visavis.sound.voices.get(0)?.report.playing"
    page.until(lambda: page.run(voice), "the voice", 30)
    # Both times are the server's, mapped by one clock: their difference means something.
    lips = "visavis.sound.offset(() => visavis.people.people.get(0).shown.tMs)"
    offset = page.until(lambda: page.run(lips), "a measured offset")
    assert abs(offset) < 3000


def test_a_panel_is_moved_by_a_pinch(host: Host, page: OpenPage):
    host.presentation.show_panels(ShownPanels(now_ns(), (PANEL,)))
    found = "visavis.panels.panels.get('note')"
    page.until(lambda: page.run(f"{found}?.visible"), "the panel")
    place = np.array(page.run(f"{found}.board.stageFromBoard.elements.slice(12, 15)"))
    page.move_pinch("right", place)
    page.pinch("right", True)
    page.move_pinch("right", page.pinch_point("right") + [0.1, 0.05, 0.0])
    page.pinch("right", False)
    moved = page.until(
        lambda: next((m for m in host.moved[::-1] if m.anchor_from_panel.xyz[0] > -0.13), None),
        "the panel's move",
    )
    assert moved.id == "note"
    assert moved.anchor_from_panel.xyz == pytest.approx([-0.12, 0.1, -0.5], abs=0.01)
    host.presentation.show_panels(ShownPanels(now_ns()))
    page.until(lambda: not page.run(f"Boolean({found})"), "the panel's end")


def test_a_server_that_starts_anew_is_found_again(host: Host, page: OpenPage):
    before = page.run("visavis.people.people.get(0).shown.frameId")
    assert before > 0
    host.restart()
    began = time.monotonic()
    host.samples.clear()
    page.until(lambda: host.samples, "a sample after the restart")
    took = time.monotonic() - began
    shown = "visavis.people.people.get(0)?.shown?.frameId"
    page.until(lambda: page.run(shown) < before, "frames after the restart")
    print(f"heard of again after {took:.1f} s")
    page.until(lambda: page.status() == "Connected", "the words for it")
    page.run("visavis.sessions.leave()")
    page.until(lambda: page.run("visavis.sessions.session === null"), "the end")
    assert page.run("[visavis.trouble, violations]") == [None, []]
    lost: list[Any] = [error for error in page.errors if "WebSocket" not in error]
    assert lost == []
