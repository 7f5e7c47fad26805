"""The headset half of an Ava-256 capture: five infrared pictures a frame, in the set's layout.

`encoder/frame_list.csv` (seg_id, frame_id) and `encoder/image/cam-NAME.zip` with FRAME.avif, where
NAME is one of `avatar.headset_encoder.CAMERAS`. The headset and the dome were worn at different
times: there is no code for a frame, one has to be found (by fitting an avatar to the pictures).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avatar.datasets.capture_files import DatasetError, FrameArchive, file_text, picture
from avatar.headset_encoder import CAMERAS

UInt8 = npt.NDArray[np.uint8]
ADVICE = "give the folder DATE--TIME--ID of one person, with the folder encoder in it"


class HeadsetCapture:
    """Frames in the order of their list. Archives stay open until `close`."""

    def __init__(self, folder: Path) -> None:
        """Raises DatasetError when a file is missing or damaged, or no camera was downloaded."""
        inner = folder / "encoder"
        self.folder = inner if inner.is_dir() else folder
        path = self.folder / "frame_list.csv"
        rows = list(csv.DictReader(file_text(path, ADVICE).splitlines()))
        try:
            self.frames = [(row["seg_id"], f"{int(row['frame_id']):06d}") for row in rows]
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{path}: expected the columns seg_id and frame_id (an integer), got {error}"
            ) from error
        image = self.folder / "image"
        self._archives = {
            name: FrameArchive(image / f"cam-{name}")
            for name in CAMERAS
            if (image / f"cam-{name}.zip").is_file() or (image / f"cam-{name}").is_dir()
        }
        if not self.frames or not self._archives:
            raise DatasetError(
                f"{self.folder}: expected frames and cam-*.zip of {', '.join(CAMERAS)}, found "
                f"{len(self.frames)} frames and {len(self._archives)} cameras; {ADVICE}"
            )

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> dict[str, UInt8]:
        """(400, 400) uint8 by name of camera, of those cameras that have this frame."""
        _, frame = self.frames[index]
        return {
            name: _grey(picture(archive.read(frame), archive.where(frame)))
            for name, archive in self._archives.items()
            if frame in archive.frames
        }

    def close(self) -> None:
        """Give back open files; reading opens them again."""
        for archive in self._archives.values():
            archive.close()


def _grey(rgb: UInt8) -> UInt8:
    """The pictures are grey, however they are stored."""
    return np.ascontiguousarray(rgb[..., 1])
