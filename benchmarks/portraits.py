"""Draw the people that ship, side by side: `python -m benchmarks.portraits OUT.png`.

The upper row looks into the camera, the lower one talks, smiles, looks away. This is the README's
picture, and the first thing to look at after a change to the skin, the codec or the renderer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import tyro
from PIL import Image

from avatar.codec import Avatar
from avatar.eye_balls import gaze_from_angles
from render.renderer import RenderOptions, open_renderer
from streams.camera import Camera
from streams.face_shapes import SHAPE_INDEX
from streams.rigid import Rigid
from streams.tracked_state import FacePose, TrackedState
from streams.view import View

PEOPLE = ("default", "amara", "mei", "walter")
Moment = tuple[dict[str, float], tuple[float, float], tuple[float, float, float]]
"""Shapes, gaze (yaw, pitch) in radians, head rotation vector."""
MOMENTS: dict[str, list[Moment]] = {
    "calm": [({"mouthSmile": 0.15}, (0.0, 0.0), (0.0, 0.0, 0.0))] * 4,
    "moved": [
        ({"jawOpen": 0.35, "mouthSmile": 0.5, "cheekSquint": 0.3}, (0.1, 0.0), (0.05, 0.35, 0.0)),
        ({"mouthSmile": 0.75, "cheekSquint": 0.5, "eyeSquint": 0.3, "jawOpen": 0.12},
         (-0.1, 0.0), (0.0, -0.3, 0.06)),
        ({"browInnerUp": 0.8, "browOuterUp": 0.6, "eyeWide": 0.4, "jawOpen": 0.25},
         (0.3, 0.1), (-0.1, 0.2, 0.0)),
        ({"browDown": 0.6, "eyeSquint": 0.3, "mouthPress": 0.3}, (-0.3, -0.1), (0.1, -0.4, 0.0)),
    ],
}  # fmt: skip


def portrait(
    avatar: Avatar,
    shapes: dict[str, float],
    gaze_rad: tuple[float, float],
    rotvec: tuple[float, float, float],
) -> TrackedState:
    """One moment in front of the camera; paired shapes are given without their side."""
    weights = np.zeros(52, np.float32)
    for name, value in shapes.items():
        for key in (name, f"{name}Left", f"{name}Right"):
            if key in SHAPE_INDEX:
                weights[SHAPE_INDEX[key]] = value
    face = FacePose(
        blendshapes=weights,
        landmarks=np.zeros((478, 3), np.float32),
        gaze=gaze_from_angles(np.array([gaze_rad, gaze_rad])),
        world_from_head=Rigid.from_rotvec(rotvec, (0.0, 0.035, -0.62)),
        confidence=1.0,
    )
    return TrackedState(0, "portrait", face)


def main(out: Path, size: int = 400) -> None:
    """Write the picture."""
    view = View.from_camera(Camera.from_fov((size, size), np.deg2rad(40.0)))
    rows: list[list[npt.NDArray[np.uint8]]] = [[] for _ in MOMENTS]
    with open_renderer("gl", RenderOptions(depth=False, antialias="supersample")) as renderer:
        for column, name in enumerate(PEOPLE):
            with Avatar.open(name) as avatar:
                for row, moments in zip(rows, MOMENTS.values(), strict=True):
                    code = avatar.encode(portrait(avatar, *moments[column]))
                    row.append(renderer.draw(avatar.decode(code, view), view).rgba[..., :3])
    picture = np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)
    Image.fromarray(picture).save(out, optimize=True)
    print(f"wrote {out}")


if __name__ == "__main__":
    tyro.cli(main)
