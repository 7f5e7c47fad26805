"""Pictures that follow words typed, pinched and spoken in the headset's page.

Everything is real: `visavis stream`, TLS, pairing, Chromium's own key events, its fake microphone
that plays a file of flite's speech, and hands of an emulated headset.
"""

from __future__ import annotations

import json
import shutil
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.spoken_prompts import spoken
from overlay.speech_recogniser import RATE
from sessions.reader import SessionReader
from streams.mark import Mark
from streams.shown_panels import ShownPanels
from tests.headless_chromium import chromium
from tests.headset_page import OpenPage
from tests.stream_process import StreamProcess

SLOW_S = 120.0
FIELD = "#imagine input"
COLOURS = """id => {
  const { canvas } = visavis.panels.panels.get(id).board;
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let [blue, red, strip] = [0, 0, 0];
  const low = 4 * canvas.width * (canvas.height - 20);
  for (let i = 0; i < data.length; i += 4) {
    const [r, g, b, a] = data.subarray(i, i + 4);
    if (b - r > 100) blue++;
    if (r - b > 150) red++;
    if (i >= low && r < 40 && g < 40 && b < 40 && a === 255) strip++;
  }
  return { blue, red, strip: strip / (20 * canvas.width) };
}"""
"""How many pixels of a panel are blue and red, and the share of its lower edge that is a label."""
SPOKEN = "two cats in the snow at night"


@pytest.fixture
def stream(root: Path, tmp_path: Path) -> Iterator[StreamProcess]:
    started = StreamProcess(
        root, tmp_path / "home", "--source", "headset", "--imagine", "--place", "hand",
        "--record", str(tmp_path / "imagined.mcap"),
    )  # fmt: skip
    yield started
    started.process.kill()
    started.process.wait(10.0)


def paired_page(browser: Any, stream: StreamProcess, headset: bool) -> OpenPage:
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 480, "height": 320})
    page = OpenPage(context.new_page(), [])
    page.page.set_default_timeout(1000 * SLOW_S)
    if headset:
        page.emulate("quest")
    page.page.goto(stream.find(r"On this machine: (https://\S+/)#"))
    page.page.get_by_label("The six digits").fill(stream.find(r"PIN (\d{6})"))
    page.page.get_by_role("button", name="Pair").click()
    page.page.wait_for_selector("body.ready")
    page.page.wait_for_selector("#imagine:not([hidden])")
    return page


def shown(page: OpenPage, what: str, panel: str = "imagined") -> dict[str, float]:
    """The colours of a panel once they are there, by an expression on `c`."""

    def look() -> dict[str, float] | None:
        if not page.run("id => visavis.panels.panels.has(id)", panel):
            return None
        colours = page.run(COLOURS, panel)
        return colours if eval(what, {}, colours) else None

    return page.until(look, f"{panel}: {what}", SLOW_S)


def marks_of(session: Path) -> list[dict[str, Any]]:
    with SessionReader(session) as reader:
        marks = [one.record for one in reader.read(["marks"])]
    return [json.loads(m.text) for m in marks if isinstance(m, Mark) and m.name == "imagined"]


@pytest.mark.slow
def test_typed_words_make_pictures_on_the_page(stream: StreamProcess, tmp_path: Path) -> None:
    with chromium() as browser:
        page = paired_page(browser, stream, headset=False)
        keys = page.page.keyboard
        page.page.click(FIELD)
        keys.type("a blue cat", delay=30)
        cat = shown(page, "blue > 500")
        assert cat["red"] < 50
        assert cat["strip"] > 0.8, "the label"
        label = page.run("visavis.panels.panels.get('imagined').generatedBy")
        assert label == "composed of stickers"
        keys.type(" on a red car", delay=30)
        shown(page, "blue > 100 and red > 500")
        for _ in range(len(" on a red car")):
            keys.press("Backspace")
        shown(page, "blue > 500 and red < 50")
        # Kept, it is the nearest of the shelf; Tab shows a shelf's picture, other words a new one.
        keys.press("Enter")
        page.until(lambda: list((tmp_path / "home/imagined").glob("*.png")), "the kept file")
        keys.press("End")
        keys.type("s")
        shown(page, "blue > 200", "shelf 0")
        keys.press("Backspace")
        page.page.fill(FIELD, "")
        page.until(lambda: not page.run("visavis.panels.panels.has('imagined')"), "no picture")
        keys.type("red car")
        shown(page, "red > 500")
        shown(page, "red > 100 and blue < 50", "shelf 0")  # the row of these words
        keys.press("Tab")
        shown(page, "strip < 0.5")
        assert page.run("document.activeElement.tagName") == "INPUT", "Tab stays in the field"
        # What is too long, hostile or no word at all is told, and typing goes on.
        page.page.fill(FIELD, "x" * 1001)
        message = "visavis.panels.panels.has('imagined message')"
        page.until(lambda: page.run(message), "a message", SLOW_S)
        page.page.fill(FIELD, "\u202e\u2066 <script>alert(1)</script> \U0001f408 cat")
        shown(page, "strip > 0.8")
        page.until(lambda: not page.run(message), "the message goes", SLOW_S)
        assert page.errors == []
    stream.stop()
    assert not [line for line in stream.lines if "refused" in line or "failed" in line]
    said = [mark["prompt"] for mark in marks_of(tmp_path / "imagined.mcap")]
    assert "a blue cat" in said
    assert "a blue cat on a red car" in said
    with SessionReader(tmp_path / "imagined.mcap") as reader:
        records = [one.record for one in reader.read(["panels"])]
    panels = [p for one in records if isinstance(one, ShownPanels) for p in one.panels]
    assert any(p.id == "imagined" and p.generated_by == "composed of stickers" for p in panels)


