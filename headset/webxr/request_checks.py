"""Who may ask: the Host and Origin of a request, the token in its cookie, and the headers of every
answer."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection

from aiohttp import hdrs, web

COOKIE = "__Host-visavis"
"""Browsers keep a cookie of this prefix only from HTTPS, for this very host, for all paths
(RFC 6265bis, section 4.1.3.2)."""
PLAIN_COOKIE = "visavis"
"""The same over http://localhost, through adb."""
COOKIE_S = 180 * 24 * 3600
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?::([0-9]{1,5}))?")


def host_of(header: str) -> str | None:
    """The host of a Host header, lower case, an address in its shortest form; None for nonsense."""
    match = _HOST.fullmatch(header)
    if match is None or (match[2] and int(match[2]) > 65535):
        return None
    host = match[1].strip("[]").lower().removesuffix(".")
    return _plain_address(host) or host


def is_own_host(host: str, names: Collection[str], own_address: str) -> bool:
    """Whether a request for `host` is meant for this machine. A page elsewhere can make a name of
    its own lead here (DNS rebinding), but its requests then ask for that name.

    `names` are the machine's and its certificate's, "*.example.org" among them; `own_address` is
    the one that the connection came in at.
    """
    address = _plain_address(host)
    if address is not None:
        return address == _plain_address(own_address) or address in names
    return host in names or f"*.{host.partition('.')[2]}" in names


def is_own_origin(request: web.BaseRequest) -> bool:
    """Whether the page that asks came from here: same scheme, host and port. Browsers send Origin
    with every WebSocket and every POST (RFC 6455 section 10.2, Fetch standard)."""
    scheme = (
        "https" if request.transport and request.transport.get_extra_info("sslcontext") else "http"
    )
    return request.headers.getall(hdrs.ORIGIN, []) == [f"{scheme}://{request.headers[hdrs.HOST]}"]


def policy(host_header: str, secure: bool) -> str:
    """The Content-Security-Policy: everything from here, nothing inline. WebAssembly, which some
    decoders are, counts as a kind of eval. Older browsers do not take 'self' for a WebSocket."""
    known = host_of(host_header) is not None  # Else the words of a stranger.
    socket = f" {'wss' if secure else 'ws'}://{host_header}" if known else ""
    return (
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; "
        f"connect-src 'self'{socket}; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def set_headers(response: web.StreamResponse, host_header: str, secure: bool) -> None:
    """What every answer carries."""
    headers = response.headers
    headers["Server"] = "visavis"
    headers["Content-Security-Policy"] = policy(host_header, secure)
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Embedder-Policy"] = "require-corp"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Permissions-Policy"] = (
        "xr-spatial-tracking=(self), microphone=(self), camera=(), geolocation=()"
    )
    headers.setdefault("Cache-Control", "no-store")


def set_token(response: web.Response, token: str, secure: bool) -> None:
    """Give a browser its device's token, out of reach of scripts and of other sites."""
    response.set_cookie(
        COOKIE if secure else PLAIN_COOKIE, token, max_age=COOKIE_S, path="/", secure=True,
        httponly=True, samesite="Strict",
    )  # fmt: skip


def token_of(request: web.BaseRequest, secure: bool) -> str | None:
    """The token that a request shows."""
    return request.cookies.get(COOKIE if secure else PLAIN_COOKIE)


def _plain_address(host: str) -> str | None:
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ip)
