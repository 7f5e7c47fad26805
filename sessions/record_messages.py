"""Records to messages and back, bit for bit. Pictures have a file of their own, `picture_track`.

Whatever comes out of a file passes through the records' own checks; a message that breaks them, or
that is no message at all, raises ValueError.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError, Message
from PIL import Image as Picture

from sessions.message_schema import AUDIO, PACKAGE, VIDEO, message_class
from streams.audio_block import AudioBlock
from streams.avatar_code import AvatarCode
from streams.camera import Camera, Distortion
from streams.headset_sample import HeadsetSample
from streams.mark import Mark
from streams.panel import Panel
from streams.rigid import Rigid
from streams.tracked_state import FacePose, HandPose, PartConfidence, TrackedState
from streams.view import View

Shape = tuple[int, ...]
MOST_SMALL = 4 << 20
"""Bytes of a message without pictures and sound."""
MOST_FIELDS = 4096
"""Of a message with pictures."""
_LARGE = (VIDEO, AUDIO, f"{PACKAGE}.ShownPanels", f"{PACKAGE}.Panel")
_PICTURE_SIDE = 8192
"""A panel's picture in a file may not be larger: a small PNG can unpack to gigabytes."""


def parsed(name: str, data: bytes) -> Any:
    """The message of that full name, or ValueError."""
    if name not in _LARGE and len(data) > MOST_SMALL:
        raise ValueError(f"{name}: expected at most {MOST_SMALL} bytes, got {len(data)}")
    if name == f"{PACKAGE}.ShownPanels":
        _require_few_fields(name, data)
    try:
        return message_class(name).FromString(data)
    except DecodeError as error:
        raise ValueError(f"{name}: expected a message, got other bytes ({error})") from error


def packed(message: Message) -> bytes:
    """A message's bytes, the same for the same content. Raises ValueError when they are more than
    anyone would read."""
    data = message.SerializeToString(deterministic=True)
    name = message.DESCRIPTOR.full_name
    if name not in _LARGE and len(data) > MOST_SMALL:
        raise ValueError(f"{name}: expected at most {MOST_SMALL} bytes, got {len(data)}")
    return data


