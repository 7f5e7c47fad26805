"""A capture of the Ava-256 data set (its `decoder` folder), read in its own layout.

    camera_calibration.json, frame_list.csv (seg_id,frame_id),
    head_pose/head_pose.zip: FRAME.txt, kinematic_tracking/registration_vertices.zip: FRAME.ply,
    uv_image/color.zip: color/FRAME.avif, image/camCAMERA.zip: camCAMERA/FRAME.avif,
    uv_image/color_{mean.png,variance.txt},
    kinematic_tracking/registration_vertices_{mean.npy,variance.txt}

FRAME has six digits. Vertices (millimetres) have the axes of our head frame already; the pose is
the head in the dome's world. `face_topology.obj` is not among the data but in the repository.
Source: `DATASHEET.md` and `data/ava_dataset.py` of facebookresearch/ava-256.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avatar.datasets.capture_files import (
    MM,
    DatasetError,
    FrameArchive,
    MissingFrames,
    file_bytes,
    file_text,
    head_pose,
    lit,
    number,
    picture,
    picture_size,
    ply_vertices,
    resized,
)
from avatar.datasets.capture_split import AVA256_SPLIT, CaptureOptions, CaptureSplit
from avatar.datasets.dome_cameras import WORLD_FROM_DOME, read_calibration
from avatar.datasets.losses import Normalisation
from avatar.datasets.registered_capture import RegisteredMoment
from avatar.datasets.registered_topology import RegisteredTopology, read_topology
from avatar.datasets.view_unwrapping import ViewUnwrapping
from streams.array_contract import require_choice
from streams.camera import Camera
from streams.closing import Closing
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

SENSOR_SIZE = (2668, 4096)
"""(width, height) pixels for which the calibration is; published pictures are smaller."""
TEXTURES = ("camera", "average")
AVERAGE = "average"
TOPOLOGY = "face_topology.obj"
ADVICE = "give the folder DATE--TIME--ID of one person, or the folder decoder in it"


@dataclass(frozen=True, slots=True)
class Ava256Options(CaptureOptions):
    """`topology`: `face_topology.obj`; None: looked for in the capture's folder and above it."""

    split: CaptureSplit = AVA256_SPLIT
    textures: str = "camera"
    """"camera": each picture unwrapped here. "average": the data set's own texture, one a moment,
    over all cameras (camera "average", seen from the front)."""
    sensor_size: tuple[int, int] = SENSOR_SIZE

    def __post_init__(self) -> None:
        CaptureOptions.__post_init__(self)
        require_choice("Ava256Options.textures", self.textures, TEXTURES)


