"""What tests have a process of its own do with a real OpenXR runtime:
`python -m tests.openxr.scenarios NAME,NAME FOLDER PORT`.

A process of its own, because a runtime's crash would be the tests', and because its settings are
read once. Each scenario writes FOLDER/result.json and pictures beside it; the tests judge them.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headset.openxr.binding import InstanceLostError, OpenXrError, SessionLostError
from headset.openxr.frame_loop import FrameLoop, FrameLoopOptions, HeadsetFrame
from headset.openxr.projection_layer import DepthRange
from headset.openxr.runtime import Runtime
from headset.openxr.runtime_clock import FrameClock
from render.gl_context import open_headless_context
from render.panels import labelled_picture
from render.projection_matrix import FAR, NEAR
from render.renderer import RenderOptions
from streams.headset_sample import HeadsetSample
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.view import View
from tests.openxr.remote_headset import Hand, Place, RemoteHeadset
from tests.openxr.scene import PANEL_ID, SIZE, ball, note, read_depth, read_texture


@dataclass
class Bench:
    """A renderer, a runtime and a scripted wearer, and what frames showed."""

    renderer: Any
    runtime: Runtime
    headset: RemoteHeadset
    folder: Path
    samples: list[HeadsetSample] = field(default_factory=list)
    views: list[tuple[View, ...]] = field(default_factory=list)
    pictures: list[np.ndarray] = field(default_factory=list)
    depths: list[np.ndarray] = field(default_factory=list)
    display_ns: list[int] = field(default_factory=list)
    mesh: MeshTexture = field(default_factory=ball)
    panels: Sequence[Panel] = ()

    def loop(self, **options: Any) -> FrameLoop:
        chosen = FrameLoopOptions(**{"size": SIZE, "depth": DepthRange(NEAR, FAR)} | options)
        return FrameLoop(self.runtime, labelled_picture, chosen, self.samples.append)

    def draw(self, frame: HeadsetFrame) -> Sequence[Panel]:
        for view, image in zip(frame.views, frame.images, strict=True):
            self.renderer.render(self.mesh, view)
            self.renderer.copy_to_textures(image.colour, image.depth)
        self.views.append(frame.views)
        self.display_ns.append(frame.t_ns - time.monotonic_ns())
        return self.panels

    def draw_and_read(self, frame: HeadsetFrame) -> Sequence[Panel]:
        """Draw, and keep what lies in the runtime's images then."""
        shown = self.draw(frame)
        self.pictures = [read_texture(image.colour, image.size) for image in frame.images]
        self.depths = [
            read_depth(image.depth, image.size) for image in frame.images if image.depth is not None
        ]
        return shown

    def until(self, loop: FrameLoop, state: str, seconds: float = 20.0) -> None:
        """Step until the session is in `state`."""
        end = time.monotonic() + seconds
        while loop.states.state != state:
            if time.monotonic() > end:
                raise TimeoutError(f"{state} was not reached: {loop.states.passed}")
            if not loop.step(self.draw):
                raise RuntimeError(f"ended before {state}: {loop.states.passed}")

    def settled(self, loop: FrameLoop, good: Callable[[HeadsetSample], bool]) -> HeadsetSample:
        """Step until a sample is `good`; the driver takes what it is told a little later."""
        end = time.monotonic() + 10.0
        while not (self.samples and good(self.samples[-1])):
            if time.monotonic() > end:
                raise TimeoutError("the wearer's new place was never reported")
            loop.step(self.draw)
        return self.samples[-1]


@contextmanager
def handed_over(loop: FrameLoop) -> Iterator[list[Any]]:
    """The layers that a frame within ends with."""
    layers: list[Any] = []
    end_frame = loop._end_frame

    def noted(display: int, given: Sequence[Any]) -> None:
        layers.extend(given)
        end_frame(display, given)

    loop._end_frame = noted  # pyright: ignore[reportAttributeAccessIssue]
    yield layers
    loop._end_frame = end_frame  # pyright: ignore[reportAttributeAccessIssue]


