"""Recordings in VRS (facebookresearch/vrs), above all of Aria glasses: pictures of several cameras
and sound, with device times.

Everything of pyvrs stays in this file. What a session has no record for (inertia, magnetic field,
air pressure, time domains) is listed in `VrsFile.streams` and left out.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.aria_calibration import (
    AriaCamera,
    camera_of,
    read_aria_cameras,
    turned_upright,
)
from capture.frame_source import SourceError
from streams.audio_block import AudioBlock
from streams.camera import WORLD_FROM_WEBCAM, Camera
from streams.closing import Closing
from streams.frame import Frame
from streams.rigid import Rigid

UInt8 = npt.NDArray[np.uint8]

FILE_HEADER, RECORD_SIZE = struct.Struct("<8sQIIqqq"), struct.Struct("<I")
"""Magic, id, sizes of the file's and the records' headers, places of index, description and first
record; and what every record begins with: its own size."""
UPRIGHT = ("camera-rgb", "camera-slam-left", "camera-slam-right")
"""Sensors that lie on their side in the glasses: their pictures are turned clockwise."""
EYES = ("camera-et-left", "camera-et-right")
"""One stream holds both eyes' pictures side by side."""
NO_PICTURES = ("depth", "scalar")
"""Pixel formats that measure something else than light."""
FORWARD = "camera-rgb"
"""The camera that the world's axes are laid in, where there is one."""


@dataclass(frozen=True, slots=True)
class VrsStream:
    """A stream of the file and what becomes of it."""

    id: str
    """As VRS counts: "214-1"."""
    name: str
    """What the device calls it."""
    records: int
    becomes: str
    """"frames", "audio" or "" (left out)."""
    note: str = ""
    """Why it is left out, or what its camera is worth."""


@dataclass(slots=True)
class _Pictures:
    """One stream's cameras, left to right in its pictures, and the frames until now."""

    cameras: list[Camera]
    turned: bool
    count: int = 0


@dataclass(slots=True)
class _Layout:
    """Everything that is known before the first record."""

    streams: list[VrsStream] = field(default_factory=list)
    pictures: dict[str, _Pictures] = field(default_factory=dict)
    sounds: list[str] = field(default_factory=list)


