"""Sessions as Rerun recordings, read back by Rerun's own reader."""

from __future__ import annotations

import io
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from apps.session_rerun import BONES, RerunOptions, write_rerun
from avatar.codec import Avatar
from capture.scenes import open_scene
from capture.video_file import VideoFile
from overlay.image_panel import image_panel
from overlay.text_panel import text_panel
from sessions.seams import Record
from streams.audio_block import AudioBlock
from streams.avatar_code import AvatarCode
from streams.face_shapes import SHAPE_INDEX
from streams.frame import Frame
from streams.mark import Mark
from streams.rigid import Rigid
from streams.shown_panels import ShownPanels
from streams.tracked_state import TrackedState

rerun_chunk: Any = pytest.importorskip("rerun.chunk", reason="needs rerun-sdk (extra rerun)")

START_NS = 7_000_000_000_000
FPS = 15.0
COUNT = 45


@pytest.fixture(scope="module")
def states() -> list[TrackedState]:
    """Both hands in some, a calm head in all but three."""
    scene = open_scene("demo")
    out = []
    for k in range(COUNT):
        t_ns = round(k * 1e9 / FPS)
        state = scene.state_at(5_000_000_000 + t_ns)
        face = None if 20 <= k < 23 else state.face
        out.append(TrackedState(START_NS + t_ns, "cam", face, state.hands))
    return out


@pytest.fixture(scope="module")
def frames(demo_clip: Path, states: list[TrackedState]) -> list[Frame]:
    with VideoFile(demo_clip) as video:
        pictures = [next(video) for _ in range(COUNT)]
    camera = replace(pictures[0].camera, name="Face Time/HD")
    return [
        Frame(state.t_ns, k, camera, picture.rgb)
        for k, (state, picture) in enumerate(zip(states, pictures, strict=True))
    ]


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return np.random.default_rng(1).integers(-9000, 9000, (24_000, 1)).astype(np.int16)


@pytest.fixture(scope="module")
def codes(states: list[TrackedState]) -> list[AvatarCode]:
    with Avatar.open("walter") as avatar:
        return [avatar.encode(state) for state in states]


