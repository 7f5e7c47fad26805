"""Two people in a room, over a real relay with TLS: how old what is shown is, and lips and voice.

python -m benchmarks.meeting [--seconds 15]

One speaks (codes of a shipped avatar 30 times a second, a synthetic voice), the other looks every
10 ms at what a screen and a loudspeaker would be given. Both, and the relay, are threads of this
process.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from apps.room import Room
from apps.room_avatar import open_own_avatar
from headset.rooms.opus_sound import RATE
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


def main() -> None:
    """Run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=15.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        with running_relay(Path(folder)) as relay:
            meeters = Meeters(relay, Path(folder), patch)
            meeters.home("ada")
            own = open_own_avatar("amara")
            first = meeters.enter("Ada", own)
            meeters.home("bob")
            second = meeters.enter("Bob", open_own_avatar("walter"))
            stop = threading.Event()
            talking = threading.Thread(target=talk, args=(first, own, now_ns(), stop))
            talking.start()
            wait(lambda: any(p.avatar is not None for p in second.people()), "an avatar")
            watch(second, given.seconds)
            stop.set()
            talking.join()
            meeters.leave()


if __name__ == "__main__":
    main()
