"""The registered real face: seen by its dome's cameras, and as our own head.

    python -m benchmarks.registered_face FOLDER OUT.png

FOLDER holds what the ava-256 repository publishes as `assets`: a frame's vertices (021924.bin), its
mean texture (021924_avgtex.png), face_topology.obj and KRT. OUT.png has a column for each of six
cameras; from above: the face with its mean texture, its shape, our template fitted to it, how far
each of its vertices lies from ours (blue 0, green 0.5, red 1 mm and more), and our head wearing the
texture. The picture shows a
real person: look at it, do not publish it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tyro
from PIL import Image

from avatar.datasets.capture_files import file_bytes, picture, raw_vertices
from avatar.datasets.dome_cameras import read_krt
from avatar.datasets.multiface import PICTURE_SIZE
from avatar.datasets.raw_colour import display_from_raw
from avatar.datasets.registered_topology import RegisteredTopology, read_topology
from avatar.enrolment.surface_fit import (
    SurfaceFit,
    fit_surface,
    marks_on_surface,
    near_landmarks,
    surface_distances,
)
from avatar.enrolment.texture_transfer import TexturedScan, transferred_texture
from avatar.head_mesh import HeadMesh
from avatar.landmark_map import COUNT, LandmarkMap
from avatar.personal_atlas import LEFT_OUT, personal_uv
from avatar.picture_encoder import template_faces
from avatar.smooth_normals import SmoothNormals
from render.renderer import Renderer, RenderOptions, open_renderer
from streams.camera import Camera
from streams.frame import Frame
from streams.mesh_texture import MeshTexture
from streams.rigid import Rigid
from streams.topology import Topology
from streams.view import View
from tracking.tracker import Tracker, TrackerOptions

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]

CAMERAS = ("400029", "400015", "400053", "400050", "400031", "400007")
"""Front, a little aside, the person's left and right, above, below."""
GREY = np.full((2, 2, 3), 190, np.uint8)
RED_MM = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class RegisteredFace:
    """One moment."""

    cameras: dict[str, Camera]
    topology: RegisteredTopology
    vertices: Float32
    """(V, 3) metres, head frame of the data set."""
    texture: UInt8
    """(1024, 1024, 3) sRGB."""
    world_from_head: Rigid
    """Not published with it: where the cameras look, the face towards the central one."""

    @staticmethod
    def open(folder: Path) -> RegisteredFace:
        """Raises DatasetError (a ValueError) naming the file that is missing or damaged."""
        cameras = read_krt(folder / "KRT", PICTURE_SIZE)
        topology = read_topology(folder / "face_topology.obj")
        mesh, mean = folder / "021924.bin", folder / "021924_avgtex.png"
        vertices = raw_vertices(file_bytes(mesh), str(mesh))
        texture = display_from_raw(picture(file_bytes(mean), str(mean)))
        place = Rigid.from_translation(looked_at(list(cameras.values())))
        return RegisteredFace(cameras, topology, topology.spread(vertices), texture, place)

    @property
    def surface(self) -> tuple[Array, npt.NDArray[np.int32]]:
        """Vertices (count, 3) and triangles, not cut along the texture's seams."""
        vertices = self.vertices[: self.topology.count].astype(np.float64)
        return vertices, self.topology.rows[self.topology.faces]

    def textured(self, placed: Rigid) -> MeshTexture:
        """The face with its own colours."""
        mesh = self.topology
        return _mesh(self.vertices, mesh.faces, mesh.rows, mesh.uv, self.texture, placed, lit=False)


def looked_at(cameras: list[Camera]) -> Array:
    """(3,) the point nearest to all optical axes, metres, world."""
    system, right = np.zeros((3, 3)), np.zeros(3)
    for camera in cameras:
        axis = camera.world_from_camera.rotation()[:, 2]
        across = np.eye(3) - np.outer(axis, axis)
        system += across
        right += across @ camera.world_from_camera.xyz
    return np.asarray(np.linalg.solve(system, right), np.float64)


