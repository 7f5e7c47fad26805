"""Small captures written in the layouts of Multiface and Ava-256: they prove the readers.

The inverse of `multiface.py` and `ava256.py`: metres become millimetres, the world gets y down.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image

from avatar.datasets.ava256 import TOPOLOGY
from avatar.datasets.capture_files import MM
from avatar.datasets.dome_cameras import WORLD_FROM_DOME, calibration_text, krt_text
from avatar.datasets.multiface import AVERAGE
from avatar.datasets.registered_topology import obj_text
from streams.camera import Camera
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class WrittenMesh:
    """What does not change from moment to moment."""

    uv: Float32
    """(M, 2) texture coordinates, (0, 0) = top-left."""
    corners: npt.NDArray[np.int32]
    """(F, 3, 2) pairs: a vertex, and a row of `uv`."""


@dataclass(frozen=True, slots=True, eq=False)
class WrittenMoment:
    """One moment, seen by any number of cameras. Colours are written as they are."""

    segment: str
    frame: int
    vertices: Float32
    """(count, 3) metres, head frame."""
    world_from_head: Rigid
    average: UInt8
    """(H, W, 3)."""
    textures: Mapping[str, UInt8]
    """By camera, (H, W, 3); 0 where the camera does not see it."""
    pictures: Mapping[str, UInt8]
    """By camera, (height, width, 3); may be empty."""


def write_multiface(
    folder: Path,
    mesh: WrittenMesh,
    cameras: Mapping[str, Camera],
    moments: Sequence[WrittenMoment],
) -> None:
    """Write below `folder` (made if needed). Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "KRT").write_text(krt_text(cameras))
    (folder / "frame_list.txt").write_text("".join(f"{m.segment} {m.frame:06d}\n" for m in moments))
    mean, variance = _statistics([t for m in moments for t in m.textures.values()])
    _write(folder / "tex_mean.png", _encoded(np.rint(mean).astype(np.uint8), "png"))
    (folder / "tex_var.txt").write_text(f"{variance!r}\n")
    mean, variance = _statistics([m.vertices / MM for m in moments])
    (folder / "vert_mean.bin").write_bytes(mean.astype("<f4").tobytes())
    (folder / "vert_var.txt").write_text(f"{variance!r}\n")
    for moment in moments:
        name, meshes = f"{moment.frame:06d}", folder / "tracked_mesh" / moment.segment
        millimetres = (moment.vertices.astype(np.float64) / MM).astype("<f4")
        _write(meshes / f"{name}.bin", millimetres.tobytes())
        _write(meshes / f"{name}.obj", obj_text(millimetres, mesh.uv, mesh.corners).encode())
        _write(meshes / f"{name}_transform.txt", _pose_text(moment).encode())
        textures = {AVERAGE: moment.average, **moment.textures}
        for kind, pictures in (("unwrapped_uv_1024", textures), ("images", moment.pictures)):
            for camera, rgb in pictures.items():
                path = folder / kind / moment.segment / camera / f"{name}.png"
                _write(path, _encoded(rgb, "png"))


def write_ava256(
    folder: Path,
    mesh: WrittenMesh,
    cameras: Mapping[str, Camera],
    moments: Sequence[WrittenMoment],
    sensor_size: tuple[int, int],
) -> None:
    """Write `folder`/decoder and the topology beside it. `sensor_size` (width, height) is that of
    the calibration, whose cameras' pictures may be smaller. Pictures are AVIF: off by a code value
    or two. Raises OSError.
    """
    inner = folder / "decoder"
    inner.mkdir(parents=True, exist_ok=True)
    millimetres = moments[0].vertices / MM
    (folder / TOPOLOGY).write_text(obj_text(millimetres, mesh.uv, mesh.corners))
    calibration = {name: camera.scaled(sensor_size) for name, camera in cameras.items()}
    (inner / "camera_calibration.json").write_text(calibration_text(calibration))
    rows = [f"{m.segment},{m.frame}" for m in moments]
    (inner / "frame_list.csv").write_text("\n".join(["seg_id,frame_id", *rows]) + "\n")
    mean, variance = _statistics([m.average for m in moments])
    _write(inner / "uv_image" / "color_mean.png", _encoded(np.rint(mean).astype(np.uint8), "png"))
    (inner / "uv_image" / "color_variance.txt").write_text(f"{variance!r}\n")
    mean, variance = _statistics([m.vertices / MM for m in moments])
    tracking = inner / "kinematic_tracking"
    tracking.mkdir(exist_ok=True)
    np.save(tracking / "registration_vertices_mean.npy", mean.astype(np.float32))
    (tracking / "registration_vertices_variance.txt").write_text(f"{variance!r}\n")
    names = [f"{m.frame:06d}" for m in moments]
    _archive(
        tracking / "registration_vertices.zip",
        ((f"{n}.ply", _ply_bytes(m.vertices)) for n, m in zip(names, moments, strict=True)),
    )
    _archive(
        inner / "head_pose" / "head_pose.zip",
        ((f"{n}.txt", _pose_text(m).encode()) for n, m in zip(names, moments, strict=True)),
    )
    _archive(
        inner / "uv_image" / "color.zip",
        (
            (f"color/{n}.avif", _encoded(m.average, "avif"))
            for n, m in zip(names, moments, strict=True)
        ),
    )
    for camera in cameras:
        _archive(
            inner / "image" / f"cam{camera}.zip",
            (
                (f"cam{camera}/{n}.avif", _encoded(m.pictures[camera], "avif"))
                for n, m in zip(names, moments, strict=True)
                if camera in m.pictures
            ),
        )


def _statistics(
    values: Sequence[npt.NDArray[np.generic]],
) -> tuple[npt.NDArray[np.float64], float]:
    """The mean over the first axis, and one variance about it for everything."""
    stacked = np.stack(values).astype(np.float64)
    mean = stacked.mean(0)
    return mean, float(np.square(stacked - mean).mean())


def _pose_text(moment: WrittenMoment) -> str:
    """Three rows, millimetres, in the dome's own world."""
    rows = (WORLD_FROM_DOME.inverse() @ moment.world_from_head).matrix()[:3]
    rows[:, 3] /= MM
    return "".join(" ".join(repr(float(x)) for x in row) + "\n" for row in rows)


def _ply_bytes(vertices: Float32) -> bytes:
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"element vertex {len(vertices)}\n"
        "property float x\nproperty float y\nproperty float z\nend_header\n"
    )
    return header.encode() + (vertices.astype(np.float64) / MM).astype("<f4").tobytes()


def _encoded(rgb: UInt8, form: str) -> bytes:
    buffer = io.BytesIO()
    options = {"quality": 100, "subsampling": "4:4:4", "speed": 8} if form == "avif" else {}
    PIL.Image.fromarray(rgb).save(buffer, form, **options)
    return buffer.getvalue()


def _archive(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members:
            archive.writestr(name, data)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
