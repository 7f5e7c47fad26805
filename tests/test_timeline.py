"""The timeline by itself, its bar, and a real window steered by keys and mouse."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.timeline import Timeline, clock
from apps.timeline_bar import HEIGHT, MARGIN, bar_picture, is_on_bar, share_at

ROOT = Path(__file__).parents[1]
TIMES = [100, 200, 300, 400, 600, 700]


def _at(timeline: Timeline, t_ns: int) -> Timeline:
    timeline.seek(t_ns)
    assert timeline.take_target() == timeline.now_ns
    return timeline


def test_it_plays_to_the_end_and_pauses_there():
    timeline = Timeline(TIMES)
    for t_ns in TIMES:
        assert timeline.playing
        timeline.reached(t_ns)
        assert timeline.take_target() is None
    assert not timeline.playing
    assert timeline.share == 1.0
    timeline.toggle()  # from the end it plays from the beginning
    assert timeline.playing
    assert timeline.take_target() == 100


def test_with_loop_the_end_goes_over_into_the_beginning():
    timeline = Timeline(TIMES, loop=True)
    timeline.reached(700)
    assert timeline.playing
    assert timeline.take_target() == 100


def test_steps_pause_and_stay_within():
    timeline = Timeline(TIMES)
    timeline.reached(400)
    for key, t_ns in (("right", 600), (".", 700), (".", 700), ("left", 600), (",", 400)):
        assert timeline.key(key)
        assert timeline.take_target() == t_ns
        assert not timeline.playing
    timeline.step(-99)
    timeline.step(1)  # two keys before the viewer has moved count both
    assert timeline.take_target() == 200


def test_a_and_b_make_a_loop():
    timeline = Timeline(TIMES)
    _at(timeline, 200).key("a")
    _at(timeline, 400).key("b")
    assert (timeline.a_ns, timeline.b_ns) == (200, 400)
    timeline.reached(300)
    assert timeline.take_target() is None
    timeline.reached(400)
    assert timeline.take_target() == 200
    _at(timeline, 600).key("a")  # A behind B: B goes
    assert (timeline.a_ns, timeline.b_ns) == (600, None)
    _at(timeline, 300).key("b")  # B before A is none
    assert timeline.b_ns is None
    timeline.key("l")
    assert (timeline.a_ns, timeline.b_ns) == (None, None)


def test_paused_a_loop_does_not_move():
    timeline = Timeline(TIMES)
    _at(timeline, 200).mark_a()
    _at(timeline, 400).mark_b()
    timeline.toggle()
    timeline.reached(600)
    assert timeline.take_target() is None


def test_a_picture_from_before_a_seek_does_not_move_it_back():
    timeline = Timeline(TIMES)
    timeline.seek(650)
    timeline.reached(200)
    assert timeline.now_ns == 600
    assert timeline.take_target() == 600


@given(st.floats(-0.5, 1.5), st.integers(1, 40))
def test_a_click_goes_to_the_nearest_time(share, count):
    times = [7 + 13 * k * k for k in range(count)]
    timeline = Timeline(times)
    timeline.seek_share(share)
    wanted = times[0] + min(max(share, 0.0), 1.0) * (times[-1] - times[0])
    nearest = min(abs(t - wanted) for t in times)
    assert abs(timeline.now_ns - wanted) <= nearest + 1.0


@given(st.integers(0, 1000))
def test_seeking_finds_the_newest_time_at_or_before(t_ns):
    timeline = Timeline(TIMES)
    timeline.seek(t_ns)
    before = [t for t in TIMES if t <= t_ns]
    assert timeline.take_target() == (before[-1] if before else TIMES[0])


def test_dragging_only_while_the_button_is_down():
    timeline = Timeline(TIMES)
    timeline.drag(0.9)
    assert timeline.take_target() is None
    timeline.press(0.5)
    assert timeline.take_target() == 400
    timeline.drag(0.0)
    assert timeline.take_target() == 100
    timeline.release()
    timeline.drag(1.0)
    assert timeline.take_target() is None


def test_keys_for_jumps_ends_and_speed():
    timeline = Timeline([k * 1_000_000_000 for k in range(20)])
    for key, seconds in (("page down", 5), ("page down", 10), ("page up", 5), ("end", 19),
                         ("home", 0), ("page up", 0)):  # fmt: skip
        assert timeline.key(key)
        assert timeline.take_target() == seconds * 1_000_000_000
    speeds = []
    for key in "]]]]" + "[" * 7:
        timeline.key(key)
        speeds.append(timeline.speed)
    assert speeds == [2.0, 4.0, 4.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.1, 0.1, 0.1]
    assert not timeline.key("q")
    assert clock(62_345_678_900) == "1:02.346"
    assert timeline.line().startswith("0:00.000 / 0:19.000")
    with pytest.raises(ValueError, match="at least one time"):
        Timeline([])


def test_the_bar_shows_place_and_loop_and_clicks_find_it():
    timeline = Timeline(list(range(0, 1001, 10)))
    _at(timeline, 250).mark_a()
    _at(timeline, 750).mark_b()
    _at(timeline, 500)
    bar = bar_picture(timeline, 432)
    assert bar.shape == (HEIGHT, 432, 4)
    row = bar[15].astype(int)
    white = np.flatnonzero((row[:, :3] > 240).all(-1))
    assert white.mean() == pytest.approx(MARGIN + 200, abs=1.5)
    yellow = np.flatnonzero((np.abs(bar[21].astype(int) - (250, 204, 21, 255)).max(-1)) < 3)
    assert (yellow[0], yellow[-1]) == pytest.approx((MARGIN + 100, MARGIN + 300), abs=2)
    assert share_at((MARGIN + 100) / 432, 432) == pytest.approx(0.25)
    assert share_at(0.0, 432) == 0.0
    assert share_at(1.0, 432) == 1.0
    assert is_on_bar(0.97, 480)
    assert not is_on_bar(0.5, 480)
    assert bar_picture(Timeline([5]), 20).shape == (HEIGHT, 20, 4)


WINDOW = """
import sys
from pathlib import Path
import glfw
import numpy as np
from apps.replay_stages import Replay, ReplayOptions
from apps.replay_window import ReplayPlayer
from apps.timeline import Timeline
from apps.timeline_bar import MARGIN
from render.gl_objects import live_objects
from render.renderer import RenderOptions
from render.window import Window, WindowOptions
from sessions.reader import SessionReader

