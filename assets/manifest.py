"""The list of what the project ships besides code, and the one way to a file of it.

`manifest.json` says of each asset its id, file, sha256, size, licence and source. A file is
checked against it before its first use in a process, so that a damaged or half-fetched file ends
in one readable line and not in a crash inside the engine that reads it.

    python -m assets.manifest --check
    python -m assets.manifest --update models/new.task --licence Apache-2.0 --source "whose it is"
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

ASSETS_FOLDER_VARIABLE = "VISAVIS_ASSETS"
"""Environment variable: a folder that is used instead of the installed `assets` (with its own
manifest.json), for tests and for trying other models."""


class AssetError(ValueError):
    """An asset is unknown, absent or damaged. The message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One entry of the manifest."""

    id: str
    """What code asks for, for example "models/face_landmarker.task"."""
    file: str
    """Path below the assets folder, with forward slashes."""
    sha256: str
    """64 hexadecimal digits."""
    bytes: int
    licence: str
    """SPDX expression."""
    source: str
    """Whose work it is, or which script of this project makes it."""

    def __post_init__(self) -> None:
        for name in ("id", "file", "licence", "source"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise AssetError(f"Asset.{name}: expected text, got {getattr(self, name)!r}")
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise AssetError(f"Asset.sha256: expected 64 hex digits, got {self.sha256!r}")
        if Path(self.file).is_absolute() or ".." in Path(self.file).parts:
            raise AssetError(f"Asset.file: expected a path below assets/, got {self.file!r}")


def assets_folder() -> Path:
    """Where the assets are: the installed package, or what VISAVIS_ASSETS names."""
    named = os.environ.get(ASSETS_FOLDER_VARIABLE)
    if named:
        return Path(named)
    return Path(str(resources.files("assets")))


def load_manifest(folder: Path | None = None) -> dict[str, Asset]:
    """Every asset by id. Raises AssetError when the manifest is absent or unreadable."""
    path = (folder or assets_folder()) / "manifest.json"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["assets"]
        listed = [Asset(**entry) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AssetError(f"{path}: expected the list of assets, got {error}; {_MEND}") from error
    return {asset.id: asset for asset in listed}


def asset_path(asset_id: str) -> Path:
    """The file of an asset, present and undamaged.

    Raises AssetError when the id is unknown or the file is absent or not the one in the manifest.
    """
    folder = assets_folder()
    return _checked_path(folder, asset_id)


def check_assets(folder: Path | None = None) -> dict[str, str | None]:
    """Each asset's id -> None when its file is right, else what is wrong with it."""
    root = folder or assets_folder()
    found: dict[str, str | None] = {}
    for asset in load_manifest(root).values():
        try:
            _check_file(root, asset)
            found[asset.id] = None
        except AssetError as error:
            found[asset.id] = str(error)
    return found


@functools.lru_cache(maxsize=256)
def _checked_path(folder: Path, asset_id: str) -> Path:
    manifest = load_manifest(folder)
    if asset_id not in manifest:
        listed = ", ".join(sorted(manifest)) or "none"
        raise AssetError(f"asset {asset_id!r}: expected one of {listed}")
    return _check_file(folder, manifest[asset_id])


def _check_file(folder: Path, asset: Asset) -> Path:
    path = folder / asset.file
    try:
        found = sha256_of(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise AssetError(f"{path}: the file of asset {asset.id!r}: {reason}; {_MEND}") from error
    if found != asset.sha256:
        raise AssetError(
            f"{path}: damaged ({path.stat().st_size} of {asset.bytes} bytes): "
            f"expected sha256 {asset.sha256}, got {found}; {_MEND}"
        )
    return path


_MEND = "restore it with `git checkout -- assets`, or clone the project again"


def sha256_of(path: Path) -> str:
    """Of a file, hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _update(folder: Path, files: Sequence[str], licence: str | None, source: str | None) -> None:
    """Write the sizes and hashes of `files` into the manifest; a new file is added to it."""
    path = folder / "manifest.json"
    manifest = load_manifest(folder) if path.exists() else {}
    by_file = {asset.file: asset for asset in manifest.values()}
    for name in files:
        # A path below the folder, or one that leads to it from the current folder.
        full = folder / name if (folder / name).is_file() else Path(name).resolve()
        try:
            file = full.resolve().relative_to(folder.resolve()).as_posix()
            digest, size = sha256_of(full), full.stat().st_size
        except (OSError, ValueError) as error:
            raise AssetError(f"{name}: expected a file below {folder}: {error}") from error
        old = by_file.get(file)
        if old is None and (licence is None or source is None):
            raise AssetError(f"{file}: a new asset needs --licence and --source")
        asset = Asset(
            id=old.id if old else _id_of(file),
            file=file,
            sha256=digest,
            bytes=size,
            licence=licence or (old.licence if old else ""),
            source=source or (old.source if old else ""),
        )
        manifest[asset.id] = asset
    entries = [asdict(manifest[asset_id]) for asset_id in sorted(manifest)]
    path.write_text(json.dumps({"assets": entries}, indent=2) + "\n", encoding="utf-8")


def _id_of(file: str) -> str:
    """A model keeps its own file name; what the project makes is named without its suffix."""
    return file if file.startswith("models/") else str(Path(file).with_suffix("").as_posix())


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m assets.manifest`: 0 = all is right, 1 = something is not."""
    parser = argparse.ArgumentParser(prog="python -m assets.manifest")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="compare every file with the manifest")
    what.add_argument("--update", nargs="+", metavar="FILE", help="write these files' hashes")
    parser.add_argument("--licence", help="SPDX expression of new files")
    parser.add_argument("--source", help="whose work new files are, or which script makes them")
    options = parser.parse_args(arguments)
    try:
        if options.update:
            _update(assets_folder(), options.update, options.licence, options.source)
            return 0
        wrong = [text for text in check_assets().values() if text is not None]
    except AssetError as error:
        wrong = [str(error)]
    for text in wrong:
        print(text, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
