"""The file of a personal avatar, `.visavis`: numbers, pictures, consent, hashes, a signature.

A ZIP archive of a few named members (docs/avatar_file.md). Nothing in it is executed or unpickled,
and every size is checked before memory is taken for it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from safetensors import SafetensorError
from safetensors.numpy import load, save

from avatar.consent import Consent, ConsentError
from avatar.personal_model import ModelError, PersonalModel
from avatar.signature import fingerprint, is_signed_by
from avatar.whole_file import PRIVATE, write_whole

SUFFIX = ".visavis"
FORMAT, VERSION = "visavis-avatar", 4
OLDEST = 2
"""Format 3 adds glasses, which a file may have or not, format 4 their planes, and lashes."""
LARGEST_FILE = 20 * 1024 * 1024
LARGEST_MEMBERS = 64 * 1024 * 1024
"""All members unpacked, in bytes."""
MEMBERS = ("manifest.json", "tensors.safetensors", "mean.webp", "opacity.png", "signature.json")
HASHED = MEMBERS[1:4]
ENCODING_ALONE = (
    *("landmark_rest", "landmark_moves", "strangeness"),
    *("projection", "projection_rest", "view_codes", "any_map"),
)
"""Arrays that only encoding reads: whose face this is, how its picture becomes a code, and how
anybody's expressions drive it."""
LARGEST_JSON = 1024 * 1024
MEAN_QUALITY = 95


class AvatarFileError(ValueError):
    """A file that is not, or not safely, an avatar; says what is wrong and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class AvatarFile:
    """What a file says of its avatar."""

    id: str
    """What codes call it: "avatars/NAME/HASH", the hash of the model."""
    name: str
    model: PersonalModel
    consent: Consent
    made_unix_s: int
    report: dict[str, Any]
    """Figures of the enrolment, JSON."""
    signer: str
    """Fingerprint of who signed it."""


def write_avatar_file(
    path: Path,
    name: str,
    model: PersonalModel,
    consent: Consent,
    made_unix_s: int,
    report: dict[str, Any],
    key: Ed25519PrivateKey,
) -> None:
    """Write atomically, readable by the user alone: a full disk leaves what was there.

    Raises AvatarFileError when the result would be larger than 20 MiB, OSError when it cannot be
    written.
    """
    members = {
        "tensors.safetensors": save(
            {k: np.ascontiguousarray(v) for k, v in model.tensors().items()}
        ),
        "mean.webp": _picture_bytes(model.mean, "webp"),
        "opacity.png": _picture_bytes(model.opacity, "png"),
    }
    hashes = {key_: hashlib.sha256(value).hexdigest() for key_, value in members.items()}
    manifest = _json(
        {
            "format": FORMAT, "version": VERSION, "name": name, "made_unix_s": made_unix_s,
            "consent": asdict(consent), "report": report, "sha256": hashes,
            "bytes": {key_: len(value) for key_, value in members.items()},
        }
    )  # fmt: skip
    data = _signed_archive(manifest, members, key)
    if len(data) > LARGEST_FILE:
        raise AvatarFileError(
            f"{path}: expected at most {LARGEST_FILE >> 20} MiB, got {len(data) / 2**20:.1f}; "
            "use fewer planes"
        )
    write_whole(path, data, PRIVATE)


def decoding_copy(path: Path, key: Ed25519PrivateKey) -> tuple[str, bytes]:
    """Id and bytes of another file of the same avatar, for people who are to see it: with what
    decoding codes needs, and without what encodes or drives a face (zeros in its place), and
    without the report. The id is another one than the file's own; codes have to be made under it.

    Raises AvatarFileError for a damaged file, and for one that `key` did not sign: whose avatar it
    is alone can pass it on.
    """
    whole = read_avatar_file(path)
    own = fingerprint(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    if whole.signer != own:
        raise AvatarFileError(
            f"{path}: expected an avatar that you signed ({own}), got one of {whole.signer}; only "
            "who made an avatar may show it to others"
        )
    with zipfile.ZipFile(path) as archive:
        members = _members(path, archive)
    manifest = _object(path, "manifest.json", members["manifest.json"])
    tensors = whole.model.tensors()
    for name in ENCODING_ALONE:
        tensors[name] = np.zeros_like(tensors[name])
    hashed = {member: members[member] for member in HASHED}
    hashed["tensors.safetensors"] = save({k: np.ascontiguousarray(v) for k, v in tensors.items()})
    manifest |= {
        "version": VERSION, "report": {},
        "sha256": {k: hashlib.sha256(value).hexdigest() for k, value in hashed.items()},
        "bytes": {k: len(value) for k, value in hashed.items()},
    }  # fmt: skip
    identity = _identity(whole.name, hashed["tensors.safetensors"])
    return identity, _signed_archive(_json(manifest), hashed, key)


def _identity(name: str, tensors: bytes) -> str:
    return f"avatars/{name}/{hashlib.sha256(tensors).hexdigest()[:12]}"


def _signed_archive(manifest: bytes, members: dict[str, bytes], key: Ed25519PrivateKey) -> bytes:
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signature = _json({"key": public.hex(), "signature": key.sign(manifest).hex()})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for member, value in (
            ("manifest.json", manifest), *members.items(), ("signature.json", signature),
        ):  # fmt: skip
            # A fixed date: the same avatar gives the same bytes.
            archive.writestr(zipfile.ZipInfo(member, (1980, 1, 1, 0, 0, 0)), value,
                             zipfile.ZIP_DEFLATED)  # fmt: skip
    return buffer.getvalue()


def read_avatar_file(path: Path) -> AvatarFile:
    """Open and check everything. Raises AvatarFileError."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise AvatarFileError(f"{path}: expected an avatar file, got a folder or a device")
        if size > LARGEST_FILE:
            raise AvatarFileError(
                f"{path}: expected at most {LARGEST_FILE >> 20} MiB, got {size / 2**20:.1f}"
            )
        with zipfile.ZipFile(path) as archive:
            members = _members(path, archive)
    except FileNotFoundError:
        raise AvatarFileError(f"{path}: expected an avatar file, found none") from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise AvatarFileError(
            f"{path}: expected a {SUFFIX} file, got {error}; copy or enrol it again"
        ) from error
    signer = _require_signature(path, members)
    manifest = _object(path, "manifest.json", members["manifest.json"])
    _require_format(path, manifest)
    hashes = manifest.get("sha256")
    for member in HASHED:
        wanted = hashes.get(member) if isinstance(hashes, dict) else None
        if hashlib.sha256(members[member]).hexdigest() != wanted:
            raise AvatarFileError(f"{path}: {member} was changed after it was signed")
    try:
        tensors = load(members["tensors.safetensors"])
        mean = _picture(path, members["mean.webp"], "RGB", 4096)
        opacity = _picture(path, members["opacity.png"], "L", 4096)
        model = PersonalModel.from_tensors(tensors, mean, opacity)
        given = manifest["consent"]
        consent = Consent(
            str(given["name"]), str(given["sentence"]), str(given["kind"]),
            int(given["given_unix_s"]), tuple(str(done) for done in given["live"]),
            str(given.get("sound_sha256", "")),
        )  # fmt: skip
        name, made = str(manifest["name"]), int(manifest["made_unix_s"])
        report = dict(manifest["report"])
    except (ConsentError, ModelError) as error:
        raise AvatarFileError(f"{path}: {error}") from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise AvatarFileError(f"{path}: expected a whole avatar, got {error!r}") from error
    identity = _identity(name, members["tensors.safetensors"])
    return AvatarFile(identity, name, model, consent, made, report, signer)


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, bytes]:
    """All members, or an error before anything large is unpacked."""
    infos = archive.infolist()
    names = [info.filename for info in infos]
    if sorted(names) != sorted(MEMBERS):
        raise AvatarFileError(
            f"{path}: expected the members {', '.join(MEMBERS)}, got {', '.join(names)[:300]}"
        )
    total = sum(info.file_size for info in infos)
    if total > LARGEST_MEMBERS:
        raise AvatarFileError(f"{path}: expected at most 64 MiB unpacked, got {total / 2**20:.0f}")
    out: dict[str, bytes] = {}
    for info in infos:
        largest = LARGEST_JSON if info.filename.endswith(".json") else info.file_size
        with archive.open(info) as member:
            # The declared size is a claim: no more than it is ever read.
            value = member.read(min(info.file_size, largest) + 1)
        if len(value) != info.file_size:
            raise AvatarFileError(
                f"{path}: {info.filename}: expected {info.file_size} bytes of at most {largest}"
            )
        out[info.filename] = value
    return out


