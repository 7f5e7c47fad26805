"""How like two pictures are, over a mask: PSNR, SSIM, FLIP, sharpness, flicker."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

SSIM_SIGMA, SSIM_K1, SSIM_K2 = 1.5, 0.01, 0.03
"""Wang, Bovik, Sheikh and Simoncelli 2004, "Image quality assessment", section III.B."""
FLIP_PIXELS_PER_DEGREE = 67.0
"""FLIP's own default: a 0.7 m wide 4K screen at 0.7 m."""
FLIP_REACH = 0.4
"""Degrees around a pixel that FLIP's filters look at, and some more (its spatial filter reaches
three standard deviations of 0.045 degrees, its feature filter 0.123 and one pixel)."""
DETAIL_SIGMA = 2.0
"""Pixels; what a blur of this width takes away is detail."""


def psnr(picture: UInt8, source: UInt8, mask: Mask) -> float:
    """Decibel of sRGB code values, (H, W, 3) uint8 each, where `mask` (H, W) is true. Infinite for
    equal pictures; ValueError when the mask is empty."""
    _require(mask)
    difference = picture[mask].astype(np.float64) - source[mask].astype(np.float64)
    error = float((difference**2).mean())
    return float("inf") if error == 0 else 10.0 * float(np.log10(255.0**2 / error))


def ssim(picture: UInt8, source: UInt8, mask: Mask) -> float:
    """Structural similarity of the luma, Gaussian window, averaged over the mask; 1 = equal."""
    _require(mask)
    luma = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in (picture, source)]
    a, b = (np.asarray(p, np.float32) for p in luma)

    def blur(x: npt.NDArray[np.floating]) -> Float32:
        return np.asarray(cv2.GaussianBlur(x, (11, 11), SSIM_SIGMA), np.float32)

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    both = blur(a * b) - mean_a * mean_b
    c1, c2 = (SSIM_K1 * 255) ** 2, (SSIM_K2 * 255) ** 2
    score = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    score /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return float(score[mask].mean())


def flip(picture: UInt8, source: UInt8, mask: Mask) -> float:
    """LDR-FLIP averaged over the mask: how strongly a person who switches between the two pictures
    sees a difference, 0 (none) to 1 (Andersson et al. 2020, "FLIP: A Difference Evaluator for
    Alternating Images"), by its authors' package. Raises ImportError without it."""
    _require(mask)
    try:
        import flip_evaluator
    except ImportError as error:
        raise ImportError(
            "picture metrics: FLIP needs the package flip-evaluator; install the extra 'bench'"
        ) from error
    reach = int(np.ceil(FLIP_REACH * FLIP_PIXELS_PER_DEGREE))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    part = (
        slice(max(0, int(rows[0]) - reach), int(rows[-1]) + reach + 1),
        slice(max(0, int(columns[0]) - reach), int(columns[-1]) + reach + 1),
    )
    a, b = (np.ascontiguousarray(p[part], np.float32) / 255.0 for p in (source, picture))
    options = {"ppd": FLIP_PIXELS_PER_DEGREE}
    errors, _, _ = flip_evaluator.evaluate(
        a, b, "LDR", applyMagma=False, computeMeanError=False, parameters=options
    )
    return float(errors[..., 0][mask[part]].mean())


def sharpness(picture: UInt8, source: UInt8, mask: Mask) -> float:
    """RMS of the luma's detail against the source's: 1 = equally sharp, below = blurred."""
    _require(mask)

    def detail(p: UInt8) -> float:
        luma = cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float32)
        fine = luma - cv2.GaussianBlur(luma, (0, 0), DETAIL_SIGMA)
        return float(np.sqrt((fine[mask] ** 2).mean()))

    return detail(picture) / max(detail(source), 1e-9)


def flicker(pictures: npt.NDArray[np.uint8], sources: npt.NDArray[np.uint8], mask: Mask) -> float:
    """RMS change of the error from frame to frame, code values; (N, H, W, 3) uint8 each, N >= 2."""
    _require(mask)
    error = pictures.astype(np.float32) - sources.astype(np.float32)
    change = np.diff(error, axis=0)[:, mask]
    return float(np.sqrt((change**2).mean()))


def _require(mask: Mask) -> None:
    if not mask.any():
        raise ValueError("picture metrics: expected a mask with pixels in it, got an empty one")
