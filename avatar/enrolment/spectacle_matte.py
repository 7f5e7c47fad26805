"""The picture of glasses apart from the face behind them: colours and opacity of a front.

Where the rims are, the average of registered pictures is compared with what the face around them
would show there. Any opacity that gives this difference explains the average; the least that does
with colours that exist, and more the stronger the difference, keeps thin wires thin.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from avatar.enrolment.spectacle_fit import FoundSpectacles
from avatar.enrolment.spectacle_rims import HINGE_M, Rims
from avatar.enrolment.texel_filling import filled_picture
from avatar.head_mesh import ATLAS
from avatar.spectacle_cover import SpectacleCover
from avatar.spectacle_sight import SpectacleSight
from avatar.spectacle_texels import FrontTexels
from avatar.spectacles import (
    HEIGHT,
    STRIP,
    STRIP_COLUMN,
    STRIP_ROW,
    TEMPLE_COLUMN,
    TEMPLE_ROWS,
    TEXEL_M,
    WIDTH,
    Spectacles,
)
from avatar.unwrapping import TexelTable

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Int8 = npt.NDArray[np.int8]

FRAME_REACH_M = 0.0035
"""How far from the middle of a rim its frame may reach."""
FAINT, CLEAR = 4.0, 22.0
"""Code values by which a texel differs from the face: none of the frame, all of it."""
SOFT = 0.6
"""Texels by which the opacity is blurred: where a frame lies is known no better."""
CORE_M = 0.0012
THICKEST = 8
"""Texels that a temple is thick at most."""
TEMPLE_TEXELS = 9
"""So far beyond the rim a temple is looked at."""
WIRE_TEXELS = 11
"""A median over so many texels sees no wire."""


@dataclass(frozen=True, slots=True, eq=False)
class FrontPicture:
    """Straight alpha."""

    colours: UInt8
    """(HEIGHT, WIDTH, 3) sRGB at gain 1, beyond the frame as at its edge."""
    opacity: UInt8
    """(HEIGHT, WIDTH)."""
    temples: UInt8
    """(2, TEMPLE_ROWS, 4) sRGB and opacity across a temple, upper edge first; left temple first."""


@dataclass(frozen=True, slots=True, eq=False)
class WornSpectacles:
    """A person's glasses, as they are drawn."""

    spectacles: Spectacles
    front: FrontPicture

    def cover(self, table: TexelTable, rest: Float32) -> SpectacleCover:
        """What they hide of a face at `rest` (T, 3)."""
        return SpectacleCover(self.spectacles, self._opacity(), table, rest)

    def sight(self) -> SpectacleSight:
        """What finds them in pictures."""
        return SpectacleSight(self.spectacles, self._opacity())

    def texels(self) -> FrontTexels:
        """Where they have planes of their own."""
        return FrontTexels.of(self.spectacles, self._opacity())

    def _opacity(self) -> Float32:
        """(HEIGHT, WIDTH) 0..1 of the front."""
        return self.front.opacity.astype(np.float32) / np.float32(255.0)

    def painted(self, mean: UInt8, opacity: UInt8, planes: Int8) -> tuple[UInt8, UInt8, Int8]:
        """A model's pictures with that of the glasses in its strip: `mean` (ATLAS, ATLAS, 3),
        `opacity` (S, S) -> (ATLAS, ATLAS), `planes` (K, S, S, 3), which change nothing in the strip
        but their own texels."""
        mean, planes = mean.copy(), planes.copy()
        side = (ATLAS, ATLAS)
        whole = np.array(cv2.resize(opacity, side, interpolation=cv2.INTER_NEAREST), np.uint8)
        # The rim of the strip repeats the picture's edge, so that filtering finds nothing foreign.
        rows, columns = STRIP
        above, before = STRIP_ROW - rows.start, STRIP_COLUMN - columns.start
        below = rows.stop - rows.start - HEIGHT - above
        after = columns.stop - columns.start - WIDTH - before
        edges = ((above, below), (before, after))
        mean[STRIP] = np.pad(self.front.colours, (*edges, (0, 0)), "edge")
        whole[STRIP] = np.pad(self.front.opacity, edges)
        for side, at in enumerate((STRIP_COLUMN + WIDTH - 1 + TEMPLE_COLUMN,
                                   STRIP_COLUMN - TEMPLE_COLUMN)):  # fmt: skip
            across = slice(STRIP_ROW - 2, STRIP_ROW + TEMPLE_ROWS + 2)
            temple = np.pad(self.front.temples[side], ((2, 2), (0, 0)), "edge")
            mean[across, at - 4 : at + 4] = temple[:, None, :3]
            whole[across, at - 3 : at + 4] = temple[:, None, 3]
        step = ATLAS // planes.shape[1]
        strip = slice(rows.start // step, rows.stop // step), slice(columns.start // step, None)
        planes[:, *strip][:, ~self.texels().kept(planes)[strip]] = 0
        return mean, whole, planes


def front_picture(found: FoundSpectacles) -> FrontPicture:
    """The registered average apart from what is behind it, at an even exposure."""
    laid = found.laid
    level = np.median(laid.reshape(len(laid), -1, 3), axis=1)
    laid = laid / (level / np.median(level, axis=0))[:, None, None]
    average = laid.mean(0).astype(np.float32)
    reach = found.rims.mask(FRAME_REACH_M)
    behind = filled_picture(average, (reach == 0).astype(np.float32))
    behind += broad_difference(average - behind, found.rims)
    colours, opacity = matte(average, behind, reach)
    opacity = connected(opacity, found.rims)
    temples = np.stack([temple_profile(colours, opacity, at) for at in found.rims.hinges()])
    soft = np.asarray(cv2.GaussianBlur(opacity, (0, 0), SOFT), np.uint8)
    return FrontPicture(colours, soft, temples)


def connected(opacity: UInt8, rims: Rims) -> UInt8:
    """Without the pieces of hair and skin that do not hang together with rims or bridge."""
    core = rims.wire(CORE_M)
    count, labels = cv2.connectedComponents((opacity > 40).astype(np.uint8))
    pieces = np.asarray(labels, np.intp)
    kept = np.zeros(count, bool)
    kept[np.unique(pieces[core > 0])] = True
    kept[0] = True  # what is nearly clear fades out about the pieces
    return np.where(kept[pieces], opacity, 0).astype(np.uint8)


def temple_profile(colours: UInt8, opacity: UInt8, hinge: tuple[float, float]) -> UInt8:
    """(TEMPLE_ROWS, 4) across a temple, HINGE_M to both sides of its `hinge` (column, row), as the
    front shows it beyond the rim; clear where the front shows none, or a rim that bends away."""
    beyond = TEMPLE_TEXELS if hinge[0] > WIDTH / 2 else -TEMPLE_TEXELS
    columns = np.clip(np.rint(hinge[0]) + np.sign(beyond) * np.arange(3, abs(beyond)), 0, WIDTH - 1)
    reach = HINGE_M / TEXEL_M
    rows = np.clip(np.linspace(hinge[1] - reach, hinge[1] + reach, TEMPLE_ROWS), 0, HEIGHT - 1)
    at = np.ix_(np.rint(rows).astype(np.intp), columns.astype(np.intp))
    share = opacity[at].astype(np.float32)
    weight = np.maximum(share, 1e-3)[:, :, None] ** 2
    colour = (colours[at] * weight).sum(1) / weight.sum(1)
    clear = np.clip(share.mean(1, keepdims=True) * 3.0 - 200.0, 0.0, 255.0)
    quarter = TEMPLE_ROWS // 4
    middle = quarter + int(clear[quarter:-quarter, 0].argmax())
    clear[np.abs(np.arange(TEMPLE_ROWS) - middle) > THICKEST / 2] = 0.0
    return np.rint(np.concatenate([colour, clear], axis=1)).astype(np.uint8)


def broad_difference(difference: Float32, rims: Rims) -> Float32:
    """What of the (HEIGHT, WIDTH, 3) `difference` is too broad for a wire: brows and shades that
    the surroundings did not tell. Zeros when the rims themselves are broad."""
    clipped = np.clip(difference + 128.0, 0.0, 255.0).astype(np.uint8)
    broad = cv2.medianBlur(clipped, WIRE_TEXELS).astype(np.float32) - 128.0
    at = np.rint(np.concatenate([rims.left, rims.right])).astype(np.intp)
    at = np.clip(at, 0, (WIDTH - 1, HEIGHT - 1))
    of_rim, of_both = (np.abs(d[at[:, 1], at[:, 0]]).max(1) for d in (broad, difference))
    is_broad = np.median(of_rim) > 0.6 * np.median(of_both) > 0.6 * FAINT
    return np.zeros_like(broad) if is_broad else broad


def matte(average: Float32, behind: Float32, reach: UInt8) -> tuple[UInt8, UInt8]:
    """Colours (HEIGHT, WIDTH, 3) and opacity (HEIGHT, WIDTH) of a front. `average` and `behind`
    (HEIGHT, WIDTH, 3) code values: with and without glasses; `reach` (HEIGHT, WIDTH) 0 where there
    is no frame for sure."""
    difference = average - behind
    strength = np.abs(difference).max(2)
    share = np.clip((strength - FAINT) / (CLEAR - FAINT), 0.0, 1.0)
    opacity = share * share * (3.0 - 2.0 * share)
    # Colours end at 0 and 255: a difference that asks for more needs more opacity.
    room = np.where(difference > 0, 255.0 - behind, behind)
    least = (np.abs(difference) / np.maximum(room, 1.0)).max(2)
    opacity = np.maximum(opacity, np.minimum(least, 1.0) * (opacity > 0))
    opacity *= cv2.GaussianBlur(reach.astype(np.float32) / 255.0, (0, 0), 1.0)
    safe = np.maximum(opacity, 1e-3)[..., None]
    colours = np.clip(behind + difference / safe, 0.0, 255.0)
    colours = filled_picture(colours.astype(np.float32), (opacity > 0.25).astype(np.float32))
    return (
        np.clip(np.rint(colours), 0, 255).astype(np.uint8),
        np.rint(opacity * 255).astype(np.uint8),
    )
