"""The files inside published captures: vertices, pictures, poses, and ZIP archives of them.

Whatever is wrong with one of them ends in a DatasetError that names it and says what to do.
"""

from __future__ import annotations

import io
import os
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

MM = 1e-3
"""Metres in the data sets' millimetre."""
LARGEST_MEMBER = 256 * 1024 * 1024
"""Bytes that one unpacked member of an archive may take."""
PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
PLY_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
AGAIN = "download it again, or remove it and its frame is left out"


class DatasetError(ValueError):
    """A capture cannot be read; names the file, what was expected, and what to do."""


@dataclass(frozen=True, slots=True)
class MissingFrames:
    """What a capture's frame list names and its folders lack; both data sets dropped frames."""

    moments: int
    """Frames without mesh, head pose or texture."""
    views: int
    """Of the other frames: pictures of single cameras."""


class FrameArchive:
    """Files of one kind, one a frame: a ZIP archive, or the folder that it unpacks to."""

    def __init__(self, path: Path) -> None:
        """`path` without ".zip"; the archive is taken where both exist.

        Raises DatasetError when there is neither, or the archive is damaged.
        """
        self._zip: zipfile.ZipFile | None = None
        self._owner = 0
        archive = path.with_name(f"{path.name}.zip")
        if archive.is_file():
            self.path = archive
            members = self._opened().namelist()
        elif path.is_dir():
            self.path = path
            members = [str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()]
        else:
            raise DatasetError(
                f"{archive}: expected this archive or the folder {path.name!r} beside it, found "
                "neither; download it with the data set's own script"
            )
        self._members = {Path(name).stem: name for name in members if not name.endswith("/")}

    @property
    def frames(self) -> frozenset[str]:
        """Names without folder and ending."""
        return frozenset(self._members)

    def where(self, frame: str) -> str:
        """How messages call the file of a frame."""
        return f"{self.path}, {self._members.get(frame, frame)}"

    def read(self, frame: str) -> bytes:
        """Raises DatasetError when the frame is absent or damaged."""
        name = self._members.get(frame)
        if name is None:
            raise DatasetError(f"{self.path}: expected a file of frame {frame}, found none")
        try:
            if self.path.is_dir():
                return (self.path / name).read_bytes()
            archive = self._opened()
            size = archive.getinfo(name).file_size
            if size > LARGEST_MEMBER:
                raise DatasetError(
                    f"{self.where(frame)}: expected at most {LARGEST_MEMBER} bytes, got {size}"
                )
            return archive.read(name)
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise DatasetError(
                f"{self.where(frame)}: expected a readable file, got {error}; "
                "download the archive again"
            ) from error

    def close(self) -> None:
        """Give back the open file; a second call does nothing, and reading opens it again."""
        if self._zip is not None and self._owner == os.getpid():
            self._zip.close()
        self._zip = None

    def _opened(self) -> zipfile.ZipFile:
        # A forked worker shares its parent's file offset, so each process opens its own.
        if self._zip is None or self._owner != os.getpid():
            try:
                self._zip = zipfile.ZipFile(self.path)
            except (OSError, zipfile.BadZipFile) as error:
                raise DatasetError(
                    f"{self.path}: expected a ZIP archive, got {error}; download it again"
                ) from error
            self._owner = os.getpid()
        return self._zip

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_members": self._members, "_zip": None, "_owner": 0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def file_bytes(path: Path) -> bytes:
    """Raises DatasetError when the file cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: expected a readable file, got {error.strerror}") from error


def file_text(path: Path, advice: str) -> str:
    """Raises DatasetError with this advice when the file is absent or no text."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "bytes that are no text"
        raise DatasetError(f"{path}: expected a text file, got {reason}; {advice}") from error


def raw_vertices(data: bytes, where: str) -> Float32:
    """float32 x y z after one another, millimetres -> (V, 3) metres. Raises DatasetError."""
    if not data or len(data) % 12:
        raise DatasetError(
            f"{where}: expected float32 x y z of every vertex (a multiple of 12 bytes), "
            f"got {len(data)} bytes; {AGAIN}"
        )
    return _metres(np.frombuffer(data, "<f4").reshape(-1, 3), where)


