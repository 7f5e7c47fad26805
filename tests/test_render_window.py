"""The window on a display of its own (Xvfb), and what is said where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]

SHOW = """
import sys
from pathlib import Path
import numpy as np
import glfw
from PIL import ImageGrab
from render.gl_objects import live_objects
from render.renderer import RenderOptions
from render.window import Window, WindowOptions
from streams.mesh_texture import MeshTexture
from streams.topology import Topology
from streams.view import View

folder = Path(sys.argv[1])
corners = np.array([[-1, 1, 0], [-1, -1, 0], [1, -1, 0], [1, 1, 0]], np.float32)
uv = np.array([[0, 0], [0, 1], [1, 1], [1, 0]], np.float32)
topology = Topology(
    "plate", np.array([[0, 1, 2], [0, 2, 3]], np.int32), uv, np.zeros(4, np.uint8),
    np.full((4, 4, 4), (128, 255, 128, 255), np.uint8),
)
normals = np.tile(np.array([0, 0, 1], np.float32), (4, 1))
red_above = np.zeros((64, 64, 3), np.uint8)
red_above[:32, :, 0] = 180
red_above[32:, :, 2] = 180
place = np.array([0, 0, -0.5], np.float32)
mesh = MeshTexture(0, topology, 0.1 * corners + place, normals, red_above)
inset = np.zeros((90, 120, 3), np.uint8)
inset[:, :60, 1] = 255
window = Window(WindowOptions(size=(400, 300), vsync=False), RenderOptions(depth=False))
assert not window.closed
window.show()  # nothing drawn yet is no error
for size in ((300, 300), (400, 300)):
    window.renderer.render(mesh, View.front(size))
    for _ in range(3):
        window.show(inset, ("track 3.1 ms", "draw 12.0 ms"))
    ImageGrab.grab(xdisplay="").crop((0, 0, 400, 300)).save(folder / f"{size[0]}.png")
for _ in range(3):
    window.show_picture(red_above)
ImageGrab.grab(xdisplay="").crop((0, 0, 400, 300)).save(folder / "picture.png")
handle = window.renderer._context.window
glfw.set_window_size(handle, 500, 320)
for _ in range(20):
    window.show(inset)
    if window.size == (500, 320):
        break
    glfw.wait_events_timeout(0.1)
assert window.size == (500, 320), window.size
on_key = glfw.set_key_callback(handle, None)
on_key(handle, glfw.KEY_SPACE, 0, glfw.PRESS, 0)
assert not window.closed
on_key(handle, glfw.KEY_ESCAPE, 0, glfw.PRESS, 0)
assert window.closed
window.release()
window.release()
assert window.closed
assert live_objects() == {}, live_objects()
try:
    window.show()
except RuntimeError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Screenshots of a window that showed a picture of its own shape and one that is narrower."""
    if shutil.which("xvfb-run") is None:
        pytest.skip("xvfb-run is not installed (apt-get install xvfb xauth)")
    folder = tmp_path_factory.mktemp("window")
    command = ["xvfb-run", "-a", "-s", "-screen 0 640x480x24", sys.executable, "-c", SHOW]
    done = subprocess.run(
        [*command, str(folder)], capture_output=True, text=True, timeout=120, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Window.show: the window was released" in done.stdout
    return folder


def rgb(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_the_window_shows_the_picture_upright(pictures: Path) -> None:
    screen = rgb(pictures / "400.png")
    assert int(screen[120, 200].argmax()) == 0
    assert int(screen[180, 200].argmax()) == 2
    assert screen[120, 200].max() > 80


def test_a_narrower_picture_keeps_its_shape(pictures: Path) -> None:
    screen = rgb(pictures / "300.png")
    assert screen[150, 20:45].max() < 30  # a bar at the left of a square picture
    assert screen[150, 60:80].min() > 30
    assert int(screen[120, 200].argmax()) == 0


def test_a_picture_alone_fills_the_window_upright(pictures: Path) -> None:
    screen = rgb(pictures / "picture.png")
    assert tuple(screen[75, 200]) == (180, 0, 0)
    assert tuple(screen[225, 200]) == (0, 0, 180)
    assert screen[150, 10:40].max() < 30  # bars beside a square picture
    assert screen[100, 60].max() == 180


def test_inset_and_figures_lie_in_their_corners(pictures: Path) -> None:
    screen = rgb(pictures / "400.png")
    # 22 % of 400 pixels wide, 12 from the edge: green on its left half only.
    assert tuple(screen[250, 310]) == (0, 255, 0)
    assert tuple(screen[250, 370]) == (0, 0, 0)
    text = screen[12:60, 12:120]
    assert text.max() > 220
    assert np.median(text) < 90


def test_without_a_display_it_says_what_to_do() -> None:
    gone = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    code = "from render.window import Window\ntry:\n Window()\nexcept RuntimeError as e:\n print(e)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=60, cwd=ROOT, env=gone, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("window: no display")
    assert "--out FILE.mp4" in done.stdout


@pytest.mark.parametrize(
    "broken",
    [
        # The loader finds no driver, or no loader is found at all.
        {"__EGL_VENDOR_LIBRARY_DIRS": "/nonexistent", "__EGL_VENDOR_LIBRARY_FILENAMES": "/none"},
        {"PYOPENGL_PLATFORM": "glx"},
    ],
)
def test_without_opengl_it_says_what_to_install(broken: dict[str, str]) -> None:
    code = (
        "from render.renderer import open_renderer\n"
        "try:\n open_renderer()\nexcept RuntimeError as e:\n print(type(e).__name__, e)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=60, cwd=ROOT, env=os.environ | broken, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("GlUnavailableError OpenGL:"), done.stdout
    assert "visavis doctor" in done.stdout or "PYOPENGL_PLATFORM=egl" in done.stdout
    assert len(done.stdout.strip().splitlines()) == 1
