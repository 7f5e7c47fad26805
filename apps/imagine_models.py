"""The models that make pictures, opened by the names that a command line gives them."""

from __future__ import annotations

from collections.abc import Sequence

from apps.usage import FailedError, UsageError
from assets.manifest import AssetError
from overlay.image_model import ImageModel

KINDS = "stickers"


def open_models(specs: Sequence[str]) -> list[ImageModel]:
    """In their order. Raises UsageError for an unknown name, FailedError when one cannot be had;
    those that were open are closed then."""
    models: list[ImageModel] = []
    try:
        for spec in specs:
            models.append(_open(spec))
    except BaseException:
        for model in models:
            model.close()
        raise
    if not models:
        raise UsageError(f"--model: expected at least one of {KINDS}")
    return models


def _open(spec: str) -> ImageModel:
    kind, _, where = spec.partition(":")
    if kind == "stickers" and not where:
        from overlay.sticker_model import StickerModel

        try:
            return StickerModel()
        except AssetError as error:
            raise FailedError(str(error)) from error
    raise UsageError(f"--model {spec}: expected one of {KINDS}")
