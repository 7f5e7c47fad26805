"""`visavis stream`: options, devices, cable, terminal, and whole sessions with a client of ours."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest

from apps import command
from apps.adb_reverse import AdbError, AdbReverse
from apps.headset_source import HeadsetSource, HeadsetTracker
from apps.stream_options import devices_folder
from apps.stream_session import StreamedAvatar
from apps.stream_terminal import StreamTerminal, qr_text
from avatar.bitstream import BitstreamDecoder
from avatar.codec import Avatar
from avatar.opening import open_avatar
from capture.scenes import open_scene
from headset.webxr.certificate import given_certificate, make_certificate
from headset.webxr.client_messages import Capability, Displayed, EchoMessage, Hello
from headset.webxr.devices import Devices
from headset.webxr.messages import (
    MOST_DOWN_BYTES,
    MessageKind,
    SectionKind,
    pack_message,
    parse_message,
)
from headset.webxr.sample_coding import DeviceSample, pack_sample
from sessions.reader import SessionReader
from streams.clock import now_ns
from streams.hand_skeleton import mediapipe_joints, webxr_joints
from streams.headset_sample import HeadsetSample
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.rigid import Rigid
from streams.tracked_state import TrackedState
from tests.headless_chromium import chromium
from tests.stream_process import StreamProcess, connected, paired_client
from tests.stream_server import serving

SCENE = open_scene("hands")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cert", "a.pem"], "--cert without --key: expected both"),
        (["--key", "a.pem"], "--key without --cert: expected both"),
        (["--port", "65536"], "expected 0 to 65535"),
        (["--drive", "wheel"], "expected camera or headset"),
        (["--drive", "headset", "--source", "webcam:0"], "needs no camera"),
        (["--drive", "camera", "--source", "headset"], "has no camera"),
        (["--seconds", "0"], "expected more than 0"),
        (["--record", "a.mp4"], "ends in .mcap"),
        (["--source", "film:a"], "expected one of webcam:NUMBER"),
    ],
)
def test_wrong_flags_are_usage_errors(home: Path, arguments, words, capsys):
    assert command.run(["stream", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_failures_are_one_line(home: Path, tmp_path: Path, capsys, monkeypatch):
    arguments = ["--cert", str(tmp_path / "a.pem"), "--key", str(tmp_path / "b.pem")]
    assert command.run(["stream", "--source", "headset", *arguments]) == 1
    said = capsys.readouterr().err
    assert "a.pem: cannot be read" in said
    assert said.count("\n") == 1
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if sys.platform.startswith("linux"):
        assert command.run(["stream", "--source", "headset", "--preview"]) == 1
        assert "there is no display" in capsys.readouterr().err
    with serving(tmp_path) as server:
        assert command.run(["stream", "--source", "headset", "--port", str(server.port)]) == 1
    assert "choose another one with --port" in capsys.readouterr().err


def test_devices_are_listed_and_revoked(home: Path, capsys):
    assert command.run(["stream", "--devices"]) == 0
    assert "no device is paired" in capsys.readouterr().out
    devices = Devices(devices_folder())
    _, token = devices.pair("Quest 3")
    devices.pair("Pico")
    assert command.run(["stream", "--devices"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in shown] == ["Quest 3", "Pico"]
    assert time.strftime("%Y-%m-%d") in shown[0]
    assert command.run(["stream", "--revoke", "Quest 4"]) == 1
    assert "no such device is paired; there are: Quest 3, Pico" in capsys.readouterr().err
    assert command.run(["stream", "--revoke", "Quest 3", "--devices"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "Quest 3 is let in no more"
    assert [line.split("  ")[0] for line in shown[1:]] == ["Pico"]
    assert devices.find(token) is None


# The cable. No device can exist here, so adb is a small program that writes down what it is asked.

ADB = """#!/bin/sh
echo "$@" >> "{log}"
if [ "$1" = devices ]; then printf 'List of devices attached\\n{devices}'; exit 0; fi
{then}
"""


@pytest.fixture
def fake_adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    def make(devices: str, then: str = "exit 0") -> Path:
        folder, log = tmp_path / "bin", tmp_path / "adb.log"
        folder.mkdir(exist_ok=True)
        adb = folder / "adb"
        adb.write_text(ADB.format(log=log, devices=devices, then=then))
        adb.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return log

    return make


def test_a_cable_leads_the_headsets_port_here_and_is_let_go(fake_adb):
    log = fake_adb("1WMHH8\\tdevice\\nemulator-5554\\toffline\\n")
    with AdbReverse(8444) as cable:
        assert cable.headsets == ["1WMHH8"]
    cable.close()
    assert log.read_text().splitlines() == [
        "devices",
        "-s 1WMHH8 reverse tcp:8444 tcp:8444",
        "-s 1WMHH8 reverse --remove tcp:8444",
    ]


@pytest.mark.parametrize(
    ("devices", "then", "words"),
    [
        ("\\n", "exit 0", "no headset at a cable"),
        ("1WMHH8\\tunauthorized\\n", "exit 0", "allow USB debugging"),
        ("1WMHH8\\toffline\\n", "exit 0", "1WMHH8 is offline"),
        ("1WMHH8\\tdevice\\n", "echo 'error: closed' >&2; exit 1", "failed: error: closed"),
    ],
)
def test_what_is_in_the_way_of_a_cable_is_said(fake_adb, devices, then, words):
    fake_adb(devices, then)
    with pytest.raises(AdbError, match=words):
        AdbReverse(8444)


def test_without_adb_it_is_said_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AdbError, match="apt install adb"):
        AdbReverse(8444)


# The terminal


def test_the_qr_code_can_be_scanned():
    url = "https://192.168.1.5:8443/#ticket=" + "aB3-_" * 8 + "xyz"
    # Two rows of modules to a line; light is drawn, dark is the terminal's ground.
    drawn = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}
    lines = [line for line in qr_text(url).splitlines() if line]
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    rows = [[drawn[c][half] for c in line] for line in plain for half in (0, 1)]
    width = max(map(len, rows))
    grid = np.array([row + [0] * (width - len(row)) for row in rows], np.uint8)
    picture = cv2.copyMakeBorder(
        np.kron(grid * 255, np.ones((8, 8), np.uint8)),
        40,
        40,
        40,
        40,
        cv2.BORDER_CONSTANT,
        value=255,
    )
    assert cv2.QRCodeDetector().detectAndDecode(picture)[0] == url


def test_the_terminal_says_each_new_pin_and_where_the_page_is(tmp_path: Path, capsys):
    with serving(tmp_path, plain_port=0) as server:
        terminal = StreamTerminal(server)
        terminal.welcome("192.168.1.5", usb=True)
        said = capsys.readouterr().out
        assert f"https://192.168.1.5:{server.port}/ in the headset's browser" in said
        assert f"http://localhost:{server.plain_port}/" in said
        assert f"https://localhost:{server.port}/#ticket={server.pairing.ticket}" in said
        assert f"Certificate SHA-256 {server.fingerprint}" in said
        valid = rf"PIN {server.pairing.pin}, valid for (120|1[01]\d) s\n"  # the clock goes on
        assert re.search(valid, said)
        terminal.look()
        assert capsys.readouterr().out == ""
        server.time.add(121.0)
        terminal.look()
        valid = rf"PIN {server.pairing.pin}, valid for (120|1[01]\d) s\n"
        assert re.fullmatch(valid, capsys.readouterr().out)
        for _ in range(10):
            with contextlib.suppress(PermissionError):
                server.pairing.try_pin("wrong!")
        terminal.look()
        told = r"Too many wrong PINs: none is taken for 1[0-5] s\n"
        assert re.fullmatch(told, capsys.readouterr().out)
        server.time.add(16.0)
        terminal.look()
        assert capsys.readouterr().out == f"PIN {server.pairing.pin}, valid for 119 s\n"
        terminal.welcome(None, usb=False)
        said = capsys.readouterr().out
        assert "192.168" not in said
        assert "--lan lets headsets" in said


# A headset in the place of a camera


def sample_at(t_ns: int, scene_ns: int = 0) -> HeadsetSample:
    state = SCENE.state_at(scene_ns)
    assert state.face is not None
    hands = {hand.side: webxr_joints(hand.joints, hand.side) for hand in state.hands}
    return HeadsetSample(t_ns, state.face.world_from_head, hands.get("left"), hands.get("right"))


def test_samples_come_in_where_frames_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("apps.headset_source.GONE_S", 0.3)
    with HeadsetSource() as source:
        tracker = HeadsetTracker(source)
        begun = now_ns()
        source.put(sample_at(begun + 5))
        source.put(sample_at(begun + 9, 600_000_000))
        frame = next(source)
        assert frame.t_ns == begun + 9, "the newest one"
        state = tracker.track(frame)
        assert state.t_ns == begun + 9
        assert state.face is not None
        assert len(state.hands) == 2
        source.put(sample_at(begun + 8))  # Older: its time is past.
        nobody = next(source)
        assert nobody.t_ns > frame.t_ns
        assert nobody.seq == 1
        assert tracker.track(nobody).face is None, "after a while nobody is there"
        waited: list[Any] = []
        thread = threading.Thread(target=lambda: waited.append(next(source, None)))
        thread.start()
        source.close()
        thread.join(5.0)
        assert waited == [None]
        source.put(sample_at(now_ns()))
        assert next(source, None) is None


def test_a_personal_avatar_goes_as_a_sum_and_a_shipped_one_as_a_picture(small_avatar: Path):
    state = SCENE.state_at(0)
    for name, kind in ((str(small_avatar), MeshNodes), ("default", MeshTexture)):
        with open_avatar(name) as avatar:
            streamed = StreamedAvatar(avatar)
            assert isinstance(streamed.decode(streamed.encode(state)), kind)


# Whole sessions


@pytest.fixture
def started(root: Path, home: Path) -> Iterator[Callable[..., StreamProcess]]:
    running: list[StreamProcess] = []

    def start(*arguments: str) -> StreamProcess:
        running.append(StreamProcess(root, home, *arguments))
        return running[-1]

    yield start
    for one in running:
        one.process.kill()
        one.process.wait(10.0)


def test_a_headset_drives_its_own_avatar_and_is_recorded(
    started: Callable[..., StreamProcess], home: Path, tmp_path: Path
):
    """No camera: samples go up, the avatar that they drive comes down, and all of it is in a
    session."""
    session = tmp_path / "worn.mcap"
    stream = started("--source", "headset", "--record", str(session))
    kinds: dict[MessageKind, int] = {}
    sent: list[DeviceSample] = []

    async def wear(ws: aiohttp.ClientWebSocketResponse) -> None:
        await ws.send_bytes(
            pack_message(Hello(Capability.GEOMETRY | Capability.H264, 64).message())
        )
        meshes = 0
        while meshes < 4:
            try:
                data = await ws.receive_bytes(timeout=0.03)
            except TimeoutError:
                state = SCENE.state_at(len(sent) * 33_000_000)
                assert state.face is not None
                hands = {hand.side: webxr_joints(hand.joints, hand.side) for hand in state.hands}
                device_ns = now_ns() + 7_000_000_000  # A clock of its own.
                room = Rigid.from_rotvec((0.0, 1.0, 0.0), (2.0, 1.0, 0.0))
                left, right = (
                    np.asarray(room.apply(hands[side]), np.float32) if side in hands else None
                    for side in ("left", "right")
                )
                head = room @ state.face.world_from_head
                sent.append(DeviceSample(device_ns, head, left, right))
                await ws.send_bytes(pack_message(pack_sample(sent[-1])))
                continue
            message = parse_message(data, MOST_DOWN_BYTES)
            kinds[message.kind] = kinds.get(message.kind, 0) + 1
            if message.kind == MessageKind.ECHO:
                asked = EchoMessage.of(message)
                if asked.answered_ns is None:
                    answer = EchoMessage(asked.asked_ns, now_ns() + 7_000_000_000)
                    await ws.send_bytes(pack_message(answer.message()))
            elif message.kind == MessageKind.AVATAR:
                meshes += 1
                displayed = _displayed(message)
                await ws.send_bytes(pack_message(displayed))

    asyncio.run(connected(stream, home, wear))
    stream.find(r"(disconnected)")
    stream.stop()
    assert kinds[MessageKind.WELCOME] >= 1
    assert kinds[MessageKind.SCENE] >= 1
    with SessionReader(session) as reader:
        assert {"headset", "state", "code"} <= set(reader.seams)
        assert "frames" not in reader.seams, "black pictures are no record"
        records = [read.record for read in reader.read(["headset", "state"])]
    samples = [one for one in records if isinstance(one, HeadsetSample)]
    states = [one for one in records if isinstance(one, TrackedState)]
    assert 3 <= len(samples) <= len(sent)
    times = {sample.t_ns for sample in samples}
    driven = [state for state in states if state.face is not None]
    assert driven
    assert {state.t_ns for state in driven} <= times, "a state has its sample's time"
    by_device = {one.device_ns: one for one in sent}
    for sample in samples:
        assert sample.device_ns is not None
        before = by_device[sample.device_ns]
        assert abs(sample.t_ns + 7_000_000_000 - before.device_ns) < 200_000_000
        assert sample.world_from_head.angle_to(before.world_from_head) < 1e-3
        for got, was in ((sample.left, before.left), (sample.right, before.right)):
            assert (got is None) == (was is None)
            if got is not None and was is not None:
                assert np.abs(got - was).max() < 1e-4
    by_time = {sample.t_ns: sample for sample in samples}
    for state in driven:
        for hand in state.hands:
            joints = getattr(by_time[state.t_ns], hand.side)
            bones = [
                np.linalg.norm(np.diff(j[:5], axis=0), axis=1)
                for j in (hand.joints, mediapipe_joints(joints))
            ]
            np.testing.assert_allclose(bones[0], bones[1], atol=1e-5)


def test_a_page_that_decodes_gets_codes_and_their_decoder(
    started: Callable[..., StreamProcess], home: Path
):
    """The code payload: packets of the avatar's bitstream, and the decoder, a blob by its hash."""
    stream = started("--source", "synthetic:still")
    packets: list[bytes] = []
    blobs: list[bytes] = []

    async def decode() -> None:
        async with (
            paired_client(stream, home) as session,
            session.ws_connect("/link", max_msg_size=MOST_DOWN_BYTES) as ws,
        ):
            await ws.send_bytes(pack_message(Hello(Capability.CODE).message()))
            while len(packets) < 5:
                message = parse_message(await ws.receive_bytes(timeout=60.0), MOST_DOWN_BYTES)
                if message.kind == MessageKind.SCENE and not blobs:
                    name = message.need(SectionKind.SCENE).data[-32:].hex()
                    async with session.get(f"/blob/{name}") as answer:
                        assert answer.status == 200
                        blobs.append(await answer.read())
                    assert hashlib.sha256(blobs[0]).hexdigest() == name
                elif message.kind == MessageKind.AVATAR:
                    packets.append(message.need(SectionKind.CODE).data)
                    await ws.send_bytes(pack_message(_displayed(message)))

    asyncio.run(decode())
    stream.stop()
    assert gzip.decompress(blobs[0])
    with Avatar.open("default") as avatar:
        decoder = BitstreamDecoder(avatar)
        codes = [code for packet in packets if (code := decoder.decode(packet)) is not None]
        assert len(codes) == len(packets), "the first one is a key packet"
        assert codes[-1].world_from_head is not None
        assert len(avatar.decode(codes[-1]).vertices) > 5000


