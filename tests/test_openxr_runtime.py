"""`headset.openxr` against a real runtime: Monado, its headset scripted (tests/openxr).

Build it once with `python tests/openxr/build_monado.py`; without it these tests are skipped.
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageGrab

from render.projection_matrix import FAR, NEAR
from sessions.reader import SessionReader
from streams.hand_skeleton import WEBXR_JOINTS, mediapipe_joints, wrist_frame
from streams.headset_sample import HeadsetSample
from streams.rigid import Rigid
from streams.shown_panels import ShownPanels
from streams.tracked_state import TrackedState
from streams.view import View
from tests.openxr.build_monado import is_current, monado_folder
from tests.openxr.remote_headset import (
    Hand,
    Place,
    RemoteHeadset,
    free_port,
    monado_environment,
    run_python,
)
from tests.openxr.scene import BALL, BALL_RADIUS, SIZE, note

ROOT = Path(__file__).resolve().parents[1]
EYE_DISTANCE = 0.063
"""Metres: what Monado's driver has."""


@pytest.fixture(scope="module")
def monado() -> Path:
    """The folder of a built Monado."""
    if not sys.platform.startswith("linux"):
        pytest.skip("Monado and EGL are on Linux")
    if importlib.util.find_spec("xr") is None:
        pytest.skip("pyopenxr is not installed (extra openxr)")
    folder = monado_folder()
    if not is_current(folder):
        pytest.skip(
            f"no Monado of this checkout in {folder}; tests/openxr/build_monado.py makes it"
        )
    drivers = [Path(place) / "vulkan" / "icd.d" for place in ("/usr/share", "/etc")]
    if not any(list(place.glob("*.json")) for place in drivers):
        pytest.skip("Monado draws with Vulkan, and no driver is here: mesa-vulkan-drivers")
    for name in ("libopenxr_monado_inprocess.so", "monado-service"):
        told = subprocess.run(["ldd", str(folder / name)], capture_output=True, text=True)
        lacking = [line.strip() for line in told.stdout.splitlines() if "not found" in line]
        if lacking or told.returncode:
            pytest.skip(f"{name} was built elsewhere, remove {folder}: {lacking or told.stderr}")
    return folder


def run_scenarios(monado: Path, folder: Path, *names: str) -> dict[str, Any]:
    """What tests/openxr/scenarios.py wrote."""
    port = free_port()
    environment = monado_environment(monado, folder, port)
    arguments = ["-m", "tests.openxr.scenarios", ",".join(names), str(folder), str(port)]
    process = run_python(arguments, environment, folder)
    try:
        code = process.wait(120.0)
    finally:
        process.kill()
    said = (folder / "stderr").read_text()[-2000:]
    assert code == 0, f"{names}: {code}\n{said}"
    return json.loads((folder / "result.json").read_text()) | {"folder": folder}


