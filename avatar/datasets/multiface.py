"""A capture of the Multiface data set, read in its own layout.

    KRT, frame_list.txt ("SEGMENT FRAME" a line), tex_mean.png, tex_var.txt, vert_mean.bin,
    vert_var.txt, tracked_mesh/SEGMENT/FRAME.{bin,obj} and FRAME_transform.txt,
    unwrapped_uv_1024/SEGMENT/{average,CAMERA}/FRAME.png, images/SEGMENT/CAMERA/FRAME.png

Vertices (float32, millimetres, of the .bin files) have the axes of our head frame already; the
transform is the head in the dome's world. Source: `documentation/DATA_STRUCTURE.md` and
`dataset.py` of facebookresearch/multiface.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avatar.datasets.capture_files import (
    MM,
    DatasetError,
    MissingFrames,
    file_bytes,
    file_text,
    head_pose,
    lit,
    number,
    picture,
    raw_vertices,
    resized,
)
from avatar.datasets.capture_split import MULTIFACE_SPLIT, CaptureOptions, CaptureSplit
from avatar.datasets.dome_cameras import WORLD_FROM_DOME, read_krt
from avatar.datasets.losses import Normalisation
from avatar.datasets.raw_colour import display_from_raw
from avatar.datasets.registered_capture import RegisteredMoment
from avatar.datasets.registered_topology import RegisteredTopology, read_topology
from streams.array_contract import require_choice
from streams.camera import Camera
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

PICTURE_SIZE = (1334, 2048)
"""(width, height) pixels of the published pictures, for which the KRT file is."""
COLOURS = ("display", "raw")
AVERAGE = "average"
"""The folder of textures averaged over the cameras."""
ADVICE = "give the folder m--DATE--TIME--ID--GHS of one person, with frame_list.txt in it"


@dataclass(frozen=True, slots=True)
class MultifaceOptions(CaptureOptions):
    """`topology`: None: the first OBJ file beside the meshes."""

    split: CaptureSplit = MULTIFACE_SPLIT
    colours: str = "display"
    """"display": sRGB as the authors show it. "raw": the sensors' values, as in the files."""
    picture_size: tuple[int, int] = PICTURE_SIZE

    def __post_init__(self) -> None:
        CaptureOptions.__post_init__(self)
        require_choice("MultifaceOptions.colours", self.colours, COLOURS)


