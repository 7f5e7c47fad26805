"""One `visavis stream` from its start to its end: server, pipeline, and what goes between them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from apps.adb_reverse import AdbError, AdbReverse
from apps.code_stream import CodeStream
from apps.display import has_display
from apps.headset_source import HeadsetSource, HeadsetTracker
from apps.page_shaders import page_shaders
from apps.pipeline import Codes, Draw, Drawn, Pipeline, Stages, Taps
from apps.preview_options import PreviewOptions
from apps.preview_panels import board_of
from apps.preview_stages import open_source_of, open_stages, picture_size
from apps.recording import HEADSET_SEAMS, recording_of
from apps.stereo_pictures import StereoPictures
from apps.stream_imagining import PagePrompts, StreamImagining
from apps.stream_options import HEADSET, StreamOptions, devices_folder, stream_folder
from apps.stream_terminal import StreamTerminal, log_line
from apps.undrawn import draw_nothing
from apps.usage import FailedError
from apps.viewpoint import fitted_view
from headset.webxr.blob_store import BlobStore
from headset.webxr.certificate import (
    Certificate,
    given_certificate,
    machine_addresses,
    machine_names,
    outward_address,
    own_certificate,
)
from headset.webxr.client_session import SessionOptions
from headset.webxr.datagram_lane import DatagramLaneError, DatagramLanes
from headset.webxr.presentation import Presentation, PresentationOptions
from headset.webxr.prompt_messages import PanelDismissed, PromptMessage, Speech
from headset.webxr.server import WebXrServer, WebXrServerOptions
from headset.webxr.server_messages import NOTHING, Allowed
from streams.avatar_code import AvatarCode
from streams.clock import now_ns
from streams.headset_sample import HeadsetSample
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.shown_panels import ShownPanels
from streams.view import View

if TYPE_CHECKING:
    from apps.room_stream import StreamedRoom
    from capture.frame_source import FrameSource
    from headset.webxr.client_messages import PanelMoved
    from overlay.board import PanelBoard

POLL_S = 0.03
LOOK_S = 0.5
"""The terminal is looked after so often."""


def run_stream(stream: StreamOptions) -> None:
    """Serve until Ctrl-C, `stream.seconds`, or the window is closed.

    Raises FailedError, ServerError, CertificateError, SourceError: one readable line each.
    """
    if stream.preview and not has_display():
        raise FailedError(
            "--preview: there is no display; leave it away to stream without a window"
        )
    shown = stream.shown()
    with contextlib.ExitStack() as opened:
        source = opened.enter_context(_open_source(stream, shown))
        session = StreamSession(stream, shown, source)
        opened.callback(session.close)
        taps = opened.enter_context(session.recorded())
        window = opened.enter_context(_window(stream, shown, source))
        draw: Draw = draw_nothing if window is None else window.renderer.render
        # The terminal says where the page is before models are loaded, which takes seconds.
        session.server.start()
        terminal = StreamTerminal(session.server)
        terminal.welcome(session.host(), session.usb(opened))
        stages = opened.enter_context(session.stages(draw))
        pipeline = opened.enter_context(Pipeline(stages, taps=taps))
        session.run(pipeline, terminal, window)
    if source.damaged and not source.live:
        raise FailedError(f"{shown.source}: is damaged or cut off")


class StreamSession:
    """The server, what it shows, and the taps that feed it."""

    def __init__(self, stream: StreamOptions, shown: PreviewOptions, source: FrameSource) -> None:
        self.stream, self.shown, self.source = stream, shown, source
        self.blobs = BlobStore()
        self._lanes = _lanes(self, stream.lan)
        self.presentation = Presentation(
            self.blobs, on_sample=self._take_sample, on_panel_moved=self._move_panel,
            on_code_key=self._need_key, lanes=self._lanes, on_prompt=self._take_prompt,
            options=PresentationOptions(SessionOptions(takes=allowed_prompts(shown))),
        )  # fmt: skip
        options = WebXrServerOptions(
            _certificate(stream), devices_folder(), stream.port, stream.lan,
            _plain_port(stream),
        )  # fmt: skip
        self.server = WebXrServer(
            options, page_shaders(), self.blobs, self.presentation.serve, log=log_line()
        )
        self.pictures = StereoPictures(self.presentation)
        self._board: PanelBoard | None = None
        self._recorded = Taps()
        self._codes: CodeStream | None = None
        self._streamed_room: StreamedRoom | None = None
        self._prompts = PagePrompts()
        self._imagining: StreamImagining | None = None
        self._shown_panels: tuple[Panel, ...] = ()
        """Of the board, when pages were last told of them."""

    def close(self) -> None:
        """Tell the clients, and end."""
        if self._lanes is not None:
            self.server.submit(self._lanes.close)
        self.server.stop()
        self.presentation.close()
        self.pictures.close()

    def host(self) -> str | None:
        """What the network's devices call this machine: the name that one's own certificate is for,
        else its address; None where only this machine is let in."""
        if not self.stream.lan:
            return None
        if self.stream.cert is not None:
            for name in self.server.options.certificate.names:
                if name != "localhost" and not name.startswith("*"):
                    return name
        return outward_address()

    def usb(self, opened: contextlib.ExitStack) -> bool:
        """Whether a headset at a cable reaches the server; says what is in the way if not."""
        port = self.server.plain_port
        if port is None:
            return False
        try:
            opened.enter_context(AdbReverse(port))
        except AdbError as error:
            print(error, flush=True)
            return False
        return True

    @contextlib.contextmanager
    def stages(self, draw: Draw) -> Iterator[Stages]:
        """Tracker and avatar, and this session's panels, which the page may move."""
        tracker = HeadsetTracker(self.source) if isinstance(self.source, HeadsetSource) else None
        view = fitted_view(self.source.camera, picture_size(self.shown, self.source), 0)
        self._board = board_of(self.shown, view)
        with (
            self._room() as own,
            open_stages(self.shown, self.source, draw, tracker, own, self._board) as stages,
        ):
            avatar = cast(Any, stages.avatar)
            from avatar.page_decoder import page_decoder

            self.presentation.describe_avatar(0, self.blobs.add(page_decoder(avatar)))
            self._codes = CodeStream(avatar, self.presentation.show_code)
            with self._imagined(self._board, view):
                yield replace(stages, avatar=StreamedAvatar(avatar))

    @contextlib.contextmanager
    def _imagined(self, board: PanelBoard, view: View) -> Iterator[None]:
        """What follows the page's words, where that was asked for."""
        if not self.shown.imagine:
            yield
            return
        from apps.imagining import imagining

        driven = self.stream.driven_by_headset
        with imagining(self.shown, board, view, self._recorded.mark, around_head=True) as made:
            self._imagining = StreamImagining(
                self._prompts, made.panels, board, self.presentation.tell_words, driven
            )
            try:
                yield
            finally:
                self._imagining = None

    @contextlib.contextmanager
    def _room(self) -> Iterator[Codes | None]:
        """The avatar that others in the room know, or None without one."""
        shown = self.shown
        if shown.room is None:
            yield None
            return
        from apps.room import RoomSetup
        from apps.room_avatar import open_own_avatar
        from apps.room_sound import speaking
        from apps.room_stream import StreamedRoom

        setup = RoomSetup.parse(shown.room, shown.relay, shown.name or shown.avatar)
        setup.tell(shown.room)
        own = open_own_avatar(shown.avatar)
        with (
            own.avatar,
            StreamedRoom(setup, own, self.presentation, self.blobs, log_line()) as room,
            contextlib.ExitStack() as opened,
        ):
            if not shown.silent:
                live = shown.source.startswith(("webcam:", HEADSET))
                path = shown.source_file()
                opened.enter_context(speaking(self.source, path, live, room.room.say_sound))
            self._streamed_room = room
            try:
                yield own.avatar
            finally:
                self._streamed_room = None

    @contextlib.contextmanager
    def recorded(self) -> Iterator[Taps]:
        """Taps of the network, and of a recording where one is asked for."""
        seams = HEADSET_SEAMS
        if self.stream.driven_by_headset:
            seams = tuple(seam for seam in seams if seam != "frames")
        with recording_of(self.shown, self.source, seams) as taps:
            self._recorded = taps
            try:
                yield self._taps(taps)
            finally:
                self._recorded = Taps()

    def run(self, pipeline: Pipeline, terminal: StreamTerminal, window: Any) -> None:
        """Turn the pipeline over until it is to stop."""
        begun, looked, drawn = time.monotonic(), 0.0, None
        while not pipeline.ended and (window is None or not window.closed):
            drawn = pipeline.poll(POLL_S) or drawn
            if self._imagining is not None:
                self._imagining.turn(drawn, () if window is None else window.take_events())
                self._show_changes(pipeline.stages, drawn)
            self.pictures.draw(now_ns())
            now = time.monotonic()
            if window is not None:
                connected = ", ".join(self.server.connected()) or "nobody is connected"
                camera = None if drawn is None or self.stream.driven_by_headset else drawn.frame.rgb
                window.show(camera, (connected, "Esc quits"))
            if now - looked >= LOOK_S:
                looked = now
                terminal.look()
            if self.stream.seconds is not None and now - begun >= self.stream.seconds:
                return

    def _taps(self, recorded: Taps) -> Taps:
        def mesh(made: MeshTexture) -> None:
            recorded.mesh(made)
            self.presentation.show(made)
            self.pictures.take_mesh(made)

        def code(made: AvatarCode) -> None:
            recorded.code(made)
            if self._codes is not None and self.presentation.statistics():
                self._codes.take(made)
            if self._streamed_room is not None:
                self._streamed_room.say_code(made)

        return replace(recorded, mesh=mesh, code=code, panels=self._show_panels)

    def _take_sample(self, name: str, sample: HeadsetSample) -> None:
        self._recorded.headset(sample)
        self.pictures.take_sample(sample)
        if isinstance(self.source, HeadsetSource):
            self.source.put(sample)

    def _take_prompt(self, said: PromptMessage) -> None:
        if isinstance(said, Speech):
            if self._imagining is not None:
                self._imagining.hear(said)
        elif self.shown.imagine:
            self._prompts.put(said)
        elif isinstance(said, PanelDismissed) and self._board is not None:
            self._board.remove(said.id)

    def _show_changes(self, stages: Stages, drawn: Drawn | None) -> None:
        """A new picture does not wait for the next frame: without a headset there may be none."""
        panels = () if self._board is None else self._board.panels(0)
        if drawn is None or panels == self._shown_panels:
            return
        self._shown_panels = panels
        self._show_panels(ShownPanels(drawn.state.t_ns, stages.panels_of(drawn.state)))

    def _show_panels(self, shown: ShownPanels) -> None:
        self._recorded.panels(shown)
        self.presentation.show_panels(shown)
        self.pictures.take_panels(shown.panels)

    def _need_key(self, person: int) -> None:
        codes = self._codes
        if person == 0 and codes is not None:
            codes.need_key()
        elif person and self._streamed_room is not None:
            self._streamed_room.need_key(person)

    def _move_panel(self, moved: PanelMoved) -> None:
        """Where it was put it stays, in the world, whatever it hung on before."""
        panel = None if self._board is None else self._board.get(moved.id)
        if self._board is not None and panel is not None:
            place = moved.anchor_from_panel
            self._board.put(
                replace(panel, anchor="world", anchor_from_panel=place, size_m=moved.size_m)
            )


