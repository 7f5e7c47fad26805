"""Two network namespaces joined by a link that is as bad as it is told: `bad_links` uses it.

Root only; nothing outside this machine is reached. Each namespace has a TUN device whose packets
this process carries to the other one: later (delay and random jitter, never out of order), not at
all (loss), through one shared air (half duplex, as Wi-Fi) of so many bits a second whose queue
drops what would wait longer than 0.1 s, and with stalls. For kernels without netem.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

SPACES = ("visavis-a", "visavis-b")
ADDRESSES = ("10.213.0.1", "10.213.0.2")
QUEUE_S = 0.1
TUNSETIFF, IFF_TUN_NO_PI = 0x400454CA, 0x1001
MOST_BYTES = 2048


@dataclass(frozen=True, slots=True)
class LinkProfile:
    """How the link is, both ways."""

    delay_ms: float = 3.0
    jitter_ms: float = 1.0
    """Mean of an exponential distribution."""
    loss: float = 0.0
    """Share of packets."""
    mbit_s: float = 100.0
    stall_ms: float = 0.0
    stall_every_s: float = 2.0


class LinkEmulator:
    """Runs in a process of its own; profiles come as JSON datagrams to a Unix socket."""

    def __init__(self, control: Path) -> None:
        self.profile = LinkProfile()
        self._since = time.monotonic()
        self._rng = random.Random(1)
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._count = 0
        self._air_s = 0.0
        self._last_s: dict[int, float] = {}
        self._libc = ctypes.CDLL("libc.so.6", use_errno=True)
        for space in SPACES:
            ip("netns", "del", space, check=False)
            ip("netns", "add", space)
            ip("netns", "exec", space, "ip", "link", "set", "lo", "up")
        here = os.open("/proc/self/ns/net", os.O_RDONLY)
        a, b = (self._device(space, here) for space in SPACES)
        for space, own, peer in (
            (SPACES[0], *ADDRESSES),
            (SPACES[1], *ADDRESSES[::-1]),
        ):
            run = ("netns", "exec", space, "ip")
            ip(*run, "addr", "add", own, "peer", peer, "dev", "tun0")
            ip(*run, "link", "set", "tun0", "up", "txqueuelen", "2000")
        self._peer = {a: b, b: a}
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._control.bind(str(control))

    def run(self) -> None:
        """Until a datagram "end"."""
        poll = select.poll()
        for handle in (*self._peer, self._control.fileno()):
            poll.register(handle, select.POLLIN)
        while True:
            now = time.monotonic()
            wait_ms = 1e3 * (self._waiting[0][0] - now) if self._waiting else 200.0
            for handle, _ in poll.poll(max(0.0, wait_ms) if wait_ms > 1 else 0):
                if handle == self._control.fileno():
                    told = self._control.recv(4096)
                    if told == b"end":
                        return
                    self.profile, self._since = LinkProfile(**json.loads(told)), time.monotonic()
                else:
                    self._take(handle)
            now = time.monotonic()
            while self._waiting and self._waiting[0][0] <= now + 1e-4:
                _, _, handle, packet = heapq.heappop(self._waiting)
                try:
                    os.write(handle, packet)
                except OSError:
                    continue  # the other end's queue is full: lost

    def close(self) -> None:
        """Take the namespaces down."""
        for space in SPACES:
            ip("netns", "del", space, check=False)

    def _take(self, handle: int) -> None:
        profile = self.profile
        for _ in range(64):
            try:
                packet = os.read(handle, MOST_BYTES)
            except BlockingIOError:
                return
            now = time.monotonic()
            if self._rng.random() < profile.loss:
                continue
            start = max(now, self._air_s)
            if start - now > QUEUE_S:
                continue
            self._air_s = start + 8 * len(packet) / (1e6 * profile.mbit_s)
            jitter = self._rng.expovariate(1 / profile.jitter_ms) if profile.jitter_ms else 0.0
            at = self._air_s + 1e-3 * (profile.delay_ms + jitter)
            past = (now - self._since) % profile.stall_every_s
            if past < 1e-3 * profile.stall_ms:
                at = max(at, now + 1e-3 * profile.stall_ms - past)
            at = self._last_s[handle] = max(at, self._last_s.get(handle, 0.0))
            self._count += 1
            heapq.heappush(self._waiting, (at, self._count, self._peer[handle], packet))

    def _device(self, space: str, here: int) -> int:
        there = os.open(f"/var/run/netns/{space}", os.O_RDONLY)
        if self._libc.setns(there, 0):
            raise PermissionError("link_emulator: expected root, which may enter namespaces")
        handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN_NO_PI))
        self._libc.setns(here, 0)
        os.close(there)
        return handle


def tell(control: Path, profile: LinkProfile | None) -> None:
    """Make the link so from now on; None ends the emulator."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        data = b"end" if profile is None else json.dumps(asdict(profile)).encode()
        sender.sendto(data, str(control))


def ip(*arguments: str, check: bool = True) -> None:
    """The tool ip of iproute2."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


if __name__ == "__main__":
    emulator = LinkEmulator(Path(sys.argv[1]))
    print("up", flush=True)
    try:
        emulator.run()
    finally:
        emulator.close()
