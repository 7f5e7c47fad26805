"""The stage that turns codes into packets for pages which decode the avatar themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable

from avatar.bitstream import BitstreamEncoder, BitstreamOptions
from avatar.code_numbers import CodedAvatar
from streams.avatar_code import AvatarCode

KBIT_S = 20.0
"""Of all messages, at most."""
MESSAGE_BYTES = 12
"""Of a message of the wire besides its packet: its header, and the WebSocket's
(docs/wire_format.md)."""
CODE_OPTIONS = BitstreamOptions(kbit_s=KBIT_S, header_bytes=MESSAGE_BYTES)


class CodeStream:
    """One person's. `take` belongs to the thread of the codes; `need_key` may come from any."""

    def __init__(
        self,
        avatar: CodedAvatar,
        show: Callable[[bytes, int], None],
        options: BitstreamOptions | None = None,
    ) -> None:
        """`show` is given each packet and its t_ns, as `Presentation.show_code` takes them."""
        self._encoder = BitstreamEncoder(avatar, options or CODE_OPTIONS)
        self._show = show
        self._key = threading.Event()

    def need_key(self, person: int = 0) -> None:
        """The next packet needs no earlier one: a page joined, or lost its way. Does not wait."""
        self._key.set()

    def take(self, code: AvatarCode) -> None:
        """One code, in the order of time; for the bitrate's sake some are left out."""
        if self._key.is_set():
            self._key.clear()
            self._encoder.request_key()
        packet = self._encoder.encode(code)
        if packet is not None:
            self._show(packet, code.t_ns)
