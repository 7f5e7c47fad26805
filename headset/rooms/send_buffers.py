"""Small buffers under a live stream: what waits in them gets old and cannot be replaced."""

from __future__ import annotations

import asyncio
import socket

WRITE_AHEAD = 16 * 1024
"""Bytes that may wait in the process for a slow network or reader; what comes beyond them waits in
slots, where newer replaces older."""
SEND_BUFFER = 64 * 1024
"""Bytes that the kernel holds."""
LOOK_S = 0.005
"""How often a full buffer is looked at."""


def keep_small(connection: socket.socket | None) -> None:
    """Limit the kernel's share, and send what is small at once."""
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def room_to_write(transport: asyncio.BaseTransport | None) -> None:
    """Wait until little waits. Raises ConnectionError when the connection is gone."""
    while isinstance(transport, asyncio.WriteTransport):
        try:
            waiting = transport.get_write_buffer_size()
        except AttributeError:  # asyncio's TLS forgets its protocol when the connection is lost
            raise ConnectionResetError("the connection is gone") from None
        if waiting <= WRITE_AHEAD:
            return
        await asyncio.sleep(LOOK_S)
