"""sRGB by IEC 61966-2-1: the fast paths give the slow twins' bytes."""

import numpy as np
import pytest

from streams.colour import (
    linear_from_srgb,
    linear_from_u8,
    srgb_from_linear,
    u8_from_linear,
    u8_from_linear_slow,
)

BYTES = np.arange(256, dtype=np.uint8)


def test_known_values() -> None:
    assert linear_from_srgb(0.5) == pytest.approx(0.21404114)
    assert srgb_from_linear(0.18) == pytest.approx(0.46135613)
    assert linear_from_srgb(0.04045) == pytest.approx(0.04045 / 12.92)
    np.testing.assert_allclose(srgb_from_linear([0.0, 1.0]), [0.0, 1.0], atol=1e-15)


def test_the_formulas_undo_each_other() -> None:
    v = np.linspace(0, 1, 10001)
    # The standard's two branches meet within 3e-8.
    np.testing.assert_allclose(srgb_from_linear(linear_from_srgb(v)), v, atol=1e-7)


def test_every_byte_survives() -> None:
    np.testing.assert_array_equal(u8_from_linear(linear_from_u8(BYTES)), BYTES)
    np.testing.assert_allclose(linear_from_u8(BYTES), linear_from_srgb(BYTES / 255), rtol=1e-7)


def test_fast_equals_slow_also_around_every_step() -> None:
    steps = linear_from_srgb((np.arange(1, 256) - 0.5) / 255).astype(np.float32)
    near = [steps]
    for direction in (-1.0, 2.0):
        moved = steps
        for _ in range(3):
            moved = np.nextafter(moved, np.float32(direction))
            near.append(moved)
    random = np.random.default_rng(0).random(300_000).astype(np.float32)
    odd = np.array([0, -0.0, 1, 2, -1, 1e-40, np.nan, np.inf, -np.inf], np.float32)
    values = np.concatenate([*near, random, random**4, odd])
    np.testing.assert_array_equal(u8_from_linear(values), u8_from_linear_slow(values))


def test_out_of_range_is_clipped_and_shape_kept() -> None:
    values = np.array([[-1.0, 0.5], [7.0, np.nan]], np.float32)
    before = values.copy()
    np.testing.assert_array_equal(u8_from_linear(values), [[0, 188], [255, 0]])
    np.testing.assert_array_equal(values, before)
    assert u8_from_linear(np.zeros((4, 6, 3), np.float32)[:, ::2]).shape == (4, 3, 3)


def test_the_wrong_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match="linear_from_u8: expected an array of uint8, got float"):
        linear_from_u8(np.zeros(3))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="u8_from_linear: expected an array of float32, got uint8"):
        u8_from_linear(BYTES)  # pyright: ignore[reportArgumentType]
