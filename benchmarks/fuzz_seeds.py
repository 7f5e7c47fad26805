"""Small sound files that `fuzz_sessions` changes: of every kind, some kilobytes each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from mcap.writer import CompressionType, IndexType, Writer

from sessions import chunk_file, sealing
from sessions.picture_track import PictureOptions
from sessions.session_header import SessionHeader
from sessions.writer import SessionOptions, SessionWriter
from streams.audio_block import AudioBlock
from streams.avatar_code import AvatarCode
from streams.camera import Camera
from streams.frame import Frame
from streams.headset_sample import HeadsetSample
from streams.mark import Mark
from streams.panel import Panel
from streams.rigid import Rigid
from streams.shown_panels import ShownPanels
from streams.tracked_state import FacePose, TrackedState
from streams.view import View

SECRET = b"fuzz fuzz fuzz"
QUICK = 1, 8 << 10
"""Argon2id's rounds and bytes for a key that is made in no time."""
STEP_NS = 600_000_000


def write_seeds(folder: Path) -> list[Path]:
    """The files, in `folder`."""
    usual = chunk_file.CHUNK_BYTES, sealing.OPS, sealing.MEMORY
    chunk_file.CHUNK_BYTES, sealing.OPS, sealing.MEMORY = 6000, *QUICK
    try:
        return _written(folder, np.random.default_rng(0))
    finally:
        chunk_file.CHUNK_BYTES, sealing.OPS, sealing.MEMORY = usual


def _written(folder: Path, rng: np.random.Generator) -> list[Path]:
    # Nothing in them comes of a clock; only what is sealed differs, by its random nonces.
    options = SessionOptions(wait_s=30.0, flush_s=600.0, stamped=False)
    lossless = replace(options, pictures=PictureOptions(lossless=True))
    paths = [
        _session(folder / "plain.mcap", rng, options),
        _session(folder / "lossless.mcap", rng, lossless),
        _session(folder / "sealed.mcap", rng, options, SECRET),
        _foreign(folder / "foreign.mcap", rng, CompressionType.LZ4, True),
        _foreign(folder / "unchunked.mcap", rng, CompressionType.NONE, False),
    ]
    cut = folder / "cut.mcap"
    data = paths[0].read_bytes()
    cut.write_bytes(data[: len(data) * 2 // 3])
    return [*paths, cut]


def _session(
    path: Path, rng: np.random.Generator, options: SessionOptions, secret: bytes | None = None
) -> Path:
    camera = Camera.from_fov((16, 16))
    rigid = Rigid(np.array([1.0, 0.0, 0.0, 0.0]), np.array([0.1, 0.2, 0.3]))
    view = View(0, "mono", rigid, np.array([-0.5, 0.5, 0.4, -0.4]), (64, 48))
    rgba = rng.integers(0, 256, (8, 8, 4)).astype(np.uint8)
    ahead = np.tile(np.array([0.0, 0.0, 1.0], np.float32), (2, 1))
    face = FacePose(np.zeros(52, np.float32), np.zeros((478, 3), np.float32), ahead, rigid, 0.5)
    header = SessionHeader(0, 1, "fuzz", "made up", cameras=(camera,), consent="nobody is in it")
    with SessionWriter(path, header, options, secret) as session:
        for k in range(2):
            t_ns = k * STEP_NS
            rgb = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
            samples = rng.integers(-99, 99, (40, 2)).astype(np.int16)
            panel = Panel("a", rgba, "world", rigid, (0.2, 0.1), None)
            session.write(
                Frame(t_ns, k, camera, rgb),
                AudioBlock(t_ns, "noise", 8000, samples),
                TrackedState(t_ns, "made up", face if k % 2 else None, ()),
                AvatarCode(
                    t_ns, "nobody", np.ones(4, np.float32), np.ones(3, np.float32), ahead, rigid,
                    (), "encoded",
                ),
                HeadsetSample(t_ns, rigid, None, None, ()),
                ShownPanels(t_ns, (panel,)),
                View(t_ns, view.eye, rigid, view.fov, view.size),
                Mark(t_ns, f"mark {k}"),
            )  # fmt: skip
    return path


def _foreign(path: Path, rng: np.random.Generator, packing: CompressionType, chunked: bool) -> Path:
    """As another program writes them, with an attachment and metadata."""
    writer = Writer(
        str(path), chunk_size=300, compression=packing, use_chunking=chunked,
        index_types=IndexType.ALL,
    )  # fmt: skip
    writer.start("other", "another writer")
    schema = writer.register_schema("Numbers", "jsonschema", b"{}")
    channel = writer.register_channel("/numbers", "json", schema)
    writer.add_metadata("about", {"who": "another"})
    writer.add_attachment(3, 3, "notes.txt", "text/plain", b"nothing much")
    for k in range(12):
        data = rng.integers(0, 256, 50).astype(np.uint8).tobytes()
        writer.add_message(channel, k * STEP_NS, data, k * STEP_NS, k)
    writer.finish()
    return path
