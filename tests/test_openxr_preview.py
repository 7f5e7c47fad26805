"""What `visavis preview --openxr` does between a pipeline and a frame loop, without a runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from apps.openxr_preview import HeadsetPreview
from headset.openxr.frame_loop import HeadsetFrame
from headset.openxr.projection_layer import EyeImage
from streams.headset_sample import HeadsetSample
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.rigid import Rigid
from streams.topology import Topology
from streams.view import View

SIZE = (64, 48)


def mesh(t_ns: int) -> MeshTexture:
    empty = np.empty((0, 3), np.float32)
    topology = Topology(
        "nobody",
        np.empty((0, 3), np.int32),
        np.empty((0, 2), np.float32),
        np.empty(0, np.uint8),
        np.empty((0, 0, 4), np.uint8),
    )
    return MeshTexture(t_ns, topology, empty, empty, np.empty((0, 0, 3), np.uint8))


def eyes(t_ns: int, x: float = 0.0) -> tuple[View, View]:
    front = View.front(SIZE, t_ns)
    left, right = (
        View(
            t_ns,
            name,
            Rigid.from_translation((x + side, 0.1, 0.2)) @ front.world_from_eye,
            front.fov,
            SIZE,
        )
        for name, side in (("left", -0.03), ("right", 0.03))
    )
    return left, right


def frame(t_ns: int, x: float = 0.0) -> HeadsetFrame:
    images = EyeImage(11, 12, SIZE), EyeImage(21, None, SIZE)
    return HeadsetFrame(t_ns, 11_111_111, eyes(t_ns, x), images)


def panel() -> Panel:
    rgba = np.full((2, 2, 4), 255, np.uint8)
    return Panel("p", rgba, "world", Rigid.identity(), (0.1, 0.1))


def test_every_frame_draws_the_newest_mesh_for_both_eyes() -> None:
    drawn: list[tuple[Any, ...]] = []
    preview = HeadsetPreview(
        lambda mesh, view, image: drawn.append((mesh.t_ns, view.eye, view.t_ns, image.colour))
    )
    assert preview.draw(frame(100)) is None, "nothing is there yet"
    preview.take(mesh(1), View.front(), ())
    preview.take(mesh(2), View.front(), (panel(),))
    panels = preview.draw(frame(200))
    assert panels is not None
    assert [p.id for p in panels] == ["p"]
    # The display's next frame comes before the next mesh.
    preview.draw(frame(300))
    assert drawn == [
        (2, "left", 200, 11), (2, "right", 200, 21), (2, "left", 300, 11), (2, "right", 300, 21),
    ]  # fmt: skip
    assert (preview.drawn, preview.meshes) == (2, 2)


def test_the_avatar_is_decoded_for_the_place_between_the_eyes() -> None:
    preview = HeadsetPreview(lambda mesh, view, image: None)
    source = View.front((320, 240), 50)
    assert preview.view_for(source) is source
    preview.draw(frame(400, x=0.5))
    view = preview.view_for(source)
    assert (view.eye, view.t_ns, view.size) == ("mono", 400, SIZE)
    assert np.allclose(view.world_from_eye.xyz, [0.5, 0.1, 0.2])
    assert np.allclose(view.world_from_eye.wxyz, source.world_from_eye.wxyz)
    late = preview.view_for(View.front((320, 240), 900))
    assert late.t_ns == 900, "the wearer took the headset off: their last view holds"


def test_samples_are_heard_by_whoever_asks() -> None:
    heard: list[HeadsetSample] = []
    preview = HeadsetPreview(lambda mesh, view, image: None, heard.append)
    sample = HeadsetSample(5, Rigid.identity())
    preview.hear(sample)
    letter = preview.samples.newest()
    assert letter is not None
    assert letter.value is heard[0] is sample


def test_what_drawing_raises_goes_on_to_the_frame_loop() -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("the card is gone")

    preview = HeadsetPreview(fails)
    preview.take(mesh(1), View.front(), ())
    with pytest.raises(RuntimeError, match="the card is gone"):
        preview.draw(frame(1))
    assert preview.drawn == 0
