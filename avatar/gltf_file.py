"""Heads with blend shapes as glTF 2.0, for engines and editors (Khronos, "glTF 2.0 Specification").

One mesh "face" with 52 morph targets in ARKit's order and names (`extras.targetNames`), the eye
balls as nodes of their own that turn about their centres, hair and clothes as still meshes. glTF's
frame is ours: y up, metres, the face looks along +z; its texture coordinates and winding, too.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

from avatar.blend_shape_head import BlendShapeHead
from avatar.gltf_animation import PersonNodes, animate, neck_attributes
from avatar.gltf_document import GltfDocument
from avatar.mesh_layout import BLENDED_PARTS
from avatar.person_take import PersonTake
from streams.face_shapes import FACE_SHAPES
from streams.topology import PARTS, Topology

Float32 = npt.NDArray[np.float32]

CLAMP_TO_EDGE, LINEAR, LINEAR_MIPMAP_LINEAR = 33071, 9729, 9987
LEAST_MOVE, LEAST_TURN = 1e-6, 1e-3
"""Metres, and parts of a unit normal: what moves less is left out of a morph target."""
OPAQUE = 250
"""Texels of a part that are all at least this opaque make an opaque material."""


def write_gltf(head: BlendShapeHead, path: Path, take: PersonTake | None = None) -> None:
    """`.glb`: one file. `.gltf`: JSON with a `.bin` and `.png` files of the same name beside.

    With `take` head, eyes and hands move in the world's frame as they were recorded
    (`avatar.gltf_animation`).

    Raises ValueError for another ending, OSError when a file cannot be made; a GLB that was there
    before stays whole then.
    """
    out = GltfDocument()
    nodes = _write_head(out, head, bends=take is not None)
    if take is not None:
        animate(out, head, nodes, take)
    out.write(path)


def _write_head(out: GltfDocument, head: BlendShapeHead, bends: bool) -> PersonNodes:
    """The scene with a calm head. What `bends` with the neck is made ready for it, and stands
    beside the head's node, because a skin's joints alone say where its mesh is."""
    topology = head.calm.topology
    out.json["asset"]["extras"] = _origin(head)
    materials = _materials(out, head)
    part_of_face = topology.parts[topology.faces[:, 0]]
    moves_at_all = np.abs(head.shapes).max(axis=(0, 2)) > LEAST_MOVE
    moving, still = [], []
    for part in np.unique(part_of_face):
        if PARTS[part] == "eye":
            continue
        faces = topology.faces[part_of_face == part]
        (moving if moves_at_all[faces].any() else still).append((int(part), faces))
    moving.sort(key=lambda item: item[0] in BLENDED_PARTS)
    bodies, eyes = [], []
    primitives = [
        _primitive(out, head, faces, materials[part], morphs=True, bends=bends)
        for part, faces in moving
    ]
    mesh: dict[str, Any] = {"name": "face", "primitives": primitives}
    if moving:
        mesh["weights"] = [0.0] * len(FACE_SHAPES)
        mesh["extras"] = {"targetNames": list(FACE_SHAPES)}
        bodies.append(out.add("nodes", {"name": "face", "mesh": out.add("meshes", mesh)}))
    corners = topology.faces[:, 0]
    for eye, name in enumerate(("eye-left", "eye-right")):
        ball = head.balls[eye]
        faces = topology.faces[(corners >= ball.start) & (corners < ball.stop)]
        primitive = _primitive(
            out, head, faces, materials[PARTS.index("eye")], origin=head.eyes[eye]
        )
        index = out.add("meshes", {"name": name, "primitives": [primitive]})
        place = head.eyes[eye].astype(float).tolist()
        eyes.append(out.add("nodes", {"name": name, "mesh": index, "translation": place}))
    for part, faces in still:
        primitive = _primitive(out, head, faces, materials[part], bends=bends)
        index = out.add("meshes", {"name": PARTS[part], "primitives": [primitive]})
        bodies.append(out.add("nodes", {"name": PARTS[part], "mesh": index}))
    face = bodies[0] if moving else None
    children = eyes if bends else sorted([*bodies, *eyes])
    root = out.add("nodes", {"name": head.name, "children": children})
    out.add("scenes", {"name": head.name, "nodes": [root, *bodies] if bends else [root]})
    return PersonNodes(root, face, (eyes[0], eyes[1]), tuple(bodies), materials)


def _primitive(
    out: GltfDocument,
    head: BlendShapeHead,
    faces: npt.NDArray[np.int32],
    material: int,
    morphs: bool = False,
    bends: bool = False,
    origin: Float32 | None = None,
) -> dict[str, Any]:
    """The vertices of some faces, relative to `origin` (3,) metres, with or without targets and
    shares of the neck's joints."""
    used, corners = np.unique(faces, return_inverse=True)
    vertices = head.calm.vertices[used]
    if origin is not None:
        vertices = vertices - origin
    primitive: dict[str, Any] = {
        "attributes": {
            "POSITION": out.vectors(vertices.astype(np.float32)),
            "NORMAL": out.vectors(_unit(head.calm.normals[used])),
            "TEXCOORD_0": out.vectors(head.calm.topology.uv[used]),
        },
        "indices": out.indices(corners.ravel(), len(used)),
        "material": material,
    }
    if bends:
        primitive["attributes"] |= neck_attributes(out, head.torso_share[used])
    if morphs:
        places = out.moves(head.shapes[:, used], LEAST_MOVE)
        normals = out.moves(head.shape_normals[:, used], LEAST_TURN)
        primitive["targets"] = [
            {"POSITION": place, "NORMAL": normal}
            for place, normal in zip(places, normals, strict=True)
        ]
    return primitive