class VrsFile(Closing):
    """Frames and blocks of sound of all streams, in the order of the device's times. `damaged`
    counts what could not be read, and a file that was cut off as one.

    `t_ns` is the device's time (Aria: nanoseconds since it started, of the middle of the exposure);
    `Frame.device_ns` holds the same. The world is rigid with the glasses: its origin is the colour
    camera, which looks along -z with y up.
    """

    def __init__(self, path: Path) -> None:
        """Raises SourceError when there is no such file or it cannot be read, ImportError without
        the extra `vrs`."""
        self.path = path
        if not path.is_file():
            raise SourceError(f"{path}: there is no such file")
        self.damaged = 0 if _is_whole(path) else 1
        self._guess_why = "no calibration for it"
        pyvrs = _pyvrs()
        try:
            self._reader: Any = pyvrs.SyncVRSReader(str(path))
            self._reader.set_image_conversion(pyvrs.ImageConversion.NORMALIZE)
            self.tags: dict[str, str] = dict(self._reader.file_tags)
            layout = self._lay_out()
        except SourceError:
            raise
        except Exception as error:  # pyvrs raises RuntimeError, ValueError and its own
            reason = " ".join(str(error).split())
            raise SourceError(f"{path}: not a VRS recording that can be read ({reason})") from error
        self.streams = tuple(layout.streams)
        self._pictures, self._sounds = layout.pictures, layout.sounds
        if not self._pictures and not self._sounds:
            self._reader.close()
            raise SourceError(f"{path}: holds neither pictures nor sound")
        self._records = self._read()

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """Of every frame."""
        return tuple(camera for each in self._pictures.values() for camera in each.cameras)

    @property
    def fps(self) -> float:
        """Nominal frames a second of the fastest camera."""
        rates = [float(self._reader.get_estimated_frame_rate(each)) for each in self._pictures]
        return max((rate for rate in rates if 0.1 <= rate <= 1000.0), default=30.0)

    @property
    def unix_s(self) -> int | None:
        """When the recording began, seconds since 1970, where the file tells it credibly."""
        text = self.tags.get("capture_time_epoch", "")
        # Glasses that were never set count from 1970.
        return int(text) if text.isdecimal() and int(text) > 946_684_800 else None

    def __iter__(self) -> Iterator[Frame | AudioBlock]:
        return self

    def __next__(self) -> Frame | AudioBlock:
        return next(self._records)

    def close(self) -> None:
        """Close the file; iterating ends."""
        self._records = iter(())
        self._reader.close()

    def _read(self) -> Iterator[Frame | AudioBlock]:
        chosen = {*self._pictures, *self._sounds}
        wanted = self._reader.filtered_by_fields(stream_ids=chosen, record_types={"data"})
        for record in wanted:
            metadata = {k: v for block in record.metadata_blocks for k, v in block.items()}
            try:
                if record.stream_id in self._pictures:
                    yield from self._frames(record, metadata)
                else:
                    yield from self._blocks(record, metadata)
            except (ValueError, IndexError):
                self.damaged += 1

    def _frames(self, record: Any, metadata: dict[str, Any]) -> Iterator[Frame]:
        pictures = self._pictures[record.stream_id]
        for rgb in map(_rgb, record.image_blocks):
            t_ns = metadata.get("capture_timestamp_ns")
            t_ns = round(record.timestamp * 1e9) if t_ns is None else int(t_ns)
            seq, pictures.count = pictures.count, pictures.count + 1
            width = rgb.shape[1] // len(pictures.cameras)
            for k, camera in enumerate(pictures.cameras):
                part = rgb[:, k * width : (k + 1) * width]
                part = np.rot90(part, -1) if pictures.turned else part
                yield Frame(t_ns, seq, camera, np.ascontiguousarray(part), device_ns=t_ns)

    def _blocks(self, record: Any, metadata: dict[str, Any]) -> Iterator[AudioBlock]:
        for block, spec in zip(record.audio_blocks, record.audio_specs, strict=True):
            samples = _int16(np.asarray(block), str(spec.sample_format), int(spec.channel_count))
            times = metadata.get("capture_timestamps_ns")
            t_ns = int(times[0]) if times else round(record.timestamp * 1e9)
            yield AudioBlock(t_ns, f"vrs {record.stream_id}", int(spec.sample_rate), samples)

    def _lay_out(self) -> _Layout:
        out = _Layout()
        calibrated = self._calibration()
        world_from_device = _world_from_device(calibrated)
        for each in sorted(self._reader.stream_ids):
            info = self._reader.get_stream_info(each)
            name, count = str(info["device_name"]), int(info["data_records_count"])
            becomes = note = ""
            if count and self._reader.might_contain_images(each):
                pictures, note = self._cameras_of(each, name, calibrated, world_from_device)
                if pictures is not None:
                    becomes, out.pictures[each] = "frames", pictures
            elif count and self._reader.might_contain_audio(each):
                becomes = "audio"
                out.sounds.append(each)
            else:
                note = "a session has no record for it" if count else "empty"
            out.streams.append(VrsStream(each, name, count, becomes, note))
        return out

    def _calibration(self) -> dict[str, AriaCamera]:
        """By serial number and by label; empty where the file has none that can be read."""
        text = self.tags.get("calib_json")
        if text is None:
            return {}
        try:
            cameras = read_aria_cameras(text)
        except ValueError as error:
            self._guess_why = str(error)
            return {}
        return {key: each for each in cameras for key in (each.serial, each.label) if key}

    def _cameras_of(
        self,
        stream: str,
        name: str,
        calibrated: dict[str, AriaCamera],
        world_from_device: Rigid,
    ) -> tuple[_Pictures | None, str]:
        """The cameras of a stream of pictures, and what is to be said of them."""
        size, serial = self._first_picture(stream)
        if size is None:
            return None, "its pictures are none for eyes (depth, scalars) or of an unknown format"
        aria = calibrated.get(serial)
        if aria is None:
            guessed = Camera.guessed(size, name=f"{name} {stream}")
            return _Pictures([guessed], False), f"its camera is guessed: {self._guess_why}"
        labels = EYES if aria.label in EYES and size[0] >= 2 * size[1] else (aria.label,)
        each_size = (size[0] // len(labels), size[1])
        turned = aria.label in UPRIGHT
        cameras, notes = [], []
        for label in labels:
            try:
                camera = camera_of(calibrated[label], each_size, world_from_device)
                notes.append(f"{label}: calibrated")
            except (KeyError, ValueError) as problem:
                camera = Camera.guessed(each_size, name=label)
                notes.append(f"{label}: its camera is guessed ({problem})")
            cameras.append(turned_upright(camera) if turned else camera)
        return _Pictures(cameras, turned), "; ".join(notes)

    def _first_picture(self, stream: str) -> tuple[tuple[int, int] | None, str]:
        """(width, height) of a stream's pictures, and the serial number of its sensor."""
        serial = ""
        configurations = self._reader.filtered_by_fields(
            stream_ids={stream}, record_types={"configuration"}
        )
        for record in configurations:
            for block in record.metadata_blocks:
                serial = str(block.get("sensor_serial", serial))
        conversion = _pyvrs().ImageConversion
        wanted = self._reader.filtered_by_fields(stream_ids={stream}, record_types={"data"})
        # As it lies in the file: a normalised depth map would pass for a picture.
        self._reader.set_image_conversion(conversion.OFF)
        kinds = [
            str(spec.pixel_format).lower() for record in wanted[:1] for spec in record.image_specs
        ]
        self._reader.set_image_conversion(conversion.NORMALIZE)
        if not kinds or any(word in kinds[0] for word in NO_PICTURES):
            return None, serial
        for record in wanted:
            for block in record.image_blocks:
                try:
                    height, width = _rgb(block).shape[:2]
                except ValueError:
                    return None, serial
                return (width, height), serial
        return None, serial


def _is_whole(path: Path) -> bool:
    """Whether the file's records, by their own sizes, end where the file ends (vrs/FileFormat.h).
    The library reads what there is of a file that was cut off, and says nothing."""
    with path.open("rb") as file:
        if path.stat().st_size < FILE_HEADER.size:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            fields = FILE_HEADER.unpack_from(data)
            magic, _, at, header_size, _, description, first = fields
            if magic != b"VisionRe" or header_size < RECORD_SIZE.size:
                return False
            if first:
                at = first
            elif description == at:
                at += RECORD_SIZE.unpack_from(data, at)[0]
            while at + header_size <= len(data):
                (size,) = RECORD_SIZE.unpack_from(data, at)
                if size < header_size:
                    return False
                at += size
            return at == len(data)


def _world_from_device(calibrated: dict[str, AriaCamera]) -> Rigid:
    """Such that the (upright) colour camera is a webcam at the world's origin."""
    forward = calibrated.get(FORWARD)
    if forward is None:
        return WORLD_FROM_WEBCAM
    upright = Camera.guessed((2, 2))
    device_from_forward = turned_upright(
        Camera.from_fov((2, 2), world_from_camera=forward.device_from_camera)
    ).world_from_camera
    return upright.world_from_camera @ device_from_forward.inverse()


def _rgb(block: Any) -> UInt8:
    """(H, W, 3) of a picture; grey becomes equal colours."""
    picture = np.asarray(block)
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3):
        raise ValueError(f"picture: expected 8-bit pixels, got {picture.dtype} {picture.shape}")
    if picture.ndim == 2:
        return np.repeat(picture[:, :, None], 3, axis=2)
    if picture.shape[2] not in (3, 4):
        raise ValueError(f"picture: expected 3 channels, got {picture.shape}")
    return picture[:, :, :3]


def _int16(block: npt.NDArray[Any], sample_format: str, channels: int) -> npt.NDArray[np.int16]:
    """(N, C) of interleaved samples; what has more bits loses the lowest."""
    flat = block.reshape(-1)
    name = sample_format.lower()
    if "s16" in name:
        samples = flat.view(np.int16) if flat.dtype == np.uint8 else flat.astype(np.int16)
    elif "s32" in name:
        wide = flat.view(np.int32) if flat.dtype == np.uint8 else flat.astype(np.int32)
        samples = (wide >> 16).astype(np.int16)
    else:
        raise ValueError(f"sound: expected 16 or 32 bits a sample, got {sample_format}")
    count = math.floor(len(samples) / channels)
    return np.ascontiguousarray(samples[: count * channels].reshape(count, channels))


def _pyvrs() -> Any:
    try:
        import pyvrs  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError("reading .vrs needs pyvrs: pip install 'visavis[vrs]'") from error
    return pyvrs
