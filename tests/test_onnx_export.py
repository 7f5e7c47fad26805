"""Decoders as ONNX files, run by onnxruntime and compared with their numpy twins."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apps.command import FAILED, USAGE, run
from avatar.codec import Avatar
from avatar.eye_balls import gaze_from_angles
from avatar.mesh_assembly import view_direction
from avatar.onnx_export import OPSET, decoder_graph
from avatar.opening import open_avatar
from avatar.personal_avatar import PersonalAvatar
from capture.frame_source import open_source
from streams.avatar_code import AvatarCode
from streams.rigid import Rigid
from streams.view import View
from tracking.tracker import Tracker, TrackerOptions

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

EXACT_M, EXACT_NORMAL = 1e-6, 1e-3
"""Metres and parts of a unit normal: float32 sums in another order."""
HALF_M = 1e-5
OUTPUTS = ("vertices", "normals", "nodes", "gain")
FROM_SIDE = replace(View.front(), world_from_eye=Rigid.from_translation((0.3, 0.1, 0.5)))


def runner(name: str, precision: str = "float32"):
    """code -> outputs by name."""
    session = onnxruntime.InferenceSession(
        decoder_graph(name, precision).SerializeToString(), providers=["CPUExecutionProvider"]
    )

    def outputs(code: AvatarCode, view: View | None) -> dict[str, np.ndarray]:
        towards = view_direction(code.world_from_head or Rigid.identity(), view)
        given = {
            "geometry": code.geometry[None], "appearance": code.appearance[None],
            "gaze": code.gaze, "view": towards[None],
        }  # fmt: skip
        return dict(zip(OUTPUTS, session.run(list(OUTPUTS), given), strict=True))

    return outputs


def random_codes(avatar: Avatar | PersonalAvatar, count: int) -> Iterator[AvatarCode]:
    """At the identity, where head frame and world are one and the neck is straight."""
    rng = np.random.default_rng(8)
    geometry, appearance = (len(part) for part in avatar.weights())
    for _ in range(count):
        yield AvatarCode(
            0, avatar.id,
            rng.normal(size=geometry).astype(np.float32),
            rng.normal(size=appearance).astype(np.float32),
            gaze_from_angles(rng.uniform(-0.5, 0.5, (2, 2))), Rigid.identity(),
        )  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_personal_decoder_is_its_numpy_twin(small_avatar: Path, precision: str) -> None:
    outputs = runner(str(small_avatar), precision)
    with open_avatar(str(small_avatar)) as avatar:
        assert isinstance(avatar, PersonalAvatar)
        for code in random_codes(avatar, 6):
            got, twin = outputs(code, FROM_SIDE), avatar.decode_nodes(code, FROM_SIDE)
            # The file's own numbers are halves with a size a row: the same ones are stored.
            assert np.abs(got["vertices"] - twin.vertices).max() < EXACT_M
            assert np.abs(got["normals"] - twin.normals).max() < EXACT_NORMAL
            scale = float(np.abs(twin.nodes).max())
            assert np.abs(got["nodes"] - twin.nodes).max() < 1e-4 * scale
            assert np.abs(got["gain"] - twin.gain).max() < 1e-5


def test_real_codes_give_the_picture_of_the_numpy_twin(small_avatar: Path, demo_clip: Path) -> None:
    outputs = runner(str(small_avatar))
    with (
        open_avatar(str(small_avatar)) as avatar,
        open_source(f"video:{demo_clip}") as source,
        Tracker.open(TrackerOptions(hands=0)) as tracker,
    ):
        assert isinstance(avatar, PersonalAvatar)
        kinds = set()
        for _, frame in zip(range(10), source, strict=False):
            state = tracker.track(frame)
            code = avatar.encode(state, frame if frame.seq < 3 else None)
            kinds.add(code.origin)
            got, twin = outputs(code, None), avatar.decode_nodes(code)
            basis = avatar.basis
            shown = basis.picture(got["nodes"], got["gain"]).astype(int)
            assert np.abs(shown - basis.picture(twin.nodes, twin.gain)).max() <= 1
        # Neck and torso follow the pose, which the graph does not know; the face is the same.
        assert code.world_from_head is not None
        placed = code.world_from_head.apply(got["vertices"])
        face = np.flatnonzero(np.abs(avatar.model.rest[:, 2] - 0.03) < 0.01)
        assert np.abs(placed - twin.vertices)[face].max() < 1e-5
        assert len(kinds) == 2


@pytest.mark.parametrize(("precision", "metres", "nodes"),
                         [("float32", EXACT_M, 1e-4), ("float16", HALF_M, 0.02)])  # fmt: skip
def test_the_shipped_networks(precision: str, metres: float, nodes: float) -> None:
    outputs = runner("walter", precision)
    with Avatar.open("walter") as avatar:
        for code in random_codes(avatar, 4):
            got, twin = outputs(code, FROM_SIDE), avatar.decode(code, FROM_SIDE)
            assert np.abs(got["vertices"] - twin.vertices).max() < metres
            if precision == "float32":
                assert np.abs(got["normals"] - twin.normals).max() < EXACT_NORMAL
            decoder = avatar._decoder
            towards = view_direction(Rigid.identity(), FROM_SIDE)
            together = np.concatenate([code.appearance, towards, decoder.person])
            wanted = decoder.colour_network(together).reshape(got["nodes"].shape)
            assert np.abs(got["nodes"] - wanted).max() < nodes * np.abs(wanted).max()


def test_what_the_file_says_and_needs(
    small_avatar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, half = tmp_path / "whole.onnx", tmp_path / "half.onnx"
    assert run(["export", str(small_avatar), "--out", str(whole)]) == 0
    assert run(["export", str(small_avatar), "--out", str(half), "--half"]) == 0
    assert half.stat().st_size < 0.65 * whole.stat().st_size
    model = onnx.load(half)
    assert model.opset_import[0].version == OPSET <= 17
    assert model.ir_version <= 8
    props = {p.key: p.value for p in model.metadata_props}
    with open_avatar(str(small_avatar)) as avatar:
        assert json.loads(props["visavis"])["avatar"] == avatar.id
    assert run(["export", "default", "--out", str(tmp_path / "x.glb"), "--half"]) == USAGE
    with pytest.raises(ValueError, match="float16"):
        decoder_graph("default", "int3")


def test_without_the_extra_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert run(["export", "default", "--out", str(tmp_path / "x.onnx")]) == FAILED
    assert "visavis[onnx]" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
