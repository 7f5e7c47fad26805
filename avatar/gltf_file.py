"""Heads with blend shapes as glTF 2.0, for engines and editors (Khronos, "glTF 2.0 Specification").

One mesh "face" with 52 morph targets in ARKit's order and names (`extras.targetNames`), the eye
balls as nodes of their own that turn about their centres, hair and clothes as still meshes. glTF's
frame is ours: y up, metres, the face looks along +z; its texture coordinates and winding, too.
"""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

from avatar.blend_shape_head import BlendShapeHead
from avatar.mesh_layout import BLENDED_PARTS
from avatar.whole_file import write_whole
from streams.face_shapes import FACE_SHAPES
from streams.topology import PARTS, Topology

Float32 = npt.NDArray[np.float32]

GENERATOR = "Visavis"
GLTF_FORMATS = (".glb", ".gltf")
FLOAT, UNSIGNED_BYTE, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5121, 5123, 5125
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
CLAMP_TO_EDGE, LINEAR, LINEAR_MIPMAP_LINEAR = 33071, 9729, 9987
GLB_MAGIC, JSON_CHUNK, BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942
LEAST_MOVE, LEAST_TURN = 1e-6, 1e-3
"""Metres, and parts of a unit normal: what moves less is left out of a morph target."""
OPAQUE = 250
"""Texels of a part that are all at least this opaque make an opaque material."""


def write_gltf(head: BlendShapeHead, path: Path) -> None:
    """`.glb`: one file. `.gltf`: JSON with a `.bin` and `.png` files of the same name beside.

    Raises ValueError for another ending, OSError when a file cannot be made; a GLB that was there
    before stays whole then.
    """
    ending = path.suffix.lower()
    if ending not in GLTF_FORMATS:
        raise ValueError(f"write_gltf: expected one of {', '.join(GLTF_FORMATS)}, got {path.name}")
    out = _Document()
    _write_head(out, head)
    if ending == ".glb":
        for name, picture in out.pictures.items():
            view = out.view(picture)
            out.json["images"].append({"name": name, "mimeType": "image/png", "bufferView": view})
        out.json["buffers"] = [{"byteLength": len(out.binary)}]
        write_whole(path, _glb(out))
        return
    for name, picture in out.pictures.items():
        beside = path.with_name(f"{path.stem}-{name}.png")
        out.json["images"].append({"name": name, "uri": quote(beside.name)})
        write_whole(beside, picture)
    beside = path.with_suffix(".bin")
    out.json["buffers"] = [{"byteLength": len(out.binary), "uri": quote(beside.name)}]
    write_whole(beside, bytes(out.binary))
    write_whole(path, json.dumps(out.json, indent=1).encode())


@dataclass(slots=True)
class _Document:
    """What is written so far."""

    json: dict[str, Any] = field(
        default_factory=lambda: {
            "asset": {"version": "2.0", "generator": GENERATOR},
            "scene": 0, "scenes": [], "nodes": [], "meshes": [], "materials": [],
            "textures": [], "samplers": [], "images": [], "accessors": [], "bufferViews": [],
        }
    )  # fmt: skip
    binary: bytearray = field(default_factory=bytearray)
    pictures: dict[str, bytes] = field(default_factory=dict)

    def add(self, kind: str, item: dict[str, Any]) -> int:
        """Index of a new entry of `nodes`, `meshes`, ..."""
        self.json[kind].append(item)
        return len(self.json[kind]) - 1

    def view(self, data: bytes, target: int | None = None) -> int:
        """Index of a new bufferView of these bytes, four-byte aligned."""
        self.binary.extend(b"\0" * (-len(self.binary) % 4))
        view: dict[str, Any] = {
            "buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data),
        }  # fmt: skip
        if target is not None:
            view["target"] = target
        self.binary.extend(data)
        return self.add("bufferViews", view)

    def vectors(self, values: Float32) -> int:
        """Index of an accessor of a vertex attribute, (N, 2) or (N, 3)."""
        return self.add(
            "accessors",
            {
                "bufferView": self.view(values.tobytes(), ARRAY_BUFFER),
                "componentType": FLOAT, "count": len(values), "type": f"VEC{values.shape[1]}",
                "min": values.min(0).tolist(), "max": values.max(0).tolist(),
            },
        )  # fmt: skip

    def indices(self, values: npt.NDArray[np.integer], count: int) -> int:
        """Index of an accessor of triangles' corners among `count` vertices."""
        kind, code = _index_kind(count)
        data = values.astype(kind).tobytes()
        return self.add(
            "accessors",
            {
                "bufferView": self.view(data, ELEMENT_ARRAY_BUFFER),
                "componentType": code, "count": values.size, "type": "SCALAR",
            },
        )  # fmt: skip

    def moves(self, values: npt.NDArray[np.float32], least: float) -> list[int]:
        """Indices of accessors of morph targets (S, N, 3), zeros where nothing moves. Sparse, and
        all of them in two bufferViews."""
        count = values.shape[1]
        kind, code = _index_kind(count)
        rows, changes, accessors, still = bytearray(), bytearray(), [], None
        for target in values:
            moved = np.flatnonzero((np.abs(target) > least).any(1))
            if not len(moved):
                if still is not None:
                    accessors.append(still)
                    continue
                # One zero for all that stays: Assimp takes no accessor without any data.
                still, moved, target = len(self.json["accessors"]), np.array([0]), 0.0 * target
            some = np.ascontiguousarray(target[moved], np.float32)
            whole = some if len(moved) == count else np.concatenate([some, np.zeros((1, 3))])
            accessors.append(
                self.add(
                    "accessors",
                    {
                        "componentType": FLOAT, "count": count, "type": "VEC3",
                        "min": whole.min(0).tolist(), "max": whole.max(0).tolist(),
                        "sparse": {
                            "count": len(moved),
                            "indices": {"byteOffset": len(rows), "componentType": code},
                            "values": {"byteOffset": len(changes)},
                        },
                    },
                )
            )  # fmt: skip
            rows.extend(moved.astype(kind).tobytes())
            changes.extend(some.tobytes())
        where, what = self.view(bytes(rows)), self.view(bytes(changes))
        for index in set(accessors):
            sparse = self.json["accessors"][index]["sparse"]
            sparse["indices"]["bufferView"], sparse["values"]["bufferView"] = where, what
        return accessors


