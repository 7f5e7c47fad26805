"""The seam of this package: what a renderer does, and how to get one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from render.environment import Environment
from streams.array_contract import require_choice
from streams.image import Image
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.view import View

ANTIALIAS = ("auto", "msaa", "supersample", "outline", "none")
LARGEST_SIDE = 4096
"""Pixels; a view beyond this is refused."""


@dataclass(frozen=True, slots=True)
class Foveation:
    """Detail where the eye looks, less beyond; for `MeshNodes`, which are summed pixel by pixel."""

    centre: tuple[float, float] = (0.5, 0.5)
    """Of the picture's width and height, from its top left."""
    radius: float = 0.25
    """Of the picture's height; inside, every plane is summed."""
    planes_outside: int = 4
    """How many planes are summed outside; a multiple of 4, 0 for the mean alone."""

    def __post_init__(self) -> None:
        if self.planes_outside < 0 or self.planes_outside % 4:
            raise ValueError(
                f"Foveation.planes_outside: expected 0, 4, 8, ..., got {self.planes_outside}"
            )


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How pictures are drawn."""

    antialias: str = "auto"
    """"msaa": 4 samples a pixel, the usual way on a graphics card. "outline": smooth lines over the
    edges of the mesh (which grows by half a pixel), for a software OpenGL, where samples cost
    more than the picture itself.
    "supersample": twice as many pixels each way, the slowest and smoothest. "none": jagged.
    "auto": "msaa" on a graphics card, "outline" on a software OpenGL."""
    shadows: bool = True
    """Whether the key light casts shadows."""
    depth: bool = True
    """Whether `Image.depth` is read back; without it the depth is 0 everywhere."""
    foveation: Foveation | None = None
    """None: every pixel in full."""
    environment: Environment = field(default_factory=Environment.studio)

    def __post_init__(self) -> None:
        require_choice("RenderOptions.antialias", self.antialias, ANTIALIAS)


class Renderer(Protocol):
    """Draws one view of one mesh and its panels."""

    def draw(
        self, mesh: MeshTexture | MeshNodes, view: View, panels: Sequence[Panel] = ()
    ) -> Image:
        """`mesh` and `panels` (anchored to "world") as `view` sees them, before a studio wall.

        The texture of MeshNodes is summed where it is seen. An empty mesh gives the wall and the
        panels. Raises ValueError for a mesh with NaN, a panel that is not anchored to the world, or
        a view beyond 4096 pixels.
        """
        ...

    def release(self) -> None:
        """Give back everything; a second call does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_renderer(name: str = "gl", options: RenderOptions | None = None) -> Renderer:
    """The renderer "gl" (OpenGL, needs no display) or "reference" (numpy: exact and slow).

    Raises ValueError for another name and RuntimeError when there is no OpenGL.
    """
    chosen = options or RenderOptions()
    if name == "gl":
        from render.gl_context import open_headless_context

        context = open_headless_context()
        from render.gl_renderer import GlRenderer

        return GlRenderer(context, chosen)
    elif name == "reference":
        from render.reference import ReferenceRenderer

        return ReferenceRenderer(chosen)
    else:
        raise ValueError(f"open_renderer: expected 'gl' or 'reference', got {name!r}")


def require_drawable(mesh: MeshTexture | MeshNodes, view: View, panels: Sequence[Panel]) -> None:
    """Raise ValueError unless every renderer can draw this."""
    if max(view.size) > LARGEST_SIDE:
        raise ValueError(
            f"Renderer.draw: expected a view of at most {LARGEST_SIDE} pixels a side, "
            f"got {view.size[0]}x{view.size[1]}"
        )
    for panel in panels:
        if panel.anchor != "world":
            raise ValueError(
                f"Renderer.draw: expected panels anchored to 'world', got {panel.anchor!r} for "
                f"{panel.id!r}; resolve them with overlay.place_panels"
            )
    # A sum is NaN or infinite when any number in it is, and costs far less than a full check.
    for field_name, values in (("vertices", mesh.vertices), ("normals", mesh.normals)):
        with np.errstate(invalid="ignore", over="ignore"):
            total = values.sum()
        if not np.isfinite(total):
            bad = int((~np.isfinite(values).all(axis=1)).sum())
            raise ValueError(
                f"Renderer.draw: expected finite MeshTexture.{field_name}, "
                f"got NaN or infinity in {bad} of {len(values)} rows"
            )
    if isinstance(mesh, MeshTexture) and 0 in mesh.albedo.shape and len(mesh.topology.faces):
        raise ValueError(f"Renderer.draw: expected a texture, got albedo {mesh.albedo.shape}")
