"""A spoken sentence as mouth shapes over time.

Each sound pulls the mouth towards its own shape for a while; sounds overlap, so that neighbours
colour each other as in real speech (the dominance model of Cohen & Massaro 1993, with raised
cosines).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.face_shapes import FACE_SHAPES, SHAPE_INDEX

Array = npt.NDArray[np.float64]

VISEMES: dict[str, dict[str, float]] = {
    "aa": {"jawOpen": 0.62, "mouthLowerDown": 0.25, "mouthUpperUp": 0.12},
    "e": {"jawOpen": 0.36, "mouthStretch": 0.28, "mouthLowerDown": 0.3, "mouthSmile": 0.12},
    "i": {"jawOpen": 0.2, "mouthStretch": 0.25, "mouthSmile": 0.25, "mouthUpperUp": 0.15},
    "o": {"jawOpen": 0.42, "mouthFunnel": 0.5, "mouthPucker": 0.1},
    "u": {"jawOpen": 0.12, "mouthPucker": 0.7, "mouthFunnel": 0.25},
    "m": {"mouthPress": 0.5, "mouthRollLower": 0.3, "mouthRollUpper": 0.25},
    "f": {"jawOpen": 0.08, "mouthRollLower": 0.4, "mouthUpperUp": 0.25},
    "th": {"jawOpen": 0.2, "tongueOut": 0.15, "mouthLowerDown": 0.15},
    "d": {"jawOpen": 0.16, "mouthLowerDown": 0.2},
    "s": {"jawOpen": 0.07, "mouthStretch": 0.3, "mouthUpperUp": 0.12, "mouthLowerDown": 0.2},
    "sh": {"jawOpen": 0.1, "mouthFunnel": 0.5, "mouthPucker": 0.25},
    "k": {"jawOpen": 0.25, "mouthStretch": 0.1},
    "r": {"jawOpen": 0.18, "mouthPucker": 0.35},
}
"""Weights of ARKit shapes for each sound; a paired shape without a side means both."""

VOWELS = frozenset({"aa", "e", "i", "o", "u"})
VOWEL_S, CONSONANT_S = 0.16, 0.09
"""Usual lengths in fluent speech."""


class Speech:
    """The mouth's weights at any time while `sounds` (VISEMES' names, "." = a pause) are said."""

    def __init__(self, sounds: str, start_s: float, emphasis: Array | None = None) -> None:
        names = sounds.split()
        unknown = sorted(set(names) - set(VISEMES) - {"."})
        if unknown:
            raise ValueError(
                f"Speech.sounds: expected names of {', '.join(VISEMES)} or '.', got {unknown}"
            )
        lengths = np.array([VOWEL_S if n in VOWELS else CONSONANT_S for n in names])
        lengths[[n == "." for n in names]] = 0.28
        starts = start_s + np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
        self.start_s = start_s
        self.end_s = start_s + float(lengths.sum())
        self._middles = starts + lengths / 2
        # A sound reaches well into its neighbours: coarticulation.
        self._reach = lengths / 2 + 0.07
        self._targets = np.stack([_target(n) for n in names])
        if emphasis is not None:
            self._targets *= emphasis[: len(names), None]

    def weights(self, t_s: float) -> Array:
        """(52,) float64 0..1 at `t_s`; zeros before and after the sentence."""
        off = np.abs(t_s - self._middles) / self._reach
        pull = np.where(off < 1.0, 0.5 + 0.5 * np.cos(np.pi * np.minimum(off, 1.0)), 0.0)
        return (pull @ self._targets) / max(1.0, float(pull.sum()))


def _target(name: str) -> Array:
    return weights_of(VISEMES[name]) if name != "." else np.zeros(len(FACE_SHAPES))


def weights_of(shapes: dict[str, float]) -> Array:
    """(52,) float64 from names; a name without its side ("mouthSmile") sets both sides."""
    weights = np.zeros(len(FACE_SHAPES))
    for name, value in shapes.items():
        names = [name] if name in SHAPE_INDEX else [f"{name}Left", f"{name}Right"]
        for one in names:
            if one not in SHAPE_INDEX:
                raise ValueError(f"face shape: expected a name of FACE_SHAPES, got {name!r}")
            weights[SHAPE_INDEX[one]] = value
    return weights