def _require_few_fields(name: str, data: bytes) -> None:
    """Two bytes of a file can become a message of a hundred bytes in memory: count them first.

    Protocol Buffers' encoding: a tag and a length before each of a message's fields.
    """
    at = count = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 2:
            length, at = _varint(data, at)
            at += length
        elif kind == 0:
            at = _varint(data, at)[1]
        else:
            at += {1: 8, 5: 4}.get(kind, len(data))
        count += 1
        if count > MOST_FIELDS:
            raise ValueError(f"{name}: has more than {MOST_FIELDS} fields")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends; whether it is whole is for the parser to say."""
    value = shift = 0
    while at < len(data) and shift < 70:
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            break
        shift += 7
    return value, at


def _class(name: str) -> Callable[..., Any]:
    return message_class(f"{PACKAGE}.{name}")


def _numbers(array: npt.NDArray[Any]) -> bytes:
    kind = "<f4" if array.dtype == np.float32 else "<f8"
    return np.ascontiguousarray(array, kind).tobytes()


def _array(where: str, data: bytes, dtype: type, shape: Shape) -> npt.NDArray[Any]:
    wanted = np.dtype(dtype).newbyteorder("<")
    count = int(np.prod(shape)) if -1 not in shape else len(data) // wanted.itemsize
    if len(data) != count * wanted.itemsize:
        raise ValueError(f"{where}: expected {count} {wanted} numbers, got {len(data)} bytes")
    return np.frombuffer(data, wanted).astype(dtype, copy=False).reshape(shape)


def rigid_message(rigid: Rigid) -> Any:
    return _class("Rigid")(wxyz=_numbers(rigid.wxyz), xyz=_numbers(rigid.xyz))


def rigid_of(message: Any) -> Rigid:
    return Rigid(
        _array("Rigid.wxyz", message.wxyz, np.float64, (4,)),
        _array("Rigid.xyz", message.xyz, np.float64, (3,)),
    )


def camera_message(camera: Camera) -> Any:
    return _class("Camera")(
        name=camera.name,
        width=camera.size[0],
        height=camera.size[1],
        focal=_numbers(camera.focal),
        centre=_numbers(camera.centre),
        distortion_model=camera.distortion.model,
        distortion=_numbers(np.array(camera.distortion.coefficients, np.float64)),
        world_from_camera=rigid_message(camera.world_from_camera),
    )


def camera_of(message: Any) -> Camera:
    coefficients = _array("Camera.distortion", message.distortion, np.float64, (-1,))
    return Camera(
        message.name,
        (message.width, message.height),
        _array("Camera.focal", message.focal, np.float64, (2,)),
        _array("Camera.centre", message.centre, np.float64, (2,)),
        Distortion(message.distortion_model, tuple(float(c) for c in coefficients)),
        rigid_of(message.world_from_camera),
    )


def _hand_message(hand: HandPose) -> Any:
    return _class("HandPose")(
        side=hand.side,
        joints=_numbers(hand.joints),
        world_from_wrist=rigid_message(hand.world_from_wrist),
        angles=_numbers(hand.angles),
        confidence=hand.confidence,
    )


def _hand_of(message: Any) -> HandPose:
    return HandPose(
        message.side,
        _array("HandPose.joints", message.joints, np.float32, (21, 3)),
        rigid_of(message.world_from_wrist),
        _array("HandPose.angles", message.angles, np.float32, (5, 4)),
        message.confidence,
    )


def state_message(state: TrackedState) -> Any:
    message = _class("TrackedState")(
        t_ns=state.t_ns, source=state.source, hands=[_hand_message(hand) for hand in state.hands]
    )
    face = state.face
    if face is not None:
        message.face.CopyFrom(
            _class("FacePose")(
                blendshapes=_numbers(face.blendshapes),
                landmarks=_numbers(face.landmarks),
                gaze=_numbers(face.gaze),
                world_from_head=rigid_message(face.world_from_head),
                confidence=face.confidence,
            )
        )
        if face.parts is not None:
            parts = message.face.parts
            parts.left_gaze, parts.right_gaze = face.parts.left_gaze, face.parts.right_gaze
            parts.mouth = face.parts.mouth
            parts.SetInParent()
        if face.size != 1.0:  # As older files, whose heads are all of average size.
            message.face.size = face.size
    return message


def _parts_of(message: Any) -> PartConfidence:
    return PartConfidence(message.left_gaze, message.right_gaze, message.mouth)


def state_of(message: Any) -> TrackedState:
    face = None
    if message.HasField("face"):
        face = FacePose(
            _array("FacePose.blendshapes", message.face.blendshapes, np.float32, (52,)),
            _array("FacePose.landmarks", message.face.landmarks, np.float32, (478, 3)),
            _array("FacePose.gaze", message.face.gaze, np.float32, (2, 3)),
            rigid_of(message.face.world_from_head),
            message.face.confidence,
            _parts_of(message.face.parts) if message.face.HasField("parts") else None,
            message.face.size or 1.0,
        )
    hands = tuple(_hand_of(hand) for hand in message.hands)
    return TrackedState(message.t_ns, message.source, face, hands)


def code_message(code: AvatarCode) -> Any:
    message = _class("AvatarCode")(
        t_ns=code.t_ns,
        avatar=code.avatar,
        geometry=_numbers(code.geometry),
        appearance=_numbers(code.appearance),
        gaze=_numbers(code.gaze),
        hands=[_hand_message(hand) for hand in code.hands],
        origin=code.origin,
    )
    if code.world_from_head is not None:
        message.world_from_head.CopyFrom(rigid_message(code.world_from_head))
    return message


def code_of(message: Any) -> AvatarCode:
    return AvatarCode(
        message.t_ns,
        message.avatar,
        _array("AvatarCode.geometry", message.geometry, np.float32, (-1,)),
        _array("AvatarCode.appearance", message.appearance, np.float32, (-1,)),
        _array("AvatarCode.gaze", message.gaze, np.float32, (2, 3)),
        rigid_of(message.world_from_head) if message.HasField("world_from_head") else None,
        tuple(_hand_of(hand) for hand in message.hands),
        message.origin,
    )


def view_message(view: View) -> Any:
    return _class("View")(
        t_ns=view.t_ns,
        eye=view.eye,
        world_from_eye=rigid_message(view.world_from_eye),
        fov=_numbers(view.fov),
        width=view.size[0],
        height=view.size[1],
    )


def view_of(message: Any) -> View:
    return View(
        message.t_ns,
        message.eye,
        rigid_of(message.world_from_eye),
        _array("View.fov", message.fov, np.float64, (4,)),
        (message.width, message.height),
    )


def headset_message(sample: HeadsetSample) -> Any:
    return _class("HeadsetSample")(
        t_ns=sample.t_ns,
        world_from_head=rigid_message(sample.world_from_head),
        left=b"" if sample.left is None else _numbers(sample.left),
        right=b"" if sample.right is None else _numbers(sample.right),
        views=[view_message(view) for view in sample.views],
        device_ns=sample.device_ns or 0,
        has_device_ns=sample.device_ns is not None,
    )


def headset_of(message: Any) -> HeadsetSample:
    def joints(side: str) -> npt.NDArray[np.float32] | None:
        data = getattr(message, side)
        return _array(f"HeadsetSample.{side}", data, np.float32, (25, 3)) if data else None

    return HeadsetSample(
        message.t_ns,
        rigid_of(message.world_from_head),
        joints("left"),
        joints("right"),
        tuple(view_of(view) for view in message.views),
        message.device_ns if message.has_device_ns else None,
    )


def audio_message(block: AudioBlock) -> Any:
    message = message_class(AUDIO)(
        data=np.ascontiguousarray(block.samples, "<i2").tobytes(),
        format="pcm-s16",
        sample_rate=block.rate,
        number_of_channels=block.samples.shape[1],
        t_ns=block.t_ns,
    )
    message.timestamp.FromNanoseconds(block.t_ns)
    return message


def audio_of(message: Any, source: str) -> AudioBlock:
    channels = message.number_of_channels
    if message.format != "pcm-s16" or not channels or len(message.data) % (2 * channels):
        raise ValueError(
            f"RawAudio: expected pcm-s16 in whole moments, got {message.format!r} of "
            f"{len(message.data)} bytes in {channels} channels"
        )
    samples = np.frombuffer(message.data, "<i2").astype(np.int16, copy=False)
    return AudioBlock(message.t_ns, source, message.sample_rate, samples.reshape(-1, channels))


def mark_message(mark: Mark) -> Any:
    return _class("Mark")(t_ns=mark.t_ns, name=mark.name, text=mark.text)


def mark_of(message: Any) -> Mark:
    return Mark(message.t_ns, message.name, message.text)


def picture_key(rgba: npt.NDArray[np.uint8]) -> str:
    """What tells a panel's picture from others: SHA-256 of its size and pixels."""
    size = np.array(rgba.shape, "<i4").tobytes()
    return hashlib.sha256(size + np.ascontiguousarray(rgba).tobytes()).hexdigest()


