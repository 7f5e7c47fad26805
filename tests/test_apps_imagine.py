"""`visavis imagine`, and pictures that follow what is typed into a window."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apps.command import main, run
from apps.imagine_panels import MARK, QUIET_NS, ImagineOptions, ImaginePanels
from apps.prompt_line import PromptLine
from apps.usage import FailedError
from overlay.board import PanelBoard
from overlay.image_model import final_step
from overlay.live_generation import LiveOptions
from overlay.panel_places import PLACES
from overlay.shelf import Shelf
from overlay.sticker_model import StickerModel
from overlay.wish import Wish
from render.window import WindowEvent
from sessions.reader import SessionReader
from streams.mark import Mark
from streams.rigid import Rigid
from streams.shown_panels import ShownPanels
from streams.tracked_state import FacePose, HandPose, TrackedState
from streams.view import View

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def model() -> StickerModel:
    return StickerModel()


def test_a_picture_is_written_and_labelled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cat.png"
    assert run(["imagine", "a blue cat next to a red car", "--out", str(out)]) == 0
    assert "labelled AI" in capsys.readouterr().out
    picture = np.asarray(Image.open(out))
    assert picture.shape == (512, 512, 4)
    # The label's strip is opaque and dark; what is above it is clear where nothing is.
    assert (picture[-30:, :, 3] == 255).all()
    assert np.median(picture[-30:, :, :3]) < 40
    assert picture[0, 0, 3] == 0
    left, right = picture[100:400, :250], picture[100:400, 260:]
    assert (left[..., 2].astype(int) - left[..., 0] > 80).mean() > 0.15
    assert (right[..., 0].astype(int) - right[..., 2] > 80).mean() > 0.15


@pytest.mark.parametrize("name", ["cat.webp", "cat.jpg"])
def test_other_kinds_of_files(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    options = ["--size", "256x128", "--style", "fluent"]
    assert run(["imagine", "a cat", "--out", str(out), *options]) == 0
    assert Image.open(out).size[0] == 384  # a label needs so much
    assert Image.open(out).size[1] == 192


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["", "--out", "x.png"], 2, "the prompt is empty"),
        (["x" * 10_000, "--out", "x.png"], 2, "10000 characters: expected at most 1000"),
        (["a cat", "--out", "x.gif"], 2, "ends in .png"),
        (["a cat", "--out", "x.png", "--size", "20x20"], 2, "64 to 2048"),
        (["a cat", "--out", "x.png", "--seed", "-4"], 2, "Wish.seed"),
        (
            ["a cat", "--out", "x.png", "--model", "crayons"],
            2,
            "--model crayons: expected stickers",
        ),
        (["a cat", "--out", "x.png", "--price", "-1"], 2, "--price -1: expected US dollars"),
        (["a", "--out", "x.png", "--model", "diffusers:x", "--steps", "0"], 2, "expected 1 to 100"),
        (["a cat", "--out", "x.png", "--refuse", "nowhere"], 2, "the list of refused words"),
        (["a cat", "--out", "x.png", "--like", "nowhere.png"], 1, "No such file"),
        (["a cat", "--out", "nowhere/x.png"], 1, "there is no folder"),
        (["qwertyuiop", "--out", "x.png"], 1, "no sticker is near to 'qwertyuiop'"),
        (["حصان", "--out", "x.png"], 1, "expected English words"),
        (["a cat", "--out", "x.png", "--style", "oil"], 1, "expected one of noto, fluent"),
    ],
)
def test_what_cannot_be_done_is_one_readable_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["imagine", *arguments]) == code
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
    assert not list(tmp_path.iterdir())


OFFLINE = """
import sys
seen = []
sys.addaudithook(lambda event, args: seen.append(event) if event.startswith("socket.") else None)
from apps.command import run
assert run(["imagine", "two red cats at night", "--out", sys.argv[1], "--offline"]) == 0
assert not seen, seen
import socket
for attempt in (
    lambda: socket.create_connection(("127.0.0.1", 9), 1),
    lambda: socket.getaddrinfo("localhost", 80),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
    lambda: socket.socket().bind(("127.0.0.1", 0)),
    lambda: __import__("urllib.request").request.urlopen("http://127.0.0.1:9/"),
):
    try:
        attempt()
    except Exception as error:
        assert "--offline: refused socket" in str(error), error
    else:
        raise SystemExit("the network could be used")
