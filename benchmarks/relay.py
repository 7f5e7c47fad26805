"""What a relay costs: synthetic people in one room, each with codes and voice.

python -m benchmarks.relay [--people 10] [--seconds 20] [--relays 2 --nats nats://127.0.0.1:4222]

Every person is a real client with real keys over TLS; codes are a talking person's at 24 kbit/s,
30 a second, voice is Opus at 24 kbit/s, 50 packets a second. Relays are processes of their own, and
so are the clients, half of them in each of two. Times are from a packet's leaving its writer to its
being deciphered by each other member, on this machine: no network between.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from avatar.bitstream import BitstreamEncoder, BitstreamOptions
from headset.rooms.avatar_transfer import AvatarCache
from headset.rooms.meeting import Heard
from headset.rooms.opus_sound import OpusEncoder
from headset.rooms.relay_address import RelayAddress
from headset.rooms.room_client import RoomClient, RoomEvent, RoomOptions
from headset.rooms.room_code import RoomCode
from headset.rooms.room_message import CodePacket, Presence, SoundPacket
from streams.audio_block import AudioBlock
from streams.clock import now_ns
from tests.room_network import until
from tests.talking_person import Person, speech
from tests.test_room_sound import voice

CODES_S, SOUNDS_S = 30, 50
WARM_S = 3.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Heards:
    """What one client was told."""

    code_ms: list[float] = field(default_factory=list)
    sound_ms: list[float] = field(default_factory=list)

    def hear(self, event: RoomEvent) -> None:
        now = now_ns()
        if isinstance(event, Heard):
            if isinstance(event.message, CodePacket):
                self.code_ms.append((now - event.message.t_ns) / 1e6)
            elif isinstance(event.message, SoundPacket):
                self.sound_ms.append((now - event.message.t_ns) / 1e6)


def code_packets(seconds: int) -> list[bytes]:
    """A talking person's, 30 a second; b"" where the rate leaves one out."""
    encoder = BitstreamEncoder(Person(), BitstreamOptions(24.0))
    return [encoder.encode(code) or b"" for code in speech(seconds * CODES_S)]


def sound_packets(seconds: int) -> list[bytes]:
    """Voice, 50 a second."""
    samples = voice(float(seconds), 16_000)
    block = AudioBlock(0, "voice", 16_000, samples[:, None].copy())
    return [packet.packet for packet in OpusEncoder().encode(block)]


async def clients(addresses: list[str], code: RoomCode, people: int, first: int, seconds: float,
                  others: int) -> dict[str, object]:  # fmt: skip
    """`people` members in this process, who see `others`; figures of the measured part."""
    codes, sounds = code_packets(10), sound_packets(10)
    with tempfile.TemporaryDirectory() as folder:
        heard = [Heards() for _ in range(people)]
        members = [
            RoomClient(
                RoomOptions(
                    code, RelayAddress.parse(addresses[(first + k) % len(addresses)]),
                    Ed25519PrivateKey.generate(),
                ),
                Presence(f"person {first + k}", "avatars/person"), AvatarCache(Path(folder)),
                heard[k].hear,
            )
            for k in range(people)
        ]  # fmt: skip
        running = [asyncio.create_task(member.run()) for member in members]

        def all_there() -> bool:
            return all(m.meeting is not None and len(m.meeting.members) == others for m in members)

        await until(all_there, "everybody in the room", 60.0)
        sent = {"codes": 0, "sounds": 0}

        async def speak(member: RoomClient, kind: str, rate: int, phase: float) -> None:
            packets, loop = (codes if kind == "codes" else sounds), asyncio.get_running_loop()
            begun, number = loop.time() + phase, 0
            while not done.is_set():
                await asyncio.sleep(max(0.0, begun + number / rate - loop.time()))
                packet = packets[number % len(packets)]
                if packet and kind == "codes":
                    member.say_code(packet, now_ns())
                elif packet:
                    member.say_sound(SoundPacket(now_ns(), number, packet))
                number += 1
                sent[kind] += bool(packet)

        done = asyncio.Event()
        rng = np.random.default_rng(first)
        speaking = [
            asyncio.create_task(speak(member, kind, rate, float(rng.random() / rate)))
            for member in members
            for kind, rate in (("codes", CODES_S), ("sounds", SOUNDS_S))
        ]
        await asyncio.sleep(WARM_S)
        for one in heard:
            one.code_ms.clear()
            one.sound_ms.clear()
        before = dict(sent), [(m.sent_bytes, m.came_bytes) for m in members], time.process_time()
        print("warm", flush=True)
        await asyncio.sleep(seconds)
        cpu_s = time.process_time() - before[2]
        up = sum(m.sent_bytes - b[0] for m, b in zip(members, before[1], strict=True))
        down = sum(m.came_bytes - b[1] for m, b in zip(members, before[1], strict=True))
        figures: dict[str, object] = {
            "sent": {kind: sent[kind] - before[0][kind] for kind in sent},
            "code_ms": [round(x, 3) for one in heard for x in one.code_ms],
            "sound_ms": [round(x, 3) for one in heard for x in one.sound_ms],
            "up_bytes": up, "down_bytes": down, "cpu_s": cpu_s,
            "refused": {k: v for m in members if m.meeting for k, v in m.meeting.refused.items()},
        }  # fmt: skip
        done.set()
        for member in members:
            member.close()
        await asyncio.gather(*running, *speaking)
        return figures


