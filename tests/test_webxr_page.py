"""The page in a real browser (headless Chromium) with an emulated headset (IWER).

Chromium draws in software: what is tested are pixels, numbers and states, never rates.
"""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from avatar.codec import Avatar
from avatar.opening import open_avatar
from avatar.personal_avatar import PersonalAvatar
from benchmarks.portraits import portrait
from render.renderer import RenderOptions, open_renderer
from streams.camera import Camera
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.rigid import Rigid
from streams.view import View
from tests.page_scene import (
    PageServer,
    avatar_message,
    link_message,
    panel_message,
    topology_message,
)

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
HERE = Path(__file__).parent / "webxr"
IWER = HERE / "node_modules" / "iwer" / "build" / "iwer.min.js"
SIZE = 384
VIEW = View.from_camera(Camera.from_fov((SIZE, SIZE), 0.6))
IPD_M = 0.063
PIXELS = npt.NDArray[np.int64]


def posed() -> MeshTexture:
    with Avatar.open("default") as avatar:
        return avatar.rig(portrait(avatar, {"jawOpen": 0.3}, (0.1, 0.0), (0.0, 0.2, 0.0)))


def red_panel(**changes: Any) -> Panel:
    rgba = np.full((64, 96, 4), (255, 0, 0, 255), np.uint8)
    # 12 cm to the left of the avatar's face and nearer to the viewer.
    values: dict[str, Any] = {
        "id": "red", "rgba": rgba, "anchor": "world",
        "anchor_from_panel": Rigid.from_translation([-0.22, 0.05, -0.5]), "size_m": (0.15, 0.1),
    }  # fmt: skip
    return Panel(**(values | changes))


class OpenPage:
    """A page of the test's browser, and the server that it came from."""

    def __init__(self, page: Any, server: PageServer) -> None:
        self.page, self.server = page, server
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def open(self) -> None:
        self.page.goto(self.server.url)
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
        self.server.posted.clear()
        return self.until(
            lambda: next((m for m in self.server.of_type(kind) if fits(m)), None),
            f"a {kind} message",
        )

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
        assert self.server.missing == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    executable = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if executable is None:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    if not IWER.exists():
        pytest.skip("IWER is not installed (npm install --prefix tests/webxr)")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    server = PageServer()
    mesh = posed()
    server.add_scene(
        "person", [link_message(), topology_message(mesh.topology), avatar_message(mesh)]
    )
    server.add_scene("again", [link_message(), avatar_message(mesh, 2)])
    server.add_scene("panel", [panel_message(red_panel())])
    yield server
    server.stop()


def opened(browser: Any, server: PageServer, profile: str, width: int = 640) -> OpenPage:
    page = browser.new_page(viewport={"width": width, "height": 360})
    page.add_init_script(IWER.read_text(encoding="utf-8"))
    script = (HERE / "headset.js").read_text(encoding="utf-8")
    page.add_init_script(script.replace("PROFILE", profile))
    page.set_default_timeout(20_000)
    result = OpenPage(page, server)
    result.open()
    return result


@pytest.fixture(scope="module")
def quest(browser: Any, server: PageServer) -> Iterator[OpenPage]:
    page = opened(browser, server, "quest")
    server.posted.clear()
    page.play("person")
    page.until(lambda: server.of_type("displayed"), "the first frame")
    repeat = "visavis.link.worker.postMessage({type: 'test', repeat: 'again', everyMs: 700})"
    page.run(repeat)
    yield page
    page.page.close()


@pytest.fixture
def in_vr(quest: OpenPage) -> Iterator[OpenPage]:
    """In a session, with both hands in front of the wearer, and the red panel."""
    quest.run(
        "() => { headset.position.set(0, 1.6, 0); headset.quaternion.set(0, 0, 0, 1);"
        "headset.hands.left.position.set(-0.3, 1.2, -0.3);"
        "headset.hands.right.position.set(0.3, 1.2, -0.3) }"
    )
    if quest.run("!visavis.sessions.session"):
        quest.page.click("#enter .vr")
    quest.until(lambda: quest.run("visavis.arrived && visavis.pointers.hand('right')"), "VR")
    quest.play("panel")
    quest.until(lambda: quest.run("visavis.panels.panels.get('red')?.visible"), "the panel")
    yield quest
    for side in ("left", "right"):
        quest.run("side => headset.hands[side].updatePinchValue(0)", side)


