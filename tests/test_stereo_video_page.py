"""Pictures that the server draws, end to end: asked for on the page, drawn, sent, shown in place of
the avatar, and left again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apps.page_shaders import page_shaders
from apps.stereo_pictures import StereoPictures
from avatar.codec import Avatar
from benchmarks.portraits import portrait
from headset.webxr.blob_store import BlobStore
from headset.webxr.certificate import machine_addresses, machine_names, own_certificate
from headset.webxr.presentation import Presentation
from headset.webxr.server import WebXrServer, WebXrServerOptions
from render.renderer import RenderOptions, open_renderer
from streams.clock import now_ns
from streams.mesh_texture import MeshTexture
from tests.headless_chromium import chromium
from tests.headset_page import VIEW, OpenPage


class Host:
    """Shows one still person; the test turns it over, as the one main thread of a stream does."""

    def __init__(self, folder: Path) -> None:
        self.blobs = BlobStore()
        self.presentation = Presentation(self.blobs)
        self.pictures = StereoPictures(self.presentation)
        with Avatar.open("default") as avatar:
            self.mesh = avatar.rig(portrait(avatar, {"jawOpen": 0.3}, (0.1, 0.0), (0.0, 0.0, 0.0)))
        certificate = own_certificate(folder, machine_names(), machine_addresses())
        options = WebXrServerOptions(certificate, folder / "devices", port=0)
        self.server = WebXrServer(options, page_shaders(), self.blobs, self.presentation.serve)
        self.server.start()

    def turn(self) -> bool:
        """One turn of the loop: True, so that it may stand in a condition."""
        mesh: MeshTexture = replace(self.mesh, t_ns=now_ns())
        self.presentation.show(mesh)
        self.pictures.take_mesh(mesh)
        self.pictures.draw(now_ns())
        return True

    def close(self) -> None:
        self.server.stop()
        self.presentation.close()
        self.pictures.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.close()


def test_pictures_are_shown_where_they_are_asked_for(host: Host) -> None:
    with chromium() as browser:
        size = {"width": 640, "height": 360}
        tab = browser.new_context(ignore_https_errors=True, viewport=size).new_page()
        page = OpenPage(tab, [])
        page.emulate("quest")
        tab.goto(f"https://localhost:{host.server.port}/?payload=video")
        tab.fill("#pin", host.server.pairing.pin)
        tab.click("#go")
        page.wait_ready()
        assert page.run("document.querySelector('#payload').value") == "video"
        shown = "visavis.video.isFresh && visavis.link.state.payload === 'video'"
        page.until(lambda: host.turn() and page.run(shown), "a picture", 60)
        for _ in range(8):  # the video becomes sharp
            host.turn()
            tab.wait_for_timeout(100)
        picture = page.picture().astype(int)
        with open_renderer("gl", RenderOptions(antialias="none", depth=False)) as renderer:
            desktop = renderer.draw(host.mesh, VIEW).rgba[..., :3].astype(int)
        assert np.abs(picture - desktop).mean() < 6
        assert page.status() == "Connected"
        # And back: the page draws the avatar itself, and the server draws nothing any more.
        tab.click("#status summary")
        tab.select_option("#payload", "auto")
        drawn = "!visavis.video.isFresh && visavis.link.state.payload === 'geometry'"
        page.until(lambda: host.turn() and page.run(drawn), "the avatar", 60)
        assert not host.presentation.wants_pictures
        page.require_clean()
