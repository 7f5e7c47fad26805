"""Regions cut on the device, and the steady frame, against the host's crops and LiteRT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from tests.network_inputs import CLIP_FACE, CLIP_HAND, frames, seen
from tracking.engines.face_pipeline import FACE_BETA, FaceSettings
from tracking.engines.hand_pipeline import HandSettings
from tracking.engines.person_pipeline import PersonPipeline
from tracking.face_landmarks import FaceLandmarks, blendshapes_of, face_finds
from tracking.nets import device_nets as device_nets_module
from tracking.nets import steady_frame as steady_module
from tracking.nets.device_crops import Crops, DeviceCrops
from tracking.nets.device_one_euro import DeviceOneEuro
from tracking.nets.litert import LiteRtNets
from tracking.nets.replay import WARM_UPS, recorded
from tracking.nets.steady_frame import SteadyFrame, SteadyRegions, SteadyRoom
from tracking.nets.torch_nets import TorchNets
from tracking.one_euro import OneEuro, OneEuroOptions, bridged_seconds
from tracking.region import Cut, Region, crop, into_picture

WIDTH, HEIGHT = 200, 120
OPTIONS = OneEuroOptions(beta=FACE_BETA)


def _pictures(count: int, rng: np.random.Generator) -> np.ndarray:
    """Coloured clouds of full contrast."""
    noise = rng.uniform(0.0, 255.0, (count, HEIGHT, WIDTH, 3)).astype(np.float32)
    soft = np.stack([cv2.GaussianBlur(picture, (0, 0), 2.0) for picture in noise])
    return ((soft - 127.5) * 8.0 + 127.5).clip(0, 255).astype(np.uint8)


squares = st.builds(
    # Not on whole pixels, where every fourth sum is halfway between two levels and both are right.
    lambda x, y, side, angle: Region(x + 0.123, y + 0.371, side + 0.717, angle),
    st.floats(-50.0, WIDTH + 50.0), st.floats(-50.0, HEIGHT + 50.0),
    st.floats(16.0, 400.0), st.floats(-3.2, 3.2),
)  # fmt: skip


@settings(max_examples=15)
@given(st.lists(squares, min_size=5, max_size=5), st.booleans(), st.integers(0, 1000))
def test_crops_are_the_hosts(regions: list[Region], black: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pictures, cameras = _pictures(3, rng), rng.integers(0, 3, 5)
    cuts = [Cut(side, black) for side in (64, 64, 48, 48, 48)]
    matrices = np.array([c.picture_from_pixel(r) for r, c in zip(regions, cuts, strict=True)])
    cutter = DeviceCrops([Crops(2, 64, (0.0, 255.0), black), Crops(3, 48, (0.0, 255.0), black)])
    groups = cutter(
        torch.from_numpy(pictures),
        torch.from_numpy(cameras),
        torch.from_numpy(matrices.astype(np.float32)),
    )
    found = [one.numpy() for group in groups for one in group]
    for one, camera, region, cut in zip(found, cameras, regions, cuts, strict=True):
        apart = np.abs(one - crop(pictures[camera], region, cut))
        # Both round to whole levels, from sums that differ in their last digits.
        assert apart.max() <= 1.0
        assert apart.mean() <= 0.05


def test_crops_have_the_ranges_of_their_networks() -> None:
    white = torch.full((1, HEIGHT, WIDTH, 3), 255, dtype=torch.uint8)
    white[:, :, :100] = 0
    matrix = Cut(32).picture_from_pixel(Region(100.0, 60.0, 80.0, 0.0))
    place = torch.tensor(np.array([matrix] * 2), dtype=torch.float32)
    here = torch.zeros(2, dtype=torch.int64)
    one, both = DeviceCrops([Crops(1, 32, (0.0, 1.0)), Crops(1, 32, (-1.0, 1.0))])(
        white, here, place
    )
    assert (one.min(), one.max(), both.min(), both.max()) == (0.0, 1.0, -1.0, 1.0)
    assert one[0, :, :15].max() == 0.0  # x goes to the right.


CAMERAS = np.array([1, 1, 0])
REGIONS = [replace(CLIP_FACE, angle=0.35), CLIP_HAND, Region(110.0, 335.0, 340.0, -0.1)]


def _filters(nets: TorchNets, slots: int = 2) -> DeviceOneEuro:
    return DeviceOneEuro(slots, (478, 3), OPTIONS, nets.device)


def _opened(room: SteadyRoom, nets: TorchNets | None = None) -> SteadyFrame:
    nets = nets or TorchNets()
    return SteadyFrame(nets, room, _filters(nets))


@pytest.fixture(scope="module")
def steady() -> SteadyFrame:
    return _opened(SteadyRoom(2, 640, 480, 1, 2))


def _matrices(regions: list[Region], sizes: list[int]) -> np.ndarray:
    pairs = zip(regions, sizes, strict=True)
    return np.array([Cut(size).picture_from_pixel(region) for region, size in pairs])


def _at(
    regions: list[Region], faces: int, cameras: np.ndarray | None = None, seconds: float = 0.0
) -> SteadyRegions:
    """The faces' first, whose filters begin anew unless `seconds` are given."""
    sizes = [256] * faces + [224] * (len(regions) - faces)
    matrices = _matrices(regions, sizes)
    where = np.zeros(len(regions), np.int64) if cameras is None else cameras
    return SteadyRegions(where, matrices, np.arange(faces), np.full(faces, seconds))


