"""Which segments and cameras of a capture are for training, and which are held out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from avatar.datasets.capture_files import DatasetError, file_text
from streams.array_contract import require_choice

PARTS = ("train", "test", "all")


@dataclass(frozen=True, slots=True)
class CaptureSplit:
    """Held out are whole segments, as seen by the test cameras."""

    test_segments: tuple[str, ...]
    """Beginnings of the names of segments."""
    train_cameras: tuple[str, ...] | None = None
    """None: every camera of the capture."""
    test_cameras: tuple[str, ...] | None = None

    def has_segment(self, part: str, segment: str) -> bool:
        """`part` is "train", "test" or "all". Raises ValueError for another."""
        require_choice("CaptureSplit part", part, PARTS)
        return part == "all" or segment.startswith(self.test_segments) == (part == "test")

    def cameras(self, part: str, every: Iterable[str]) -> tuple[str, ...]:
        """Those of `every` that belong to the part, in their order."""
        require_choice("CaptureSplit part", part, PARTS)
        named = {"train": self.train_cameras, "test": self.test_cameras, "all": None}[part]
        return tuple(name for name in every if named is None or name in named)


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """What of a capture is read, whatever its layout."""

    part: str = "all"
    """"train", "test" or "all" of the split."""
    texture_size: int = 1024
    """Texels on a side; smaller ones are averaged."""
    topology: Path | None = None
    """An OBJ file with the faces; None: the capture's own."""

    def __post_init__(self) -> None:
        require_choice("CaptureOptions.part", self.part, PARTS)


MULTIFACE_SPLIT = CaptureSplit(("EXP_ROM", "EXP_free_face"))
"""`test_segment.json` of facebookresearch/multiface."""
AVA256_SPLIT = CaptureSplit(("EXP_free_face",))
"""For one person, as the datasheet of facebookresearch/ava-256 recommends."""


def read_camera_split(path: Path, segments: tuple[str, ...], name: str = "full") -> CaptureSplit:
    """The cameras of a Multiface `camera-split-config_ID.json`: {"full": {"train": [...], "test":
    [...]}}. Raises DatasetError."""
    text = file_text(path, "take one of Multiface's camera_configs/")
    try:
        chosen = json.loads(text)[name]
        return CaptureSplit(
            segments, tuple(map(str, chosen["train"])), tuple(map(str, chosen["test"]))
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{path}: expected JSON with lists 'train' and 'test' under {name!r}, "
            f"got {type(error).__name__} {error}"
        ) from error