@contextlib.contextmanager
def relay_process(home: Path, nats: str | None) -> Iterator[tuple[int, str]]:
    """`visavis relay`: its process id and address."""
    command = [
        sys.executable,
        "-c",
        "from apps.command import main; main()",
        "relay",
        "--port",
        "0",
    ]
    process = subprocess.Popen(
        [*command, *([] if nats is None else ["--nats", nats])],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "VISAVIS_HOME": str(home)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("relay at "), line
        yield process.pid, line.removeprefix("relay at ").strip()
    finally:
        process.terminate()
        process.wait(10)


def cpu_s(pid: int) -> float:
    """User and system time of a process until now (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid: int) -> float:
    """Resident."""
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in x)
    return int(line.split()[1]) / 1024


def main() -> None:
    """Run, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--relays", type=int, default=1)
    parser.add_argument("--nats")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        told = json.loads(given.part)
        code = RoomCode.parse(told["code"])
        print(json.dumps(asyncio.run(clients(
            told["addresses"], code, told["people"], told["first"], given.seconds, told["others"]
        ))))  # fmt: skip
        return
    code = RoomCode.new()
    with contextlib.ExitStack() as opened:
        home = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        relays = [
            opened.enter_context(relay_process(home / str(k), given.nats))
            for k in range(given.relays)
        ]
        addresses = [address for _, address in relays]
        half = given.people // 2
        own = [sys.executable, "-m", "benchmarks.relay", "--seconds", str(given.seconds), "--part"]
        told = {"addresses": addresses, "code": str(code), "others": given.people - 1}
        parts = [
            subprocess.Popen(
                [*own, json.dumps({**told, "people": people, "first": first})],
                stdout=subprocess.PIPE,
                text=True,
            )
            for people, first in ((half, 0), (given.people - half, half))
        ]
        for part in parts:
            assert part.stdout is not None
            assert part.stdout.readline() == "warm\n"
        before = [cpu_s(pid) for pid, _ in relays]
        begun = time.monotonic()
        figures = [json.loads(part.communicate()[0]) for part in parts]
        passed = time.monotonic() - begun
        used = [cpu_s(pid) - b for (pid, _), b in zip(relays, before, strict=True)]
        memory = [memory_mb(pid) for pid, _ in relays]
    others = given.people - 1
    print(f"{given.people} people, {len(relays)} relay(s), {given.seconds:g} s")
    for k, (seconds, mb) in enumerate(zip(used, memory, strict=True)):
        print(f"relay {k}: {100 * seconds / passed:.1f} % of one core, {mb:.0f} MB")
    up, down = (sum(f[key] for f in figures) / given.seconds for key in ("up_bytes", "down_bytes"))
    print(f"into relays {8e-3 * up:.0f} kbit/s, out {8e-3 * down:.0f} kbit/s; each person up "
          f"{8e-3 * up / given.people:.1f}, down {8e-3 * down / given.people:.1f}")  # fmt: skip
    for kind in ("code", "sound"):
        sent = sum(f["sent"][f"{kind}s"] for f in figures)
        times = np.concatenate([figure[f"{kind}_ms"] for figure in figures])
        p = np.percentile(times, [50, 95, 99])
        print(f"{kind}: {sent / given.seconds:.0f}/s sent, {len(times) / given.seconds:.0f} heard "
              f"({100 * len(times) / (sent * others):.1f} %), age ms p50 {p[0]:.1f} "
              f"p95 {p[1]:.1f} p99 {p[2]:.1f}")  # fmt: skip
    clients_cpu = sum(f["cpu_s"] for f in figures) / given.seconds / given.people
    print(f"a client's network part: {100 * clients_cpu:.1f} % of one core (deciphering included)")
    print(f"refused: {[f['refused'] for f in figures]}; load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
