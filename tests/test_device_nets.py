"""Networks that cut their regions out on the device, against the host's crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.network_inputs import CLIP_HAND, frames
from tracking.detection import Detector
from tracking.net import NETS
from tracking.nets.device_nets import SIZES, DeviceNets
from tracking.nets.device_pictures import DevicePictures
from tracking.nets.torch_nets import TorchNet, TorchNets
from tracking.region import Cut, Picture, Region, whole_picture
from tracking.region_net import RegionNet, answers
from tracking.tiles import tiles

HAND_CUT = Cut(NETS["hand_landmarks"].input_shape[0])
ROUNDED = 0.3
"""Mean pixels of the network's input: some colours round to the neighbouring level."""


@pytest.fixture(scope="module")
def picture(demo_clip: Path) -> Picture:
    return next(frames(demo_clip, 50))


def _shown(picture: Picture, device: str = "cpu") -> DeviceNets:
    nets = DeviceNets(TorchNets(device, "float32"))
    _show(nets, picture, device)
    return nets


def _show(nets: DeviceNets, picture: Picture, device: str = "cpu") -> None:
    height, width = picture.shape[:2]
    nets.shown.show(picture, DevicePictures(torch.device(device), 1, width, height))


def _about(count: int) -> list[Region]:
    """Regions about the raised hand, no two alike."""
    return [
        Region(CLIP_HAND.x + 2.3 * k, CLIP_HAND.y, CLIP_HAND.side + 1.7 * k, 0.02 * k)
        for k in range(count)
    ]


def _require_hosts(picture: Picture, device: str) -> None:
    net = _shown(picture, device).open("hand_landmarks")
    assert isinstance(net, RegionNet)
    host = TorchNets().open("hand_landmarks")
    for count in (1, 3, SIZES[-1] + 1):
        regions = _about(count)
        found = answers(net, picture, regions, HAND_CUT)
        expected = answers(host, picture, regions, HAND_CUT)
        for a, b in zip(found, expected, strict=True):
            assert a.shape == b.shape
        assert np.abs(found[0] - expected[0]).mean() <= ROUNDED
        assert np.abs(found[1] - expected[1]).max() <= 0.05
        # Each answer is its own region's, also beyond the end of a batch.
        apart = np.abs(found[0][:, None] - expected[0][None]).mean(-1)
        assert (apart.argmin(1) == np.arange(count)).all()


def test_answers_are_those_of_the_hosts_crops(picture: Picture) -> None:
    _require_hosts(picture, "cpu")


@pytest.mark.gpu
def test_captured_answers_are_those_of_the_hosts_crops(picture: Picture) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    _require_hosts(picture, "cuda")


@pytest.mark.parametrize("network", ["face_detector", "hand_detector"])
def test_detectors_see_all_squares_at_once_and_find_the_same(
    network: str, picture: Picture
) -> None:
    squares = tiles(640, 480, (1, 2, 4))
    found = Detector(_shown(picture).open(network)).detect(picture, squares, 0.5)
    expected = Detector(TorchNets().open(network)).detect(picture, squares, 0.5)
    assert len(found) == len(expected) > 0
    for a, b in zip(found, expected, strict=True):
        assert a.score == pytest.approx(b.score, abs=0.02)
        # The same pixels to a level; the whole picture is shrunk 2.5 and 3.3 times.
        assert np.abs(np.concatenate([a.low - b.low, a.high - b.high])).max() < 2.0


def test_a_picture_that_was_not_shown_is_refused(picture: Picture) -> None:
    net = _shown(picture).open("face_detector")
    cut = Cut(128, beyond_is_black=True)
    with pytest.raises(ValueError, match="expected the picture that was shown"):
        answers(net, picture.copy(), [whole_picture(640, 480)], cut)


def test_pictures_of_another_size_are_seen_whole(picture: Picture) -> None:
    nets = _shown(picture)
    net = nets.open("hand_landmarks")
    answers(net, picture, _about(1), HAND_CUT)
    part = np.ascontiguousarray(picture[100:, :400])
    _show(nets, part)
    moved = [Region(r.x, r.y - 100.0, r.side, r.angle) for r in _about(1)]
    found = answers(net, part, moved, HAND_CUT)
    expected = answers(TorchNets().open("hand_landmarks"), part, moved, HAND_CUT)
    assert np.abs(found[0] - expected[0]).mean() <= ROUNDED


def test_blendshapes_have_no_regions(picture: Picture) -> None:
    assert isinstance(_shown(picture).open("face_blendshapes"), TorchNet)
