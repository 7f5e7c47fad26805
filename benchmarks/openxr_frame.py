"""What a frame costs in the OpenXR frame loop: CPU time of this process, and the wall's.

    XR_RUNTIME_JSON=~/.cache/visavis/monado/in_process.json XRT_COMPOSITOR_NULL=1 \\
    VISAVIS_NULL_HZ=90 python -m benchmarks.openxr_frame [--frames 60] [--rounds 3]

Whatever runtime is active is asked; with Monado's null compositor (tests/openxr) nothing is shown
and nothing waits for a display. The cases take turns, round by round, and all rounds together
are printed: the loop alone (waiting, locating eyes, head and hands, an empty frame), then with both
eyes drawn of the default avatar, at each size, a new mesh every third frame as 30 in 90 a second.
CPU time counts every thread: with a software OpenGL the drawing's, too, and the compositor's where
it lives in this process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from apps.openxr_preview import HeadsetPreview
from apps.sources import open_any
from avatar.opening import open_avatar
from headset.openxr.frame_loop import Draw, FrameLoop, FrameLoopOptions, HeadsetFrame
from headset.openxr.projection_layer import DepthRange, EyeImage
from headset.openxr.runtime import Runtime
from render.gl_context import describe_gl, open_headless_context
from render.panels import labelled_picture
from render.projection_matrix import FAR, NEAR
from render.renderer import RenderOptions
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.view import View
from tracking.tracker import Tracker

WARM_UP = 12
MESH_EVERY = 3
SIZES = ((256, 256), (512, 512), (1024, 1024))


@dataclass
class Case:
    """One thing that is measured, and what was."""

    name: str
    size: tuple[int, int]
    draw: Callable[[Any], Draw]
    cpu_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=60, help="of a case in a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    mesh = _person()
    context = open_headless_context()
    from render.gl_renderer import GlRenderer

    with (
        GlRenderer(context, RenderOptions(depth=False)) as renderer,
        Runtime() as runtime,
    ):

        def copy_eye(drawn: MeshTexture | MeshNodes, view: View, image: EyeImage) -> None:
            renderer.render(drawn, view)
            renderer.copy_to_textures(image.colour, image.depth)

        print(f"{runtime.name}, {describe_gl()}; milliseconds a frame: CPU (mean), wall (median)")
        cases = [Case("the loop alone", SIZES[0], lambda _mesh: _nothing)]
        cases += [
            Case(f"both eyes, {w}x{h}", (w, h), lambda m: _drawing(m, copy_eye)) for w, h in SIZES
        ]
        for _ in range(options.rounds):
            for case in cases:
                _measure(case, runtime, mesh, options.frames)
    for case in cases:
        # Threads draw one frame's picture in the next one's time: only the sum is certain.
        cpu, wall = np.mean(case.cpu_ms), np.median(case.wall_ms)
        print(f"{case.name:24} cpu {cpu:7.2f}   wall {wall:7.2f}   ({len(case.cpu_ms)} frames)")


def _person() -> MeshTexture:
    """The default avatar of the synthetic person, with both hands up."""
    with (
        open_any("synthetic:hands") as source,
        Tracker.open() as tracker,
        open_avatar("default") as avatar,
    ):
        for frame in source:
            state = tracker.track(frame)
            if state.face is not None and len(state.hands) == 2:
                return avatar.decode(avatar.encode(state, frame))
    raise RuntimeError("nobody with two hands was seen in synthetic:hands")


def _nothing(frame: HeadsetFrame) -> None:
    return None


def _drawing(
    mesh: MeshTexture | MeshNodes,
    copy_eye: Callable[[MeshTexture | MeshNodes, View, EyeImage], None],
) -> Draw:
    preview = HeadsetPreview(copy_eye)
    count = 0

    def draw(frame: HeadsetFrame) -> Any:
        nonlocal count, mesh
        if count % MESH_EVERY == 0:
            mesh = replace(mesh, t_ns=mesh.t_ns + 1)  # another one: it is sent to the card again
            if isinstance(mesh, MeshTexture):
                preview.take(mesh, frame.views[0], ())
        count += 1
        return preview.draw(frame)

    return draw


def _measure(case: Case, runtime: Runtime, mesh: MeshTexture | MeshNodes, frames: int) -> None:
    draw = case.draw(mesh)
    options = FrameLoopOptions(size=case.size, depth=DepthRange(NEAR, FAR))
    with FrameLoop(runtime, labelled_picture, options) as loop:
        until = time.monotonic() + 30.0
        while not loop.states.visible:
            if time.monotonic() > until:
                raise TimeoutError(f"the session is {loop.states.state}; put the headset on")
            loop.step(draw)
        for _ in range(WARM_UP):
            loop.step(draw)
        for _ in range(frames):
            cpu, wall = time.process_time(), time.perf_counter()
            loop.step(draw)
            case.cpu_ms.append((time.process_time() - cpu) * 1e3)
            case.wall_ms.append((time.perf_counter() - wall) * 1e3)


if __name__ == "__main__":
    main()
