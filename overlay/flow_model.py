"""Pictures by the small generator that ships: words in, a picture of 128 pixels in four steps.

The net was trained by `overlay.training` on drawings of things, alone in a named colour and two
beside each other, and knows nothing else. So the words are read by the same grammar as stickers'
are, and what is no such thing it leaves to them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard
from PIL import Image as PillowImage

from assets.manifest import AssetError, asset_path
from overlay.image_model import ModelError, ModelStep, NothingForItError
from overlay.onnx_session import open_session
from overlay.scene_words import Scene, read_scene
from overlay.sticker_search import StickerSearch, bare_emoji, shipped_search
from overlay.text_encoder import TextEncoder
from overlay.wish import Wish

ASSET = "models/generator.onnx.zst"
_LARGEST = 256 << 20
_HAZE = 0.03
"""Alpha so near to nothing or to everything means that: the net never quite reaches them."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the file of a net says of what it learned."""

    side: int
    """Pixels a side."""
    times: tuple[float, ...]
    """Where its steps begin; the last one ends at 1."""
    style: str
    """The only one."""
    colours: tuple[str, ...]
    names: dict[str, str]
    """Emoji of a thing -> what captions called it."""
    tokens: int
    """Pieces of a caption that it reads."""

    @staticmethod
    def read(text: str) -> Lesson:
        """Raises ValueError for what is no such record."""
        try:
            read = json.loads(text)
            return Lesson(
                int(read["side"]),
                tuple(float(time) for time in read["times"]),
                str(read["style"]),
                tuple(read["colours"]),
                {bare_emoji(emoji): str(name) for emoji, name in read["names"].items()},
                int(read["tokens"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the record of a net: {error!r}") from error

    def pictures(
        self, session: Any, told: dict[str, npt.NDArray[np.float32]], noise: npt.NDArray[np.float32]
    ) -> Iterator[npt.NDArray[np.float32]]:
        """After each step what the net takes for the clean picture, (1, 4, S, S): Euler's steps
        along the flow, whose velocity points from where it is to there."""
        state = noise
        for number, time in enumerate(self.times, 1):
            feed = {"state": state, "time": np.array([time], np.float32), **told}
            clean: npt.NDArray[np.float32] = session.run(["clean"], feed)[0]
            yield clean
            if number < len(self.times):
                share = np.float32((self.times[number] - time) / (1.0 - time))
                state = state + share * (clean - state)


class FlowModel:
    """An ImageModel. Its file is opened at the first wish, so that a damaged one costs a message
    and not the program."""

    name = "generator 1"
    label = "Visavis generator 1"
    licence = "Apache-2.0"
    instant = False
    generates = True

    def __init__(self, search: StickerSearch | None = None, threads: int = 1) -> None:
        """`threads`: of the net; more than one would take turns with whatever draws."""
        self._search = search
        self._threads = threads
        self._net: tuple[Any, Lesson] | None = None
        self._opening = threading.Lock()

    def steps(self, wish: Wish, cancelled: Callable[[], bool]) -> Generator[ModelStep, None, None]:
        """(H, W, 4) with transparency, the net's square in the middle.

        Raises NothingForItError where the words say what it has not learned, ModelError when its
        file cannot be used.
        """
        session, lesson = self._opened()
        if wish.style not in ("", lesson.style):
            raise NothingForItError(
                f"{self.name}: has learned the style {lesson.style}, not {wish.style}"
            )
        search = self._search or shipped_search()
        caption = caption_of(wish.prompt, lesson, search)
        words, sentence = encode_caption(caption, lesson.tokens, search.encoder)
        noise = np.random.default_rng(wish.seed).standard_normal(
            (1, 4, lesson.side, lesson.side), np.float32
        )
        if cancelled():
            return
        told = {"words": words, "sentence": sentence}
        for number, clean in enumerate(lesson.pictures(session, told, noise), 1):
            square = straight_alpha(clean[0])
            yield ModelStep(number, len(lesson.times), framed(square, wish.size))
            if cancelled():
                return

    def close(self) -> None:
        """Give the net back."""
        self._net = None

    def _opened(self) -> tuple[Any, Lesson]:
        with self._opening:
            if self._net is None:
                self._net = open_net(self._threads)
            return self._net


def open_net(threads: int) -> tuple[Any, Lesson]:
    """The shipped net's session and record. Raises ModelError when they cannot be had."""
    try:
        packed = asset_path(ASSET).read_bytes()
        net = zstandard.ZstdDecompressor().decompress(packed, max_output_size=_LARGEST)
        session = open_session(net, threads)
        lesson = Lesson.read(session.get_modelmeta().custom_metadata_map.get("lesson", "{}"))
    except AssetError as error:
        raise ModelError(f"the generator's file: {error}") from error
    except Exception as error:
        # onnxruntime has exceptions of its own for every way in which a file can be no net.
        raise ModelError(f"the generator's file cannot be used: {str(error)[:200]}") from error
    return session, lesson


def caption_of(prompt: str, lesson: Lesson, search: StickerSearch) -> str:
    """The prompt in the words that the net was trained with. Raises NothingForItError."""
    scene = read_scene(prompt, search)
    names = [_name(scene, place, lesson, search) for place in range(len(scene.things))]
    known = 1 <= len(names) <= 2 and scene.place is None and scene.hour is None
    if len(names) == 2 and scene.things[1].relation != "beside":
        known = False
    if not known or None in names:
        raise NothingForItError(
            "the generator has learned single things in ten colours and two of them beside each "
            f"other; nothing it knows is meant by {prompt[:60]!r}"
        )
    return " next to ".join(with_article(str(name)) for name in names)


def _name(scene: Scene, place: int, lesson: Lesson, search: StickerSearch) -> str | None:
    """What captions called a thing, with its colour; None for what is no lesson."""
    thing = scene.things[place]
    words, colour = thing.words, thing.colour
    if colour is None and len(words) > 1 and words[0] in lesson.colours:
        # A sticker of its own is called "red car"; here the colour is what counts.
        colour, words = words[0], words[1:]
    sticker = search.by_emoji(words[0]) if len(words) == 1 else None
    match = None if sticker else search.find(words)
    sticker = sticker or (match.sticker if match else None)
    if sticker is None or thing.count != 1 or colour not in (None, *lesson.colours):
        return None
    name = lesson.names.get(bare_emoji(sticker.emoji))
    return f"{colour} {name}" if colour and name else name


def with_article(text: str) -> str:
    """As captions name a thing."""
    return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"


def encode_caption(
    caption: str, count: int, encoder: TextEncoder
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(1, count, 384) pieces, zero beyond the end, and (1, 384) of length 1."""
    tokens = encoder.tokens(caption)
    words = np.zeros((1, count, tokens.shape[1]), np.float32)
    words[0, : min(len(tokens), count)] = tokens[:count]
    mean = tokens.mean(axis=0, keepdims=True)
    return words, (mean / np.linalg.norm(mean)).astype(np.float32)


def straight_alpha(picture: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """(4, S, S) premultiplied RGBA, -1 to 1 -> (S, S, 4) uint8 with straight alpha."""
    rgba = (np.clip(picture, -1.0, 1.0).transpose(1, 2, 0) + 1.0) / 2.0
    alpha = rgba[..., 3:]
    colour = np.clip(rgba[..., :3] / np.maximum(alpha, 1.0 / 255.0), 0.0, 1.0)
    alpha = np.clip((alpha - _HAZE) / (1.0 - 2.0 * _HAZE), 0.0, 1.0)
    return np.rint(np.concatenate([colour, alpha], axis=2) * 255.0).astype(np.uint8)


def framed(square: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(S, S, 4) -> (H, W, 4) of that (width, height): as large as fits, in the middle."""
    width, height = size
    side = min(size)
    # Pillow weighs colours with their alpha here, so that no dark rim comes from what is clear.
    grown = PillowImage.fromarray(square).resize((side, side), PillowImage.Resampling.BICUBIC)
    whole = np.zeros((height, width, 4), np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    whole[top : top + side, left : left + side] = np.asarray(grown)
    return whole
