"""How far the joints of a hand turn, and what is likely where nothing is seen.

Ranges of motion are those of the American Academy of Orthopaedic Surgeons (Greene and Heckman, The
Clinical Measurement of Joint Motion, 1994), degrees: finger MCP flexion 90, extension 45, abduction
20; DIP flexion 90; thumb CMC abduction 70, flexion 15, extension 20, MCP flexion 50, IP flexion 80,
extension 20. The PIP's 110 is from Lin, Wu and Huang (Modeling the Constraints of Human Hand
Motion, 2000); the AAOS has 100. The palm here is rigid, so the MCP of ring and little finger also
does what their metacarpals do, 20 and 27 (El-shennawy et al., Three-dimensional kinematic analysis
of the second through fifth carpometacarpal joints, J. Hand Surgery 26A, 2001). `MARGIN` is added on
both sides, because landmarks do not lie on the joints' axes and people differ. Zero of a base joint
is the line from the wrist, not the anatomical neutral; the thumb's, whose flexion and opposition
are one angle here, are therefore wider, and are those seen on people.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

MARGIN = 10.0
"""Degrees."""
_METACARPAL = (0.0, 0.0, 20.0, 27.0)
_FINGERS = [
    [[-20.0, 20.0], [-45.0, 90.0 + more], [0.0, 110.0], [0.0, 90.0]] for more in _METACARPAL
]
_THUMB = [[-50.0, 30.0], [-45.0, 60.0], [-10.0, 60.0], [-20.0, 80.0]]
_SIDEWAYS = [[-15.0, 15.0], [-15.0, 15.0]]

_DEGREES = np.array([*_THUMB, *np.concatenate(_FINGERS), *_SIDEWAYS])
LOWEST: Array = np.deg2rad(_DEGREES[:, 0] - MARGIN)
HIGHEST: Array = np.deg2rad(_DEGREES[:, 1] + MARGIN)
"""(22,) float64 radians each, in the order of `hand_kinematics`."""

_RELAXED = [[-0.2, 0.0, 0.3, 0.3], *([[0.0, 0.3, 0.4, 0.25]] * 4)]
RELAXED: Array = np.array([*np.ravel(_RELAXED), 0.0, 0.0])
"""(22,) float64 radians: a hand that does nothing."""

DIP_FROM_PIP = 2.0 / 3.0
"""The tendon that bends both bends the last joint by two thirds of the middle one (Rijpkema and
Girard, Computer Animation of Knowledge-Based Human Grasping, 1991)."""


def likely(angle_sigma: float, sideways_sigma: float, coupling_sigma: float) -> tuple[Array, Array]:
    """The prior on angles as rows of least squares, `rows @ angles - wanted`: (26, 22) and (26,).

    Angles lie about `RELAXED` by `angle_sigma` radians; spread (and the thumb's sideways) by
    `sideways_sigma`; the fingers' last joint about `DIP_FROM_PIP` of the one before by
    `coupling_sigma`.
    """
    spread = np.zeros(22, bool)
    spread[[4, 8, 12, 16, 20, 21]] = True
    rows = [np.diag(1.0 / np.where(spread, sideways_sigma, angle_sigma))]
    for finger in range(1, 5):
        row = np.zeros((1, 22))
        row[0, 4 * finger + 3], row[0, 4 * finger + 2] = 1.0, -DIP_FROM_PIP
        rows.append(row / coupling_sigma)
    stacked = np.concatenate(rows)
    wanted = np.concatenate([stacked[:22] @ RELAXED, np.zeros(4)])
    return stacked, wanted