@pytest.fixture(scope="module")
def records(
    states: list[TrackedState], frames: list[Frame], codes: list[AvatarCode], sound: np.ndarray
) -> list[Record]:
    picture = np.full((20, 30, 3), 200, np.uint8)
    panels = (
        text_panel("note", "hello", "head", Rigid.from_translation((0.0, 0.17, 0.05))),
        image_panel("art", picture, "world", Rigid.identity(), 0.1, "some-model"),
    )
    blocks = [
        AudioBlock(START_NS + 500_000_000 + k * 20_000_000, "mic", 16_000, sound[at : at + 320])
        for k, at in enumerate(range(0, len(sound), 320))
        if k != 30  # a hole of 20 ms
    ]
    third = states[COUNT // 3].t_ns
    others: list[Record] = [
        ShownPanels(third, panels), ShownPanels(states[-5].t_ns, panels[:1]),
        Mark(states[10].t_ns, "smile", "it begins"),
    ]  # fmt: skip
    order = (Frame, AudioBlock, TrackedState, AvatarCode, ShownPanels, Mark)
    every: list[Record] = [*frames, *states, *codes, *blocks, *others]
    return sorted(every, key=lambda record: (record.t_ns, order.index(type(record))))


@pytest.fixture(scope="module")
def path(records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rrd") / "talk.rrd"
    with Avatar.open("walter") as avatar:
        options = RerunOptions("talk", mesh_fps=5.0, mesh_from="code", fps=FPS)
        counts = write_rerun(records, out, START_NS, avatar, options)
    assert counts == {
        "frames": COUNT, "state": COUNT, "code": COUNT, "audio": 74, "panels": 2, "marks": 1,
    }  # fmt: skip
    return out


class Rrd:
    """All rows of a recording: entity and component -> [(session ns, frame, values)]."""

    def __init__(self, path: Path) -> None:
        reader = rerun_chunk.RrdReader(path)
        (self.entry,) = reader.recordings()
        self.blueprints = reader.blueprints()
        self.rows: dict[tuple[str, str], list[tuple[int | None, int | None, Any]]] = {}
        for chunk in reader.stream():
            batch = chunk.to_record_batch()
            names = batch.schema.names
            times = {
                name: batch.column(names.index(name)).cast("int64").to_pylist()
                for name in ("session", "frame")
                if name in names
            }
            for k, name in enumerate(names):
                if name in ("session", "frame") or ":" not in name:
                    continue
                for row, value in enumerate(batch.column(k).to_pylist()):
                    if value is not None:
                        at = [times[t][row] if t in times else None for t in ("session", "frame")]
                        rows = self.rows.setdefault((chunk.entity_path, name), [])
                        rows.append((at[0], at[1], value))
        for rows in self.rows.values():
            rows.sort(key=lambda row: -1 if row[0] is None else row[0])

    def of(self, entity: str, component: str) -> list[tuple[int | None, int | None, Any]]:
        return self.rows.get((entity, component), [])


@pytest.fixture(scope="module")
def rrd(path: Path) -> Rrd:
    return Rrd(path)


def test_graphs_hands_and_poses_are_those_of_the_states(
    rrd: Rrd, states: list[TrackedState]
) -> None:
    mouth = rrd.of("/face/shapes/rest", "Scalars:scalars")
    names = rrd.of("/face/shapes/rest", "SeriesLines:names")[0][2]
    seen = [state for state in states if state.face is not None]
    assert [row[0] for row in mouth] == [state.t_ns - START_NS for state in seen]
    for row, state in zip(mouth, seen, strict=True):
        assert state.face is not None
        assert row[2][names.index("jawOpen")] == state.face.blendshapes[SHAPE_INDEX["jawOpen"]]
    hands = [state for state in states if state.hand("left") is not None]
    joints = rrd.of("/world/hands/left", "Points3D:positions")
    bones = rrd.of("/world/hands/left/bones", "LineStrips3D:strips")
    gone = rrd.of("/world/hands/left", "Clear:is_recursive")
    assert len(joints) == len(bones) == len(hands)
    assert len(hands) > 5
    assert len(gone) == COUNT - len(hands) > 5
    for row, lines, state in zip(joints, bones, hands, strict=True):
        hand = state.hand("left")
        assert hand is not None
        np.testing.assert_array_equal(np.float32(row[2]), hand.joints)
        np.testing.assert_array_equal(np.float32(lines[2][1]), hand.joints[BONES[1]])
    places = rrd.of("/world/head", "Transform3D:translation")
    turns = rrd.of("/world/head", "Transform3D:quaternion")
    for row, turn, state in zip(places, turns, seen, strict=True):
        assert state.face is not None
        pose = state.face.world_from_head
        np.testing.assert_allclose(row[2][0], pose.xyz, atol=1e-6)
        np.testing.assert_allclose(np.roll(turn[2][0], 1), pose.wxyz, atol=1e-6)
    hidden = rrd.of("/world/head", "Transform3D:scale")
    assert [row[2][0] for row in hidden] == [[0.0, 0.0, 0.0]] * 3
    confidence = [row[2][0] for row in rrd.of("/confidence/face", "Scalars:scalars")]
    assert confidence.count(0.0) == 3
    assert [row[1] for row in rrd.of("/confidence/face", "Scalars:scalars")] == sorted(
        row[1] or 0 for row in rrd.of("/confidence/face", "Scalars:scalars")
    )


def test_pictures_are_a_video_before_their_camera(rrd: Rrd, frames: list[Frame]) -> None:
    entity = "/world/cameras/Face\\ Time\\/HD/picture"
    samples = rrd.of(entity, "VideoStream:sample")
    keys = rrd.of(entity, "VideoStream:is_keyframe")
    assert [row[0] for row in samples] == [frame.t_ns - START_NS for frame in frames]
    assert 2 <= sum(row[2][0] for row in keys) <= 5
    decoder = av.CodecContext.create("h264", "r")
    pictures = []
    for row in samples:
        pictures += decoder.decode(av.Packet(bytes(row[2][0])))
    pictures += decoder.decode(None)
    assert len(pictures) == COUNT
    for picture, frame in list(zip(pictures, frames, strict=True))[::11]:
        error = picture.to_ndarray(format="rgb24").astype(float) - frame.rgb
        assert 10 * np.log10(255**2 / (error**2).mean()) > 33
    (camera,) = {id(frame.camera): frame.camera for frame in frames}.values()
    matrix = np.array(rrd.of(entity, "Pinhole:image_from_camera")[0][2][0]).reshape(3, 3).T
    np.testing.assert_allclose(np.diag(matrix)[:2], camera.focal, rtol=1e-6)
    np.testing.assert_allclose(matrix[:2, 2], camera.centre + 0.5, rtol=1e-6)


def test_the_mesh_is_decoded_from_the_codes(rrd: Rrd, codes: list[AvatarCode]) -> None:
    meshes = rrd.of("/world/avatar", "Mesh3D:vertex_positions")
    assert 14 <= len(meshes) <= 16  # five a second
    (texture,) = rrd.of("/world/avatar", "Mesh3D:albedo_texture_buffer")
    faces = rrd.of("/world/avatar", "Mesh3D:triangle_indices")
    assert 2 <= len(faces) < len(meshes)  # once for each set of hands
    with Avatar.open("walter") as avatar:
        for row in (meshes[0], meshes[-1]):
            code = next(c for c in codes if c.t_ns - START_NS == row[0])
            mesh = avatar.decode(code)
            got, every = np.array(row[2], np.float32), {tuple(v) for v in mesh.vertices.tolist()}
            assert all(tuple(v) in every for v in got[::97].tolist())
            assert len(got) > 7000
        assert len(texture[2][0]) == mesh.albedo.size
        hair = rrd.of("/world/head/hair", "Mesh3D:vertex_positions")
        assert len(hair) == 1
        assert np.abs(np.float32(hair[0][2])).max() < 0.3  # in the head's frame


def test_panels_sound_and_marks(rrd: Rrd, sound: np.ndarray, states: list[TrackedState]) -> None:
    labels = {
        name: [row[2][0] for row in rrd.of(f"/panels/{name}/label", "Boxes2D:labels")]
        for name in ("note", "art")
    }
    assert labels == {"note": ["note (head)"], "art": ["made by AI: some-model"]}
    assert len(rrd.of("/panels/art", "Image:buffer")) == 1
    assert len(rrd.of("/panels/art", "Clear:is_recursive")) == 1
    hung = rrd.of("/world/panels/note", "Transform3D:translation")
    assert len(hung) > 5
    (mark,) = rrd.of("/marks", "TextLog:text")
    assert mark == (states[10].t_ns - START_NS, 10, ["smile: it begins"])
    ((at, _, (blob,)),) = rrd.of("/audio/mic", "AssetAudio:blob")
    assert at == 500_000_000
    with wave.open(io.BytesIO(bytes(blob))) as file:
        assert (file.getframerate(), file.getnchannels()) == (16_000, 1)
        got = np.frombuffer(file.readframes(10**6), np.int16)
    wanted = sound[:, 0].copy()
    wanted[30 * 320 : 31 * 320] = 0
    np.testing.assert_array_equal(got, wanted)


def test_it_is_ready_to_scrub(rrd: Rrd) -> None:
    assert (rrd.entry.application_id, rrd.entry.recording_id) == ("visavis", f"talk-{START_NS}")
    assert len(rrd.blueprints) == 1
    every = {name for rows in rrd.rows.values() for row in rows for name in (row[0],)}
    assert min(t for t in every if t is not None) == 0


def test_a_session_of_codes_alone_still_shows_the_person(
    codes: list[AvatarCode], tmp_path: Path
) -> None:
    assert write_rerun(codes, tmp_path / "codes.rrd", START_NS) == {"code": COUNT}
    got = Rrd(tmp_path / "codes.rrd")
    assert len(got.of("/world/head", "Transform3D:translation")) == COUNT - 3
    assert len(got.of("/world/hands/left", "Points3D:positions")) > 5
    assert not got.of("/face/shapes/eye", "Scalars:scalars")


def test_where_nothing_can_be_written_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent"):
        write_rerun([], tmp_path / "absent" / "a.rrd", 0)
