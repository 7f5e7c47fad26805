"""What a batch remembers of each finished file, so that it is not done again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assets.manifest import sha256_of
from avatar.whole_file import PRIVATE, write_whole

SECRET = "--key-file"
"""The option whose file is never hashed: a hash of a password is a way to guess it."""


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """A file as it was: the same bytes elsewhere, or touched, are the same file."""

    bytes: int
    mtime_ns: int
    sha256: str

    @staticmethod
    def of(path: Path) -> FileIdentity:
        """Reads all of it. Raises OSError."""
        stat = path.stat()
        return FileIdentity(stat.st_size, stat.st_mtime_ns, sha256_of(path))

    def is_still(self, path: Path) -> bool:
        """Whether `path` is this file; it is read only where size and time leave a doubt."""
        try:
            stat = path.stat()
            if stat.st_size != self.bytes:
                return False
            return stat.st_mtime_ns == self.mtime_ns or FileIdentity.of(path) == FileIdentity(
                stat.st_size, stat.st_mtime_ns, self.sha256
            )
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Receipt:
    """One finished file: from what it was made, how, and what came of it."""

    version: str
    """Of Visavis."""
    command: tuple[str, ...]
    """The verb and its options, {input} and {out} still in them."""
    input: FileIdentity
    also: tuple[FileIdentity, ...]
    """The files that the options name, such as an avatar's, in their order."""
    outputs: tuple[tuple[str, int], ...]
    """Names, relative to the batch's folder, and bytes."""
    figures: dict[str, Any]
    """What the work cost and said: see BatchOutcome."""

    def write(self, path: Path) -> None:
        """Whole or not at all. Raises OSError."""
        write_whole(path, json.dumps(asdict(self), indent=1).encode(), PRIVATE)

    @staticmethod
    def read(path: Path) -> Receipt | None:
        """None when there is none, or what lies there is no receipt."""
        try:
            data = json.loads(path.read_bytes())
            return Receipt(
                str(data["version"]),
                tuple(data["command"]),
                FileIdentity(**data["input"]),
                tuple(FileIdentity(**one) for one in data["also"]),
                tuple((str(name), int(size)) for name, size in data["outputs"]),
                dict(data["figures"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def holds(
        self, version: str, command: Sequence[str], source: Path, also: Sequence[Path], folder: Path
    ) -> bool:
        """Whether doing it again would do the same, and all that was made is still there."""
        return (
            (self.version, self.command) == (version, tuple(command))
            and len(self.also) == len(also)
            and all(_bytes(folder / name) == size for name, size in self.outputs)
            and self.input.is_still(source)
            and all(one.is_still(path) for one, path in zip(self.also, also, strict=True))
        )


def files_named(arguments: Iterable[str], cwd: Path) -> tuple[Path, ...]:
    """The files that options name, relative to `cwd`; enrolled avatars also by their names."""
    from avatar.signature import user_folder

    found: list[Path] = []
    before = ""
    for argument in arguments:
        option, equals, value = argument.partition("=")
        text = value if equals and option.startswith("--") else argument
        is_secret = SECRET in (before, option)
        before = argument
        if is_secret or not text or "\0" in text:
            continue
        enrolled = user_folder() / "avatars" / f"{text}.visavis"
        for path in (cwd / text, enrolled if Path(text).name == text else None):
            if path is not None and _bytes(path) is not None:
                found.append(path)
                break
    return tuple(found)


def _bytes(path: Path) -> int | None:
    """None where there is no such file."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:  # A text that is too long for a name.
        return None
