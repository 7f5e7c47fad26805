"""Fixtures for every test: small videos made on the spot, and where real test data may lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from streams.frame import Frame

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real people's videos, which are not part of the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real test data at {folder}")
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user's own things are kept, of this test alone."""
    monkeypatch.setenv("VISAVIS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No display to open a window on."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.fixture(scope="session")
def demo_clip() -> Path:
    """The clip of the synthetic person that ships."""
    from assets.manifest import asset_path, load_manifest

    if "clips/demo" not in load_manifest():
        pytest.skip("the asset clips/demo is not made yet")
    return asset_path("clips/demo")


@pytest.fixture(scope="session")
def small_avatar(demo_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small personal avatar, enrolled from 40 frames of the synthetic person."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from avatar.avatar_file import write_avatar_file
    from avatar.consent import SENTENCE, Consent
    from avatar.enrolment.observations import Observations
    from avatar.enrolment.recipe import EnrolmentOptions, enrol
    from avatar.enrolment.texture_basis_fit import BasisOptions
    from capture.frame_source import open_source
    from tracking.tracker import Tracker, TrackerOptions

    def frames() -> Iterator[Frame]:
        with open_source(f"video:{demo_clip}") as source:
            # Every fourth one: the clip's beginning alone is calm.
            yield from (frame for k, frame in zip(range(160), source, strict=False) if k % 4 == 0)

    with Tracker.open(TrackerOptions(hands=0)) as tracker:
        seen = Observations.of([tracker.track(frame) for frame in frames()])
    basis = BasisOptions(grid=12, planes=4, rounds=1)
    model = enrol(frames, seen, EnrolmentOptions(appearance=32, basis=basis, least_frames=30))
    path = tmp_path_factory.mktemp("avatar") / "small.visavis"
    consent = Consent("Nobody", SENTENCE, "synthetic", 1_700_000_000)
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    write_avatar_file(path, "small", model, consent, 1_700_000_001, {}, key)
    return path


MakeVideo = Callable[..., Path]


@pytest.fixture(scope="session")
def make_video(tmp_path_factory: pytest.TempPathFactory) -> MakeVideo:
    """make_video(frames=20, size=(64, 48), fps=25.0, times_ns=None, name="plain.mp4") -> its path.

    Frame i is plain grey of brightness 40 + 4 * i, with a white left upper corner.
    """
    from apps.video_writer import VideoWriter

    def make(
        frames: int = 20,
        size: tuple[int, int] = (64, 48),
        fps: float = 25.0,
        times_ns: list[int] | None = None,
        name: str = "plain.mp4",
    ) -> Path:
        path = tmp_path_factory.mktemp("video") / name
        with VideoWriter(path, size, fps) as writer:
            for i in range(frames):
                rgb = np.full((size[1], size[0], 3), 40 + 4 * (i % 50), np.uint8)
                rgb[: size[1] // 3, : size[0] // 3] = 255
                at_ns = round(i * 1e9 / fps) if times_ns is None else times_ns[i]
                writer.write(rgb, at_ns)
        return path

    return make
