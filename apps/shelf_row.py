"""The row of pictures under the imagined one: of all that there is the nearest to the words."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from apps.preview_options import PreviewOptions
from avatar.signature import user_folder
from overlay.board import PanelBoard
from overlay.generation_event import PictureUpdate
from overlay.image_model import ModelError
from overlay.image_panel import PictureError, image_panel
from overlay.panel_places import PanelPlace
from overlay.shelf import Shelf, ShelfItem
from overlay.sticker_search import shipped_search
from overlay.svg_process import SvgProcess
from streams.closing import Closing
from streams.panel import Panel
from streams.rigid import Rigid

COUNT = 4
_SIDE = 128
_ID = "shelf "
_GAP = 0.06
"""Between two of them, of one's width."""

Row = list[tuple[ShelfItem, npt.NDArray[np.uint8]]]


def open_shelf(preview: PreviewOptions) -> Shelf:
    """What this user made before, their own folders, and the stickers."""
    return Shelf(shipped_search(), user_folder() / "imagined", preview.shelf)


class ShelfRow(Closing):
    """Looks for pictures in a thread of its own; `refresh` shows what was found."""

    def __init__(self, board: PanelBoard, shelf: Shelf) -> None:
        self._board, self._shelf = board, shelf
        self._worker = ThreadPoolExecutor(1, "shelf")
        self._drawing = SvgProcess()
        self._looking: Future[Row] | None = None
        self.row: Row = []
        self._above: PanelPlace | None = None

    def ask(self, text: str) -> None:
        """Look for this from now on; an older search that has not begun is given up."""
        if self._looking is not None:
            self._looking.cancel()
        self._looking = self._worker.submit(self._found, text)

    def keep(self, update: PictureUpdate) -> None:
        """Put a made picture on the shelf, in the other thread."""
        self._worker.submit(self._shelf.keep, update)

    def refresh(self, above: PanelPlace) -> None:
        """Show what was found, in a row under that place."""
        if self._looking is None or not self._looking.done():
            return
        looked, self._looking = self._looking, None
        if looked.cancelled() or looked.exception() is not None:
            return
        before, self.row = self.row, looked.result()
        if above is not self._above:
            before, self._above = [], above
        for number in range(COUNT):
            if number >= len(self.row):
                self._board.remove(f"{_ID}{number}")
            elif number >= len(before) or before[number][0].source != self.row[number][0].source:
                # One that stays is not sent to the graphics card again.
                self._board.put(self._panel(number, above))

    def at(self, number: int) -> tuple[ShelfItem, npt.NDArray[np.uint8]] | None:
        """One of the row and its picture, the nearest being 0; None where there is none."""
        return self.row[number] if 0 <= number < len(self.row) else None

    def close(self) -> None:
        """Finish what is being kept, and end the thread."""
        self._worker.shutdown(wait=True, cancel_futures=False)
        self._drawing.close()

    def _found(self, text: str) -> Row:
        found: Row = []
        if not text.strip():
            return found
        for item in self._shelf.ranked(text, COUNT):
            try:
                found.append((item, item.picture(_SIDE, self._drawing.draw)))
            except (PictureError, ModelError):
                # Somebody removed the file, or ended the process that draws.
                continue
        return found

    def _panel(self, number: int, above: PanelPlace) -> Panel:
        item, picture = self.row[number]
        width = above.tall / (COUNT + _GAP * (COUNT - 1))
        height, wide = picture.shape[:2]
        tall = width * min(1.0, height / wide)
        across = (number - (COUNT - 1) / 2) * width * (1 + _GAP)
        place = Rigid.from_translation((across, -(above.tall + width) / 2 - 0.1 * width, 0.0))
        return image_panel(
            *(f"{_ID}{number}", picture, "world", above.world_from_panel @ place, tall),
            item.label,
        )


def shelf_number(panel_id: str) -> int | None:
    """Which place of the row a panel has, from 0; None for other panels."""
    number = panel_id.removeprefix(_ID)
    return int(number) if panel_id != number and number.isdecimal() else None
