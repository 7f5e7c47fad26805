"""How each part of a person answers to light. Both the shaders and the numpy twin read this."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streams.topology import PARTS

SHADER_KINDS = ("skin", "wet", "fibre", "cloth", "baked")
DRAW_ORDER = ("cloth", "skin", "eye", "teeth", "tongue", "hair", "lash", "glasses")
"""Cloth first, because it hides skin. Fibres and glasses last: they are blended over the rest.
Within a part, faces keep the topology's order."""


@dataclass(frozen=True, slots=True)
class Material:
    """Constants of one part. Roughness, occlusion, relief and opacity come from the surface map."""

    kind: str
    """Which fragment shader draws it: one of SHADER_KINDS."""
    wrap: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """How far light creeps past the terminator, a channel: 0 = Lambert. Red creeps furthest in
    skin, which is what makes it look soft (subsurface scattering)."""
    reflectance: float = 0.028
    """Specular reflectance at normal incidence."""
    gain: float = 1.0
    """Scales highlights."""
    bump: float = 1.0
    """Scales the relief of the surface map."""
    limb: float = 0.0
    """How much it darkens towards its rim (the eye ball's edge); of "baked": the cosine between
    normal and view from which it fades towards its rim, 0 = not at all."""

    def uniforms(self) -> dict[str, np.ndarray]:
        """The same as shader inputs."""
        material = (self.reflectance, self.gain, self.bump, self.limb)
        return {
            "wrap": np.array(self.wrap, np.float32),
            "material": np.array(material, np.float32),
        }


MATERIALS: dict[str, Material] = {
    "skin": Material("skin", wrap=(0.32, 0.14, 0.09), gain=0.85, bump=0.45),
    "eye": Material(
        "wet", wrap=(0.15, 0.10, 0.10), reflectance=0.028, gain=3.0, bump=0.0, limb=0.35
    ),
    "teeth": Material("wet", wrap=(0.30, 0.26, 0.22), reflectance=0.05, gain=0.7, bump=0.3),
    "tongue": Material("wet", wrap=(0.35, 0.15, 0.12), reflectance=0.035, gain=0.7, bump=1.0),
    "hair": Material("fibre", wrap=(0.30, 0.30, 0.30), reflectance=0.046, gain=1.0),
    "lash": Material("fibre", wrap=(0.30, 0.30, 0.30), reflectance=0.046, gain=0.15),
    "cloth": Material("cloth", wrap=(0.12, 0.12, 0.12), reflectance=0.04, gain=0.6, bump=1.0),
    "glasses": Material("baked"),  # their pictures are all of captures
}

BAKED = Material("baked")
"""Of a topology that is not lit: its texture holds the light of the capture."""
BAKED_HAIR = Material("baked", limb=0.22)
"""Hair that is a closed surface: single hairs leave its outline, so it has none that is sharp. A
sphere of a head's size fades over its outermost 3 millimetres; more, and a flat crown that is seen
along its slope would let the background through."""


def material_of(part: str, lit: bool) -> Material:
    """Of one of streams.topology.PARTS; `lit` as Topology.lit."""
    if lit:
        return MATERIALS[part]
    return BAKED_HAIR if part == "hair" else BAKED


_missing = set(PARTS) ^ set(MATERIALS)
if _missing:
    raise RuntimeError(f"render.materials: expected one material a part, differs in {_missing}")
