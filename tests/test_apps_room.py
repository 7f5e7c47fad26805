"""Rooms, wired: two people over a real relay, with real avatars, codes, clocks and voices."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from apps.command import run
from apps.pacing import PacedSource
from apps.room_avatar import OwnAvatar, open_own_avatar
from apps.room_person import RoomPerson
from apps.room_picture import RoomPicture, tile_grid
from apps.room_sound import gains, mixed, sound_of
from apps.video_writer import VideoWriter
from avatar.avatar_file import AvatarFileError
from avatar.personal_avatar import PersonalAvatar
from avatar.signature import fingerprint
from capture.frame_source import open_source
from headset.rooms.opus_sound import RATE
from render.renderer import RenderOptions, open_renderer
from streams.audio_block import AudioBlock
from streams.clock import now_ns
from streams.rigid import Rigid
from streams.view import View
from tests.meeting_people import (
    OWNER,
    PATIENCE_S,
    Meeters,
    moving,
    running_relay,
    swayed,
    talk,
    wait,
)
from tests.room_network import certificate
from tests.test_room_sound import LIPS_NS, voice


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real one with TLS."""
    with running_relay(tmp_path_factory.mktemp("tls")) as address:
        yield address


@pytest.fixture
def meeters(relay: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meeters]:
    made = Meeters(relay, tmp_path, monkeypatch)
    yield made
    made.leave()


