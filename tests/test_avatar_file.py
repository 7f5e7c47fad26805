"""The file of a personal avatar: whole, signed, with consent, and harmless when it is hostile."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from avatar.avatar_file import AvatarFileError, read_avatar_file, write_avatar_file
from avatar.consent import SENTENCE, Consent, ConsentError
from avatar.personal_model import CHART, DRIVERS, LANDMARKS, OWN_DRIVERS, PersonalModel
from avatar.signature import fingerprint, own_key, user_folder

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CONSENT = Consent("Nobody", SENTENCE, "synthetic", 1_700_000_000)


def small_model() -> PersonalModel:
    """Right in every shape, of nobody."""
    rng = np.random.default_rng(4)

    def random(*shape: int):
        return rng.normal(size=shape).astype(np.float32)

    p, a, k, g = 3, 5, 4, 6
    return PersonalModel(
        rest=random(7, 3), eyes=random(2, 3), eye_radius=random(1), neck_pivot=random(3),
        moves=random(p, 4, 3), landmark_rest=random(LANDMARKS, 3),
        landmark_moves=random(p, LANDMARKS * 3), gaze_map=random(5, 4),
        mean=np.full((64, 64, 3), (200, 120, 60), np.uint8),
        opacity=rng.integers(0, 255, (16, 16)).astype(np.uint8),
        planes=rng.integers(-127, 127, (k, 16, 16, 3)).astype(np.int8), plane_scale=random(k),
        grid=np.array([3, 3], np.int32), active=np.arange(g, dtype=np.int32),
        coarse=np.arange(9, dtype=np.int32), node_rest=random(g * k), node_moves=random(a, g * k),
        node_view=random(3, g * k), view_rest=random(3), gain_sigma=random(3),
        projection=random(a, g * k), projection_rest=random(a), view_codes=random(3, a),
        own_rest=random(a + 3), own_map=random(OWN_DRIVERS + p, a + 3),
        own_points=random(7, OWN_DRIVERS + p), own_metric=random(OWN_DRIVERS + p),
        own_point_map=random(7, a + 3), any_map=random(DRIVERS, p + a + 3),
        own_centre=random(OWN_DRIVERS + p), own_scale=random(OWN_DRIVERS + p),
        strangeness=random(1), distortion=random(p + a + 3),
    )  # fmt: skip


def written(folder: Path, name: str = "me.visavis") -> Path:
    path = folder / name
    write_avatar_file(path, "me", small_model(), CONSENT, 1_700_000_001, {"frames": 3}, KEY)
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("avatar"))


def test_what_is_written_is_read(good: Path) -> None:
    file = read_avatar_file(good)
    model = small_model()
    assert (file.name, file.consent, file.report) == ("me", CONSENT, {"frames": 3})
    assert file.id.startswith("avatars/me/")
    assert file.signer == fingerprint(KEY.public_key().public_bytes_raw())
    assert file.model.planes.tobytes() == model.planes.tobytes()
    assert file.model.opacity.tobytes() == model.opacity.tobytes()
    assert np.abs(file.model.mean.astype(int) - model.mean).max() <= 3  # lossy WebP
    np.testing.assert_allclose(file.model.node_moves, model.node_moves, atol=2e-3)
    assert stat.S_IMODE(good.stat().st_mode) == 0o600


def test_equal_avatars_have_equal_bytes(good: Path, tmp_path: Path) -> None:
    assert written(tmp_path).read_bytes() == good.read_bytes()


def test_writing_replaces_whole_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path)
    before = path.read_bytes()

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        written(tmp_path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def changed(good: Path, to: Path, **members: bytes | None) -> Path:
    """The same archive with some members other, or gone."""
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(to, "w") as new:
        for info in old.infolist():
            value = members.get(info.filename.replace(".", "_"), old.read(info))
            if value is not None:
                new.writestr(info.filename, value)
    return to


def manifest_of(good: Path) -> dict:
    with zipfile.ZipFile(good) as archive:
        return json.loads(archive.read("manifest.json"))


def resigned(good: Path, to: Path, manifest: dict, **members: bytes | None) -> Path:
    data = json.dumps(manifest).encode()
    public = KEY.public_key().public_bytes_raw()
    signature = json.dumps({"key": public.hex(), "signature": KEY.sign(data).hex()}).encode()
    return changed(good, to, manifest_json=data, signature_json=signature, **members)


def test_tampering_is_seen(good: Path, tmp_path: Path) -> None:
    other = save({"rest": np.zeros((3, 3), np.float32)})
    with pytest.raises(AvatarFileError, match=r"tensors\.safetensors was changed"):
        read_avatar_file(changed(good, tmp_path / "a.visavis", tensors_safetensors=other))
    manifest = manifest_of(good)
    manifest["name"] = "somebody"
    data = json.dumps(manifest).encode()
    with pytest.raises(AvatarFileError, match="signature does not fit"):
        read_avatar_file(changed(good, tmp_path / "b.visavis", manifest_json=data))
    with pytest.raises(AvatarFileError, match="expected the members"):
        read_avatar_file(changed(good, tmp_path / "c.visavis", signature_json=None))


def test_spoken_and_live_consent_are_kept(tmp_path: Path) -> None:
    heard = SENTENCE.replace("avatar", "amateur")
    given = Consent("A", heard, "spoken", 1_700_000_000, ("turn_left", "blink_twice"), "ab" * 32)
    path = tmp_path / "me.visavis"
    write_avatar_file(path, "me", small_model(), given, 1_700_000_001, {}, KEY)
    assert read_avatar_file(path).consent == given


def test_newer_versions_and_missing_consent(good: Path, tmp_path: Path) -> None:
    manifest = manifest_of(good)
    with pytest.raises(AvatarFileError, match="newer Visavis"):
        read_avatar_file(resigned(good, tmp_path / "a.visavis", manifest | {"version": 9}))
    with pytest.raises(AvatarFileError, match="enroll the video again"):
        read_avatar_file(resigned(good, tmp_path / "o.visavis", manifest | {"version": 1}))
    without = {k: v for k, v in manifest.items() if k != "consent"}
    with pytest.raises(AvatarFileError, match="consent"):
        read_avatar_file(resigned(good, tmp_path / "b.visavis", without))
    lied = manifest | {"consent": manifest["consent"] | {"sentence": "sure"}}
    with pytest.raises(AvatarFileError, match=r"Consent\.sentence"):
        read_avatar_file(resigned(good, tmp_path / "c.visavis", lied))


def test_hostile_members(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.visavis"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("manifest.json", "mean.webp", "opacity.png", "signature.json"):
            archive.writestr(name, b"{}")
        archive.writestr("tensors.safetensors", bytes(80 * 1024 * 1024))  # 80 MiB in 80 KiB
    with pytest.raises(AvatarFileError, match="64 MiB unpacked"):
        read_avatar_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil.py", b"boom")
    with pytest.raises(AvatarFileError, match="expected the members"):
        read_avatar_file(path)
    for nonsense in (b"", b"not a zip", b"PK\x05\x06" + bytes(18)):
        path.write_bytes(nonsense)
        with pytest.raises(AvatarFileError):
            read_avatar_file(path)
    with pytest.raises(AvatarFileError, match="found none"):
        read_avatar_file(tmp_path / "absent.visavis")
    with pytest.raises(AvatarFileError):
        read_avatar_file(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.visavis"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_never_opens_and_never_crashes(good: Path, tmp_path: Path, data) -> None:
    whole = bytearray(good.read_bytes())
    if data.draw(st.booleans()):
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "damaged.visavis"
    path.write_bytes(whole)
    try:
        file = read_avatar_file(path)
    except AvatarFileError:
        return
    # A flipped bit of a date or an attribute harms nothing: then all is as it was.
    assert file.model.planes.tobytes() == small_model().planes.tobytes()


def test_consent_is_that_sentence() -> None:
    Consent("A", SENTENCE.upper().replace(",", " ..."), "typed", 0)
    for sentence in ("", "yes", SENTENCE.replace("agree", "do not agree")):
        with pytest.raises(ConsentError, match="sentence"):
            Consent("A", sentence, "typed", 0)
    with pytest.raises(ConsentError, match="kind"):
        Consent("A", SENTENCE, "assumed", 0)
    with pytest.raises(ConsentError, match="name"):
        Consent(" ", SENTENCE, "typed", 0)


def test_own_key_is_made_once_for_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISAVIS_HOME", str(tmp_path / "home"))
    first = own_key().private_bytes_raw()
    assert own_key().private_bytes_raw() == first
    path = user_folder() / "signing_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match="32 bytes"):
        own_key()


def test_chart_fits_the_mean() -> None:
    assert 1024 % CHART == 0