def depth_info(xr: Any, layer: Any) -> list[float]:
    """What the left view's chained XrCompositionLayerDepthInfoKHR says."""
    kind = ctypes.POINTER(xr.CompositionLayerDepthInfoKHR)
    info = ctypes.cast(layer.views[0].next, kind).contents
    assert xr.StructureType(info.type) == xr.StructureType.COMPOSITION_LAYER_DEPTH_INFO_KHR
    return [info.min_depth, info.max_depth, info.near_z, info.far_z]


def pictures(bench: Bench) -> dict[str, Any]:
    """Both eyes, before and after the head moved and turned; a panel; depth; a whole session."""
    bench.panels = (note(),)
    result: dict[str, Any] = {}
    with bench.loop() as loop:
        estimated = FrameClock()
        loop._clock.note_frame = estimated.note_frame
        bench.until(loop, "focused")
        for name, head in (
            ("ahead", Place((0.0, 1.6, 0.0))),
            # 0.1 m to the right, 0.05 m up, and 0.2 rad to the left.
            ("moved", Place((0.1, 1.65, 0.0), (np.cos(0.1), 0.0, np.sin(0.1), 0.0))),
        ):
            bench.headset.move(head=head)
            wanted = np.array(head.xyz) - (0.0, 1.6, 0.0)
            bench.settled(
                loop, lambda s, at=wanted: np.allclose(s.world_from_head.xyz, at, atol=1e-4)
            )
            for _ in range(2):
                loop.step(bench.draw)
            with handed_over(loop) as layers:
                loop.step(bench.draw_and_read)
            result["depth"] = depth_info(bench.runtime.xr, layers[0])
            result["layers"] = [type(layer).__name__ for layer in layers]
            result[name] = {"views": [_view(v) for v in bench.views[-1]]}
            for eye, picture, depth in zip("lr", bench.pictures, bench.depths, strict=True):
                _save(bench.folder / f"{name}_{eye}.png", picture)
                np.save(bench.folder / f"{name}_{eye}_depth.npy", depth)
        texture = loop._quads._shown[PANEL_ID].images.textures[0]
        size = loop._quads._shown[PANEL_ID].images.size
        _save(bench.folder / "panel.png", read_texture(texture, size))
        _save(bench.folder / "panel_wanted.png", labelled_picture(bench.panels[0]))
        result |= {"with_depth": loop.with_depth, "frames": loop.frames}
        result["display_ahead_ns"] = bench.display_ns
        at_ns = time.monotonic_ns()
        result["estimate_late_ns"] = estimated.host_ns(loop._clock.xr_time(at_ns)) - at_ns
        result["samples"] = len(bench.samples)
        last = bench.samples[-1]
        result["sample"] = {
            "t_ns": last.t_ns, "device_ns": last.device_ns, "now_ns": time.monotonic_ns(),
            "back_ns": loop._clock.host_ns(last.device_ns or 0),
            "views": [_view(v) for v in last.views],
        }  # fmt: skip
    result["passed"] = loop.states.passed
    result["ended"] = loop.ended
    return result


def hands(bench: Bench) -> dict[str, Any]:
    """Scripted hands: places, curl, absence."""
    result: dict[str, Any] = {}
    with bench.loop() as loop:
        bench.until(loop, "focused")
        turned = (np.cos(0.25), 0.0, np.sin(0.25), 0.0)
        steps = {
            "open": (Hand(Place((-0.2, 1.3, -0.4))), Hand(Place((0.2, 1.35, -0.4)))),
            "moved": (Hand(Place((-0.1, 1.4, -0.5), turned)), Hand(Place((0.2, 1.35, -0.3)))),
            "closed": (Hand(Place((-0.2, 1.3, -0.4)), 1.0), Hand(Place((0.2, 1.35, -0.4)))),
            "one": (Hand(Place((-0.2, 1.3, -0.4))), Hand(Place((0.2, 1.35, -0.4)), 0.0, False)),
        }
        for name, (left, right) in steps.items():
            bench.headset.move(left=left, right=right)
            # What was asked for cannot be waited for by what is to be shown: some frames instead.
            for _ in range(6):
                loop.step(bench.draw)
            sample = bench.samples[-1]
            result[name] = {
                side: None if joints is None else np.asarray(joints).tolist()
                for side, joints in (("left", sample.left), ("right", sample.right))
            }
    return result