class StreamedAvatar:
    """An avatar that leaves its texture as a sum where it can: the page's shader sums it."""

    def __init__(self, avatar: Any) -> None:
        self._avatar = avatar
        self._decode = getattr(avatar, "decode_nodes", avatar.decode)
        self.encode = cast(Codes, avatar).encode

    def decode(self, code: AvatarCode, view: View | None = None) -> MeshTexture:
        """A MeshTexture or MeshNodes: everything that takes it here takes both."""
        return self._decode(code, view)


def allowed_prompts(shown: PreviewOptions) -> Allowed:
    """What pages may say besides head and hands."""
    from apps.spoken_prompt import can_recognise

    if not shown.imagine:
        return NOTHING
    return Allowed.PROMPTS | (Allowed.SPEECH if can_recognise() else NOTHING)


def _lanes(session: StreamSession, lan: bool) -> DatagramLanes | None:
    """Where the extra "quic" is installed."""
    try:
        return DatagramLanes(lambda: session.server.port, lan)
    except DatagramLaneError:
        return None


def _plain_port(stream: StreamOptions) -> int | None:
    """What a cable leads to: the port after the other one, so that an address in a headset's
    history stays good."""
    if not stream.usb:
        return None
    return stream.port + 1 if 0 < stream.port < 65535 else 0


def _certificate(stream: StreamOptions) -> Certificate:
    if stream.cert is not None and stream.key is not None:
        return given_certificate(stream.cert, stream.key)
    return own_certificate(stream_folder(), machine_names(), machine_addresses())


def _open_source(stream: StreamOptions, shown: PreviewOptions) -> FrameSource:
    if stream.driven_by_headset:
        return HeadsetSource()
    from apps.pacing import PacedSource

    source = open_source_of(shown)
    return source if source.live else PacedSource(source, lambda: open_source_of(shown))


@contextlib.contextmanager
def _window(stream: StreamOptions, shown: PreviewOptions, source: FrameSource) -> Iterator[Any]:
    """The preview's window, or None."""
    if not stream.preview:
        yield None
        return
    from render.gl_context import GlUnavailableError
    from render.renderer import RenderOptions
    from render.window import Window, WindowOptions

    size = picture_size(shown, source)
    try:
        window = Window(
            WindowOptions(f"Visavis - {shown.source}", size), RenderOptions(depth=False)
        )
    except GlUnavailableError as error:
        raise FailedError(f"--preview: {error}") from error
    with window:
        yield window