a, b = socket.socketpair()
assert run(["imagine", "a", "--out", sys.argv[1], "--offline", "--model",
            "endpoint:http://127.0.0.1:9/v1"]) == 2
"""


def test_offline_opens_no_socket_and_lets_nobody_open_one(tmp_path: Path) -> None:
    out = tmp_path / "cat.png"
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "needs the network; leave --offline away" in done.stderr
    assert out.exists()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_offline_asks_the_kernel_for_no_internet_socket(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    start = "from apps.command import main; main()"
    command = [sys.executable, "-c", start, "imagine", "a cat", "--offline", "--out"]
    traced = ["strace", "-f", "-e", "trace=%network", "-o", str(log)]
    done = subprocess.run(
        [*traced, *command, str(tmp_path / "cat.png")], cwd=ROOT, capture_output=True, timeout=120
    )
    if b"PTRACE" in done.stderr or b"not permitted" in done.stderr:
        pytest.skip("this machine lets nobody trace")
    assert done.returncode == 0, done.stderr
    assert "AF_INET" not in log.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prompt", "a cat"], "add --imagine"),
        (["--imagine", "--out", "x.mp4"], "add --prompt"),
        (["--imagine", "--source", "session:x.mcap"], "leave it away"),
        (["--imagine", "--place", "moon"], "--place moon: expected one of beside, hand, desk"),
        (["--imagine", "--prompt", "x", "--out", "x.mp4", "--place", "desk"], "only in a window"),
        (["--imagine", "--shelf", "nowhere"], "expected a folder of pictures"),
    ],
)
def test_preview_options_that_make_no_sense(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(["preview", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert callable(main)


@pytest.fixture(autouse=True, scope="module")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The key that signs is made in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISAVIS_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_picture_says_where_it_comes_from(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("c2pa", reason="the extra provenance is not installed")
    from apps.provenance import COMPOSED, read_credentials

    out = tmp_path / f"cat{suffix}"
    assert run(["imagine", "a cat", "--out", str(out), "--seed", "3", "--size", "64x64"]) == 0
    said = read_credentials(out)
    assert said["state"] == "Valid"
    assert said["issuer"] == "Visavis user, self-signed"
    assert said["origin"] == {
        "model": "stickers 1",
        "licence": "Apache-2.0 AND MIT",
        "prompt_sha256_12": Wish("a cat").prompt_hash(),
        "seed": 3,
    }
    assert said["actions"][0]["digitalSourceType"] == COMPOSED
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    data = bytearray(out.read_bytes())
    data[-len(data) // 8] ^= 1
    out.write_bytes(data)
    try:
        state = read_credentials(out)["state"]
    except FailedError:
        state = "Invalid"
    assert state == "Invalid"
    Image.new("RGB", (8, 8)).save(out)
    with pytest.raises(FailedError, match="has no content credentials"):
        read_credentials(out)


def test_refused_words_are_refused_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.png"
    assert run(["imagine", "a nude man", "--out", str(out)]) == 1
    assert "refused because of 'nude'" in capsys.readouterr().err
    (tmp_path / "own").write_text("cat\n")
    own = ["--refuse", str(tmp_path / "own")]
    assert run(["imagine", "two cats", "--out", str(out), *own]) == 1
    assert "refused because of 'cat'" in capsys.readouterr().err
    assert not out.exists()


def typed(text: str) -> list[WindowEvent]:
    return [WindowEvent("text", letter) for letter in text]


def test_the_line_takes_letters_and_gives_them_back() -> None:
    line = PromptLine("a ")
    assert line.take(typed("cat"))
    assert line.text == "a cat"
    back = WindowEvent("key", "backspace")
    assert line.take([back, back])
    assert line.text == "a c"
    assert not line.take([WindowEvent("key", "x"), WindowEvent("move"), WindowEvent("press")])
    line.take(typed("e\u0301"))
    line.take([back])
    assert line.text == "a c"
    for emoji in ("👩\u200d🚀", "👋🏽", "❤\ufe0f"):
        line.take(typed(emoji))
        line.take([back])
        assert line.text == "a c", emoji
    assert not PromptLine().take([back])
    line.take([WindowEvent("text", "x" * 20_000), WindowEvent("key", "enter")])
    assert len(line.text) == 1001
    assert line.entered == 1


class HandClock:
    t_ns = 10**9

    def __call__(self) -> int:
        return self.t_ns


def until(imagined: ImaginePanels, condition: object, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # pyright: ignore[reportCallIssue]
        assert time.monotonic() < end
        imagined.refresh(5)
        time.sleep(0.002)


def test_the_panel_follows_the_words_and_says_so_in_the_session(model: StickerModel) -> None:
    board, marks, clock = PanelBoard(), list[Mark](), HandClock()
    options = ImagineOptions(View.front((640, 480)), live=LiveOptions(debounce_ns=0))
    with ImaginePanels(board, [model], options, marks.append, clock) as imagined:
        assert imagined.lines() == ("type what you want to see",)
        imagined.take(typed("a blue cat"))
        until(imagined, lambda: board.get("imagined") is not None)
        panel = board.get("imagined")
        assert panel is not None
        assert panel.generated_by == "composed of stickers"
        assert imagined.lines() == ("a blue cat_",)
        assert marks[0].name == MARK
        said = json.loads(marks[0].text)
        assert (said["prompt"], said["seed"], said["model"]) == ("a blue cat", 0, model.name)
        first = panel.rgba
        imagined.take(typed(" on a red car"))
        until(imagined, lambda: len(marks) > 1)
        again = board.get("imagined")
        assert again is not None
        assert (again.rgba != first).any()

        # Half a word is no mistake, a while later it is one.
        imagined.take([WindowEvent("key", "backspace")] * 40)
        until(imagined, lambda: board.get("imagined") is None)
        imagined.take(typed("qwertyuiop"))
        until(imagined, lambda: imagined._failure is not None)
        assert board.get("imagined message") is None
        clock.t_ns += QUIET_NS
        imagined.refresh(6)
        assert board.get("imagined message") is not None
        assert board.get("imagined") is None
        imagined.take([WindowEvent("key", "backspace")] * 10 + typed("a dog"))
        until(imagined, lambda: board.get("imagined") is not None)
        assert board.get("imagined message") is None
        imagined.take([WindowEvent("text", "x" * 20_000)])
        clock.t_ns += QUIET_NS
        imagined.refresh(7)
        assert board.get("imagined message") is not None


def person(t_ns: int, pinching: bool) -> TrackedState:
    """The head half a metre from the camera, the right hand beside it."""
    head = Rigid.from_translation((0.0, 0.0, -0.6))
    face = FacePose(
        np.zeros(52, np.float32),
        np.zeros((478, 3), np.float32),
        np.tile(np.array([0, 0, 1], np.float32), (2, 1)),
        head,
        1.0,
    )
    joints = np.full((21, 3), (0.15, -0.2, -0.5), np.float32)
    joints[9, 1] += 0.09
    joints[[4, 8], 1] += 0.1
    joints[8, 0] += 0.01 if pinching else 0.08
    wrist = Rigid.from_translation(joints[0])
    hand = HandPose("right", joints, wrist, np.zeros((5, 4), np.float32), 1.0)
    return TrackedState(t_ns, "test", face, (hand,))


def test_pictures_appear_where_they_are_wanted_and_stay_where_they_are_put(
    model: StickerModel,
) -> None:
    def shown_at(place: str, pinching: bool) -> tuple[PanelBoard, ImaginePanels]:
        board = PanelBoard()
        options = ImagineOptions(View.front((640, 480)), place=place)
        imagined = ImaginePanels(board, [model], options)
        imagined.follow(person(0, pinching))
        imagined.take(typed("a cat"))
        until(imagined, lambda: board.get("imagined") is not None)
        return board, imagined

    tall = {}
    for place in PLACES:
        board, imagined = shown_at(place, pinching=True)
        with imagined:
            panel = board.get("imagined")
            assert panel is not None
            tall[place] = panel.size_m[1]
    assert tall["backdrop"] > 2 * tall["desk"]
    assert len(set(tall.values())) == len(PLACES)

    # Where nobody is seen yet the picture waits beside, and goes to its place when somebody is.
    board = PanelBoard()
    options = ImagineOptions(View.front((640, 480)), "a cat", place="backdrop")
    with ImaginePanels(board, [model], options) as waiting:
        until(waiting, lambda: board.get("imagined") is not None)
        beside = board.get("imagined")
        waiting.follow(person(0, pinching=False))
        behind = board.get("imagined")
        assert beside is not None
        assert behind is not None
        assert behind.size_m[1] == tall["backdrop"] > beside.size_m[1]

    board, imagined = shown_at("hand", pinching=True)

    def at() -> float:
        panel = board.get("imagined")
        return -9.0 if panel is None else float(panel.anchor_from_panel.xyz[0])

    with imagined:
        assert abs(at() - 0.155) < 0.01
        imagined.follow(person(1, pinching=False))
        # Moved by hand, a new picture keeps the place.
        panel = board.get("imagined")
        assert panel is not None
        board.put(replace(panel, anchor_from_panel=Rigid.from_translation((1.0, 2.0, 3.0))))
        imagined.take(typed("s"))
        until(imagined, lambda: imagined.shown is not None and imagined.shown.generation == 2)
        assert at() == 1.0
        # A pinch at nothing calls it.
        imagined.follow(person(2, pinching=True))
        assert abs(at() - 0.155) < 0.01


def test_enter_keeps_and_tab_brings_back(model: StickerModel, tmp_path: Path) -> None:
    board = PanelBoard()
    shelf = Shelf(model.search, tmp_path / "made")
    options = ImagineOptions(View.front((640, 480)), shelf=shelf)
    with ImaginePanels(board, [model], options) as imagined:
        imagined.take(typed("two red cars"))
        until(imagined, lambda: board.get("imagined") is not None and board.get("shelf 0"))
        imagined.take([WindowEvent("key", "enter")])
        until(imagined, lambda: len(shelf) == 1)
        imagined.take(typed(" at night"))
        row = imagined._row
        assert row is not None
        until(imagined, lambda: row.row[0][0].kind == "made")
        imagined.take([WindowEvent("key", "tab")])
        panel = board.get("imagined")
        assert panel is not None
        assert panel.generated_by == "composed of stickers"
        first = row.at(0)
        assert first is not None
        np.testing.assert_array_equal(panel.rgba, first[1])
    assert len(list((tmp_path / "made").glob("*.png"))) == 1


def test_a_picture_that_was_made_meanwhile_takes_no_place(
    model: StickerModel, tmp_path: Path
) -> None:
    """It is ready, and before it shows the words are gone or something of the shelf is chosen."""
    board = PanelBoard()
    shelf = Shelf(model.search, tmp_path / "made")
    options = ImagineOptions(View.front((640, 480)), shelf=shelf)
    with ImaginePanels(board, [model], options) as imagined:
        imagined.take(typed("a red car"))
        assert imagined._live.wait_until_idle(10.0)
        imagined.say("")
        imagined.refresh(5)
        assert board.get("imagined") is None

        imagined.say("a blue cat")
        until(imagined, lambda: board.get("shelf 0") is not None and board.get("imagined"))
        imagined.say("a blue cat in a car")
        assert imagined._live.wait_until_idle(10.0)
        imagined.take_from_shelf(0)
        row = imagined._row
        assert row is not None
        chosen = row.at(0)
        imagined.refresh(6)
        panel = board.get("imagined")
        assert panel is not None
        assert chosen is not None
        np.testing.assert_array_equal(panel.rgba, chosen[1])


def test_a_session_keeps_what_was_imagined_and_from_what(tmp_path: Path) -> None:
    out, session = tmp_path / "talk.mp4", tmp_path / "talk.mcap"
    arguments = ["--source", "synthetic:still", "--size", "160x120", "--seconds", "0.1"]
    arguments += ["--imagine", "--prompt", "two red cars", "--seed", "7"]
    assert run(["preview", *arguments, "--out", str(out), "--record", str(session)]) == 0
    with SessionReader(session) as reader:
        (mark,) = [r.record for r in reader.read(["marks"]) if isinstance(r.record, Mark)]
        (shown,) = [r.record for r in reader.read(["panels"]) if isinstance(r.record, ShownPanels)]
    said = json.loads(mark.text)
    assert (said["prompt"], said["seed"]) == ("two red cars", 7)
    (panel,) = shown.panels
    assert panel.generated_by == "composed of stickers"
    if importlib.util.find_spec("c2pa") is not None:
        from apps.provenance import COMPOSITE, read_credentials

        credentials = read_credentials(out)
        assert credentials["state"] == "Valid"
        assert credentials["actions"][0]["digitalSourceType"] == COMPOSITE
    wish = Wish(said["prompt"], said["style"], said["seed"], tuple(said["size"]))
    again = final_step(StickerModel(), wish)
    np.testing.assert_array_equal(panel.rgba, again.rgba)


WINDOW = """
import sys, time
from pathlib import Path
import numpy as np
from PIL import ImageGrab
from apps.imagine_panels import ImagineOptions, ImaginePanels
from overlay.board import PanelBoard
from overlay.sticker_model import StickerModel
from render.renderer import RenderOptions
from render.window import Window, WindowOptions
from streams.mesh_texture import MeshTexture
from streams.topology import Topology
from streams.view import View

