"""The data sets' losses in the picture: what a codec gives, drawn over what the dome's camera took.

Ava-256's main loss and Multiface's screen loss are taken there. Ava-256's decoder paints the
background as well, which a mesh does not, so only pixels that the mesh covers are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch

from avatar.datasets.losses import ava256_rgb, multiface_screen
from avatar.datasets.registered_capture import RegisteredMoment
from avatar.datasets.registered_topology import RegisteredTopology
from avatar.smooth_normals import SmoothNormals
from render.renderer import Renderer
from streams.camera import Camera
from streams.mesh_texture import MeshTexture
from streams.projection import undistort
from streams.rigid import Rigid
from streams.topology import Topology
from streams.view import View

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Repeat = Callable[[RegisteredMoment], tuple[Float32, UInt8]]
"""A moment through a codec and back: vertices (V, 3) metres, head frame, and texture (H, W, 3)."""
Raw = Callable[[npt.NDArray[np.generic]], npt.NDArray[np.float64]]
"""From sRGB code values to those in which the data set measures."""


class PicturedCapture(Protocol):
    """`MultifaceCapture` or `Ava256Capture`."""

    topology: RegisteredTopology
    cameras: dict[str, Camera]

    def __getitem__(self, index: int) -> RegisteredMoment: ...

    def world_from_head(self, index: int) -> Rigid:
        """At this moment."""
        ...

    def picture(self, index: int) -> UInt8:
        """(height, width, 3) what the camera took."""
        ...


@dataclass(frozen=True, slots=True)
class ScreenFigures:
    """Means over pictures."""

    pictures: int
    rgb: float
    """Ava-256's: mean absolute error, code values."""
    screen: float
    """Multiface's: mean squared error in deviations of the texture, over the whole picture, in
    which what the mesh does not cover counts as 0."""
    covered: float
    """Share of the pictures' pixels that the mesh covers."""

    def __str__(self) -> str:
        return (
            f"in {self.pictures} pictures: Ava-256's rgb {self.rgb:.2f}, "
            f"Multiface's screen {self.screen:.4f} (mesh on {self.covered:.0%} of the pixels)"
        )


class DomeScreen:
    """Draws a capture's mesh as its cameras see it, lenses included."""

    def __init__(self, topology: RegisteredTopology, renderer: Renderer) -> None:
        """`renderer` with depth and without shadows; it stays its owner's."""
        count = len(topology.uv)
        surface = np.full((1, 1, 4), (255, 255, 128, 255), np.uint8)
        self._topology = Topology(
            "capture", topology.faces, topology.uv, np.zeros(count, np.uint8), surface, lit=False
        )
        self._normals = SmoothNormals(topology.faces, topology.rows, np.arange(count))
        self._renderer = renderer
        self._lenses: dict[str, tuple[Float32, Float32] | None] = {}

    def draw(
        self, vertices: Float32, texture: UInt8, camera: Camera, world_from_head: Rigid
    ) -> tuple[UInt8, npt.NDArray[np.bool_]]:
        """(height, width, 3), and where the mesh is (height, width)."""
        normals = self._normals.of(vertices)
        normals[~normals.any(1)] = (0.0, 0.0, 1.0)  # of no triangle
        mesh = MeshTexture(
            0,
            self._topology,
            world_from_head.apply(vertices).astype(np.float32),
            world_from_head.rotate(normals).astype(np.float32),
            np.ascontiguousarray(texture),
        )
        image = self._renderer.draw(mesh, View.from_camera(camera))
        drawn, depth = image.rgba[..., :3], image.depth
        lens = self._lens(camera)
        if lens is None:
            return np.ascontiguousarray(drawn), depth > 0
        there = cv2.remap((depth > 0).astype(np.uint8), *lens, cv2.INTER_NEAREST)
        return np.asarray(cv2.remap(drawn, *lens, cv2.INTER_LINEAR), np.uint8), there > 0

    def _lens(self, camera: Camera) -> tuple[Float32, Float32] | None:
        """For every pixel of the real picture the place in the one that a pinhole draws."""
        if camera.name not in self._lenses:
            self._lenses[camera.name] = None
            if camera.distortion.model != "none":
                width, height = camera.size
                x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height))
                bent = (np.stack([x, y], axis=-1) - camera.centre) / camera.focal
                places = undistort(camera.distortion, bent) * camera.focal + camera.centre
                xy = places.astype(np.float32)
                self._lenses[camera.name] = (xy[..., 0].copy(), xy[..., 1].copy())
        return self._lenses[camera.name]


def screen_losses(
    capture: PicturedCapture,
    rows: Iterable[int],
    repeat: Repeat,
    renderer: Renderer,
    texture_std: float,
    raw: Raw | None = None,
) -> ScreenFigures:
    """Over the moments `rows`; `texture_std` in the values that `raw` gives (the capture's
    `normalisation`). Raises DatasetError for a damaged file, ValueError when no pixel is covered.
    """
    screen = DomeScreen(capture.topology, renderer)
    sums, pictures = np.zeros(3), 0
    for row in rows:
        moment = capture[row]
        camera = capture.cameras[moment.camera]
        vertices, texture = repeat(moment)
        drawn, there = screen.draw(vertices, texture, camera, capture.world_from_head(row))
        if not there.any():
            continue
        taken = capture.picture(row)
        found, truth = (
            torch.from_numpy(np.asarray(one if raw is None else raw(one), np.float64))
            for one in (drawn, taken)
        )
        weight = torch.from_numpy(there[..., None].astype(np.float64))
        mask = torch.from_numpy(there)
        rgb = ava256_rgb(found[mask], truth[mask])
        sums += (float(rgb), float(multiface_screen(found, truth, weight, texture_std)),
                 there.mean())  # fmt: skip
        pictures += 1
    if not pictures:
        raise ValueError("screen_losses: expected the mesh in some picture, found it in none")
    return ScreenFigures(pictures, *(float(x) for x in sums / pictures))
