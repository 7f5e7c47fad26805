"""The manifest: what is shipped is there and undamaged, and what is not says so in one line."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from assets import manifest
from assets.manifest import AssetError, asset_path, assets_folder, check_assets, load_manifest

MODELS = {
    "models/face_landmarker.task": (
        "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
    ),
    "models/hand_landmarker.task": (
        "fbc2a30080c3c557093b5ddfc334698132eb341044ccee322ccf8bcf3607cde1"
    ),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An assets folder of our own, with one small asset."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "small.task").write_bytes(b"hello")
    monkeypatch.setenv(manifest.ASSETS_FOLDER_VARIABLE, str(tmp_path))
    update = ["--update", "models/small.task", "--licence", "CC0-1.0", "--source", "a test"]
    assert manifest.main(update) == 0
    return tmp_path


def test_everything_shipped_is_as_the_manifest_says() -> None:
    wrong = {asset_id: text for asset_id, text in check_assets().items() if text is not None}
    assert wrong == {}


def test_every_shipped_file_is_in_the_manifest() -> None:
    listed = {asset.file for asset in load_manifest().values()}
    root = assets_folder()
    shipped = {
        path.relative_to(root).as_posix()
        for kind in ("models", "avatars", "hands", "clips", "stickers")
        for path in (root / kind).rglob("*")
        if path.is_file() and path.suffix not in {".md", ".py", ".pyc"}
    }
    assert shipped == listed


@pytest.mark.parametrize("asset_id", MODELS)
def test_the_models_are_the_official_ones(asset_id: str) -> None:
    path = asset_path(asset_id)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == MODELS[asset_id]
    assert path.name == asset_id.split("/")[1]


def test_an_asset_is_found(folder: Path) -> None:
    assert asset_path("models/small.task") == folder / "models" / "small.task"
    asset = load_manifest()["models/small.task"]
    assert (asset.bytes, asset.licence, asset.source) == (5, "CC0-1.0", "a test")


def test_an_unknown_asset_lists_the_known(folder: Path) -> None:
    with pytest.raises(AssetError, match=r"asset 'models/x': expected one of models/small.task"):
        asset_path("models/x")
    assert folder


def test_a_damaged_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "models" / "small.task").write_bytes(b"hell")
    digest = hashlib.sha256(b"hello").hexdigest()
    with pytest.raises(AssetError, match=digest) as caught:
        asset_path("models/small.task")
    text = str(caught.value)
    assert str(folder / "models" / "small.task") in text
    assert hashlib.sha256(b"hell").hexdigest() in text
    assert "4 of 5 bytes" in text
    assert "git checkout" in text
    assert "\n" not in text
    assert manifest.main(["--check"]) == 1
    assert capsys.readouterr().err.strip() == text


def test_an_absent_file(folder: Path) -> None:
    (folder / "models" / "small.task").unlink()
    with pytest.raises(AssetError, match="No such file or directory; restore it with"):
        asset_path("models/small.task")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"assets": [{"id": "x"}]}', '{"assets": 3}'])
def test_a_broken_manifest(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(AssetError, match=r"manifest\.json: expected the list of assets"):
        load_manifest()


def test_a_manifest_cannot_lead_out_of_the_folder(folder: Path) -> None:
    path = folder / "manifest.json"
    listed = json.loads(path.read_text())
    listed["assets"][0]["file"] = "../secret"
    path.write_text(json.dumps(listed))
    with pytest.raises(AssetError, match="expected a path below assets/"):
        load_manifest()


def test_update_keeps_licence_and_source_of_a_known_file(folder: Path) -> None:
    (folder / "models" / "small.task").write_bytes(b"new")
    assert manifest.main(["--update", str(folder / "models" / "small.task")]) == 0
    asset = load_manifest()["models/small.task"]
    assert (asset.bytes, asset.licence, asset.source) == (3, "CC0-1.0", "a test")
    assert manifest.main(["--check"]) == 0


def test_update_of_a_new_file_needs_to_know_whose_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "avatars").mkdir()
    shutil.copy(folder / "models" / "small.task", folder / "avatars" / "me.safetensors")
    assert manifest.main(["--update", "avatars/me.safetensors"]) == 1
    assert "needs --licence and --source" in capsys.readouterr().err
    new = ["--update", "avatars/me.safetensors", "--licence", "CC0-1.0", "--source", "us"]
    assert manifest.main(new) == 0
    assert set(load_manifest()) == {"avatars/me", "models/small.task"}
    assert manifest.main(["--update", "/etc/hostname", "--licence", "x", "--source", "y"]) == 1