def panel_message(panel: Panel, key: str, picture_ns: int, png: bytes) -> Any:
    """`png` is empty where the message at `picture_ns` holds the picture."""
    return _class("Panel")(
        id=panel.id,
        anchor=panel.anchor,
        anchor_from_panel=rigid_message(panel.anchor_from_panel),
        size_m=_numbers(np.array(panel.size_m, np.float64)),
        generated_by=panel.generated_by or "",
        picture=key,
        picture_ns=picture_ns,
        png=png,
    )


def panel_of(message: Any, rgba: npt.NDArray[np.uint8]) -> Panel:
    width, height = _array("Panel.size_m", message.size_m, np.float64, (2,))
    return Panel(
        message.id,
        rgba,
        message.anchor,
        rigid_of(message.anchor_from_panel),
        (float(width), float(height)),
        message.generated_by or None,
    )


def png_of(rgba: npt.NDArray[np.uint8]) -> bytes:
    """A picture, (H, W, 4) uint8, as PNG; lossless."""
    out = io.BytesIO()
    Picture.fromarray(rgba, "RGBA").save(out, "PNG", compress_level=1)
    return out.getvalue()


def rgba_of(png: bytes) -> npt.NDArray[np.uint8]:
    """(H, W, 4) uint8. Raises ValueError for anything but an RGBA PNG of bearable size."""
    try:
        with Picture.open(io.BytesIO(png), formats=("PNG",)) as picture:
            if picture.mode != "RGBA" or max(picture.size) > _PICTURE_SIDE:
                raise ValueError(f"Panel.png: expected RGBA up to {_PICTURE_SIDE} pixels a side")
            return np.array(picture)
    except (OSError, SyntaxError, Picture.DecompressionBombError) as error:
        raise ValueError(f"Panel.png: expected a PNG picture, got other bytes ({error})") from error


def entries(counts: dict[str, int]) -> Sequence[Any]:
    """A dictionary of numbers as messages, in the order of its keys."""
    return [_class("Entry")(key=key, number=counts[key]) for key in sorted(counts)]


def entry_texts(texts: dict[str, str]) -> Sequence[Any]:
    """A dictionary of texts as messages, in the order of its keys."""
    return [_class("Entry")(key=key, text=texts[key]) for key in sorted(texts)]
