"""A glTF 2.0 document while it is being put together: its JSON, its bytes and its pictures
(Khronos, "glTF 2.0 Specification")."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from avatar.whole_file import write_whole

Float32 = npt.NDArray[np.float32]

GENERATOR = "Visavis"
GLTF_FORMATS = (".glb", ".gltf")
FLOAT, UNSIGNED_BYTE, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5121, 5123, 5125
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
GLB_MAGIC, JSON_CHUNK, BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942


@dataclass(slots=True)
class GltfDocument:
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

    def floats(self, values: Float32, bounds: bool = False) -> int:
        """Index of an accessor of numbers that are no vertex attribute: (N,), (N, 3), (N, 4) or
        (N, 4, 4) float32, matrices column after column."""
        kind = {(): "SCALAR", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}[values.shape[1:]]
        accessor: dict[str, Any] = {
            "bufferView": self.view(np.ascontiguousarray(values, np.float32).tobytes()),
            "componentType": FLOAT, "count": len(values), "type": kind,
        }  # fmt: skip
        if bounds:
            accessor["min"] = np.atleast_1d(values.min(0)).tolist()
            accessor["max"] = np.atleast_1d(values.max(0)).tolist()
        return self.add("accessors", accessor)

    def joints(self, values: npt.NDArray[np.uint8]) -> int:
        """Index of an accessor of (N, 4) uint8: which joints of its skin move a vertex."""
        return self.add(
            "accessors",
            {
                "bufferView": self.view(values.tobytes(), ARRAY_BUFFER),
                "componentType": UNSIGNED_BYTE, "count": len(values), "type": "VEC4",
            },
        )  # fmt: skip

    def write(self, path: Path) -> None:
        """`.glb`: one file. `.gltf`: JSON with a `.bin` and `.png` files of the same name beside.

        Raises ValueError for another ending, OSError when a file cannot be made; a GLB that was
        there before stays whole then.
        """
        ending = path.suffix.lower()
        if ending not in GLTF_FORMATS:
            raise ValueError(
                f"write_gltf: expected one of {', '.join(GLTF_FORMATS)}, got {path.name}"
            )
        if ending == ".glb":
            for name, picture in self.pictures.items():
                view = self.view(picture)
                self.json["images"].append(
                    {"name": name, "mimeType": "image/png", "bufferView": view}
                )
            self.json["buffers"] = [{"byteLength": len(self.binary)}]
            write_whole(path, _glb(self))
            return
        for name, picture in self.pictures.items():
            beside = path.with_name(f"{path.stem}-{name}.png")
            self.json["images"].append({"name": name, "uri": quote(beside.name)})
            write_whole(beside, picture)
        beside = path.with_suffix(".bin")
        self.json["buffers"] = [{"byteLength": len(self.binary), "uri": quote(beside.name)}]
        write_whole(beside, bytes(self.binary))
        write_whole(path, json.dumps(self.json, indent=1).encode())


def _index_kind(count: int) -> tuple[type[np.unsignedinteger], int]:
    # The largest number of a type restarts a strip and is no index.
    return (np.uint16, UNSIGNED_SHORT) if count < 0xFFFF else (np.uint32, UNSIGNED_INT)


def _glb(out: GltfDocument) -> bytes:
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