def states(bench: Bench) -> dict[str, Any]:
    """Hidden and shown again, recentred, in both spaces; left by the wearer."""
    result: dict[str, Any] = {}
    for space in ("local", "stage"):
        bench.headset.move(head=Place((0.3, 1.7, 0.2)))
        with bench.loop(space=space) as loop:
            bench.until(loop, "focused")
            first = bench.settled(loop, lambda s: True)
            drawn = loop.frames
            bench.headset.announce("hidden")
            bench.until(loop, "synchronized")
            before = loop.frames
            for _ in range(5):
                loop.step(bench.draw)
            hidden = loop.frames - before
            bench.headset.announce("focused")
            bench.until(loop, "focused")
            bench.headset.move(head=Place((0.5, 1.7, 0.2)))
            moved = bench.settled(
                loop, lambda s, x=first.world_from_head.xyz[0]: s.world_from_head.xyz[0] > x + 0.19
            )
            # For a room this is the runtime's LOCAL space, which it does not use.
            bench.headset.announce("recentred")
            for _ in range(6):
                loop.step(bench.draw)
            loop.request_exit()
            while loop.step(bench.draw):
                pass
        result[space] = {
            "passed": loop.states.passed, "ended": loop.ended, "recentred": loop.recentred,
            "drawn": drawn, "hidden": hidden,
            "first": first.world_from_head.xyz.tolist(),
            "moved": moved.world_from_head.xyz.tolist(),
        }  # fmt: skip
    return result


def loss(bench: Bench) -> dict[str, Any]:
    """Sessions lost mid-way, with notice and without, and the one after."""
    told: list[str] = []
    for event in ("loss pending", "lost"):
        loop = bench.loop()
        try:
            bench.until(loop, "focused")
            bench.headset.announce(event)
            for _ in range(60):
                loop.step(bench.draw)
            told.append("nothing")
        except SessionLostError as error:
            told.append(f"{type(error).__name__}: {error}")
        finally:
            loop.close()
    with bench.loop() as loop:
        bench.until(loop, "focused")
        for _ in range(3):
            loop.step(bench.draw)
    return {"told": told, "after": loop.states.passed, "frames": loop.frames}


def broken_drawing(bench: Bench) -> dict[str, Any]:
    """A drawing that raises ends its frame, and the session goes on."""

    def draw(frame: HeadsetFrame) -> Sequence[Panel]:
        raise ValueError("a fault of the application")

    raised = ""
    with bench.loop() as loop:
        bench.until(loop, "focused")
        try:
            loop.step(draw)
        except ValueError as error:
            raised = str(error)
        before = loop.frames
        for _ in range(4):
            loop.step(bench.draw)
    return {
        "raised": raised, "frames_after": loop.frames - before, "passed": loop.states.passed,
        "discarded": loop.discarded,
    }  # fmt: skip


def interrupted(bench: Bench) -> dict[str, Any]:
    """Ctrl-C at any moment of a frame, most often while the runtime is waited for."""
    caught, after = 0, []
    with bench.loop() as loop:
        bench.until(loop, "focused")
        for delay_ms in range(0, 48, 8):
            timer = threading.Timer(delay_ms / 1e3, os.kill, (os.getpid(), signal.SIGINT))
            try:
                timer.start()
                while True:
                    loop.step(bench.draw)
            except KeyboardInterrupt:
                caught += 1
            timer.join(5.0)
            before = loop.frames
            for _ in range(2):
                loop.step(bench.draw)
            after.append(loop.frames - before)
    return {"caught": caught, "after": after, "passed": loop.states.passed}


