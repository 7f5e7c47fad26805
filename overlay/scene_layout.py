"""Where the things of a scene stand: a row on the ground, and what is on, above or behind another.

Lengths are in the height of one sticker; y is up, the ground is 0.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from overlay.scene_words import Thing

GAP = 0.08
_OVERLAP = 0.16
"""Of two of a kind, where they stand beside each other."""


@dataclass(frozen=True, slots=True)
class Placed:
    """One sticker."""

    thing: int
    """Which thing of the scene."""
    x: float
    """Of its middle."""
    y: float
    """Of its lower edge."""
    width: float
    height: float
    """Of what is drawn of it."""
    depth: float
    """Larger is farther: drawn earlier."""
    mirrored: bool = False

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        return self.y + self.height


@dataclass(slots=True)
class _Stack:
    """Things that stand on one spot."""

    placed: list[Placed]
    last: list[Placed]
    """Those of the thing that was added last: what the next relation speaks of."""


def lay_out(
    things: Sequence[Thing], shapes: Sequence[tuple[float, float]], seed: int
) -> list[Placed]:
    """Every sticker of the scene, farthest first. `shapes`: of each thing's drawing, (width,
    height) of what is drawn, as shares of its side. The same words and seed give the same places,
    and a word more at the end leaves the earlier things' small differences as they were."""
    stacks: list[_Stack] = []
    for number, thing in enumerate(things):
        group = _group(number, thing, shapes[number], seed)
        relation = thing.relation if stacks else "beside"
        if relation == "right of":
            stacks.insert(len(stacks) - 1, _Stack(group, group))
            stacks.append(stacks.pop(-1))
        elif relation == "beside":
            stacks.append(_Stack(group, group))
        else:
            stack = stacks[-1]
            _JOIN[relation](stack, group)
    row: list[Placed] = []
    edge = 0.0
    for stack in stacks:
        left, right = _extent(stack.placed)
        row += [replace(p, x=p.x - left + edge) for p in stack.placed]
        edge += right - left + GAP
    return sorted(row, key=lambda p: (-p.depth, p.thing))


def _group(number: int, thing: Thing, shape: tuple[float, float], seed: int) -> list[Placed]:
    """So many of a kind, in rows: the farther ones higher and smaller. Its middle is at x = 0."""
    per_row = thing.count if thing.count <= 3 else math.ceil(math.sqrt(1.5 * thing.count))
    rows = math.ceil(thing.count / per_row)
    placed: list[Placed] = []
    left = thing.count
    for row in range(rows):
        here = min(per_row, left)
        left -= here
        scale = thing.size * 0.92**row
        step = scale * shape[0] * (1.0 - _OVERLAP)
        for k in range(here):
            wobble = _wobble(seed, number, row * per_row + k)
            many = thing.count > 1
            grown = 0.07 * wobble if many else 0.0
            x = (k - (here - 1) / 2) * step + (0.5 * step if row % 2 else 0.0)
            placed.append(
                Placed(
                    number,
                    x + (0.08 * wobble * scale if many else 0.0),
                    row * 0.42 * thing.size * shape[1],
                    scale * shape[0] * (1.0 + grown),
                    scale * shape[1] * (1.0 + grown),
                    row * 0.1 + number * 0.001,
                    many and wobble < -0.25,
                )
            )
    left_edge, right_edge = _extent(placed)
    middle = (left_edge + right_edge) / 2
    return [replace(p, x=p.x - middle) for p in placed]


def _wobble(seed: int, thing: int, which: int) -> float:
    """-1 to 1, different for each sticker, the same every time."""
    digest = hashlib.sha256(f"{seed} {thing} {which}".encode()).digest()
    return int.from_bytes(digest[:4], "little") / 2**31 - 1.0


def _extent(placed: Sequence[Placed]) -> tuple[float, float]:
    return min(p.left for p in placed), max(p.right for p in placed)


def _top(placed: Sequence[Placed]) -> float:
    return max(p.top for p in placed)


def _bottom(placed: Sequence[Placed]) -> float:
    return min(p.y for p in placed)


def _middle(placed: Sequence[Placed]) -> float:
    left, right = _extent(placed)
    return (left + right) / 2


def _moved(
    placed: Sequence[Placed], x: float = 0.0, y: float = 0.0, depth: float = 0.0
) -> list[Placed]:
    return [replace(p, x=p.x + x, y=p.y + y, depth=p.depth + depth) for p in placed]


def _scaled(placed: Sequence[Placed], scale: float) -> list[Placed]:
    middle, bottom = _middle(placed), _bottom(placed)
    return [
        replace(
            p,
            x=middle + (p.x - middle) * scale,
            y=bottom + (p.y - bottom) * scale,
            width=p.width * scale,
            height=p.height * scale,
        )
        for p in placed
    ]


def _put_above(stack: _Stack, group: list[Placed], overlap: float, scale: float) -> None:
    """Lift what is there above `group`, which comes to stand where it was."""
    base = _moved(group, _middle(stack.placed), _bottom(stack.last), depth=0.2)
    # What is already on it (a hat) goes up with it.
    lifted = _scaled(stack.placed, scale)
    lift = _top(base) - overlap * max(p.height for p in group) - _bottom(lifted)
    stack.placed = [*base, *_moved(lifted, 0.0, lift)]
    stack.last = base


def _on(stack: _Stack, group: list[Placed]) -> None:
    _put_above(stack, group, 0.3, 0.8)


def _above(stack: _Stack, group: list[Placed]) -> None:
    _put_above(stack, group, -0.06, 0.9)


def _under(stack: _Stack, group: list[Placed]) -> None:
    up = _moved(group, _middle(stack.placed), _top(stack.placed) + 0.06 - _bottom(group))
    stack.placed, stack.last = [*stack.placed, *up], up


def _behind(stack: _Stack, group: list[Placed]) -> None:
    """What is there stands behind `group`: to one side, higher and partly hidden."""
    hidden = _moved(stack.placed, -0.34, 0.24, 0.5)
    front = _moved(group, _middle(stack.placed) + 0.12)
    stack.placed, stack.last = [*hidden, *front], front


def _in_front(stack: _Stack, group: list[Placed]) -> None:
    back = _moved(_scaled(group, 1.25), _middle(stack.placed) + 0.3, 0.12, 0.5)
    stack.placed, stack.last = [*back, *_moved(stack.placed, -0.2)], back


def _in(stack: _Stack, group: list[Placed]) -> None:
    """What is there is small before the middle of a large `group`."""
    around = _moved(_scaled(group, 1.7), _middle(stack.placed), 0.0, 0.5)
    inner = _scaled(stack.placed, 0.62)
    low = 0.2 * (_top(around) - _bottom(around))
    stack.placed, stack.last = [*around, *_moved(inner, 0.0, low)], around


def _wearing(stack: _Stack, group: list[Placed]) -> None:
    worn = _scaled(group, 0.62)
    worn = _moved(
        worn,
        _middle(stack.last) - _middle(worn),
        _top(stack.last) - 0.17 - _bottom(worn),
        -0.3,
    )
    stack.placed = [*stack.placed, *worn]


def _holding(stack: _Stack, group: list[Placed]) -> None:
    held = _scaled(group, 0.5)
    right = _extent(stack.last)[1]
    held = _moved(held, right - 0.1 - _extent(held)[0] - 0.1, _bottom(stack.last) + 0.02, -0.3)
    stack.placed = [*stack.placed, *held]


_JOIN = {
    "on": _on,
    "above": _above,
    "under": _under,
    "behind": _behind,
    "in front of": _in_front,
    "in": _in,
    "wearing": _wearing,
    "holding": _holding,
}
