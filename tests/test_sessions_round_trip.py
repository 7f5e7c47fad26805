"""What goes into a session comes out of it, bit for bit, in order, from any moment."""

from __future__ import annotations

import contextlib
import itertools
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader

from capture.frame_source import open_source
from sessions.message_schema import published_class
from sessions.picture_track import PictureOptions
from sessions.reader import SessionReader
from sessions.seams import SEAMS, Record, schema_name, seam_of
from sessions.session_error import SessionError
from sessions.session_header import SessionHeader
from sessions.writer import SessionOptions, SessionWriter
from streams.audio_block import AudioBlock
from streams.avatar_code import AvatarCode
from streams.camera import Camera
from streams.frame import Frame
from streams.mark import Mark
from streams.panel import Panel
from streams.rigid import Rigid
from streams.shown_panels import ShownPanels
from streams.tracked_state import TrackedState
from tests.session_records import ANY, bits, cameras, states
from tracking.tracker import Tracker

LOSSLESS = SessionOptions(PictureOptions(lossless=True), wait_s=30.0)
HEADER = SessionHeader(5, 1_700_000_000_000_000_000, "visavis test", "made up")
_names = itertools.count()


@contextlib.contextmanager
def recorded(
    records: list[Record], options: SessionOptions = LOSSLESS, secret: bytes | None = None
) -> Iterator[SessionReader]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{next(_names)}.mcap"
        with SessionWriter(path, HEADER, options, secret) as writer:
            writer.write(*records)
        assert not writer.lost
        with SessionReader(path, secret) as reader:
            yield reader


def in_order(records: list[Record]) -> list[Record]:
    return sorted(records, key=lambda r: (r.t_ns, SEAMS.index(seam_of(r)[0])))


def rising(records: list[Record]) -> list[Record]:
    """Without frames that are not later than the one before them of the same camera."""
    kept: list[Record] = []
    last: dict[str, int] = {}
    for record in records:
        if isinstance(record, Frame):
            if record.t_ns <= last.get(record.camera.name, -1):
                continue
            last[record.camera.name] = record.t_ns
        kept.append(record)
    return kept


@given(st.lists(ANY, max_size=6).map(rising))
@settings(max_examples=60, deadline=None)
def test_any_records_come_back_bit_for_bit(records: list[Record]) -> None:
    with recorded(records) as session:
        read = list(session.read())
        assert [bits(r.record) for r in read] == [bits(r) for r in in_order(records)]
        assert [(r.seam, r.source) for r in read] == [seam_of(r) for r in in_order(records)]
        assert session.undecodable == 0
        assert bits(session.header) == bits(HEADER)