def _materials(out: GltfDocument, head: BlendShapeHead) -> dict[int, int]:
    """Part -> material; and the pictures that they show."""
    calm, topology = head.calm, head.calm.topology
    side = calm.albedo.shape[1], calm.albedo.shape[0]
    opaque = topology.surface[..., 3]
    opacity = np.asarray(cv2.resize(opaque, side, interpolation=cv2.INTER_LINEAR), np.uint8)
    parts = sorted({int(p) for p in topology.parts[topology.faces[:, 0]]})
    clear = {part: _least_opacity(topology, part) < OPAQUE for part in parts}
    albedo = np.dstack([calm.albedo, opacity]) if any(clear.values()) else calm.albedo
    sampler = out.add(
        "samplers",
        {
            "magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR,
            "wrapS": CLAMP_TO_EDGE, "wrapT": CLAMP_TO_EDGE,
        },
    )  # fmt: skip
    out.pictures["albedo"] = _png(albedo)
    colour = {"index": out.add("textures", {"sampler": sampler, "source": 0})}
    surface = None
    if topology.lit:
        # glTF keeps occlusion in red, roughness in green and metal in blue.
        rough, occlusion = topology.surface[..., 0], topology.surface[..., 1]
        out.pictures["surface"] = _png(np.dstack([occlusion, rough, np.zeros_like(rough)]))
        surface = {"index": out.add("textures", {"sampler": sampler, "source": 1})}
    else:
        out.json["extensionsUsed"] = ["KHR_materials_unlit"]
    materials = {}
    for part in parts:
        pbr: dict[str, Any] = {"baseColorTexture": colour, "metallicFactor": 0.0}
        material: dict[str, Any] = {"name": PARTS[part], "pbrMetallicRoughness": pbr}
        if surface is None:
            # The texture holds the light of the video.
            material["extensions"] = {"KHR_materials_unlit": {}}
        elif part in BLENDED_PARTS:
            pbr["roughnessFactor"] = 0.6  # fibres: their map is not a surface's
        else:
            # The blue of the map is 0: no metal anywhere.
            pbr["metallicRoughnessTexture"], pbr["metallicFactor"] = surface, 1.0
            material["occlusionTexture"] = surface
        if clear[part] and part in BLENDED_PARTS:
            material["alphaMode"], material["doubleSided"] = "BLEND", True
        elif clear[part]:
            # A blended skin would be sorted as a whole, and its back show through its front.
            material["alphaMode"] = "MASK"
        materials[part] = out.add("materials", material)
    return materials


def _least_opacity(topology: Topology, part: int) -> int:
    """The lowest opacity at the vertices of a part and the middles of its faces."""
    height, width = topology.surface.shape[:2]
    faces = topology.faces[topology.parts[topology.faces[:, 0]] == part]
    uv = np.concatenate([topology.uv[faces].reshape(-1, 2), topology.uv[faces].mean(1)])
    x = np.clip((uv[:, 0] * width).astype(int), 0, width - 1)
    y = np.clip((uv[:, 1] * height).astype(int), 0, height - 1)
    return int(topology.surface[y, x, 3].min())


def _origin(head: BlendShapeHead) -> dict[str, Any]:
    """Who it is and that they agreed, for whoever opens the file."""
    if head.consent is None or head.consent.kind == "synthetic":
        notice = "A computer-generated avatar of a person who does not exist."
    else:
        notice = "A computer-generated avatar of a real person, made with that person's consent."
    out: dict[str, Any] = {"avatar": head.name, "notice": notice}
    if head.consent is not None:
        out["consent"] = {
            "person": head.consent.name, "kind": head.consent.kind,
            "sentence": head.consent.sentence, "given_unix_s": head.consent.given_unix_s,
        }  # fmt: skip
    return out


def _unit(normals: Float32) -> Float32:
    """Points without area around them get any unit vector, as glTF demands."""
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    fallback = np.array([0.0, 0.0, 1.0], np.float32)
    return np.where(length > 1e-6, normals / np.maximum(length, 1e-6), fallback).astype(np.float32)


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
