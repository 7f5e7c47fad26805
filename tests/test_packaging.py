"""Flat top-level packages: each comes from one place, and the wheel holds everything."""

import importlib.metadata
import importlib.util
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from assets.manifest import load_manifest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
FORBIDDEN = {"utils", "helpers", "common", "misc", "core", "manager"}


@pytest.mark.parametrize("name", PACKAGES)
def test_every_package_comes_from_one_place(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    assert spec.origin is not None, f"{name} has no __init__.py"
    assert list(spec.submodule_search_locations) == [str(ROOT / name)]
    # A second one further down the path would win in another working folder.
    places = {
        str(folder / name)
        for folder in map(Path, sys.path)
        if (folder / name / "__init__.py").is_file()
    }
    assert places == {str(ROOT / name)}


def test_every_package_has_a_sentence_about_it() -> None:
    for name in PACKAGES:
        text = (ROOT / name / "__init__.py").read_text()
        assert text.startswith('"""'), name


def test_no_module_is_a_dumping_ground() -> None:
    for name in PACKAGES:
        for path in (ROOT / name).rglob("*.py"):
            assert not {part.removesuffix(".py") for part in path.parts} & FORBIDDEN, path


def test_opencvs_two_wheels_are_one_version() -> None:
    """Both own the folder cv2/ and overwrite each other at different versions."""
    versions = {
        importlib.metadata.version(name) for name in ("opencv-python", "opencv-contrib-python")
    }
    assert len(versions) == 1
    pins = [d for d in PROJECT["project"]["dependencies"] if d.startswith("opencv")]
    assert len(pins) == 2
    assert len({pin.split("==")[1] for pin in pins}) == 1


def test_the_command_is_installed() -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="visavis")
    assert command.value == "apps.command:main"
    assert callable(command.load())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_every_asset_shader_and_page_file(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for asset in load_manifest().values():
        assert f"assets/{asset.file}" in names
        assert wheel.getinfo(f"assets/{asset.file}").file_size == asset.bytes
    shaders = {p.relative_to(ROOT).as_posix() for p in (ROOT / "render" / "shaders").glob("*.*")}
    assert shaders
    page = ROOT / "headset" / "webxr" / "page"
    served = {p.relative_to(ROOT).as_posix() for p in page.rglob("*.*") if p.is_file()}
    assert "headset/webxr/page/vendor/three.core.min.js" in served
    assert {"assets/manifest.json", *shaders, *served} <= names


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {*PACKAGES, f"visavis-{PROJECT['project']['version']}.dist-info"}
    assert not [name for name in wheel.namelist() if "__pycache__" in name or "/tests/" in name]
    licences = [name for name in wheel.namelist() if "/licenses/" in name]
    assert {name.rsplit("/", 1)[1] for name in licences} == {"LICENSE", "NOTICE"}