@pytest.fixture(scope="module")
def seen(monado: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("openxr_seen")
    return run_scenarios(monado, folder, "pictures", "hands", "states")


@pytest.fixture(scope="module")
def troubled(monado: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("openxr_troubled")
    # Interrupts last: Monado's scripted driver hangs up at the first one.
    names = "broken_drawing", "bad_asks", "steady", "loss", "interrupted"
    return run_scenarios(monado, folder, *names)


def view_from(fields: dict[str, Any]) -> View:
    place = Rigid(np.array(fields["wxyz"]), np.array(fields["xyz"]))
    return View(
        fields["t_ns"], fields["eye"], place, np.array(fields["fov"]), tuple(fields["size"])
    )


def projected(view: View, point: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Where a view shows a point of the world: pixel x, y, and metres along its z."""
    seen_at = np.asarray(view.world_from_eye.inverse().apply(np.asarray(point)))
    pixel = view.camera().matrix() @ (seen_at / seen_at[2])
    return np.array([pixel[0], pixel[1], seen_at[2]])


def ball_in(path: Path) -> tuple[float, float]:
    """The middle of what is red in a picture, pixels."""
    rgb = np.asarray(Image.open(path).convert("RGB")).astype(int)
    red = rgb[..., 0] - rgb[..., 1:].max(axis=-1) > 40
    rows, columns = np.nonzero(red)
    assert len(rows) > 200, f"{path.name}: no ball"
    return (columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2


def test_the_doctor_finds_the_runtime(monado: Path, tmp_path: Path) -> None:
    environment = monado_environment(monado, tmp_path, free_port())
    done = subprocess.run(
        [sys.executable, "-m", "apps.probes", "openxr"],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["status"], found["name"]) == ("ok", "openxr")
    assert "with hand tracking" in found["text"]


# The session, and what is drawn in it


def test_the_headset_is_the_scripted_one(seen: dict[str, Any]) -> None:
    name, headset, extensions, tracks_hands = seen["about"]
    assert "Monado" in name
    assert "Remote" in headset
    assert tracks_hands
    assert "XR_KHR_composition_layer_depth" in extensions


def test_a_session_goes_through_every_state_and_back(seen: dict[str, Any]) -> None:
    assert seen["pictures"]["passed"] == [
        "idle", "ready", "synchronized", "visible", "focused",
        "visible", "synchronized", "stopping", "idle", "exiting",
    ]  # fmt: skip
    assert seen["pictures"]["ended"]
    assert seen["pictures"]["frames"] >= 6


@pytest.mark.parametrize("moment", ["ahead", "moved"])
def test_both_eyes_show_the_ball_where_it_is(seen: dict[str, Any], moment: str) -> None:
    """The runtime's own images, read back: within half a pixel of where the views project it (a
    ball's outline is off its middle's projection by less than that at this distance)."""
    across = {}
    for fields, letter in zip(seen["pictures"][moment]["views"], "lr", strict=True):
        view = view_from(fields)
        assert view.eye[0] == letter
        x, y = ball_in(seen["folder"] / f"{moment}_{letter}.png")
        wanted = projected(view, BALL)
        assert abs(x - wanted[0]) < 1.0, f"{moment} {letter}: {x} of {wanted[0]}"
        assert abs(y - wanted[1]) < 1.0, f"{moment} {letter}: {y} of {wanted[1]}"
        across[letter] = x
    focal = view.camera().focal[0]
    disparity = across["l"] - across["r"]
    assert disparity == pytest.approx(focal * EYE_DISTANCE / wanted[2], abs=1.5)
    assert disparity > 10, "the left eye sees what is near further right"


def test_the_views_move_with_the_head(seen: dict[str, Any]) -> None:
    ahead, moved = (
        [view_from(fields).world_from_eye for fields in seen["pictures"][moment]["views"]]
        for moment in ("ahead", "moved")
    )
    middle = [(left.xyz + right.xyz) / 2 for left, right in (ahead, moved)]
    assert np.allclose(middle[0], [0, 0, 0], atol=1e-5)
    assert np.allclose(middle[1], [0.1, 0.05, 0.0], atol=1e-5)
    assert np.linalg.norm(ahead[1].xyz - ahead[0].xyz) == pytest.approx(EYE_DISTANCE, abs=1e-4)
    # Looking ahead an eye's z is the world's -z; 0.2 rad to the left it is turned towards -x.
    assert np.allclose(ahead[0].rotate(np.array([0.0, 0.0, 1.0])), [0, 0, -1], atol=1e-5)
    wanted = [-np.sin(0.2), 0, -np.cos(0.2)]
    assert np.allclose(moved[0].rotate(np.array([0.0, 0.0, 1.0])), wanted, atol=1e-5)


def test_depth_goes_with_the_pictures(seen: dict[str, Any]) -> None:
    """The runtime takes XrCompositionLayerDepthInfoKHR (it refuses a wrong one), and what lies in
    its images is metres to the ball and nothing beside it."""
    assert seen["pictures"]["with_depth"]
    assert np.allclose(seen["pictures"]["depth"], [0.0, 1.0, NEAR, FAR])
    for fields, letter in zip(seen["pictures"]["ahead"]["views"], "lr", strict=True):
        depth = np.load(seen["folder"] / f"ahead_{letter}_depth.npy")
        x, y, distance = projected(view_from(fields), BALL)
        assert depth[round(y), round(x)] == pytest.approx(distance - BALL_RADIUS, abs=0.003)
        assert depth[5, 5] == 0.0
        assert depth.shape == (SIZE[1], SIZE[0])


def test_a_panel_is_a_quad_layer_with_its_label(seen: dict[str, Any]) -> None:
    """What the runtime was given of it is the labelled picture, upright."""
    wanted = ["CompositionLayerProjection", "CompositionLayerQuad"]
    assert seen["pictures"]["layers"] == wanted, "the panel over the eyes' pictures"
    given = np.asarray(Image.open(seen["folder"] / "panel.png"))
    wanted = np.asarray(Image.open(seen["folder"] / "panel_wanted.png"))
    assert np.array_equal(given, wanted)
    height = len(given)
    assert given[height // 8, 10].tolist() == [20, 200, 40, 255], "green above"
    assert given[height * 5 // 8, 10].tolist() == [20, 40, 220, 128], "blue below, half clear"
    assert given[-2, 2].tolist() == [24, 26, 32, 255], "the label's ground"


def test_times_are_the_hosts(seen: dict[str, Any]) -> None:
    sample = seen["pictures"]["sample"]
    assert 0 < sample["now_ns"] - sample["t_ns"] < 5e9
    assert sample["back_ns"] == sample["t_ns"], "one moment, by both clocks"
    # The display's time lies ahead, by some periods, more where this machine is slow; the two
    # clocks are further apart than that.
    ahead = np.array(seen["pictures"]["display_ahead_ns"])
    assert 0 < np.median(ahead) < 1e9
    assert all(abs(view["t_ns"] - sample["t_ns"]) < 1e9 for view in sample["views"])
    assert abs(sample["device_ns"] - sample["t_ns"]) > 10e9
    # What frames alone would tell of the clock: early by how far ahead they are, late when this
    # machine is; between the clocks lies more.
    assert abs(seen["pictures"]["estimate_late_ns"]) < 1e9


# Hands


def hand(seen: dict[str, Any], moment: str, side: str) -> npt.NDArray[np.float32]:
    joints = np.array(seen["hands"][moment][side], np.float32)
    assert joints.shape == (25, 3)
    return joints


def test_hands_are_where_they_were_put(seen: dict[str, Any]) -> None:
    """In the world, whose origin is 1.6 m above the driver's floor."""
    for moment, side, place in (
        ("open", "left", (-0.2, 1.3, -0.4)), ("open", "right", (0.2, 1.35, -0.4)),
        ("moved", "left", (-0.1, 1.4, -0.5)), ("moved", "right", (0.2, 1.35, -0.3)),
    ):  # fmt: skip
        wrist = hand(seen, moment, side)[WEBXR_JOINTS.index("wrist")]
        assert np.allclose(wrist, np.array(place) - (0.0, 1.6, 0.0), atol=1e-5), (moment, side)


def test_all_joints_move_and_turn_with_the_hand(seen: dict[str, Any]) -> None:
    was = Rigid.from_translation((-0.2, -0.3, -0.4))
    now = Rigid.from_rotvec((0.0, 0.5, 0.0), (-0.1, -0.2, -0.5))
    wanted = (now @ was.inverse()).apply(hand(seen, "open", "left"))
    assert np.allclose(hand(seen, "moved", "left"), wanted, atol=1e-5)
    shifted = hand(seen, "open", "right") + np.array([0, 0, 0.1], np.float32)
    assert np.allclose(hand(seen, "moved", "right"), shifted, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_joints_are_in_xrhands_order(seen: dict[str, Any], side: str) -> None:
    """A finger's joints follow one another by a bone's length, a palm's is nowhere among them;
    the thumb is on its own side of the hand, and the fingers lead forward."""
    joints = hand(seen, "open", side)
    for name in ("index-finger", "middle-finger", "ring-finger", "pinky-finger"):
        first = WEBXR_JOINTS.index(f"{name}-metacarpal")
        bones = np.linalg.norm(np.diff(joints[first : first + 5], axis=0), axis=1)
        assert ((bones > 0.01) & (bones < 0.09)).all(), (name, bones)
        assert bones[0] > bones[1] > bones[3], "palm's bone, then ever shorter ones"
    assert (joints[1:, 2] < joints[0, 2]).all(), "ahead of the wrist, -z"
    thumb, little = joints[WEBXR_JOINTS.index("thumb-tip")], joints[-1]
    towards_thumb = thumb[0] - little[0]
    assert towards_thumb > 0 if side == "left" else towards_thumb < 0
    frame = wrist_frame(mediapipe_joints(joints), side)
    assert frame.rotate(np.array([0.0, 0.0, -1.0]))[2] < -0.95
    assert frame.rotate(np.array([0.0, 1.0, 0.0]))[1] > 0.95, "its back is up"


def test_a_closed_hand_is_closed(seen: dict[str, Any]) -> None:
    tip = WEBXR_JOINTS.index("middle-finger-tip")
    reach = [
        np.linalg.norm(hand(seen, moment, "left")[tip] - hand(seen, moment, "left")[0])
        for moment in ("open", "closed")
    ]
    assert reach[0] > 0.15
    assert reach[1] < 0.6 * reach[0]
    assert np.allclose(hand(seen, "closed", "right"), hand(seen, "open", "right"), atol=1e-6)


def test_a_hand_that_is_not_tracked_is_absent(seen: dict[str, Any]) -> None:
    assert seen["hands"]["one"]["right"] is None
    assert np.allclose(hand(seen, "one", "left"), hand(seen, "open", "left"), atol=1e-6)


# Hidden, recentred, left


@pytest.mark.parametrize("space", ["local", "stage"])
def test_a_hidden_session_draws_nothing_and_comes_back(seen: dict[str, Any], space: str) -> None:
    told = seen["states"][space]
    assert told["passed"] == [
        "idle", "ready", "synchronized", "visible", "focused", "visible", "synchronized",
        "visible", "focused", "visible", "synchronized", "stopping", "idle", "exiting",
    ]  # fmt: skip
    assert told["ended"], "it was left, not torn down"
    assert told["drawn"] > 0
    assert told["hidden"] == 0


def test_spaces_put_the_world_where_they_say(seen: dict[str, Any]) -> None:
    """The head begins at (0.3, 1.7, 0.2) in the driver's room and goes 0.2 m to the right. LOCAL
    is the runtime's; in STAGE the world is put where the head is first seen."""
    local, stage = seen["states"]["local"], seen["states"]["stage"]
    assert np.allclose(local["first"], [0.3, 0.1, 0.2], atol=1e-5)
    assert np.allclose(local["moved"], [0.5, 0.1, 0.2], atol=1e-5)
    assert np.allclose(np.array(stage["moved"]) - stage["first"], [0.2, 0.0, 0.0], atol=1e-5)
    assert (local["recentred"], stage["recentred"]) == (1, 0)


# Trouble


def test_a_lost_session_is_told_and_another_opens(troubled: dict[str, Any]) -> None:
    pending, lost = troubled["loss"]["told"]
    assert pending.startswith("SessionLostError: OpenXR: the runtime is about to lose")
    assert lost.startswith("SessionLostError: OpenXR: the headset's session was lost while")
    assert troubled["loss"]["after"][:5] == ["idle", "ready", "synchronized", "visible", "focused"]
    assert troubled["loss"]["frames"] >= 3


def test_a_fault_in_drawing_ends_its_frame_and_no_more(troubled: dict[str, Any]) -> None:
    told = troubled["broken_drawing"]
    assert told["raised"] == "a fault of the application"
    assert told["frames_after"] == 4
    assert told["discarded"] == 0, "the frame that it broke was ended"
    assert told["passed"][-1] == "exiting"


def test_ctrl_c_at_any_moment_leaves_a_session_that_goes_on_and_ends(
    troubled: dict[str, Any],
) -> None:
    """A frame that was waited for and never begun would block the next wait for ever."""
    told = troubled["interrupted"]
    assert told["caught"] == 6
    assert told["after"] == [2] * 6
    assert told["passed"][-1] == "exiting"


def test_what_the_runtime_cannot_do_is_said_before_it_is_asked(troubled: dict[str, Any]) -> None:
    size, panels = troubled["bad_asks"]["told"]
    assert "expected pictures of at most 1920x1080 pixels, got 4096x4096" in size
    assert "expected at most 127 panels, got 200" in panels
    assert troubled["bad_asks"]["state"] == "exiting"


def test_nothing_piles_up(seen: dict[str, Any], troubled: dict[str, Any]) -> None:
    threads, files, images = np.array(troubled["steady"]["counts"]).T
    assert (threads == threads[0]).all()
    assert (files == files[0]).all()
    # Monado itself frees a session's images (two eyes, colour and depth, three each) a little
    # later, with the next one at the latest.
    assert images.max() <= 2 * 2 * 3
    assert seen["gl_objects"] == troubled["gl_objects"] == {}


@pytest.fixture
def service(monado: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A monado-service of the test's own, and `tmp_path` for its settings."""
    port = free_port()
    environment = monado_environment(monado, tmp_path, port, kind="service")
    process = subprocess.Popen(
        [str(monado / "monado-service")],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for((tmp_path / "run" / "monado_comp_ipc").exists)
        (tmp_path / "port").write_text(str(port))
        yield process
    finally:
        process.kill()
        process.wait(10.0)


def test_a_runtime_that_dies_is_told_in_one_line(
    monado: Path, service: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    port = int((tmp_path / "port").read_text())
    environment = monado_environment(monado, tmp_path, port, kind="service")
    arguments = ["-m", "tests.openxr.scenarios", "instance_lost", str(tmp_path), str(port)]
    process = run_python(arguments, environment, tmp_path)
    try:
        wait_for((tmp_path / "kill").exists)
        service.kill()
        assert process.wait(60.0) == 0
    finally:
        process.kill()
    result = json.loads((tmp_path / "result.json").read_text())
    told = result["instance_lost"]["told"]
    assert told.startswith("OpenXR: the runtime went away while"), told
    assert result["instance_lost"]["passed"][-1] == "focused"
    assert result["gl_objects"] == {}


# The compositor's own picture


@pytest.fixture
def screen() -> Iterator[str]:
    """The name of an X display of the test's own."""
    if shutil.which("Xvfb") is None:
        pytest.skip("no Xvfb to show the compositor's window on")
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "1024x600x24"],
        pass_fds=(write_end,), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write_end)
    try:
        with os.fdopen(read_end) as told:
            ready, _, _ = select.select([told], [], [], 20.0)
            assert ready, "Xvfb did not start"
            yield f":{told.readline().strip()}"
    finally:
        process.kill()
        process.wait(10.0)


def test_the_compositor_shows_eyes_and_panel_where_and_as_they_are(
    monado: Path, screen: str, tmp_path: Path
) -> None:
    """Monado's main compositor in a window, both eyes side by side, each 480 pixels wide: nothing
    is upside down, colours are what they were, the panel stands where the world has it."""
    port = free_port()
    environment = monado_environment(monado, tmp_path, port)
    environment |= {"DISPLAY": screen, "XRT_COMPOSITOR_FORCE_XCB": "1"}
    del environment["XRT_COMPOSITOR_NULL"]
    arguments = ["-m", "tests.openxr.scenarios", "composed", str(tmp_path), str(port)]
    process = run_python(arguments, environment, tmp_path)
    panel, picture = note(), np.zeros((0, 0, 3), np.uint8)

    def shows_both() -> bool:
        nonlocal picture
        picture = np.asarray(ImageGrab.grab(xdisplay=screen).convert("RGB"))
        return all(
            np.abs(picture[y, x].astype(int) - (20, 200, 40)).max() <= 12
            for y, x in spots(panel.anchor_from_panel.xyz + (0.0, 0.025, 0.0))
        )

    def spots(point: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
        found = [projected(replace(view, size=(480, 540)), point) for view in views]
        return [(round(y), round(x) + 480 * eye) for eye, (x, y, _) in enumerate(found)]

    try:
        wait_for(lambda: (tmp_path / "shown").exists() or process.poll() is not None)
        views = [view_from(fields) for fields in json.loads((tmp_path / "shown").read_text())]
        wait_for(shows_both, 60.0)
        (tmp_path / "seen").write_text("yes")
        assert process.wait(60.0) == 0
    finally:
        process.kill()
    for y, x in spots(BALL):
        red, green, blue = picture[y, x].astype(int)
        assert red > 150, "the ball"
        assert max(green, blue) < 0.5 * red
    for y, x in spots(panel.anchor_from_panel.xyz - (0.0, 0.018, 0.0)):
        red, green, blue = picture[y, x].astype(int)
        assert blue > green + 60, "the panel's lower half, half clear over the wall"
        assert blue < 215
    for y, x in spots(panel.anchor_from_panel.xyz + (0.0, 0.07, 0.0)):
        assert np.ptp(picture[y, x].astype(int)) < 30, "above it the wall"


# The verb


def test_the_verb_shows_and_records_an_avatar_with_the_wearers_hands(
    monado: Path, tmp_path: Path
) -> None:
    port, out = free_port(), tmp_path / "worn.mcap"
    environment = monado_environment(monado, tmp_path, port)
    arguments = [
        *("-c", "from apps.command import main; main()", "preview", "--openxr"),
        *("--source", "synthetic:still", "--seconds", "4", "--size", "128x128"),
        *("--headset-hands", "--text", "Hello", "--record", str(out)),
    ]
    process = run_python(arguments, environment, tmp_path)
    try:
        with RemoteHeadset(port) as headset:
            places = Hand(Place((-0.15, 1.5, -0.35))), Hand(Place((0.15, 1.4, -0.35)), 0.0, False)
            headset.move(head=Place((0.05, 1.62, 0.0)), left=places[0], right=places[1])
            wait_for(lambda: "shown; Ctrl-C quits" in (tmp_path / "stderr").read_text(), 90.0)
            headset.announce("lost")
            assert process.wait(120.0) == 0, (tmp_path / "stderr").read_text()[-2000:]
    finally:
        process.kill()
    said = (tmp_path / "stdout").read_text()
    assert "frames in Monado: Remote HMD" in said
    told = (tmp_path / "stderr").read_text()
    assert "session was lost while" in told
    assert "opening another" in told
    with SessionReader(out) as session:
        records = [entry.record for entry in session.read(["headset", "state", "panels"])]
    samples = [record for record in records if isinstance(record, HeadsetSample)]
    states = [record for record in records if isinstance(record, TrackedState)]
    assert len(samples) > 5
    last = samples[-1]
    assert np.allclose(last.world_from_head.xyz, [0.05, 0.02, 0.0], atol=1e-4)
    assert last.left is not None
    assert last.right is None
    assert np.allclose(last.left[0], [-0.15, -0.1, -0.35], atol=1e-4)
    assert [view.eye for view in last.views] == ["left", "right"]
    assert last.views[0].size == (128, 128)
    assert all(a.t_ns < b.t_ns for a, b in pairwise(samples))
    (panel,) = next(record for record in records if isinstance(record, ShownPanels)).panels
    assert panel.anchor_from_panel.xyz[2] == pytest.approx(-0.5), "where eyes do not tire"
    # The avatar's left hand is as far from its head as the wearer's from theirs, turned to the
    # wearer: what is ahead of one is ahead of the other.
    worn = [state for state in states if state.hands and state.face is not None]
    assert worn, "no state has the wearer's hands"
    state = worn[-1]
    assert [pose.side for pose in state.hands] == ["left"]
    assert state.face is not None
    head = state.face.world_from_head
    wrist = head.inverse().apply(state.hands[0].joints[0].astype(np.float64))
    # In the head's frame, x to its left: 0.2 m left of it, 0.12 below, 0.35 ahead.
    assert np.allclose(wrist, [0.2, -0.12, 0.35], atol=0.08)


def test_a_runtime_that_dies_ends_the_verb_and_leaves_the_recording_whole(
    monado: Path, service: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    port, out = int((tmp_path / "port").read_text()), tmp_path / "cut.mcap"
    environment = monado_environment(monado, tmp_path, port, kind="service")
    arguments = [
        *("-c", "from apps.command import main; main()", "preview", "--openxr"),
        *("--source", "synthetic:still", "--size", "64x64", "--record", str(out)),
    ]
    process = run_python(arguments, environment, tmp_path)
    try:
        wait_for(lambda: "shown; Ctrl-C quits" in (tmp_path / "stderr").read_text(), 90.0)
        time.sleep(0.5)
        service.kill()
        assert process.wait(60.0) == 1
    finally:
        process.kill()
    said = (tmp_path / "stderr").read_text()
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("visavis: OpenXR: the runtime went away while")
    with SessionReader(out) as session:
        assert "headset" in session.seams
        assert len(list(session.read(["headset"]))) > 0


def wait_for(ready: Callable[[], bool], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.05)
