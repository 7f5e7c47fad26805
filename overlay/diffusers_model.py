"""Pictures by any text-to-image pipeline that `diffusers` can open, on the CPU or a CUDA card."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PillowImage

from overlay.image_model import ModelError, ModelStep
from overlay.model_licence import licence_of
from overlay.wish import Wish

if TYPE_CHECKING:
    from overlay.stream_batch import StreamBatch, StreamBatchOptions

EXTRA = "pip install 'visavis[diffusers]'"
_MULTIPLE = 8
"""Pixels: latent pictures are eighths, and decoders give back multiples of it."""


@dataclass(frozen=True, slots=True)
class DiffusersOptions:
    """Which pipeline, and how it is run."""

    name: str
    """A folder, or a name on the Hugging Face hub."""
    steps: int = 4
    """1 to 4 for distilled models ("turbo", "schnell", "lightning", "LCM"); others need 20."""
    guidance: float = 0.0
    """Classifier-free guidance; distilled models want none."""
    strength: float = 0.6
    """How far a picture may go from its reference, 0 to 1."""
    device: str = ""
    """Empty: a CUDA card where there is one, else the CPU."""
    accepted: tuple[str, ...] = ()
    """Models whose terms the user has accepted."""
    local_only: bool = False
    """Download nothing."""

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 100:
            raise ValueError(f"DiffusersOptions.steps: expected 1 to 100, got {self.steps}")
        if not 0.0 < self.strength <= 1.0:
            raise ValueError(f"DiffusersOptions.strength: expected 0 to 1, got {self.strength}")


class DiffusersModel:
    """An ImageModel over a pipeline. First comes what one step makes, then the whole picture.

    Raises ModelError when the package or the model is not there, or its terms are not accepted.
    """

    instant = False
    generates = True

    def __init__(self, options: DiffusersOptions) -> None:
        licence = licence_of(options.name)
        licence.require(options.accepted)
        self.options = options
        self.licence = licence.name
        short = options.name.rstrip("/").rpartition("/")[2]
        self.name = f"{short}, {options.steps} steps"
        self.label = short
        self._text: Any = None
        self._text, self.device, self.dtype = _open_pipeline(options)
        self._image: Any = None
        self._encoded = functools.lru_cache(maxsize=32)(self._encode)
        self._arguments = frozenset(inspect.signature(self._text.__call__).parameters)

    @property
    def vram_bytes(self) -> int:
        """The most that was held on the CUDA card since the model was opened; 0 on the CPU."""
        import torch

        return torch.cuda.max_memory_allocated() if self.device == "cuda" else 0

    def steps(self, wish: Wish, cancelled: Callable[[], bool]) -> Generator[ModelStep, None, None]:
        """(H, W, 4), opaque. The same seed starts from the same noise, so that a word more changes
        the picture and does not replace it."""
        plan = [1, self.options.steps] if self.options.steps > 1 else [1]
        for number, count in enumerate(plan, start=1):
            picture = self._run(wish, count, cancelled)
            if picture is None:
                return
            yield ModelStep(number, len(plan), _finished(picture, wish.size))

    def stream(self, options: StreamBatchOptions) -> StreamBatch:
        """The same weights, for pictures that follow frames; not while `steps` runs. Raises
        ModelError for a pipeline that is not streamed."""
        if self._text is None:
            raise ModelError(f"{self.name}: was closed")
        # What draws it needs no torch until a model is opened.
        from overlay.stream_batch import StreamBatch

        return StreamBatch(self._text, options)

    def close(self) -> None:
        """Give the memory back."""
        import torch

        self._text = self._image = None
        self._encoded.cache_clear()
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def _run(
        self, wish: Wish, count: int, cancelled: Callable[[], bool]
    ) -> PillowImage.Image | None:
        """None when a newer wish came between two steps."""
        import torch

        if self._text is None:
            raise ModelError(f"{self.name}: was closed")
        pipe, given = self._text, self._asked(wish, count)
        if wish.reference is not None:
            pipe = self._image = self._image or _following(self._text, self.name)
            strength = max(self.options.strength, 1.0 / count)
            reference = PillowImage.fromarray(wish.reference).convert("RGB")
            given |= {
                "image": reference.resize((given.pop("width"), given.pop("height"))),
                "strength": strength,
                # Of n steps only strength * n are walked: as many as were asked for.
                "num_inference_steps": max(round(count / strength), 1),
            }
        stopped = False

        def after_step(running: Any, step: int, at: Any, values: Any) -> Any:
            nonlocal stopped
            del step, at
            if cancelled():
                # A private name, the only way that pipelines of diffusers 0.3x and 0.4x share;
                # where it is missing the picture is made and then not shown.
                stopped = True
                running._interrupt = True
            return values

        if "callback_on_step_end" in self._arguments:
            given["callback_on_step_end"] = after_step
        if cancelled():
            return None
        generator = torch.Generator("cpu").manual_seed(wish.seed)
        with torch.inference_mode():
            made = pipe(generator=generator, output_type="pil", **given).images[0]
        return None if stopped or cancelled() else made

    def _asked(self, wish: Wish, count: int) -> dict[str, Any]:
        """The pipeline's arguments, of those that it has."""
        width, height = latent_size(wish.size)
        given: dict[str, Any] = {
            "num_inference_steps": count,
            "guidance_scale": self.options.guidance,
            "width": width,
            "height": height,
        }
        given = {name: value for name, value in given.items() if name in self._arguments}
        embedded = self._encoded(wish.words)
        if embedded is None:
            return {"prompt": wish.words, **given}
        return {"prompt_embeds": embedded, **given}

    def _encode(self, prompt: str) -> Any:
        """The prompt's vectors where the pipeline takes just these (Stable Diffusion 1 and 2), so
        that the same words are not read anew; else None."""
        pipe = self._text
        if type(pipe).__name__ != "StableDiffusionPipeline" or self.options.guidance > 1.0:
            return None
        import torch

        with torch.inference_mode():
            return pipe.encode_prompt(prompt, self.device, 1, False)[0]


