"""The page in a real browser (headless Chromium) with an emulated headset (IWER).

Chromium draws in software: what is tested are pixels, numbers and states, never rates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
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
from render.relief import STEEPEST, relief_map
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.rigid import Rigid
from streams.texture_basis import TextureBasis
from tests.headless_chromium import chromium
from tests.headset_page import (
    IPD_M,
    PIXELS,
    SIZE,
    VIEW,
    OpenPage,
    drawn_here,
    require_alike,
)
from tests.page_scene import (
    PageServer,
    avatar_message,
    link_message,
    panel_message,
    rgba_picture,
    topology_message,
)

REPEAT = "visavis.link.worker.postMessage({type: 'test', repeat: 'again', everyMs: 700})"
STOP = "visavis.link.worker.postMessage({type: 'test', stop: true})"
RED_PLACE = "visavis.panels.panels.get('red').board.stageFromBoard.elements.slice(12, 15)"


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


def person_scenes() -> PageServer:
    """A started server. Each page has its own, so that what it posts is its own, too."""
    server = PageServer()
    mesh = posed()
    server.add_scene(
        "person", [link_message(), topology_message(mesh.topology), avatar_message(mesh)]
    )
    server.add_scene("again", [link_message(), avatar_message(mesh, 2)])
    server.add_scene("panel", [panel_message(red_panel())])
    return server


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    server = person_scenes()
    yield server
    server.stop()
    assert server.missing == []


@pytest.fixture(scope="module")
def bench_server() -> Iterator[PageServer]:
    server = person_scenes()
    yield server
    server.stop()
    assert server.missing == []


def opened(browser: Any, server: PageServer, profile: str) -> OpenPage:
    page = browser.new_page(viewport={"width": 640, "height": 360})
    page.set_default_timeout(20_000)
    result = OpenPage(page, server.posted)
    result.emulate(profile)
    page.goto(server.url)
    result.wait_ready()
    return result


@pytest.fixture(scope="module")
def quest(browser: Any, server: PageServer) -> Iterator[OpenPage]:
    page = opened(browser, server, "quest")
    server.posted.clear()
    page.play("person")
    page.until(lambda: page.told("displayed"), "the first frame")
    page.run(REPEAT)
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


def test_a_shipped_avatar_looks_as_on_the_desktop(quest: OpenPage) -> None:
    mesh = posed()
    desktop = drawn_here(mesh)
    assert np.ptp(desktop[:, :, 0]) > 150  # there is something to compare
    require_alike(quest.picture(), desktop)
    quest.require_clean()


def summed(mesh: MeshTexture) -> MeshNodes:
    """The same person with a texture that is still a sum, as a code's decoder gives it."""
    rng = np.random.default_rng(3)
    waves = [cv2.resize(rng.uniform(-127, 127, (8, 8, 3)), (64, 64)) for _ in range(4)]
    scale = np.full(4, 0.12 / 127.0, np.float32)
    basis = TextureBasis(mesh.albedo, np.stack(waves).astype(np.int8), scale, (5, 7))
    nodes = rng.normal(size=basis.nodes_shape).astype(np.float32)
    gain = np.array([0.9, 1.0, 1.1], np.float32)
    topology = replace(mesh.topology, name="summed")
    return MeshNodes(0, topology, mesh.vertices, mesh.normals, basis, nodes, gain)


def test_another_avatar_takes_the_place_and_is_summed_under_the_lamps(
    quest: OpenPage, server: PageServer
) -> None:
    mesh = summed(posed())
    server.add_scene(
        "summed", [topology_message(mesh.topology, mesh.basis), avatar_message(mesh, 9)]
    )
    quest.run(STOP)
    quest.play("summed")
    quest.until(lambda: quest.run("visavis.people.people.get(0).shown.frameId") == 9, "the other")
    desktop = drawn_here(mesh)
    plain = drawn_here(posed())
    assert np.abs(desktop - plain).mean() > 2  # the planes are seen
    require_alike(quest.picture(), desktop)
    quest.play("person")
    quest.until(lambda: quest.run("visavis.people.people.get(0).shown.frameId") == 1, "the first")
    require_alike(quest.picture(), plain)
    quest.run(REPEAT)
    quest.require_clean()


