"""Every record checks every field when it is built, and its arrays are read-only."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import FrozenInstanceError, is_dataclass, replace
from typing import Any

import numpy as np
import pytest

import streams
from streams.array_contract import require_array
from streams.audio_block import AudioBlock
from streams.avatar_code import AvatarCode
from streams.camera import Camera
from streams.frame import Frame
from streams.hand_skeleton import HandShape, OpenXRHand
from streams.headset_sample import HeadsetSample
from streams.image import Image
from streams.mark import Mark
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.rigid import Rigid
from streams.shown_panels import ShownPanels
from streams.texture_basis import TextureBasis
from streams.topology import Topology
from streams.tracked_state import FacePose, HandPose, TrackedState
from streams.view import View

AHEAD = np.tile(np.array([0, 0, 1], np.float32), (2, 1))


def camera() -> Camera:
    return Camera.from_fov((4, 3))


def hand(side: str = "left") -> HandPose:
    joints, angles = np.zeros((21, 3), np.float32), np.zeros((5, 4), np.float32)
    return HandPose(side, joints, Rigid(), angles, 0.9)


def face() -> FacePose:
    blendshapes, landmarks = np.zeros(52, np.float32), np.zeros((478, 3), np.float32)
    return FacePose(blendshapes, landmarks, AHEAD, Rigid(), 1.0)


def topology() -> Topology:
    return Topology(
        "t",
        np.array([[0, 1, 2]], np.int32),
        np.zeros((3, 2), np.float32),
        np.zeros(3, np.uint8),
        np.zeros((2, 2, 4), np.uint8),
    )


def basis() -> TextureBasis:
    planes = np.zeros((4, 2, 2, 3), np.int8)
    return TextureBasis(np.zeros((4, 4, 3), np.uint8), planes, np.ones(4, np.float32), (2, 3))


def mesh_nodes() -> MeshNodes:
    v = np.zeros((3, 3), np.float32)
    nodes = np.zeros((2, 3, 4), np.float32)
    return MeshNodes(0, topology(), v, v, basis(), nodes, np.ones(3, np.float32))


def mesh() -> MeshTexture:
    v = np.zeros((3, 3), np.float32)
    return MeshTexture(0, topology(), v, v, np.zeros((4, 4, 3), np.uint8))


def code() -> AvatarCode:
    return AvatarCode(
        0, "a", np.zeros(8, np.float32), np.zeros(3, np.float32), AHEAD, None, (hand(),)
    )


def panel() -> Panel:
    return Panel("p", np.zeros((2, 2, 4), np.uint8), "head", Rigid(), (0.1, 0.1))


RECORDS: dict[str, Callable[[], Any]] = {
    "Rigid": Rigid,
    "Camera": camera,
    "Frame": lambda: Frame(0, 0, camera(), np.zeros((3, 4, 3), np.uint8)),
    "HandPose": hand,
    "FacePose": face,
    "AvatarCode": code,
    "Topology": topology,
    "MeshTexture": mesh,
    "MeshNodes": mesh_nodes,
    "TextureBasis": basis,
    "View": View.front,
    "Image": lambda: Image(
        0,
        View.front((4, 3)),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((3, 4), np.float32),
    ),
    "Panel": panel,
    "HeadsetSample": lambda: HeadsetSample(0, Rigid(), np.zeros((25, 3), np.float32)),
    "AudioBlock": lambda: AudioBlock(0, "microphone", 16_000, np.zeros((4, 1), np.int16)),
    "Mark": lambda: Mark(0, "clap"),
    "ShownPanels": lambda: ShownPanels(0, (panel(),)),
    "HandShape": lambda: HandShape("left", np.ones((5, 3)), np.ones((5, 3))),
    "OpenXRHand": lambda: OpenXRHand(
        np.zeros((26, 3), np.float32), np.zeros((26, 4), np.float32), np.zeros(26, np.float32)
    ),
}
UNCHECKED_FOR_NAN = {
    "MeshNodes.vertices",
    "MeshNodes.normals",
    "Image.depth",
    "MeshTexture.vertices",
    "MeshTexture.normals",
    "Topology.uv",
}
"""Thousands of numbers a frame: who draws them looks at them anyway."""


def array_fields() -> list[tuple[str, str]]:
    found = []
    for name, make in RECORDS.items():
        record = make()
        for field in type(record).__dataclass_fields__:
            if isinstance(getattr(record, field), np.ndarray):
                found.append((name, field))
    return found


def test_every_record_of_streams_is_here() -> None:
    found = set()
    for module in pkgutil.iter_modules(streams.__path__, "streams."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if is_dataclass(value) and value.__eq__ is object.__eq__:  # records: eq=False
                found.add(name)
    assert found == {
        *RECORDS,
        "Distortion",  # these two hold no array
        "TrackedState",
        "HandParts",  # crosses no seam: several hands at once, for speed
    }


@pytest.mark.parametrize(("name", "field"), array_fields())
def test_array_fields(name: str, field: str) -> None:
    record = RECORDS[name]()
    good = getattr(record, field)
    assert not good.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        good[...] = 0

    def refuse(value: object) -> None:
        with pytest.raises(ValueError, match=rf"^{name}\.{field}: expected .*got"):
            replace(record, **{field: value})

    refuse(good.astype(np.complex64))
    refuse(good[None])
    # Codes are as long as their decoder wants, sound has any number of channels.
    if name not in ("AvatarCode", "AudioBlock") or field == "gaze":
        refuse(np.concatenate([good, good], axis=-1))
    refuse(good.tolist())
    if name != "HeadsetSample":  # a hand that is not tracked
        refuse(None)
    if good.dtype.kind == "f" and f"{name}.{field}" not in UNCHECKED_FOR_NAN and good.size:
        bad = good.copy()
        bad.flat[0] = np.nan
        with pytest.raises(ValueError, match=rf"^{name}\.{field}: expected finite numbers"):
            replace(record, **{field: bad})


@pytest.mark.parametrize("name", RECORDS)
def test_records_are_frozen_and_compare_by_identity(name: str) -> None:
    record = RECORDS[name]()
    field = next(iter(type(record).__dataclass_fields__))
    with pytest.raises((FrozenInstanceError, TypeError, AttributeError)):
        setattr(record, field, getattr(record, field))
    assert record == record
    assert record != RECORDS[name]()
    assert not hasattr(record, "__dict__")


@pytest.mark.parametrize(
    "name",
    [
        "Frame", "AvatarCode", "MeshTexture", "View", "Image", "AudioBlock", "Mark", "ShownPanels",
    ],
)  # fmt: skip
@pytest.mark.parametrize("t_ns", [1.0, True, None, "1", np.int64(1)])
def test_times_are_int_nanoseconds(name: str, t_ns: object) -> None:
    with pytest.raises(ValueError, match=rf"^{name}\.t_ns: expected int nanoseconds"):
        replace(RECORDS[name](), t_ns=t_ns)


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (hand, {"side": "middle"}, "HandPose.side: expected one of 'left', 'right', got 'middle'"),
        (hand, {"confidence": 1.1}, "HandPose.confidence: expected a number from 0 to 1"),
        (hand, {"confidence": float("nan")}, "HandPose.confidence: expected a number from 0 to 1"),
        (face, {"blendshapes": np.full(52, 1.5, np.float32)}, "FacePose.blendshapes: expected num"),
        (face, {"gaze": AHEAD * 2}, "FacePose.gaze: expected unit vectors"),
        (code, {"gaze": AHEAD * 2}, "AvatarCode.gaze: expected unit vectors"),
        (code, {"hands": [hand()]}, "AvatarCode.hands: expected a tuple of HandPose, got list"),
        (code, {"hands": (hand(), hand())}, "AvatarCode.hands: expected at most one hand a side"),
        (code, {"origin": "guessed"}, "AvatarCode.origin: expected one of"),
        (camera, {"size": (0, 3)}, r"Camera.size: expected \(width, height\) as positive ints"),
        (camera, {"size": [4, 3]}, r"Camera.size: expected \(width, height\) as positive ints"),
        (camera, {"size": (4.0, 3.0)}, r"Camera.size: expected \(width, height\)"),
        (camera, {"focal": np.array([1.0, -1.0])}, "Camera.focal: expected positive pixels"),
        (View.front, {"eye": "third"}, "View.eye: expected one of"),
        (View.front, {"fov": np.array([0.1, -0.1, 0.1, -0.1])}, "View.fov: expected left < right"),
        (View.front, {"fov": np.array([-2.0, 0.1, 0.1, -0.1])}, "View.fov: expected left < right"),
        (topology, {"faces": np.array([[0, 1, 3]], np.int32)}, "Topology.faces: expected indices"),
        (topology, {"faces": np.array([[0, 1, -1]], np.int32)}, "Topology.faces: expected indices"),
        (topology, {"parts": np.full(3, 9, np.uint8)}, "Topology.parts: expected < 8, got 9"),
        (panel, {"anchor": "foot"}, "Panel.anchor: expected one of"),
        (panel, {"size_m": (0.0, 1.0)}, "Panel.size_m: expected positive metres"),
        (panel, {"rgba": np.zeros((0, 2, 4), np.uint8)}, "Panel.rgba: expected at least one pixel"),
        (RECORDS["AudioBlock"], {"rate": 0}, "AudioBlock.rate: expected 1 to 1000000 Hz, got 0"),
        (RECORDS["AudioBlock"], {"samples": np.zeros((0, 1), np.int16)}, "AudioBlock.samples: exp"),
        (RECORDS["Mark"], {"name": "a\nb"}, "Mark.name: expected one line of text"),
        (RECORDS["ShownPanels"], {"panels": [panel()]}, "ShownPanels.panels: expected a tuple of"),
        (RECORDS["ShownPanels"], {"panels": (panel(), panel())}, "ShownPanels.panels: expected ea"),
        (panel, {"generated_by": " "}, "Panel.generated_by: expected None or a model's name"),
    ],
)
def test_other_fields(make: Callable[[], Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="^" + message):
        replace(make(), **changes)


def test_frame_must_have_its_cameras_size() -> None:
    with pytest.raises(ValueError, match=r"^Frame\.rgb: expected uint8 \(3, 4, 3\), got"):
        Frame(0, 0, camera(), np.zeros((4, 3, 3), np.uint8))


def test_tracked_state() -> None:
    left, right = hand("left"), hand("right")
    state = TrackedState(1, "cam", face(), (right, left))
    assert state.hand("left") is left
    assert state.hand("right") is right
    assert TrackedState(1, "cam").hand("left") is None
    with pytest.raises(ValueError, match="at most one hand a side"):
        TrackedState(1, "cam", None, (left, left))
    with pytest.raises(ValueError, match="expected one of 'left', 'right'"):
        state.hand("both")


def test_a_record_does_not_freeze_the_callers_array() -> None:
    mine = np.zeros((2, 3))
    view = require_array("X.y", mine, np.float64, (2, 3))
    assert mine.flags.writeable
    assert not view.flags.writeable
    assert view.base is mine


def test_the_message_says_who_expected_and_got() -> None:
    with pytest.raises(
        ValueError, match=r"^X\.y: expected float32 \(\*, 3\), got float64 \(2, 2\)$"
    ):
        require_array("X.y", np.zeros((2, 2)), np.float32, (None, 3))
