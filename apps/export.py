"""`visavis export`: an avatar as files that other programs read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from apps.usage import FailedError, UsageError

TEXTURES = (1024, 2048)
FORMATS = (".glb", ".gltf", ".obj", ".ply", ".onnx")


@dataclass(frozen=True, slots=True)
class Export:
    """Write an avatar for other programs: glTF with 52 blend shapes and texture, OBJ, PLY, ONNX."""

    avatar: tyro.conf.Positional[str]
    """default, amara, mei, walter, the name of an enrolled avatar, or a .visavis file."""
    out: Path
    """FILE.glb or FILE.gltf (blend shapes, texture, eyes that turn), FILE.obj (calm face and
    texture), FILE.ply (calm face, a colour a vertex), FILE.onnx (the decoder)."""
    texture: int = 1024
    """Texels on a side: 1024, or 2048 for programs that want it (enlarged: no more detail)."""

    half: bool = False
    """For .onnx: weights of half precision, in half the space."""

    def run(self) -> int:
        """0 when it is written."""
        ending = self.out.suffix.lower()
        if ending not in FORMATS:
            raise UsageError(f"--out {self.out}: expected a name that ends in {_listed(FORMATS)}")
        if self.texture not in TEXTURES:
            raise UsageError(f"--texture {self.texture}: expected {_listed(TEXTURES)}")
        if self.half and ending != ".onnx":
            raise UsageError(f"--half: expected with a name that ends in .onnx, got {self.out}")
        from apps.video_writer import check_writable

        check_writable(self.out)
        try:
            said = self._write_decoder() if ending == ".onnx" else self._write_head(ending)
        except OSError as error:
            why = error.strerror or error
            raise FailedError(f"{self.out}: cannot be written ({why})") from error
        print(f"wrote {self.out} ({self.out.stat().st_size / 2**20:.1f} MiB): {said}")
        return 0

    def _write_decoder(self) -> str:
        """What was written, in words."""
        from avatar.onnx_export import write_onnx

        precision = "float16" if self.half else "float32"
        try:
            write_onnx(self.avatar, self.out, precision)
        except ImportError as error:
            raise FailedError(str(error)) from error
        return f"{self.avatar}, its decoder, {precision} weights"

    def _write_head(self, ending: str) -> str:
        """What was written, in words."""
        from avatar.blend_shape_head import open_blend_shape_head

        head = open_blend_shape_head(self.avatar).textured(self.texture)
        size = f"{len(head.calm.vertices)} vertices, texture {self.texture} x {self.texture}"
        if ending in (".glb", ".gltf"):
            from avatar.gltf_file import write_gltf

            write_gltf(head, self.out)
            return f"{head.name}, {len(head.shapes)} blend shapes, {size}"
        from avatar.mesh_file import write_mesh

        write_mesh(head.calm, self.out)
        return f"{head.name}, calm, {size}"


def _listed(choices: tuple[object, ...]) -> str:
    return " or ".join(", ".join(str(c) for c in choices).rsplit(", ", 1))