def personal_mesh(avatar_file: Path) -> MeshNodes:
    with open_avatar(str(avatar_file)) as avatar, Avatar.open("default") as shipped:
        assert isinstance(avatar, PersonalAvatar)
        state = portrait(shipped, {"jawOpen": 0.2}, (0.0, 0.0), (0.0, 0.1, 0.0))
        return avatar.decode_nodes(avatar.encode(state))


def test_a_personal_avatar_looks_as_on_the_desktop(browser: Any, small_avatar: Path) -> None:
    mesh = personal_mesh(small_avatar)
    server = PageServer()
    server.add_scene(
        "personal",
        [link_message(), topology_message(mesh.topology, mesh.basis), avatar_message(mesh)],
    )
    page = opened(browser, server, "quest")
    server.posted.clear()
    page.play("personal")
    page.until(lambda: page.told("displayed"), "the first frame")
    require_alike(page.picture(), drawn_here(mesh))
    page.require_clean()
    page.page.close()
    server.stop()
    assert server.missing == []


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
    in_vr.run("headset.position.set(0.1, 1.7, 0.05)")
    before = sample["head"]["xyz"]
    moved = in_vr.fresh("sample", lambda m: m["head"]["xyz"][1] > before[1] + 0.09)
    by = np.subtract(moved["head"]["xyz"], before)
    assert by == pytest.approx([0.1, 0.1, 0.05], abs=1e-3)
    # Who looks along -z shows a face that looks along -z: half a turn from the world's axes.
    assert np.abs(moved["head"]["wxyz"]) == pytest.approx([0, 0, 1, 0], abs=1e-3)


