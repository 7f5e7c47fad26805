"""How much softer than its video an avatar is, and which sharpening makes up for it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from avatar.driving import OwnDriving
from avatar.enrolment.observations import Observations
from avatar.local_texture import LocalTexture
from avatar.personal_atlas import face_texels
from avatar.personal_model import CHART, PersonalModel
from avatar.picture_metrics import DETAIL_SIGMA
from avatar.sharpening import SIGMA
from avatar.unwrapping import TexelTable

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

WANTED_DETAIL = 0.8
"""RMS of the driven texture's detail against the video's, in frames that were learned from. It is
0.65 to 0.8 without sharpening; each tenth of it costs 0.1 to 0.2 dB in other frames."""
AMOUNTS = np.linspace(0.0, 1.2, 13)
FRAMES = 16
WELL_SEEN = 230
"""Of 255."""


def missing_sharpening(
    model: PersonalModel,
    table: TexelTable,
    seen: Observations,
    codes: Float32,
    textures: tuple[UInt8, UInt8],
) -> float:
    """The least of AMOUNTS at which a `model` that was learned without sharpening has enough
    detail, else the largest. `codes` (N, P) and `textures`, colours (N, n, 3) and visibility
    (N, n): of its training moments `seen`."""
    driving, drawing = OwnDriving(model), LocalTexture(model.texture_basis())
    views, on_face = seen.view_directions(), face_texels(table)
    ours, theirs = np.zeros(len(AMOUNTS)), 0.0
    for row in np.unique(np.linspace(0, len(seen) - 1, FRAMES).astype(int)):
        well = on_face & (textures[1][row] >= WELL_SEEN)
        inside = np.asarray(table.picture(well.astype(np.uint8)), np.uint8)
        inside = cv2.erode(inside, np.ones((7, 7), np.uint8)) > 0
        colours = np.asarray(table.picture(textures[0][row]), np.uint8)
        theirs += float((_detail(colours.astype(np.float32))[inside] ** 2).sum())
        appearance = driving.appearance(seen.world_from_head[row], codes[row], seen.gaze[row])
        nodes = model.nodes(appearance, views[row])
        whole = drawing.picture(nodes, model.gain(appearance))
        drawn = cv2.resize(whole, (CHART, CHART), interpolation=cv2.INTER_AREA)
        drawn = np.asarray(drawn, np.float32)
        fine = _detail(drawn)[inside]
        # Both filters are linear: the detail of what is sharpened is the sharpened detail.
        finer = _detail(drawn - np.asarray(cv2.GaussianBlur(drawn, (0, 0), SIGMA)))[inside]
        ours += [float(((fine + amount * finer) ** 2).sum()) for amount in AMOUNTS]
    enough = np.flatnonzero(np.sqrt(ours / max(theirs, 1e-9)) >= WANTED_DETAIL)
    return float(AMOUNTS[enough[0]] if len(enough) else AMOUNTS[-1])


def _detail(picture: Float32) -> Float32:
    """(H, W): the luma's, as picture_metrics.sharpness looks at it."""
    luma = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32)
    return luma - np.asarray(cv2.GaussianBlur(luma, (0, 0), DETAIL_SIGMA), np.float32)
