"""Draw every blend shape of an exported head: `python -m benchmarks.morph_sheet HEAD.glb OUT.png`.

All that is drawn comes from the file (read here by the specification, not by the code that writes
it): the first thing to look at after a change to the export. The last row turns the eyes.
"""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import tyro
from PIL import Image

from render.renderer import RenderOptions, open_renderer
from streams.camera import Camera
from streams.mesh_texture import MeshTexture
from streams.rigid import Rigid
from streams.topology import PARTS, Topology
from streams.view import View

Float32 = npt.NDArray[np.float32]

COLUMNS = 10
KINDS = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
GAZES = ((-0.4, 0.0), (0.4, 0.0), (0.0, -0.3), (0.0, 0.3))
"""Yaw to the person's left and pitch up, radians."""


@dataclass(frozen=True, slots=True, eq=False)
class GlbFile:
    """The chunks of a GLB file."""

    json: dict[str, Any]
    binary: bytes

    @staticmethod
    def read(path: Path) -> GlbFile:
        """Raises ValueError when the file is no glTF 2.0 in one piece."""
        data = path.read_bytes()
        magic, version, total = struct.unpack_from("<4sII", data)
        if magic != b"glTF" or version != 2 or total != len(data):
            raise ValueError(f"{path}: expected a GLB file of {total} bytes")
        size, kind = struct.unpack_from("<I4s", data, 12)
        binary_size, binary_kind = struct.unpack_from("<I4s", data, 20 + size)
        if kind != b"JSON" or binary_kind != b"BIN\0":
            raise ValueError(f"{path}: expected a JSON chunk and a binary one")
        start = 28 + size
        return GlbFile(json.loads(data[20 : 20 + size]), data[start : start + binary_size])

    def accessor(self, index: int) -> npt.NDArray[Any]:
        """(count, width) values, sparse ones included."""
        a = self.json["accessors"][index]
        kind, width = np.dtype(KINDS[a["componentType"]]), WIDTHS[a["type"]]
        out = np.zeros((a["count"], width), kind)
        if "bufferView" in a:
            out = self._values(a["bufferView"], a.get("byteOffset", 0), kind, out.size)
            out = out.reshape(-1, width).copy()
        if "sparse" in a:
            s = a["sparse"]
            rows, values = s["indices"], s["values"]
            where = self._values(
                rows["bufferView"], rows.get("byteOffset", 0),
                np.dtype(KINDS[rows["componentType"]]), s["count"],
            )  # fmt: skip
            out[where] = self._values(
                values["bufferView"], values.get("byteOffset", 0), kind, s["count"] * width
            ).reshape(-1, width)
        return out

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        """The pixels of an image."""
        view = self.json["bufferViews"][self.json["images"][index]["bufferView"]]
        start = view.get("byteOffset", 0)
        data = self.binary[start : start + view["byteLength"]]
        return np.asarray(Image.open(io.BytesIO(data)))

    def _values(self, view: int, offset: int, kind: np.dtype[Any], count: int) -> npt.NDArray[Any]:
        v = self.json["bufferViews"][view]
        if offset + count * kind.itemsize > v["byteLength"]:
            raise ValueError(f"bufferView {view}: {count} values do not fit")
        return np.frombuffer(self.binary, kind, count, v.get("byteOffset", 0) + offset)


