"""`visavis preview --room`: everybody in one window, or in a video with --out; and their voices."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from apps.pacing import PacedSource
from apps.pipeline import Drawn, Pipeline, Taps
from apps.preview_options import PreviewOptions
from apps.preview_stages import open_source_of, open_stages, picture_size
from apps.room import NEW, Room, RoomSetup
from apps.room_avatar import open_own_avatar
from apps.room_person import RoomPerson
from apps.room_picture import RoomPicture, tile_grid
from apps.room_sound import Loudspeaker, mixed, speaking
from apps.usage import FailedError
from apps.video_writer import VideoWriter, check_writable
from capture.frame_source import FrameSource
from headset.rooms.opus_sound import RATE
from streams.audio_block import AudioBlock
from streams.clock import now_ns
from streams.image import Image
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.rigid import Rigid
from streams.view import View

if TYPE_CHECKING:
    from render.window import Window

UInt8 = npt.NDArray[np.uint8]

FILE_FPS = 30.0
FILE_BLOCK = RATE // 50
LISTENER = Rigid.from_rotvec([0.0, np.pi, 0.0])
"""Who sits before the screen looks along -z; a head's own axes have z to the front."""


def meet(preview: PreviewOptions) -> None:
    """Until Esc, the close button, the source's end or `preview.seconds`.

    Raises UsageError, FailedError, and NoWindowError where no window opens and no --out is given.
    """
    setup = RoomSetup.parse(preview.room or NEW, preview.relay, preview.name or preview.avatar)
    if preview.out is not None:
        check_writable(preview.out)
    setup.tell(preview.room or NEW)
    own = open_own_avatar(preview.avatar)
    with (
        own.avatar,
        open_source_of(preview) as opened,
        Room(setup, own, lambda line: print(line, file=sys.stderr, flush=True)) as room,
    ):
        source = opened if opened.live else PacedSource(opened)
        size = picture_size(preview, source)
        with _screen(preview, source, size, room) as screen:
            waiting = _Waiting()
            live = preview.source.startswith("webcam:")
            voice = speaking(source, preview.source_file(), live, room.say_sound)
            with (
                open_stages(preview, source, waiting.draw, avatar=own.avatar) as stages,
                Pipeline(stages, taps=Taps(code=room.say_code)) as pipeline,
                contextlib.nullcontext() if preview.silent else voice,
            ):
                _show(preview, pipeline, waiting, room, screen)


class _Waiting:
    """The pipeline's renderer in name: keeps what is to be drawn with everybody else."""

    def __init__(self) -> None:
        self.own: tuple[MeshTexture, View, tuple[Panel, ...]] | None = None

    def draw(self, mesh: MeshTexture, view: View, panels: object) -> Image | None:
        self.own = (mesh, view, tuple(panels) if isinstance(panels, (tuple, list)) else ())
        return None


class _Screen:
    """Where pictures go."""

    def __init__(self, picture: RoomPicture, size: tuple[int, int]) -> None:
        self.picture, self.size = picture, size

    closed = False

    def show(self, rgb: UInt8) -> None:
        """Present one picture."""


class _WindowScreen(_Screen):
    def __init__(self, picture: RoomPicture, size: tuple[int, int], window: Window) -> None:
        super().__init__(picture, size)
        self._window = window

    @property
    def closed(self) -> bool:
        return self._window.closed

    def show(self, rgb: UInt8) -> None:
        self._window.show_picture(rgb)


class _FileScreen(_Screen):
    """A video at FILE_FPS, with what is heard."""

    def __init__(
        self, picture: RoomPicture, size: tuple[int, int], writer: VideoWriter,
        heard: Callable[[int, int], npt.NDArray[np.int16]],
    ) -> None:  # fmt: skip
        super().__init__(picture, size)
        self._writer, self._heard = writer, heard
        self._start_ns = now_ns()
        self._samples = self._pictures = 0

    def show(self, rgb: UInt8) -> None:
        at_ns = now_ns() - self._start_ns
        if at_ns * FILE_FPS < self._pictures * 1e9:
            return
        self._pictures += 1
        rgba = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
        self._writer.write(rgba, at_ns)
        while self._samples * 1_000_000_000 // RATE <= at_ns:
            t_ns = self._samples * 1_000_000_000 // RATE
            line = self._heard(FILE_BLOCK, self._start_ns + t_ns)
            self._writer.write_sound(AudioBlock(t_ns, "room", RATE, line))
            self._samples += FILE_BLOCK


@contextlib.contextmanager
def _screen(
    preview: PreviewOptions, source: FrameSource, size: tuple[int, int], room: Room
) -> Iterator[_Screen]:
    from render.renderer import RenderOptions, open_renderer

    def heard(count: int, heard_ns: int) -> npt.NDArray[np.int16]:
        return mixed(_seated(room.people(), size), count, heard_ns, LISTENER)

    with contextlib.ExitStack() as opened:
        if preview.out is not None:
            from apps.sound_line import SoundFormat

            renderer = opened.enter_context(open_renderer("gl", RenderOptions(depth=False)))
            sound = None if preview.silent else SoundFormat(RATE, 2)
            writer = opened.enter_context(VideoWriter(preview.out, size, FILE_FPS, sound=sound))
            nothing = np.zeros((FILE_BLOCK, 2), np.int16)
            yield _FileScreen(
                RoomPicture(renderer.draw), size, writer,
                (lambda _count, _ns: nothing) if preview.silent else heard,
            )  # fmt: skip
            return
        from apps.preview_window import NoWindowError
        from render.gl_context import GlUnavailableError
        from render.window import Window, WindowOptions

        try:
            window = Window(WindowOptions("Visavis - room", size), RenderOptions(depth=False))
        except GlUnavailableError as error:
            raise NoWindowError(str(error)) from error
        opened.enter_context(window)
        if not preview.silent:
            try:
                opened.enter_context(Loudspeaker(heard))
            except FailedError as error:
                print(f"room: {error}", file=sys.stderr)
        yield _WindowScreen(RoomPicture(window.renderer.draw), size, window)


def _seated(people: list[RoomPerson], size: tuple[int, int]) -> list[tuple[RoomPerson, Rigid]]:
    """Mouths where the tiles are, on a screen 0.6 m wide and as far away."""
    tiles = tile_grid(len(people) + 1, size)[1:]
    return [
        (person, Rigid.from_translation([0.6 * ((x + width / 2) / size[0] - 0.5), 0.0, -0.6]))
        for person, (x, _, width, _) in zip(people, tiles, strict=True)
    ]


def _show(
    preview: PreviewOptions, pipeline: Pipeline, waiting: _Waiting, room: Room, screen: _Screen
) -> None:
    begun = time.monotonic()
    while not screen.closed:
        drawn: Drawn | None = pipeline.poll(0.5 / FILE_FPS)
        del drawn  # `waiting` has it
        screen.show(screen.picture.picture(waiting.own, room.people(), screen.size))
        if preview.seconds is not None and time.monotonic() - begun >= preview.seconds:
            return
        if pipeline.ended:
            return
