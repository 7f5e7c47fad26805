"""One avatar's head as it ships: neutral surface, the 52 shapes, eyes, hair, skin."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import PIL.Image

from assets.manifest import asset_path
from avatar.checkpoint import Checkpoint, CheckpointError
from streams.face_shapes import FACE_SHAPES
from streams.topology import PARTS

Float32 = npt.NDArray[np.float32]

TEMPLATE = "avatars/head_template"
ATLAS = 1024
"""Texels on a side of the albedo and the surface map."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadMesh:
    """Template vertices first, then the hair's, which rides on the head. Head frame, metres."""

    name: str
    vertices: Float32
    """(V, 3) float32 metres, head frame, neutral face, eyes straight ahead; hair included."""
    shapes: Float32
    """(52, T, 3) float32 metres: what each of FACE_SHAPES adds to the template's vertices."""
    faces: npt.NDArray[np.int32]
    """(F, 3) int32, counter-clockwise; lashes, then hair, last."""
    uv: Float32
    """(V, 2) float32, (0, 0) = top-left."""
    parts: npt.NDArray[np.uint8]
    """(V,) uint8 index into streams.topology.PARTS."""
    regions: npt.NDArray[np.str_]
    """(V,) names finer than parts: "head", "mouth", "eye-left", ..., "hair"."""
    weld: npt.NDArray[np.int32]
    """(V,) int32: vertices of equal number are one point of the surface."""
    neck: Float32
    """(V,) float32: 1 follows the head, 0 stays with the torso."""
    eyes: Float32
    """(2, 3) float32 metres: the eye balls' centres, left first."""
    eye_radius: float
    """Metres."""
    neck_pivot: Float32
    """(3,) float32 metres: about which the head turns on the neck."""
    hair_normals: Float32
    """(V - T, 3) float32 unit vectors, head frame: hair is lit as a mass, not card by card."""
    albedo: npt.NDArray[np.uint8]
    """(H, W, 3) uint8 sRGB: the neutral face under even white light."""
    surface: npt.NDArray[np.uint8]
    """(H, W, 4) uint8: see streams.topology.Topology.surface."""

    @property
    def template_size(self) -> int:
        """T: how many vertices come before the hair."""
        return self.shapes.shape[1]

    def eye_vertices(self, eye: int) -> slice:
        """The vertices of one ball, 0 = left; they lie side by side."""
        found = np.flatnonzero(self.regions == ("eye-left", "eye-right")[eye])
        return slice(int(found[0]), int(found[-1]) + 1)

    @staticmethod
    def open(name: str) -> HeadMesh:
        """The avatar "default" or another that ships.

        Raises AssetError or CheckpointError (both ValueError) naming the file and what is wrong.
        """
        with Checkpoint(asset_path(TEMPLATE)) as file:
            identities = file.names("identities")
            if name not in identities:
                listed = ", ".join(identities)
                raise CheckpointError(f"avatar {name!r}: expected one of {listed}")
            k, count = identities.index(name), len(identities)
            stacked = file.array("vertices", np.float32, (count, None, 3))
            size = stacked.shape[1]
            shapes = file.array("shapes", np.float16, (len(FACE_SHAPES), size, 3))
            names = np.array(file.names("regions"))
            head = HeadMesh(
                name=name,
                vertices=stacked[k],
                shapes=shapes.astype(np.float32),
                faces=file.array("faces", np.int32, (None, 3)),
                uv=file.array("uv", np.float32, (size, 2)),
                parts=file.array("parts", np.uint8, (size,)),
                regions=names[file.array("regions", np.uint8, (size,))],
                weld=file.array("weld", np.int32, (size,)),
                neck=file.array("neck", np.float32, (size,)),
                eyes=file.array("eyes", np.float32, (count, 2, 3))[k],
                eye_radius=float(file.array("eye_radius", np.float32, (count,))[k]),
                neck_pivot=file.array("neck_pivot", np.float32, (count, 3))[k],
                albedo=_picture(f"avatars/{name}.albedo", "RGB"),
                surface=_picture(f"avatars/{name}.surface", "RGBA"),
                hair_normals=np.zeros((0, 3), np.float32),
            )
        return _with_hair(head)


def _with_hair(head: HeadMesh) -> HeadMesh:
    """The same with the hair's cards after the template's vertices."""
    with Checkpoint(asset_path(f"avatars/{head.name}.hair")) as file:
        vertices = file.array("vertices", np.float32, (None, 3))
        count = len(vertices)
        normals = file.array("normals", np.float32, (count, 3))
        faces = file.array("faces", np.int32, (None, 3))
        uv = file.array("uv", np.float32, (count, 2))
    start, points = len(head.vertices), int(head.weld.max()) + 1
    return replace(
        head,
        vertices=np.concatenate([head.vertices, vertices]),
        hair_normals=normals,
        faces=np.concatenate([head.faces, faces + np.int32(start)]),
        uv=np.concatenate([head.uv, uv]),
        parts=np.concatenate([head.parts, np.full(count, PARTS.index("hair"), np.uint8)]),
        regions=np.concatenate([head.regions, np.full(count, "hair")]),
        weld=np.concatenate([head.weld, np.arange(points, points + count, dtype=np.int32)]),
        neck=np.concatenate([head.neck, np.ones(count, np.float32)]),
    )


def _picture(asset_id: str, channels: str) -> npt.NDArray[np.uint8]:
    """(ATLAS, ATLAS, len(channels)) uint8 of a WebP file; `channels` "RGB" or "RGBA"."""
    path = asset_path(asset_id)
    try:
        with PIL.Image.open(path) as picture:
            if picture.mode != channels or picture.size != (ATLAS, ATLAS):
                raise CheckpointError(
                    f"{path}: expected {channels} of {ATLAS} x {ATLAS} pixels, "
                    f"got {picture.mode} of {picture.size[0]} x {picture.size[1]}"
                )
            return np.array(picture)
    except OSError as error:
        raise CheckpointError(f"{path}: expected a WebP picture, got {error}") from error
