"""`visavis imagine`: a picture of some words, in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from apps.usage import FailedError, UsageError, parse_size

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


SUFFIXES = (".png", ".webp", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class Imagine:
    """Make a picture of what you say, labelled with what made it. By default it is composed of
    drawn stickers, at once and offline; `visavis preview --imagine` does so while you type."""

    prompt: tyro.conf.Positional[str]
    """What to show, for example "a blue cat next to a red car"."""
    out: Path
    """FILE.png to write (or .webp; .jpg has no transparency)."""
    model: str = "stickers"
    """stickers: composed of drawings that come with this program; generator: a small net that comes
    with it and truly generates, but knows 298 things only, one or two at a time, and is not as
    sharp; endpoint:URL#MODEL: a server that speaks OpenAI's images API (key: VISAVIS_IMAGES_KEY or
    keyring); diffusers:NAME: a pipeline in a folder or on the Hugging Face hub."""
    style: str = ""
    """A style that the model knows; stickers: noto or fluent."""
    seed: int = 0
    """Another seed gives another picture of the same words."""
    size: str = "512x512"
    """WIDTHxHEIGHT of the picture."""
    steps: int | None = None
    """Denoising steps of diffusers: 1 to 4 for distilled models, 20 and more for others."""
    accept_licence: tuple[str, ...] = ()
    """Models whose terms you have read and accept; only permissive ones need no acceptance."""
    like: Path | None = None
    """A picture (PNG, JPEG, WebP) to follow, where the model can."""
    refuse: tuple[Path, ...] = ()
    """Files with words that no picture is made of, beside the list that comes with the program."""
    offline: bool = False
    """Promise that nothing is asked of the network: whatever tries fails."""
    price: float | None = None
    """What a picture of the endpoint costs, US dollars; the sum is shown."""

    def run(self) -> int:
        """0 when the picture is written."""
        from apps.imagine_models import ModelOptions, close_models, open_models
        from apps.provenance import EXTRA, credentials, is_available, origin_of
        from apps.video_writer import check_writable
        from overlay.image_model import ModelError, final_step
        from overlay.image_panel import PictureError
        from overlay.wish import PromptError, Wish

        if self.out.suffix.lower() not in SUFFIXES:
            raise UsageError(f"--out {self.out}: expected a name that ends in {SUFFIXES[0]}")
        try:
            size = parse_size(self.size)
            wish = Wish(self.prompt, self.style, self.seed, size, self._reference())
        except PromptError as error:
            raise UsageError(str(error)) from error
        except (UsageError, PictureError):
            raise
        except ValueError as error:
            raise UsageError(str(error)) from error
        check_writable(self.out)
        options = ModelOptions(
            (self.model,),
            self.offline,
            self.price,
            self.accept_licence,
            steps=self.steps,
            refuse=self.refuse,
        )
        (model,) = open_models(options)
        try:
            step = final_step(model, wish)
        except (ModelError, PromptError) as error:
            raise FailedError(str(error)) from error
        finally:
            close_models([model])
        with credentials(self.out, origin_of(model, wish)) as path:
            write_picture(path, labelled(step.rgba, model.label))
        print(
            f"wrote {self.out}: {model.name} ({model.licence}), seed {wish.seed}, labelled AI, "
            + ("with content credentials" if is_available() else f"no credentials: {EXTRA}")
        )
        return 0

    def _reference(self) -> npt.NDArray[np.uint8] | None:
        from overlay.image_panel import read_picture

        return None if self.like is None else read_picture(self.like)


def labelled(rgba: npt.NDArray[np.uint8], label: str) -> npt.NDArray[np.uint8]:
    """(H, W, 4) with the renderer's label on it."""
    from overlay.image_panel import image_panel
    from render.panels import labelled_picture
    from streams.rigid import Rigid

    return labelled_picture(image_panel("imagined", rgba, "world", Rigid.identity(), 0.3, label))


def write_picture(path: Path, rgba: npt.NDArray[np.uint8]) -> None:
    """PNG, WebP or, on white, JPEG. Raises FailedError when the file cannot be written."""
    from PIL import Image as PillowImage

    picture = PillowImage.fromarray(rgba)
    try:
        if path.suffix.lower() in (".jpg", ".jpeg"):
            white = PillowImage.new("RGBA", picture.size, (255, 255, 255, 255))
            PillowImage.alpha_composite(white, picture).convert("RGB").save(path, quality=92)
        else:
            picture.save(path)
    except OSError as error:
        raise FailedError(f"{path}: cannot be written: {error.strerror or error}") from error
