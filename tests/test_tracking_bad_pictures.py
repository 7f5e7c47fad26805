"""Whatever is handed to our engines as a picture: a clear error, or an answer about its pixels."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.film_frames import frames
from tracking.engine import Picture
from tracking.engines.face_pipeline import FacePipeline
from tracking.engines.hand_pipeline import HandPipeline
from tracking.nets.litert import LiteRtNets
from tracking.tracker import Tracker, TrackerOptions

DTYPES = ("uint8", "int8", "uint16", "int64", "float16", "float32", "float64", "bool", "object")
STRIDES = ("plain", "flipped", "stepped", "fortran", "offset", "read only")


@pytest.fixture(scope="module")
def good(demo_clip: Path) -> Picture:
    return frames(demo_clip, 1)[0]


@pytest.fixture(scope="module")
def engines() -> tuple[FacePipeline, HandPipeline]:
    nets = LiteRtNets(threads=1)
    return FacePipeline(nets), HandPipeline(nets)


def strided(shape: tuple[int, ...], dtype: str, how: str, seed: int) -> Any:
    noise = np.random.default_rng(seed).integers(0, 256, shape)
    array = noise.astype(dtype)
    if how == "flipped":
        array = array[::-1]
    elif how == "stepped":
        array = np.repeat(array, 2, axis=0)[::2]
    elif how == "fortran":
        array = np.asfortranarray(array)
    elif how == "offset":
        array = np.concatenate([array, array])[len(array) :]
    elif how == "read only":
        array.flags.writeable = False
    return array


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.sampled_from([0, 1, 3, 4, 15, 16, 17, 40]), min_size=0, max_size=4),
    dtype=st.sampled_from(DTYPES),
    how=st.sampled_from(STRIDES),
    seed=st.integers(0, 100),
)
def test_a_bad_picture_is_an_error_and_the_next_good_one_is_tracked(
    shape: list[int],
    dtype: str,
    how: str,
    seed: int,
    engines: tuple[FacePipeline, HandPipeline],
    good: Picture,
) -> None:
    plain = "plain" if not shape else how
    picture = strided(tuple(shape), dtype, plain, seed)
    acceptable = (
        dtype == "uint8"
        and len(shape) == 3
        and shape[2] == 3
        and min(shape[:2]) >= 16
        and picture.flags.c_contiguous
    )
    face, hands = engines
    for engine in engines:
        if acceptable:
            assert not engine.look(picture, 1)
        else:
            with pytest.raises(ValueError, match="expected a C-contiguous uint8"):
                engine.look(picture, 1)
    assert len(face.look(good, 2)) == 1
    assert isinstance(hands.look(good, 2), tuple)


@pytest.mark.parametrize("size", [(16, 4000), (4000, 16), (1, 1), (2160, 3840)])
@pytest.mark.parametrize("value", [0, 255])
def test_extreme_sizes_and_plain_pictures(
    size: tuple[int, int], value: int, engines: tuple[FacePipeline, HandPipeline]
) -> None:
    picture = np.full((*size, 3), value, np.uint8)
    for engine in engines:
        if min(size) < 16:
            with pytest.raises(ValueError, match="at least 16"):
                engine.look(picture, 1)
        else:
            assert not engine.look(picture, 1)


@given(data=st.binary(max_size=4000), seed=st.integers(0, 1000), whole=st.booleans())
@settings(max_examples=15)
def test_random_bytes_as_a_model_are_one_readable_error(
    data: bytes, seed: int, whole: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As the bundle, and as the networks inside a bundle that is whole."""
    if whole:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in ("hand_detector.tflite", "hand_landmarks_detector.tflite"):
                archive.writestr(name, np.random.default_rng(seed).bytes(3000))
        data = buffer.getvalue()
    path = tmp_path_factory.mktemp("model") / "model.task"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"model\.task") as caught:
        Tracker.open(TrackerOptions(faces=0, hand_model=path))
    assert "\n" not in str(caught.value)


def test_thread_counts_do_not_change_the_answer(good: Picture) -> None:
    """Bit for bit: what replays are verified by."""
    answers: list[tuple[bytes, ...]] = []
    for threads in (1, 2, 2):
        nets = LiteRtNets(threads=threads)
        face, hands = FacePipeline(nets), HandPipeline(nets)
        said: list[bytes] = []
        for t in range(4):
            (marks,) = face.look(good, 33 * t)
            said += [marks.landmarks.tobytes(), marks.blendshapes.tobytes()]
            said += [hand.landmarks.tobytes() for hand in hands.look(good, 33 * t)]
        answers.append(tuple(said))
    assert answers[0] == answers[1] == answers[2]
