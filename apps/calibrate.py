"""`visavis calibrate`: cameras measured with a board, into a rig file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from apps.progress_line import ProgressLine
from apps.usage import FailedError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from capture.board import Board, BoardSight
    from capture.calibration import Calibration
    from capture.frame_source import FrameSource
    from streams.frame import Frame

    Grey = npt.NDArray[np.uint8]

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
LIVE_VIEWS = 40
"""Moments after which live cameras have shown enough."""


@dataclass(frozen=True, slots=True)
class Calibrate:
    """Measure one or several cameras with a printed board: lenses, and where the cameras stand to
    one another. Print a board first: `calibrate --board board.pdf`."""

    out: tyro.conf.Positional[Path | None] = None
    """FILE.json to write: the rig, for --rig of preview and record."""
    sources: tuple[str, ...] = ("webcam:0",)
    """One a camera: webcam:NUMBER, video:PATH or pictures:FOLDER (in the order of their names; of
    several cameras, the n-th picture or time is one moment)."""
    board: Path | None = None
    """Write the board to print, FILE.pdf, FILE.svg or FILE.png, and do nothing else."""
    pattern: Literal["charuco", "chessboard"] = "charuco"
    """charuco may be seen in part; a chessboard must be seen whole."""
    squares: str = "8x6"
    """COLUMNSxROWS of squares."""
    square_mm: float = 30.0
    """Side of a square, measured on the print."""
    lens: Literal["auto", "pinhole_brown", "fisheye"] = "auto"
    """Which model of the lens."""
    every_s: float = 0.4
    """Look at a video or a webcam at these intervals, seconds."""
    seconds: float = 90.0
    """Look at a webcam no longer than this."""

    def run(self) -> int:
        """0 when the board or the rig is written."""
        from capture.calibration import calibrate
        from capture.rig_file import write_rig

        board = self._board()
        if self.board is not None:
            if self.board.suffix.lower() not in (".pdf", ".svg", ".png"):
                raise UsageError(f"--board {self.board}: expected .pdf, .svg or .png")
            board.write(self.board)
            print(f"wrote {self.board}: {board.caption()}")
            return 0
        if self.out is None or self.out.suffix.lower() != ".json":
            raise UsageError("expected a FILE.json to write the rig to, or --board FILE to print")
        if len(set(self.sources)) != len(self.sources) or not self.sources:
            raise UsageError(f"--sources: expected one or more, each once, got {self.sources}")
        if not (self.every_s > 0 and self.seconds > 0):
            raise UsageError("--every-s and --seconds: expected more than 0")
        sizes, moments = self._look(board)
        result = calibrate(board, self.sources, sizes, moments, self.lens)
        write_rig(self.out, result.cameras)
        for line in report_lines(result):
            print(line)
        print(f"wrote {self.out}")
        return 0

    def _board(self) -> Board:
        from capture.board import Board

        columns, cross, rows = self.squares.lower().partition("x")
        if not (cross and columns.isdecimal() and rows.isdecimal()):
            raise UsageError(f"--squares {self.squares}: expected COLUMNSxROWS, for example 8x6")
        try:
            return Board(self.pattern, int(columns), int(rows), self.square_mm * 1e-3)
        except ValueError as error:
            raise UsageError(str(error)) from error

    def _look(self, board: Board) -> tuple[list[tuple[int, int]], list[list[BoardSight | None]]]:
        """Picture sizes by camera, and what each saw at each moment that adds something."""
        sizes: list[tuple[int, int]] = [(0, 0)] * len(self.sources)
        kept: list[list[BoardSight | None]] = []
        progress = ProgressLine()
        looked = 0
        with ExitStack() as opened:
            moments, live = self._moments(opened)
            try:
                for pictures in moments:
                    looked += 1
                    for k, grey in enumerate(pictures):
                        if grey is not None:
                            size = (grey.shape[1], grey.shape[0])
                            if sizes[k] not in ((0, 0), size):
                                raise FailedError(
                                    f"{self.sources[k]}: pictures of {sizes[k][0]}x{sizes[k][1]} "
                                    f"and {size[0]}x{size[1]}; one camera has one size"
                                )
                            sizes[k] = size
                    seen = [None if grey is None else board.find(grey) for grey in pictures]
                    if any(seen) and adds(seen, kept, sizes):
                        kept.append(seen)
                    said = f"{looked} moments, {len(kept)} kept"
                    progress.tell(lambda said=said: said)
                    if live and len(kept) >= LIVE_VIEWS:
                        break
            except KeyboardInterrupt:
                if not live:
                    raise
                print("\nstopped looking", file=sys.stderr)
        progress.end()
        return sizes, kept

    def _moments(self, opened: ExitStack) -> tuple[Iterator[list[Grey | None]], bool]:
        kinds = {spec.partition(":")[0] for spec in self.sources}
        if kinds == {"pictures"}:
            return picture_moments(self.sources), False
        if not kinds <= {"webcam", "video"} or len(kinds) != 1:
            raise UsageError(
                f"--sources {' '.join(self.sources)}: expected all webcam:NUMBER, all video:PATH "
                "or all pictures:FOLDER"
            )
        from apps.sources import open_any
        from capture.frame_source import SourceOptions

        options = SourceOptions(longest_side=8192)
        sources = [opened.enter_context(open_any(spec, options)) for spec in self.sources]
        limit = self.seconds if kinds == {"webcam"} else float("inf")
        return frame_moments(sources, self.every_s, limit), kinds == {"webcam"}


def picture_moments(specs: Sequence[str]) -> Iterator[list[Grey | None]]:
    """The n-th pictures of all folders. Raises FailedError for a folder without pictures, or
    folders of different numbers."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    folders: list[list[Path]] = []
    for spec in specs:
        folder = Path(spec.partition(":")[2])
        if not folder.is_dir():
            raise FailedError(f"{spec}: there is no such folder")
        files = sorted(each for each in folder.iterdir() if each.suffix.lower() in PICTURES)
        if not files:
            raise FailedError(f"{spec}: holds no pictures ({', '.join(PICTURES)})")
        folders.append(files)
    counts = [len(files) for files in folders]
    if len(set(counts)) != 1:
        raise FailedError(
            f"{' '.join(specs)}: hold {', '.join(map(str, counts))} pictures; expected one of each "
            "camera for every moment"
        )
    for files in zip(*folders, strict=True):
        pictures: list[Grey | None] = []
        for file in files:
            try:
                with Image.open(file) as image:
                    pictures.append(np.array(image.convert("L")))
            except (OSError, UnidentifiedImageError) as error:
                raise FailedError(f"{file}: this picture cannot be read ({error})") from error
        yield pictures