folder = Path(sys.argv[1])
topology = Topology("speck", np.array([[0, 1, 2]], np.int32), np.zeros((3, 2), np.float32),
    np.zeros(3, np.uint8), np.full((4, 4, 4), (128, 255, 128, 255), np.uint8))
normals = np.tile(np.array([0, 0, 1], np.float32), (3, 1))
points = np.array([[0, 0, -1], [0.01, 0, -1], [0, 0.01, -1]], np.float32)
mesh = MeshTexture(0, topology, points, normals, np.zeros((4, 4, 3), np.uint8))
window = Window(WindowOptions("imagine test", (400, 300), vsync=False), RenderOptions(depth=False))
view, board = View.front((400, 300)), PanelBoard()
wanted = ["a blue cat", "a blue cat on a car", "a blue cat on"]
with window, ImaginePanels(board, [StickerModel()], ImagineOptions(view)) as imagined:
    print("ready", flush=True)
    end = time.monotonic() + 60
    while wanted and time.monotonic() < end and not window.closed:
        imagined.take(window.take_events())
        imagined.refresh(0)
        window.renderer.render(mesh, view, board.panels(0))
        window.show(hud=imagined.lines())
        if imagined.shown is not None and imagined.shown.wish.prompt == wanted[0]:
            window.show(hud=imagined.lines())
            name = wanted.pop(0)
            ImageGrab.grab(xdisplay="").crop((0, 0, 400, 300)).save(folder / f"{len(wanted)}.png")
            print(name, flush=True)
        time.sleep(0.005)
