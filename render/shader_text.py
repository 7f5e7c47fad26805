"""The text of the shaders in render/shaders: the same files for OpenGL 4.1 and for WebGL2.

What differs between the two is the version line and, for WebGL2 (GLSL ES 3.00), the default
precisions; both are added here, so that no file needs to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

DESKTOP = "#version 410 core\n"
WEBGL2 = (
    "#version 300 es\nprecision highp float;\nprecision highp int;\n"
    "precision highp sampler2DArray;\nprecision highp sampler2DShadow;\n"
)


@dataclass(frozen=True, slots=True)
class ProgramFiles:
    """Which files make one program, joined in this order."""

    vertex: tuple[str, ...]
    fragment: tuple[str, ...]
    defines: tuple[str, ...] = ()

    def texts(self, head: str) -> tuple[str, str]:
        """The vertex and the fragment shader after `head`: DESKTOP or WEBGL2."""
        return (
            shader_text(self.vertex, self.defines, head),
            shader_text(self.fragment, self.defines, head),
        )


def mesh_program(kind: str, *, shadow: bool, basis: bool) -> ProgramFiles:
    """The program of one of materials.SHADER_KINDS. `shadow`: the key light's depth map is there;
    `basis`: the texture is summed from planes (MeshNodes)."""
    defines = (kind.upper(), *["SHADOW"] * shadow, *["BASIS"] * basis)
    if kind == "baked":
        return ProgramFiles(("baked.vert",), ("local_basis.glsl", "baked.frag"), defines)
    fragment = ("highlight.glsl", "local_basis.glsl", "lighting.glsl", f"{kind}.frag")
    return ProgramFiles(("highlight.glsl", "mesh.vert"), fragment, defines)


def shader_text(names: Sequence[str], defines: Sequence[str], head: str) -> str:
    """The files one after the other as one shader."""
    folder = files("render") / "shaders"
    text = "".join(f"#define {name}\n" for name in defines)
    return head + text + "\n".join((folder / n).read_text(encoding="utf-8") for n in names)
