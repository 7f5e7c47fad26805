"""Person from background, against a drawn person whose outline is known exactly."""

from __future__ import annotations

import numpy as np
import pytest

from avatar.codec import Avatar
from benchmarks.portraits import portrait
from render.renderer import RenderOptions, open_renderer
from streams.camera import Camera
from streams.view import View
from tracking.segmentation import PersonSegmenter


def test_outline_of_a_drawn_person() -> None:
    view = View.from_camera(Camera.from_fov((320, 320), 0.8))
    with (
        Avatar.open("amara") as avatar,
        open_renderer("gl", RenderOptions(antialias="none")) as renderer,
        PersonSegmenter() as segmenter,
    ):
        state = portrait(avatar, {}, (0.0, 0.0), (0.0, 0.2, 0.0))
        image = renderer.draw(avatar.rig(state), view)
        rgb = np.ascontiguousarray(image.rgba[..., :3])
        mask = segmenter.person(rgb)
        again = segmenter.person(rgb)
    truth = image.depth > 0
    found = mask > 0.5
    assert mask.shape == (320, 320)
    assert 0.0 <= mask.min() <= mask.max() <= 1.0
    assert (truth & found).sum() / (truth | found).sum() > 0.9
    assert mask.tobytes() == again.tobytes()


def test_bad_pictures_and_closed_segmenters() -> None:
    with PersonSegmenter() as segmenter:
        for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)):
            with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\)"):
                segmenter.person(wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="closed"):
        segmenter.person(np.zeros((8, 8, 3), np.uint8))