def test_two_people_meet(
    meeters: Meeters, small_avatar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One wears an enrolled avatar, which the other gets, keeps and draws; the other one that
    ships. Where the head is drawn is where it was when that was observed, and the voice that is
    heard then was said then."""
    home = meeters.home("ada", OWNER)
    ada = open_own_avatar(str(small_avatar))
    first = meeters.enter("Ada", ada)
    bob_home = meeters.home("bob")
    bob = open_own_avatar("walter")
    heard: list[int] = []
    second = meeters.enter("Bob", bob, heard=lambda person, _packet, _t_ns: heard.append(person))
    stop, origin = threading.Event(), now_ns()
    talking = threading.Thread(target=talk, args=(first, ada, origin, stop))
    talking.start()
    try:
        wait(lambda: any(p.avatar is not None for p in second.people()), "Ada's avatar")
        wait(lambda: any(p.avatar is not None for p in first.people()), "Bob's avatar")
        (person,) = second.people()
        assert person.name == "Ada"
        assert isinstance(person.avatar, PersonalAvatar)
        assert person.avatar.id == ada.avatar.id
        kept = list((bob_home / "received").glob("*.visavis"))
        assert [path.read_bytes() for path in kept] == [ada.file]
        assert not list((home / "received").glob("*"))
        assert first.people()[0].name == "Bob"
        _look_and_listen(person, origin)
        assert heard
        assert set(heard) == {1}
    finally:
        stop.set()
        talking.join(PATIENCE_S)
    assert person.damaged == 0
    first.close()
    wait(lambda: not second.people(), "Ada to leave")
    assert meeters.lines["Bob"][-1] == "room: Ada left"
    ada.avatar.close()
    bob.avatar.close()


def _look_and_listen(person: RoomPerson, origin_ns: int) -> None:
    """Two seconds of what a screen and a loudspeaker would do."""
    off_mm, apart_ns, loud, loudest = [], [], 0, 0
    begun = now_ns()
    while now_ns() - begun < 3_000_000_000:
        now = now_ns()
        code = person.moment(now)
        line = person.sound.take(RATE // 100, now)
        loudest = max(loudest, int(np.abs(line).max()))
        if code is not None and code.world_from_head is not None and now - begun > 1e9:
            wanted = swayed(code.t_ns, origin_ns)
            off_mm.append(1000 * abs(code.world_from_head.xyz[0] - wanted))
            if np.abs(line).max() > 500:
                loud += 1
                # The sound that is taken now was said at now - delay - apart, the code at its t_ns.
                delay = person.delay.delay_ns(now)
                apart_ns.append(abs(code.t_ns - (now - delay - person.sound.apart_ns)))
        time.sleep(0.01)
    assert len(off_mm) > 40
    # A clock that is 50 ms wrong shows a head 2.5 mm beside. On a busy machine packets come in
    # heaps, and what is shown between them is guessed.
    assert np.median(off_mm) < 2.0
    sound = person.sound
    told = f"{sound.played} played, {sound.late} late, {sound.concealed} missing, {loudest} loud"
    assert loud > 30, told
    assert np.percentile(apart_ns, 95) <= LIPS_NS
    code = person.moment(now_ns())
    assert code is not None
    seat = Rigid.from_rotvec([0.0, np.pi / 2, 0.0], [1.0, 0.0, 0.0])
    here, there = (person.decoded(code, None, s) for s in (Rigid.identity(), seat))
    assert here is not None
    assert there is not None
    assert np.allclose(seat.apply(here.mesh.vertices), there.mesh.vertices, atol=1e-5)
    assert np.allclose(seat.rotate(here.mesh.normals), there.mesh.normals, atol=1e-5)
    centre = here.mesh.vertices.mean(0)
    assert abs(centre[0] - swayed(code.t_ns, origin_ns)) < 0.05


def test_nobody_appears_as_somebody_else(meeters: Meeters, small_avatar: Path) -> None:
    """Neither with a file that somebody else signed, nor with one that is none, nor with a name
    that says nothing here."""
    meeters.home("thief")
    with pytest.raises(AvatarFileError, match="only who made an avatar"):
        open_own_avatar(str(small_avatar))
    meeters.home("ada", OWNER)
    stolen = open_own_avatar(str(small_avatar)).file
    thief = meeters.home("thief")
    walter = open_own_avatar("walter").avatar
    meeters.enter("thief", OwnAvatar(walter, stolen))
    meeters.home("vandal")
    meeters.enter("vandal", OwnAvatar(walter, b"PK\3\4" + bytes(50_000)))
    nobody = open_own_avatar("mei").avatar
    nobody.id = "avatars/../../etc/passwd"
    meeters.home("liar")
    meeters.enter("liar", OwnAvatar(nobody, None))
    meeters.home("bob")
    room = meeters.enter("Bob", open_own_avatar("walter"))
    said = meeters.lines["Bob"]
    wait(lambda: sum("is not shown" in line for line in said) == 3, f"three refusals in {said}")
    assert all(person.avatar is None for person in room.people())
    reasons = {person.name: person.problem for person in room.people()}
    key = Ed25519PrivateKey.from_private_bytes((thief / "signing_key").read_bytes())
    assert fingerprint(key.public_key().public_bytes_raw()) in reasons["thief"]
    assert "no avatar" in reasons["vandal"]
    assert "passwd" in reasons["liar"]


def test_who_is_cut_off_keeps_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay is restarted: nobody is told to have left, the same person goes on in the same
    avatar, and codes come again."""
    tls = certificate(tmp_path)
    with running_relay(tmp_path, tls=tls) as relay:
        made = Meeters(relay, tmp_path, monkeypatch)
        made.home("ada")
        own = open_own_avatar("amara")
        first = made.enter("Ada", own)
        made.home("bob")
        second = made.enter("Bob", open_own_avatar("walter"))
        wait(lambda: any(p.avatar is not None for p in second.people()), "Ada's avatar")
        (before,) = second.people()
        avatar, member = before.avatar, before.member
    port = int(relay.partition("#")[0].rpartition(":")[2])
    origin, stop = now_ns(), threading.Event()
    with running_relay(tmp_path, port, tls):
        wait(lambda: before.member is not member, "Ada's return")
        talking = threading.Thread(target=talk, args=(first, own, origin, stop))
        talking.start()
        try:
            codes = before.codes
            wait(lambda: before.codes > codes + 10, "codes")
            wait(lambda: before.moment(now_ns()) is not None, "a moment")
            assert second.people() == [before]
            assert before.person == 1
            assert before.avatar is avatar
            assert not [line for line in made.lines["Bob"] if "left" in line]
        finally:
            stop.set()
            talking.join(PATIENCE_S)
            made.leave()


def test_everybody_has_a_tile(meeters: Meeters) -> None:
    """Drawn by OpenGL: the own avatar and the others side by side."""
    meeters.home("ada")
    own = open_own_avatar("amara")
    first = meeters.enter("Ada", own)
    meeters.home("bob")
    bob = open_own_avatar("walter")
    second = meeters.enter("Bob", bob)
    origin = now_ns()

    def seen() -> bool:
        first.say_code(moving(own, now_ns(), origin))
        time.sleep(0.03)
        return any(p.moment(now_ns()) is not None for p in second.people())

    wait(seen, "a code of Ada's")
    code = moving(bob, now_ns(), now_ns())
    view = View(code.t_ns, "mono", Rigid.from_rotvec([np.pi, 0.0, 0.0]),
                np.array([-0.4, 0.4, 0.3, -0.3]), (320, 240))  # fmt: skip
    with open_renderer("gl", RenderOptions(depth=False)) as renderer:
        picture = RoomPicture(renderer.draw)
        shown = (bob.avatar.decode(code, view), view, ())
        both = picture.picture(shown, second.people(), (320, 160))
        alone = picture.picture(shown, [], (160, 160))
    assert both.shape == (160, 320, 3)
    left, right = both[:, :160].astype(int), both[:, 160:].astype(int)
    assert np.abs(left - alone).max() <= 2  # as without others
    # Amara's skin is darker than Walter's, and both have one.
    middle = slice(60, 100), slice(60, 100)
    assert left[middle].std() > 5
    assert right[middle].std() > 5
    assert left[middle].mean() > right[middle].mean() + 10


@pytest.mark.slow
def test_a_preview_in_a_room_is_written_with_what_is_heard(
    meeters: Meeters, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`visavis preview --room --out`: two tiles once Ada is there, and her voice."""
    meeters.home("ada")
    ada = open_own_avatar("amara")
    room = meeters.enter("Ada", ada)
    stop, out = threading.Event(), tmp_path / "meeting.mp4"
    talking = threading.Thread(target=talk, args=(room, ada, now_ns(), stop))
    talking.start()
    meeters.home("bob")
    try:
        code = run(
            ["preview", "--source", "synthetic:still", "--avatar", "walter", "--name", "Bob",
             "--room", str(meeters.code), "--relay", meeters.relay, "--size", "320x160",
             "--seconds", "12", "--out", str(out)]
        )  # fmt: skip
    finally:
        stop.set()
        talking.join(PATIENCE_S)
    said = capsys.readouterr().err
    assert code == 0, said
    assert "room: Ada is seen" in said
    wait(lambda: any("Bob is here" in line for line in meeters.lines["Ada"]), "Bob at Ada's")
    with av.open(str(out)) as file:
        pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    with av.open(str(out)) as file:
        sound = np.concatenate([frame.to_ndarray().ravel() for frame in file.decode(audio=0)])
    assert len(pictures) >= 3
    last = pictures[-1].astype(int)
    # Walter on the left, Amara's darker skin on the right.
    assert last[60:100, 60:100].mean() > last[60:100, 220:260].mean() + 10
    assert last[60:100, 220:260].std() > 5
    assert np.abs(sound).max() > 0.02


def test_tiles_fill_the_picture() -> None:
    for count in range(1, 12):
        covered = np.zeros((90, 160), int)
        for x, y, width, height in tile_grid(count, (160, 90)):
            covered[y : y + height, x : x + width] += 1
        assert covered.max() == 1
        assert covered.mean() > 0.6
    assert tile_grid(2, (160, 90)) == [(0, 0, 80, 90), (80, 0, 80, 90)]


def test_voices_come_from_where_people_are() -> None:
    """Equal power all around, softer farther away, and mixed without a crack."""
    for angle in np.linspace(-np.pi, np.pi, 13):
        left, right = gains([0.5 * np.sin(angle), 0.0, 0.5 * np.cos(angle)])
        assert left**2 + right**2 == pytest.approx(1.0, abs=1e-5)
        assert (left - right) * np.sin(angle) >= -1e-6  # x is to the listener's left
    near, far = (gains([0.0, 0.0, z]) for z in (0.5, 2.0))
    assert far[0] == pytest.approx(near[0] / 4)

    class Loud:
        def take(self, count: int, _heard_ns: int) -> np.ndarray:
            return np.full(count, 30_000, np.int16)

    class Speaker:
        sound = Loud()

    people = [(Speaker(), Rigid.from_translation([x, 0.0, 0.5])) for x in (-0.1, 0.0, 0.1)]
    line = mixed(people, 100, 0, Rigid.identity())  # pyright: ignore[reportArgumentType]
    assert line.shape == (100, 2)
    assert 30_000 < line.max() <= 32_000


def test_a_video_is_heard_at_its_pictures_times(tmp_path: Path) -> None:
    """Blocks come when they would have been heard, at the times of the paced pictures, and again in
    the second round."""
    path, samples = tmp_path / "talk.mp4", voice(0.6, 16_000)
    from apps.sound_line import SoundFormat

    with VideoWriter(path, (64, 48), 20.0, sound=SoundFormat(16_000, 1)) as writer:
        writer.write_sound(AudioBlock(0, "x", 16_000, samples[:, None].copy()))
        for k in range(12):
            writer.write(np.full((48, 64, 3), 20 * k, np.uint8), k * 50_000_000)
    stop, blocks, late = threading.Event(), [], []
    with PacedSource(open_source(f"video:{path}"), lambda: open_source(f"video:{path}")) as source:

        def listen() -> None:
            for block in sound_of(path, source, stop):
                late.append(now_ns() - block.t_ns - block.duration_ns)
                blocks.append(replace(block))

        thread = threading.Thread(target=listen)
        thread.start()
        frames = [next(source) for _ in range(20)]
        stop.set()
        thread.join(PATIENCE_S)
    starts = [frames[0].t_ns, frames[12].t_ns]
    begun = [b.t_ns for b in blocks if min(abs(b.t_ns - s) for s in starts) < 10_000_000]
    assert len(begun) >= 2
    assert min(late) >= -5_000_000
    assert np.median(late) < 200_000_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["preview", "--room", "new"], "needs --relay"),
        (["preview", "--relay", "wss://x"], "give --room too"),
        (["preview", "--room", "lusab-babad", "--relay", "wss://x", "--silent"], "9 words"),
        (["preview", "--room", "new", "--relay", "http://x"], "--relay"),
        (["preview", "--room", "new", "--relay", "wss://x", "--record", "a.mcap"], "--record"),
        (["stream", "--room", "new"], "needs --relay"),
        (["relay", "--cert", "a.pem"], "--cert and --key"),
        (["relay", "--plain", "--cert", "a", "--key", "b"], "--plain"),
        (["relay", "--port", "70000"], "--port"),
    ],
)
def test_options_that_make_no_sense(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_a_relay_tells_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VISAVIS_HOME", str(tmp_path))
    (tmp_path / "a.pem").write_text("nothing")
    cert = str(tmp_path / "a.pem")
    assert run(["relay", "--cert", cert, "--key", cert]) == 1
    assert "expected a certificate" in capsys.readouterr().err
    assert run(["relay", "--nats", "nats://127.0.0.1:1", "--port", "0"]) == 1
    assert "nats-server" in capsys.readouterr().err
