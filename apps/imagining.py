"""Pictures that follow words, with all that they need, opened and closed together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from apps.followed import Followed
from apps.imagine_models import close_models, following_of, open_models
from apps.imagine_panels import ImagineOptions, ImaginePanels
from apps.preview_options import PreviewOptions
from apps.shelf_row import open_shelf
from apps.spoken_prompt import spoken_words
from overlay.board import PanelBoard
from streams.mark import Mark
from streams.view import View


@dataclass(frozen=True, slots=True)
class Imagining:
    """Panels that follow words, and what the pictures follow beside."""

    panels: ImaginePanels
    followed: Followed | None


@contextlib.contextmanager
def imagining(
    preview: PreviewOptions,
    board: PanelBoard,
    view: View,
    mark: Callable[[Mark], None],
    around_head: bool = False,
) -> Iterator[Imagining]:
    """What `preview` asks for, on `board`. Raises UsageError, FailedError."""
    models = open_models(preview.model_options())
    try:
        options = ImagineOptions(
            view, preview.prompt or "", preview.seed, preview.place, shelf=open_shelf(preview),
            around_head=around_head,
        )  # fmt: skip
        with (
            spoken_words() as spoken,
            ImaginePanels(board, models, options, mark, spoken=spoken) as panels,
            contextlib.ExitStack() as opened,
        ):
            followed = None
            if preview.like is not None and (following := following_of(models)) is not None:
                followed = opened.enter_context(Followed(following, preview.like, view))
            yield Imagining(panels, followed)
    finally:
        close_models(models)
