"""What `visavis stream` says in the terminal: where the page is, how to pair, the PIN."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable
from typing import TextIO

from headset.webxr.server import WebXrServer


def qr_text(url: str) -> str:
    """A QR code of half-height blocks, light on dark; what scans it must bear inverted ones
    where the terminal is light."""
    import segno

    out = io.StringIO()
    segno.make(url, error="l", micro=False).terminal(out, border=2, compact=True)
    return out.getvalue()


class StreamTerminal:
    """Says things once; `look` says what changed since. Lines of the network's thread come in by
    `log` and are said whole."""

    def __init__(self, server: WebXrServer, out: TextIO | None = None) -> None:
        self._server, self._out = server, out or sys.stdout
        self._pin, self._resting = "", False

    def welcome(self, host: str | None, usb: bool) -> None:
        """`host` is this machine's address in the network, None where it does not listen there."""
        server = self._server
        self._say("")
        if host is not None:
            url = server.url(host)
            self._say(f"Open {url} in the headset's browser, or scan:")
            self._say(self._drawable(qr_text(f"{url}#ticket={server.pairing.ticket}")))
        if usb and server.plain_port is not None:
            self._say(f"At the cable: open http://localhost:{server.plain_port}/ in the headset")
        here = f"{server.url()}#ticket={server.pairing.ticket}"
        self._say(f"On this machine: {here}")
        if host is None and not usb:
            self._say("  (--lan lets headsets in this network in, --usb one at a cable)")
        self._say(f"Certificate SHA-256 {server.fingerprint}")
        self.look()

    def look(self) -> None:
        """Say the PIN when it is another than before, and when none is taken."""
        pairing = self._server.pairing
        rest_s = pairing.rest_s
        if rest_s > 0 and not self._resting:
            self._say(f"Too many wrong PINs: none is taken for {math.ceil(rest_s)} s")
        self._resting = rest_s > 0
        pin = pairing.pin
        if pin != self._pin and not self._resting:
            self._pin = pin
            self._say(f"PIN {pin}, valid for {math.ceil(pairing.pin_left_s)} s")

    def _drawable(self, text: str) -> str:
        encoding = getattr(self._out, "encoding", None) or "utf-8"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            return "  (this terminal cannot draw the QR code)"
        return text

    def _say(self, line: str) -> None:
        print(line, file=self._out, flush=True)


def log_line(out: TextIO | None = None) -> Callable[[str], None]:
    """For `WebXrServer`: writes its lines to stderr, one write each."""

    def write(line: str) -> None:
        stream = out or sys.stderr
        stream.write(f"stream: {line}\n")
        stream.flush()

    return write