assert not wanted, (wanted, imagined.line.text)
"""


@pytest.mark.skipif(
    shutil.which("xdotool") is None or shutil.which("Xvfb") is None,
    reason="xdotool and Xvfb are not installed",
)
def test_real_keys_in_a_real_window(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "640x480x24"],
        pass_fds=(writing,),
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    app = None
    try:
        with os.fdopen(reading) as told:
            env = {**os.environ, "DISPLAY": f":{told.readline().strip()}"}
        app = subprocess.Popen(
            [sys.executable, "-c", WINDOW, str(tmp_path)],
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert app.stdout is not None

        def press(*arguments: str) -> None:
            subprocess.run(["xdotool", *arguments], env=env, check=True, timeout=30)

        assert app.stdout.readline() == "ready\n"
        press("search", "--sync", "--name", "imagine test", "windowfocus", "--sync")
        press("type", "--delay", "30", "a blue cat")
        assert app.stdout.readline() == "a blue cat\n"
        press("type", "--delay", "30", " on a car")
        assert app.stdout.readline() == "a blue cat on a car\n"
        press("key", "--delay", "30", *["BackSpace"] * 6)
        assert app.stdout.readline() == "a blue cat on\n"
        assert app.wait(30) == 0
    finally:
        if app is not None:
            app.kill()
            app.wait(10)
        server.terminate()
        server.wait(10)
    cat, both = (np.asarray(Image.open(tmp_path / f"{k}.png")).astype(int) for k in (2, 1))
    blue = [(picture[..., 2] - picture[..., 0] > 100).sum() for picture in (cat, both)]
    red = [(picture[..., 0] - picture[..., 2] > 150).sum() for picture in (cat, both)]
    assert blue[0] > 1000
    assert blue[1] > 300
    assert red[1] > 300 > 10 * red[0]