def _open_pipeline(options: DiffusersOptions) -> tuple[Any, str, Any]:
    try:
        import torch
        from diffusers.pipelines.auto_pipeline import AutoPipelineForText2Image
        from diffusers.utils import logging
    except ImportError as error:
        raise ModelError(f"{options.name}: needs diffusers; {EXTRA}") from error
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device != "cuda":
        dtype = torch.float32
    else:
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    try:
        pipe = AutoPipelineForText2Image.from_pretrained(
            options.name, dtype=dtype, local_files_only=options.local_only
        ).to(device)
    except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
        text = " ".join(str(error).split())[:200]
        raise ModelError(f"{options.name}: cannot be opened as a pipeline: {text}") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe, device, dtype


def _following(pipe: Any, name: str) -> Any:
    """The same weights as a pipeline that follows a picture."""
    from diffusers.pipelines.auto_pipeline import AutoPipelineForImage2Image

    try:
        following = AutoPipelineForImage2Image.from_pipe(pipe)
    except ValueError as error:
        raise ModelError(f"{name}: cannot follow a picture; leave --like away") from error
    following.set_progress_bar_config(disable=True)
    return following


def latent_size(size: tuple[int, int]) -> tuple[int, int]:
    """The smallest (width, height) that covers `size` and that decoders give back."""
    width, height = (-(-side // _MULTIPLE) * _MULTIPLE for side in size)
    return width, height


def _finished(picture: PillowImage.Image, size: tuple[int, int]) -> np.ndarray:
    rgba = picture.convert("RGBA")
    if rgba.size != size:
        rgba = rgba.resize(size, PillowImage.Resampling.LANCZOS)
    return np.array(rgba, np.uint8)
