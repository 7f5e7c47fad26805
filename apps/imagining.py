"""Pictures that follow words, with all that they need, opened and closed together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from apps.imagine_models import close_models, open_models
from apps.imagine_panels import ImagineOptions, ImaginePanels
from apps.preview_options import PreviewOptions
from apps.shelf_row import open_shelf
from overlay.board import PanelBoard
from streams.mark import Mark
from streams.view import View


@contextlib.contextmanager
def imagining(
    preview: PreviewOptions,
    board: PanelBoard,
    view: View,
    mark: Callable[[Mark], None],
    around_head: bool = False,
) -> Iterator[ImaginePanels]:
    """What `preview` asks for, on `board`. Raises UsageError, FailedError."""
    models = open_models(preview.model_options())
    try:
        options = ImagineOptions(
            view, preview.prompt or "", preview.seed, preview.place, shelf=open_shelf(preview),
            around_head=around_head,
        )  # fmt: skip
        with ImaginePanels(board, models, options, mark) as imagined:
            yield imagined
    finally:
        close_models(models)
