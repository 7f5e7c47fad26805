"""Two people in a room, over a real relay with TLS: how old what is shown is, and lips and voice.

python -m benchmarks.meeting [--seconds 15] [--links]

One speaks (codes of a shipped avatar 30 times a second, a synthetic voice), the other looks every
10 ms at what a screen and a loudspeaker would be given. Both, and the relay, are threads of this
process.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from apps.room import Room
from apps.room_avatar import OwnAvatar, open_own_avatar
from benchmarks.emulated_link import EmulatedLink, LinkShape
from headset.rooms.opus_sound import RATE
from headset.rooms.room_code import RoomCode
from streams.clock import now_ns
from tests.meeting_people import Meeters, running_relay, talk, wait

STEP = RATE // 100
WARM_NS = 3_000_000_000


def watch(room: Room, seconds: float) -> None:
    """Look and listen, print figures."""
    ages, apart, off, loud = [], [], [], 0
    begun, taken = now_ns(), 0
    (person,) = room.people()
    while now_ns() - begun < WARM_NS + seconds * 1e9:
        now = now_ns()
        room.people()  # which also tells the other one of losses
        code = person.moment(now)
        # As many samples as the time that passed, as a loudspeaker takes them.
        due = (now - begun) * RATE // 1_000_000_000 - taken
        line = person.sound.take(due, now) if due else np.zeros(0, np.int16)
        taken += due
        if code is not None and now - begun > WARM_NS:
            ages.append((now - code.t_ns) / 1e6)
            if np.abs(line).max(initial=0) > 500:
                loud += 1
                heard_ns = now - person.delay.delay_ns(now) - person.sound.apart_ns
                apart.append((heard_ns - code.t_ns) / 1e6)
        time.sleep(0.01)
    clock, sound = person.member.clock, person.sound
    off = clock.offset_ns(now_ns()) / 1e6
    print(
        f"shown {np.median(ages):.0f} ms after it was observed (p95 {np.percentile(ages, 95):.0f})"
    )
    print(f"voice against lips: median {np.median(apart):+.1f} ms, 95 % within "
          f"{np.percentile(np.abs(apart), 95):.1f} ms, all within {np.abs(apart).max():.1f} ms "
          f"({loud} looks while there was voice)")  # fmt: skip
    print(f"clock: off by {off:+.2f} ms, bound {clock.error_bound_ns(now_ns()) / 1e6:.2f} ms")
    print(f"sound: {sound.played} packets played, {sound.concealed} missing, {sound.late} late, "
          f"{sound.mended} mended, {sound.cuts} cuts; {person.codes} codes, "
          f"{person.damaged} damaged; "
          f"{8e-3 * person.code_bytes * 30 / max(1, person.codes):.1f} kbit/s")  # fmt: skip
    print(f"load average {os.getloadavg()[0]:.1f}")


SHAPES = {
    "a clean link, 3 ms": LinkShape(delay_ms=3, jitter_ms=1, mbit_s=100),
    "1 % lost": LinkShape(delay_ms=3, jitter_ms=1, loss=0.01, mbit_s=100),
    "3 % lost": LinkShape(delay_ms=3, jitter_ms=3, loss=0.03, mbit_s=60),
    "80 ms of nothing every 2 s": LinkShape(delay_ms=3, jitter_ms=1, loss=0.002, stall_ms=80),
    "1 Mbit/s": LinkShape(delay_ms=3, jitter_ms=1, mbit_s=1),
}


def entered(folder: Path, relay: str, code: str, name: str) -> tuple[Meeters, Room, OwnAvatar]:
    """Somebody in a room; to be left."""
    meeters = Meeters(relay, folder, pytest.MonkeyPatch())
    meeters.code = RoomCode.parse(code)
    meeters.home(name)
    own = open_own_avatar("amara")
    return meeters, meeters.enter(name, own), own


def speak(room: Room, own: OwnAvatar) -> tuple[threading.Thread, threading.Event]:
    """Until the event is set."""
    stop = threading.Event()
    talking = threading.Thread(target=talk, args=(room, own, now_ns(), stop), daemon=True)
    talking.start()
    return talking, stop


def over_links(seconds: float) -> None:
    """The same with the listener behind each bad link; all are processes of their own."""
    for name, shape in SHAPES.items():
        print(f"== {name}")
        with tempfile.TemporaryDirectory() as home, EmulatedLink(shape) as link:
            verb = [sys.executable, "-c", "from apps.command import main; main()"]
            started = [
                link.start(
                    "server", [*verb, "relay", "--lan", "--port", "0"], stdout=subprocess.PIPE,
                    text=True, env={**os.environ, "VISAVIS_HOME": home},
                )
            ]  # fmt: skip
            try:
                assert started[0].stdout is not None
                address = started[0].stdout.readline().removeprefix("relay at ").strip()
                told = [address, str(RoomCode.new())]
                own = [sys.executable, "-m", "benchmarks.meeting", "--seconds", str(seconds)]
                started.append(link.start("server", [*own, "--speak", *told]))
                started.append(link.start("client", [*own, "--watch", *told]))
                started[-1].wait(seconds + 120.0)
            finally:
                for process in started:
                    process.terminate()
                    process.wait(20.0)
            counts = link.counts()
            print(f"packets lost {counts.lost}, dropped for airtime {counts.overflowed}")


def main() -> None:
    """Run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--links", action="store_true", help="behind bad links; needs root")
    parser.add_argument("--speak", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--watch", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.links:
        over_links(given.seconds)
        return
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as opened:
        relay, code = given.speak or given.watch or (
            opened.enter_context(running_relay(Path(folder))), str(RoomCode.new())
        )  # fmt: skip
        if not given.watch:
            speakers, first, own = entered(Path(folder), relay, code, "Ada")
            talking, stop = speak(first, own)
            if given.speak:
                talking.join()
        if not given.speak:
            listeners, second, _ = entered(Path(folder), relay, code, "Bob")
            wait(lambda: any(p.avatar is not None for p in second.people()), "an avatar")
            watch(second, given.seconds)
            listeners.leave()
        if not given.watch:
            stop.set()
            talking.join()
            speakers.leave()


if __name__ == "__main__":
    main()
