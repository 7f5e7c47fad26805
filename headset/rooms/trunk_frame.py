"""Frames between relays that carry the same rooms (docs/rooms.md): a relay's frame and its relay.

u8 kind, u8[8] relay, u32 from, u32 to, payload. Little endian. Kind MEMBERS lists whom a relay has
in the room, at every change and every two seconds, so that nothing depends on a single message.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from headset.rooms.relay_frame import LARGEST, Frame, FrameError, unpack_members

MEMBERS = 32
RELAY_BYTES = 8
_FORM = struct.Struct("<B8sII")


@dataclass(frozen=True, slots=True)
class TrunkFrame:
    """One frame of another relay's."""

    relay: bytes
    frame: Frame
    """Down: `member` is whom it is from; 0 for MEMBERS."""
    to: int = 0


def pack_trunk(frame: TrunkFrame) -> bytes:
    """A message to all relays of a room."""
    inner = frame.frame
    return _FORM.pack(inner.kind, frame.relay, inner.member, frame.to) + inner.payload


def unpack_trunk(message: bytes) -> TrunkFrame:
    """Raises FrameError."""
    if len(message) < _FORM.size:
        raise FrameError(f"trunk: expected {_FORM.size} bytes and more, got {len(message)}")
    kind, relay, member, to = _FORM.unpack_from(message)
    payload = message[_FORM.size :]
    if kind == MEMBERS:
        unpack_members(payload)
    elif len(payload) > LARGEST.get(kind, -1):
        raise FrameError(f"trunk: {len(payload)} bytes of kind {kind} cannot be")
    return TrunkFrame(relay, Frame(kind, member, payload), to)
