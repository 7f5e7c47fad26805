"""A scripted headset: what Monado's "remote" driver is told over a socket, and its surroundings."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

EVENTS = {"hidden": 1, "visible": 2, "focused": 3, "loss pending": 4, "lost": 5, "recentred": 6}
"""What `tests/openxr/build_monado.py` makes the driver announce."""
EYE_HEIGHT = 1.6
"""Metres above the floor of the driver's LOCAL space."""
FORMAT_NAME = b"mndrmt3\0"
CONNECT_S = 30.0

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
UPRIGHT: Quaternion = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Place:
    """In the driver's room: y up, metres, the floor at 0."""

    xyz: Vector
    wxyz: Quaternion = UPRIGHT

    def packed(self) -> bytes:
        w, x, y, z = self.wxyz
        return struct.pack("<7f", x, y, z, w, *self.xyz)


@dataclass(frozen=True)
class Hand:
    """One hand: where its grip is and how far its fingers are curled."""

    place: Place
    curl: float = 0.0
    """0 stretched to 1 closed."""
    tracked: bool = True

    def packed(self) -> bytes:
        """`struct r_remote_controller_data` of Monado 25, 120 bytes; it does not move by itself."""
        return (
            self.place.packed()
            + struct.pack("<6f", *(0.0,) * 6)
            + struct.pack("<5f", *(self.curl,) * 5)
            + struct.pack("<8f", *(0.0,) * 8)
            + struct.pack("<16?", self.tracked, self.tracked, *(False,) * 14)
        )


@dataclass(frozen=True)
class Wearer:
    """Head and hands at one moment."""

    head: Place = field(default_factory=lambda: Place((0.0, EYE_HEIGHT, 0.0)))
    left: Hand = field(default_factory=lambda: Hand(Place((-0.2, 1.3, -0.4))))
    right: Hand = field(default_factory=lambda: Hand(Place((0.2, 1.3, -0.4))))

    def packed(self, event: int = 0) -> bytes:
        """`struct r_remote_data` of Monado 25, 376 bytes."""
        # The eyes' own places and fields of view are the driver's, because the flag is false.
        eye = struct.pack("<4f", -0.8, 0.8, 0.8, -0.8) + Place((0.0, 0.0, 0.0)).packed() + bytes(4)
        head = eye + eye + self.head.packed() + struct.pack("<?B2x", False, event)
        return FORMAT_NAME + head + self.left.packed() + self.right.packed()


class RemoteHeadset:
    """Moves the wearer of a Monado that listens on `port`; connects when it is first used."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.wearer = Wearer()
        self._socket: socket.socket | None = None

    def move(self, **parts: Place | Hand) -> None:
        """Change `head`, `left` or `right`, and tell the driver."""
        self.wearer = replace(self.wearer, **parts)
        self._send(self.wearer.packed())

    def announce(self, event: str) -> None:
        """Have the driver announce one of EVENTS to every session."""
        self._send(self.wearer.packed(EVENTS[event]))

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, packet: bytes) -> None:
        until = time.monotonic() + CONNECT_S
        while self._socket is None:
            try:
                self._socket = socket.create_connection(("127.0.0.1", self.port), 2.0)
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
        self._socket.sendall(packet)


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def monado_environment(
    monado: Path, folder: Path, port: int, *, kind: str = "in_process", hz: int = 30
) -> dict[str, str]:
    """Variables for a process whose OpenXR runtime is Monado with the scripted headset.

    `kind`: "in_process", or "service" for the one that talks to a monado-service of its own.
    """
    config = folder / "config" / "monado"
    config.mkdir(parents=True, exist_ok=True)
    remote = {"version": 0, "port": port, "view_count": 2}
    (config / "config_v0.json").write_text(json.dumps({"active": "remote", "remote": remote}))
    sockets = folder / "run"
    sockets.mkdir(mode=0o700, exist_ok=True)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("XR")},
        "XR_RUNTIME_JSON": str(monado / f"{kind}.json"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_RUNTIME_DIR": str(sockets),
        "XRT_COMPOSITOR_NULL": "1",
        "XRT_NO_STDIN": "1",
        "P_OVERRIDE_ACTIVE_CONFIG": "remote",
        "VISAVIS_NULL_HZ": str(hz),
        "LP_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def run_python(
    arguments: Sequence[str], environment: dict[str, str], folder: Path
) -> subprocess.Popen[str]:
    """A Python process of the checkout's, so that a runtime's crash is not the tests'."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        cwd=Path(__file__).resolve().parents[2],
        stdin=subprocess.DEVNULL,
        stdout=(folder / "stdout").open("w"),
        stderr=(folder / "stderr").open("w"),
        text=True,
    )
