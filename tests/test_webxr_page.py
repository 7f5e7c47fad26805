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
import pytest

from avatar.codec import Avatar
from avatar.opening import open_avatar
from avatar.personal_avatar import PersonalAvatar
from benchmarks.portraits import portrait
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.texture_basis import TextureBasis
from tests.headless_chromium import chromium
from tests.headset_page import (
    IPD_M,
    OpenPage,
    centre_of_red,
    drawn_here,
    opened,
    require_alike,
)
from tests.page_scene import (
    PageServer,
    avatar_message,
    link_message,
    person_scenes,
    posed,
    topology_message,
)

REPEAT = "visavis.link.worker.postMessage({type: 'test', repeat: 'again', everyMs: 700})"
STOP = "visavis.link.worker.postMessage({type: 'test', stop: true})"
RED_PLACE = "visavis.panels.panels.get('red').board.stageFromBoard.elements.slice(12, 15)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    server = person_scenes()
    yield server
    server.stop()
    assert server.missing == []


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
