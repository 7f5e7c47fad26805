"""Where exactly a face lies in a picture: its geometry numbers moved until the picture that is
expected of it and the one that is seen agree.

Landmarks tell where a face is to a pixel; skin, brows and lips say it to a fraction of one. From
the tracked numbers a Gauss-Newton step leads to those at which brightness is explained best
(Lucas and Kanade 1981; the face as Matthews and Baker 2004, "Active Appearance Models Revisited"),
held back by how far the surface would move. Only the numbers move, never the head's pose.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse

from avatar.head_mesh import HeadMesh
from avatar.head_placement import moving_vertices
from avatar.personal_atlas import face_texels
from avatar.personal_model import PersonalModel
from avatar.smooth_normals import SmoothNormals
from avatar.unwrapping import GRAZING, SQUARE_ON, TexelTable
from streams.camera import Camera
from streams.frame import Frame
from streams.projection import project
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

TEXELS = 1500
"""That are compared, evenly over the face."""
HELD_BACK = 30.0
"""Squared code values a texel that a square millimetre of motion costs. Chosen on the first four
fifths of one clip, where 150 gained half as much."""
BLUR = 1.2
"""Pixels; what is finer is not where it is expected to be anyway."""
USUAL_ERROR = 20.0
"""Code values; larger errors (hair, glints, teeth) pull no stronger (Huber 1964)."""
MOST_MM = 1.0
"""RMS motion of the landmarks; no frame is further off."""
STEPS = 2
"""Of which the second keeps the first one's derivatives."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
NUDGE_M = 1e-4
"""For the camera's derivative."""
MARGIN = 8
"""Pixels about the face that the picture is cut to."""


@dataclass(frozen=True, slots=True, eq=False)
class ExpectedTexels:
    """What the encoder has of the texels it looks at."""

    table: TexelTable
    """n texels."""
    mean: Float32
    """(n, 3) code values at gain 1."""
    planes: Float32
    """(n, K, 3) code values."""
    shares: sparse.csr_array
    """(n, g) of the active nodes."""


