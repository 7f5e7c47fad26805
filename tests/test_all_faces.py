"""Every face of a single picture, beside the one that is followed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from assets.manifest import asset_path
from benchmarks.film_frames import frames
from tracking.engines.face_pipeline import FacePipeline
from tracking.nets.litert import LiteRtNets

WIDTH, HEIGHT = 640, 480


def test_each_face_is_found_once_and_the_followed_one_is_kept() -> None:
    one = frames(asset_path("clips/demo"), 1)[0]
    one = np.asarray(cv2.resize(one, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
    small = cv2.resize(one, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
    both = np.zeros((HEIGHT, WIDTH + WIDTH // 2, 3), np.uint8)
    both[: HEIGHT // 2, : WIDTH // 2], both[:, WIDTH // 2 :] = small, one
    both = np.ascontiguousarray(both)

    pipeline = FacePipeline(LiteRtNets(threads=1))
    (alone,) = pipeline.look(np.ascontiguousarray(one), 1)
    large, little = pipeline.look_all(both)
    beside = alone.landmarks[:, :2] + (WIDTH // 2, 0)
    half = (alone.landmarks[:, :2] + 0.5) / 2 - 0.5
    assert np.abs(large.landmarks[:, :2] - beside).mean() < 1.5
    assert np.abs(little.landmarks[:, :2] - half).mean() < 1.5
    assert np.abs(large.blendshapes - alone.blendshapes).max() < 0.1

    (again,) = pipeline.look(np.ascontiguousarray(one), 34)
    assert np.abs(again.landmarks - alone.landmarks).max() < 0.5, "it is followed, not begun anew"
    assert pipeline.look_all(np.zeros((64, 64, 3), np.uint8)) == ()
    with pytest.raises(ValueError, match=r"FacePipeline\.look_all: expected"):
        pipeline.look_all(both[:, ::-1])
