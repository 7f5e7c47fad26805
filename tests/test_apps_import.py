"""`visavis import`: others' recordings as sessions, pixel for pixel and sample for sample."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from apps.command import FAILED, USAGE, run
from apps.session_film import Shown, write_film
from apps.sound_line import SoundFormat
from capture.aria_calibration import (
    KANNALA_BRANDT,
    camera_of,
    read_aria_cameras,
    turned_upright,
)
from capture.frame_source import SourceError
from capture.sound_track import SoundTrack
from capture.video_file import VideoFile
from sessions.reader import SessionReader
from streams.audio_block import AudioBlock
from streams.frame import Frame
from streams.projection import project, unproject
from streams.rigid import Rigid
from tests.vrs_recording import VrsRecording


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second and a half of uneven pictures and noisy sound."""
    path = tmp_path_factory.mktemp("video") / "talk.mp4"
    rng = np.random.default_rng(4)
    times = np.cumsum(rng.integers(30, 50, 36)) * 1_000_000
    noise = rng.normal(0, 4000, (24_000, 2)).astype(np.int16)
    pictures = [Shown(int(t), rng.integers(0, 255, (48, 64, 3)).astype(np.uint8)) for t in times]
    sound = [
        AudioBlock(int(times[0]) + k * 10_000_000, "mic", 16_000, noise[k * 160 : k * 160 + 160])
        for k in range(150)
    ]
    parts = sorted([*pictures, *sound], key=lambda part: part.t_ns)
    write_film(parts, path, sound=SoundFormat(16_000, 2))
    return path


def test_a_video_comes_in_whole(video: Path, tmp_path: Path) -> None:
    out = tmp_path / "talk.mcap"
    assert run(["import", str(video), "--out", str(out), "--lossless"]) == 0
    with VideoFile(video) as source:
        wanted = list(source)
    with SoundTrack(video) as track:
        heard = list(track)
    with SessionReader(out) as session:
        records = [each.record for each in session.read()]
        assert session.header.notes["imported"] == "video"
        assert session.header.cameras[0].size == (64, 48)
        assert not session.lost
    frames = [record for record in records if isinstance(record, Frame)]
    assert [frame.t_ns for frame in frames] == [frame.t_ns for frame in wanted]
    for got, frame in zip(frames, wanted, strict=True):
        np.testing.assert_array_equal(got.rgb, frame.rgb)
    blocks = [record for record in records if isinstance(record, AudioBlock)]
    assert [block.t_ns for block in blocks] == [block.t_ns for block in heard]
    np.testing.assert_array_equal(
        np.concatenate([b.samples for b in blocks]), np.concatenate([b.samples for b in heard])
    )
    assert [record.t_ns for record in records] == sorted(record.t_ns for record in records)
    film = tmp_path / "again.mp4"
    assert run(["export", str(out), "--out", str(film)]) == 0
    with VideoFile(film) as source:
        assert len(list(source)) == len(wanted)


