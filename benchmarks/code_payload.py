"""The code payload of the headset's page: rate, time in JavaScript, error, and losses.

    python -m benchmarks.code_payload CLIP... --avatar default --hands hands/asl_hand.mp4

Each clip's face is tracked and encoded as the avatar's code, with the hand of another video and its
mirror image as both hands, and sent at `--kbit-s`. Node runs the page's modules; what they make is
held against Python's. Loss is of packets at random; the first is never lost.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import tyro

from apps.code_stream import KBIT_S, MESSAGE_BYTES
from avatar.bitstream import BitstreamDecoder, BitstreamEncoder, BitstreamOptions
from avatar.codec import Avatar
from avatar.field_basis import atlas_nodes
from avatar.mesh_assembly import view_direction
from avatar.opening import open_avatar
from avatar.page_decoder import page_decoder
from avatar.personal_avatar import PersonalAvatar
from benchmarks.bitstream import SETTLED_NS, errors_of, mean_of, shown
from capture.frame_source import open_source
from streams.avatar_code import AvatarCode
from streams.mirror import mirror_hand
from streams.rigid import Rigid
from streams.tracked_state import HandPose
from tracking.tracker import Tracker, TrackerOptions

FOLDER = Path(__file__).parent
CHECKED_EVERY = 10
ROUNDS = 3
LOSSES = (0.0, 0.03)


@dataclass(frozen=True, slots=True)
class CodePayloadOptions:
    """What is measured."""

    clips: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Videos of a face."""
    avatar: str = "default"
    """Whose avatar shows it: one that ships, or a `.visavis` file."""
    hands: Path | None = None
    """A video of a hand, shown as both hands; without it the clip's own."""
    kbit_s: float = KBIT_S
    """Of all messages, headers included."""
    frames: int = 300
    """Most of each clip."""


def tracked_codes(
    avatar: Avatar | PersonalAvatar, clip: Path, hands: list[tuple[HandPose, ...]], frames: int
) -> list[AvatarCode]:
    """The clip's codes, with `hands` in turn where there are any."""
    avatar.begin_anew()
    turn = cycle(hands or [()])
    codes: list[AvatarCode] = []
    with Tracker.open(TrackerOptions()) as tracker, open_source(f"video:{clip}") as source:
        for _, frame in zip(range(frames), source, strict=False):
            state = tracker.track(frame)
            codes.append(avatar.encode(replace(state, hands=next(turn) or state.hands), frame))
    return codes


def hand_pairs(clip: Path, frames: int) -> list[tuple[HandPose, ...]]:
    """Each tracked hand and its mirror image."""
    found: list[tuple[HandPose, ...]] = []
    with Tracker.open(TrackerOptions()) as tracker, open_source(f"video:{clip}") as source:
        for _, frame in zip(range(frames), source, strict=False):
            for hand in tracker.track(frame).hands[:1]:
                found.append((hand, mirror_hand(hand)))
    return found


def node(script: str, job: dict[str, Any], folder: Path) -> Any:
    (folder / "job.json").write_text(json.dumps(job))
    path = FOLDER / script
    subprocess.run(
        ["node", str(path), str(folder / "job.json"), str(folder / "result.json")],
        check=True, timeout=600,
    )  # fmt: skip
    return json.loads((folder / "result.json").read_text())


def unpacked(packed: dict[str, str]) -> npt.NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(packed["base64"]), np.float32)


def difference(
    avatar: Avatar | PersonalAvatar, code: AvatarCode, got: dict[str, Any]
) -> tuple[float, float]:
    """Largest of all vertices in metres and of all coefficients, between Python and the page."""
    mesh = avatar.decode(code)
    vertices = unpacked(got["mesh"]["vertices"]).reshape(-1, 3)[: len(mesh.vertices)]
    off = float(np.abs(vertices - mesh.vertices).max())
    if isinstance(avatar, PersonalAvatar):
        nodes = avatar.decode_nodes(code).nodes
    else:
        towards = view_direction(code.world_from_head or Rigid(), None)
        nodes = atlas_nodes(avatar.decoder.nodes(code.appearance, towards))
    return off, float(np.abs(unpacked(got["mesh"]["nodes"]) - nodes.ravel()).max())