def drawn_here(mesh: MeshTexture | MeshNodes) -> PIXELS:
    with open_renderer("gl", RenderOptions(antialias="none", depth=False)) as renderer:
        return renderer.draw(mesh, VIEW).rgba[..., :3].astype(int)


def require_alike(page: PIXELS, desktop: PIXELS) -> None:
    """Equal but for rounding, and for single pixels where two drivers cover an edge differently."""
    away = np.abs(page - desktop).max(axis=2)
    assert away.mean() < 0.6
    assert np.percentile(away, 98.5) <= 3
    blurred = cv2.blur(np.abs(page - desktop).astype(np.float32), (9, 9)).max()
    assert blurred < 16  # no patch of it differs


def test_a_shipped_avatar_looks_as_on_the_desktop(quest: OpenPage) -> None:
    mesh = posed()
    desktop = drawn_here(mesh)
    assert np.ptp(desktop[:, :, 0]) > 150  # there is something to compare
    require_alike(quest.picture(), desktop)
    quest.require_clean()


def personal_mesh(avatar_file: Path) -> MeshNodes:
    with open_avatar(str(avatar_file)) as avatar, Avatar.open("default") as shipped:
        assert isinstance(avatar, PersonalAvatar)
        state = portrait(shipped, {"jawOpen": 0.2}, (0.0, 0.0), (0.0, 0.1, 0.0))
        return avatar.decode_nodes(avatar.encode(state))


def test_a_personal_avatar_looks_as_on_the_desktop(
    browser: Any, server: PageServer, small_avatar: Path
) -> None:
    mesh = personal_mesh(small_avatar)
    server.add_scene(
        "personal",
        [link_message(), topology_message(mesh.topology, mesh.basis), avatar_message(mesh)],
    )
    page = opened(browser, server, "quest")
    server.posted.clear()
    page.play("personal")
    page.until(lambda: server.of_type("displayed"), "the first frame")
    require_alike(page.picture(), drawn_here(mesh))
    page.require_clean()
    page.page.close()


def centre_of_red(picture: PIXELS) -> tuple[float, float]:
    red = (picture[..., 0] > 200) & (picture[..., 1] < 40) & (picture[..., 2] < 40)
    assert red.sum() > 50
    rows, columns = np.nonzero(red)
    return float(columns.mean()), float(rows.mean())


def test_both_eyes_are_drawn_with_the_right_disparity(in_vr: OpenPage) -> None:
    both = in_vr.drawn()
    height, width = both.shape[0], both.shape[1] // 2
    left, right = both[:, :width], both[:, width:]
    place = in_vr.run(
        "visavis.panels.panels.get('red').board.stageFromBoard.elements.slice(12, 15)"
    )
    depth = -place[2]  # the viewer stands at z = 0
    expected = IPD_M * (height / 2) / depth  # fovy is 90 degrees
    (left_x, left_y), (right_x, right_y) = centre_of_red(left), centre_of_red(right)
    assert left_x - right_x == pytest.approx(expected, abs=1.0)
    assert left_y == pytest.approx(right_y, abs=0.5)
    # The avatar, without knowing where it is: its head found again in the other eye.
    head_depth = -in_vr.run("visavis.people.seats.people.get(0).place.z")
    shift = IPD_M * (height / 2) / head_depth
    row, column = height // 2, width // 2
    half = 30
    head = left[row - half : row + half, column - half : column + half, :3].astype(np.uint8)
    search = right[row - half : row + half, :, :3].astype(np.uint8)
    score = cv2.matchTemplate(search, head, cv2.TM_CCOEFF_NORMED)
    assert score.max() > 0.8
    assert column - half - int(score.argmax()) == pytest.approx(shift, abs=3.0)
    in_vr.require_clean()


