"""A preview in a headset: the newest mesh, drawn for both eyes at the runtime's own rate.

The pipeline tracks and decodes at the source's rate in its threads; the main thread belongs to the
runtime's frame loop, takes the newest mesh without waiting, and draws it from where the wearer's
eyes will be. So head motion is answered at the display's rate, however late the avatar is.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from apps.headset_hands import HeadsetHands
from apps.pacing import PacedSource
from apps.pipeline import Pipeline, Stages
from apps.preview_options import PreviewOptions
from apps.preview_panels import board_of
from apps.preview_stages import open_source_of, open_stages
from apps.recording import recording_of
from apps.usage import FailedError, UsageError
from headset.openxr.binding import InstanceLostError, OpenXrError, SessionLostError
from headset.openxr.frame_loop import FrameLoop, FrameLoopOptions, HeadsetFrame
from headset.openxr.projection_layer import DepthRange, EyeImage
from headset.openxr.runtime import Runtime
from headset.openxr.session_states import Reopening
from render.gl_context import open_headless_context
from render.panels import labelled_picture
from render.projection_matrix import FAR, NEAR
from render.renderer import RenderOptions
from streams.clock import now_ns
from streams.frame import Frame
from streams.headset_sample import HeadsetSample
from streams.image import Image
from streams.mailbox import Mailbox
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.rigid import Rigid
from streams.view import View

RETURN_S, RETRY_S = 60.0, 0.5
"""How long and how often a headset whose session was lost is looked for."""
PANEL_DISTANCE = 0.5
"""Metres from the world's origin, where the wearer's head is: nearer than that, eyes tire."""
PANEL_VIEW = View.front((960, 720), vertical_fov=float(np.deg2rad(36.0)))
"""Its corners are where panels stand: beside the avatar, and seen without turning the head."""


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """The newest of the pipeline."""

    mesh: MeshTexture | MeshNodes
    panels: tuple[Panel, ...]


class HeadsetPreview:
    """What the frame loop draws, and what it hears, between a pipeline and a headset.

    `copy_eye` draws a mesh as one view sees it into a runtime's image.
    """

    def __init__(
        self,
        copy_eye: Callable[[MeshTexture | MeshNodes, View, EyeImage], None],
        tap: Callable[[HeadsetSample], None] = lambda _sample: None,
    ) -> None:
        self._copy_eye, self._tap = copy_eye, tap
        self.samples: Mailbox[HeadsetSample] = Mailbox("headset samples")
        self._views: Mailbox[tuple[View, ...]] = Mailbox("headset views")
        self._shown: _Shown | None = None
        self.drawn = 0
        """Frames whose both eyes were drawn."""
        self.meshes = 0
        """Meshes that came from the pipeline."""

    def take(self, mesh: MeshTexture, view: View, panels: Sequence[Panel]) -> Image | None:
        """A pipeline's `Draw`: keeps the newest; drawing is the frame loop's."""
        self._shown = _Shown(mesh, tuple(panels))
        self.meshes += 1
        return None

    def draw(self, frame: HeadsetFrame) -> Sequence[Panel] | None:
        """The frame loop's drawing."""
        self._views.put(frame.views)
        shown = self._shown
        if shown is None:
            return None
        for view, image in zip(frame.views, frame.images, strict=True):
            self._copy_eye(shown.mesh, view, image)
        self.drawn += 1
        return shown.panels

    def hear(self, sample: HeadsetSample) -> None:
        """Head and hands of the wearer, each frame."""
        self.samples.put(sample)
        self._tap(sample)

    def view_for(self, source_view: View) -> View:
        """From where the avatar is decoded: between the wearer's eyes, or as the source sees it
        before these are known."""
        letter = self._views.newest()
        if letter is None:
            return source_view
        left, right = letter.value
        middle = (left.world_from_eye.xyz + right.world_from_eye.xyz) / 2.0
        # A hidden session has no new views: the last ones hold until the frame's own time.
        return replace(
            left,
            t_ns=max(left.t_ns, source_view.t_ns),
            eye="mono",
            world_from_eye=Rigid(left.world_from_eye.wxyz, middle),
        )


