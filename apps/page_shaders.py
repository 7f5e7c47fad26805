"""What the page in the headset's browser needs of the renderer, so that both shade alike.

The shaders are the files in render/shaders, joined for GLSL ES 3.00 by the same function that joins
them for the desktop; lights, materials and constants go as one JSON beside them.
"""

from __future__ import annotations

import json
from typing import Any

from render.background import WALL_BRIGHT, WALL_DARK
from render.environment import Environment
from render.materials import DRAW_ORDER, SHADER_KINDS, material_of
from render.projection_matrix import PENUMBRA_M, SHADOW_BIAS_M, SHADOW_MARGIN_M, SHADOW_TEXELS
from render.relief import HEIGHT_RANGE_M, STEEPEST
from render.shader_text import WEBGL2, ProgramFiles, mesh_program
from streams.topology import PARTS

FOLDER = "/shaders/"
STUDIO = FOLDER + "studio.json"
_GLSL, _JSON = "text/plain", "application/json"


def page_shaders(environment: Environment | None = None) -> dict[str, tuple[bytes, str]]:
    """Path -> (content, media type) of what the page fetches; `environment`: default the studio.

    A program NAME is /shaders/NAME.vert and .frag: one of SHADER_KINDS, followed by "-shadow"
    and "-basis" as `mesh_program` has them, or "shadow" or "background". /shaders/studio.json holds
    the uniforms.
    """
    files: dict[str, tuple[bytes, str]] = {}
    for name, program in _programs().items():
        for ending, text in zip(("vert", "frag"), program.texts(WEBGL2), strict=True):
            files[f"{FOLDER}{name}.{ending}"] = (text.encode(), _GLSL)
    studio = json.dumps(_studio(environment or Environment.studio()))
    files[STUDIO] = (studio.encode(), _JSON)
    return files


def _programs() -> dict[str, ProgramFiles]:
    programs = {
        "shadow": ProgramFiles(("shadow.vert",), ("shadow.frag",)),
        "background": ProgramFiles(("background.vert",), ("background.frag",)),
    }
    for kind in SHADER_KINDS:
        for shadow in (False, True):
            for basis in (False, True):
                name = kind + "-shadow" * shadow + "-basis" * basis
                programs[name] = mesh_program(kind, shadow=shadow, basis=basis)
    return programs


def _studio(environment: Environment) -> dict[str, Any]:
    """Everything but the texts. Matrices are symmetric, so their order does not matter."""
    return {
        "uniforms": {
            "surround": environment.irradiance_matrices().ravel().tolist(),
            "light_frame": environment.light_frames().ravel().tolist(),
            "light_colour": environment.light_colours().ravel().tolist(),
            "light_radiance": environment.light_radiances().ravel().tolist(),
        },
        "wall": {"wall_bright": WALL_BRIGHT, "wall_dark": WALL_DARK},
        "key": environment.lights[0].towards if environment.lights else None,
        "parts": PARTS,
        "order": DRAW_ORDER,
        "materials": {
            "lit": {part: _material(part, lit=True) for part in PARTS},
            "baked": {part: _material(part, lit=False) for part in PARTS},
        },
        "relief": {"range_m": HEIGHT_RANGE_M, "steepest": STEEPEST},
        "shadow": {
            "texels": SHADOW_TEXELS,
            "penumbra_m": PENUMBRA_M,
            "margin_m": SHADOW_MARGIN_M,
            "bias_m": SHADOW_BIAS_M,
        },
    }


def _material(part: str, *, lit: bool) -> dict[str, Any]:
    material = material_of(part, lit)
    values = {name: value.tolist() for name, value in material.uniforms().items()}
    return {"kind": material.kind, **values}
