"""Pictures of two sessions side by side, with their difference, PSNR and FLIP."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from apps.session_comparison import Comparison
from apps.usage import FailedError, one_line
from apps.viewpoint import default_size, fitted_view
from avatar.picture_metrics import flip, psnr
from sessions.reader import SessionReader
from streams.avatar_code import AvatarCode
from streams.frame import Frame
from streams.view import View

UInt8 = npt.NDArray[np.uint8]

LONGEST = 420
"""Pixels a picture's longer side has in the sheet; errors are measured on the whole picture."""
BOOST = 8
"""Differences are shown so many times as strong."""
MARGIN, HEAD, CAPTION = 12, 40, 20
PAPER, INK, FAINT = (255, 255, 255), (43, 47, 54), (110, 116, 126)


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """The same moment in both."""

    t_ns: int
    a: UInt8
    b: UInt8
    psnr_db: float | None
    """None: no difference at all."""
    flip: float | None


def draw_comparison(
    a: SessionReader, b: SessionReader, comparison: Comparison, path: Path, count: int
) -> None:
    """Write the sheet and note PSNR and FLIP in `comparison.pictures`; words there say what cannot
    be shown. Raises FailedError when the sheet cannot be written.
    """
    kept = comparison.kept
    places = np.linspace(0, len(kept) - 1, min(count, len(kept))).round().astype(int)
    chosen = [kept[k] for k in places]
    sections: dict[str, list[Pair] | str] = {
        "frames": _frames(a, b, [(mine.t_ns, yours.t_ns) for mine, yours in chosen]),
        "drawn": _drawn(a, [(mine.code, yours.code) for mine, yours in chosen]),
    }
    for name, pairs in sections.items():
        comparison.pictures[name] = pairs if isinstance(pairs, str) else _figures(pairs)
    shown = {
        name: pairs for name, pairs in sections.items() if pairs and not isinstance(pairs, str)
    }
    if not shown:
        return
    sheet = _sheet(comparison, shown)
    try:
        sheet.save(path)
    except OSError as error:
        raise FailedError(f"{path}: cannot be written ({error.strerror or error})") from error
    comparison.pictures["file"] = path.name


def _frames(a: SessionReader, b: SessionReader, times: list[tuple[int, int]]) -> list[Pair] | str:
    if "frames" not in a.seams or "frames" not in b.seams:
        held = [name for name, s in (("A", a), ("B", b)) if "frames" in s.seams]
        return f"only {held[0]} holds any" if held else "neither holds any"
    pairs: list[Pair] = []
    sources = a.sources("frames")[0], b.sources("frames")[0]
    for t_a, t_b in times:
        found = a.at("frames", t_a, sources[0]), b.at("frames", t_b, sources[1])
        pictures = [x.record.rgb for x in found if x is not None and isinstance(x.record, Frame)]
        if len(pictures) == 2 and pictures[0].shape == pictures[1].shape:
            pairs.append(_pair(t_a, *pictures))
    return pairs or "of different sizes, or not at the same times"


def _drawn(
    a: SessionReader, codes: list[tuple[AvatarCode | None, AvatarCode | None]]
) -> list[Pair] | str:
    wanted = [(mine, yours) for mine, yours in codes if mine is not None and yours is not None]
    if not wanted:
        return "not both hold codes"
    try:
        with _Artist(_view(a)) as artist:
            return [
                _pair(mine.t_ns, artist.draw(mine), artist.draw(yours)) for mine, yours in wanted
            ]
    except (RuntimeError, ValueError, OSError) as error:
        return f"cannot be drawn here: {one_line(error)}"


def _view(session: SessionReader) -> View:
    found = session.at("views", 2**62) if "views" in session.seams else None
    if found is not None and isinstance(found.record, View):
        return found.record
    cameras = [c.camera for c in session.channels if c.camera is not None]
    cameras += list(session.header.cameras)
    if not cameras:
        return View.front((640, 480))
    return fitted_view(cameras[0], default_size(cameras[0]), 0)


