"""Somebody else in the room: their codes and their voice, held back to one moment."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from avatar.bitstream import BitstreamDecoder, BitstreamError
from avatar.codec import Avatar
from avatar.personal_avatar import PersonalAvatar
from headset.rooms.meeting import Member
from headset.rooms.playout import PlayoutDelay, SoundPlayout
from headset.rooms.room_message import CodePacket, Presence, SoundPacket
from streams.avatar_code import AvatarCode
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.rigid import Rigid
from streams.view import View

WAITING_CODES = 40
WISH_NS = 1_000_000_000
"""How often at most somebody is asked for a packet that can be read by itself."""
STALE_NS = 5_000_000_000
"""Who has sent no code for so long is not shown any more: a person is there, or is not."""


@dataclass(frozen=True, slots=True, eq=False)
class SeenMoment:
    """What a person looks like at one moment, in their own world."""

    code: AvatarCode
    mesh: MeshTexture | MeshNodes


class RoomPerson:
    """`put_*` come from the network's thread, `moment` and `decoded` from the drawing one, `sound`
    from the loudspeaker's."""

    def __init__(self, person: int, member: Member) -> None:
        self.person, self.member = person, member
        """`person`: 1 and up, as long as they stay."""
        self.delay = PlayoutDelay()
        self.sound = SoundPlayout(self.delay)
        self.presence: Presence | None = None
        self.avatar: Avatar | PersonalAvatar | None = None
        self.problem = ""
        """Why the avatar is not shown."""
        self.codes = self.damaged = 0
        self.code_bytes = 0
        self._decoder: BitstreamDecoder | None = None
        self._waiting: deque[tuple[int, CodePacket]] = deque(maxlen=WAITING_CODES)
        self._newest_ns: int | None = None
        self._wished_ns = 0
        self._wants_key = self._fresh = False
        self._shown: AvatarCode | None = None
        self._lock, self._drawing = threading.Lock(), threading.Lock()

    @property
    def name(self) -> str:
        """As they call themselves."""
        return (self.presence.name if self.presence is not None else "") or "somebody"

    def wear(self, avatar: Avatar | PersonalAvatar) -> None:
        """From now on codes are decoded by this avatar."""
        with self._lock:
            self.avatar, self._decoder = avatar, BitstreamDecoder(avatar)
            self._waiting.clear()
            self._wants_key = True

    def rejoin(self, member: Member) -> None:
        """They are back after a cut, under another number and with another clock offset."""
        with self._lock:
            self.member = member
            self.delay = PlayoutDelay()
            self.sound = SoundPlayout(self.delay)
            self._waiting.clear()
            self._fresh = True

    def put_code(self, packet: CodePacket, now_ns: int) -> int | None:
        """A packet that came now; dropped until clocks are known. Returns its time by our clock."""
        if not self.member.clock.synchronised:
            return None
        t_ns = max(0, self.member.clock.local_from_remote(packet.t_ns))
        self.delay.arrived("code", t_ns, now_ns)
        self.codes, self.code_bytes = self.codes + 1, self.code_bytes + len(packet.packet)
        with self._lock:
            self._waiting.append((t_ns, packet))
        return t_ns

    def put_sound(self, packet: SoundPacket, now_ns: int) -> int | None:
        """Likewise. Returns the time of its first sample by our clock, where that is known."""
        if not self.member.clock.synchronised:
            return None
        t_ns = max(0, self.member.clock.local_from_remote(packet.t_ns))
        self.sound.put(packet, t_ns, now_ns)
        return t_ns

    def want_key_packet(self) -> None:
        """Somebody who reads their packets beside us needs one that can be read by itself."""
        self._wants_key = True

    def wants_key_packet(self, now_ns: int) -> bool:
        """Whether to ask for a packet that needs no earlier one; once a second at most."""
        if not self._wants_key or now_ns - self._wished_ns < WISH_NS:
            return False
        self._wants_key, self._wished_ns = False, now_ns
        return True

    def moment(self, now_ns: int) -> AvatarCode | None:
        """What to show now: their code of `delay` ago, in their own world; `t_ns` by our clock.
        None while nothing is known of them."""
        with self._lock:
            if self._fresh and self._waiting and self.avatar is not None:
                # Until their first packet after a cut the last picture stands.
                self._decoder, self._newest_ns = BitstreamDecoder(self.avatar), None
                self._fresh, self._wants_key = False, True
        decoder = self._decoder
        if decoder is None or not self.member.clock.synchronised:
            return self._last(now_ns)
        content_ns = max(0, now_ns - self.delay.delay_ns(now_ns))
        while True:
            with self._lock:
                # Up to the first packet after the moment, so that it lies between two.
                if not self._waiting or (
                    self._newest_ns is not None and self._newest_ns > content_ns
                ):
                    break
                t_ns, packet = self._waiting.popleft()
            try:
                if decoder.decode(packet.packet) is not None:
                    self._newest_ns = t_ns
            except BitstreamError:
                self.damaged += 1
                self._wants_key = True
        if self._newest_ns is None or now_ns - self._newest_ns > STALE_NS:
            return self._last(now_ns)
        if self._fresh:
            return self._last(now_ns)
        code = decoder.at(self.member.clock.remote_from_local(content_ns))
        if code is not None:
            self._shown = replace(code, t_ns=content_ns)
        return self._shown

    def _last(self, now_ns: int) -> AvatarCode | None:
        """What was shown last, while that is not too old."""
        shown = self._shown
        return None if shown is None or now_ns - shown.t_ns > STALE_NS else shown

    def decoded(self, code: AvatarCode, view: View | None, seat: Rigid) -> SeenMoment | None:
        """The mesh of `moment`'s code, placed in the room by `seat` (room_from_person), as it looks
        from `view` (in the room)."""
        if view is not None:
            view = replace(view, world_from_eye=seat.inverse() @ view.world_from_eye)
        with self._drawing:
            avatar = self.avatar
            if avatar is None or code.avatar != avatar.id:
                return None
            if isinstance(avatar, PersonalAvatar):
                mesh = avatar.decode_nodes(code, view)
            else:
                mesh = avatar.decode(code, view)
        return SeenMoment(code, placed(mesh, seat))

    def close(self) -> None:
        """They left. May be called twice."""
        with self._drawing:
            avatar, self.avatar = self.avatar, None
            if avatar is not None:
                avatar.close()


def placed(mesh: MeshTexture | MeshNodes, seat: Rigid) -> MeshTexture | MeshNodes:
    """The mesh moved by a transform of the world."""
    return replace(
        mesh,
        vertices=np.ascontiguousarray(seat.apply(mesh.vertices), np.float32),
        normals=np.ascontiguousarray(seat.rotate(mesh.normals), np.float32),
    )
