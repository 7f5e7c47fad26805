"""`visavis preview --debug-3d`: the decoded mesh in space, with what was tracked drawn into it.

Open3D's viewer, to be turned and zoomed with the mouse: the avatar's mesh, the 478 landmarks, both
hands' joints and bones, the gaze of each eye, the camera's pyramid and the world's axes. Without a
display the last moment is written as a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from apps.display import has_display
from apps.pacing import PacedSource
from apps.pipeline import Drawn, Pipeline, PipelineOptions
from apps.preview_stages import open_source_of, open_stages
from apps.usage import FailedError
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.tracked_state import TrackedState
from streams.view import View

if TYPE_CHECKING:
    from apps.preview_options import PreviewOptions

Float = npt.NDArray[np.float64]

POLL_S = 0.02
SIZE = (960, 720)
SNAPSHOT_FRAMES = 30
"""So many frames are processed before a picture is taken, so that tracking has settled."""
PYRAMID_M = 0.15
GAZE_M = 0.12
COLOURS = {"skin": 0.72, "eye": 0.95, "teeth": 0.9, "tongue": 0.5, "hair": 0.25, "lash": 0.1}
"""Grey of a part in the debug view; cloth and the rest are 0.4."""

FINGER_BONES = tuple(
    (0 if k == 0 else base + k - 1, base + k) for base in (1, 5, 9, 13, 17) for k in range(4)
)
"""Pairs of MediaPipe's 21 joints."""


def show_debug(preview: PreviewOptions, picture: Path = Path("debug-3d.png")) -> str:
    """Show until the window is closed or the source ends; return what to tell the user.

    Raises FailedError when Open3D can open neither a window nor an off-screen picture.
    """
    scene = _Scene()
    with open_source_of(preview) as opened:
        source = opened if opened.live or not scene.visible else PacedSource(opened)
        # Instead of a renderer the scene takes each mesh, in this thread.
        with (
            source,
            open_stages(preview, source, scene.take) as stages,
            Pipeline(
                stages,
                PipelineOptions(lossless=not scene.visible),
            ) as pipeline,
        ):
            shown = 0
            while not pipeline.ended:
                drawn = pipeline.poll(POLL_S)
                if drawn is not None:
                    scene.update(drawn)
                    shown += 1
                if not scene.alive():
                    break
                if not scene.visible and shown >= SNAPSHOT_FRAMES:
                    break
    if scene.visible:
        scene.close()
        return f"showed {shown} frames in 3D"
    scene.save(picture)
    scene.close()
    return f"there is no display: wrote {picture}, the 3D view of frame {shown}"


