"""The page in a browser with an emulated headset, as tests drive it."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from render.renderer import RenderOptions, open_renderer
from streams.camera import Camera
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.view import View
from tests.page_scene import Message, PageServer

HERE = Path(__file__).parent / "webxr"
IWER = HERE / "node_modules" / "iwer" / "build" / "iwer.min.js"
SIZE = 384
VIEW = View.from_camera(Camera.from_fov((SIZE, SIZE), 0.6))
"""From where `OpenPage.picture` looks: the avatar's world's origin, as a webcam."""
IPD_M = 0.063
PIXELS = npt.NDArray[np.int64]


def drawn_here(mesh: MeshTexture | MeshNodes) -> PIXELS:
    """(SIZE, SIZE, 3): what the desktop's renderer makes of it."""
    with open_renderer("gl", RenderOptions(antialias="none", depth=False)) as renderer:
        return renderer.draw(mesh, VIEW).rgba[..., :3].astype(int)


def require_alike(page: PIXELS, desktop: PIXELS) -> None:
    """Equal but for rounding, and for single pixels where two drivers cover an edge differently."""
    away = np.abs(page - desktop).max(axis=2)
    assert away.mean() < 0.6
    assert np.percentile(away, 98.5) <= 3
    blurred = cv2.blur(np.abs(page - desktop).astype(np.float32), (9, 9)).max()
    assert blurred < 16  # no patch of it differs


class OpenPage:
    """A page of the test's browser, and the server that it came from."""

    def __init__(self, page: Any, posted: list[Message]) -> None:
        """`posted`: where what the page tells ends up."""
        self.page, self.posted = page, posted
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def emulate(self, profile: str) -> None:
        """Give the browser a headset: "quest" or "vision" (see headset.js); before opening."""
        if not IWER.exists():
            pytest.skip("IWER is not installed (npm install --prefix tests/webxr)")
        self.page.add_init_script(IWER.read_text(encoding="utf-8"))
        script = (HERE / "headset.js").read_text(encoding="utf-8")
        self.page.add_init_script(script.replace("PROFILE", profile))

    def wait_ready(self) -> None:
        self.page.wait_for_selector("body.ready", timeout=30_000)

    def run(self, script: str, argument: Any = None) -> Any:
        return self.page.evaluate(script, argument)

    def play(self, scene: str) -> None:
        self.run("name => visavis.link.worker.postMessage({type: 'test', scene: name})", scene)

    def hear(self, message: dict[str, Any]) -> None:
        self.run("message => visavis.link.worker.postMessage({type: 'test', message})", message)

    def until(self, found: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
        """Wait for a truthy answer."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            answer = found()
            if answer:
                return answer
            time.sleep(0.03)
        raise AssertionError(f"{what} did not happen within {seconds:g} s: {self.errors}")

    def fresh(self, kind: str, fits: Callable[[dict[str, Any]], bool] = lambda _: True) -> Any:
        """The next message of a kind that the page posts, and that fits."""
        self.posted.clear()
        return self.until(
            lambda: next((m for m in self.told(kind) if fits(m)), None), f"a {kind} message"
        )

    def told(self, kind: str) -> list[Message]:
        """What the page posted so far, of a type."""
        return [message for message in list(self.posted) if message["type"] == kind]

    def drawn(self) -> PIXELS:
        """(height, width, 4) of the next frame, row 0 on top."""
        told = self.run((HERE / "drawn.js").read_text(encoding="utf-8"))
        flat = np.frombuffer(base64.b64decode(told["pixels"]), np.uint8)
        return flat.reshape(told["height"], told["width"], 4)[::-1].astype(int)

    def picture(self) -> PIXELS:
        """(SIZE, SIZE, 3) as VIEW sees the avatar."""
        argument = {"tangents": np.tan(VIEW.fov).tolist(), "size": SIZE}
        text = self.run((HERE / "picture.js").read_text(encoding="utf-8"), argument)
        flat = np.frombuffer(base64.b64decode(text), np.uint8)
        return flat.reshape(SIZE, SIZE, 4)[::-1, :, :3].astype(int)

    def status(self) -> str:
        return self.page.inner_text("#status .text")

    def pinch_point(self, side: str) -> npt.NDArray[np.float64]:
        """Between thumb and index finger, in the stage."""
        joints = self.run(
            "side => visavis.pointers.hand(side) && [...visavis.pointers.hand(side).joints]", side
        )
        hand = np.array(joints).reshape(25, 3)
        return (hand[4] + hand[9]) / 2

    def move_pinch(self, side: str, to: npt.NDArray[np.float64]) -> None:
        """Move a hand so that its pinch lies there."""
        by = to - self.pinch_point(side)
        self.run(
            "([side, x, y, z]) => { const p = headset.hands[side].position;"
            " p.set(p.x + x, p.y + y, p.z + z) }",
            [side, *by.tolist()],
        )
        self.until(lambda: np.allclose(self.pinch_point(side), to, atol=1e-3), "the hand's move")

    def pinch(self, side: str, closed: bool) -> None:
        self.run(
            "([side, value]) => headset.hands[side].updatePinchValue(value)",
            [side, 1.0 if closed else 0.0],
        )
        pressed = "side => [...visavis.pointers].some(p => p.handedness === side && p.pressed)"
        self.until(lambda: self.run(pressed, side) == closed, f"pinch {closed}")

    def require_clean(self) -> None:
        """No error anywhere, nothing that the policy forbids, nothing missing."""
        assert self.errors == []
        assert self.run("[visavis.trouble, violations]") == [None, []]


def opened(browser: Any, server: PageServer, profile: str) -> OpenPage:
    """A page of its own, ready, in a browser that has such a headset."""
    page = browser.new_page(viewport={"width": 640, "height": 360})
    page.set_default_timeout(20_000)
    result = OpenPage(page, server.posted)
    result.emulate(profile)
    page.goto(server.url)
    result.wait_ready()
    return result


def centre_of_red(picture: PIXELS) -> tuple[float, float]:
    """Column and row."""
    red = (picture[..., 0] > 200) & (picture[..., 1] < 40) & (picture[..., 2] < 40)
    assert red.sum() > 50
    rows, columns = np.nonzero(red)
    return float(columns.mean()), float(rows.mean())