def frame_moments(
    sources: Sequence[FrameSource], every_s: float, seconds: float
) -> Iterator[list[Grey | None]]:
    """Frames of one time, all sources', at intervals; None of a source that has none then."""
    import cv2

    last: int | None = None
    start: int | None = None
    ahead = [next(source, None) for source in sources]
    while any(ahead):
        times = [frame.t_ns for frame in ahead if frame is not None]
        newest = max(times)
        start = newest if start is None else start
        if newest - start > seconds * 1e9:
            return
        if last is not None and newest - last < every_s * 1e9:
            ahead = _next_of(sources, ahead)
            continue
        # Whoever is behind catches up, to half a frame.
        for k, source in enumerate(sources):
            frame = ahead[k]
            while frame is not None and newest - frame.t_ns > 0.5e9 / source.fps:
                frame = next(source, None)
            ahead[k] = frame
        last = newest
        moment: list[Grey | None] = []
        for frame, source in zip(ahead, sources, strict=True):
            in_time = frame is not None and abs(frame.t_ns - newest) <= 0.75e9 / source.fps
            grey = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY) if frame and in_time else None
            moment.append(grey)  # pyright: ignore[reportArgumentType]
        yield moment
        ahead = _next_of(sources, ahead)


def _next_of(sources: Sequence[FrameSource], ahead: list[Frame | None]) -> list[Frame | None]:
    """Of every source that has not ended."""
    return [None if f is None else next(s, None) for s, f in zip(sources, ahead, strict=True)]


def adds(
    seen: list[BoardSight | None],
    kept: list[list[BoardSight | None]],
    sizes: list[tuple[int, int]],
) -> bool:
    """Whether some camera saw the board 3 % of its picture away from where it was in every moment
    that is kept; a board that is held still would count many times."""
    import numpy as np

    for k, sight in enumerate(seen):
        if sight is None:
            continue
        for before in kept:
            old = before[k]
            if old is None:
                continue
            _, a, b = np.intersect1d(sight.ids, old.ids, return_indices=True)
            if len(a) >= 4:
                moved = np.linalg.norm(sight.pixels[a] - old.pixels[b], axis=1).max()
                if moved < 0.03 * max(sizes[k]):
                    break
        else:
            return True
    return False


def report_lines(result: Calibration) -> list[str]:
    """What a user wants to know of the result."""
    import numpy as np

    lines: list[str] = []
    for camera, report in zip(result.cameras, result.reports, strict=True):
        wide = np.rad2deg(2 * np.arctan(camera.size[0] / 2 / camera.focal[0]))
        lines.append(
            f"{report.name}: {camera.distortion.model}, {report.error_px:.2f} pixels off (root "
            f"mean square; worst {report.worst_px:.1f}) in {report.views} views, focal length "
            f"{camera.focal[0]:.1f} +- {report.focal_part * camera.focal[0]:.1f} pixels"
            + (f" ({wide:.0f} degrees across)" if camera.distortion.model != "fisheye" else "")
            + f", {report.covered.mean():.0%} of the picture covered"
        )
        lines += [f"  {hint}" for hint in report.hints()]
    first = result.cameras[0].world_from_camera.inverse()
    for camera in result.cameras[1:]:
        apart = first @ camera.world_from_camera
        lines.append(
            f"{camera.name}: {1e3 * float(np.linalg.norm(apart.xyz)):.0f} mm from "
            f"{result.cameras[0].name}, turned {np.rad2deg(np.linalg.norm(apart.rotvec())):.1f} "
            "degrees"
        )
    return lines
