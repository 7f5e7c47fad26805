"""The messages of a session file, version 1, as Protocol Buffers; docs/session_file.md lists them.

Arrays of numbers are published as packed `repeated float` or `double`, so that every tool can plot
them. Inside, the same field is read and written as bytes: on the wire both are one length and the
little-endian numbers (Protocol Buffers' encoding guide, "packed"), and a frame's 1434 landmark
coordinates need no Python list. `published_class` is the slow twin of `message_class`.

Published fields never change: a change makes `visavis.v2`, beside which version 1 stays readable.
An optional message may be added at a message's end; readers before it pass over it (Protocol
Buffers keep unknown fields), and files before it are read as without.
Pictures and sound keep Foxglove's public names, which viewers know; our own fields have numbers
from 100 on.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

VERSION = 1
"""Of every record in this file."""

PACKAGE = "visavis.v1"
VIDEO, AUDIO = "foxglove.CompressedVideo", "foxglove.RawAudio"
TIMESTAMP = "google.protobuf.Timestamp"

# A field is (name, type) or (name, type, number); "*" means repeated, "f4"/"f8" arrays of floats.
_MESSAGES: dict[str, dict[str, Any]] = {
    PACKAGE: {
        "Rigid": (("wxyz", "f8*"), ("xyz", "f8*")),
        "Camera": (
            ("name", "string"), ("width", "uint32"), ("height", "uint32"),
            ("focal", "f8*"), ("centre", "f8*"),
            ("distortion_model", "string"), ("distortion", "f8*"), ("world_from_camera", "Rigid"),
        ),
        "HandPose": (
            ("side", "string"), ("joints", "f4*"), ("world_from_wrist", "Rigid"),
            ("angles", "f4*"), ("confidence", "double"),
        ),
        "PartConfidence": (
            ("left_gaze", "double"), ("right_gaze", "double"), ("mouth", "double"),
        ),
        "FacePose": (
            ("blendshapes", "f4*"), ("landmarks", "f4*"), ("gaze", "f4*"),
            ("world_from_head", "Rigid"), ("confidence", "double"), ("parts", "PartConfidence"),
            ("size", "double"),
        ),
        "TrackedState": (
            ("t_ns", "int64"), ("source", "string"), ("face", "FacePose"), ("hands", "HandPose*"),
        ),
        "AvatarCode": (
            ("t_ns", "int64"), ("avatar", "string"), ("geometry", "f4*"), ("appearance", "f4*"),
            ("gaze", "f4*"), ("world_from_head", "Rigid"), ("hands", "HandPose*"),
            ("origin", "string"),
        ),
        "View": (
            ("t_ns", "int64"), ("eye", "string"), ("world_from_eye", "Rigid"), ("fov", "f8*"),
            ("width", "uint32"), ("height", "uint32"),
        ),
        "HeadsetSample": (
            ("t_ns", "int64"), ("world_from_head", "Rigid"), ("left", "f4*"), ("right", "f4*"),
            ("views", "View*"), ("device_ns", "int64"), ("has_device_ns", "bool"),
        ),
        "Panel": (
            ("id", "string"), ("anchor", "string"), ("anchor_from_panel", "Rigid"),
            ("size_m", "f8*"), ("generated_by", "string"),
            ("picture", "string"), ("picture_ns", "int64"), ("png", "bytes"),
        ),
        "ShownPanels": (("t_ns", "int64"), ("panels", "Panel*")),
        "Mark": (("t_ns", "int64"), ("name", "string"), ("text", "string")),
        "Entry": (("key", "string"), ("text", "string"), ("number", "int64")),
        "SessionHeader": (
            ("t_ns", "int64"), ("unix_ns", "int64"), ("software", "string"), ("source", "string"),
            ("avatar", "string"), ("cameras", "Camera*"), ("models", "Entry*"),
            ("consent", "string"), ("notes", "Entry*"),
        ),
        "SessionState": (
            ("t_ns", "int64"), ("written", "Entry*"), ("lost", "Entry*"), ("key_frames", "Entry*"),
        ),
    },
    "foxglove": {
        "CompressedVideo": (
            ("timestamp", TIMESTAMP), ("frame_id", "string"), ("data", "bytes"),
            ("format", "string"),
            ("t_ns", "int64", 100), ("seq", "int64", 101), ("mirrored", "bool", 102),
            ("key", "bool", 103), ("packet", "int64", 104), ("device_ns", "int64", 105),
            ("has_device_ns", "bool", 106),
        ),
        "RawAudio": (
            ("timestamp", TIMESTAMP), ("data", "bytes"), ("format", "string"),
            ("sample_rate", "fixed32"), ("number_of_channels", "fixed32"),
            ("t_ns", "int64", 100),
        ),
    },
}  # fmt: skip

_ARRAYS = {"f4": "float", "f8": "double"}
_Field = descriptor_pb2.FieldDescriptorProto


def message_class(name: str) -> Any:
    """The class of a message by its full name, arrays as bytes."""
    return _classes(True)[name]


def published_class(name: str) -> Any:
    """The class that the file's own schema describes, arrays as repeated numbers."""
    return _classes(False)[name]


@cache
def schema_bytes(name: str) -> bytes:
    """What an MCAP schema with encoding "protobuf" holds: a FileDescriptorSet with everything that
    the message needs."""
    files = descriptor_pb2.FileDescriptorSet()
    if name.startswith("foxglove."):
        timestamp_pb2.DESCRIPTOR.CopyToProto(files.file.add())
    package, _, message = name.rpartition(".")
    files.file.append(_file(package, False, _needed(package, message)))
    return files.SerializeToString(deterministic=True)


def _needed(package: str, message: str) -> set[str]:
    """The message and all that are part of it."""
    kinds = {field[1].rstrip("*") for field in _MESSAGES[package][message]}
    parts = kinds & set(_MESSAGES[package])
    return {message}.union(*(_needed(package, part) for part in parts))


@cache
def _classes(arrays_as_bytes: bool) -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    stamp = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(stamp)
    pool.Add(stamp)
    for package in _MESSAGES:
        pool.Add(_file(package, arrays_as_bytes))
    return {
        full: message_factory.GetMessageClass(pool.FindMessageTypeByName(full))
        for package, messages in _MESSAGES.items()
        for full in (f"{package}.{name}" for name in messages)
    }


def _file(
    package: str, arrays_as_bytes: bool, names: set[str] | None = None
) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}.proto", package=package, syntax="proto3"
    )
    if package == "foxglove":
        file.dependency.append(timestamp_pb2.DESCRIPTOR.name)
    for name, fields in _MESSAGES[package].items():
        if names is not None and name not in names:
            continue
        message = file.message_type.add(name=name)
        for k, field in enumerate(fields):
            number = field[2] if len(field) > 2 else k + 1
            message.field.append(_field(package, field[0], field[1], number, arrays_as_bytes))
    return file


def _field(package: str, name: str, kind: str, number: int, arrays_as_bytes: bool) -> Any:
    repeated = kind.endswith("*")
    kind = kind.rstrip("*")
    field = _Field(name=name, number=number, json_name=name)
    if kind in _ARRAYS:
        repeated = not arrays_as_bytes
        kind = "bytes" if arrays_as_bytes else _ARRAYS[kind]
    field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    if kind == TIMESTAMP or kind in _MESSAGES[package]:
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{kind}" if kind == TIMESTAMP else f".{package}.{kind}"
    else:
        field.type = getattr(_Field, f"TYPE_{kind.upper()}")
    return field
