"""What the pairing page posts: a PIN or a ticket, and not one byte of anything else."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

BODY_BYTES = 1024
BODY_S = 5.0


async def posted_secret(request: web.BaseRequest) -> dict[str, str] | None:
    """{"pin": text} or {"ticket": text}; None for anything else."""
    if request.content_type != "application/json" or (request.content_length or 0) > BODY_BYTES:
        return None
    body = b""
    try:
        async with asyncio.timeout(BODY_S):
            while len(body) <= BODY_BYTES:
                part = await request.content.read(BODY_BYTES + 1)
                if not part:
                    break
                body += part
        fields = json.loads(body) if len(body) <= BODY_BYTES else None
    except (TimeoutError, ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or len(fields) != 1:
        return None
    ((name, text),) = fields.items()
    if name not in ("pin", "ticket") or not isinstance(text, str) or not text.isascii():
        return None
    return {name: text}
