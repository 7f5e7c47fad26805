"""Answers as they go out: files, refusals, and the headers on every one of them."""

from __future__ import annotations

import logging

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from headset.webxr.page_files import PageFile
from headset.webxr.refusals import Refusals
from headset.webxr.request_checks import set_headers


class HeadedRequest(web.BaseRequest):
    """Every answer, aiohttp's own to what is no HTTP included, goes out with our headers."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        secure = self.transport is not None and bool(self.transport.get_extra_info("sslcontext"))
        set_headers(response, self.headers.get(hdrs.HOST, ""), secure)


class HttpFaults(logging.Handler):
    """What aiohttp logs: requests that are no HTTP are refusals, the rest is a fault of ours."""

    def __init__(self, refusals: Refusals) -> None:
        super().__init__()
        self._refusals = refusals

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            address = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
            self._refusals.tell(address, "malformed HTTP", type(error).__name__)
        elif record.levelno >= logging.WARNING and not isinstance(error, ConnectionError):
            self._refusals.tell("here", "a fault of the server", f"{error!r}")


def refusal(status: int, text: str) -> web.Response:
    """{"error": text}. After most of them the connection ends."""
    answer = web.json_response({"error": text}, status=status)
    if status not in (404, 403):
        answer.force_close()
    return answer


def file_answer(file: PageFile) -> web.Response:
    """A whole file."""
    text = file.content_type.startswith(("text/", "application/json"))
    return web.Response(
        body=file.body, content_type=file.content_type, charset="utf-8" if text else None
    )