def ply_vertices(data: bytes, where: str) -> Float32:
    """The vertices of a PLY file, millimetres -> (V, 3) metres; other elements are not looked at.

    Raises DatasetError. Format: Turk, "The PLY polygon file format", 1994.
    """
    end = data.find(b"end_header")
    end = data.find(b"\n", end) if end >= 0 else -1
    if not data.startswith(b"ply") or end < 0:
        raise DatasetError(f"{where}: expected a PLY file, got {data[:12]!r}; {AGAIN}")
    words = [line.split() for line in data[:end].decode("ascii", "replace").splitlines()]
    form = next((w[1] for w in words if w[:1] == ["format"] and len(w) > 1), "")
    elements = [k for k, w in enumerate(words) if w[:1] == ["element"]]
    try:
        if words[elements[0]][1] != "vertex":
            raise DatasetError(f"{where}: expected the vertices to come first in the PLY file")
        count = int(words[elements[0]][2])
        last = elements[1] if len(elements) > 1 else len(words)
        fields = [w for w in words[elements[0] + 1 : last] if w[:1] == ["property"]]
        columns = [w[-1] for w in fields]
        places = [columns.index(axis) for axis in ("x", "y", "z")]
        if form == "ascii":
            width = len(columns)
            numbers = data[end + 1 :].split(None, count * width)[: count * width]
            table = np.array(numbers, np.float64).reshape(count, width)[:, places]
        else:
            kind = [(w[-1], PLY_ORDERS[form] + PLY_TYPES[w[1]]) for w in fields]
            records = np.frombuffer(data, np.dtype(kind), count, end + 1)
            table = np.stack([records[axis] for axis in ("x", "y", "z")], axis=1)
    except (IndexError, KeyError, ValueError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{where}: expected a PLY file with x y z, got {error}; {AGAIN}") from (
            error
        )
    return _metres(table, where)


def picture(data: bytes, where: str) -> UInt8:
    """PNG, AVIF or another format that Pillow reads -> (H, W, 3) uint8. Raises DatasetError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            with PIL.Image.open(io.BytesIO(data)) as opened:
                if opened.mode not in ("RGB", "RGBA", "L"):
                    raise DatasetError(f"{where}: expected 8 bits of RGB, got {opened.mode!r}")
                return np.array(opened.convert("RGB"))
    except PIL.UnidentifiedImageError as error:
        raise DatasetError(
            f"{where}: expected a picture, got something that Pillow does not know; {AGAIN} "
            "(AVIF needs Pillow 11.3 or newer)"
        ) from error
    except (OSError, SyntaxError, EOFError, zlib.error, Warning) as error:
        raise DatasetError(f"{where}: expected a whole picture, got {error}; {AGAIN}") from error
    except PIL.Image.DecompressionBombError as error:
        raise DatasetError(f"{where}: {error}") from error


def picture_size(data: bytes, where: str) -> tuple[int, int]:
    """(width, height) as the file's header says. Raises DatasetError."""
    try:
        with PIL.Image.open(io.BytesIO(data)) as opened:
            return opened.size
    except (OSError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise DatasetError(f"{where}: expected a picture, got {error}; {AGAIN}") from error


def head_pose(text: str, where: str) -> Rigid:
    """Three rows of four numbers, millimetres: the dome's world from the head -> metres.

    Raises DatasetError.
    """
    try:
        numbers = np.array(text.split(), np.float64)
        if numbers.size not in (12, 16):
            raise ValueError(f"{numbers.size} numbers")
        rows = numbers.reshape(-1, 4)
        return Rigid.from_rotation(rows[:3, :3], rows[:3, 3] * MM)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise DatasetError(
            f"{where}: expected a head pose of 3 x 4 numbers, got {reason}; {AGAIN}"
        ) from error


def number(text: str, where: str) -> float:
    """The single number of a file. Raises DatasetError."""
    try:
        return float(text)
    except ValueError as error:
        raise DatasetError(f"{where}: expected one number, got {text[:40]!r}") from error


def lit(texture: UInt8) -> Float32:
    """(H, W, 3) -> (H, W): 1 where a texel says something; black means "not seen"."""
    return np.asarray(texture.any(-1), np.float32)


def resized(texture: UInt8, seen: Float32, size: int) -> tuple[UInt8, Float32]:
    """(H, W, 3) and (H, W) at `size` texels a side; what is not seen lends no colour."""
    if texture.shape[:2] == (size, size):
        return texture, seen
    way = cv2.INTER_AREA if size < max(texture.shape[:2]) else cv2.INTER_LINEAR
    share = np.asarray(cv2.resize(seen, (size, size), interpolation=way), np.float32)
    weighted = cv2.resize(texture * seen[..., None], (size, size), interpolation=way)
    colour = np.where(share[..., None] > 1e-3, weighted / np.maximum(share, 1e-3)[..., None], 0.0)
    return np.clip(np.rint(colour), 0, 255).astype(np.uint8), share


def _metres(millimetres: npt.NDArray[Any], where: str) -> Float32:
    if not np.isfinite(millimetres).all():
        raise DatasetError(f"{where}: expected finite vertices, got NaN or infinity; {AGAIN}")
    return (millimetres.astype(np.float64) * MM).astype(np.float32)
