"""People who meet in rooms of one process, over a real relay, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from apps.room import Room, RoomSetup
from apps.room_avatar import OwnAvatar
from avatar.personal_avatar import resting_state
from headset.rooms.relay import Relay, RelayOptions
from headset.rooms.relay_address import RelayAddress
from headset.rooms.room_code import RoomCode
from streams.audio_block import AudioBlock
from streams.avatar_code import AvatarCode
from streams.clock import now_ns
from streams.rigid import Rigid
from tests.room_network import Certificate, certificate
from tests.test_room_sound import voice

OWNER = bytes(range(32))
"""Of `small_avatar`."""
PATIENCE_S = 30.0
SWAY_M, SWAYS_S = 0.1, 0.08
"""How far heads sway to either side, and how often a second."""


@contextlib.contextmanager
def running_relay(folder: Path, port: int = 0, tls: Certificate | None = None) -> Iterator[str]:
    """The address of one with TLS, in a thread of its own."""
    tls = tls or certificate(folder)
    address: list[str] = []
    started, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with Relay(RelayOptions(port=port, tls=tls.context)) as running:
            address.append(f"wss://127.0.0.1:{running.port}#sha256={tls.sha256}")
            started.set()
            while not stop.is_set():
                await asyncio.sleep(0.05)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(PATIENCE_S)
    yield address[0]
    stop.set()
    thread.join(PATIENCE_S)


class Meeters:
    """Rooms in one process, each of a user with a folder and a key of its own."""

    def __init__(self, relay: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.relay, self.address = relay, RelayAddress.parse(relay)
        self.folder, self._patch = folder, patch
        self.code = RoomCode.new()
        self.lines: dict[str, list[str]] = {}
        self.rooms: list[Room] = []

    def home(self, name: str, key: bytes | None = None) -> Path:
        """Be that user from now on."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        (home / "signing_key").write_bytes(key or Ed25519PrivateKey.generate().private_bytes_raw())
        self._patch.setenv("VISAVIS_HOME", str(home))
        return home

    def enter(self, name: str, own: OwnAvatar, **taps: Callable) -> Room:
        """The current user enters the room."""
        self.lines[name] = []
        setup = RoomSetup(self.code, self.address, name)
        room = Room(setup, own, self.lines[name].append, **taps)
        self.rooms.append(room)
        return room

    def leave(self) -> None:
        """All of them; twice, which must do no harm."""
        for room in self.rooms:
            room.close()
            room.close()
        self.rooms.clear()


def wait(true: Callable[[], object], what: str) -> None:
    latest = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < latest, f"expected {what}"
        time.sleep(0.01)


def swayed(t_ns: int, origin_ns: int) -> float:
    """Metres to the right at a time."""
    return SWAY_M * math.sin(2 * math.pi * SWAYS_S * (t_ns - origin_ns) / 1e9)


def moving(own: OwnAvatar, t_ns: int, origin_ns: int) -> AvatarCode:
    """A code whose head sways."""
    x = swayed(t_ns, origin_ns)
    state = resting_state(t_ns, Rigid.from_translation([x, 0.0, -0.6]))
    return own.avatar.encode(state)


def talk(room: Room, own: OwnAvatar, origin_ns: int, stop: threading.Event) -> None:
    """Codes 30 times a second and a voice, in real time."""
    samples, said, number = voice(30.0, 16_000), 0, 0
    while not stop.is_set():
        now = now_ns()
        room.say_code(moving(own, now, origin_ns))
        heard = (now - origin_ns) * 16_000 // 1_000_000_000
        if heard > said:
            block = samples[np.arange(said, heard) % len(samples)][:, None].copy()
            t_ns = origin_ns + said * 1_000_000_000 // 16_000
            room.say_sound(AudioBlock(t_ns, "mic", 16_000, block))
            said = heard
        number += 1
        stop.wait(max(0.0, (origin_ns + number * 1e9 / 30 - now_ns()) / 1e9))
