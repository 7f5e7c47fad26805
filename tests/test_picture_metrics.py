"""Picture metrics: known values, and that looking at a part is looking at the whole."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from apps.likeness_evaluation import spread_pairs
from avatar.picture_metrics import FLIP_PIXELS_PER_DEGREE, flicker, flip, psnr, sharpness, ssim

UInt8 = npt.NDArray[np.uint8]


def picture(seed: int) -> UInt8:
    """(96, 128, 3): smooth colours and some noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :128] / 128.0
    smooth = np.stack([x, y, 0.5 + 0.4 * np.sin(9 * x + 5 * y)], axis=-1)
    return (255 * np.clip(smooth + 0.05 * rng.normal(size=smooth.shape), 0, 1)).astype(np.uint8)


def disc(radius: float = 20.0) -> npt.NDArray[np.bool_]:
    y, x = np.mgrid[:96, :128]
    return (x - 60) ** 2 + (y - 50) ** 2 < radius**2


def test_equal_pictures_have_the_best_of_all() -> None:
    one, mask = picture(0), disc()
    assert psnr(one, one, mask) == np.inf
    assert ssim(one, one, mask) == pytest.approx(1.0)
    assert sharpness(one, one, mask) == pytest.approx(1.0)
    pytest.importorskip("flip_evaluator", reason="the extra 'bench' is not installed")
    assert flip(one, one, mask) == 0.0


def test_psnr_is_the_formula() -> None:
    one = np.full((8, 8, 3), 100, np.uint8)
    assert psnr(one + 10, one, np.ones((8, 8), bool)) == pytest.approx(20 * np.log10(25.5))


def test_flip_of_a_part_is_that_of_the_whole_picture() -> None:
    evaluator = pytest.importorskip("flip_evaluator", reason="the extra 'bench' is not installed")
    one, other, mask = picture(0), picture(0), disc()
    other[:, 40:] = 0.8 * other[:, 40:]
    other[45:] = np.roll(other[45:], 3, axis=1)
    whole, _, _ = evaluator.evaluate(
        one.astype(np.float32) / 255, other.astype(np.float32) / 255, "LDR",
        applyMagma=False, parameters={"ppd": FLIP_PIXELS_PER_DEGREE},
    )  # fmt: skip
    wanted = float(whole[..., 0][mask].mean())
    assert 0.02 < wanted < 1.0
    assert flip(other, one, mask) == pytest.approx(wanted, rel=1e-5)


def test_flip_grows_with_what_one_sees() -> None:
    pytest.importorskip("flip_evaluator", reason="the extra 'bench' is not installed")
    one, mask = picture(0), disc()
    faint, strong = (np.clip(one.astype(int) + k, 0, 255).astype(np.uint8) for k in (8, 60))
    assert 0.0 < flip(faint, one, mask) < flip(strong, one, mask) < 1.0
    # Black against white is near the end of the scale.
    black, white = np.zeros_like(one), np.full_like(one, 255)
    assert flip(black, white, mask) > 0.9


def test_a_standing_error_does_not_flicker_and_an_alternating_one_does() -> None:
    sources = np.stack([picture(k) // 2 + 60 for k in range(4)])
    mask = disc()
    assert flicker(sources + 10, sources, mask) == 0.0
    signs = np.array([1, -1, 1, -1]).reshape(4, 1, 1, 1)
    assert flicker((sources + 5 * signs).astype(np.uint8), sources, mask) == pytest.approx(10.0)


def test_empty_masks_are_refused() -> None:
    one = picture(0)
    for metric in (psnr, ssim, flip, sharpness):
        with pytest.raises(ValueError, match="mask"):
            metric(one, one, np.zeros(one.shape[:2], bool))


def test_pairs_follow_one_another() -> None:
    assert spread_pairs(list(range(100, 200)), 6) == [100, 101, 149, 150, 198, 199]
    assert spread_pairs([3, 4], 10) == [3, 4]
    assert spread_pairs([3], 10) == [3]