class PhotometricRegistration:
    """For one person."""

    def __init__(self, head: HeadMesh, model: PersonalModel, texels: ExpectedTexels) -> None:
        on_face = np.flatnonzero(face_texels(texels.table))
        at = on_face[np.linspace(0, len(on_face) - 1, min(TEXELS, len(on_face))).astype(np.intp)]
        vertices = texels.table.at_vertices[at]
        moving = moving_vertices(head)
        flat = model.moves.transpose(1, 0, 2).reshape(len(moving), -1)
        self._model, self._at = model, at
        self._rest = np.asarray(vertices @ model.rest, np.float32)
        # (3, t, P): x, y and z apart, so that products run over whole rows.
        moves = (vertices[:, moving] @ flat).reshape(len(at), -1, 3)
        self._moves = np.ascontiguousarray(moves.transpose(2, 0, 1), np.float32)
        count = head.template_size
        faces = head.faces[(head.faces < count).all(1)]
        smooth = SmoothNormals(faces, head.weld[:count], np.arange(count))
        self._normals = np.asarray(vertices @ smooth.of(model.rest), np.float32)
        # Brightness alone is compared: the planes' part of it.
        self._mean = texels.mean[at] @ LUMA
        self._planes = texels.planes[at] @ LUMA
        self._shares = sparse.csr_array(texels.shares[at])
        self._mm2 = 1e6 * (model.landmark_moves**2).sum(1) / len(model.landmark_rest)
        # A short video has fewer ways to move than there are numbers: the rest stay where they are.
        self._mm2 = np.maximum(self._mm2, 1e-6 * max(float(self._mm2.max()), 1e-6))

    def registered(
        self,
        frame: Frame,
        pose: Rigid,
        geometry: Float32,
        appearance: Float32,
        view: Float32,
        shown: Float32 | None = None,
    ) -> Float32:
        """(P,) the geometry numbers at which the face that `appearance` (A,) tells of is seen in
        `frame` (not mirrored), near the tracked `geometry` (P,). `pose`: world_from_head; `view`
        (3,) unit from head to camera, head frame; `shown` (n,) 0..1: which texels nothing hides."""
        if not len(self._rest):
            return geometry
        expected = self._expected(appearance, view)
        points = self._points(geometry)
        places, derivative = _places(frame.camera, pose, points)
        weight = self._facing(pose, frame.camera, points)
        inside = ((places >= 0) & (places <= np.array(frame.camera.size) - 1.0)).all(1)
        weight *= inside
        if shown is not None:
            weight *= shown[self._at]
        if (weight > 0.5).sum() < 0.25 * len(weight):
            return geometry
        crop, corner = _about(frame.rgb, places[inside])
        grey = _blurred(crop)
        across, down = (cv2.Scharr(grey, cv2.CV_32F, *d, scale=1 / 32) for d in ((1, 0), (0, 1)))
        near = places - corner
        slope = np.stack(
            [_sampled(np.asarray(g, np.float32), near) for g in (across, down)], axis=1
        )
        steer = slope[:, :1] * derivative[:, 0] + slope[:, 1:] * derivative[:, 1]
        jacobian = steer[:, :1] * self._moves[0]
        for axis in (1, 2):
            jacobian += steer[:, axis : axis + 1] * self._moves[axis]
        error = _even(expected - _sampled(grey, near), weight)
        weight /= np.maximum(1.0, np.abs(error) / USUAL_ERROR)
        held = (HELD_BACK * len(error) * self._mm2).astype(np.float32)
        weighted = jacobian * weight[:, None]
        system = jacobian.T @ weighted + np.diag(held)
        moved = np.zeros_like(geometry)
        for step in range(STEPS):
            if step:
                places, _ = project(frame.camera, pose.apply(self._points(geometry + moved)))
                near = np.nan_to_num(places - corner, nan=-1e4).astype(np.float32)
                error = _even(expected - _sampled(grey, near), weight)
            moved += np.linalg.solve(system, error @ weighted - held * moved).astype(np.float32)
        return geometry + self._limited(moved)

    def _expected(self, appearance: Float32, view: Float32) -> Float32:
        """(t,) brightness."""
        model = self._model
        nodes = model.nodes(appearance, view).reshape(-1, len(model.planes))[model.active]
        sums = self._mean + ((self._shares @ nodes) * self._planes).sum(1)
        return np.asarray(sums * float(model.gain(appearance) @ LUMA), np.float32)

    def _points(self, geometry: Float32) -> Float32:
        return np.asarray(self._rest + (self._moves @ geometry).T, np.float32)

    def _facing(self, pose: Rigid, camera: Camera, points: Float32) -> Float32:
        """(t,) 0..1 as avatar.unwrapping sees texels, by the normals of the resting face."""
        towards = pose.inverse().apply(camera.world_from_camera.xyz) - points
        towards = towards / np.linalg.norm(towards, axis=1, keepdims=True)
        facing = (self._normals * towards).sum(1)
        return np.clip((facing - GRAZING) / (SQUARE_ON - GRAZING), 0.0, 1.0).astype(np.float32)

    def _limited(self, moved: Float32) -> Float32:
        rms = float(np.sqrt((moved**2 * self._mm2).sum()))
        return moved * np.float32(min(1.0, MOST_MM / max(rms, 1e-9)))