def unsteadiness_mm(codes: Sequence[AvatarCode]) -> float:
    """99th percentile of how much a head's speed changes from one moment to the next."""
    places = np.array([code.world_from_head.xyz for code in codes if code.world_from_head])
    return 1e3 * float(np.quantile(np.linalg.norm(np.diff(places, 2, axis=0), axis=1), 0.99))


def report(options: CodePayloadOptions, folder: Path) -> None:
    avatar = open_avatar(options.avatar)
    data = page_decoder(avatar)
    path = folder / "decoder"
    path.write_bytes(data)
    print(f"{avatar.id}: the page's decoder {len(data) / 1e6:.2f} MB, sent once")
    hands = hand_pairs(options.hands, options.frames) if options.hands else []
    for clip in options.clips:
        codes = tracked_codes(avatar, clip, hands, options.frames)
        codes = [code for code in codes if code.world_from_head is not None]
        shows = sum(len(code.hands) for code in codes) / len(codes)
        print(f"\n{clip.stem}: {len(codes)} moments of a face, {shows:.2f} hands each")
        coding = BitstreamOptions(options.kbit_s, header_bytes=MESSAGE_BYTES)
        encoder = BitstreamEncoder(avatar, coding)
        packets = [encoder.encode(code) for code in codes]
        sent = [packet for packet in packets if packet is not None]
        begun_ns = codes[0].t_ns + SETTLED_NS
        sizes = [
            len(packet)
            for code, packet in zip(codes, packets, strict=True)
            if packet is not None and code.t_ns >= begun_ns
        ]
        kbit = 8e-3 / ((codes[-1].t_ns - begun_ns) / 1e9)
        print(
            f"  {kbit * (sum(sizes) + MESSAGE_BYTES * len(sizes)):5.1f} kbit/s of "
            f"{options.kbit_s:g} in messages, {kbit * sum(sizes):.1f} in their packets; "
            f"{len(sent)} for {len(codes)} moments, {np.median(sizes):.0f} bytes each (median)"
        )
        texts = [base64.b64encode(packet).decode() for packet in sent]
        before = os.getloadavg()[0]
        job = {"decoder": str(path), "packets": texts, "rounds": ROUNDS}
        times = node("code_payload.mjs", job, folder)
        print(f"  ms in node {platform.machine()}, load {before:.1f}, median:")
        for name, value in times.items():
            print(f"    {name:32s} {value:7.3f}")
        check(avatar, sent, path, folder)
        losses(avatar, codes, options.kbit_s)


def check(avatar: Avatar | PersonalAvatar, sent: list[bytes], path: Path, folder: Path) -> None:
    steps = [
        {"packet": base64.b64encode(packet).decode(), "mesh": k % CHECKED_EVERY == 0}
        for k, packet in enumerate(sent)
    ]
    job = {"decoders": [str(path)], "runs": [{"steps": steps}]}
    (results,) = node("../tests/page_codec/decode.mjs", job, folder)["results"]
    decoder, offs = BitstreamDecoder(avatar), []
    for packet, got in zip(sent, results, strict=True):
        code = decoder.decode(packet)
        if code is not None and len(code.hands) in (0, 2) and "mesh" in got:
            offs.append(difference(avatar, code, got))
    if offs:
        vertices, nodes = np.array(offs).max(0)
        print(f"  page against Python, largest: {vertices:.1e} m, {nodes:.1e} of coefficients")


def losses(avatar: Avatar | PersonalAvatar, codes: list[AvatarCode], kbit_s: float) -> None:
    for share in LOSSES:
        for way in ("goes on", "late"):
            pairs = list(shown(avatar, codes, kbit_s, way, share, 1, MESSAGE_BYTES))
            mean = mean_of([errors_of(avatar, sent, got) for sent, got in pairs])
            seen = [
                float(np.linalg.norm(one.vertices - other.vertices, axis=1).mean())
                for one, other in (
                    (avatar.decode(replace(sent, hands=())), avatar.decode(replace(got, hands=())))
                    for sent, got in pairs[::CHECKED_EVERY]
                )
            ]
            print(
                f"  {100 * share:.0f} % lost, {way:8s}: {mean.line()}, vertices "
                f"{1e3 * np.mean(seen):.2f} mm; unsteadiness "
                f"{unsteadiness_mm([got for _, got in pairs]):.2f} mm "
                f"(sent {unsteadiness_mm([sent for sent, _ in pairs]):.2f})"
            )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        report(tyro.cli(CodePayloadOptions), Path(temporary))