class _Artist(contextlib.ExitStack):
    """Draws codes, each by its own avatar."""

    def __init__(self, view: View) -> None:
        super().__init__()
        self._view = view
        self._avatars: dict[str, Any] = {}
        self._renderer: Any = None

    def draw(self, code: AvatarCode) -> UInt8:
        """(H, W, 3) uint8 sRGB."""
        from avatar.opening import open_avatar
        from render.renderer import RenderOptions, open_renderer

        if self._renderer is None:
            self._renderer = self.enter_context(open_renderer("gl", RenderOptions(depth=False)))
        if code.avatar not in self._avatars:
            name = code.avatar.removeprefix("avatars/")
            self._avatars[code.avatar] = self.enter_context(open_avatar(name))
        mesh = self._avatars[code.avatar].decode(code, self._view)
        return np.ascontiguousarray(self._renderer.draw(mesh, self._view).rgba[:, :, :3])


def _pair(t_ns: int, a: UInt8, b: UInt8) -> Pair:
    whole = np.ones(a.shape[:2], bool)
    decibel = psnr(b, a, whole)
    try:
        seen = flip(b, a, whole)
    except ImportError:
        seen = None
    return Pair(t_ns, a, b, None if np.isinf(decibel) else decibel, seen)


def _figures(pairs: list[Pair]) -> dict[str, Any]:
    """Over all pairs: PSNR of the mean squared error, mean FLIP."""
    errors = [0.0 if p.psnr_db is None else 10 ** (-p.psnr_db / 10) for p in pairs]
    mean = float(np.mean(errors))
    flips = [p.flip for p in pairs if p.flip is not None]
    return {
        "count": len(pairs),
        "psnr_db": None if mean == 0 else float(-10 * np.log10(mean)),
        "flip": float(np.mean(flips))
        if flips
        else "no FLIP (pip install 'visavis[bench]' measures it)",
        "each": [{"t_ns": p.t_ns, "psnr_db": p.psnr_db, "flip": p.flip} for p in pairs],
    }


def _sheet(comparison: Comparison, shown: dict[str, list[Pair]]) -> Image.Image:
    """Rows of moments; for frames and for drawn pictures A, B and their difference."""
    blocks = list(shown.items())
    sizes = [_scaled(pairs[0].a.shape) for _, pairs in blocks]
    rows = max(len(pairs) for _, pairs in blocks)
    tall = max(height for _, height in sizes)
    width = sum(3 * (w + MARGIN) for w, _ in sizes) + MARGIN * (len(blocks))
    height = HEAD + 26 + rows * (tall + CAPTION + MARGIN) + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 10), f"A: {comparison.a}    B: {comparison.b}", INK, _font(18))
    left = MARGIN
    for (name, pairs), (w, h) in zip(blocks, sizes, strict=True):
        titles = (f"A, {name}", f"B, {name}", f"difference x {BOOST}")
        for k, title in enumerate(titles):
            pen.text((left + k * (w + MARGIN), HEAD), title, INK, _font(14))
        for row, pair in enumerate(pairs):
            top = HEAD + 26 + row * (tall + CAPTION + MARGIN)
            difference = np.abs(pair.a.astype(np.int16) - pair.b) * BOOST
            for k, picture in enumerate((pair.a, pair.b, difference.clip(0, 255))):
                small = Image.fromarray(picture.astype(np.uint8)).resize(
                    (w, h), Image.Resampling.LANCZOS
                )
                sheet.paste(small, (left + k * (w + MARGIN), top))
            pen.text((left, top + h + 3), _caption(pair), FAINT, _font(12))
        left += 3 * (w + MARGIN) + MARGIN
    return sheet


def _caption(pair: Pair) -> str:
    decibel = "no difference" if pair.psnr_db is None else f"PSNR {pair.psnr_db:.2f} dB"
    seen = "" if pair.flip is None else f", FLIP {pair.flip:.4f}"
    return f"{pair.t_ns / 1e9:.3f} s: {decibel}{seen}"


def _scaled(shape: tuple[int, ...]) -> tuple[int, int]:
    scale = min(1.0, LONGEST / max(shape[:2]))
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def _font(size: int) -> Any:
    from matplotlib import font_manager

    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)
