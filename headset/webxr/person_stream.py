"""One person's frames for one page: what is sent next, and under which payload."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from headset.webxr.avatar_encoding import IDR, AvatarEncoding
from headset.webxr.client_messages import Capability, Hello, Payload
from headset.webxr.flow_control import FlowControl, PayloadChoice
from headset.webxr.messages import Message, MessageKind, Section, SectionKind
from headset.webxr.sample_coding import pack_view
from headset.webxr.scene_blobs import SceneBlobs
from headset.webxr.server_messages import scene
from headset.webxr.shown_people import ShownPerson, StereoPicture
from headset.webxr.texture_video import TextureVideoEncoder
from streams.closing import Closing

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PersonMaking:
    """What frames are made with."""

    blobs: SceneBlobs
    executor: Executor
    video_bits_s: int
    """Of the server's own pictures."""


class PersonStream(Closing):
    """Remembers what the page was sent. Runs in the network's loop; encodes in the executor."""

    def __init__(self, person: int, hello: Hello, flow: FlowControl, making: PersonMaking) -> None:
        self.person, self.flow = person, flow
        self.payload: Payload | None = None
        self.name = ""
        """The page's, for the log."""
        self.on_code_key: Callable[[int], None] = lambda _person: None
        self._hello, self._making = hello, making
        self._choice = PayloadChoice()
        self._encoding: AvatarEncoding | None = None
        self._video: TextureVideoEncoder | None = None
        self._scene: tuple[int, str | None] = (-1, None)
        self._unfit = False  # the last mesh could not be encoded
        self._mesh_number = self._code_number = self._picture_number = 0

    def need_key(self, received: int) -> None:
        """The page lost its way after that frame."""
        self.flow.need_key(received)
        self._scene = (-1, None)
        if self.payload is Payload.CODE:
            self.on_code_key(self.person)

    async def next(
        self, shown: ShownPerson, wish: Payload, next_id: Callable[[], int], now_ns: int
    ) -> list[Message]:
        """The next frame, after a scene where that changed; empty where there is nothing new, or no
        room for it."""
        room = self.flow.may_send(now_ns)
        starved = self.flow.starved(now_ns)
        payload = self._choice.choose(self._hello.can, shown.sources, wish, starved, now_ns)
        if payload != self.payload:
            self._change(payload, shown)
        if not room or payload is None:
            return []
        if payload is Payload.CODE:
            return self._next_code(shown, next_id)
        if payload is Payload.VIDEO:
            return await self._next_picture(shown, next_id)
        return await self._next_mesh(shown, next_id)

    def close(self) -> None:
        """Free the encoders. May be called twice."""
        for part in (self._encoding, self._video):
            if part is not None:
                part.close()
        self._encoding = self._video = None

    def _change(self, payload: Payload | None, shown: ShownPerson) -> None:
        self.payload, self.flow.key_needed = payload, True
        self.flow.frozen = payload is not Payload.GEOMETRY
        if payload is Payload.CODE:
            self._code_number = max(self._code_number, shown.code_number - 1)
            self.on_code_key(self.person)

    async def _next_mesh(self, shown: ShownPerson, next_id: Callable[[], int]) -> list[Message]:
        mesh, flow = shown.mesh, self.flow
        fresh = shown.mesh_number != self._mesh_number
        if mesh is None or not (fresh or (flow.key_needed and not self._unfit)):
            return []
        self._mesh_number = shown.mesh_number
        if self._encoding is None:
            nodes = Capability.NODES in self._hello.can
            size = self._hello.texture_size
            self._encoding = AvatarEncoding(self._making.blobs, self.person, nodes, size)
        encode, key = self._encoding.encode, flow.key_needed
        try:
            encoded = await self._in_executor(encode, mesh, next_id(), flow.step, key)
        except (ValueError, RuntimeError) as error:
            if not self._unfit:
                log.warning("%s: an avatar cannot be sent: %s", self.name, error)
            self._unfit = flow.key_needed = True
            return []
        self._unfit = False
        described, messages = (encoded.entry.number, shown.decoder), [encoded.message]
        if encoded.new_scene or self._scene != described:
            self._scene = described
            messages.insert(0, scene(self.person, encoded.entry, shown.decoder))
        return messages

    def _next_code(self, shown: ShownPerson, next_id: Callable[[], int]) -> list[Message]:
        for number, packet, t_ns in shown.codes:
            if number <= self._code_number:
                continue
            self._code_number = number
            part, key = (Section(SectionKind.CODE, packet),), self.flow.key_needed
            messages = [Message(MessageKind.AVATAR, part, next_id(), t_ns, self.person, key)]
            if self._scene != (0, shown.decoder):
                self._scene = (0, shown.decoder)
                messages.insert(0, scene(self.person, None, shown.decoder))
            return messages
        return []

    async def _next_picture(self, shown: ShownPerson, next_id: Callable[[], int]) -> list[Message]:
        picture = shown.picture
        if picture is None or shown.picture_number == self._picture_number:
            return []
        self._picture_number = shown.picture_number
        key = self.flow.key_needed
        data, alone = await self._in_executor(self._encode_picture, picture, key)
        parts = [Section(SectionKind.H264, data, IDR if alone else 0)]
        parts += [Section(SectionKind.VIEW, pack_view(view)) for view in picture.views]
        return [
            Message(
                MessageKind.VIDEO, tuple(parts), next_id(), picture.t_ns, self.person, alone
            )
        ]  # fmt: skip

    def _encode_picture(self, picture: StereoPicture, key: bool) -> tuple[bytes, bool]:
        height, width = (side - side % 2 for side in picture.rgb.shape[:2])
        if self._video is None or self._video.size != (width, height):
            self._video = TextureVideoEncoder((width, height), self._making.video_bits_s)
        return self._video.encode(picture.rgb, key)

    async def _in_executor(self, work: Callable[..., T], *args: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._making.executor, work, *args)