def test_a_pinch_moves_a_panel_and_two_hands_resize_it(in_vr: OpenPage) -> None:
    place = RED_PLACE
    start = np.array(in_vr.run(place))
    in_vr.move_pinch("right", start)
    in_vr.pinch("right", True)
    there = in_vr.pinch_point("right") + [-0.05, 0.12, 0.04]
    in_vr.posted.clear()
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
    told = in_vr.until(lambda: in_vr.told("panelMoved"), "panelMoved")
    assert told[-1]["id"] == "red"
    last = in_vr.until(
        lambda: next((m for m in in_vr.told("panelMoved")[::-1] if m["sizeM"][0] > 0.25), None),
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


def test_controllers_are_drawn_and_point(in_vr: OpenPage) -> None:
    in_vr.run(
        "() => { headset.primaryInputMode = 'controller'; const { left, right } ="
        " headset.controllers; left.position.set(-0.2, 1.2, -0.3);"
        " right.position.set(0.2, 1.2, -0.3) }"
    )
    in_vr.until(lambda: in_vr.run("visavis.hands.controllers.size") == 2, "two controllers")
    sample = in_vr.fresh("sample", lambda m: m["left"] is None)
    assert sample["right"] is None
    start = np.array(in_vr.run(RED_PLACE))
    # The right one points at the panel from half a metre away, along -z.
    x, y, z = start.tolist()
    in_vr.run("at => headset.controllers.right.position.set(...at)", [x, y, z + 0.5])
    in_vr.run("headset.controllers.right.updateButtonValue('trigger', 1)")
    in_vr.until(lambda: in_vr.run("visavis.grab.holds.size") == 1, "the grab")
    in_vr.run("at => headset.controllers.right.position.set(...at)", [x + 0.1, y, z + 0.3])
    in_vr.until(
        lambda: np.allclose(in_vr.run(RED_PLACE), start + [0.1, 0.0, -0.2], atol=5e-3), "the move"
    )
    in_vr.run("headset.controllers.right.updateButtonValue('trigger', 0)")
    in_vr.until(lambda: in_vr.run("visavis.grab.holds.size") == 0, "letting go")
    in_vr.run("() => { headset.primaryInputMode = 'hand' }")
    in_vr.until(lambda: in_vr.run("Boolean(visavis.pointers.hand('right'))"), "the hands")
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
    in_vr.run(STOP)
    visible = "visavis.people.people.get(0).mesh.object.visible"
    in_vr.until(lambda: not in_vr.run(visible), "the avatar to fade")
    in_vr.hear(link_message("lost"))
    in_vr.until(lambda: "lost" in in_vr.status(), "words for it")
    in_vr.run(REPEAT)
    in_vr.until(lambda: in_vr.run(visible), "the avatar")
    in_vr.until(lambda: in_vr.status() == "Connected", "words for it")
    in_vr.require_clean()


def test_a_server_s_restart_brings_the_person_anew(in_vr: OpenPage) -> None:
    seat = in_vr.run("visavis.people.seats.people.get(0).place.toArray()")
    in_vr.run(STOP)
    in_vr.play("person")  # the same topology again, under the same person
    in_vr.until(lambda: in_vr.run("visavis.people.people.get(0).shown.frameId") == 1, "it")
    in_vr.run(REPEAT)
    assert in_vr.run("visavis.people.people.size") == 1
    assert in_vr.run("visavis.people.seats.people.get(0).place.toArray()") == pytest.approx(seat)
    in_vr.require_clean()


def test_sessions_end_and_begin_again(in_vr: OpenPage) -> None:
    in_vr.run("visavis.sessions.leave()")
    in_vr.until(lambda: in_vr.run("visavis.sessions.session === null"), "the end")
    flat = in_vr.drawn()
    assert flat.shape[1] == 640
    assert (flat[..., 3] == 255).all()  # the wall stands behind
    assert in_vr.run("visavis.stage.camera.fov") == 34  # the headset's is much wider
    in_vr.until(lambda: in_vr.page.is_visible("#enter .ar"), "the buttons")
    in_vr.page.click("#enter .ar")
    in_vr.until(lambda: in_vr.run("visavis.sessions.mode === 'ar' && visavis.arrived"), "AR")
    room = in_vr.drawn()
    assert (room[:20, :, 3] == 0).all()  # the room is seen
    assert (room[len(room) // 2, :, 3] == 255).sum() > 50  # and the avatar in it
    in_vr.run("visavis.sessions.leave()")
    in_vr.until(lambda: in_vr.run("visavis.sessions.session === null"), "the end")
    in_vr.require_clean()


@pytest.fixture(scope="module")
def bench(browser: Any, bench_server: PageServer) -> Iterator[OpenPage]:
    """A page without people, in a browser whose headset is less talkative."""
    for other in browser.contexts:
        other.close()  # two pages that draw in software are in each other's way
    page = opened(browser, bench_server, "vision")
    yield page
    page.page.close()


@pytest.mark.parametrize("shape", [(23, 17), (1, 5), (5, 1), (1, 1)])
def test_relief_is_its_slow_twin(bench: OpenPage, shape: tuple[int, int]) -> None:
    surface = np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 4)).astype(np.uint8)
    script = """
    async ({ rgba, height, width, steepest }) => {
      const { reliefMap } = await import("./relief.js");
      return [...reliefMap({ width, height, rgba: Uint8Array.from(rgba) }, { steepest })];
    }
    """
    height, width = shape
    given = {"rgba": surface.ravel().tolist(), "height": height, "width": width}
    made = bench.run(script, given | {"steepest": STEEPEST})
    assert np.array_equal(np.array(made).reshape(surface.shape), relief_map(surface))


def test_planes_of_a_decoder_become_the_picture(bench: OpenPage, bench_server: PageServer) -> None:
    rng = np.random.default_rng(5)
    small = rng.uniform(30, 220, (6, 6, 3)).astype(np.float32)
    picture = np.asarray(cv2.resize(small, (64, 48)), np.uint8)
    y, u, v = (plane.astype(np.uint8) for plane in i420(picture))
    padded = [np.pad(plane, ((0, 0), (0, 16)), constant_values=255) for plane in (y, u, v)]
    # A rectangle that fills the view, not lit, its faces the two of a square.
    left, right, up, down = np.tan(VIEW.fov)
    corners = [[left, up, -1], [right, up, -1], [right, down, -1], [left, down, -1]]
    flat = {
        "type": "topology", "person": 7, "id": "flat", "lit": False,
        "faces": np.array([0, 3, 2, 0, 2, 1], np.uint32),
        "uv": np.array([0, 0, 1, 0, 1, 1, 0, 1], np.float32), "parts": np.zeros(4, np.uint8),
        "surface": {"width": 1, "height": 1, "rgba": np.full(4, 255, np.uint8)},
    }  # fmt: skip
    shown = {
        "type": "avatar", "person": 7, "frameId": 1, "tMs": 0.0, "id": "flat",
        "vertices": np.array(corners, np.float32).ravel(),
        "normals": np.tile(np.array([0, 0, 1], np.float32), 4),
        "texture": {
            "kind": "planes", "width": 64, "height": 48,
            "strides": [80, 48, 48], "y": padded[0].ravel(), "u": padded[1].ravel(),
            "v": padded[2].ravel(),
        },
    }  # fmt: skip
    bench_server.add_scene("planes", [flat, shown])
    bench.posted.clear()
    bench.play("planes")
    bench.until(lambda: bench.told("displayed"), "the planes")
    expected = cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    away = np.abs(bench.picture() - expected)
    assert away.mean() < 1.5
    assert away.max() < 24  # chroma has half the resolution
    bench.hear({"type": "personGone", "person": 7})
    bench.until(lambda: bench.run("visavis.people.people.size") == 0, "the end of it")
    bench.require_clean()


def i420(rgb: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float64], ...]:
    """Y, U, V of BT.709 in limited range, chroma averaged over 2 x 2 pixels."""
    code = rgb.astype(float) / 255.0
    luma = code @ [0.2126, 0.7152, 0.0722]
    height, width = luma.shape
    blocks = (height // 2, 2, width // 2, 2)
    blue = ((code[..., 2] - luma) / 1.8556).reshape(blocks).mean(axis=(1, 3))
    red = ((code[..., 0] - luma) / 1.5748).reshape(blocks).mean(axis=(1, 3))
    return np.rint(16 + 219 * luma), np.rint(128 + 224 * blue), np.rint(128 + 224 * red)


def test_a_drawn_video_stands_still_while_the_head_turns(
    bench: OpenPage, bench_server: PageServer
) -> None:
    half = np.zeros((128, 128, 3), np.uint8)
    half[...] = (20, 40, 60)
    half[60:68, 60:68] = (255, 0, 0)
    frame = np.concatenate([half, np.zeros_like(half)], axis=1)
    focal = SIZE / 2 / np.tan(VIEW.fov[1])
    for angle in (0.0, 0.12):
        turned = Rigid.from_rotvec((0.0, angle, 0.0), (0.0, 0.0, 0.0))
        view = {"wxyz": turned.wxyz.tolist(), "xyz": [0, 0, 0], "fov": VIEW.fov.tolist()}
        bench_server.add_scene(
            "video",
            [
                {
                    "type": "video", "frame": rgba_picture(frame),
                    "views": [{"eye": "left", **view}, {"eye": "right", **view}],
                }
            ],
        )  # fmt: skip
        bench.run("visavis.video.arrivedAt = -Infinity")
        bench.play("video")
        bench.until(lambda: bench.run("visavis.video.arrivedAt > 0"), "the video")
        column, row = centre_of_red(bench.picture())
        # An eye that was turned to the left saw the dot left of where this one looks.
        assert column == pytest.approx(SIZE / 2 - 0.5 - focal * np.tan(angle), abs=1.5)
        assert row == pytest.approx(SIZE / 2 - 0.5, abs=1.0)
    bench.run("() => { visavis.video.object.visible = false }")
    bench.require_clean()


PLAY_OFFLINE = """
async ({ pieces, seconds }) => {
  const rate = 48000, context = new OfflineAudioContext(1, seconds * rate, rate);
  await context.audioWorklet.addModule("./sound_worklet.js");
  const player = new AudioWorkletNode(
    context, "voice-player", { numberOfInputs: 0, outputChannelCount: [1] });
  player.connect(context.destination);
  for (const { at, tMs, pcm } of pieces) {
    context.suspend(at).then(async () => {
      player.port.postMessage({ type: "pcm", tMs, pcm: Float32Array.from(pcm), rate });
      await new Promise((resolve) => setTimeout(resolve, 5));
      context.resume();
    });
  }
  const heard = await context.startRendering();
  return [...heard.getChannelData(0)];
}
"""


def test_lost_sound_is_silence(bench: OpenPage) -> None:
    rate, length = 48000, 960
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(40 * length) / rate)
    pieces = [
        {
            "at": 128 * round((0.005 + 0.02 * k) * rate / 128) / rate,
            "tMs": 1000.0 + 20.0 * k, "pcm": tone[k * length : (k + 1) * length].tolist(),
        }
        for k in range(40)
        if k not in (15, 16, 17)
    ]  # fmt: skip
    heard = np.array(bench.run(PLAY_OFFLINE, {"pieces": pieces, "seconds": 1.2}))
    assert np.abs(heard).max() <= 0.5 + 1e-3  # nothing is louder than what was said
    begins = int(np.argmax(np.abs(heard) > 0))
    delay = begins / rate
    assert 0.04 < delay < 0.12
    spoken = heard[begins + 1000 : begins + 14 * length]
    assert np.sqrt(np.mean(spoken**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    # Where three pieces are missing, and after the last one, there is nothing at all.
    lost = heard[begins + 15 * length + 60 : begins + 18 * length - 60]
    assert np.abs(lost).max() == 0
    assert np.abs(heard[begins + 40 * length + 60 :]).max() == 0
    after = heard[begins + 19 * length : begins + 38 * length]
    assert np.sqrt(np.mean(after**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    # No click: no step is steeper than a 440 Hz tone's, or than 4 ms of fading adds to it.
    assert np.abs(np.diff(heard)).max() < 0.5 * 2 * np.pi * 440 / rate + 0.5 / (0.004 * rate) + 1e-3


LAYERS = """
async () => {
  const { QuadLayers } = await import("./quad_layers.js");
  const { stage, panels } = globalThis.visavis, gl = stage.renderer.getContext();
  const states = [], textures = new Map();
  const session = {
    enabledFeatures: ["layers"], renderState: { layers: ["drawn"] },
    updateRenderState: (state) => states.push(state.layers.length),
  };
  const binding = {
    createQuadLayer: (init) => {
      const layer = { init, destroyed: false, destroy() { this.destroyed = true; } };
      const texture = gl.createTexture();
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA8, init.viewPixelWidth, init.viewPixelHeight);
      stage.renderer.resetState();
      textures.set(layer, texture);
      return layer;
    },
    getSubImage: (layer) => ({ colorTexture: textures.get(layer) }),
  };
  const layers = new QuadLayers(session, stage.renderer, binding);
  layers.update(panels, {}, {});
  const [layer] = [...textures.keys()];
  const read = gl.createFramebuffer();
  gl.bindFramebuffer(gl.FRAMEBUFFER, read);
  gl.framebufferTexture2D(
    gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, textures.get(layer), 0);
  const row = (y) => { const p = new Uint8Array(4); gl.readPixels(4, y, 1, 1, gl.RGBA,
    gl.UNSIGNED_BYTE, p); return [...p]; };
  const rows = [row(layer.init.viewPixelHeight - 4), row(40)];
  gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  stage.renderer.resetState();
  layers.update(panels, {}, {});
  panels.gone("layered");
  layers.update(panels, {}, {});
  return { states, rows, size: [layer.width, layer.height], gone: layer.destroyed,
    x: layer.transform.position.x };
}
"""


def test_panels_become_quad_layers_where_they_are_granted(
    bench: OpenPage, bench_server: PageServer
) -> None:
    """Against a compositor that only keeps what it is given: there is none to be had here."""
    rgba = np.full((64, 64, 4), (0, 0, 255, 255), np.uint8)
    rgba[:32] = (255, 0, 0, 255)
    panel = red_panel(id="layered", rgba=rgba, generated_by="a model")
    bench_server.add_scene("layered", [panel_message(panel)])
    bench.play("layered")
    bench.until(lambda: bench.run("visavis.panels.panels.get('layered')?.visible"), "the panel")
    told = bench.run(LAYERS)
    # The panel below what is drawn; nothing again while nothing changes; then none.
    assert told["states"] == [2, 1]
    assert told["rows"] == [[255, 0, 0, 255], [0, 0, 255, 255]]  # the upper row of texels is on top
    assert told["size"] == pytest.approx([0.075, 0.05])  # half of its sides, as browsers take it
    assert told["gone"]
    bench.require_clean()


def test_people_sit_side_by_side_and_leave(bench: OpenPage, bench_server: PageServer) -> None:
    mesh = posed()
    both = [
        message
        for person in (0, 1)
        for message in (
            topology_message(mesh.topology, person=person),
            avatar_message(mesh, 1, person),
        )
    ]
    bench_server.add_scene("two", both)
    bench.play("two")
    shown = "[0, 1].every(who => visavis.people.people.get(who)?.shown)"
    bench.until(lambda: bench.run(shown), "two people")
    places = np.array(
        bench.run("[0, 1].map(who => visavis.people.seats.people.get(who).place.toArray())")
    )
    assert np.linalg.norm(places[1] - places[0]) > 0.6
    assert np.hypot(places[:, 0], places[:, 2]) == pytest.approx(0.9)
    bench.hear({"type": "personGone", "person": 1})
    bench.until(lambda: bench.run("visavis.people.people.size") == 1, "one of them to leave")
    assert (
        bench.run("visavis.stage.scene.children.filter(one => one.material?.length > 1).length")
        == 1
    )
    bench.require_clean()


def test_a_pinch_seen_only_as_a_passing_pointer_moves_the_avatar(bench: OpenPage) -> None:
    assert not bench.page.is_visible("#enter .ar")  # it cannot show the room
    bench.play("person")
    bench.run(
        "() => { headset.primaryInputMode = 'controller';"
        " headset.controllers.left.connected = headset.controllers.right.connected = false;"
        " Object.defineProperty(headset.controllers.right.inputSource, 'targetRayMode',"
        " { value: 'transient-pointer' }) }"
    )
    bench.page.click("#enter .vr")
    bench.until(lambda: bench.run("visavis.arrived && visavis.people.seats.people.size"), "VR")
    place = "visavis.people.seats.people.get(0).place.toArray()"
    start = np.array(bench.run(place))
    bench.run(
        "() => { const { right } = headset.controllers; right.position.set(0, 1.55, -0.2);"
        " right.quaternion.set(0, 0, 0, 1); right.connected = true;"
        " right.updateButtonValue('trigger', 1) }"
    )
    bench.until(lambda: bench.run("visavis.grab.holds.size") == 1, "the grab")
    bench.run("headset.controllers.right.position.set(0.1, 1.45, -0.3)")
    bench.until(
        lambda: np.allclose(bench.run(place), start + [0.1, -0.1, -0.1], atol=5e-3), "the move"
    )
    bench.run("headset.controllers.right.connected = false")  # the pinch opens: it is gone
    bench.until(lambda: bench.run("visavis.grab.holds.size") == 0, "letting go")
    sample = bench.fresh("sample")
    assert sample["left"] is None
    assert sample["right"] is None
    bench.run("visavis.sessions.leave()")
    bench.until(lambda: bench.run("visavis.sessions.session === null"), "the end")
    bench.require_clean()
