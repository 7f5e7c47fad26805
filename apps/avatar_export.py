"""An avatar as a file that other programs read; returns what was written, in words."""

from __future__ import annotations

from pathlib import Path

from apps.usage import FailedError


def write_decoder(avatar: str, out: Path, half: bool) -> str:
    """`.onnx`. Raises FailedError without the extra."""
    from avatar.onnx_export import write_onnx

    precision = "float16" if half else "float32"
    try:
        write_onnx(avatar, out, precision)
    except ImportError as error:
        raise FailedError(str(error)) from error
    return f"{avatar}, its decoder, {precision} weights"


def write_head(avatar: str, out: Path, texture: int) -> str:
    """`.glb` and `.gltf` with blend shapes, `.obj` and `.ply` calm."""
    from avatar.blend_shape_head import open_blend_shape_head

    head = open_blend_shape_head(avatar).textured(texture)
    size = f"{len(head.calm.vertices)} vertices, texture {texture} x {texture}"
    if out.suffix.lower() in (".glb", ".gltf"):
        from avatar.gltf_file import write_gltf

        write_gltf(head, out)
        return f"{head.name}, {len(head.shapes)} blend shapes, {size}"
    from avatar.mesh_file import write_mesh

    write_mesh(head.calm, out)
    return f"{head.name}, calm, {size}"
