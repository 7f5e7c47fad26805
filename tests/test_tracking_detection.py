"""Detectors' numbers, suppression and tiles: the fast ways against slow ones, and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.film_frames import frames
from tracking.detection import (
    Candidates,
    Detector,
    anchor_places,
    decoded,
    decoded_slowly,
    suppressed,
    suppressed_slowly,
)
from tracking.net import NETS, Float32, NetSpec
from tracking.nets.litert import LiteRtNets
from tracking.region import Cut, Region, crops, into_picture, whole_picture
from tracking.tiles import SMALLEST_TILE, TileTurns, tiles

SIZES = {"hand_detector": 192, "face_detector": 128}


@pytest.mark.parametrize("network", SIZES)
def test_every_number_of_a_detector_has_its_anchor(network: str) -> None:
    places = anchor_places(SIZES[network])
    assert len(places) == NETS[network].output_sizes[1]
    assert NETS[network].output_sizes[0] % len(places) == 0
    assert places.min() > 0
    assert places.max() < 1
    # The fine grid first, two anchors a place, from left to right and top to bottom.
    step = 8 / SIZES[network]
    assert places[:3] == pytest.approx(
        np.array([[step / 2, step / 2], [step / 2, step / 2], [1.5 * step, step / 2]])
    )


def compare(numbers: Float32, logits: Float32, size: int, min_score: float) -> int:
    """Decode and suppress both ways; how many things there are."""
    places = anchor_places(size)
    fast = decoded(numbers, logits, places, size, min_score)
    slow = decoded_slowly(numbers, logits, places, size, min_score)
    assert len(fast.scores) == len(slow)
    for i, (box, points, score) in enumerate(slow):
        assert fast.boxes[i] == pytest.approx(box, abs=1e-5)
        assert fast.points[i] == pytest.approx(np.array(points), abs=1e-5)
        assert fast.scores[i] == pytest.approx(score, abs=1e-6)
    found = suppressed(fast)
    expected = suppressed_slowly(
        fast.boxes.astype(float).tolist(),
        [[(float(x), float(y)) for x, y in each] for each in fast.points],
        fast.scores.astype(float).tolist(),
    )
    assert len(found) == len(expected)
    for (box, points, score), (box_, points_, score_) in zip(found, expected, strict=True):
        assert box == pytest.approx(box_, abs=1e-5)
        assert points == pytest.approx(np.array(points_), abs=1e-5)
        assert score == pytest.approx(score_)
    return len(found)


@pytest.mark.parametrize("seed", range(4))
def test_random_numbers_are_decoded_as_the_slow_twins_say(seed: int) -> None:
    random = np.random.default_rng(seed)
    numbers = random.normal(0.0, 12.0, 2016 * 18).astype(np.float32)
    boxes = numbers.reshape(2016, 18)
    boxes[:, 2:4] = np.abs(boxes[:, 2:4]) * 4.0 + 8.0
    logits = random.normal(-4.0, 2.0, 2016).astype(np.float32)
    assert compare(numbers, logits, 192, 0.4) > 3
    assert compare(numbers, np.full(2016, -200.0, np.float32), 192, 0.4) == 0


def test_a_real_pictures_numbers_are_decoded_as_the_slow_twins_say(demo_clip: Path) -> None:
    rgb = frames(demo_clip, 1)[0]
    nets = LiteRtNets(threads=1)
    net = nets.open("face_detector")
    square = whole_picture(rgb.shape[1], rgb.shape[0])
    batch = crops(rgb, [square], Cut(128, beyond_is_black=True), net.spec.input_range)
    numbers, logits = net(batch)
    assert compare(numbers[0], logits[0], 128, 0.3) == 1


def test_what_overlaps_becomes_its_weighted_mean_and_what_does_not_stays() -> None:
    boxes = np.array([[0, 0, 2, 2], [0.5, 0, 2.5, 2], [5, 5, 6, 6]], np.float32)
    points = boxes.reshape(3, 2, 2)
    found = suppressed(Candidates(boxes, points, np.array([0.6, 0.9, 0.5], np.float32)))
    assert [score for _, _, score in found] == pytest.approx([0.9, 0.5])
    assert found[0][0] == pytest.approx([0.3, 0.0, 2.3, 2.0])
    assert found[0][1][1] == pytest.approx([2.3, 2.0])
    assert found[1][0] == pytest.approx([5, 5, 6, 6])


class OneAnchor:
    """A detector that always sees one thing in the middle of its square."""

    spec: NetSpec = NETS["face_detector"]

    def __call__(self, batch: Float32) -> tuple[Float32, ...]:
        numbers = np.zeros((1, 896, 16), np.float32)
        logits = np.full((1, 896), -10.0, np.float32)
        middle = int(np.abs(anchor_places(128) - 0.5).sum(1).argmin())
        numbers[0, middle, :2] = (0.5 - anchor_places(128)[middle]) * 128
        numbers[0, middle, 2:4] = 64.0
        logits[0, middle] = 3.0
        return numbers.reshape(1, -1), logits


def test_detections_lie_where_the_square_lies() -> None:
    rgb = np.zeros((100, 300, 3), np.uint8)
    square = Region(40.0, 60.0, 80.0, 0.0)
    (found,) = Detector(OneAnchor()).detect(rgb, (square,), 0.5)
    assert (found.low, found.high) == (
        pytest.approx([20.0, 40.0], abs=1e-4),
        pytest.approx([60.0, 80.0], abs=1e-4),
    )
    assert found.side() == pytest.approx(40.0, abs=1e-4)
    assert len(Detector(OneAnchor()).detect(rgb, (square, square), 0.5)) == 2


def covered(width: int, height: int, squares: tuple[Region, ...]) -> npt.NDArray[np.bool_]:
    """(height, width) which pixels some square shows."""
    seen = np.zeros((height, width), bool)
    for square in squares:
        low, high = into_picture([[0, 0], [1, 1]], square, 1)
        left, top = np.maximum(np.ceil(low - 1e-6), 0).astype(int)
        right, bottom = np.floor(high + 1e-6).astype(int)
        seen[top : bottom + 1, left : right + 1] = True
    return seen


@given(st.integers(16, 400), st.integers(16, 400), st.sampled_from([1, 2, 3, 4]))
def test_tiles_cover_the_picture(width: int, height: int, level: int) -> None:
    squares = tiles(width, height, (level,))
    assert covered(width, height, squares).all()
    assert len(squares) <= (level + 1) ** 2
    assert len({(square.x, square.y) for square in squares}) == len(squares)


def test_no_tile_is_so_small_that_an_eye_fills_it() -> None:
    assert tiles(44, 45, (1, 2, 4)) == tiles(44, 45, (4,)) == (whole_picture(44, 45),)
    for width in (50, 110, 220, 640):
        squares = tiles(width, width * 3 // 4, (1, 2, 4))
        assert squares[0] == whole_picture(width, width * 3 // 4)
        assert all(square.side >= SMALLEST_TILE for square in squares[1:])
    assert len(tiles(110, 110, (1, 2, 4))) == 5
    assert len(tiles(220, 220, (1, 2, 4))) == 21


def test_tiles_take_turns_after_the_first_look() -> None:
    everything = tiles(640, 480, (1, 2))
    assert len(everything) == 5
    turns = TileTurns((1, 2))
    assert turns.next(640, 480, alone=False) == everything
    looks = [turns.next(640, 480, alone=False) for _ in range(5)]
    assert [look[0] for look in looks] == [everything[0]] * 5
    assert [look[1] for look in looks] == [*everything[1:], everything[1]]
    assert turns.next(640, 480, alone=True) == everything[:1]
    assert len(turns.next(480, 640, alone=True)) == 5, "another picture: all at once again"
    assert len(TileTurns((1,)).next(640, 480, alone=False)) == 1
