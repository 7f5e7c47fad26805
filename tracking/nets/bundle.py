"""MediaPipe's bundles: zip files of networks, of which nothing damaged is handed on."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from assets.manifest import AssetError, asset_path
from tracking.net import NETS, NetSpec


def require_bundle(bundle: Path, networks: tuple[str, ...]) -> None:
    """Raise ValueError unless the bundle holds `networks` and every member's checksum is right.

    MediaPipe maps the models into memory unchecked, where damage may end the process.
    """
    try:
        with zipfile.ZipFile(bundle) as archive:
            missing = sorted(set(networks) - set(archive.namelist()))
            broken = archive.testzip()
    except FileNotFoundError:
        raise ValueError(f"{bundle}: expected a MediaPipe bundle, found no file") from None
    except _UNREADABLE as error:
        raise ValueError(f"{bundle}: expected a MediaPipe bundle, got {error}") from error
    if missing:
        raise ValueError(f"{bundle}: expected a MediaPipe bundle with {missing[0]}, found none")
    if broken is not None:
        raise ValueError(f"{bundle}: expected a whole MediaPipe bundle, but {broken} is damaged")


def network_bytes(spec: NetSpec, bundle: Path) -> bytes:
    """The tflite file of `spec` in `bundle`.

    Raises ValueError that names the bundle when it is absent, damaged or lacks the file, or when
    the file is larger than any network of tracking.
    """
    try:
        with zipfile.ZipFile(bundle) as archive:
            size = archive.getinfo(spec.member).file_size
            if size > LARGEST_NETWORK:
                raise ValueError(
                    f"{bundle}: expected {spec.member} of at most {LARGEST_NETWORK} bytes, "
                    f"got {size}"
                )
            return archive.read(spec.member)  # Compares the checksum.
    except FileNotFoundError:
        raise ValueError(f"{bundle}: expected a MediaPipe bundle, found no file") from None
    except KeyError:
        raise ValueError(
            f"{bundle}: expected a MediaPipe bundle with {spec.member}, found none"
        ) from None
    except _UNREADABLE as error:
        raise ValueError(f"{bundle}: expected a whole {spec.member}, got {error}") from error


def bundle_of(network: str, bundles: Mapping[str, Path]) -> tuple[NetSpec, Path]:
    """The network's specification and the file that holds it.

    `bundles` has other files for some of the shipped assets. Raises ValueError for an unknown
    network, AssetError when the shipped file is not the one in the manifest.
    """
    if network not in NETS:
        raise ValueError(f"network: expected one of {', '.join(NETS)}, got {network!r}")
    spec = NETS[network]
    return spec, bundles[spec.bundle] if spec.bundle in bundles else asset_path(spec.bundle)


def is_shipped(spec: NetSpec, bundle: Path) -> bool:
    """Whether `bundle` is the asset itself, whose sha256 is known to be right."""
    try:
        return bundle == asset_path(spec.bundle)
    except AssetError:
        return False


LARGEST_NETWORK = 64 << 20
"""Bytes: ten times the largest one that ships. A zip file can promise terabytes."""

_UNREADABLE = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError,
)  # fmt: skip
"""What `zipfile` raises of damage: among it unknown compressions and encrypted members."""
