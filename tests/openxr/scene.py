"""What the scenarios show, and how what was drawn of it is read out of a runtime's images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.rigid import Rigid
from streams.topology import PARTS, Topology

SIZE = (320, 240)
BALL = np.array([0.05, 0.02, -0.6])
"""Metres: the middle of the ball that is drawn."""
BALL_RADIUS = 0.06
PANEL_ID = "note"


def ball() -> MeshTexture:
    """A red ball of skin at BALL."""
    polar, around = np.meshgrid(np.linspace(0, np.pi, 24), np.linspace(-np.pi, np.pi, 32))
    sine = np.sin(polar)
    normals = np.stack([sine * np.sin(around), np.cos(polar), sine * np.cos(around)], -1)
    corner = (np.arange(31)[:, None] * 24 + np.arange(23)).ravel()
    quads = np.stack([corner, corner + 1, corner + 25, corner + 24], axis=1)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    n = normals.reshape(-1, 3).astype(np.float32)
    uv = np.stack([around / (2 * np.pi) + 0.5, polar / np.pi], -1).reshape(-1, 2)
    surface = np.full((4, 4, 4), (128, 255, 128, 255), np.uint8)
    parts = np.full(len(n), PARTS.index("skin"), np.uint8)
    albedo = np.full((8, 8, 3), (220, 30, 20), np.uint8)
    return MeshTexture(
        0,
        Topology("ball", faces, uv.astype(np.float32), parts, surface),
        (n * BALL_RADIUS + BALL).astype(np.float32), n, albedo,
    )  # fmt: skip


def note() -> Panel:
    """A panel, green above and blue below, made by a model: it is shown with a label."""
    rgba = np.full((64, 96, 4), (20, 200, 40, 255), np.uint8)
    rgba[32:] = (20, 40, 220, 128)
    place = Rigid.from_translation((-0.25, 0.1, -0.7))
    return Panel(PANEL_ID, rgba, "world", place, (0.15, 0.1), generated_by="a model")


def read_texture(texture: int, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 4) uint8 as they lie in the texture, row 0 on top."""
    from OpenGL import GL

    pixels = np.empty((size[1], size[0], 4), np.uint8)
    with _attached(texture, GL.GL_COLOR_ATTACHMENT0):
        GL.glReadPixels(0, 0, *size, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, pixels)
    return pixels[::-1]


def read_depth(texture: int, size: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 metres, 0 where nothing is."""
    from OpenGL import GL

    from render.projection_matrix import metres_from_depth

    values = np.empty((size[1], size[0]), np.float32)
    with _attached(texture, GL.GL_DEPTH_ATTACHMENT):
        GL.glReadPixels(0, 0, *size, GL.GL_DEPTH_COMPONENT, GL.GL_FLOAT, values)
    return metres_from_depth(values[::-1])


@contextmanager
def _attached(texture: int, attachment: int) -> Iterator[None]:
    from OpenGL import GL

    framebuffer = int(GL.glGenFramebuffers(1))
    GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, framebuffer)
    GL.glFramebufferTexture2D(GL.GL_FRAMEBUFFER, attachment, GL.GL_TEXTURE_2D, texture, 0)
    GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
    yield
    GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, 0)
    GL.glDeleteFramebuffers(1, [framebuffer])