class Ava256Capture(Closing):
    """One person's frames, each once for every camera that has a picture of it.

    A `RegisteredCapture`. Archives stay open until `close`.
    """

    def __init__(self, folder: Path, options: Ava256Options | None = None) -> None:
        """Raises DatasetError when a file is missing or damaged, or no frame is left."""
        inner = folder / "decoder"
        self.folder = inner if inner.is_dir() else folder
        self.options = options or Ava256Options()
        listed = _frame_list(self.folder / "frame_list.csv")
        sensors = read_calibration(
            self.folder / "camera_calibration.json", self.options.sensor_size
        )
        self._meshes = FrameArchive(self.folder / "kinematic_tracking" / "registration_vertices")
        self._poses = FrameArchive(self.folder / "head_pose" / "head_pose")
        whole = self._meshes.frames & self._poses.frames
        self._colours = self._pictures = None
        split, part = self.options.split, self.options.part
        if self.options.textures == "average":
            self._colours = FrameArchive(self.folder / "uv_image" / "color")
            whole &= self._colours.frames
            names, seen_by = (AVERAGE,), {AVERAGE: whole}
        else:
            names = _downloaded(self.folder / "image", split.cameras(part, sensors))
            self._pictures = {
                name: FrameArchive(self.folder / "image" / f"cam{name}") for name in names
            }
            seen_by = {name: archive.frames for name, archive in self._pictures.items()}
        wanted = [(s, f) for s, f in listed if split.has_segment(part, s)]
        kept = [(s, f) for s, f in wanted if f in whole]
        self._index = [(s, f, name) for s, f in kept for name in names if f in seen_by[name]]
        self.missing = MissingFrames(
            len(wanted) - len(kept), len(kept) * len(names) - len(self._index)
        )
        if not self._index:
            raise DatasetError(
                f"{self.folder}: expected frames of the part {part!r} with mesh, pose and pictures,"
                f" found none of the {len(wanted)} that frame_list.csv names; was all downloaded?"
            )
        self.topology: RegisteredTopology = read_topology(self._topology_path())
        self.faces, self.uv = self.topology.faces, self.topology.uv
        self.cameras: dict[str, Camera] = self._scaled(sensors)
        self._unwrapping: ViewUnwrapping | None = None

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> RegisteredMoment:
        """Raises IndexError, or DatasetError for a damaged file."""
        segment, frame, name = self._index[index]
        vertices = self.topology.spread(self._vertices(frame))
        if self._colours is not None:
            texture = picture(self._colours.read(frame), self._colours.where(frame))
            texture, seen = resized(texture, lit(texture), self.options.texture_size)
            view = np.array([0.0, 0.0, 1.0], np.float32)
        else:
            if self._unwrapping is None:
                self._unwrapping = ViewUnwrapping(self.topology, self.options.texture_size)
            place, camera = self.world_from_head(index), self.cameras[name]
            texture, seen = self._unwrapping.of(self.picture(index), camera, place, vertices)
            towards = place.inverse().apply(camera.world_from_camera.xyz)
            view = (towards / np.linalg.norm(towards)).astype(np.float32)
        return RegisteredMoment(f"{segment}/{frame}", name, vertices, texture, seen, view)

    def world_from_head(self, index: int) -> Rigid:
        """Where the head is in the dome, at this moment. Raises DatasetError."""
        frame = self._index[index][1]
        text = self._poses.read(frame).decode("utf-8", "replace")
        return WORLD_FROM_DOME @ head_pose(text, self._poses.where(frame))

    def picture(self, index: int) -> UInt8:
        """(height, width, 3) sRGB that the camera took.

        Raises ValueError when average textures were asked for, DatasetError for a damaged file.
        """
        _, frame, name = self._index[index]
        if self._pictures is None:
            raise ValueError("Ava256Capture.picture: expected textures='camera', got 'average'")
        archive = self._pictures[name]
        taken = picture(archive.read(frame), archive.where(frame))
        size = self.cameras[name].size
        if taken.shape[:2] != (size[1], size[0]):
            raise DatasetError(
                f"{archive.where(frame)}: expected {size[0]} x {size[1]} pixels as in the "
                f"camera's other pictures, got {taken.shape[1]} x {taken.shape[0]}"
            )
        return taken

    def normalisation(self) -> Normalisation:
        """The capture's means and deviations. Raises DatasetError."""
        tracking, uv = self.folder / "kinematic_tracking", self.folder / "uv_image"
        colour, mean = uv / "color_mean.png", tracking / "registration_vertices_mean.npy"
        variances = [
            number(file_text(path, "download it again"), str(path))
            for path in (uv / "color_variance.txt", tracking / "registration_vertices_variance.txt")
        ]
        try:
            vertices = np.load(io.BytesIO(file_bytes(mean)), allow_pickle=False).reshape(-1, 3)
        except (ValueError, EOFError) as error:
            raise DatasetError(f"{mean}: expected an array of vertices, got {error}") from error
        return Normalisation(
            texture_mean=picture(file_bytes(colour), str(colour)).astype(np.float32),
            texture_std=float(np.sqrt(variances[0])),
            vertex_mean=(vertices * MM).astype(np.float32),
            vertex_std=float(np.sqrt(variances[1])) * MM,
        )

    def close(self) -> None:
        """Close the archives; a second call does nothing, and reading opens them again."""
        for archive in (
            self._meshes, self._poses, self._colours, *(self._pictures or {}).values()
        ):  # fmt: skip
            if archive is not None:
                archive.close()

    def _vertices(self, frame: str) -> Float32:
        vertices = ply_vertices(self._meshes.read(frame), self._meshes.where(frame))
        if len(vertices) != self.topology.count:
            raise DatasetError(
                f"{self._meshes.where(frame)}: expected {self.topology.count} vertices as in "
                f"{TOPOLOGY}, got {len(vertices)}"
            )
        return vertices

    def _scaled(self, sensors: dict[str, Camera]) -> dict[str, Camera]:
        """The cameras at the size of their published pictures, found from one picture each."""
        if self._pictures is None:
            return sensors
        cameras: dict[str, Camera] = {}
        for name, archive in self._pictures.items():
            if archive.frames:
                first = min(archive.frames)
                size = picture_size(archive.read(first), archive.where(first))
                cameras[name] = sensors[name].scaled(size)
        return cameras

    def _topology_path(self) -> Path:
        if self.options.topology is not None:
            return self.options.topology
        places = [self.folder, *self.folder.resolve().parents][:4]
        for place in places:
            for path in (place / TOPOLOGY, place / "assets" / TOPOLOGY):
                if path.is_file():
                    return path
        raise DatasetError(
            f"{self.folder / TOPOLOGY}: expected this file here or in one of the three folders "
            "above, found none; take it from assets/ of the ava-256 repository"
        )


def _frame_list(path: Path) -> list[tuple[str, str]]:
    """(segment, frame of six digits)."""
    rows = list(csv.reader(file_text(path, ADVICE).splitlines()))
    try:
        columns = [rows[0].index(name) for name in ("seg_id", "frame_id")]
        listed = [(row[columns[0]], f"{int(row[columns[1]]):06d}") for row in rows[1:] if row]
    except (IndexError, ValueError) as error:
        raise DatasetError(
            f"{path}: expected the columns seg_id and frame_id (an integer), got {error}"
        ) from error
    if not listed:
        raise DatasetError(f"{path}: expected frames, found none; {ADVICE}")
    return listed


def _downloaded(folder: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """The cameras whose pictures are here: one may download some of them."""
    found = tuple(
        name
        for name in names
        if (folder / f"cam{name}.zip").is_file() or (folder / f"cam{name}").is_dir()
    )
    if not found:
        raise DatasetError(
            f"{folder}: expected camCAMERA.zip of the cameras in camera_calibration.json, found "
            "none; download image, or choose the average textures"
        )
    return found
