"""How like its person an avatar is: drawn over frames that it has not learned from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from assets.manifest import asset_path
from avatar.personal_avatar import PersonalAvatar
from avatar.picture_metrics import flicker, flip, psnr, sharpness, ssim
from render.renderer import Renderer, RenderOptions, open_renderer
from streams.avatar_code import AvatarCode
from streams.camera import Camera
from streams.face_outlines import INNER_LIPS, LIDS
from streams.frame import Frame
from streams.projection import project
from streams.tracked_state import FacePose, TrackedState
from streams.view import View
from tracking.canonical_face import read_face_triangles

UInt8 = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Through = Callable[[AvatarCode], AvatarCode]
"""What a code goes through on its way to the decoder: nothing, or a bitstream."""

MOUTH_MARGIN, EYE_MARGIN = 0.25, 0.35
"""How far the crops reach beyond the lips' and lids' rims, as a part of their width."""
NEXT_NS = 50_000_000
"""Moments closer than this are neighbours, in videos of 20 frames a second and more: their pair
tells how the picture flickers."""


@dataclass(slots=True)
class Figures:
    """Means over the evaluated frames; nan: nothing to measure."""

    frames: int = 0
    psnr_db: float = 0.0
    ssim: float = 0.0
    sharpness: float = 0.0
    mouth_db: float = 0.0
    eyes_db: float = 0.0
    flip: float = np.nan
    """0..1, lower is better; only when it was asked for."""
    flicker: float = np.nan
    """Code values; only of moments that follow one another."""

    def line(self) -> str:
        """One row for people."""
        row = (
            f"{self.psnr_db:5.2f} dB, SSIM {self.ssim:.3f}, sharpness {self.sharpness:.2f}, "
            f"mouth {self.mouth_db:5.2f} dB, eyes {self.eyes_db:5.2f} dB"
        )
        row += f", FLIP {self.flip:.3f}" if np.isfinite(self.flip) else ""
        return row + (f", flicker {self.flicker:.2f}" if np.isfinite(self.flicker) else "")


@dataclass(slots=True)
class Evaluation:
    """Of one way to the code."""

    figures: Figures = field(default_factory=Figures)
    pictures: list[tuple[UInt8, UInt8]] = field(default_factory=list)
    """Some pairs (source, ours), (H, W, 3) uint8."""


class FacePatch:
    """The pixels of MediaPipe's face mesh, one pixel smaller all around."""

    def __init__(self) -> None:
        self._triangles = read_face_triangles(asset_path("models/face_landmarker.task"))

    def masks(self, camera: Camera, face: FacePose) -> tuple[Mask, Mask, Mask]:
        """(height, width) each: the face, the mouth, the eyes."""
        marks, _ = project(camera, face.world_from_head.apply(face.landmarks.astype(np.float64)))
        size = (camera.size[1], camera.size[0])
        patch = np.zeros(size, np.uint8)
        for triangle in self._triangles:
            corners = np.rint(marks[triangle] * 16).astype(np.int32)
            cv2.fillConvexPoly(patch, corners, 1, cv2.LINE_8, 4)
        face_mask = cv2.erode(patch, np.ones((3, 3), np.uint8), borderValue=0) > 0
        mouth, eyes = np.zeros(size, bool), np.zeros(size, bool)
        _fill_box(mouth, marks[list(INNER_LIPS)], MOUTH_MARGIN)
        for rim in LIDS:
            _fill_box(eyes, marks[list(rim)], EYE_MARGIN)
        return face_mask, mouth & face_mask, eyes & face_mask


def evaluate_likeness(
    avatar: PersonalAvatar,
    moments: Iterable[tuple[Frame, TrackedState]],
    with_frames: bool,
    through: Through | None = None,
    keep: int = 0,
    with_flip: bool = False,
) -> Evaluation:
    """Encode (with frames) or drive (without), decode, draw, compare. Moments without a face are
    left out; the first `keep` pairs of pictures come back too, from moments evenly far apart.
    `with_flip` takes a quarter of a second a picture and the extra "bench"."""
    patch, found = FacePatch(), Evaluation()
    rows: list[tuple[float, ...]] = []
    flickers: list[float] = []
    last: _Shown | None = None
    options = RenderOptions(depth=False, antialias="none", shadows=False)
    with open_renderer("gl", options) as renderer:
        for frame, state in moments:
            if state.face is None:
                continue
            code = avatar.encode(state, frame if with_frames else None)
            code = code if through is None else through(code)
            ours = draw_over(renderer, avatar, code, frame)
            face, mouth, eyes = patch.masks(frame.camera, state.face)
            if not face.any():
                continue
            if len(found.pictures) < keep:
                found.pictures.append((frame.rgb, ours))
            shown = _Shown(state.t_ns, ours, frame.rgb, face)
            flickers += [] if last is None else shown.flicker_after(last)
            last = shown
            rows.append(
                (
                    psnr(ours, frame.rgb, face), ssim(ours, frame.rgb, face),
                    sharpness(ours, frame.rgb, face),
                    psnr(ours, frame.rgb, mouth) if mouth.any() else np.nan,
                    psnr(ours, frame.rgb, eyes) if eyes.any() else np.nan,
                    flip(ours, frame.rgb, face) if with_flip else np.nan,
                )
            )  # fmt: skip
    if not rows:
        raise ValueError("evaluate_likeness: expected moments with a face, got none")
    means = [_mean(column) for column in np.array(rows).T]
    found.figures = Figures(len(rows), *means, flicker=_mean(np.array(flickers)))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """One moment, drawn."""

    t_ns: int
    ours: UInt8
    source: UInt8
    face: Mask

    def flicker_after(self, last: _Shown) -> list[float]:
        """How the error changed since the moment before, if that was just before."""
        both = self.face & last.face if self.face.shape == last.face.shape else None
        if both is None or not both.any() or not 0 < self.t_ns - last.t_ns <= NEXT_NS:
            return []
        pictures, sources = np.stack([last.ours, self.ours]), np.stack([last.source, self.source])
        return [flicker(pictures, sources, both)]


def _mean(values: npt.NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def draw_over(renderer: Renderer, avatar: PersonalAvatar, code: AvatarCode, frame: Frame) -> UInt8:
    """(height, width, 3): the avatar from the frame's own camera."""
    view = View.from_camera(frame.camera, frame.t_ns)
    image = renderer.draw(avatar.decode_nodes(code, view), view)
    return np.ascontiguousarray(image.rgba[..., :3])


def spread(items: Sequence[int], count: int) -> list[int]:
    """`count` of the items, evenly far apart."""
    if len(items) <= count:
        return list(items)
    return [items[int(k)] for k in np.linspace(0, len(items) - 1, count)]


def spread_pairs(items: Sequence[int], count: int) -> list[int]:
    """About `count` of the items in pairs that follow one another, the pairs evenly far apart:
    enough to tell flicker from, at the cost of as many pictures as without."""
    if len(items) < 2:
        return list(items)
    firsts = spread(range(len(items) - 1), max(1, count // 2))
    return [items[k] for k in sorted({k + step for k in firsts for step in (0, 1)})]


def _fill_box(mask: Mask, points: npt.NDArray[np.float64], margin: float) -> None:
    low, high = points.min(0), points.max(0)
    reach = margin * (high[0] - low[0])
    x0, y0 = np.floor(low - reach).astype(int)
    x1, y1 = np.ceil(high + reach).astype(int)
    mask[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = True
