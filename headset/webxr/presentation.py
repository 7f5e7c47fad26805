"""What all connected pages are shown, and what they tell: the network's side of the pipeline.

presentation = Presentation(blobs, PresentationOptions(), on_sample)
server = WebXrServer(..., serve=presentation.serve)
presentation.show(mesh)                     # from any thread, as often as there is a new one
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from headset.webxr.blob_store import BlobStore
from headset.webxr.client_messages import PanelMoved
from headset.webxr.client_session import ClientSession, ClientStatistics, SessionOptions
from headset.webxr.datagram_lane import DatagramLanes
from headset.webxr.link import Link
from headset.webxr.prompt_messages import MOST_WORDS, PromptMessage
from headset.webxr.scene_blobs import SceneBlobs
from headset.webxr.shown_people import ShownPeople, StereoPicture
from streams.closing import Closing
from streams.headset_sample import HeadsetSample
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.shown_panels import ShownPanels
from streams.view import View


@dataclass(frozen=True, slots=True)
class PresentationOptions:
    """How pages are served."""

    session: SessionOptions = field(default_factory=SessionOptions)


class Presentation(Closing):
    """Thread-safe: `show*` and `hear` come from the pipeline, `serve` runs in the network's loop.

    The first page that connects controls: its samples and panel moves are passed on. Others watch;
    when it leaves, the one that connected next controls.
    """

    def __init__(
        self,
        blobs: BlobStore,
        options: PresentationOptions | None = None,
        on_sample: Callable[[str, HeadsetSample], None] = lambda _name, _sample: None,
        on_panel_moved: Callable[[PanelMoved], None] = lambda _moved: None,
        on_code_key: Callable[[int], None] = lambda _person: None,
        lanes: DatagramLanes | None = None,
        on_prompt: Callable[[PromptMessage], None] = lambda _said: None,
    ) -> None:
        """`on_sample` (device's name, sample), `on_panel_moved`, `on_code_key` (the person whose
        next packet must need no earlier one) and `on_prompt` are called in the network's thread
        and must not wait. `lanes` carry samples and codes as datagrams where a page opens one."""
        self.options = options or PresentationOptions()
        self._blobs = SceneBlobs(blobs)
        self._shown = ShownPeople()
        self._on_sample, self._on_panel_moved = on_sample, on_panel_moved
        self._on_code_key, self._lanes, self._on_prompt = on_code_key, lanes, on_prompt
        self._encoding = ThreadPoolExecutor(1, "visavis encoding")
        self._lock = threading.Lock()
        self._sessions: list[ClientSession] = []
        self._numbers = itertools.count(1)

    def show(self, mesh: MeshTexture | MeshNodes, person: int = 0) -> None:
        """The newest moment of a person's avatar; one that no page took is lost."""
        self._shown.show(mesh, person)

    def show_code(self, packet: bytes, t_ns: int, person: int = 0) -> None:
        """The newest packet of a person's avatar bitstream, for pages that decode it themselves
        (`describe_avatar`)."""
        self._shown.show_code(packet, t_ns, person)

    def describe_avatar(self, person: int, sha256: str) -> None:
        """Which blob is the page's decoder of that person's codes.

        Raises ValueError for what is no SHA-256 in hexadecimal.
        """
        if len(bytes.fromhex(sha256)) != 32:
            raise ValueError(f"Presentation.describe_avatar: expected a SHA-256, got {sha256!r}")
        self._shown.describe(sha256, person)

    def show_pictures(self, rgb: npt.NDArray[np.uint8], views: tuple[View, ...], t_ns: int) -> None:
        """The server's own drawing (H, W, 3) uint8 sRGB: one view beside the other."""
        self._shown.show_picture(StereoPicture(t_ns, rgb, views))

    @property
    def wants_pictures(self) -> bool:
        """Whether a page is there that the server must draw for (`show_pictures`)."""
        with self._lock:
            return any(session.wants_pictures for session in self._sessions)

    def show_panels(self, shown: ShownPanels) -> None:
        """All panels in view; pages are sent what changed."""
        self._shown.show_panels(shown)

    def hear(self, opus_packet: bytes, t_ns: int, person: int = 0) -> None:
        """20 ms of a person's voice, as Opus."""
        self._shown.hear(opus_packet, t_ns, person)

    def tell_words(self, words: str) -> None:
        """What the prompt is now, to the page that controls: what was spoken or typed here. Longer
        than its field they are not told."""
        if len(words.encode()) > MOST_WORDS:
            return
        with self._lock:
            first = self._sessions[0] if self._sessions else None
        if first is not None:
            first.tell_words(words)

    def remove(self, person: int) -> None:
        """They left."""
        self._shown.remove(person)

    async def serve(self, link: Link) -> None:
        """One page's whole protocol, until it is gone.

        Raises MessageError for a page that does not keep to the wire format.
        """
        session = ClientSession(
            next(self._numbers), link, self._shown, self._blobs, self._encoding,
            self.options.session,
        )  # fmt: skip
        session.on_sample = self._on_sample
        session.on_panel_moved = self._on_panel_moved
        session.on_code_key = self._on_code_key
        session.on_prompt = self._on_prompt
        session.lanes = self._lanes
        with self._lock:
            self._sessions.append(session)
        try:
            await session.run(controls=self._controls)
        finally:
            with self._lock:
                self._sessions.remove(session)
                heir = self._sessions[0] if self._sessions else None
            if heir is not None:
                heir.tell_control()
            elif self._lanes is not None:
                self._lanes.close()  # its port opens anew with the next page

    def statistics(self) -> tuple[ClientStatistics, ...]:
        """One for each connected page, the controlling one first."""
        with self._lock:
            sessions = tuple(self._sessions)
        return tuple(session.statistics() for session in sessions)

    def close(self) -> None:
        """End the encoding thread; stop the server before. May be called twice."""
        self._encoding.shutdown(wait=True, cancel_futures=True)

    def _controls(self, session: ClientSession) -> bool:
        with self._lock:
            return bool(self._sessions) and self._sessions[0] is session