@given(st.lists(cameras(), min_size=1, max_size=2))
@settings(max_examples=20, deadline=None)
def test_headers_come_back(found: list[Camera]) -> None:
    header = SessionHeader(
        7, 8, "s", "webcam:0", "me", tuple(found), {"face": "ab", "a": "c"}, "I agree.", {"x": "y"}
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mcap"
        SessionWriter(path, header).close()
        with SessionReader(path) as session:
            back = session.header
            assert (session.start_ns, session.end_ns, session.seams) == (7, 7, ())
    assert sorted(back.models.items()) == sorted(header.models.items())
    assert bits(back.cameras) == bits(header.cameras)
    assert (back.consent, back.notes, back.avatar) == ("I agree.", {"x": "y"}, "me")


@given(states())
@settings(max_examples=30, deadline=None)
def test_arrays_are_what_the_published_schema_says(state: TrackedState) -> None:
    """The fast way, numbers as bytes, against its slow twin, the schema that the file holds."""
    with recorded([state]) as session:
        (raw,) = session.messages(("state",))
    slow = published_class(schema_name("state")).FromString(raw.data)
    if state.face is None:
        assert not slow.HasField("face")
    else:
        face = np.array(slow.face.landmarks, np.float32).reshape(478, 3)
        assert face.tobytes() == state.face.landmarks.tobytes()
        assert list(slow.face.world_from_head.wxyz) == list(state.face.world_from_head.wxyz)
    for hand, message in zip(state.hands, slow.hands, strict=True):
        assert np.array(message.joints, np.float32).tobytes() == hand.joints.tobytes()
    assert slow.SerializeToString(deterministic=True) == raw.data


def noise_frames(count: int, size: tuple[int, int] = (64, 48), name: str = "c") -> list[Record]:
    camera = Camera.from_fov(size, name=name)
    rng = np.random.default_rng(count)
    at = [k * 33_333_333 for k in range(count)]
    return [
        Frame(t, k, camera, rng.integers(0, 256, (size[1], size[0], 3), np.uint8))
        for k, t in enumerate(at)
    ]


@pytest.mark.parametrize("lossless", [True, False])
def test_every_moment_is_reached_and_is_the_same_as_in_passing(lossless: bool) -> None:
    records = noise_frames(90) + noise_frames(80, (32, 32), "second")
    records += [Mark(k * 20_000_000, f"m{k}") for k in range(100)]
    options = SessionOptions(PictureOptions(lossless=lossless), wait_s=30.0)
    with recorded(records, options) as session:
        whole = list(session.read())
        assert len(whole) == len(records)
        assert session.undecodable == 0
        order = np.random.default_rng(1).permutation(len(whole))
        for k in order[:60]:
            found = whole[k]
            at = session.at(found.seam, found.t_ns, found.source)
            assert at is not None
            assert bits(at.record) == bits(found.record)
            later = session.at(found.seam, found.t_ns + 1, found.source)
            assert later is not None
            assert bits(later.record) == bits(found.record)
        for start, end in ((0, 1), (1_000_000_000, 1_500_000_000), (2_900_000_000, None)):
            part = list(session.read(start_ns=start, end_ns=end))
            wanted = [r for r in whole if r.t_ns >= start and (end is None or r.t_ns < end)]
            assert [bits(r.record) for r in part] == [bits(r.record) for r in wanted]
        assert session.at("frames", -1) is None
        assert session.at("state", 10**12) is None
        assert list(session.times("marks")) == [k * 20_000_000 for k in range(100)]
        assert (session.start_ns, session.end_ns) == (0, 89 * 33_333_333)


def test_a_picture_whose_predecessor_is_missing_is_never_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """H.264 would draw something on what it has; what was not recorded so is left out."""
    with recorded(noise_frames(20), SessionOptions(wait_s=30.0)) as session:
        whole = [bits(r.record) for r in session.read(("frames",))]
        search = session._search  # pyright: ignore[reportPrivateUsage]
        held = search.ordered

        def holed(*arguments: Any) -> Iterator[Any]:
            return (raw for raw in held(*arguments) if raw.sequence != 10)

        monkeypatch.setattr(search, "ordered", holed)
        part = [bits(r.record) for r in session.read(("frames",))]
        assert part == whole[:10]
        assert session.undecodable == 9


def test_panels_keep_their_pictures_once_and_are_found_from_anywhere() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (300, 300, 4), np.uint8)
    other = rng.integers(0, 256, (40, 30, 4), np.uint8)

    def shown(k: int) -> ShownPanels:
        place = Rigid.from_translation([k / 10, 0, 0])
        made = Panel("made", picture, "world", place, (0.2, 0.1), "model 1")
        note = Panel("note", other, "head", place, (0.1, 0.1))
        return ShownPanels(k * 100_000_000, (made, note) if k % 3 else (made,))

    records = [shown(k) for k in range(150)]
    with recorded(list(records)) as session:
        assert session.size < 6 * picture.nbytes  # 15 s: stored again after 10
        assert [bits(r.record) for r in session.read()] == [bits(r) for r in records]
    with recorded(list(records)) as session:  # a reader that saw nothing before
        at = session.at("panels", 14_250_000_000)
        assert at is not None
        assert bits(at.record) == bits(records[142])