def _displayed(message: Any) -> Any:
    return Displayed(message.frame_id, message.person, now_ns() + 7_000_000_000, 1.0).message()


def test_a_browser_is_paired_and_shows_the_avatar_without_one_violation(
    started: Callable[..., StreamProcess], tmp_path: Path
):
    """The real page, its worker and decoders, under the real policy."""
    stream = started("--source", "synthetic:still", "--text", "Hello")
    url = stream.find(r"On this machine: (https://\S+/)#")
    with chromium() as browser:
        page = browser.new_context(
            ignore_https_errors=True, viewport={"width": 360, "height": 360}
        ).new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.add_init_script(
            "globalThis.violations = [];"
            "addEventListener('securitypolicyviolation', (e) => violations.push(e.blockedURI));"
        )
        page.goto(url)
        page.get_by_label("The six digits").fill(stream.find(r"PIN (\d{6})"))
        page.get_by_role("button", name="Pair").click()
        page.get_by_role("status").get_by_text("Connected").wait_for(timeout=120_000)
        until = time.monotonic() + 120.0
        reds = 0
        while time.monotonic() < until and reds < 4000:
            shot = np.frombuffer(page.screenshot(path=tmp_path / "page.png"), np.uint8)
            bgr = cv2.imdecode(shot, cv2.IMREAD_COLOR)
            assert bgr is not None
            middle = bgr.astype(int)
            reds = int((middle[..., 2] - middle[..., 0] > 30).sum())  # Skin, before grey.
        assert reds >= 4000
        assert page.evaluate("violations") == []
        assert complaints == []
    stream.stop()
    assert not [line for line in stream.lines if "refused" in line]