options = WindowOptions(size=(320, 240), vsync=False)
with (
    SessionReader(Path(sys.argv[1])) as session,
    Replay(session, ReplayOptions(sys.argv[2], size=(320, 240))) as replay,
    Window(options, RenderOptions(depth=False)) as window,
):
    timeline = Timeline(replay.times())
    handle = window.renderer._context.window
    on_key = glfw.set_key_callback(handle, None)
    on_button = glfw.set_mouse_button_callback(handle, None)

    def press(key):
        on_key(handle, key, 0, glfw.PRESS, 0)
        on_key(handle, key, 0, glfw.RELEASE, 0)

    def settled():
        for _ in range(400):
            player.turn()
            shown = player.shown
            if shown is not None and shown.frame.t_ns == timeline.now_ns:
                return timeline.times.index(timeline.now_ns)
        raise RuntimeError(f"does not settle at {timeline.now_ns}")

    def seen():
        player.turn()
        return window.renderer.read().rgba

    with ReplayPlayer(replay, window, timeline) as player:
        press(glfw.KEY_SPACE)
        settled()
        assert not timeline.playing
        press(glfw.KEY_HOME)
        places = [settled()]
        first = seen()
        for key in (glfw.KEY_RIGHT, glfw.KEY_RIGHT, glfw.KEY_RIGHT, glfw.KEY_LEFT, glfw.KEY_END):
            press(key)
            places.append(settled())
        assert (seen() != first).any()
        press(glfw.KEY_HOME)
        places.append(settled())
        again = seen()
        # The same moment after going elsewhere is the same picture: nothing is remembered.
        assert (again == first).all(), np.abs(again.astype(int) - first).max()
        print("places", places)
        glfw.set_cursor_pos(handle, 160, 228)
        player.turn()
        on_button(handle, glfw.MOUSE_BUTTON_LEFT, glfw.PRESS, 0)
        print("clicked", settled())
        on_button(handle, glfw.MOUSE_BUTTON_LEFT, glfw.RELEASE, 0)
        press(glfw.KEY_A)
        player.turn()
        timeline.step(3)
        settled()
        press(glfw.KEY_B)
        player.turn()
        a, b = (timeline.times.index(t) for t in (timeline.a_ns, timeline.b_ns))
        print("loop", a, b)
        timeline.seek(timeline.a_ns)
        press(glfw.KEY_SPACE)
        went = []
        for _ in range(1500):
            player.turn()
            place = timeline.times.index(player.shown.frame.t_ns)
            if not went or went[-1] != place:
                went.append(place)
            if len(went) > 2 * (b - a + 1):
                break
        print("went", went)
        press(glfw.KEY_ESCAPE)
        player.turn()
        assert window.closed
print("left", live_objects())
"""


@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="xvfb-run is not installed")
@pytest.mark.parametrize("seam", ["frames", "code"])
def test_a_window_goes_where_keys_and_mouse_say(demo_clip, tmp_path, seam):
    from tests.replayed_sessions import record_clip

    path = record_clip(tmp_path / "session.mcap", demo_clip, 11, lossless=False)
    done = subprocess.run(
        ["xvfb-run", "-a", "-s", "-screen 0 640x480x24", sys.executable, "-c", WINDOW,
         str(path), seam],
        capture_output=True, text=True, timeout=180, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert said["places"] == "[0, 1, 2, 3, 2, 10, 0]"
    assert said["clicked"] == "5"
    assert said["loop"] == "5 8"
    went = [int(n) for n in said["went"].strip("[]").split(",")]
    assert went[:8] == [5, 6, 7, 8, 5, 6, 7, 8] or went[1:9] == [5, 6, 7, 8, 5, 6, 7, 8]
    assert said["left"] == "{}"


@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="xvfb-run is not installed")
def test_replay_and_preview_play_a_session_to_its_end(demo_clip, tmp_path):
    from tests.replayed_sessions import record_clip

    path = record_clip(tmp_path / "session.mcap", demo_clip, 6, lossless=False)
    start = (
        "import sys; from apps.command import run;"
        f"a = run(['replay', {str(path)!r}, '--from', 'state', '--speed', 'max']);"
        f"b = run(['preview', '--source', 'session:{path}', '--text', 'hello']); sys.exit(a or b)"
    )
    done = subprocess.run(
        ["xvfb-run", "-a", "-s", "-screen 0 640x480x24", sys.executable, "-c", start],
        capture_output=True, text=True, timeout=180, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
