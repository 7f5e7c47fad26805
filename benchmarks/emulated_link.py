"""A bad network on one machine: two network namespaces joined by a link of chosen delay and loss.

The kernels of small machines often lack netem, so packets go through two TUN devices and a relay
process that delays, drops and paces them. Both directions share one airtime, as on Wi-Fi. Needs
root, iproute2 and /dev/net/tun; everything stays on this machine.

    with EmulatedLink(LinkShape(delay_ms=3, jitter_ms=1, loss=0.01, mbit_s=100)) as link:
        client = link.start("client", ["chromium", f"https://{link.SERVER}:8443", ...])
        with link.inside("server"):
            ...  # threads that are started here listen there
        link.shape(LinkShape(mbit_s=1))
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import multiprocessing
import os
import random
import select
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_MTU = 1500
_QUEUE_S = 0.1
"""What waits longer for its airtime is dropped, as a router's queue does."""
SIDES = ("server", "client")


@dataclass(frozen=True, slots=True)
class LinkShape:
    """What one way of the link does to a packet."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """Mean of an exponential delay on top; packets stay in order."""
    loss: float = 0.0
    """Share of packets that vanish, each on its own."""
    mbit_s: float = 1000.0
    """Of both ways together."""
    stall_ms: float = 0.0
    """Nothing gets through for so long, ..."""
    stall_every_s: float = 2.0
    """... once in so many seconds."""

    def __post_init__(self) -> None:
        if min(self.delay_ms, self.jitter_ms, self.stall_ms) < 0:
            raise ValueError(f"LinkShape: expected times of at least 0 ms, got {self}")
        if not 0 <= self.loss <= 1 or self.mbit_s <= 0 or self.stall_every_s <= 0:
            raise ValueError(f"LinkShape: expected loss 0..1, rates and periods > 0, got {self}")


@dataclass(slots=True)
class LinkCounts:
    """Packets so far, both ways."""

    passed: int = 0
    lost: int = 0
    overflowed: int = 0
    bytes_by_side: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SIDES, 0))
    """Sent by each side, lost ones too."""


class EmulatedLink:
    """Two namespaces and the link between them, while it is open."""

    SERVER, CLIENT = "10.213.0.1", "10.213.0.2"

    def __init__(self, shape: LinkShape, seed: int = 1) -> None:
        reason = missing()
        if reason is not None:
            raise RuntimeError(f"EmulatedLink: {reason}")
        self._started: list[subprocess.Popen[Any]] = []
        tag = f"visavis{os.getpid() % 100_000}"
        self._names = {side: f"{tag}{side[0]}" for side in SIDES}
        self._relay: multiprocessing.Process | None = None
        devices: list[int] = []
        try:
            for side, ours, theirs in (
                ("server", self.SERVER, self.CLIENT),
                ("client", self.CLIENT, self.SERVER),
            ):
                devices.append(_namespace_with_tun(self._names[side], ours, theirs))
            self._talk, other = multiprocessing.Pipe()
            fork = multiprocessing.get_context("fork")  # it inherits the devices
            self._relay = fork.Process(  # pyright: ignore[reportAttributeAccessIssue]
                target=_relay, args=(devices, other, shape, seed), daemon=True
            )
            self._relay.start()  # pyright: ignore[reportOptionalMemberAccess]
        except BaseException:
            self.close()
            raise
        finally:
            for device in devices:
                os.close(device)

    def __enter__(self) -> EmulatedLink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def shape(self, shape: LinkShape) -> None:
        """From now on the link is like this."""
        self._talk.send(shape)

    def counts(self) -> LinkCounts:
        """What has passed so far."""
        self._talk.send("counts")
        if not self._talk.poll(5.0):
            raise TimeoutError("EmulatedLink: the relay does not answer")
        return self._talk.recv()

    def command(self, side: str, command: Sequence[str]) -> list[str]:
        """`command` as it is started on one of SIDES."""
        return ["ip", "netns", "exec", self._names[side], *command]

    @contextlib.contextmanager
    def inside(self, side: str) -> Iterator[None]:
        """This thread, and threads that it starts meanwhile, on one of SIDES."""
        with _inside(self._names[side]):
            yield

    def start(
        self, side: str, command: Sequence[str], env: Mapping[str, str] | None = None, **rest: Any
    ) -> subprocess.Popen[Any]:
        """A process on one of SIDES; it is stopped when the link closes."""
        started = subprocess.Popen(
            self.command(side, command), env=None if env is None else dict(env), **rest
        )
        self._started.append(started)
        return started

    def close(self) -> None:
        """Stop what was started, and remove the namespaces. May be called twice."""
        for process in self._started:
            process.terminate()
        for process in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5.0)
                continue
            process.kill()
            process.wait(5.0)
        self._started = []
        if self._relay is not None:
            self._relay.terminate()
            self._relay.join(5.0)
            self._relay = None
        for name in self._names.values():
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def missing() -> str | None:
    """Why no link can be made here, or None."""
    if os.geteuid() != 0:
        return "needs root (network namespaces)"
    if not os.path.exists("/dev/net/tun"):
        return "needs /dev/net/tun"
    try:
        subprocess.run(["ip", "-V"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return "needs iproute2 (apt-get install iproute2)"
    return None


def _namespace_with_tun(name: str, ours: str, theirs: str) -> int:
    """A new namespace with one end of the link; the file of its TUN device."""
    _ip("netns", "add", name)
    with _inside(name):
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", b"air0", _IFF_TUN | _IFF_NO_PI))
        _ip("link", "set", "lo", "up")
        _ip("addr", "add", ours, "peer", theirs, "dev", "air0")
        _ip("link", "set", "air0", "up", "mtu", str(_MTU), "txqueuelen", "2000")
    return device


@contextlib.contextmanager
def _inside(name: str) -> Iterator[None]:
    """This thread in a network namespace (setns(2)); what it starts is there too."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/var/run/netns/{name}", os.O_RDONLY)
    try:
        if libc.setns(there, 0) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {name}")
        yield
    finally:
        libc.setns(home, 0)
        os.close(there)
        os.close(home)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _relay(devices: Sequence[int], talk: Connection, shape: LinkShape, seed: int) -> None:
    """Carry packets from each device to the other until terminated."""
    counts, chance = LinkCounts(), random.Random(seed)
    peer = {devices[0]: devices[1], devices[1]: devices[0]}
    side = dict(zip(devices, SIDES, strict=True))
    waiting: list[tuple[float, int, int, bytes]] = []
    air, order, latest = 0.0, 0, dict.fromkeys(devices, 0.0)
    began = time.monotonic()
    poll = select.poll()
    for fd in (*devices, talk.fileno()):
        poll.register(fd, select.POLLIN)
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 0.2
        for fd, _ in poll.poll(pause * 1000):
            if fd not in peer:
                asked = talk.recv()
                if isinstance(asked, LinkShape):
                    shape, began = asked, time.monotonic()
                else:
                    talk.send(counts)
                continue
            for _ in range(64):
                try:
                    packet = os.read(fd, 2 * _MTU)
                except BlockingIOError:
                    break
                now = time.monotonic()
                counts.bytes_by_side[side[fd]] += len(packet)
                if chance.random() < shape.loss:
                    counts.lost += 1
                    continue
                starts = max(now, air)
                if starts - now > _QUEUE_S:
                    counts.overflowed += 1
                    continue
                air = starts + len(packet) * 8 / (shape.mbit_s * 1e6)
                jitter = chance.expovariate(1e3 / shape.jitter_ms) if shape.jitter_ms else 0.0
                due = air + shape.delay_ms / 1e3 + jitter
                stalled = (due - began) % shape.stall_every_s
                if stalled < shape.stall_ms / 1e3:
                    due += shape.stall_ms / 1e3 - stalled
                due = latest[fd] = max(due, latest[fd])
                order += 1
                heapq.heappush(waiting, (due, order, peer[fd], packet))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, to, packet = heapq.heappop(waiting)
            with contextlib.suppress(OSError):
                os.write(to, packet)
            counts.passed += 1
