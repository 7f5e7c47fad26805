"""Where a picture appears so that whoever looks from a view sees it: beside a face, on the desk,
or as a backdrop."""

from __future__ import annotations

import numpy as np

from apps.preview_panels import PANEL_DISTANCE
from apps.viewpoint import world_from_facing
from overlay.panel_places import PanelPlace
from streams.rigid import Rigid
from streams.view import View

BESIDE_SHARE, DESK_SHARE, BACKDROP_SHARE = 0.42, 0.4, 0.9
"""The panel's height as a share of the picture's (beside: of its shorter side)."""
HEAD_TALL = 0.22
"""Metres: beside a head that is seen from arm's length or somewhat more."""
_HEAD_FROM_PANEL = (0.25, 0.04, 0.0)
_HEAD_TURN = -0.25
"""Radians about the vertical: towards whoever looks at the face."""
_DESK_DEPTH = 0.62
"""Of the way from the viewer to the person."""
_DESK_TILT = float(np.deg2rad(-48.0))
"""As a book on a stand."""
_BEHIND = 0.45
"""Metres behind the face."""
_EDGE = 1 / 15
"""Of the picture, left free at its edges."""


def beside(view: View) -> PanelPlace:
    """Upper right, facing the viewer."""
    width, height = _plane(view, PANEL_DISTANCE)
    tall = BESIDE_SHARE * min(width, height)
    across, up = 1.0 - tall / width - _EDGE, 1.0 - tall / height - _EDGE
    return PanelPlace(world_from_facing(view, across, up, PANEL_DISTANCE), tall)


def beside_head(world_from_head: Rigid) -> PanelPlace:
    """To the right of a head, as who faces it sees it: where a viewer who walks about looks."""
    place = Rigid.from_translation(world_from_head.xyz + np.array(_HEAD_FROM_PANEL))
    return PanelPlace(place @ Rigid.from_rotvec((0.0, _HEAD_TURN, 0.0)), HEAD_TALL)


def on_desk(view: View, world_from_head: Rigid) -> PanelPlace:
    """Before the person, low in the picture, leaning back."""
    depth = _DESK_DEPTH * _depth_of(view, world_from_head)
    high = _plane(view, depth)[1]
    tall = DESK_SHARE * high
    # Leaning back, its lower edge with the label is nearer, and so lower in the picture.
    near = depth - tall / 2 * float(np.sin(-_DESK_TILT))
    lowest = -(1.0 - _EDGE) * _plane(view, near)[1] / 2
    middle = lowest + tall / 2 * float(np.cos(_DESK_TILT))
    place = world_from_facing(view, 0.0, 2 * middle / high, depth)
    return PanelPlace(place @ Rigid.from_rotvec((_DESK_TILT, 0.0, 0.0)), tall)


def as_backdrop(view: View, world_from_head: Rigid) -> PanelPlace:
    """Behind the person, its upper edge with the label in the picture, to the right of what
    windows write into the left corner."""
    depth = _depth_of(view, world_from_head) + _BEHIND
    width, height = _plane(view, depth)
    tall = BACKDROP_SHARE * height
    across = max(1.0 - tall / width - 0.5 * _EDGE, 0.0)
    return PanelPlace(world_from_facing(view, across, 0.0, depth), tall)


def _depth_of(view: View, world_from_head: Rigid) -> float:
    """Metres from the viewer to the face, along the view; at least those of a panel."""
    x, y, z = view.world_from_eye.inverse().apply(world_from_head.xyz)
    del x, y
    return max(float(z), PANEL_DISTANCE)


def _plane(view: View, depth: float) -> tuple[float, float]:
    """(width, height) metres of what is seen at that depth."""
    left, right, up, down = np.tan(view.fov) * depth
    return float(right - left), float(up - down)