def test_a_silent_video_and_a_sealed_session(
    make_video, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key"
    key.write_text("a secret of some length")
    out = tmp_path / "s.mcap"
    command = ["import", str(make_video(frames=8)), "--out", str(out), "--encrypt"]
    assert run([*command, "--key-file", str(key), "--consent", "Nobody is seen."]) == 0
    assert "8 frames of 1 camera" in capsys.readouterr().out
    with SessionReader(out, key.read_bytes()) as session:
        assert session.sealed
        assert session.seams == ("frames",)
        assert session.header.consent.startswith("Nobody is seen.")
    assert run(["export", str(out), "--out", str(tmp_path / "s.mp4")]) == FAILED
    film = ["export", str(out), "--out", str(tmp_path / "s.mp4"), "--key-file", str(key)]
    assert run(film) == 0


def test_what_cannot_be_imported(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def complaint(code: int, *arguments: str) -> str:
        assert run(["import", *arguments]) == code
        return capsys.readouterr().err.splitlines()[-1]

    out = str(tmp_path / "a.mcap")
    assert "absent.mp4" in complaint(FAILED, "absent.mp4", "--out", out)
    assert ".mcap" in complaint(USAGE, str(video), "--out", str(tmp_path / "a.mp4"))
    assert "--encrypt" in complaint(USAGE, str(video), "--out", out, "--key-file", "k")
    assert "for a video" in complaint(USAGE, "a.vrs", "--out", out, "--mirrored")
    (tmp_path / "there.mcap").write_bytes(b"kept")
    assert "there.mcap" in complaint(FAILED, str(video), "--out", str(tmp_path / "there.mcap"))
    assert (tmp_path / "there.mcap").read_bytes() == b"kept"
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    assert "cut.mp4" in complaint(FAILED, str(cut), "--out", str(tmp_path / "cut.mcap"))
    mute = tmp_path / "mute.mp4"
    mute.write_bytes(video.read_bytes().replace(b"mp4a", b"ac-4").replace(b"esds", b"zzzz"))
    said = complaint(FAILED, str(mute), "--out", str(tmp_path / "mute.mcap"))
    assert "holds the pictures alone" in said
    with SessionReader(tmp_path / "mute.mcap") as session:
        assert session.seams == ("frames",)
    assert not Path(out).exists()


def calibration(**projections: tuple[str, list[float]]) -> str:
    """Aria's JSON for these labels ("_" for "-")."""
    entries = [
        {
            "Label": label.replace("_", "-"), "SerialNumber": label, "Calibrated": True,
            "Projection": {"Name": model, "Params": numbers},
            "T_Device_Camera": {
                "Translation": [0.01, 0.02, 0.03], "UnitQuaternion": [0.8, [0.6, 0.0, 0.0]],
            },
        }
        for label, (model, numbers) in projections.items()
    ]  # fmt: skip
    return json.dumps({"CameraCalibrations": entries})


def fisheye624(rng: np.random.Generator, focal: float, centre: tuple[float, float]) -> list[float]:
    """About as crooked as the lenses of real glasses."""
    radial = np.array([-0.025, 0.095, -0.067, 0.01, 0.002, -0.0005]) + rng.normal(0, 1e-3, 6)
    return [focal, *centre, *radial, *rng.normal(0, 2e-3, 6)]


def directions(rng: np.random.Generator, widest_deg: float) -> tuple[np.ndarray, np.ndarray]:
    return np.deg2rad(rng.uniform(0, widest_deg, 400)), rng.uniform(0, 2 * np.pi, 400)


@pytest.mark.parametrize("seed", range(4))
def test_the_camera_of_glasses_is_exact(seed: int) -> None:
    """Against the formula of projectaria_tools as it is written there, in polar form."""
    rng = np.random.default_rng(seed)
    numbers = fisheye624(rng, 241.0, (319.0, 236.0))
    (aria,) = read_aria_cameras(calibration(camera_slam_left=("FisheyeRadTanThinPrism", numbers)))
    camera = camera_of(aria, (640, 480), Rigid.identity())
    theta, phi = directions(rng, 75.0)
    f, cx, cy, *lens = numbers
    k, p, s = lens[:6], lens[6:8], lens[8:]
    radial = theta * (1.0 + sum(k[i] * theta ** (2 * i + 2) for i in range(6)))
    x, y = radial * np.cos(phi), radial * np.sin(phi)
    r2, along = radial * radial, 2.0 * (x * p[0] + y * p[1])
    u = x + along * x + r2 * p[0] + s[0] * r2 + s[1] * r2 * r2
    v = y + along * y + r2 * p[1] + s[2] * r2 + s[3] * r2 * r2
    rays = np.stack([np.tan(theta) * np.cos(phi), np.tan(theta) * np.sin(phi), theta * 0 + 1], -1)
    got, _ = project(camera, camera.world_from_camera.apply(rays))
    np.testing.assert_allclose(got, np.stack([f * u + cx, f * v + cy], -1), atol=1e-9)


def test_pictures_of_half_size_and_upright_ones(tmp_path: Path) -> None:
    """Halved with a margin cut off, turned: still the same ray through the same point."""
    rng = np.random.default_rng(9)
    numbers = fisheye624(rng, 1219.0, (1451.0, 1453.0))
    kb = [556.0, 557.0, 319.5, 239.5, 0.03, -0.03, 0.1, -0.2]
    rgb, eye = read_aria_cameras(
        calibration(
            camera_rgb=("FisheyeRadTanThinPrism", numbers), camera_et_left=(KANNALA_BRANDT, kb)
        )
    )
    whole = camera_of(rgb, (2880, 2880), Rigid.identity())
    half = camera_of(rgb, (1408, 1408), Rigid.identity())
    turned = turned_upright(half)
    theta, phi = directions(rng, 40.0)
    rays = np.stack([np.tan(theta) * np.cos(phi), np.tan(theta) * np.sin(phi), theta * 0 + 1], -1)
    world = whole.world_from_camera.apply(rays)
    full, _ = project(whole, world)
    small, _ = project(half, world)
    upright, _ = project(turned, world)
    np.testing.assert_allclose(small, (full - 32 + 0.5) / 2 - 0.5, atol=1e-9)
    # np.rot90(picture, -1): row y of the old picture is column (height - 1 - y) of the new one.
    np.testing.assert_allclose(upright, np.stack([1407 - small[:, 1], small[:, 0]], -1), atol=1e-6)
    exact = camera_of(eye, (640, 480), Rigid.identity())
    assert exact.distortion.coefficients == tuple(kb[4:])


def test_calibrations_that_are_none_are_refused() -> None:
    wild = [241.0, 319.0, 236.0, -5.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    for text, said in (
        (calibration(camera_slam_left=("FisheyeRadTanThinPrism", wild)), "describe no lens"),
        (calibration(camera_slam_left=("Spherical", [1.0])), "not known here"),
        (calibration(camera_new=(KANNALA_BRANDT, [1.0] * 8)), "not known"),
        (calibration(camera_rgb=(KANNALA_BRANDT, [1.0] * 8)), "2880x2880"),
    ):
        (aria,) = read_aria_cameras(text)
        with pytest.raises(ValueError, match=said):
            camera_of(aria, (640, 480), Rigid.identity())
    for text in ("", "{}", '{"CameraCalibrations": [{}]}', "[1]"):
        with pytest.raises(ValueError, match="CameraCalibrations"):
            read_aria_cameras(text)


def test_any_recording_comes_in_with_its_device_times(tmp_path: Path) -> None:
    """A grey and a colour stream without calibration, seven microphones, and what is left out."""
    pytest.importorskip("pyvrs", reason="needs pyvrs (extra vrs)")
    from capture.vrs_file import VrsFile

    made = VrsRecording({"capture_time_epoch": "1700000000"})
    grey, colour, wide = (1201, 1), (214, 1), (1201, 2)
    sound, deep, other = (231, 1), (231, 2), (5, 1)
    made.add_pictures(grey, "grey", (64, 48), "grey8", "one")
    made.add_pictures(colour, "colour", (48, 32), "rgb8", "two")
    made.add_pictures(wide, "deep", (32, 24), "depth32f", "three")
    made.add_sound(sound, "microphones", "int16le", 16_000)
    made.add_sound(deep, "deep microphones", "int32le", 48_000)
    made.add_other(other, "inertia")
    rng, start_ns = np.random.default_rng(6), 10**12
    pictures, heard, loud = [], [], []
    for k in range(5):
        t_ns = start_ns + k * 33_333_333
        pictures.append(
            (
                rng.integers(0, 255, (48, 64)).astype(np.uint8),
                rng.integers(0, 255, (32, 48, 3)).astype(np.uint8),
            )
        )
        heard.append(rng.integers(-(2**15), 2**15, (160, 7)).astype(np.int16))
        loud.append(rng.integers(-(2**31), 2**31, (480, 7)).astype(np.int32))
        made.add(grey, t_ns, pictures[-1][0])
        made.add(colour, t_ns + 1000, pictures[-1][1])
        made.add(wide, t_ns + 1500, np.zeros((24, 32), np.float32))
        made.add(sound, t_ns + 2000, heard[-1])
        made.add(deep, t_ns + 3000, loud[-1])
        made.add(other, t_ns + 4000)
    path, out = tmp_path / "made.vrs", tmp_path / "made.mcap"
    made.write(path)
    with VrsFile(path) as file:
        assert {s.name: s.becomes for s in file.streams} == {
            "grey": "frames", "colour": "frames", "deep": "", "inertia": "",
            "microphones": "audio", "deep microphones": "audio",
        }  # fmt: skip
        assert file.unix_s == 1_700_000_000
        assert "guessed" in next(s.note for s in file.streams if s.name == "grey")
    assert run(["import", str(path), "--out", str(out), "--lossless"]) == 0
    with SessionReader(out) as session:
        assert session.header.unix_ns == 1_700_000_000 * 10**9
        assert session.header.t_ns == start_ns
        frames = [r.record for r in session.read(("frames",)) if isinstance(r.record, Frame)]
        audio = [r.record for r in session.read(("audio",)) if isinstance(r.record, AudioBlock)]
    assert [f.t_ns - start_ns for f in frames[:4]] == [0, 1000, 33_333_333, 33_334_333]
    for k, (one, two) in enumerate(pictures):
        np.testing.assert_array_equal(frames[2 * k].rgb, np.repeat(one[:, :, None], 3, 2))
        np.testing.assert_array_equal(frames[2 * k + 1].rgb, two)
        assert frames[2 * k].device_ns == frames[2 * k].t_ns
    assert [f.camera.name for f in frames[:2]] == ["grey 1201-1", "colour 214-1"]
    np.testing.assert_array_equal(
        np.concatenate([b.samples for b in audio if b.rate == 16_000]), np.concatenate(heard)
    )
    np.testing.assert_array_equal(
        np.concatenate([b.samples for b in audio if b.rate == 48_000]),
        (np.concatenate(loud) >> 16).astype(np.int16),
    )
    cut = tmp_path / "cut.vrs"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert run(["import", str(cut), "--out", str(tmp_path / "cut.mcap")]) == FAILED
    with SessionReader(tmp_path / "cut.mcap") as session:
        assert 3 <= len(list(session.read(("frames",)))) < 10


def test_glasses_of_our_making_are_calibrated_upright_and_split(tmp_path: Path) -> None:
    pytest.importorskip("pyvrs", reason="needs pyvrs (extra vrs)")
    from capture.vrs_file import VrsFile

    kb = [556.0, 557.0, 319.5, 239.5, 0.03, -0.03, 0.1, -0.2]
    wild = [241.0, 319.0, 236.0, -5.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    near = fisheye624(np.random.default_rng(1), 241.0, (319.0, 236.0))
    text = calibration(
        camera_slam_left=("FisheyeRadTanThinPrism", near),
        camera_slam_right=("FisheyeRadTanThinPrism", wild),
        camera_et_left=(KANNALA_BRANDT, kb), camera_et_right=(KANNALA_BRANDT, kb),
    )  # fmt: skip
    made = VrsRecording({"calib_json": text})
    left, right, eyes = (1201, 1), (1201, 2), (211, 1)
    for stream, size, serial in (
        (left, (640, 480), "camera_slam_left"), (right, (640, 480), "camera_slam_right"),
        (eyes, (640, 240), "camera_et_left"),
    ):  # fmt: skip
        made.add_pictures(stream, serial, size, "grey8", serial)
    picture = np.zeros((480, 640), np.uint8)
    picture[:100, :50] = 200  # the top left corner goes to the top right
    pair = np.zeros((240, 640), np.uint8)
    pair[:, :320] = 90
    made.add(left, 10**9, picture)
    made.add(right, 10**9, picture)
    made.add(eyes, 10**9, pair)
    made.write(tmp_path / "made.vrs")
    with VrsFile(tmp_path / "made.vrs") as file:
        notes = " ".join(stream.note for stream in file.streams)
        frames = {f.camera.name: f for f in file if isinstance(f, Frame)}
        assert file.damaged == 0
    assert "camera-slam-left: calibrated" in notes
    assert "camera-slam-right: its camera is guessed" in notes
    assert set(frames) == {
        "camera-slam-left", "camera-slam-right", "camera-et-left", "camera-et-right",
    }  # fmt: skip
    upright = frames["camera-slam-left"]
    assert upright.camera.size == (480, 640)
    assert (upright.rgb[:50, -100:] == 200).all()
    assert upright.rgb[:, :380].max() == 0
    assert frames["camera-et-left"].rgb.min() == 90
    assert frames["camera-et-right"].rgb.max() == 0
    assert frames["camera-et-right"].camera.focal[0] == 278.0


@pytest.fixture(scope="module")
def glasses(shared_data: Path) -> Path:
    pytest.importorskip("pyvrs", reason="needs pyvrs (extra vrs)")
    path = shared_data / "aria" / "aria_unit_test_timecode_sequence_calib.vrs"
    if not path.is_file():
        pytest.skip(f"no Aria recording at {path}")
    return path


def test_aria_glasses_come_in_with_all_cameras(
    glasses: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "aria.mcap"
    assert run(["import", str(glasses), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "1202-1   IMU Data (SLAM): 150 records, not imported" in said
    assert "20 frames of 5 cameras" in said
    with SessionReader(out) as session:
        frames = [each.record for each in session.read(("frames",))]
        cameras = {c.source: c.camera for c in session.channels if c.seam == "frames"}
        assert session.start_ns == session.header.t_ns == 280_591_693_600
    assert sorted(cameras) == [
        "camera-et-left", "camera-et-right", "camera-rgb", "camera-slam-left", "camera-slam-right",
    ]  # fmt: skip
    for frame in frames:
        assert isinstance(frame, Frame)
        assert frame.device_ns == frame.t_ns
        assert frame.rgb.std() > 5
    rgb, left = cameras["camera-rgb"], cameras["camera-slam-left"]
    right = cameras["camera-slam-right"]
    assert rgb is not None
    assert left is not None
    assert right is not None
    assert rgb.size == (1408, 1408)
    assert left.size == (480, 640)
    assert np.abs(rgb.world_from_camera.xyz).max() < 1e-9
    np.testing.assert_allclose(rgb.world_from_camera.rotation()[:, 2], [0, 0, -1], atol=1e-9)
    # The glasses are a head wide, and the cameras at the temples look outwards.
    apart = right.world_from_camera.xyz - left.world_from_camera.xyz
    assert 0.1 < apart[0] < 0.18
    assert np.abs(apart[1:]).max() < 0.02
    assert left.world_from_camera.rotation()[0, 2] < -0.4
    assert right.world_from_camera.rotation()[0, 2] > 0.4
    rotated = np.stack([camera.world_from_camera.rotation()[:, 1] for camera in (left, right)])
    assert (rotated[:, 1] < -0.95).all()  # pictures stand upright


def test_the_colour_camera_and_a_grey_one_see_the_same_point(glasses: Path) -> None:
    """The left camera's picture, seen through both calibrations from the colour camera, matches."""
    from capture.vrs_file import VrsFile

    with VrsFile(glasses) as file:
        newest = {f.camera.name: f for f in file if isinstance(f, Frame)}
    colour, grey = newest["camera-rgb"], newest["camera-slam-left"]
    columns, rows = np.meshgrid(np.arange(300, 700, 8), np.arange(300, 1000, 8))
    pixels = np.stack([columns, rows], -1).reshape(-1, 2).astype(float)

    def correlation(turn: Rigid) -> float:
        far = unproject(colour.camera, pixels, np.full(len(pixels), 3.0))
        there, depth = project(grey.camera, turn.apply(far))
        inside = (depth > 0) & ((there > 0) & (there < [479, 639])).all(1)
        assert inside.sum() > 500
        x, y = np.rint(there[inside]).astype(int).T
        a = grey.rgb[y, x].mean(1).astype(float)
        u, v = pixels[inside].astype(int).T
        return float(np.corrcoef(a, colour.rgb[v, u].mean(1))[0, 1])

    true = correlation(Rigid.identity())
    wrong = [
        correlation(Rigid.from_rotvec(np.eye(3)[k] * 0.12 * s)) for k in range(3) for s in (-1, 1)
    ]
    assert true > 0.7
    assert true > max(wrong) + 0.05


def test_a_broken_vrs_file_is_refused(tmp_path: Path, glasses: Path) -> None:
    from capture.vrs_file import VrsFile

    (tmp_path / "text.vrs").write_text("no recording")
    for path in (tmp_path / "text.vrs", tmp_path / "absent.vrs", tmp_path):
        with pytest.raises(SourceError, match=path.name):
            VrsFile(path)