class MorphHead:
    """A head of a file, to be drawn by our renderer."""

    def __init__(self, file: GlbFile) -> None:
        self.file = file
        self.names: list[str] = []
        faces, uv, parts, total = [], [], [], 0
        self._pieces: list[tuple[str, Float32, dict[str, Any]]] = []
        for node in file.json["nodes"]:
            if "mesh" not in node:
                continue
            mesh = file.json["meshes"][node["mesh"]]
            self.names = mesh.get("extras", {}).get("targetNames", self.names)
            move = np.array(node.get("translation", [0.0, 0.0, 0.0]), np.float32)
            for primitive in mesh["primitives"]:
                texels = file.accessor(primitive["attributes"]["TEXCOORD_0"])
                part = PARTS.index(file.json["materials"][primitive["material"]]["name"])
                faces.append(file.accessor(primitive["indices"]).reshape(-1, 3) + total)
                uv.append(texels)
                parts.append(np.full(len(texels), part, np.uint8))
                self._pieces.append((node["name"], move, primitive))
                total += len(texels)
        albedo = file.picture(0)
        self._albedo = np.ascontiguousarray(albedo[..., :3])
        surface = np.full((*albedo.shape[:2], 4), 255, np.uint8)
        lit = len(file.json["images"]) > 1
        if lit:
            packed = cv2.resize(file.picture(1), albedo.shape[1::-1])
            surface[..., 0], surface[..., 1] = packed[..., 1], packed[..., 0]
        surface[..., 2] = 128
        if albedo.shape[2] == 4:
            surface[..., 3] = albedo[..., 3]
        order = np.concatenate(faces).astype(np.int32)
        part_of = np.concatenate(parts)
        late = np.isin(part_of[order[:, 0]], (PARTS.index("lash"), PARTS.index("hair")))
        order = order[np.argsort(late, kind="stable")]
        self._topology = Topology("file", order, np.concatenate(uv), part_of, surface, lit)

    def mesh(
        self, weights: dict[str, float], pose: Rigid, gaze: tuple[float, float] = (0.0, 0.0)
    ) -> MeshTexture:
        """With these targets, the eyes turned by yaw and pitch, placed in the world."""
        vertices, normals = [], []
        turn = Rigid.from_rotvec((0.0, gaze[0], 0.0)) @ Rigid.from_rotvec((-gaze[1], 0.0, 0.0))
        for node, move, primitive in self._pieces:
            v = self.file.accessor(primitive["attributes"]["POSITION"]).copy()
            n = self.file.accessor(primitive["attributes"]["NORMAL"]).copy()
            for name, weight in weights.items():
                if "targets" in primitive:
                    target = primitive["targets"][self.names.index(name)]
                    v += np.float32(weight) * self.file.accessor(target["POSITION"])
                    n += np.float32(weight) * self.file.accessor(target["NORMAL"])
            if node.startswith("eye-"):
                v, n = turn.apply(v), turn.rotate(n)
            vertices.append(v + move)
            normals.append(n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-6))
        return MeshTexture(
            0, self._topology,
            pose.apply(np.concatenate(vertices)).astype(np.float32),
            pose.rotate(np.concatenate(normals)).astype(np.float32), self._albedo,
        )  # fmt: skip


def main(head: Path, out: Path, size: int = 220, turned: float = 0.0) -> None:
    """Write the picture; `turned` is the head's yaw in radians."""
    morphs = MorphHead(GlbFile.read(head))
    view = View.from_camera(Camera.from_fov((size, size), np.deg2rad(28.0)))
    pose = Rigid.from_rotvec((0.0, turned, 0.0), (0.0, 0.035, -0.62))
    tiles = []
    with open_renderer("gl", RenderOptions(depth=False, antialias="supersample")) as renderer:

        def draw(text: str, weights: dict[str, float], gaze: tuple[float, float]) -> None:
            image = renderer.draw(morphs.mesh(weights, pose, gaze), view)
            tile = np.ascontiguousarray(image.rgba[..., :3])
            cv2.putText(tile, text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1)
            tiles.append(tile)

        draw("calm", {}, (0.0, 0.0))
        for name in morphs.names:
            draw(name, {name: 1.0}, (0.0, 0.0))
        draw("jawOpen + mouthClose", {"jawOpen": 1.0, "mouthClose": 1.0}, (0.0, 0.0))
        for yaw, pitch in GAZES:
            draw(f"gaze {yaw:+.1f} {pitch:+.1f}", {}, (yaw, pitch))
    while len(tiles) % COLUMNS:
        tiles.append(np.zeros_like(tiles[0]))
    rows = [np.concatenate(tiles[k : k + COLUMNS], 1) for k in range(0, len(tiles), COLUMNS)]
    Image.fromarray(np.concatenate(rows)).save(out, optimize=True)
    print(f"wrote {out}")


if __name__ == "__main__":
    tyro.cli(main)