def test_head_and_fifty_joints_arrive(in_vr: OpenPage) -> None:
    in_vr.run("headset.position.set(0.1, 1.55, 0.05)")
    sample = in_vr.fresh("sample", lambda m: bool(m["left"] and m["right"]))
    assert len(sample["left"]) == len(sample["right"]) == 75
    hand = np.array(sample["left"]).reshape(25, 3)
    assert 0.1 < np.linalg.norm(hand[9] - hand[0]) < 0.25  # wrist to index finger's tip
    assert sample["left"][0] < sample["right"][0]
    assert [view["eye"] for view in sample["views"]] == ["left", "right"]
    apart = np.subtract(sample["views"][1]["xyz"], sample["views"][0]["xyz"])
    assert np.linalg.norm(apart) == pytest.approx(IPD_M, abs=1e-4)
    assert sample["views"][0]["size"] == [320, 360]
    assert np.rad2deg(sample["views"][0]["fov"][2]) == pytest.approx(45, abs=0.1)
    # Moving the head moves it in the avatar's world by as much.
    in_vr.run("headset.position.set(0.1, 1.65, 0.05)")
    before = sample["head"]["xyz"]
    moved = in_vr.fresh("sample", lambda m: m["head"]["xyz"][1] > before[1] + 0.05)
    assert np.subtract(moved["head"]["xyz"], before) == pytest.approx([0, 0.1, 0], abs=1e-3)
    # Who looks along -z shows a face that looks along -z: half a turn from the world's axes.
    assert np.abs(moved["head"]["wxyz"]) == pytest.approx([0, 0, 1, 0], abs=1e-3)


def test_a_pinch_moves_a_panel_and_two_hands_resize_it(in_vr: OpenPage) -> None:
    place = "visavis.panels.panels.get('red').board.stageFromBoard.elements.slice(12, 15)"
    start = np.array(in_vr.run(place))
    in_vr.move_pinch("right", start)
    in_vr.pinch("right", True)
    there = in_vr.pinch_point("right") + [-0.05, 0.12, 0.04]
    in_vr.server.posted.clear()
    by = there - in_vr.pinch_point("right")
    in_vr.move_pinch("right", there)
    in_vr.until(lambda: np.allclose(in_vr.run(place), start + by, atol=2e-3), "the panel's move")
    # The other hand takes it too, at its right edge, and pulls.
    now = np.array(in_vr.run(place))
    in_vr.move_pinch("left", now + [-0.07, 0.0, 0.0])
    in_vr.pinch("left", True)
    hands = [in_vr.pinch_point(side) for side in ("left", "right")]
    apart = np.linalg.norm(hands[1] - hands[0])
    in_vr.move_pinch("right", hands[0] + 2.0 * (hands[1] - hands[0]))
    size = "visavis.panels.panels.get('red').sizeM[0]"
    expected = 0.15 * np.linalg.norm(in_vr.pinch_point("right") - hands[0]) / apart
    in_vr.until(lambda: abs(in_vr.run(size) - expected) < 0.005, "the panel's growth")
    in_vr.pinch("left", False)
    in_vr.pinch("right", False)
    told = in_vr.until(lambda: in_vr.server.of_type("panelMoved"), "panelMoved")
    assert told[-1]["id"] == "red"
    last = in_vr.until(
        lambda: next(
            (m for m in in_vr.server.of_type("panelMoved")[::-1] if m["sizeM"][0] > 0.25), None
        ),
        "the last panelMoved",
    )
    assert last["sizeM"][0] / last["sizeM"][1] == pytest.approx(1.5)
    in_vr.require_clean()


def test_a_pinch_seats_the_avatar_elsewhere(in_vr: OpenPage) -> None:
    place = "visavis.people.seats.people.get(0).place.toArray()"
    start = np.array(in_vr.run(place))
    in_vr.move_pinch("right", start + [0.05, -0.1, 0.12])
    in_vr.pinch("right", True)
    in_vr.move_pinch("right", in_vr.pinch_point("right") + [0.2, -0.3, 0.1])
    in_vr.until(
        lambda: np.allclose(in_vr.run(place), start + [0.2, -0.3, 0.1], atol=5e-3), "the move"
    )
    in_vr.pinch("right", False)
    in_vr.require_clean()


