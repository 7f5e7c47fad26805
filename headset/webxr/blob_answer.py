"""A blob as an answer to a request: whole, or the one range that was asked for."""

from __future__ import annotations

import asyncio
import re

from aiohttp import hdrs, web

from headset.webxr.connections import Connection
from headset.webxr.socket_link import LinkLimits

PART = 64 * 1024
FOREVER = "private, max-age=31536000, immutable"
_RANGE = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")


async def answer_blob(
    request: web.BaseRequest,
    blob: bytes | None,
    connection: Connection,
    limits: LinkLimits,
) -> web.StreamResponse:
    """200, or 206 with the range (RFC 9110, section 14), 416 for a range outside, 404 for None.

    A client that does not read loses its connection.
    """
    if blob is None:
        return web.json_response({"error": "there is no such blob"}, status=404)
    wanted = request.headers.get(hdrs.RANGE)
    part = (0, len(blob)) if wanted is None else byte_range(wanted, len(blob))
    if part is None:
        answer = web.Response(status=416)
        answer.headers[hdrs.CONTENT_RANGE] = f"bytes */{len(blob)}"
        return answer
    begin, end = part
    answer = web.StreamResponse(status=200 if wanted is None else 206)
    answer.content_type = "application/octet-stream"
    answer.content_length = end - begin
    answer.headers[hdrs.ACCEPT_RANGES] = "bytes"
    answer.headers[hdrs.CACHE_CONTROL] = FOREVER
    if wanted is not None:
        answer.headers[hdrs.CONTENT_RANGE] = f"bytes {begin}-{end - 1}/{len(blob)}"
    await answer.prepare(request)
    if request.method == "HEAD":
        return answer
    view = memoryview(blob)
    try:
        for at in range(begin, end, PART):
            async with asyncio.timeout(limits.send_s + PART / limits.slowest_rate):
                await answer.write(view[at : min(at + PART, end)])
        await answer.write_eof()
    except TimeoutError as error:
        connection.drop()
        raise ConnectionResetError("does not read") from error
    return answer


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """[begin, end) that a Range header asks for of `size` bytes; None when there is no such part.
    Several ranges at once are not served."""
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        begin, end = max(0, size - int(match[2])), size
    else:
        begin, end = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
    return (begin, end) if begin < end else None