class _Scene:
    """Open3D's viewer and what is in it."""

    def __init__(self) -> None:
        import open3d as o3d

        self._o3d = o3d
        self._mesh: MeshTexture | None = None
        self._viewer = o3d.visualization.Visualizer()
        self.visible = has_display()
        if not self._viewer.create_window("Visavis 3D", *SIZE, visible=self.visible):
            raise FailedError(
                "Open3D could open no 3D view; run `visavis doctor` to see what OpenGL offers"
            )
        self._placed = False

    def take(self, mesh: MeshTexture, view: View, panels: Sequence[Panel] = ()) -> None:
        """In a renderer's place: keep what is to be shown by the next `update`."""
        del view, panels
        self._mesh = mesh

    def update(self, drawn: Drawn) -> None:
        """Put one moment into the view."""
        self._viewer.clear_geometries()
        for shape in self._shapes(self._mesh, drawn.state, drawn.view):
            self._viewer.add_geometry(shape, reset_bounding_box=not self._placed)
        if not self._placed and drawn.state.face is not None:
            head = drawn.state.face.world_from_head.xyz
            control = self._viewer.get_view_control()
            control.set_lookat(head)
            control.set_front([0.55, 0.25, 0.8])
            control.set_up([0.0, 1.0, 0.0])
            control.set_zoom(0.45)
            self._placed = True

    def alive(self) -> bool:
        """False when the user has closed the window."""
        alive = self._viewer.poll_events()
        self._viewer.update_renderer()
        return bool(alive) or not self.visible

    def save(self, path: Path) -> None:
        """Write the view as a PNG. Raises FailedError."""
        from PIL import Image

        pixels = np.asarray(self._viewer.capture_screen_float_buffer(do_render=True))
        try:
            Image.fromarray(np.round(pixels * 255).astype(np.uint8)).save(path)
        except OSError as error:
            raise FailedError(
                f"{path}: {error.strerror or error}; choose another folder"
            ) from error

    def close(self) -> None:
        """Release the window."""
        self._viewer.destroy_window()

    def _shapes(self, mesh: MeshTexture | None, state: TrackedState, view: View) -> list[Any]:
        o3d = self._o3d
        shapes: list[Any] = [o3d.geometry.TriangleMesh.create_coordinate_frame(0.1)]
        shapes.append(self._lines(*_pyramid(view), (0.1, 0.4, 0.9)))
        if mesh is not None and len(mesh.topology.faces):
            solid = o3d.geometry.TriangleMesh(
                o3d.utility.Vector3dVector(mesh.vertices.astype(np.float64)),
                o3d.utility.Vector3iVector(mesh.topology.faces.copy()),
            )
            solid.vertex_colors = o3d.utility.Vector3dVector(_shaded(mesh))
            shapes.append(solid)
        if state.face is not None:
            face = state.face
            points = np.asarray(face.world_from_head.apply(face.landmarks), np.float64)
            cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
            cloud.paint_uniform_color((0.0, 0.75, 0.3))
            shapes.append(cloud)
            eyes = np.stack([points[473], points[468]])  # the irises' middles, left first
            ahead = np.asarray(face.world_from_head.rotate(face.gaze), np.float64) * GAZE_M
            pairs = np.array([[0, 2], [1, 3]])
            shapes.append(self._lines(np.concatenate([eyes, eyes + ahead]), pairs, (0.9, 0.2, 0.1)))
        for hand in state.hands:
            colour = (0.95, 0.55, 0.1) if hand.side == "left" else (0.6, 0.2, 0.8)
            joints = hand.joints.astype(np.float64)
            shapes.append(self._lines(joints, np.array(FINGER_BONES), colour))
        return shapes

    def _lines(
        self, points: Float, pairs: npt.NDArray[np.integer], colour: tuple[float, float, float]
    ) -> Any:
        o3d = self._o3d
        lines = o3d.geometry.LineSet(
            o3d.utility.Vector3dVector(points), o3d.utility.Vector2iVector(pairs.astype(np.int32))
        )
        lines.paint_uniform_color(colour)
        return lines


def _shaded(mesh: MeshTexture) -> Float:
    """(V, 3) grey by part, lit from above: Open3D's off-screen view has no light of its own."""
    from streams.topology import PARTS

    grey = np.array([COLOURS.get(part, 0.4) for part in PARTS])[mesh.topology.parts]
    towards = np.array([0.3, 0.6, 0.74])
    light = 0.35 + 0.65 * np.clip(mesh.normals.astype(np.float64) @ towards, 0.0, 1.0)
    return np.repeat((grey * light)[:, None], 3, axis=1)


def _pyramid(view: View) -> tuple[Float, npt.NDArray[np.int64]]:
    """The camera's centre and the corners of its picture at PYRAMID_M, and the edges."""
    left, right, up, down = np.tan(view.fov)
    corners = np.array(
        [[0, 0, 0], [left, -up, 1], [right, -up, 1], [right, -down, 1], [left, -down, 1]]
    )
    points = np.asarray(view.world_from_eye.apply(corners * PYRAMID_M), np.float64)
    edges = [[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [2, 3], [3, 4], [4, 1]]
    return points, np.array(edges)