def test_lost_hands_return(in_vr: OpenPage) -> None:
    in_vr.run("headset.hands.right.connected = false")
    gone = in_vr.fresh("sample", lambda m: m["right"] is None)
    assert gone["left"] is not None
    assert not in_vr.run("visavis.hands.hands.right.object.visible")
    # Other headsets keep the hand and tell no pose of it.
    in_vr.run(
        "() => { globalThis.before = XRFrame.prototype.getJointPose;"
        " XRFrame.prototype.getJointPose = () => null }"
    )
    in_vr.fresh("sample", lambda m: m["left"] is None and m["right"] is None)
    in_vr.run(
        "() => { XRFrame.prototype.getJointPose = before; headset.hands.right.connected = true }"
    )
    in_vr.fresh("sample", lambda m: bool(m["left"] and m["right"]))
    assert in_vr.run("visavis.hands.hands.right.object.visible")
    # Nothing is told while the head itself is not tracked, and the page goes on drawing.
    in_vr.run(
        "() => { globalThis.before = XRFrame.prototype.getViewerPose;"
        " XRFrame.prototype.getViewerPose = () => null }"
    )
    in_vr.until(lambda: in_vr.run("visavis.stageFromViewer === null"), "tracking loss")
    frames = in_vr.run("visavis.stage.frames")
    in_vr.until(lambda: in_vr.run("visavis.stage.frames") > frames + 2, "drawing without a pose")
    in_vr.run("() => { XRFrame.prototype.getViewerPose = before }")
    in_vr.fresh("sample")
    in_vr.require_clean()


def test_a_menu_over_the_session_takes_the_hands_only(in_vr: OpenPage) -> None:
    in_vr.run("headset.updateVisibilityState('visible-blurred')")
    in_vr.until(lambda: "menu" in in_vr.status(), "blur")
    frames = in_vr.run("visavis.stage.frames")
    in_vr.until(lambda: in_vr.run("visavis.stage.frames") > frames + 2, "drawing while blurred")
    assert not in_vr.run("visavis.hands.hands.left.object.visible")
    in_vr.run("headset.updateVisibilityState('visible')")
    in_vr.until(lambda: in_vr.status() == "Connected", "focus")
    in_vr.until(lambda: in_vr.run("visavis.hands.hands.left.object.visible"), "hands")


def test_what_is_stale_fades_and_comes_back(in_vr: OpenPage) -> None:
    in_vr.run("visavis.link.worker.postMessage({type: 'test', stop: true})")
    visible = "visavis.people.people.get(0).mesh.object.visible"
    in_vr.until(lambda: not in_vr.run(visible), "the avatar to fade")
    in_vr.hear(link_message("lost"))
    in_vr.until(lambda: "lost" in in_vr.status(), "words for it")
    in_vr.run("visavis.link.worker.postMessage({type: 'test', repeat: 'again', everyMs: 700})")
    in_vr.until(lambda: in_vr.run(visible), "the avatar")
    in_vr.until(lambda: in_vr.status() == "Connected", "words for it")
    in_vr.require_clean()


def test_a_server_s_restart_brings_the_person_anew(in_vr: OpenPage) -> None:
    seat = in_vr.run("visavis.people.seats.people.get(0).place.toArray()")
    in_vr.play("person")  # the same topology again, under the same person
    in_vr.fresh("displayed", lambda m: m["frameId"] == 1)
    assert in_vr.run("visavis.people.people.size") == 1
    assert in_vr.run("visavis.people.seats.people.get(0).place.toArray()") == pytest.approx(seat)
    in_vr.require_clean()


def test_sessions_end_and_begin_again(in_vr: OpenPage) -> None:
    in_vr.run("visavis.sessions.leave()")
    in_vr.until(lambda: in_vr.run("visavis.sessions.session === null"), "the end")
    flat = in_vr.drawn()
    assert flat.shape[1] == 640
    assert (flat[..., 3] == 255).all()  # the wall stands behind
    in_vr.until(lambda: in_vr.page.is_visible("#enter .ar"), "the buttons")
    in_vr.page.click("#enter .ar")
    in_vr.until(lambda: in_vr.run("visavis.sessions.mode === 'ar' && visavis.arrived"), "AR")
    room = in_vr.drawn()
    assert (room[:20, :, 3] == 0).all()  # the room is seen
    height, width = room.shape[:2]
    assert (room[height // 2, :, 3] == 255).sum() > 50  # and the avatar in it
    in_vr.run("visavis.sessions.leave()")
    in_vr.until(lambda: in_vr.run("visavis.sessions.session === null"), "the end")
    in_vr.require_clean()