ALL = _at(REGIONS, 1, CAMERAS)


def _one_after_the_other(pictures: list[np.ndarray]) -> list[np.ndarray]:
    """The slow twin, of a face whose filter begins anew."""
    nets = LiteRtNets(1)
    face, *hands = ((pictures[c], region) for c, region in zip(CAMERAS, REGIONS, strict=True))
    asked = {"face_landmarks": [face], "face_blendshapes": [face], "hand_landmarks": hands}
    return [
        answer
        for network, looks in asked.items()
        for answer in nets.open(network)(seen(network, nets, looks))
    ]


def _require_twin(frame: SteadyFrame, pictures: list[np.ndarray], most: float) -> None:
    for k, picture in enumerate(pictures):
        frame.pictures.show(k, picture)
    found = frame(ALL)
    expected = _one_after_the_other(pictures)
    answers = [*found.faces, found.blendshapes, *found.hands]
    for a, b in zip(answers, expected, strict=True):
        assert a.shape == b.shape
        # Some colours round to the neighbouring level.
        assert np.abs(a - b).mean() <= most
    placed = into_picture(expected[0].reshape(478, 3)[:, :2], REGIONS[0], 256)
    assert np.abs(found.filtered[0, :, :2] - placed).mean() <= most
    assert np.abs(found.blendshapes - expected[3]).max() <= most
    assert found.hands[1].min() > 0.9
    assert found.blendshapes.max() > 0.1


def test_the_steady_frame_is_the_networks_one_after_the_other(
    steady: SteadyFrame, demo_clip: Path
) -> None:
    _require_twin(steady, list(frames(demo_clip, 45, 50)), 0.01)
    # What the first frame left behind does not matter to the second.
    _require_twin(steady, list(frames(demo_clip, 46, 52)), 0.01)


def test_answers_are_the_callers_own(steady: SteadyFrame, demo_clip: Path) -> None:
    for k, picture in enumerate(frames(demo_clip, 45, 50)):
        steady.pictures.show(k, picture)
    first = steady(ALL)
    kept = first.hands[0].copy()
    for k in range(2):
        steady.pictures.show(k, np.zeros((480, 640, 3), np.uint8))
    steady(ALL)
    assert np.array_equal(first.hands[0], kept)


