"""The bad network that streaming is measured on: does it delay, lose and pace as told?"""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.emulated_link import EmulatedLink, LinkShape, missing

_ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 5000))
print("up", flush=True)
while True:
    s.sendto(*s.recvfrom(2000))
"""
_ASK = """
import socket, statistics, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.25)
took = []
for i in range(int(sys.argv[2])):
    began = time.monotonic()
    s.sendto(bytes([i]), (sys.argv[1], 5000))
    try:
        while s.recv(10)[0] != i:
            pass
        took.append(time.monotonic() - began)
    except TimeoutError:
        pass
print(len(took), min(took, default=9))
"""

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"no network link: {missing()}")


def _asked(link: EmulatedLink, count: int) -> tuple[int, float]:
    ask = [sys.executable, "-c", _ASK, link.SERVER, str(count)]
    client = link.start("client", ask, stdout=subprocess.PIPE, text=True)
    came, least = client.communicate(timeout=60)[0].split()
    return int(came), float(least)


def test_the_link_delays_and_loses_and_changes_when_told() -> None:
    with EmulatedLink(LinkShape(delay_ms=20)) as link:
        server = link.start(
            "server", [sys.executable, "-c", _ECHO], stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        assert server.stdout.readline() == "up\n"
        came, least = _asked(link, 5)
        assert came == 5
        assert least >= 0.04  # there and back
        link.shape(LinkShape(loss=1.0))
        assert _asked(link, 2)[0] == 0
        link.shape(LinkShape())
        assert _asked(link, 3)[0] == 3
        assert link.counts().lost >= 2
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    assert "visavis" not in left.stdout


def test_a_shape_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="loss"):
        LinkShape(loss=1.5)
