"""A small writer of VRS files for tests, after the format's description (vrs/FileFormat.h and
DescriptionRecord.cpp of facebookresearch/vrs): uncompressed records, no index, which readers make
anew. The package for Python writes none.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

FIRST, RECORD = 80, 32
"""Bytes of the file's header and of each record's."""
CONFIGURATION, DATA, TAGS = 2, 3, 3
NEVER = 1.7976931348623157e308


@dataclass
class VrsRecording:
    """Streams first, then records in the order of time."""

    tags: dict[str, str] = field(default_factory=dict)
    streams: dict[tuple[int, int], dict[str, str]] = field(default_factory=dict)
    records: list[tuple[tuple[int, int], int, float, bytes]] = field(default_factory=list)

    def add_pictures(
        self, stream: tuple[int, int], name: str, size: tuple[int, int], pixel: str, serial: str
    ) -> None:
        """`pixel`: "grey8", "rgb8", "grey10", ..."""
        image = f"data_layout/size=8+image/raw/{size[0]}x{size[1]}/pixel={pixel}"
        self._add_stream(stream, name, image, {"capture_timestamp_ns": ("int64_t", 0)}, serial)

    def add_sound(self, stream: tuple[int, int], name: str, kind: str, rate: int) -> None:
        """Seven channels of samples like "int16le" or "int32le"."""
        sound = f"data_layout/size=8+audio/pcm/{kind}/rate={rate}/channels=7"
        self._add_stream(stream, name, sound, {"start_timestamp_ns": ("int64_t", 0)}, "")

    def add_other(self, stream: tuple[int, int], name: str) -> None:
        """Records that hold a number."""
        self._add_stream(stream, name, "data_layout/size=8", {"value": ("int64_t", 0)}, "")

    def add(self, stream: tuple[int, int], t_ns: int, content: np.ndarray | None = None) -> None:
        """A record of data; its number is its time."""
        data = b"" if content is None else content.tobytes()
        self.records.append((stream, DATA, t_ns / 1e9, struct.pack("<q", t_ns) + data))

    def write(self, path: Path) -> None:
        """The whole file."""
        description = struct.pack("<I", len(self.streams))
        for (kind, instance), tags in self.streams.items():
            description += struct.pack("<iH", kind, instance)
            own = {k: v for k, v in tags.items() if not k.startswith(("DL:", "RF:", "VRS_"))}
            description += _map(own) + _map({k: v for k, v in tags.items() if k not in own})
        description += _map(self.tags)
        body = _record((2, 0), TAGS, NEVER, description, 0)
        start = FIRST + len(body)
        before = len(body)
        for stream, kind, t_s, payload in self.records:
            record = _record(stream, kind, t_s, payload, before, version=1)
            body, before = body + record, len(record)
        header = struct.pack(
            "<8sQIIqqq3Q8s", b"VisionRe", 1, FIRST, RECORD, 0, FIRST, start, 0, 0, 0, b"cordVRS2"
        )
        path.write_bytes(header + body)

    def _add_stream(
        self,
        stream: tuple[int, int],
        name: str,
        content: str,
        layout: dict[str, tuple[str, int]],
        serial: str,
    ) -> None:
        self.streams[stream] = {
            "DL:Configuration:1:0": json.dumps(
                {"data_layout": [{"name": "sensor_serial", "type": "DataPieceString", "index": 0}]}
            ),
            "RF:Configuration:1": "data_layout",
            "DL:Data:1:0": json.dumps(
                {
                    "data_layout": [
                        {"name": key, "type": f"DataPieceValue<{kind}>", "offset": offset}
                        for key, (kind, offset) in layout.items()
                    ]
                }
            ),
            "RF:Data:1": content,
            "VRS_Original_Recordable_Name": name,
            "VRS_Recordable_Flavor": "device/test",
            "VRS_Serial_Number": f"{stream[0]}{stream[1]}",
        }
        text = serial.encode()
        payload = struct.pack("<II", 0, len(text)) + text
        self.records.append((stream, CONFIGURATION, 5e-324, payload))


def _record(
    stream: tuple[int, int], kind: int, t_s: float, payload: bytes, before: int, version: int = 2
) -> bytes:
    size = RECORD + len(payload)
    return (
        struct.pack("<IIiIdHBBI", size, before, stream[0], version, t_s, stream[1], kind, 0, 0)
        + payload
    )


def _map(tags: dict[str, str]) -> bytes:
    out = struct.pack("<I", len(tags))
    for pair in sorted(tags.items()):
        for text in pair:
            out += struct.pack("<I", len(text.encode())) + text.encode()
    return out