def test_looks_at_one_face_share_its_blendshapes(demo_clip: Path) -> None:
    picture = next(frames(demo_clip, 50))
    frame = _opened(SteadyRoom(1, 640, 480, faces=1, hands=0, looks=2))
    frame.pictures.show(0, picture)
    looks = list(CLIP_FACE.shaken(2))
    matrices = _matrices(looks, [256, 256])
    answers = frame(SteadyRegions(np.zeros(2, np.int64), matrices, np.array([1]), np.zeros(1)))
    assert answers.hands == ()
    assert answers.faces[0].shape == (2, 1434)
    nets = LiteRtNets(1)
    points = seen("face_blendshapes", nets, [(picture, look) for look in looks]).mean(0)
    (expected,) = nets.open("face_blendshapes")(points[None])
    assert np.abs(answers.blendshapes - expected).max() <= 1e-3


def test_hands_alone(demo_clip: Path) -> None:
    frame = _opened(SteadyRoom(1, 640, 480, faces=0, hands=1))
    frame.pictures.show(0, next(frames(demo_clip, 50)))
    answers = frame(_at([CLIP_HAND], 0))
    assert (answers.faces, answers.blendshapes.shape) == ((), (0, 52))
    assert answers.hands[1][0, 0] > 0.9


def _require_filtered(device: str, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blendshapes follow from what the host's filter makes of the same landmarks, while hands come
    and go, graphs are recorded and dropped, and a second face has a filter of its own."""
    monkeypatch.setattr(steady_module, "MOST_SHAPES", 2)
    nets = TorchNets(device)
    frame = _opened(SteadyRoom(1, 640, 480, 2, 2), nets)
    filters = OneEuro(OPTIONS), OneEuro(OPTIONS)
    used = [-(10**12), -(10**12)]
    landmarks = FaceLandmarks(nets.open("face_landmarks"), nets.open("face_blendshapes"))
    hands = [0, 1, 2, 1, 0, 2, 1, 2]
    slots = [[1], [1], [1, 0], [0, 1], [1], [1], [0, 1], [1]]
    quieted = 0.0
    for k, picture in enumerate(frames(clip, *range(44, 52))):
        t_ns = k * 40_000_000 + (600_000_000 if k > 5 else 0)
        frame.pictures.show(0, picture)
        regions = [replace(CLIP_FACE, x=CLIP_FACE.x + 4 * slot) for slot in slots[k]]
        given = _at(regions + REGIONS[1 : 1 + hands[k]], len(regions))
        seconds = np.array([bridged_seconds(used[slot], t_ns) for slot in slots[k]])
        answers = frame(replace(given, slots=np.array(slots[k]), seconds=seconds))
        finds = face_finds(answers.faces, regions, 1, Cut(256))
        assert len(answers.hands[0] if answers.hands else ()) == hands[k]
        for row, (slot, find) in enumerate(zip(slots[k], finds, strict=True)):
            used[slot] = t_ns
            expected = filters[slot].filter(t_ns, find.landmarks, find.extent())
            quieted = max(quieted, float(np.abs(expected - find.landmarks).max()))
            assert np.abs(answers.filtered[row] - expected).max() <= 1e-4  # float32 of 500 pixels
            shapes = blendshapes_of(answers.blendshapes[row])
            assert np.abs(shapes - landmarks.blendshapes(expected)).max() <= 1e-4
    assert quieted > 0.05


def test_blendshapes_follow_from_filtered_landmarks(
    demo_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _require_filtered("cpu", demo_clip, monkeypatch)


def test_recording_does_not_touch_a_filter_in_use(
    demo_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA runs what it records a few times beforehand."""

    def rehearsed(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
        with torch.inference_mode():
            for _ in range(WARM_UPS):
                work()
        return recorded(work, device)

    monkeypatch.setattr(steady_module, "recorded", rehearsed)
    _require_filtered("cpu", demo_clip, monkeypatch)


class AsksNothing(TorchDispatchMode):
    """Refuses what CUDA cannot capture: to know a value, or to bring one from the host."""

    REFUSED = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique", "lift_fresh")

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = func.overloadpacket.__name__
        if name.strip("_") in [refused.strip("_") for refused in self.REFUSED]:
            raise AssertionError(f"{name}: asks for a value")
        self.seen += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("module", [steady_module, device_nets_module])
def test_what_is_captured_asks_for_no_values(
    module: ModuleType, demo_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watches: list[AsksNothing] = []

    def watched(work: Callable[[], None], _device: torch.device) -> Callable[[], None]:
        def run() -> None:
            watches.append(AsksNothing())
            with watches[-1], torch.no_grad():  # In inference mode it would not see all.
                work()

        return run

    monkeypatch.setattr(module, "recorded", watched)
    engine = PersonPipeline(TorchNets(), FaceSettings(), HandSettings())
    for k, picture in enumerate(frames(demo_clip, 50, 51)):
        marks = engine.look(picture, 40 * k)
    assert (len(marks.faces), len(marks.hands)) == (1, 1)
    assert watches
    assert min(watch.seen for watch in watches) > 100
    with pytest.raises(AssertionError, match="asks for a value"), AsksNothing():
        bool(torch.ones(2).sum() > 0)


def test_shapes_are_kept_while_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.device] = []

    def counted(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
        made.append(device)
        return recorded(work, device)

    monkeypatch.setattr(steady_module, "recorded", counted)
    monkeypatch.setattr(steady_module, "MOST_SHAPES", 2)
    frame = _opened(SteadyRoom(1, 640, 480, 0, 3))
    for hands, expected in ((1, 1), (2, 2), (1, 2), (3, 3), (1, 3), (2, 4)):
        frame(_at([CLIP_HAND] * hands, 0))
        assert len(made) == expected


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"picture_from_pixel": np.zeros((3, 3, 3))}, r"expected finite \(3, 2, 3\)"),
        ({"picture_from_pixel": np.full((3, 2, 3), np.nan)}, r"expected finite \(3, 2, 3\)"),
        ({"picture_from_pixel": np.zeros((4, 2, 3))}, "at most 1 faces and 2 hands, got 4 regions"),
        ({"picture_from_pixel": np.zeros((0, 2, 3))}, "got 0 regions with 1 faces"),
        ({"cameras": np.array([0, 0, 2])}, "expected 3 numbers of 2 cameras"),
        ({"cameras": np.array([0, -1, 0])}, "expected 3 numbers of 2 cameras"),
        ({"cameras": np.array([0])}, "expected 3 numbers of 2 cameras"),
        ({"slots": np.array([2])}, "expected different slots of 2, got .2."),
        ({"slots": np.array([-1])}, "expected different slots of 2"),
        ({"slots": np.array([0, 1])}, "got 3 regions with 2 faces"),
        ({"seconds": np.array([-0.1])}, "expected seconds of 1 faces"),
        ({"seconds": np.array([np.nan])}, "expected seconds of 1 faces"),
        ({"seconds": np.zeros(2)}, "expected seconds of 1 faces"),
    ],
)
def test_other_regions_are_refused(
    steady: SteadyFrame, wrong: dict[str, np.ndarray], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        steady(replace(ALL, **wrong))


def test_two_faces_do_not_share_a_filter() -> None:
    frame = _opened(SteadyRoom(1, 640, 480, 2, 0))
    given = _at([CLIP_FACE, CLIP_FACE], 2)
    with pytest.raises(ValueError, match="expected different slots"):
        frame(replace(given, slots=np.array([1, 1])))


@pytest.mark.parametrize("sizes", [(0, 640, 480, 1, 1), (1, 8, 480, 1, 1), (1, 640, 480, 0, 0)])
def test_other_rooms_are_refused(sizes: tuple[int, int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"(SteadyRoom|DevicePictures): expected"):
        _opened(SteadyRoom(*sizes))


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "most"), [("float32", 0.01), ("float16", 0.2)])
def test_the_captured_frame_is_the_same(dtype: str, most: float, demo_clip: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    frame = _opened(SteadyRoom(2, 640, 480, 1, 2), TorchNets("cuda", dtype))
    _require_twin(frame, list(frames(demo_clip, 45, 50)), most)
    _require_twin(frame, list(frames(demo_clip, 46, 52)), most)


@pytest.mark.gpu
def test_captured_blendshapes_follow_from_filtered_landmarks(
    demo_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    _require_filtered("cuda", demo_clip, monkeypatch)
