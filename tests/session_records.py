"""Any record that a session may hold, for hypothesis; and what makes two of them the same."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from streams.audio_block import AudioBlock
from streams.avatar_code import AvatarCode
from streams.camera import COEFFICIENTS, DISTORTION_MODELS, Camera, Distortion
from streams.frame import Frame
from streams.headset_sample import HeadsetSample
from streams.mark import Mark
from streams.panel import ANCHORS, Panel
from streams.rigid import Rigid
from streams.shown_panels import ShownPanels
from streams.tracked_state import FacePose, HandPose, PartConfidence, TrackedState
from streams.view import EYES, View

TIMES = st.integers(0, 2**62)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
LINES = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=20)
SPECIAL = np.array([0.0, -0.0, 1e-45, -1e-45, 1.17e-38, 3.4e38, -3.4e38, 1 / 3], np.float32)


def generators() -> st.SearchStrategy[np.random.Generator]:
    """Random numbers of which only the seed is drawn: thousands of them a record."""
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


def any_floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Finite float32 numbers of every magnitude, denormals and both zeros among them."""
    bits = rng.integers(0, 2**32, shape, np.uint32).view(np.float32)
    chosen = rng.choice(SPECIAL, shape)
    return np.where(np.isfinite(bits) & (rng.random(shape) < 0.7), bits, chosen).astype(np.float32)


def unit_rows(rng: np.random.Generator, *shape: int) -> np.ndarray:
    rows = rng.normal(size=shape)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def rigid(rng: np.random.Generator) -> Rigid:
    wxyz = rng.normal(size=4)
    # Not quite of unit length, as rounding leaves it.
    return Rigid(wxyz / np.linalg.norm(wxyz) * (1 + rng.normal() * 1e-9), rng.normal(size=3))


def hand(rng: np.random.Generator, side: str) -> HandPose:
    return HandPose(
        side, any_floats(rng, 21, 3), rigid(rng), any_floats(rng, 5, 4), float(rng.random())
    )


def hands(rng: np.random.Generator) -> tuple[HandPose, ...]:
    sides = [side for side in ("left", "right") if rng.random() < 0.5]
    return tuple(hand(rng, side) for side in sides)


@st.composite
def states(draw: Any) -> TrackedState:
    rng = draw(generators())
    face = None
    if rng.random() < 0.8:
        face = FacePose(
            rng.random(52).astype(np.float32),
            any_floats(rng, 478, 3),
            unit_rows(rng, 2, 3),
            rigid(rng),
            float(rng.random()),
            PartConfidence(*(float(n) for n in rng.random(3))) if rng.random() < 0.5 else None,
            float(rng.uniform(0.5, 2.0)) if rng.random() < 0.5 else 1.0,
        )
    return TrackedState(draw(TIMES), draw(TEXTS), face, hands(rng))


@st.composite
def codes(draw: Any) -> AvatarCode:
    rng = draw(generators())
    return AvatarCode(
        draw(TIMES),
        draw(TEXTS),
        any_floats(rng, int(rng.integers(0, 100))),
        any_floats(rng, int(rng.integers(0, 600))),
        unit_rows(rng, 2, 3),
        rigid(rng) if rng.random() < 0.8 else None,
        hands(rng),
        draw(st.sampled_from(("encoded", "driven"))),
    )


def view(rng: np.random.Generator, t_ns: int) -> View:
    fov = np.array([-1, 1, 1, -1]) * rng.uniform(0.1, 1.5, 4)
    size = (int(rng.integers(1, 5000)), int(rng.integers(1, 5000)))
    return View(t_ns, str(rng.choice(EYES)), rigid(rng), fov, size)


@st.composite
def views(draw: Any) -> View:
    return view(draw(generators()), draw(TIMES))


@st.composite
def headset_samples(draw: Any) -> HeadsetSample:
    rng = draw(generators())
    left, right = (any_floats(rng, 25, 3) if rng.random() < 0.5 else None for _ in range(2))
    return HeadsetSample(
        draw(TIMES),
        rigid(rng),
        left,
        right,
        tuple(view(rng, draw(TIMES)) for _ in range(rng.integers(0, 3))),
        draw(st.none() | st.integers(-(2**62), 2**62)),
    )


@st.composite
def sounds(draw: Any) -> AudioBlock:
    rng = draw(generators())
    shape = (int(rng.integers(1, 400)), int(rng.integers(1, 4)))
    samples = rng.integers(-(2**15), 2**15, shape, np.int16)
    return AudioBlock(draw(TIMES), draw(TEXTS), draw(st.sampled_from((8000, 44_100))), samples)


@st.composite
def panels(draw: Any, name: str = "p") -> Panel:
    rng = draw(generators())
    return Panel(
        name,
        rng.integers(0, 256, (int(rng.integers(1, 9)), int(rng.integers(1, 9)), 4), np.uint8),
        draw(st.sampled_from(ANCHORS)),
        rigid(rng),
        (float(rng.uniform(0.01, 1)), float(rng.uniform(0.01, 1))),
        draw(st.none() | LINES),
    )


@st.composite
def shown_panels(draw: Any) -> ShownPanels:
    names = draw(st.lists(LINES, max_size=3, unique=True))
    return ShownPanels(draw(TIMES), tuple(draw(panels(name)) for name in names))


@st.composite
def cameras(draw: Any) -> Camera:
    rng = draw(generators())
    model = draw(st.sampled_from(DISTORTION_MODELS))
    count = COEFFICIENTS[model]
    return Camera(
        draw(LINES),
        (int(rng.integers(16, 70)), int(rng.integers(16, 70))),
        rng.uniform(10, 2000, 2),
        rng.uniform(-10, 2000, 2),
        Distortion(model, tuple(float(c) for c in rng.normal(size=count))),
        rigid(rng),
    )


@st.composite
def frames(draw: Any) -> Frame:
    rng = draw(generators())
    camera = draw(cameras())
    rgb = rng.integers(0, 256, (camera.size[1], camera.size[0], 3), np.uint8)
    device_ns = draw(st.none() | st.integers(-(2**62), 2**62))
    return Frame(
        draw(TIMES), int(rng.integers(0, 2**40)), camera, rgb, draw(st.booleans()), device_ns
    )


def marks() -> st.SearchStrategy[Mark]:
    return st.builds(Mark, TIMES, LINES.filter(str.strip), TEXTS)


ANY = st.one_of(
    frames(), states(), codes(), views(), headset_samples(), sounds(), shown_panels(), marks()
)


ADDED = {("FacePose", "parts"): None, ("FacePose", "size"): 1.0, ("Frame", "beside"): ()}
"""Fields that were added since version 1 of sessions, which count where they say something."""


def bits(value: Any) -> Any:
    """A record as plain values that are equal only when all its bits are."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if is_dataclass(value):
        kind = type(value).__name__
        values = {f.name: getattr(value, f.name) for f in fields(value)}
        added = {name: usual for (of, name), usual in ADDED.items() if of == kind}
        kept = [v for name, v in values.items() if name not in added or v != added[name]]
        return kind, [bits(v) for v in kept]
    if isinstance(value, tuple):
        return [bits(item) for item in value]
    return type(value).__name__, repr(value)


def digest(value: Any) -> str:
    """SHA-256 of all bits of a record."""
    return hashlib.sha256(repr(bits(value)).encode("utf-8")).hexdigest()