class MultifaceCapture:
    """One person's frames, each once for every camera that has a texture of it.

    A `RegisteredCapture`. Nothing is read before it is asked for but the lists of files.
    """

    def __init__(self, folder: Path, options: MultifaceOptions | None = None) -> None:
        """Raises DatasetError when a file is missing or damaged, or no frame is left."""
        self.folder, self.options = folder, options or MultifaceOptions()
        listed = _frame_list(folder / "frame_list.txt")
        self.cameras: dict[str, Camera] = read_krt(folder / "KRT", self.options.picture_size)
        split, part = self.options.split, self.options.part
        names = split.cameras(part, self.cameras)
        self._index: list[tuple[str, str, str]] = []
        moments = views = 0
        segments = sorted({s for s, _ in listed if split.has_segment(part, s)})
        frames_of = {s: [f for t, f in listed if t == s] for s in segments}
        for segment in segments:
            meshes = _stems(folder / "tracked_mesh" / segment, ".bin")
            poses = _stems(folder / "tracked_mesh" / segment, "_transform.txt")
            textures = folder / "unwrapped_uv_1024" / segment
            whole = meshes & poses & _stems(textures / AVERAGE, ".png")
            kept = [frame for frame in frames_of[segment] if frame in whole]
            moments += len(frames_of[segment]) - len(kept)
            seen_by = {name: _stems(textures / name, ".png") for name in names}
            for frame in kept:
                found = [name for name in names if frame in seen_by[name]]
                views += len(names) - len(found)
                self._index += [(segment, frame, name) for name in found]
        self.missing = MissingFrames(moments, views)
        if not self._index:
            raise DatasetError(
                f"{folder}: expected frames of the part {part!r} with mesh, pose and textures, "
                f"found none of the {sum(map(len, frames_of.values()))} that frame_list.txt names; "
                "were meshes and textures downloaded?"
            )
        self.topology: RegisteredTopology = _topology(
            folder, self._index[0][0], self.options.topology
        )
        self.faces, self.uv = self.topology.faces, self.topology.uv

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> RegisteredMoment:
        """Raises IndexError, or DatasetError for a damaged file."""
        segment, frame, camera = self._index[index]
        raw = self.raw_texture(index)
        # What is not seen is black in the file, and stays it: black is shown as black.
        shown = display_from_raw(raw) if self._display else raw
        texture, seen = resized(shown, lit(raw), self.options.texture_size)
        head_from_world = self.world_from_head(index).inverse()
        towards = head_from_world.apply(self.cameras[camera].world_from_camera.xyz)
        return RegisteredMoment(
            moment=f"{segment}/{frame}",
            camera=camera,
            vertices=self.topology.spread(self._vertices(segment, frame)),
            texture=texture,
            seen=seen,
            view=(towards / np.linalg.norm(towards)).astype(np.float32),
        )

    def world_from_head(self, index: int) -> Rigid:
        """Where the head is in the dome, at this moment. Raises DatasetError."""
        segment, frame, _ = self._index[index]
        path = self.folder / "tracked_mesh" / segment / f"{frame}_transform.txt"
        return WORLD_FROM_DOME @ head_pose(file_text(path, "download it again"), str(path))

    def raw_texture(self, index: int) -> UInt8:
        """(H, W, 3) as in the file, in which what the camera does not see is black."""
        segment, frame, camera = self._index[index]
        return self._picture("unwrapped_uv_1024", segment, camera, frame)

    def average_texture(self, index: int) -> UInt8:
        """(H, W, 3) of this moment over all cameras, in the chosen colours."""
        segment, frame, _ = self._index[index]
        average = self._picture("unwrapped_uv_1024", segment, AVERAGE, frame)
        return display_from_raw(average) if self._display else average

    def picture(self, index: int) -> UInt8:
        """(height, width, 3) what the camera took, in the chosen colours."""
        segment, frame, camera = self._index[index]
        taken = self._picture("images", segment, camera, frame)
        return display_from_raw(taken) if self._display else taken

    def normalisation(self) -> Normalisation:
        """Means and deviations that Multiface's losses are taken in. Raises DatasetError."""
        folder = self.folder
        mean = folder / "tex_mean.png"
        variances = [
            number(file_text(folder / name, "download it again"), str(folder / name))
            for name in ("tex_var.txt", "vert_var.txt")
        ]
        vertices = self._checked(folder / "vert_mean.bin")
        return Normalisation(
            texture_mean=picture(file_bytes(mean), str(mean)).astype(np.float32),
            texture_std=float(np.sqrt(variances[0])),
            vertex_mean=vertices,
            vertex_std=float(np.sqrt(variances[1])) * MM,
        )

    @property
    def _display(self) -> bool:
        return self.options.colours == "display"

    def _vertices(self, segment: str, frame: str) -> Float32:
        return self._checked(self.folder / "tracked_mesh" / segment / f"{frame}.bin")

    def _checked(self, path: Path) -> Float32:
        vertices = raw_vertices(file_bytes(path), str(path))
        if len(vertices) != self.topology.count:
            raise DatasetError(
                f"{path}: expected {self.topology.count} vertices, got {len(vertices)}; is the "
                "file cut? Download it again, or remove it and its frame is left out"
            )
        return vertices

    def _picture(self, kind: str, segment: str, camera: str, frame: str) -> UInt8:
        path = self.folder / kind / segment / camera / f"{frame}.png"
        return picture(file_bytes(path), str(path))


def _frame_list(path: Path) -> list[tuple[str, str]]:
    listed = []
    for k, line in enumerate(file_text(path, ADVICE).splitlines()):
        words = line.split()
        if words and len(words) != 2:
            raise DatasetError(f"{path}, line {k + 1}: expected SEGMENT FRAME, got {line[:60]!r}")
        if words:
            listed.append((words[0], words[1]))
    if not listed:
        raise DatasetError(f"{path}: expected frames, found none; {ADVICE}")
    return listed


def _stems(folder: Path, ending: str) -> set[str]:
    """What the folder has with this ending; empty when there is no such folder."""
    if not folder.is_dir():
        return set()
    return {p.name.removesuffix(ending) for p in folder.iterdir() if p.name.endswith(ending)}


def _topology(folder: Path, segment: str, given: Path | None) -> RegisteredTopology:
    if given is not None:
        return read_topology(given)
    meshes = folder / "tracked_mesh"
    for pattern in (f"{segment}/*.obj", "*/*.obj", "*.obj"):
        found = next(iter(sorted(meshes.glob(pattern))), None)
        if found is not None:
            return read_topology(found)
    raise DatasetError(
        f"{meshes}: expected an OBJ file beside the .bin files, found none; download one, or give "
        "the topology (face_topology.obj of the ava-256 repository has the same vertices)"
    )
