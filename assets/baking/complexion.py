"""What colours the people that ship: two chromophores for skin; hair, iris and cloth."""

from __future__ import annotations

from dataclasses import dataclass

Rgb = tuple[float, float, float]
"""sRGB 0..1."""


@dataclass(frozen=True, slots=True)
class Complexion:
    """One person's colours. Chromophore amounts are optical depths at the reference band."""

    melanin: float
    """0.1 pale to 1.4 dark."""
    haemoglobin: float
    """0.15 to 0.35."""
    freckles: float
    stubble: float
    """0 none to 1 a day's dark beard."""
    age: float
    """0 smooth to 1 lined: how deep wrinkles are at rest and how much expression deepens them."""
    hair: Rgb
    brow_density: float
    brow_thickness_mm: float
    iris: Rgb
    lips: float
    """How much redder and darker the lips are than the skin, about 0.3 to 0.8."""
    cloth: Rgb
    seed: int


COMPLEXIONS: dict[str, Complexion] = {
    "default": Complexion(
        melanin=0.36, haemoglobin=0.26, freckles=0.15, stubble=0.55, age=0.35,
        hair=(0.16, 0.105, 0.07), brow_density=1.0, brow_thickness_mm=9.0,
        iris=(0.33, 0.22, 0.12), lips=0.42, cloth=(0.20, 0.26, 0.34), seed=11,
    ),
    "amara": Complexion(
        melanin=1.05, haemoglobin=0.24, freckles=0.0, stubble=0.0, age=0.08,
        hair=(0.045, 0.035, 0.03), brow_density=0.9, brow_thickness_mm=7.0,
        iris=(0.16, 0.09, 0.05), lips=0.55, cloth=(0.55, 0.30, 0.17), seed=23,
    ),
    "mei": Complexion(
        melanin=0.24, haemoglobin=0.19, freckles=0.05, stubble=0.0, age=0.3,
        hair=(0.05, 0.04, 0.04), brow_density=0.75, brow_thickness_mm=6.0,
        iris=(0.17, 0.10, 0.06), lips=0.5, cloth=(0.62, 0.60, 0.56), seed=37,
    ),
    "walter": Complexion(
        melanin=0.20, haemoglobin=0.24, freckles=0.35, stubble=0.25, age=1.0,
        hair=(0.60, 0.58, 0.55), brow_density=0.75, brow_thickness_mm=9.0,
        iris=(0.30, 0.40, 0.48), lips=0.32, cloth=(0.28, 0.33, 0.27), seed=41,
    ),
}  # fmt: skip
