"""Regions cut on the device, and the steady frame, against the host's crops and LiteRT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.network_inputs import CLIP_FACE, CLIP_HAND, frames, seen
from tracking.face_landmarks import BLENDSHAPE_LANDMARKS
from tracking.nets.device_crops import Crops, DeviceCrops
from tracking.nets.litert import LiteRtNets
from tracking.nets.steady_frame import SteadyFrame, SteadyShape
from tracking.nets.torch_nets import TorchNets
from tracking.region import Cut, Region, crop

WIDTH, HEIGHT = 200, 120


def _pictures(count: int, rng: np.random.Generator) -> np.ndarray:
    """Coloured clouds of full contrast."""
    noise = rng.uniform(0.0, 255.0, (count, HEIGHT, WIDTH, 3)).astype(np.float32)
    soft = np.stack([cv2.GaussianBlur(picture, (0, 0), 2.0) for picture in noise])
    return ((soft - 127.5) * 8.0 + 127.5).clip(0, 255).astype(np.uint8)


squares = st.builds(
    Region, st.floats(-50.0, WIDTH + 50.0), st.floats(-50.0, HEIGHT + 50.0),
    st.floats(16.0, 400.0), st.floats(-3.2, 3.2),
)  # fmt: skip


@settings(max_examples=15)
@given(st.lists(squares, min_size=5, max_size=5), st.booleans(), st.integers(0, 1000))
def test_crops_are_the_hosts(regions: list[Region], black: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pictures, cameras = _pictures(3, rng), rng.integers(0, 3, 5)
    cuts = [Cut(side, black) for side in (64, 64, 48, 48, 48)]
    matrices = np.array([c.picture_from_pixel(r) for r, c in zip(regions, cuts, strict=True)])
    cutter = DeviceCrops([Crops(2, 64, (0.0, 255.0), black), Crops(3, 48, (0.0, 255.0), black)])
    groups = cutter(
        torch.from_numpy(pictures),
        torch.from_numpy(cameras),
        torch.from_numpy(matrices.astype(np.float32)),
    )
    found = [one.numpy() for group in groups for one in group]
    for one, camera, region, cut in zip(found, cameras, regions, cuts, strict=True):
        apart = np.abs(one - crop(pictures[camera], region, cut))
        # Both round to whole levels, from sums that differ in their last digits. Regions laid on
        # whole pixels have many sums halfway between two levels.
        assert apart.max() <= 1.0
        assert apart.mean() <= 0.05


def test_crops_have_the_ranges_of_their_networks() -> None:
    white = torch.full((1, HEIGHT, WIDTH, 3), 255, dtype=torch.uint8)
    white[:, :, :100] = 0
    matrix = Cut(32).picture_from_pixel(Region(100.0, 60.0, 80.0, 0.0))
    place = torch.tensor(np.array([matrix] * 2), dtype=torch.float32)
    here = torch.zeros(2, dtype=torch.int64)
    one, both = DeviceCrops([Crops(1, 32, (0.0, 1.0)), Crops(1, 32, (-1.0, 1.0))])(
        white, here, place
    )
    assert (one.min(), one.max(), both.min(), both.max()) == (0.0, 1.0, -1.0, 1.0)
    assert one[0, :, :15].max() == 0.0  # x goes to the right.


@pytest.fixture(scope="module")
def steady() -> SteadyFrame:
    return SteadyFrame(TorchNets(), SteadyShape(2, 640, 480, 1, 2), BLENDSHAPE_LANDMARKS)


CAMERAS = np.array([1, 1, 0])


REGIONS = [replace(CLIP_FACE, angle=0.35), CLIP_HAND, Region(110.0, 335.0, 340.0, -0.1)]


def _matrices(regions: list[Region], sizes: list[int]) -> np.ndarray:
    pairs = zip(regions, sizes, strict=True)
    return np.array([Cut(size).picture_from_pixel(region) for region, size in pairs])


MATRICES = _matrices(REGIONS, [256, 224, 224])


def _one_after_the_other(pictures: list[np.ndarray]) -> list[np.ndarray]:
    """The slow twin."""
    nets = LiteRtNets(1)
    face, *hands = ((pictures[c], region) for c, region in zip(CAMERAS, REGIONS, strict=True))
    asked = {"face_landmarks": [face], "face_blendshapes": [face], "hand_landmarks": hands}
    return [
        answer
        for network, looks in asked.items()
        for answer in nets.open(network)(seen(network, nets, looks))
    ]


def _require_twin(frame: SteadyFrame, pictures: list[np.ndarray], most: float) -> None:
    for k, picture in enumerate(pictures):
        frame.pictures[k] = picture
    found = frame(CAMERAS, MATRICES)
    expected = _one_after_the_other(pictures)
    answers = [*found.faces, found.blendshapes, *found.hands]
    for a, b in zip(answers, expected, strict=True):
        assert a.shape == b.shape
        # Some colours round to the neighbouring level.
        assert np.abs(a - b).mean() <= most
    assert np.abs(found.blendshapes - expected[3]).max() <= most
    assert found.hands[1].min() > 0.9
    assert found.blendshapes.max() > 0.1


def test_the_steady_frame_is_the_networks_one_after_the_other(
    steady: SteadyFrame, demo_clip: Path
) -> None:
    _require_twin(steady, list(frames(demo_clip, 45, 50)), 0.01)
    # What the first frame left behind does not matter to the second.
    _require_twin(steady, list(frames(demo_clip, 46, 52)), 0.01)


def test_answers_are_the_callers_own(steady: SteadyFrame, demo_clip: Path) -> None:
    for k, picture in enumerate(frames(demo_clip, 45, 50)):
        steady.pictures[k] = picture
    first = steady(CAMERAS, MATRICES)
    kept = first.hands[0].copy()
    steady.pictures[:] = 0
    steady(CAMERAS, MATRICES)
    assert np.array_equal(first.hands[0], kept)


def test_looks_at_one_face_share_its_blendshapes(demo_clip: Path) -> None:
    picture = next(frames(demo_clip, 50))
    shape = SteadyShape(1, 640, 480, faces=1, hands=0, looks=2)
    frame = SteadyFrame(TorchNets(), shape, BLENDSHAPE_LANDMARKS)
    frame.pictures[0] = picture
    looks = list(CLIP_FACE.shaken(2))
    answers = frame(np.zeros(2, np.int64), _matrices(looks, [256, 256]))
    assert answers.hands == ()
    assert answers.faces[0].shape == (2, 1434)
    nets = LiteRtNets(1)
    points = seen("face_blendshapes", nets, [(picture, look) for look in looks]).mean(0)
    (expected,) = nets.open("face_blendshapes")(points[None])
    assert np.abs(answers.blendshapes - expected).max() <= 1e-3


def test_hands_alone(demo_clip: Path) -> None:
    shape = SteadyShape(1, 640, 480, faces=0, hands=1)
    frame = SteadyFrame(TorchNets(), shape, BLENDSHAPE_LANDMARKS)
    frame.pictures[0] = next(frames(demo_clip, 50))
    answers = frame(np.zeros(1, np.int64), _matrices([CLIP_HAND], [224]))
    assert (answers.faces, answers.blendshapes.shape) == ((), (0, 52))
    assert answers.hands[1][0, 0] > 0.9


@pytest.mark.parametrize(
    ("cameras", "regions", "says"),
    [
        (CAMERAS, np.zeros((2, 2, 3)), r"expected finite \(3, 2, 3\)"),
        (CAMERAS, np.full((3, 2, 3), np.nan), r"expected finite \(3, 2, 3\)"),
        (np.array([0, 0, 2]), np.zeros((3, 2, 3)), "expected 3 numbers of 2 cameras"),
        (np.array([0, -1, 0]), np.zeros((3, 2, 3)), "expected 3 numbers of 2 cameras"),
        (np.array([0]), np.zeros((3, 2, 3)), "expected 3 numbers of 2 cameras"),
    ],
)
def test_other_regions_are_refused(
    steady: SteadyFrame, cameras: np.ndarray, regions: np.ndarray, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        steady(cameras, regions)


@pytest.mark.parametrize("sizes", [(0, 640, 480, 1, 1), (1, 8, 480, 1, 1), (1, 640, 480, 0, 0)])
def test_other_shapes_are_refused(sizes: tuple[int, int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="SteadyShape: expected"):
        SteadyShape(*sizes)


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "most"), [("float32", 0.01), ("float16", 0.2)])
def test_the_captured_frame_is_the_same(dtype: str, most: float, demo_clip: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    shape = SteadyShape(2, 640, 480, 1, 2)
    frame = SteadyFrame(TorchNets("cuda", dtype), shape, BLENDSHAPE_LANDMARKS)
    _require_twin(frame, list(frames(demo_clip, 45, 50)), most)
    _require_twin(frame, list(frames(demo_clip, 46, 52)), most)
