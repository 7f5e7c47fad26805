"""Everything at once: `visavis stream`, TLS, pairing, the page, its worker, and an emulated headset
whose head and hands drive the avatar and are recorded. Nothing is left out but the compositor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sessions.reader import SessionReader
from streams.headset_sample import HeadsetSample
from streams.rigid import Rigid
from streams.shown_panels import ShownPanels
from streams.tracked_state import TrackedState
from tests.headless_chromium import chromium
from tests.headset_page import OpenPage
from tests.stream_process import StreamProcess

PANEL = "visavis.panels.panels.get('text')"
PLACE = f"{PANEL}.board.stageFromBoard.elements.slice(12, 15)"
PERSON = "visavis.people.seats.people.has(0)"
SLOW_S = 120.0
"""The machine may be busy, and its two pictures are drawn in software."""


@pytest.fixture
def stream(root: Path, tmp_path: Path):
    started = StreamProcess(
        root, tmp_path / "home", "--source", "headset", "--text", "Hello",
        "--record", str(tmp_path / "worn.mcap"),
    )  # fmt: skip
    yield started
    started.process.kill()
    started.process.wait(10.0)


@pytest.mark.slow
def test_a_headset_is_worn(stream: StreamProcess, tmp_path: Path):
    with chromium() as browser:
        page = OpenPage(
            browser.new_context(
                ignore_https_errors=True, viewport={"width": 480, "height": 270}
            ).new_page(),
            [],
        )
        page.emulate("quest")
        page.page.goto(stream.find(r"On this machine: (https://\S+/)#"))
        page.page.get_by_label("The six digits").fill(stream.find(r"PIN (\d{6})"))
        page.page.get_by_role("button", name="Pair").click()
        page.page.wait_for_selector("body.ready", timeout=1000 * SLOW_S)
        _put(page, (0.0, 1.6, 0.0))
        page.page.click("#enter .vr")
        page.until(lambda: page.run("visavis.arrived"), "the session", SLOW_S)
        page.until(lambda: page.run(PERSON), "one's own avatar", SLOW_S)
        page.until(lambda: page.run(f"{PANEL}?.visible"), "the panel", SLOW_S)
        # Up and to the side, one hand lost, and back again.
        _put(page, (0.1, 1.7, 0.05))
        page.page.wait_for_timeout(1500)
        page.run("headset.hands.right.connected = false")
        page.page.wait_for_timeout(1500)
        page.run("headset.hands.right.connected = true")
        page.until(lambda: page.run("visavis.pointers.hand('right')"), "the hand's return", SLOW_S)
        panel = _moved_panel(page)
        page.page.wait_for_timeout(1500)
        page.run("visavis.sessions.session.end()")
        page.until(lambda: page.run("!visavis.sessions.session"), "the session's end", SLOW_S)
        # What is refused on purpose is not complained about: nothing was.
        page.require_clean()
    stream.stop()
    assert not [line for line in stream.lines if "refused" in line or "failed" in line]
    _require_recorded(tmp_path / "worn.mcap", panel)


def _put(page: OpenPage, head: tuple[float, float, float]) -> None:
    page.run(
        "([x, y, z]) => { headset.position.set(x, y, z); headset.quaternion.set(0, 0, 0, 1);"
        "headset.hands.left.position.set(-0.3, 1.2, -0.3);"
        "headset.hands.right.position.set(0.3, 1.2, -0.3) }",
        list(head),
    )


def _moved_panel(page: OpenPage) -> np.ndarray:
    """Pinch the panel and take it elsewhere; by how much it moved in the stage, metres."""
    start = np.array(page.run(PLACE))
    page.move_pinch("right", start)
    page.pinch("right", True)
    by = np.array([-0.05, 0.12, 0.04])
    page.move_pinch("right", page.pinch_point("right") + by)
    moved: Callable[[], bool] = lambda: bool(  # noqa: E731
        np.allclose(page.run(PLACE), start + by, atol=5e-3)
    )
    page.until(moved, "the panel's move", SLOW_S)
    page.pinch("right", False)
    return by


def _require_recorded(session: Path, panel_moved: np.ndarray) -> None:
    with SessionReader(session) as reader:
        read = [one.record for one in reader.read(["headset", "state", "panels"])]
    samples = [one for one in read if isinstance(one, HeadsetSample)]
    states = [one for one in read if isinstance(one, TrackedState)]
    shown = [one for one in read if isinstance(one, ShownPanels) and one.panels]
    assert len(samples) >= 10
    both = [one for one in samples if one.left is not None and one.right is not None]
    assert both
    assert [one for one in samples if one.left is not None and one.right is None], "a lost hand"
    assert both[-1].t_ns > next(
        one.t_ns for one in samples if one.left is not None and one.right is None
    ), "it came back"
    moved = samples[-1].world_from_head.xyz - samples[0].world_from_head.xyz
    assert moved == pytest.approx([0.1, 0.1, 0.05], abs=2e-3)
    for sample in both:
        assert sample.left is not None
        length = np.linalg.norm(sample.left[9] - sample.left[0])
        assert 0.1 < length < 0.25, "metres from the wrist to the index finger's tip"
    assert len(samples[-1].views) == 2
    eyes = [view.world_from_eye.xyz for view in samples[-1].views]
    assert np.linalg.norm(eyes[1] - eyes[0]) == pytest.approx(0.063, abs=1e-4)
    # The avatar was driven by them: seated before the camera, facing it, moved as the head was. On
    # a machine that stalls for seconds nobody is there meanwhile, and is then seated anew.
    heads = {one.t_ns: one.world_from_head for one in samples}
    seated: Rigid | None = None
    for state in states:
        if state.face is None:
            seated = None
            continue
        face, head = state.face.world_from_head, heads[state.t_ns]
        if seated is None:
            seated = face @ head.inverse()
            assert face.xyz == pytest.approx([0.0, 0.0, -0.6], abs=1e-6)
            assert face.rotate((0.0, 0.0, 1.0)) == pytest.approx([0, 0, 1], abs=1e-3)
        assert (seated @ head).xyz == pytest.approx(face.xyz, abs=1e-6)
        assert (seated @ head).angle_to(face) < 1e-6
    assert len([state for state in states if state.face is not None]) >= 5
    assert any(len(one.hands) == 2 for one in states)
    # The panel is shown where it was put; it goes along for a frame while the fingers part.
    places = [one.panels[0].anchor_from_panel.xyz for one in shown]
    assert np.linalg.norm(places[-1] - places[0]) == pytest.approx(
        np.linalg.norm(panel_moved), abs=0.03
    )
