"""The models that make pictures, opened by the names that a command line gives them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from apps.usage import FailedError, UsageError
from assets.manifest import AssetError
from overlay.image_model import ImageModel, ModelError
from overlay.prompt_filter import FilteredModel, PromptFilter
from overlay.wish import PromptError

KINDS = "stickers, generator, endpoint:URL#MODEL or diffusers:NAME"


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What the models are opened with."""

    specs: tuple[str, ...] = ("stickers",)
    offline: bool = False
    """Open none that needs the network, and let nothing else use it."""
    price: float | None = None
    """Of one picture from an endpoint, US dollars."""
    accepted: tuple[str, ...] = ()
    """Models whose terms the user has accepted."""
    live: bool = False
    """Whether something is drawn meanwhile, which must not be held up."""
    steps: int | None = None
    """Denoising steps."""
    refuse: tuple[Path, ...] = ()
    """Lists of words that no picture is made of, beside the shipped one."""


def open_models(options: ModelOptions) -> list[ImageModel]:
    """In their order. Raises UsageError for an unknown name, FailedError when one cannot be had;
    those that were open are closed then."""
    if options.offline:
        from overlay.offline import forbid_network

        forbid_network()
    if options.price is not None and not 0.0 <= options.price < float("inf"):
        raise UsageError(f"--price {options.price:g}: expected US dollars, 0 or more")
    if not options.specs:
        raise UsageError(f"--model: expected at least one of {KINDS}")
    try:
        prompts = PromptFilter.read(*options.refuse)
    except PromptError as error:
        raise UsageError(str(error)) from error
    models: list[ImageModel] = []
    try:
        for spec in options.specs:
            models.append(FilteredModel(_open(spec, options), prompts))
    except BaseException as error:
        close_models(models)
        if isinstance(error, AssetError | ModelError):
            raise FailedError(str(error)) from error
        raise
    return models


def close_models(models: Sequence[ImageModel]) -> None:
    """Give everything back, and say what it cost."""
    for model in models:
        model.close()
        inner = model.inner if isinstance(model, FilteredModel) else model
        spent = getattr(inner, "spent", None)
        if spent is not None and spent.pictures:
            print(f"{model.name}: {spent.text()}", file=sys.stderr)


def _open(spec: str, options: ModelOptions) -> ImageModel:
    kind, _, where = spec.partition(":")
    if kind == "stickers" and not where:
        from overlay.sticker_model import StickerModel
        from overlay.svg_process import SvgProcess

        return StickerModel(process=SvgProcess() if options.live else None)
    if kind == "generator" and not where:
        from overlay.flow_model import FlowModel

        return FlowModel()
    if kind == "endpoint" and where:
        if options.offline:
            raise UsageError(f"--model {spec}: needs the network; leave --offline away")
        from overlay.endpoint_model import EndpointModel, EndpointOptions, find_key

        url, _, name = where.partition("#")
        try:
            chosen = EndpointOptions(url, name, price=options.price)
        except ValueError as error:
            raise UsageError(f"--model {spec}: {error}") from error
        return EndpointModel(chosen, find_key(url))
    if kind == "diffusers" and where:
        from overlay.diffusers_model import DiffusersModel, DiffusersOptions

        try:
            steps = 4 if options.steps is None else options.steps
            wanted = DiffusersOptions(
                where, steps, accepted=options.accepted, local_only=options.offline
            )
        except ValueError as error:
            raise UsageError(f"--model {spec}: {error}") from error
        return DiffusersModel(wanted)
    raise UsageError(f"--model {spec}: expected {KINDS}")
