"""The average face, in metres, that head poses are measured against.

It travels inside MediaPipe's face bundle (`geometry_pipeline_metadata_landmarks.binarypb`, a
protocol buffer of MediaPipe's face_geometry package): 468 vertices in centimetres with x to the
face's left, y up and z out of the face. Our head frame differs in two ways: its origin is the
middle between the centres of the eye balls, and it is level where MediaPipe's face looks up.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

MEMBER = "geometry_pipeline_metadata_landmarks.binarypb"

RIGHT_CORNERS = (33, 133)
"""Outer and inner corner of the person's right eye."""
LEFT_CORNERS = (263, 362)
EYE_RADIUS = 0.012
"""Metres, of an adult's eye ball (Bekerman 2014: 24.2 mm across)."""
LEVEL_FROM_MEDIAPIPE = np.deg2rad(6.6)
"""Turn about x, radians, that makes MediaPipe's average face level: measured on the synthetic
people, whose head frame is known exactly (7.1 and 6.2 degrees on two of them, see
benchmarks/synthetic_truth.py). Without it every avatar would nod by that much."""
_COS, _SIN = np.cos(LEVEL_FROM_MEDIAPIPE), np.sin(LEVEL_FROM_MEDIAPIPE)
_LEVEL = np.array([[1.0, 0.0, 0.0], [0.0, _COS, -_SIN], [0.0, _SIN, _COS]])

EYE_FROM_CORNERS = _LEVEL @ np.array([0.0012, 0.0018, -0.0075])
"""Left eye ball's centre from the middle of its lid corners, metres, head frame; mirrored for the
right eye. Depth: the lids' surface lies 4 mm in front of that middle and the cornea 12 mm in front
of the centre. Sideways and up: makes the eyes of talking people, who look at the camera, do so."""


@dataclass(frozen=True, slots=True, eq=False)
class CanonicalFace:
    """MediaPipe's average face in the head frame."""

    vertices: npt.NDArray[np.float64]
    """(468, 3) float64 metres, head frame, in the order of the first 468 landmarks."""
    eyes: npt.NDArray[np.float64]
    """(2, 3) float64 metres, head frame: eye ball centres, left first; their middle is 0."""


def read_canonical_face(bundle: Path) -> CanonicalFace:
    """The average face of a MediaPipe face bundle (`face_landmarker.task`).

    Raises ValueError when the file is no such bundle or is damaged.
    """
    try:
        with zipfile.ZipFile(bundle) as archive:
            mesh = _first_field(archive.read(MEMBER), 1)
    except (zipfile.BadZipFile, KeyError, IndexError) as error:
        raise ValueError(
            f"{bundle}: expected a MediaPipe face bundle with {MEMBER}, got {error}; "
            "restore the file"
        ) from error
    # vertex_buffer (field 3 of Mesh3d): x y z in centimetres, then u v.
    floats = b"".join(value for number, value in _fields(mesh) if number == 3)
    if len(floats) != 468 * 5 * 4:
        raise ValueError(f"{bundle}: expected 468 vertices of 5 floats, got {len(floats)} bytes")
    vertices = np.frombuffer(floats, "<f4").reshape(468, 5)[:, :3].astype(np.float64) * 0.01
    vertices = vertices @ _LEVEL.T
    left = vertices[list(LEFT_CORNERS)].mean(0) + EYE_FROM_CORNERS
    right = vertices[list(RIGHT_CORNERS)].mean(0) + EYE_FROM_CORNERS * (-1.0, 1.0, 1.0)
    eyes = np.stack([left, right])
    origin = eyes.mean(0)
    return CanonicalFace(vertices - origin, eyes - origin)


def read_face_triangles(bundle: Path) -> npt.NDArray[np.int32]:
    """(898, 3) int32: MediaPipe's triangles over the first 468 landmarks, eyes and mouth closed.

    Raises ValueError when the file is no such bundle or is damaged.
    """
    try:
        with zipfile.ZipFile(bundle) as archive:
            mesh = _first_field(archive.read(MEMBER), 1)
    except (zipfile.BadZipFile, KeyError, IndexError) as error:
        raise ValueError(f"{bundle}: expected a MediaPipe face bundle, got {error}") from error
    # index_buffer (field 4 of Mesh3d): packed, or one by one.
    packed = b"".join(value for number, value in _fields(mesh) if number == 4)
    indices = list(_varints(packed)) if packed else list(_plain_varints(mesh, 4))
    if not indices or len(indices) % 3 or max(indices) >= 468:
        raise ValueError(f"{bundle}: expected triangles over 468 vertices, got {len(indices)}")
    return np.array(indices, np.int32).reshape(-1, 3)


def _varints(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _plain_varints(message: bytes, wanted: int) -> Iterator[int]:
    """Values of an unpacked repeated varint field."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            if number == wanted:
                yield value
        elif kind == 2:
            size, at = _varint(message, at)
            at += size
        else:
            at += {1: 8, 5: 4}[kind]


def _first_field(message: bytes, wanted: int) -> bytes:
    return next(value for number, value in _fields(message) if number == wanted)


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Field numbers and raw values of a protocol buffer (varints are skipped)."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            _, at = _varint(message, at)
            continue
        if kind == 2:
            size, at = _varint(message, at)
        else:
            size = {1: 8, 5: 4}[kind]
        yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