def test_records_of_several_threads_are_all_there() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "threads.mcap"
        with SessionWriter(path, HEADER, SessionOptions(wait_s=30.0)) as writer:

            def note(who: int) -> None:
                for k in range(500):
                    writer.write(Mark(k, f"{who} {k}"))

            threads = [threading.Thread(target=note, args=(who,)) for who in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        with SessionReader(path) as session:
            names = [r.record.name for r in session.read() if isinstance(r.record, Mark)]
        assert sorted(names) == sorted(f"{who} {k}" for who in range(4) for k in range(500))
        for who in range(4):  # one thread's records of one time keep their order
            mine = [name for name in names if name.startswith(f"{who} ")]
            assert mine == [f"{who} {k}" for k in range(500)]


def test_what_finds_no_room_is_counted_and_the_file_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sessions.picture_track import PictureEncoder

    go = threading.Event()
    encode = PictureEncoder.encode

    def slow(self: PictureEncoder, *arguments: Any) -> Any:
        go.wait(30)
        return encode(self, *arguments)

    monkeypatch.setattr(PictureEncoder, "encode", slow)
    frames = noise_frames(20)
    room = 5 * 64 * 48 * 3
    with SessionWriter(tmp_path / "a.mcap", HEADER, SessionOptions(queue_bytes=room)) as writer:
        for frame in frames:
            writer.write(frame)
        lost = writer.lost["frames"]
        assert 14 <= lost <= 15  # five wait, and one may be on its way
        go.set()
    with SessionReader(tmp_path / "a.mcap") as session:
        kept = [r.record.seq for r in session.read() if isinstance(r.record, Frame)]
        assert session.lost == {"frames": lost}
        assert len(kept) == 20 - lost
        assert kept[:5] == [0, 1, 2, 3, 4]


def test_a_recorder_that_must_not_lose_waits(tmp_path: Path) -> None:
    frames = noise_frames(40)
    options = SessionOptions(queue_bytes=3 * 64 * 48 * 3, wait_s=30.0)
    with SessionWriter(tmp_path / "a.mcap", HEADER, options) as writer:
        writer.write(*frames)
    with SessionReader(tmp_path / "a.mcap") as session:
        assert session.lost == {}
        assert sum(1 for _ in session.read()) == 40


def test_a_session_is_its_owners_alone_and_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "mine.mcap"
    SessionWriter(path, HEADER).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    with pytest.raises(SessionError, match=r"mine.mcap: exists already; choose another name"):
        SessionWriter(path, HEADER)
    assert path.read_bytes() == before
    with pytest.raises(SessionError, match="there is no folder"):
        SessionWriter(tmp_path / "no" / "a.mcap", HEADER)
    with pytest.raises(ValueError, match="expected times from 0 on, got Mark at -1 ns"):
        SessionWriter(tmp_path / "b.mcap", HEADER).write(Mark(-1, "early"))
    with SessionWriter(tmp_path / "d.mcap", HEADER) as writer:
        frame, other = noise_frames(2)
        writer.write(other)
        with pytest.raises(ValueError, match="expected rising times of camera 'c', got 0 ns after"):
            writer.write(frame)
    with pytest.raises(ValueError, match="expected a record of streams, got int"):
        SessionWriter(tmp_path / "c.mcap", HEADER).write(3)  # pyright: ignore[reportArgumentType]


def test_the_mcap_library_alone_reads_it(tmp_path: Path, demo_clip: Path) -> None:
    """Real frames, real tracking: by the library's own reader and the schemas in the file."""
    path = tmp_path / "talk.mcap"
    states: list[TrackedState] = []
    with (
        open_source(f"video:{demo_clip}") as source,
        Tracker.open() as tracker,
        SessionWriter(path, HEADER, SessionOptions(wait_s=30.0)) as writer,
    ):
        for frame in itertools.islice(source, 40):
            states.append(tracker.track(frame))
            writer.write(frame, states[-1])
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert sum(summary.statistics.channel_message_counts.values()) == 40 + 40 + 1 + 2
        classes = {s.name: _class_in_file(s.data, s.name) for s in summary.schemas.values()}
        found: dict[str, list[Any]] = {}
        for schema, channel, message in reader.iter_messages():
            assert schema is not None
            record = classes[schema.name].FromString(message.data)
            found.setdefault(channel.metadata["seam"], []).append(record)
    assert [m.t_ns for m in found["state"]] == [s.t_ns for s in states]
    for message, state in zip(found["state"], states, strict=True):
        assert state.face is not None
        face = np.array(message.face.landmarks, np.float32)
        assert face.tobytes() == state.face.landmarks.tobytes()
    assert found["frames"][0].data.startswith(b"\x00\x00\x00\x01")  # Annex B
    assert {m.format for m in found["frames"]} == {"h264"}


def _class_in_file(data: bytes, name: str) -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def test_sealed_sessions_hold_the_same_and_show_nothing(tmp_path: Path) -> None:
    camera = Camera.from_fov((32, 32), name="secretcamera")
    rgb = np.zeros((32, 32, 3), np.uint8)
    header = SessionHeader(0, 1, "visavis", consent="Ann agrees", avatar="annavatar")
    records: list[Record] = [
        Frame(0, 0, camera, rgb),
        TrackedState(1, "secretcamera"),
        Mark(2, "secretmark"),
        Mark(3_000_000_000, "late"),
        AudioBlock(4, "mic", 8000, np.zeros((4, 1), np.int16)),
    ]
    path = tmp_path / "a.mcap"
    with SessionWriter(path, header, LOSSLESS, b"correct horse") as writer:
        writer.write(*records)
    content = path.read_bytes()
    for name in (b"secret", b"Ann", b"annavatar", b"foxglove", b"frames"):
        assert name not in content
    with SessionReader(path, b"correct horse") as session:
        assert session.sealed
        assert [bits(r.record) for r in session.read()] == [bits(r) for r in in_order(records)]
        assert session.header.consent == "Ann agrees"
    for secret, words in ((None, "is sealed; give its secret"), (b"battery staple", "does not")):
        with pytest.raises(SessionError, match=words):
            SessionReader(path, secret)


@pytest.mark.parametrize("size", [(47, 33), (48, 33), (47, 34), (640, 480)])
@pytest.mark.parametrize("make", [np.zeros_like, lambda rgb: rgb])
def test_pictures_of_any_size_are_close_when_they_are_not_lossless(
    size: tuple[int, int], make: Callable[[np.ndarray], np.ndarray]
) -> None:
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    rgb = make((np.stack([x, y, 1 - x], -1) * 255).astype(np.uint8))
    frames: list[Record] = [Frame(k * 40_000_000, k, Camera.from_fov(size), rgb) for k in range(8)]
    with recorded(frames, SessionOptions(wait_s=30.0)) as session:
        for found in session.read():
            assert isinstance(found.record, Frame)
            assert np.abs(found.record.rgb.astype(int) - rgb).mean() < (
                6.0 if size[0] < 100 else 2.0
            )


def test_code_of_the_default_avatar(demo_clip: Path) -> None:
    from avatar.codec import Avatar

    with (
        open_source(f"video:{demo_clip}") as source,
        Tracker.open() as tracker,
        Avatar.open("default") as avatar,
    ):
        codes: list[AvatarCode] = []
        for frame in itertools.islice(source, 10):
            codes.append(avatar.encode(tracker.track(frame), frame))
    with recorded(list(codes)) as session:
        assert [bits(r.record) for r in session.read(("code",))] == [bits(c) for c in codes]


def test_rerun_reads_it_by_its_own_reader(tmp_path: Path, demo_clip: Path) -> None:
    """Foxglove's public schemas: pictures arrive in Rerun as a video, with nothing of ours."""
    tool = Path(sys.executable).with_name("rerun")
    if not tool.exists():
        pytest.skip("Rerun's command is not installed (pip install 'visavis[rerun]')")
    path = tmp_path / "talk.mcap"
    with (
        open_source(f"video:{demo_clip}") as source,
        SessionWriter(path, HEADER, SessionOptions(wait_s=30.0)) as writer,
    ):
        for frame in itertools.islice(source, 10):
            writer.write(frame, TrackedState(frame.t_ns, "c"), Mark(frame.t_ns, "m"))
    told = subprocess.run(
        [tool, "mcap", "check", "--full", path], capture_output=True, text=True, timeout=60
    )
    assert told.returncode == 0, told.stderr
    lines = [
        line.split() for line in told.stdout.splitlines() if "/" in line and "mcap" not in line
    ]
    assert {line[3] for line in lines} >= {"/frames/demo.mp4", "/state/c", "/marks"}
    assert {line[0] for line in lines} == {"ok"}
    subprocess.run(
        [tool, "mcap", "convert", path, "-o", tmp_path / "a.rrd"], check=True, timeout=60
    )
    stats = subprocess.run(
        [tool, "rrd", "stats", tmp_path / "a.rrd"], capture_output=True, text=True, timeout=60
    )
    assert "VideoStream:sample" in stats.stdout