def _index_kind(count: int) -> tuple[type[np.unsignedinteger], int]:
    # The largest number of a type restarts a strip and is no index.
    return (np.uint16, UNSIGNED_SHORT) if count < 0xFFFF else (np.uint32, UNSIGNED_INT)


def _write_head(out: _Document, head: BlendShapeHead) -> None:
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
    children = []
    primitives = [
        _primitive(out, head, faces, materials[part], morphs=True) for part, faces in moving
    ]
    mesh: dict[str, Any] = {"name": "face", "primitives": primitives}
    if moving:
        mesh["weights"] = [0.0] * len(FACE_SHAPES)
        mesh["extras"] = {"targetNames": list(FACE_SHAPES)}
        children.append(out.add("nodes", {"name": "face", "mesh": out.add("meshes", mesh)}))
    corners = topology.faces[:, 0]
    for eye, name in enumerate(("eye-left", "eye-right")):
        ball = head.balls[eye]
        faces = topology.faces[(corners >= ball.start) & (corners < ball.stop)]
        primitive = _primitive(
            out, head, faces, materials[PARTS.index("eye")], origin=head.eyes[eye]
        )
        index = out.add("meshes", {"name": name, "primitives": [primitive]})
        place = head.eyes[eye].astype(float).tolist()
        children.append(out.add("nodes", {"name": name, "mesh": index, "translation": place}))
    for part, faces in still:
        primitive = _primitive(out, head, faces, materials[part])
        index = out.add("meshes", {"name": PARTS[part], "primitives": [primitive]})
        children.append(out.add("nodes", {"name": PARTS[part], "mesh": index}))
    root = out.add("nodes", {"name": head.name, "children": children})
    out.add("scenes", {"name": head.name, "nodes": [root]})


def _primitive(
    out: _Document,
    head: BlendShapeHead,
    faces: npt.NDArray[np.int32],
    material: int,
    morphs: bool = False,
    origin: Float32 | None = None,
) -> dict[str, Any]:
    """The vertices of some faces, relative to `origin` (3,) metres, with or without targets."""
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
    if morphs:
        places = out.moves(head.shapes[:, used], LEAST_MOVE)
        normals = out.moves(head.shape_normals[:, used], LEAST_TURN)
        primitive["targets"] = [
            {"POSITION": place, "NORMAL": normal}
            for place, normal in zip(places, normals, strict=True)
        ]
    return primitive


def _materials(out: _Document, head: BlendShapeHead) -> dict[int, int]:
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


def _glb(out: _Document) -> bytes:
    """Header, JSON chunk, binary chunk (glTF 2.0, section 4.4)."""
    text = json.dumps(out.json, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    binary = bytes(out.binary) + b"\0" * (-len(out.binary) % 4)
    total = 12 + 8 + len(text) + 8 + len(binary)
    return b"".join(
        (
            struct.pack("<III", GLB_MAGIC, 2, total),
            struct.pack("<II", len(text), JSON_CHUNK), text,
            struct.pack("<II", len(binary), BINARY_CHUNK), binary,
        )
    )  # fmt: skip
