"""An avatar as other programs take a face: a calm head and what each of ARKit's 52 shapes adds.

The head template's own shapes are added, for a personal avatar grown with its head. A personal
decoder could be asked for single shapes too, but what it learned from one video does not know most
of them alone (docs/export.md), while the template's are complete and clean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from avatar.avatar_file import AvatarFile, read_avatar_file
from avatar.consent import Consent
from avatar.driving import drivers_of
from avatar.eye_balls import STRAIGHT
from avatar.head_mesh import HeadMesh
from avatar.head_placement import HeadPlacement, moving_vertices
from avatar.local_texture import LocalTexture
from avatar.mesh_layout import MeshLayout, MeshPiece
from avatar.opening import personal_path
from avatar.personal_head import personal_head
from avatar.personal_model import PersonalModel
from avatar.posed_face import mapped_gaze
from avatar.smooth_normals import SmoothNormals
from streams.face_shapes import FACE_SHAPES, SHAPE_INDEX
from streams.mesh_texture import MeshTexture
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

JAW_OPEN, MOUTH_CLOSE = SHAPE_INDEX["jawOpen"], SHAPE_INDEX["mouthClose"]

PARTED = 0.6
"""How far the jaw is open in the picture of a personal avatar's inner mouth: chosen by eye."""
INNER_MOUTH = ("upper-teeth", "lower-teeth", "tongue", "mouth")


@dataclass(frozen=True, slots=True, eq=False)
class BlendShapeHead:
    """One avatar's head without hands, head frame, metres."""

    name: str
    consent: Consent | None
    """None: the avatar ships, and the person does not exist."""
    calm: MeshTexture
    """Neutral face, eyes straight ahead; time 0."""
    shapes: Float32
    """(52, V, 3) float32 metres: what each of FACE_SHAPES adds at weight 1. Eye balls stay."""
    shape_normals: Float32
    """(52, V, 3) float32: what it adds to the normals."""
    eyes: Float32
    """(2, 3) float32 metres: the balls' centres, left first."""
    balls: tuple[slice, slice]
    """Vertices of each ball, left first."""
    torso_share: Float32
    """(V,) float32: 0 follows the head, 1 stays with the torso."""
    neck_pivot: Float32
    """(3,) float32 metres: about which the head turns on the neck."""
    gaze_map: Float32 | None = None
    """(5, 4) float32: from the tracker's gaze to this person's balls (`mapped_gaze`); None where
    they are one."""

    def textured(self, side: int) -> BlendShapeHead:
        """The same with a texture of `side` x `side` texels. Enlarging adds no detail."""
        calm, size = self.calm, (side, side)
        if calm.albedo.shape[:2] == size:
            return self
        shrinks = side < len(calm.albedo)
        way = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        albedo = np.asarray(cv2.resize(calm.albedo, size, interpolation=way), np.uint8)
        resized = MeshTexture(calm.t_ns, calm.topology, calm.vertices, calm.normals, albedo)
        return replace(self, calm=resized)


def open_blend_shape_head(name: str) -> BlendShapeHead:
    """An avatar that ships, an enrolled one, or a `.visavis` path.

    Raises ValueError (AssetError, CheckpointError, AvatarFileError) when there is none or it is
    damaged.
    """
    path = personal_path(name)
    if path is not None:
        return _personal(read_avatar_file(path))
    head = HeadMesh.open(name.removeprefix("avatars/"))
    face = head.vertices[HeadPlacement(head).moving]
    return _head(head.name, None, head, face, None, head.albedo, 1.0)


def _personal(file: AvatarFile) -> BlendShapeHead:
    """At rest as anybody's calm face would drive it (`PersonalAvatar.encode`)."""
    template, model = HeadMesh.open("default"), file.model
    head = personal_head(template, model)
    geometry, albedo = _driven(model, 0.0)
    # The inside of the mouth is shown only when it opens, so it looks as it does then.
    inside = _inner_mouth(head, albedo.shape[1], albedo.shape[0])
    albedo[inside] = _driven(model, PARTED)[1][inside]
    moving = HeadPlacement(head).moving
    face = head.vertices[moving] + np.tensordot(
        np.pad(geometry, (0, model.glasses_size)), model.head_moves(), 1
    )
    # Balls were laid into the person's head at its size against the template's.
    grown = head.eye_radius / template.eye_radius
    return _head(file.name, file.consent, head, face, model.gaze_map, albedo, grown)


def _driven(model: PersonalModel, jaw_open: float) -> tuple[Float32, UInt8]:
    """(P,) geometry and (H, W, 3) texture, seen from ahead, of a face whose jaw alone is open."""
    weights = np.zeros(len(FACE_SHAPES), np.float32)
    weights[JAW_OPEN] = jaw_open
    driven = drivers_of(weights, STRAIGHT) @ model.any_map
    geometry, appearance = np.split(driven, [model.geometry_size])
    towards = np.array([0.0, 0.0, 1.0], np.float32)
    texture = LocalTexture(model.texture_basis())
    return geometry, texture.picture(model.nodes(appearance, towards), model.gain(appearance))


def _inner_mouth(head: HeadMesh, width: int, height: int) -> tuple[slice, slice]:
    """The rows and columns of the atlas that hold teeth, tongue and the mouth's inside."""
    uv = head.uv[np.isin(head.regions, INNER_MOUTH)]
    (x0, y0), (x1, y1) = uv.min(0) * (width, height), uv.max(0) * (width, height)
    return slice(int(y0), int(np.ceil(y1))), slice(int(x0), int(np.ceil(x1)))


def _head(
    name: str,
    consent: Consent | None,
    head: HeadMesh,
    face: Float32,
    gaze_map: Float32 | None,
    albedo: UInt8,
    grown: float,
) -> BlendShapeHead:
    placement = HeadPlacement(head)
    face = np.ascontiguousarray(face, np.float32)
    gaze = STRAIGHT if gaze_map is None else mapped_gaze(gaze_map, STRAIGHT)
    vertices, normals = placement.place(face, gaze, Rigid.identity())
    lit = consent is None
    layout = MeshLayout(f"avatars/{name}", head.surface, lit)
    topology = layout.topology((MeshPiece("head", head.faces, head.uv, head.parts),))
    moving = moving_vertices(head)  # glasses stay
    shapes = np.zeros((len(FACE_SHAPES), len(vertices), 3), np.float32)
    shapes[:, moving] = head.shapes[:, moving] * np.float32(grown)
    smooth = SmoothNormals(head.faces, head.weld, moving)
    shape_normals = np.zeros_like(shapes)
    for k, shape in enumerate(shapes):
        # mouthClose closes the lips of an open jaw; alone it would turn the mouth inside out.
        before = vertices + shapes[JAW_OPEN] if k == MOUTH_CLOSE else vertices
        shape_normals[k, moving] = smooth.of(before + shape) - smooth.of(before)
    return BlendShapeHead(
        name=name,
        consent=consent,
        calm=MeshTexture(0, topology, vertices, normals, albedo),
        shapes=shapes,
        shape_normals=shape_normals,
        eyes=head.eyes,
        balls=(head.eye_vertices(0), head.eye_vertices(1)),
        torso_share=(1.0 - head.neck).astype(np.float32),
        neck_pivot=head.neck_pivot,
        gaze_map=gaze_map,
    )
