"""Calibration boards: printed, and found in pictures.

A ChArUco board (Garrido-Jurado et al. 2014: a chessboard with a marker in every white square) may
be seen in part and tells which corner is which; a plain chessboard must be seen whole. Corners are
numbered along the rows from the top left; the board's frame has its origin in the board's top left
corner, x along the rows, y down, z into the board.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from streams.array_contract import require_choice

Array = npt.NDArray[np.float64]
Grey = npt.NDArray[np.uint8]

PATTERNS = ("charuco", "chessboard")
DICTIONARY = cv2.aruco.DICT_5X5_250
MODULES = 7
"""Of a marker's side: five bits and the border."""
MARKER_PART = 0.75
"""Of a square's side."""
FEWEST_CORNERS = 8
MARGIN_M = 0.010
"""White paper around the board."""
PNG_DOTS_PER_M = 300 / 0.0254


@dataclass(frozen=True, slots=True, eq=False)
class BoardSight:
    """The corners of a board that are seen in a picture."""

    ids: npt.NDArray[np.int64]
    """(K,) int64."""
    pixels: Array
    """(K, 2) float64."""


@dataclass(frozen=True)
class Board:
    """One board."""

    pattern: str = "charuco"
    """"charuco" or "chessboard"."""
    columns: int = 8
    """Squares along a row."""
    rows: int = 6
    square_m: float = 0.030
    """Side of a square, metres: measure it on the print."""

    def __post_init__(self) -> None:
        require_choice("Board.pattern", self.pattern, PATTERNS)
        if not (3 <= self.columns <= 30 and 3 <= self.rows <= 30):
            raise ValueError(
                f"Board: expected 3 to 30 squares a side, got {self.columns} x {self.rows}"
            )
        if not 0.001 <= self.square_m <= 1.0:
            raise ValueError(f"Board.square_m: expected 0.001 to 1 metre, got {self.square_m}")
        if self.pattern == "chessboard" and (self.columns + self.rows) % 2 == 0:
            raise ValueError(
                f"Board: a chessboard of {self.columns} x {self.rows} squares looks the same "
                "upside down; take an odd number one way and an even one the other, or a charuco "
                "board"
            )
        if self.pattern == "charuco" and self.columns * self.rows // 2 > 250:
            raise ValueError(
                f"Board: {self.columns} x {self.rows} squares need more than the 250 markers "
                "there are"
            )

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height without the margin, metres."""
        return self.columns * self.square_m, self.rows * self.square_m

    @cached_property
    def corners(self) -> Array:
        """((columns - 1) * (rows - 1), 3) float64 metres, board frame, z = 0."""
        x, y = np.meshgrid(np.arange(1, self.columns), np.arange(1, self.rows))
        flat = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], -1)
        return (flat * self.square_m).astype(np.float64)

    @cached_property
    def _detector(self) -> Any:
        board = cv2.aruco.CharucoBoard(
            (self.columns, self.rows), self.square_m, self.square_m * MARKER_PART,
            cv2.aruco.getPredefinedDictionary(DICTIONARY),
        )  # fmt: skip
        return cv2.aruco.CharucoDetector(board)

    def find(self, grey: Grey) -> BoardSight | None:
        """The board in an (H, W) uint8 picture, or None: not seen, or too few of its corners."""
        if self.pattern == "charuco":
            pixels, ids, _, _ = self._detector.detectBoard(grey)
            if ids is None or len(ids) < FEWEST_CORNERS:
                return None
            sight = BoardSight(ids.ravel().astype(np.int64), pixels.reshape(-1, 2).astype(float))
            return sight if self._spans(sight) else None
        inner = (self.columns - 1, self.rows - 1)
        found, corners = cv2.findChessboardCornersSB(
            grey, inner, flags=cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_ACCURACY
        )
        if not found or corners is None:
            return None
        grid = corners.reshape(inner[1], inner[0], 2).astype(np.float64)
        # The square right and below of the first corner is black; upside down it is a white one.
        if _brightness(grey, grid[:2, :2]) > _brightness(grey, grid[:2, 1:3]):
            grid = grid[::-1, ::-1]
        return BoardSight(np.arange(grid.shape[0] * grid.shape[1]), grid.reshape(-1, 2))

    def _spans(self, sight: BoardSight) -> bool:
        """Whether the corners are no single row, which says nothing of the board's tilt."""
        at = self.corners[sight.ids, :2] / self.square_m
        return bool(np.linalg.matrix_rank(at - at.mean(0), tol=1.0) == 2)

    def black(self) -> Array:
        """(N, 4) float64 metres: x, y, width, height of the black rectangles, y down."""
        s = self.square_m
        found: list[tuple[float, float, float, float]] = []
        dictionary = cv2.aruco.getPredefinedDictionary(DICTIONARY)
        module, inset = s * MARKER_PART / MODULES, s * (1.0 - MARKER_PART) / 2.0
        marker = 0
        for row in range(self.rows):
            for column in range(self.columns):
                if (row + column) % 2 == 0:
                    found.append((column * s, row * s, s, s))
                elif self.pattern == "charuco":
                    bits = cv2.aruco.generateImageMarker(dictionary, marker, MODULES)
                    marker += 1
                    left, top = column * s + inset, row * s + inset
                    # Black bits that lie side by side are one rectangle: no hairlines in print.
                    for y, line in enumerate(np.asarray(bits) == 0):
                        edges = np.flatnonzero(np.diff(np.concatenate([[0], line, [0]])))
                        for start, end in edges.reshape(-1, 2):
                            found.append(
                                (left + start * module, top + y * module,
                                 (end - start) * module, module)
                            )  # fmt: skip
        return np.array(found)

    def picture(self, pixels_per_m: float, margin_m: float = MARGIN_M) -> Grey:
        """(H, W) uint8: the board at this scale with a white margin."""
        width, height = (round((n + 2 * margin_m) * pixels_per_m) for n in self.size_m)
        picture = np.full((height, width), 255, np.uint8)
        black = self.black()
        low = np.rint((black[:, :2] + margin_m) * pixels_per_m).astype(int)
        high = np.rint((black[:, :2] + black[:, 2:] + margin_m) * pixels_per_m)
        for (x0, y0), (x1, y1) in zip(low, high.astype(int), strict=True):
            picture[y0:y1, x0:x1] = 0
        return picture

    def write(self, path: Path) -> None:
        """Print to a .pdf, .svg or .png of the true size. Raises ValueError for another name."""
        kind = path.suffix.lower()
        if kind == ".png":
            dots = PNG_DOTS_PER_M * 0.0254
            Image.fromarray(self.picture(PNG_DOTS_PER_M)).save(path, dpi=(dots, dots))
        elif kind == ".svg":
            path.write_text(self._svg())
        elif kind == ".pdf":
            path.write_bytes(self._pdf())
        else:
            raise ValueError(f"{path}: expected a name that ends in .pdf, .svg or .png")

    def caption(self) -> str:
        """What must be known of a print."""
        return (
            f"{self.pattern} {self.columns}x{self.rows}, squares of {self.square_m * 1e3:g} mm: "
            "print at 100 %, measure a square, glue flat"
        )

    def _svg(self) -> str:
        width, height = ((n + 2 * MARGIN_M) * 1e3 for n in self.size_m)
        moved = self.black() * 1e3 + np.array([MARGIN_M, MARGIN_M, 0.0, 0.0]) * 1e3
        # One path, so that no viewer leaves hairlines between neighbours.
        path = "".join(f"M{x:.4f} {y:.4f}h{w:.4f}v{h:.4f}h{-w:.4f}z" for x, y, w, h in moved)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}mm" height="{height:g}mm" '
            f'viewBox="0 0 {width:g} {height:g}" shape-rendering="crispEdges">'
            f"<title>{escape(self.caption())}</title>"
            f'<rect width="100%" height="100%" fill="#fff"/><path d="{path}"/>'
            f'<text x="{MARGIN_M * 1e3:g}" y="{height - 3:g}" font-size="3" '
            f'font-family="sans-serif">{escape(self.caption())}</text></svg>\n'
        )

    def _pdf(self) -> bytes:
        """One page (ISO 32000-1): lengths in points of 1/72 inch, y up."""
        point = 72.0 / 0.0254
        width, height = ((n + 2 * MARGIN_M) * point for n in self.size_m)
        x, y, w, h = self.black().T * point
        x, y = x + MARGIN_M * point, height - MARGIN_M * point - y - h
        boxes = "\n".join(
            f"{a:.4f} {b:.4f} {c:.4f} {d:.4f} re" for a, b, c, d in zip(x, y, w, h, strict=True)
        )
        text = f"BT /F 8 Tf {MARGIN_M * point:.2f} 8 Td ({self.caption()}) Tj ET"
        stream = zlib.compress(f"0 g\n{boxes}\nf\n{text}\n".encode("ascii"))
        objects = [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            (
                f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width:.4f} {height:.4f}] "
                "/Contents 4 0 R /Resources << /Font << /F << /Type /Font /Subtype /Type1 "
                "/BaseFont /Helvetica >> >> >> >>"
            ).encode("ascii"),
            b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(stream), stream),
        ]
        out, places = b"%PDF-1.4\n", []
        for number, body in enumerate(objects, start=1):
            places.append(len(out))
            out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
        table = b"".join(b"%010d 00000 n \n" % place for place in places)
        count = len(objects) + 1
        return out + (
            b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\n"
            b"startxref\n%d\n%%%%EOF\n" % (count, table, count, len(out))
        )


def _brightness(grey: Grey, square: Array) -> float:
    """Mean about the middle of four corners (2, 2, 2)."""
    x, y = square.reshape(4, 2).mean(0)
    reach = max(1, int(0.15 * np.linalg.norm(square[0, 0] - square[1, 1])))
    top, left = max(int(y) - reach, 0), max(int(x) - reach, 0)
    return float(grey[top : int(y) + reach + 1, left : int(x) + reach + 1].mean())