def show_openxr(preview: PreviewOptions) -> str:
    """Show until the wearer leaves, the source's end, `preview.seconds` or Ctrl-C; what was shown.

    A lost session is opened again, at most three times a minute. Raises OpenXrError when there is
    no runtime or headset, FailedError when either was lost for good or a file is damaged.
    """
    if preview.source.startswith("session:") and preview.record is None:
        raise UsageError(
            f"--openxr --source {preview.source}: a session is shown in a window; leave --openxr "
            "away"
        )
    context = open_headless_context()
    # Only now: PyOpenGL binds its functions to the first context that is there.
    from render.gl_renderer import GlRenderer

    with contextlib.ExitStack() as opened:
        renderer = opened.enter_context(GlRenderer(context, RenderOptions(depth=False)))

        def copy_eye(mesh: MeshTexture | MeshNodes, view: View, image: EyeImage) -> None:
            renderer.render(mesh, view)
            renderer.copy_to_textures(image.colour, image.depth)

        # The headset first: without one nothing else needs to be loaded.
        runtime = opened.enter_context(Runtime())
        first = opened.enter_context(open_source_of(preview))
        source = first if first.live else opened.enter_context(PacedSource(first))
        taps = opened.enter_context(recording_of(preview, source))
        shown = HeadsetPreview(copy_eye, taps.headset)
        # --size is the eyes', not that of a picture as the source sees it.
        sized = replace(preview, size=None)
        board = board_of(preview, PANEL_VIEW, PANEL_DISTANCE)
        stages = opened.enter_context(open_stages(sized, source, shown.take, board=board))
        pipeline = opened.enter_context(Pipeline(_worn(preview, stages, shown), taps=taps))
        # Who tracks may have made a context of its own current in this thread.
        context.make_current()
        loops = _Loops(runtime, preview, shown)
        loops.run(pipeline)
    if first.damaged:
        raise FailedError(
            f"{preview.source}: is damaged or cut off; what can be read of it was shown. "
            "Copy or export it again for the rest"
        )
    return (
        f"showed {shown.drawn} frames in {runtime.headset}, {shown.meshes} of them the avatar's "
        f"own, {loops.samples} samples of head and hands"
    )


class _Told:
    """Says once to the terminal what the wearer must do or may want to know."""

    def __init__(self, headset: str) -> None:
        self._headset = headset
        self._last = ""

    def __call__(self, loop: FrameLoop) -> None:
        if loop.states.state == "idle":
            self._say(f"{self._headset}: put it on")
        elif loop.states.visible and loop.frames:
            self._say(f"{self._headset}: shown; Ctrl-C quits")

    def _say(self, line: str) -> None:
        if line != self._last:
            self._last = line
            print(line, file=sys.stderr, flush=True)


class _Loops:
    """Frame loops one after the other, as sessions are lost."""

    def __init__(self, runtime: Runtime, preview: PreviewOptions, shown: HeadsetPreview) -> None:
        self._runtime, self._shown, self._told = runtime, shown, _Told(runtime.headset)
        self._options = FrameLoopOptions(
            preview.wanted_size(), preview.headset_space, DepthRange(NEAR, FAR)
        )
        self.samples = 0
        self._seconds = preview.seconds
        self._until: float | None = None
        """Counted from the first picture: before it, things load and the headset is put on."""

    def run(self, pipeline: Pipeline) -> None:
        """Until the runtime or the source ends it, or time is up."""
        reopening, loop = Reopening(), self._open()
        while True:
            try:
                with loop:
                    self._run_one(loop, pipeline)
                return
            except InstanceLostError as error:
                raise FailedError(str(error)) from error
            except SessionLostError as error:
                if not reopening.lost(now_ns()):
                    raise FailedError(f"{error}, again and again; restart the runtime") from error
                print(f"{error}; opening another", file=sys.stderr, flush=True)
                loop = self._open_again()

    def _open(self) -> FrameLoop:
        return FrameLoop(self._runtime, labelled_picture, self._options, self._hear)

    def _open_again(self) -> FrameLoop:
        """Once the headset is there again. Raises FailedError when it does not come back."""
        until = time.monotonic() + RETURN_S
        while True:
            try:
                self._runtime.find_headset()
                return self._open()
            except InstanceLostError as error:
                raise FailedError(str(error)) from error
            except OpenXrError as error:
                if time.monotonic() >= until:
                    raise FailedError(f"{error} (waited {RETURN_S:g} s for it)") from error
            time.sleep(RETRY_S)

    def _run_one(self, loop: FrameLoop, pipeline: Pipeline) -> None:
        while not pipeline.ended and loop.step(self._shown.draw):
            self._told(loop)
            # Never waits: the display's next frame does not wait for a mesh.
            pipeline.poll(0.0)
            if self._time_is_up():
                return

    def _time_is_up(self) -> bool:
        if self._seconds is None or not self._shown.drawn:
            return False
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._seconds
        return now >= self._until

    def _hear(self, sample: HeadsetSample) -> None:
        self.samples += 1
        self._shown.hear(sample)


def _worn(preview: PreviewOptions, stages: Stages, shown: HeadsetPreview) -> Stages:
    """The stages with the wearer's eyes and, where asked for, hands."""

    def view_of(frame: Frame) -> View:
        return shown.view_for(stages.view_of(frame))

    tracker = stages.tracker
    if preview.headset_hands:
        tracker = HeadsetHands(tracker, shown.samples)
    return replace(stages, tracker=tracker, view_of=view_of)
