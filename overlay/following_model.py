"""A picture that follows a stream of frames: what a camera sees, or an avatar as it looks now.

The words say what is made of the frames. An ImageModel whose picture never ends: each step is the
picture of a newer frame, until other words come.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator

import cv2
import numpy as np
import numpy.typing as npt

from overlay.diffusers_model import DiffusersModel, latent_size
from overlay.image_model import ModelStep
from overlay.similar_frames import SimilarFrames
from overlay.stream_batch import StreamBatch, StreamBatchOptions
from overlay.wish import Wish
from streams.mailbox import Mailbox, SeamClosedError

Rgb = npt.NDArray[np.uint8]

ENDLESS = 1 << 31
"""Steps that there will be: more than anybody waits for."""
LOOK_S = 0.05
"""How often somebody who waits for a frame looks whether it is still wanted."""


class FollowingModel:
    """Over a Stable Diffusion pipeline. `put` gives it frames; those that hardly differ from the
    last are passed over. Raises ModelError for a pipeline that is not streamed.
    """

    instant = False
    generates = True

    def __init__(self, model: DiffusersModel, follows: str) -> None:
        """`follows`: what the frames show, for the name."""
        self._model = model
        self._stream_of(0)
        self.name = f"{model.label}, following the {follows}"
        self.label, self.licence = model.label, model.licence
        self._newest: Mailbox[Rgb] = Mailbox("frames to follow")
        self._hungry = threading.Event()

    @property
    def hungry(self) -> bool:
        """Whether a frame is waited for: making one that nobody takes can be left out."""
        return self._hungry.is_set()

    def put(self, frame: Rgb) -> None:
        """(H, W, 3) uint8 sRGB, the newest; any one thread, never waits. After `close` it is
        ignored."""
        try:
            self._newest.put(frame)
        except SeamClosedError:
            return

    def steps(self, wish: Wish, cancelled: Callable[[], bool]) -> Generator[ModelStep, None, None]:
        """One step a frame, (H, W, 4) opaque, the frame's middle in the wish's shape."""
        stream, similar = self._stream_of(wish.seed), SimilarFrames(seed=wish.seed)
        stream.prompt(wish.words)
        size = latent_size(wish.size)
        made, seq = 0, -1
        try:
            while not cancelled():
                self._hungry.set()
                try:
                    letter = self._newest.wait(LOOK_S, after=seq)
                except TimeoutError:
                    continue
                except SeamClosedError:
                    return
                seq = letter.seq
                self._hungry.clear()
                frame = middle_of(letter.value, size)
                # The first picture of new words comes also where nothing moves.
                if similar.skips(frame) and made:
                    continue
                picture = stream.push(frame)
                if picture is not None:
                    made += 1
                    yield ModelStep(made, ENDLESS, _opaque(picture, wish.size))
        finally:
            self._hungry.clear()

    def close(self) -> None:
        """End waiting and give the model back."""
        self._newest.close()
        self._model.close()

    def _stream_of(self, seed: int) -> StreamBatch:
        return self._model.stream(StreamBatchOptions(seed=seed))


def middle_of(frame: Rgb, size: tuple[int, int]) -> Rgb:
    """The largest part of the frame in its middle that has the shape of `size` size,
    at that size."""
    height, width = frame.shape[:2]
    scale = min(width / size[0], height / size[1])
    w, h = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    x, y = (width - w) // 2, (height - h) // 2
    part = np.ascontiguousarray(frame[y : y + h, x : x + w])
    how = cv2.INTER_AREA if scale > 1.0 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, size, interpolation=how), np.uint8)


def _opaque(rgb: Rgb, size: tuple[int, int]) -> Rgb:
    rgba = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA), np.uint8)
    if (rgba.shape[1], rgba.shape[0]) != size:
        rgba = np.asarray(cv2.resize(rgba, size, interpolation=cv2.INTER_AREA), np.uint8)
    return rgba
