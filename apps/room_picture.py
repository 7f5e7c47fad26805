"""People in a room in one flat picture: a tile each, the own avatar first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt

from apps.room_person import RoomPerson
from streams.clock import now_ns
from streams.image import Image
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.rigid import Rigid
from streams.view import View

UInt8 = npt.NDArray[np.uint8]

HEIGHT_M = 0.62
"""What a tile shows of somebody, from top to bottom, at their distance."""
FOLLOWED = 0.05
"""Share of the way that the view turns after a head with each picture."""
WALL = (38, 40, 44)


def tile_grid(count: int, size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """(x, y, width, height) of `count` tiles in a picture of `size`: the grid whose tiles are
    nearest to 4 : 3, rows from the top."""
    width, height = size

    def shape(columns: int) -> float:
        rows = math.ceil(count / columns)
        return abs(math.log((width / columns) / (height / rows) / (4 / 3)))

    columns = min(range(1, count + 1), key=shape)
    rows = math.ceil(count / columns)
    tiles = []
    for index in range(count):
        row, column = divmod(index, columns)
        x0, x1 = column * width // columns, (column + 1) * width // columns
        y0, y1 = row * height // rows, (row + 1) * height // rows
        tiles.append((x0, y0, x1 - x0, y1 - y0))
    return tiles


@dataclass(slots=True)
class _Framing:
    """Where a person's tile looks: from their own webcam's place to their head, slowly."""

    towards: npt.NDArray[np.float64] | None = None

    def view(self, head: Rigid | None, size: tuple[int, int], t_ns: int) -> View:
        if head is not None:
            place = head.xyz
            if self.towards is None:
                self.towards = np.array(place, np.float64)
            self.towards = self.towards + FOLLOWED * (place - self.towards)
        towards = np.array([0.0, 0.0, -0.6]) if self.towards is None else self.towards
        distance = max(float(np.linalg.norm(towards)), 0.2)
        up = math.atan(HEIGHT_M / 2 / distance)
        side = math.atan(math.tan(up) * size[0] / size[1])
        forward = towards / distance
        right = np.cross(forward, [0.0, 1.0, 0.0])
        right /= max(float(np.linalg.norm(right)), 1e-6)
        down = np.cross(forward, right)
        world_from_eye = Rigid.from_rotation(np.stack([right, down, forward], axis=1))
        return View(t_ns, "mono", world_from_eye, np.array([-side, side, up, -up]), size)


@dataclass(slots=True)
class RoomPicture:
    """Draws with `draw`, which reads pixels back. For the thread that owns OpenGL."""

    draw: Callable[[MeshTexture | MeshNodes, View, Sequence[Panel]], Image | None]
    framings: dict[RoomPerson, _Framing] = field(default_factory=dict)

    def picture(
        self,
        own: tuple[MeshTexture | MeshNodes, View, Sequence[Panel]] | None,
        people: Sequence[RoomPerson],
        size: tuple[int, int],
    ) -> UInt8:
        """(H, W, 3) uint8 sRGB of the own avatar, as its view sees it, and all others now."""
        out = np.empty((size[1], size[0], 3), np.uint8)
        out[:] = WALL
        tiles = tile_grid(len(people) + 1, size)
        self.framings = {p: self.framings.get(p, _Framing()) for p in people}
        if own is not None:
            mesh, view, panels = own
            _put(out, tiles[0], self.draw(mesh, _cropped(view, tiles[0][2:]), panels))
        for person, tile in zip(people, tiles[1:], strict=True):
            now = now_ns()
            code = person.moment(now)
            if code is None:
                continue
            view = self.framings[person].view(code.world_from_head, tile[2:], code.t_ns)
            seen = person.decoded(code, view, Rigid.identity())
            if seen is not None:
                _put(out, tile, self.draw(seen.mesh, view, ()))
        return out


def _put(out: UInt8, tile: tuple[int, int, int, int], image: Image | None) -> None:
    if image is None:
        raise ValueError("RoomPicture: expected a renderer that reads pixels back")
    x, y, width, height = tile
    rgb = image.rgba[..., :3]
    if rgb.shape[:2] != (height, width):
        rgb = np.asarray(cv2.resize(rgb, (width, height)), np.uint8)
    out[y : y + height, x : x + width] = rgb


def _cropped(view: View, size: tuple[int, int]) -> View:
    """The middle of a view, of another shape: as high as before, or as wide where that is less."""
    left, right, up, down = np.tan(view.fov)
    width, height = right - left, up - down
    wanted = size[0] / size[1]
    width, height = (
        (height * wanted, height) if wanted < width / height else (width, width / wanted)
    )
    x, y = (left + right) / 2, (up + down) / 2
    sides = [x - width / 2, x + width / 2, y + height / 2, y - height / 2]
    return replace(view, fov=np.arctan(np.array(sides)), size=size)
