"""The codec's training, small: a dome of two simple people, to a file that decodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from avatar.checkpoint import Checkpoint
from avatar.decoder import CHART, Decoder
from avatar.encoder import GEOMETRY, Encoder, network_inputs
from avatar.head_mesh import HeadMesh
from avatar.head_placement import moving_vertices
from avatar.linear_rig import rig_vertices
from avatar.training.adaptation import AdaptationOptions, SeenFaces, adapt_encoder
from avatar.training.dome import Dome, capture_dome
from avatar.training.evaluation import evaluate
from avatar.training.networks import NetworkOptions
from avatar.training.recipe import RecipeOptions, Trained, train
from streams.face_shapes import SHAPE_INDEX

FRAMES = 12
OPTIONS = RecipeOptions(
    colour_size=3, colour_rank=16, colour_rounds=2, networks=NetworkOptions(steps=250)
)


class SimplePerson:
    """The linear rig, and a skin that reddens with the smile and darkens seen from the side."""

    def __init__(self, name: str) -> None:
        self.head = HeadMesh.open(name)
        self.rest = self.head.vertices
        self.face_mask = np.zeros((CHART, CHART), bool)
        self.face_mask[150:230, 150:250] = True
        y, x = np.mgrid[0:CHART, 0:CHART].astype(np.float32) / CHART
        self.spot = np.exp(-(((x - 0.5) ** 2 + (y - 0.5) ** 2) / 0.01)) * self.face_mask

    def vertices(self, weights, gaze):
        return rig_vertices(self.head, weights, gaze)

    def log_ratio(self, weights, gaze, view_dir):
        amount = 0.5 * weights[SHAPE_INDEX["mouthSmileLeft"]] - 0.2 * (1.0 - view_dir[2])
        return (amount * self.spot[..., None] * np.array([-0.2, 1.0, 0.9], np.float32)).astype(
            np.float32
        )


@pytest.fixture(scope="module")
def dome() -> Dome:
    people = {name: SimplePerson(name) for name in ("default", "mei")}
    moving = moving_vertices(people["default"].head)
    return capture_dome(people, moving, FRAMES, seed=1, say=lambda line: None)


@pytest.fixture(scope="module")
def trained(dome: Dome) -> Trained:
    torch.set_num_threads(1)
    return train(dome, OPTIONS, say=lambda line: None)


def test_training_reduces_the_loss(trained):
    assert trained.networks.last_loss < 0.1 * trained.networks.first_loss


def test_what_was_written_decodes_what_was_captured(dome, trained, tmp_path: Path):
    path = tmp_path / "codec.safetensors"
    trained.write(path)
    figures = evaluate(path, dome, dome)
    assert figures.shape_mm < 0.7
    assert figures.texture_db > figures.mean_texture_db
    with Checkpoint(path) as file:
        encoder = Encoder.read(file)
        decoder = Decoder.read(file, "mei", dome.shapes.offsets.shape[1] // 3)
    geometry, appearance = encoder.code(dome.shapes.weights[3], dome.shapes.gaze[3])
    assert np.isfinite(decoder.offsets(geometry)).all()
    assert decoder.field(appearance, np.array([0, 0, 1], np.float32)).shape[2] == 3


def test_training_is_repeatable(dome, trained, tmp_path: Path):
    again = train(dome, OPTIONS, say=lambda line: None)
    for name, one in (("a", trained), ("b", again)):
        one.write(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_adaptation_learns_what_the_tracker_makes_of_faces(dome, trained):
    # A tracker that sees every shape at half its size: the encoder learns to double it.
    s = dome.shapes
    seen = SeenFaces(s.person, s.weights, s.gaze, 0.5 * s.weights, s.gaze)
    options = AdaptationOptions(steps=300, seen_share=1.0)
    adapted = adapt_encoder(
        trained.networks, (s.person, s.weights, s.gaze), seen, options, lambda line: None
    )
    looks = network_inputs(0.5 * s.weights[:40], s.gaze[:40])
    true = network_inputs(s.weights[:40], s.gaze[:40])
    wanted = [trained.networks.encoder(x)[:GEOMETRY] for x in true]
    before = [trained.networks.encoder(x)[:GEOMETRY] for x in looks]
    after = [adapted.encoder(x)[:GEOMETRY] for x in looks]
    assert (
        np.square(np.subtract(after, wanted)).sum()
        < 0.5 * np.square(np.subtract(before, wanted)).sum()
    )


def test_split_keeps_moments_apart(dome):
    kept, out = dome.split(0.1)
    assert len(kept.pictures.person) + len(out.pictures.person) == len(dome.pictures.person)
    for weights in out.shapes.weights[:5]:
        assert not (np.abs(kept.shapes.weights - weights).max(1) < 1e-9).any() or not weights.any()