def _require_signature(path: Path, members: dict[str, bytes]) -> str:
    signed = _object(path, "signature.json", members["signature.json"])
    try:
        key, signature = bytes.fromhex(signed["key"]), bytes.fromhex(signed["signature"])
    except (KeyError, TypeError, ValueError) as error:
        raise AvatarFileError(f"{path}: expected a signature, got {error!r}") from error
    if not is_signed_by(key, signature, members["manifest.json"]):
        raise AvatarFileError(
            f"{path}: the signature does not fit: the file was changed; get it anew from its owner"
        )
    return fingerprint(key)


def _require_format(path: Path, manifest: dict[str, Any]) -> None:
    if manifest.get("format") != FORMAT:
        raise AvatarFileError(f"{path}: expected {FORMAT!r}, got {manifest.get('format')!r}")
    version = manifest.get("version")
    if type(version) is not int or version < 1:
        raise AvatarFileError(f"{path}: expected a version from 1, got {version!r}")
    if version > VERSION:
        raise AvatarFileError(
            f"{path}: made by a newer Visavis (format {version}, this one reads {VERSION}); upgrade"
        )
    if version < OLDEST:
        raise AvatarFileError(
            f"{path}: made before format {OLDEST}, as format {version}; enroll the video again"
        )


def _object(path: Path, member: str, data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise AvatarFileError(f"{path}: {member}: expected JSON, got {error}") from error
    if not isinstance(value, dict):
        raise AvatarFileError(f"{path}: {member}: expected an object")
    return value


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, indent=1).encode()


def _picture_bytes(pixels: npt.NDArray[np.uint8], form: str) -> bytes:
    buffer = io.BytesIO()
    picture = PIL.Image.fromarray(pixels)
    if form == "webp":
        picture.save(buffer, "WEBP", quality=MEAN_QUALITY, method=4)
    else:
        picture.save(buffer, "PNG")
    return buffer.getvalue()


def _picture(path: Path, data: bytes, mode: str, side: int) -> npt.NDArray[np.uint8]:
    try:
        with PIL.Image.open(io.BytesIO(data), formats=("WEBP", "PNG")) as picture:
            if picture.mode != mode or max(picture.size) > side:
                raise AvatarFileError(
                    f"{path}: expected a picture in {mode} of at most {side} pixels a side, "
                    f"got {picture.mode} of {picture.size[0]} x {picture.size[1]}"
                )
            return np.array(picture)
    except (OSError, PIL.Image.DecompressionBombError) as error:
        raise AvatarFileError(f"{path}: expected a picture, got {error}") from error
