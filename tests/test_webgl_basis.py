"""The renderer's own GLSL in a browser: compiled and drawn by WebGL2 in headless Chromium.

Chromium draws in software (SwiftShader) and is driven without any further package: it opens a page
from a file, and what the page leaves in its document is printed by `--dump-dom`.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from render.environment import Environment
from render.materials import MATERIALS, SHADER_KINDS
from render.projection_matrix import clip_from_world
from render.relief import relief_map, slope_scale
from render.renderer import RenderOptions, open_renderer
from render.shader_text import WEBGL2, ProgramFiles, mesh_program
from streams.camera import Camera
from streams.mesh_nodes import MeshNodes
from streams.texture_basis import SPACES, TextureBasis
from streams.topology import Topology
from streams.view import View

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu-sandbox", "--use-gl=angle",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-extensions",
)  # fmt: skip
PAGE = Path(__file__).parent / "webgl" / "draw.html"
SIZE = 128
VIEW = View.from_camera(Camera.from_fov((SIZE, SIZE), 1.0))
OPTIONS = RenderOptions(antialias="none", shadows=False, depth=False)
INTERPOLATED = 2
"""Code values between the browser and `TextureBasis.picture`: eight bits of the filter's weights,
half floats of the coefficients, rounding."""
SAME_SHADER = 3
"""Code values between two drivers that run one lit shader."""
Scene = dict[str, Any]


def packed(values: npt.NDArray[Any]) -> dict[str, str]:
    data = np.ascontiguousarray(values)
    return {"kind": data.dtype.name, "base64": base64.b64encode(data.tobytes()).decode()}


def rgba(texels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    out = np.zeros((*texels.shape[:-1], 4), texels.dtype)
    out[..., : texels.shape[-1]] = texels
    return out


def picture_texture(unit: int, texels: npt.NDArray[np.uint8], levels: int) -> Scene:
    height, width = texels.shape[:2]
    return {
        "unit": unit, "internal": "RGBA8", "type": "UNSIGNED_BYTE", "width": width,
        "height": height, "depth": 0, "levels": levels, "texels": packed(rgba(texels)),
    }  # fmt: skip


def layers_texture(unit: int, texels: npt.NDArray[Any], internal: str, kind: str) -> Scene:
    depth, height, width = texels.shape[:3]
    return {
        "unit": unit, "internal": internal, "type": kind, "width": width, "height": height,
        "depth": depth, "levels": 1, "texels": packed(texels),
    }  # fmt: skip


def uniform(value: npt.ArrayLike) -> Scene:
    values = np.asarray(value)
    if values.ndim == 0:
        return {"set": "uniform1i", "values": [int(values)]}
    if values.shape[-2:] == (4, 4):
        turned = np.swapaxes(values, -1, -2)
        return {"set": "uniformMatrix4fv", "values": turned.astype(float).ravel().tolist()}
    return {"set": f"uniform{values.shape[-1]}fv", "values": values.astype(float).ravel().tolist()}


def mesh_scene(mesh: MeshNodes, files: ProgramFiles, uniforms: dict[str, Any]) -> Scene:
    """What `render.gl_renderer` gives the card for such a mesh."""
    basis, topology = mesh.basis, mesh.topology
    rows, columns, count = basis.nodes_shape
    nodes = mesh.nodes * (basis.scale * np.float32(127.0))
    nodes = nodes.reshape(rows, columns, count // 4, 4).transpose(2, 0, 1, 3)
    surface = relief_map(topology.surface) if topology.lit else topology.surface
    vertex, fragment = files.texts(WEBGL2)
    everything: dict[str, Any] = {
        "albedo_map": 0, "surface_map": 1, "planes_map": 3, "nodes_map": 4,
        "clip_from_world": clip_from_world(VIEW),
        "gain": [*mesh.gain, 1.0 if basis.space == "log" else 0.0],
        "planes_used": [count, count], "fovea": [0.0, 0.0, 1e9], **uniforms,
    }  # fmt: skip
    return {
        "vertex": vertex, "fragment": fragment, "size": SIZE,
        "attributes": [
            {"width": 3, "values": packed(mesh.vertices)},
            {"width": 3, "values": packed(mesh.normals)},
            {"width": 2, "values": packed(topology.uv)},
        ],
        "indices": packed(topology.faces.astype(np.uint32)),
        "textures": [
            picture_texture(0, basis.mean, 3),
            picture_texture(1, surface, max(surface.shape[:2]).bit_length()),
            layers_texture(3, rgba(basis.planes), "RGBA8_SNORM", "BYTE"),
            layers_texture(4, nodes.astype(np.float32), "RGBA16F", "FLOAT"),
        ],
        "uniforms": {name: uniform(value) for name, value in everything.items()},
    }  # fmt: skip


def random_basis(seed: int, space: str) -> TextureBasis:
    """As smooth as a face's: nodes and texels are not one another's neighbours."""
    rng = np.random.default_rng(seed)
    mean = cv2.resize(rng.uniform(60, 190, (16, 16, 3)), (SIZE, SIZE)).astype(np.uint8)
    waves = [cv2.resize(rng.uniform(-127, 127, (8, 8, 3)), (SIZE, SIZE)) for _ in range(8)]
    scale = rng.uniform(0.2, 1.0, 8).astype(np.float32) * np.float32(0.05 / 127.0)
    return TextureBasis(mean, np.stack(waves).astype(np.int8), scale, (5, 7), space)


def random_mesh(seed: int, space: str, *, lit: bool) -> MeshNodes:
    """A quad that fills the view, texel on pixel; lit: a dome in its place, in skin."""
    rng, side = np.random.default_rng(seed), 24 if lit else 2
    at = np.linspace(0.0, 1.0, side)
    u, v = (grid.ravel() for grid in np.meshgrid(at, at))
    half = float(np.tan(0.5))
    x, y = (2.0 * u - 1.0) * half, (1.0 - 2.0 * v) * half
    z = np.full(len(u), -1.0)
    normals = np.tile([0.0, 0.0, 1.0], (len(u), 1))
    if lit:
        height = 0.35 * np.cos(np.pi * (u - 0.5)) * np.cos(np.pi * (v - 0.5))
        slope_x = -0.35 * np.pi * np.sin(np.pi * (u - 0.5)) * np.cos(np.pi * (v - 0.5))
        slope_y = -0.35 * np.pi * np.cos(np.pi * (u - 0.5)) * np.sin(np.pi * (v - 0.5))
        normals = np.stack([-slope_x / (2 * half), slope_y / (2 * half), np.ones_like(u)], 1)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        x, y, z = 0.8 * x, 0.8 * y, z + 0.8 * height - 0.2
        # As small as a face, so that a millimetre of relief shows.
        x, y, z = 0.2 * x, 0.2 * y, 0.2 * z
    k = np.arange(side * side).reshape(side, side)
    a, b, c, d = k[:-1, :-1].ravel(), k[1:, :-1].ravel(), k[1:, 1:].ravel(), k[:-1, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    surface = np.full((32, 32, 4), 255, np.uint8)
    if lit:
        surface[..., 0] = 70
        surface[..., 2] = cv2.resize(rng.uniform(20, 230, (16, 16)), (32, 32)).astype(np.uint8)
    parts = np.zeros(len(u), np.uint8)
    uv = np.stack([u, v], 1).astype(np.float32)
    basis = random_basis(seed + 1, space)
    return MeshNodes(
        0, Topology("webgl", faces, uv, parts, surface, lit),
        np.stack([x, y, z], 1).astype(np.float32), normals.astype(np.float32), basis,
        rng.normal(size=basis.nodes_shape).astype(np.float32),
        rng.uniform(0.8, 1.2, 3).astype(np.float32),
    )  # fmt: skip


def lit_uniforms(mesh: MeshNodes, environment: Environment) -> dict[str, Any]:
    return {
        "eye": VIEW.world_from_eye.xyz,
        "slope_scale": slope_scale(mesh.topology.surface),
        "surround": environment.irradiance_matrices(),
        "light_frame": environment.light_frames().reshape(12, 3),
        "light_colour": environment.light_colours(),
        "light_radiance": environment.light_radiances(),
        **MATERIALS["skin"].uniforms(),
    }


FLAT = {space: random_mesh(11, space, lit=False) for space in SPACES}
DOME = random_mesh(12, "additive", lit=True)


@pytest.fixture(scope="module")
def browser_pixels(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the browser did with each scene: every program compiled, then three pictures."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    scenes: list[Scene] = []
    for kind in SHADER_KINDS:
        for shadow, basis in ((False, False), (True, False), (True, True)):
            vertex, fragment = mesh_program(kind, shadow=shadow, basis=basis).texts(WEBGL2)
            scenes.append({"vertex": vertex, "fragment": fragment})
    baked = mesh_program("baked", shadow=False, basis=True)
    scenes += [mesh_scene(mesh, baked, {}) for mesh in FLAT.values()]
    skin = mesh_program("skin", shadow=False, basis=True)
    scenes.append(mesh_scene(DOME, skin, lit_uniforms(DOME, OPTIONS.environment)))
    folder = tmp_path_factory.mktemp("webgl")
    page = folder / "page.html"
    text = json.dumps(scenes).replace("</", "<\\/")
    page.write_text(PAGE.read_text(encoding="utf-8").replace("SCENES", text), encoding="utf-8")
    command = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    try:
        said = subprocess.run(
            [*command, page.as_uri()], capture_output=True, text=True, timeout=90, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip("Chromium did not answer within 90 s")
    found = re.search(r'<pre id="result">(.+?)</pre>', said.stdout, re.DOTALL)
    if found is None:
        pytest.skip(f"Chromium does not start here: {said.stderr.strip()[-300:]}")
    told = json.loads(html.unescape(found[1]))
    assert "failed" not in told, told
    assert "WebGL 2.0" in told["renderer"]
    return told["scenes"]


def pixels(scene: dict[str, Any]) -> npt.NDArray[np.int64]:
    """(SIZE, SIZE, 4), row 0 on top."""
    assert scene.get("error") == 0, scene
    flat = np.frombuffer(base64.b64decode(scene["pixels"]), np.uint8)
    return flat.reshape(SIZE, SIZE, 4)[::-1].astype(int)


def test_every_shader_compiles_as_glsl_es(browser_pixels: list[dict[str, Any]]) -> None:
    assert len(browser_pixels) == 3 * len(SHADER_KINDS) + 3
    assert [scene["failed"] for scene in browser_pixels if "failed" in scene] == []


@pytest.mark.parametrize("space", SPACES)
def test_the_browser_sums_as_the_slow_twin(
    browser_pixels: list[dict[str, Any]], space: str
) -> None:
    mesh = FLAT[space]
    shown = pixels(browser_pixels[-3 + SPACES.index(space)])
    wanted = mesh.basis.picture(mesh.nodes, mesh.gain).astype(int)
    assert np.ptp(wanted) > 100  # there is something to compare
    assert np.abs(wanted - mesh.basis.mean).mean() > 5
    difference = np.abs(shown[..., :3] - wanted)
    assert difference.max() <= INTERPOLATED
    assert difference.mean() < 0.5


def test_skin_is_lit_as_on_the_desktop(browser_pixels: list[dict[str, Any]]) -> None:
    shown = pixels(browser_pixels[-1])
    with open_renderer("gl", OPTIONS) as renderer:
        wanted = renderer.draw(DOME, VIEW).rgba[..., :3].astype(int)
    inside = cv2.erode((shown[..., 3] == 255).astype(np.uint8), np.ones((5, 5))) > 0
    assert inside.mean() > 0.3
    assert np.ptp(wanted[inside]) > 100
    difference = np.abs(shown[..., :3] - wanted)[inside]
    # But for the lines along which the drivers go over to another mip level.
    assert np.mean(difference <= SAME_SHADER) > 0.995
    assert difference.mean() < 1.0
