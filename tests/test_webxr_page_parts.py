"""Parts of the page in a real browser: relief, planes, video, sound, quad layers, several people,
and a headset that tells little of its pointers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from render.relief import STEEPEST, relief_map
from streams.rigid import Rigid
from tests.headless_chromium import chromium
from tests.headset_page import SIZE, VIEW, OpenPage, centre_of_red, opened
from tests.page_scene import (
    PageServer,
    avatar_message,
    panel_message,
    person_scenes,
    posed,
    red_panel,
    rgba_picture,
    topology_message,
)


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
def bench(browser: Any, server: PageServer) -> Iterator[OpenPage]:
    """A page without people, in a browser whose headset only goes into VR."""
    page = opened(browser, server, "vision")
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


def test_planes_of_a_decoder_become_the_picture(bench: OpenPage, server: PageServer) -> None:
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
    server.add_scene("planes", [flat, shown])
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
    bench: OpenPage, server: PageServer
) -> None:
    half = np.zeros((128, 128, 3), np.uint8)
    half[...] = (20, 40, 60)
    half[60:68, 60:68] = (255, 0, 0)
    frame = np.concatenate([half, np.zeros_like(half)], axis=1)
    focal = SIZE / 2 / np.tan(VIEW.fov[1])
    for angle in (0.0, 0.12):
        turned = Rigid.from_rotvec((0.0, angle, 0.0), (0.0, 0.0, 0.0))
        view = {"wxyz": turned.wxyz.tolist(), "xyz": [0, 0, 0], "fov": VIEW.fov.tolist()}
        server.add_scene(
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
    bench: OpenPage, server: PageServer
) -> None:
    """Against a compositor that only keeps what it is given: there is none to be had here."""
    rgba = np.full((64, 64, 4), (0, 0, 255, 255), np.uint8)
    rgba[:32] = (255, 0, 0, 255)
    panel = red_panel(id="layered", rgba=rgba, generated_by="a model")
    server.add_scene("layered", [panel_message(panel)])
    bench.play("layered")
    bench.until(lambda: bench.run("visavis.panels.panels.get('layered')?.visible"), "the panel")
    told = bench.run(LAYERS)
    # The panel below what is drawn; nothing again while nothing changes; then none.
    assert told["states"] == [2, 1]
    assert told["rows"] == [[255, 0, 0, 255], [0, 0, 255, 255]]  # the upper row of texels is on top
    assert told["size"] == pytest.approx([0.075, 0.05])  # half of its sides, as browsers take it
    assert told["gone"]
    bench.require_clean()


def test_an_error_in_one_step_does_not_stop_the_others(bench: OpenPage) -> None:
    bench.run(
        "() => { visavis.stage.beforeDrawing.unshift(() => { throw new Error('a broken step') }) }"
    )
    frames = bench.run("visavis.stage.frames")
    bench.until(lambda: bench.run("visavis.stage.frames") > frames + 2, "drawing on")
    bench.until(lambda: bench.status() == "a broken step", "words for it")
    assert [error for error in bench.errors if "a broken step" in error] == bench.errors
    assert len(bench.errors) == 1  # told once, not once a frame
    bench.run("() => { visavis.stage.beforeDrawing.shift(); visavis.report(null) }")
    bench.errors.clear()
    bench.until(lambda: bench.status() != "a broken step", "the end of it")


def test_people_sit_side_by_side_and_leave(bench: OpenPage, server: PageServer) -> None:
    mesh = posed()
    both = [
        message
        for person in (0, 1)
        for message in (
            topology_message(mesh.topology, person=person),
            avatar_message(mesh, 1, person),
        )
    ]
    server.add_scene("two", both)
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