def registered_slow(
    registration: PhotometricRegistration,
    frame: Frame,
    pose: Rigid,
    geometry: Float32,
    appearance: Float32,
    view: Float32,
) -> Array:
    """The slow twin of `registered`: the whole picture, each texel by itself, float64, and the
    derivative of every texel's brightness by moving every number a little."""
    r = registration
    luma = frame.rgb.astype(np.float64) @ LUMA.astype(np.float64)
    grey = np.asarray(cv2.GaussianBlur(luma, (0, 0), BLUR), np.float64)
    slopes = [_slope(grey.astype(np.float32), axis).astype(np.float64) for axis in (0, 1)]
    expected = r._expected(appearance, view).astype(np.float64)
    points = r._points(geometry)
    weight = r._facing(pose, frame.camera, points).astype(np.float64)

    def pixels(code: Array) -> Array:
        moved = r._rest + np.einsum("ctp,p->tc", r._moves.astype(np.float64), code)
        return project(frame.camera, pose.apply(moved))[0]

    start = geometry.astype(np.float64)
    places = pixels(start)
    jacobian = np.zeros((len(places), len(start)))
    slope = np.stack([[_bilinear(g, *place) for place in places] for g in slopes], axis=1)
    for k in range(len(start)):
        nudge = np.zeros(len(start))
        nudge[k] = 1e-2
        jacobian[:, k] = (slope * (pixels(start + nudge) - places) / 1e-2).sum(1)

    def error_at(code: Array) -> Array:
        seen = np.array([_bilinear(grey, *place) for place in pixels(code)])
        away = expected - seen
        return away - (away * weight).sum() / weight.sum()

    weight = weight / np.maximum(1.0, np.abs(error_at(start)) / USUAL_ERROR)
    held = HELD_BACK * len(places) * r._mm2.astype(np.float64)
    system = jacobian.T @ (jacobian * weight[:, None]) + np.diag(held)
    code = start
    for _ in range(STEPS):
        towards = jacobian.T @ (weight * error_at(code)) - held * (code - start)
        code = code + np.linalg.solve(system, towards)
    rms = float(np.sqrt(((code - start) ** 2 * r._mm2).sum()))
    return start + (code - start) * min(1.0, MOST_MM / max(rms, 1e-9))


def _bilinear(picture: Array, x: float, y: float) -> float:
    i, j = int(np.floor(x)), int(np.floor(y))
    u, v = x - i, y - j
    two = picture[j : j + 2, i : i + 2]
    return float(
        (1 - v) * ((1 - u) * two[0, 0] + u * two[0, 1]) + v * ((1 - u) * two[1, 0] + u * two[1, 1])
    )


def _places(camera: Camera, pose: Rigid, points: Float32) -> tuple[Float32, Float32]:
    """(t, 2) pixels of points in the head frame, and (t, 2, 3) how they change with them."""
    nudged = points[None] + NUDGE_M * np.concatenate([np.zeros((1, 3)), np.eye(3)])[:, None]
    pixels, _ = project(camera, pose.apply(nudged.reshape(-1, 3)).reshape(nudged.shape))
    pixels = np.nan_to_num(pixels, nan=-1e4)
    derivative = (pixels[1:] - pixels[0]).transpose(1, 2, 0) / NUDGE_M
    return pixels[0].astype(np.float32), derivative.astype(np.float32)


def _about(
    rgb: npt.NDArray[np.uint8], places: Float32
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """The part of the picture that holds the places, and its corner (x, y)."""
    low = np.maximum(np.floor(places.min(0)).astype(int) - MARGIN, 0)
    high = np.ceil(places.max(0)).astype(int) + MARGIN + 1
    return rgb[low[1] : high[1], low[0] : high[0]], low.astype(np.float32)


def _blurred(rgb: npt.NDArray[np.uint8]) -> Float32:
    grey = cv2.transform(rgb.astype(np.float32), LUMA[None])
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), BLUR), np.float32)


def _slope(grey: Float32, axis: int) -> Float32:
    """Code values a pixel, along x (0) or y (1)."""
    return np.asarray(cv2.Scharr(grey, cv2.CV_32F, 1 - axis, axis, scale=1 / 32), np.float32)


def _sampled(picture: Float32, places: Float32) -> Float32:
    """(t,) bilinear."""
    x, y = (np.ascontiguousarray(places[:, k], np.float32)[None] for k in (0, 1))
    mode = cv2.BORDER_REPLICATE
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=mode), np.float32)[0]


def _even(error: Float32, weight: Float32) -> Float32:
    """Without what exposure explains: its weighted mean."""
    return error - np.float32((error * weight).sum() / max(float(weight.sum()), 1e-6))