@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="xvfb-run is not installed")
def test_a_window_shows_the_same_session(root: Path, home: Path):
    code = "from apps.command import main; main()"
    arguments = ("--source", "headset", "--preview", "--size", "160x120", "--seconds", "2")
    done = subprocess.run(
        ["xvfb-run", "-a", "-s", "-screen 0 640x480x24", sys.executable, "-c", code, "stream",
         "--port", "0", *arguments],
        cwd=root, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "PIN " in done.stdout


def test_the_network_gets_the_name_of_ones_own_certificate(
    started: Callable[..., StreamProcess], tmp_path: Path
):
    chain, key = tmp_path / "own.pem", tmp_path / "own.key"
    names = ("localhost", "*.example.org", "den.example.org")
    now = datetime.datetime.now(datetime.UTC)
    for path, data in zip((chain, key), make_certificate(names, (), now, 90), strict=True):
        path.write_bytes(data)
    stream = started(
        "--source", "headset", "--lan", "--seconds", "0.1", "--cert", str(chain), "--key", str(key)
    )
    assert stream.find(r"Open (https://\S+:)\d+/ in the headset") == "https://den.example.org:"
    assert stream.find(r"SHA-256 (\S+)") == given_certificate(chain, key).fingerprint
    assert stream.process.wait(180.0) == 0, stream.lines


def test_usb_is_set_up_or_explained_and_the_certificate_is_kept(
    started: Callable[..., StreamProcess], home: Path, fake_adb
):
    log = fake_adb("1WMHH8\\tdevice\\n")
    stream = started("--source", "headset", "--usb", "--seconds", "0.1")
    fingerprint = stream.find(r"SHA-256 (\S+)")
    port = stream.find(r"open http://localhost:(\d+)/ in the headset")
    assert stream.process.wait(180.0) == 0, stream.lines
    assert log.read_text().splitlines() == [
        "devices", f"-s 1WMHH8 reverse tcp:{port} tcp:{port}",
        f"-s 1WMHH8 reverse --remove tcp:{port}",
    ]  # fmt: skip
    fake_adb("\\n")
    stream = started("--source", "headset", "--usb", "--seconds", "0.1")
    stream.find("(no headset at a cable)")
    assert stream.find(r"SHA-256 (\S+)") == fingerprint, "what browsers have accepted"
    assert stream.process.wait(180.0) == 0, "it streams on without"