def tracked_marks(face: RegisteredFace, renderer: Renderer) -> Array:
    """(468, 3) metres: the landmarks that our tracker sees in our drawing, brought on the mesh.

    Raises ValueError when it sees no face.
    """
    camera = Camera.from_fov((640, 640), 0.45)
    placed = Rigid.from_translation((0.0, 0.0, -1.0))
    drawn = renderer.draw(face.textured(placed), View.from_camera(camera)).rgba
    with Tracker.open(TrackerOptions(hands=0)) as tracker:
        state = tracker.track(Frame(0, 0, camera, np.ascontiguousarray(drawn[..., :3])))
    if state.face is None:
        raise ValueError("registered face: the tracker sees no face in the drawing")
    marks = state.face.world_from_head.apply(state.face.landmarks[:COUNT].astype(np.float64))
    mesh_from_world = placed.inverse()
    eye = mesh_from_world.apply(camera.world_from_camera.xyz)
    return marks_on_surface(*face.surface, eye, mesh_from_world.apply(marks))


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The face as our head, and how far it is from the truth."""

    fit: SurfaceFit
    away_mm: Array
    """(n,) millimetres from each vertex of the mesh that lies on a triangle to our surface."""
    used: npt.NDArray[np.intp]
    """(n,) which vertices these are."""
    of_face: npt.NDArray[np.bool_]
    """(n,) whether a vertex belongs to the face, that is, lies near a landmark."""

    @staticmethod
    def of(face: RegisteredFace, marks: Array, head: HeadMesh) -> Fitted:
        """Against our surface as an avatar file stores it."""
        vertices, faces = face.surface
        fit = fit_surface(head, LandmarkMap.open(), vertices, faces, marks)
        used = np.unique(faces).astype(np.intp)
        points = np.asarray(fit.head_from_scan.apply(vertices[used]))
        away = 1e3 * surface_distances(*fit.surface(head), points)
        return Fitted(fit, away, used, near_landmarks(vertices[used], marks))

    def figures(self) -> str:
        """For people."""
        lines = []
        for name, mm in (("face", self.away_mm[self.of_face]), ("whole mesh", self.away_mm)):
            p95, p99 = np.percentile(mm, [95, 99])
            lines.append(
                f"{name}: {len(mm)} vertices, mean {mm.mean():.3f} mm, p95 {p95:.3f}, "
                f"p99 {p99:.3f}, max {mm.max():.2f}"
            )
        return "\n".join(lines)


def _mesh(
    vertices: npt.NDArray[np.floating],
    faces: npt.NDArray[np.int32],
    weld: npt.NDArray[np.int32],
    uv: Float32,
    albedo: UInt8,
    placed: Rigid,
    lit: bool,
) -> MeshTexture:
    vertices = vertices.astype(np.float32)
    normals = SmoothNormals(faces, weld, np.arange(len(vertices))).of(vertices)
    normals[~normals.any(1)] = (0.0, 0.0, 1.0)  # of no triangle
    surface = np.full((1, 1, 4), (128, 255, 128, 255), np.uint8)
    parts = np.zeros(len(vertices), np.uint8)
    topology = Topology("registered", faces, uv, parts, surface, lit)
    placed_normals = placed.rotate(normals).astype(np.float32)
    return MeshTexture(
        0, topology, placed.apply(vertices).astype(np.float32), placed_normals, albedo
    )


def contact_sheet(face: RegisteredFace, fitted: Fitted, head: HeadMesh, height: int) -> UInt8:
    """Rows: textured, shape, our shape, distance, ours textured; columns: CAMERAS."""
    placed = face.world_from_head
    vertices, faces = face.surface
    middle = np.full((len(vertices), 2), 0.5, np.float32)
    own = np.arange(len(vertices), dtype=np.int32)
    share = np.full(len(vertices), 0.5, np.float32)
    share[fitted.used] = np.clip(fitted.away_mm / RED_MM, 0.01, 0.99)
    heat = np.stack([share, middle[:, 1]], axis=1)
    t = np.linspace(0.0, 1.0, 256)
    ramp = np.stack([t, 1.0 - np.abs(2.0 * t - 1.0), 1.0 - t], axis=1)[None].repeat(2, axis=0)
    ours, our_faces = fitted.fit.surface(head)
    weld = head.weld[: head.template_size]
    at = placed @ fitted.fit.head_from_scan.inverse()
    in_head = np.asarray(fitted.fit.head_from_scan.apply(face.vertices))
    worn = transferred_texture(
        head, ours, TexturedScan(in_head, face.topology.faces, face.topology.uv, face.texture)
    )
    whole = template_faces(head)
    whole = whole[~np.isin(head.regions[whole[:, 0]], LEFT_OUT)]
    meshes = (
        face.textured(placed),
        _mesh(vertices, faces, own, middle, GREY, placed, lit=True),
        _mesh(ours, our_faces, weld, np.full((len(ours), 2), 0.5, np.float32), GREY, at, lit=True),
        _mesh(vertices, faces, own, heat, (255 * ramp).astype(np.uint8), placed, lit=False),
        _mesh(ours, whole, weld, personal_uv(head), worn, at, lit=False),
    )
    size = (round(height * PICTURE_SIZE[0] / PICTURE_SIZE[1]), height)
    views = [View.from_camera(face.cameras[name], size=size) for name in CAMERAS]
    options = RenderOptions(depth=False, antialias="supersample", shadows=False)
    with open_renderer("gl", options) as renderer:
        rows = [
            np.concatenate([renderer.draw(mesh, view).rgba[..., :3] for view in views], axis=1)
            for mesh in meshes
        ]
    return np.concatenate(rows)


def main(
    folder: tyro.conf.Positional[Path], out: tyro.conf.Positional[Path], height: int = 384
) -> None:
    """Fit, print the figures, write the picture."""
    face, head = RegisteredFace.open(folder), HeadMesh.open("default")
    with open_renderer("gl", RenderOptions(depth=False, shadows=False)) as renderer:
        marks = tracked_marks(face, renderer)
    fitted = Fitted.of(face, marks, head)
    print(fitted.figures())
    Image.fromarray(contact_sheet(face, fitted, head, height)).save(out, optimize=True)
    print(f"wrote {out}")


if __name__ == "__main__":
    tyro.cli(main)