def bad_asks(bench: Bench) -> dict[str, Any]:
    """What a session cannot be opened or drawn with."""
    told: list[str] = []
    try:
        bench.loop(size=(4096, 4096))
    except OpenXrError as error:
        told.append(str(error))
    with bench.loop() as loop:
        bench.until(loop, "focused")
        bench.panels = [note()] * 200
        try:
            loop.step(bench.draw)
        except OpenXrError as error:
            told.append(str(error))
        bench.panels = ()
        loop.step(bench.draw)
    return {"told": told, "state": loop.states.passed[-1]}


def steady(bench: Bench) -> dict[str, Any]:
    """Nothing piles up: threads, file handles and images after many frames and sessions."""
    counts: list[list[int]] = []
    for _ in range(4):
        with bench.loop() as loop:
            bench.until(loop, "focused")
            for _ in range(20):
                loop.step(bench.draw)
        files = open_files()
        images = sum("llvmpipe memory" in name for name in files)
        counts.append([len(os.listdir("/proc/self/task")), len(files) - images, images])
    return {"counts": counts}


def open_files() -> list[str]:
    """What this process holds open."""
    found: list[str] = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            pass  # It was that of the listing itself, or is closed by now.
    return found


def instance_lost(bench: Bench) -> dict[str, Any]:
    """The runtime's service dies under a running session; the test kills it when told to."""
    loop = bench.loop()
    told = "nothing"
    try:
        bench.until(loop, "focused")
        (bench.folder / "kill").write_text("now")
        end = time.monotonic() + 15.0
        while time.monotonic() < end:
            loop.step(bench.draw)
    except InstanceLostError as error:
        told = str(error)
    finally:
        loop.close()
    return {"told": told, "passed": loop.states.passed}


def composed(bench: Bench) -> dict[str, Any]:
    """Show the ball and the panel until the test has seen them on the compositor's screen."""
    bench.panels = (note(),)
    with bench.loop(size=(256, 256)) as loop:
        bench.until(loop, "focused")
        bench.settled(loop, lambda s: bool(np.allclose(s.world_from_head.xyz, 0.0, atol=1e-4)))
        for _ in range(5):
            loop.step(bench.draw)
        views = [_view(view) for view in bench.views[-1]]
        (bench.folder / "shown.part").write_text(json.dumps(views))
        (bench.folder / "shown.part").rename(bench.folder / "shown")
        end = time.monotonic() + 90.0
        while not (bench.folder / "seen").exists() and time.monotonic() < end:
            loop.step(bench.draw)
    return {"frames": loop.frames}


def _view(view: View) -> dict[str, Any]:
    return {
        "eye": view.eye, "t_ns": view.t_ns, "xyz": view.world_from_eye.xyz.tolist(),
        "wxyz": view.world_from_eye.wxyz.tolist(), "fov": view.fov.tolist(), "size": view.size,
    }  # fmt: skip


def _save(path: Path, rgba: np.ndarray) -> None:
    from PIL import Image

    Image.fromarray(np.ascontiguousarray(rgba)).save(path)


SCENARIOS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    run.__name__: run
    for run in (
        *(pictures, hands, states, loss, broken_drawing, bad_asks, steady, instance_lost),
        interrupted,
        composed,
    )
}


def main(names: Sequence[str], folder: Path, port: int) -> None:
    """Run the scenarios one after the other on one instance, then look what is left."""
    context = open_headless_context()
    from render.gl_objects import live_objects
    from render.gl_renderer import GlRenderer

    results: dict[str, Any] = {}
    with (
        GlRenderer(context, RenderOptions(depth=False)) as renderer,
        RemoteHeadset(port) as headset,
    ):
        with Runtime() as runtime:
            about = [
                runtime.name,
                runtime.headset,
                sorted(runtime.extensions),
                runtime.tracks_hands,
            ]
            for name in names:
                bench = Bench(renderer, runtime, headset, folder)
                results[name] = SCENARIOS[name](bench)
        results["about"] = about
    results["gl_objects"] = live_objects()
    (folder / "result.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1].split(","), Path(sys.argv[2]), int(sys.argv[3]))