def said_once(path: Path) -> None:
    """The prompt once in half a minute: Chromium plays the file over and over."""
    samples = spoken(SPOKEN, "rms", path.parent)
    padded = np.zeros(30 * RATE, "<i2")
    padded[2 * RATE : 2 * RATE + len(samples)] = samples
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(padded.tobytes())


def place_of(page: OpenPage, panel: str) -> np.ndarray:
    script = "id => visavis.panels.panels.get(id).board.stageFromBoard.elements.slice(12, 15)"
    return np.array(page.run(script, panel))


def tap(page: OpenPage, at: np.ndarray) -> None:
    """A short pinch there; however slow the machine, the page's clock stands still for it."""
    page.move_pinch("right", at)
    page.run("() => { const at = performance.now(); performance.now = () => at }")
    page.pinch("right", True)
    page.pinch("right", False)
    page.run("() => { delete performance.now }")


def throw(page: OpenPage, at: np.ndarray) -> None:
    """Taken there, and let go a quarter of a metre away after a tenth of a second by the page's
    clock."""
    page.move_pinch("right", at)
    page.run("() => { const at = performance.now(); performance.now = () => at }")
    page.pinch("right", True)
    page.move_pinch("right", page.pinch_point("right") + np.array([0.0, 0.25, 0.0]))
    page.run("() => { const at = performance.now() + 100; performance.now = () => at }")
    page.move_pinch("right", page.pinch_point("right") + np.array([0.0, 0.01, 0.0]))
    page.pinch("right", False)
    page.run("() => { delete performance.now }")


def held_until_heard(page: OpenPage, word: str) -> bool:
    """Hold the button under the pinch until the word is in the field, or the page lets go of it: a
    hold that begins in the middle of the sentence hears half of it."""
    page.pinch("right", True)
    state, field = "visavis.speech.state", f"document.querySelector('{FIELD}').value"
    page.until(lambda: page.run(state) == "speaking", "listening", SLOW_S)
    page.until(lambda: word in page.run(field) or page.run(state) == "idle", "an end", SLOW_S)
    page.pinch("right", False)
    page.until(lambda: page.run(state) == "idle", "let go")
    return word in page.run(field)


@pytest.mark.slow
def test_hands_and_voice_make_and_move_pictures_in_a_session(
    stream: StreamProcess, tmp_path: Path
) -> None:
    flags: list[str] = []
    if shutil.which("flite") is not None:
        wav = tmp_path / "said.wav"
        said_once(wav)
        flags = [
            "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={wav}",
        ]  # fmt: skip
    with chromium(*flags) as browser:
        page = paired_page(browser, stream, headset=True)
        page.run(
            "() => { headset.position.set(0, 1.6, 0); headset.quaternion.set(0, 0, 0, 1);"
            "headset.hands.left.position.set(-0.3, 1.2, -0.3);"
            "headset.hands.right.position.set(0.3, 1.2, -0.3) }"
        )
        page.page.click("#enter .vr")
        page.until(lambda: page.run("visavis.arrived"), "the session", SLOW_S)
        page.until(lambda: page.run("visavis.people.seats.people.has(0)"), "the avatar", SLOW_S)
        page.until(lambda: page.run("visavis.promptBoards[0].visible"), "the board", SLOW_S)
        # The board is tapped: the field has the focus, where a headset opens its keyboard.
        page.run("document.activeElement.blur()")
        board = "visavis.promptBoards[0].stageFromBoard.elements.slice(12, 15)"
        tap(page, np.array(page.run(board)))
        page.until(lambda: page.run("document.activeElement.tagName") == "INPUT", "the focus")
        page.page.keyboard.type("blue cat", delay=30)
        shown(page, "blue > 500")
        page.until(lambda: page.run("visavis.panels.panels.has('shelf 2')"), "the row", SLOW_S)
        # A pinch at nothing calls the picture there.
        there = np.array([-0.3, 1.95, -0.4])
        page.move_pinch("right", there)
        page.pinch("right", True)
        page.until(
            lambda: np.linalg.norm(place_of(page, "imagined") - there) < 0.15, "it comes", SLOW_S
        )
        page.pinch("right", False)
        # It is taken and put elsewhere.
        start = place_of(page, "imagined")
        page.move_pinch("right", start)
        page.pinch("right", True)
        by = np.array([-0.1, -0.05, 0.02])
        page.move_pinch("right", page.pinch_point("right") + by)
        page.until(
            lambda: np.allclose(place_of(page, "imagined"), start + by, atol=5e-3), "it moves"
        )
        page.run("() => { const now = performance.now() + 1000; performance.now = () => now }")
        page.pinch("right", False)
        page.run("() => { delete performance.now }")
        # A tap at a picture of the row shows it large.
        tap(page, place_of(page, "shelf 1"))
        shown(page, "strip < 0.5")
        # Thrown away, it is gone; other words bring a new one.
        throw(page, place_of(page, "imagined"))
        page.until(lambda: not page.run("visavis.panels.panels.has('imagined')"), "gone", SLOW_S)
        page.page.fill(FIELD, "red car")
        shown(page, "red > 500")
        if flags:
            pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
            speak = "visavis.promptBoards[1].stageFromBoard.elements.slice(12, 15)"
            page.move_pinch("right", np.array(page.run(speak)))
            page.until(lambda: held_until_heard(page, "snow"), "the words", 3 * SLOW_S)
            page.until(lambda: page.run("visavis.panels.panels.has('imagined')"), "it", SLOW_S)
        page.run("visavis.sessions.session.end()")
        page.require_clean()
    stream.stop()
    said = [mark["prompt"] for mark in marks_of(tmp_path / "imagined.mcap")]
    assert "blue cat" in said
    if flags:
        assert any("snow" in prompt for prompt in said), said
