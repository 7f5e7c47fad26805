"""The small generator that ships: what it makes, where it is silent, what a damaged one costs."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from assets.manifest import ASSETS_FOLDER_VARIABLE, asset_path, assets_folder, load_manifest
from overlay.flow_model import (
    ASSET,
    FlowModel,
    Lesson,
    caption_of,
    framed,
    open_net,
    straight_alpha,
)
from overlay.generation_event import GenerationEvent, GenerationFailed, PictureUpdate
from overlay.image_model import ModelError, NothingForItError, final_step
from overlay.live_generation import LiveGeneration, LiveOptions
from overlay.named_colour import oklch_from_srgb
from overlay.sticker_model import StickerModel
from overlay.sticker_picture import draw_svg, sticker_document
from overlay.sticker_search import shipped_search
from overlay.wish import Wish

WAIT_S = 30.0
EASY = {
    "a banana": "🍌",
    "a balloon": "🎈",
    "a microphone": "🎤",
    "a star": "⭐",
    "a tree": "🌳",
    "a house": "🏠",
    "a guitar": "🎸",
    "a t-shirt": "👕",
}
FIXTURE = Path(__file__).parent / "fixtures" / "generator_red_apple.png"


@pytest.fixture(scope="module")
def model() -> FlowModel:
    return FlowModel()


@pytest.fixture(scope="module")
def lesson() -> Lesson:
    return open_net(1)[1]


def premultiplied(rgba: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    values = rgba / 255.0
    values[..., :3] *= values[..., 3:]
    return values


def picture(model: FlowModel, prompt: str, seed: int = 0) -> npt.NDArray[np.uint8]:
    return final_step(model, Wish(prompt, seed=seed, size=(128, 128))).rgba


def drawn(emoji: str) -> npt.NDArray[np.uint8]:
    sticker = shipped_search().by_emoji(emoji)
    assert sticker is not None
    drawing = sticker.drawing("fluent")
    return draw_svg(sticker_document(drawing.svg, drawing.side), (128, 128))


def test_things_come_out_more_like_themselves_than_like_each_other_or_noise(
    model: FlowModel,
) -> None:
    truth = np.stack([premultiplied(drawn(emoji)) for emoji in EASY.values()])
    made = np.stack([premultiplied(picture(model, prompt)) for prompt in EASY])
    apart = np.sqrt(np.square(made[:, None] - truth[None]).mean(axis=(2, 3, 4)))
    assert (apart.argmin(axis=1) == np.arange(len(EASY))).mean() >= 0.85
    noise = np.random.default_rng(0).random(made.shape)
    far = np.sqrt(np.square(noise - truth).mean(axis=(1, 2, 3)))
    assert (apart.diagonal() < 0.6 * far).all()


@pytest.mark.parametrize(
    ("colour", "hue_deg"), [("red", 28.0), ("blue", 258.0), ("green", 145.0), ("purple", 318.0)]
)
def test_the_named_colour_is_what_the_thing_is_painted_in(
    model: FlowModel, colour: str, hue_deg: float
) -> None:
    rgba = picture(model, f"a {colour} balloon")
    paints = oklch_from_srgb(rgba[rgba[..., 3] > 200][:, :3] / 255.0)
    vivid = paints[paints[:, 1] > 0.08]
    assert len(vivid) > 0.5 * len(paints)
    apart = np.rad2deg(np.abs((vivid[:, 2] - np.deg2rad(hue_deg) + np.pi) % (2 * np.pi) - np.pi))
    assert np.median(apart) < 25.0


def test_a_fixed_wish_gives_the_picture_that_it_gave_when_the_net_was_shipped(
    model: FlowModel,
) -> None:
    made = premultiplied(picture(model, "a red apple", seed=7))
    kept = premultiplied(np.asarray(Image.open(FIXTURE)))
    # Processors add floats in other orders; another net gives another picture altogether.
    assert np.abs(made - kept).mean() < 0.004


def test_the_same_seed_gives_the_same_picture_and_another_a_different_one(
    model: FlowModel,
) -> None:
    assert np.array_equal(picture(model, "a blue cat", 3), picture(model, "a blue cat", 3))
    assert not np.array_equal(picture(model, "a blue cat", 3), picture(model, "a blue cat", 4))


def test_each_step_comes_nearer_to_the_last_and_work_stops_between_them(model: FlowModel) -> None:
    wish = Wish("a banana", size=(200, 128))
    steps = list(model.steps(wish, lambda: False))
    assert [(s.step, s.steps) for s in steps] == [(n, 4) for n in (1, 2, 3, 4)]
    assert steps[0].rgba.shape == (128, 200, 4)
    last = premultiplied(steps[-1].rgba)
    apart = [np.abs(premultiplied(s.rgba) - last).mean() for s in steps]
    assert apart[0] > apart[1] > apart[2] > apart[3] == 0.0
    asked = itertools.count()
    stopped = list(model.steps(wish, lambda: next(asked) >= 2))
    assert len(stopped) == 2


def test_all_that_comes_for_imagine_is_within_its_32_megabytes() -> None:
    parts = [
        asset.bytes
        for asset in load_manifest().values()
        if asset.file.startswith(("stickers/", "models/minilm", "models/generator"))
    ]
    assert len(parts) == 6
    assert sum(parts) <= 32_000_000


@pytest.mark.parametrize(
    ("prompt", "caption"),
    [
        ("a blue cat", "a blue kitten"),
        ("cat", "a kitten"),
        ("please show me a blue kitten", "a blue kitten"),
        ("a blue cat next to a red car", "a blue kitten next to a red automobile"),
        ("a green apple and a banana", "a green apple next to a banana"),
        ("an orange", "a tangerine"),
        ("🐸", "a frog"),
    ],
)
def test_prompts_are_put_into_words_of_the_training(
    lesson: Lesson, prompt: str, caption: str
) -> None:
    assert caption_of(prompt, lesson, shipped_search()) == caption


@pytest.mark.parametrize(
    "prompt",
    [
        "love",
        "three dogs",
        "a cat on a car",
        "a turquoise cat",
        "a cat at sunset",
        "a cat, a dog and a car",
        "an old man",
        "qwrtz",
    ],
)
def test_what_it_has_not_learned_it_says(model: FlowModel, prompt: str) -> None:
    with pytest.raises(NothingForItError, match="has learned single things"):
        final_step(model, Wish(prompt))
    with pytest.raises(NothingForItError, match="style"):
        final_step(model, Wish("a cat", style="noto"))


def events_of(models: list, prompt: str) -> list[GenerationEvent]:
    with LiveGeneration(models, LiveOptions(debounce_ns=0)) as live:
        live.ask(Wish(prompt, size=(128, 128)))
        assert live.wait_until_idle(WAIT_S)
        return list(live.take_events())


def test_stickers_stay_where_it_has_nothing_and_give_way_where_it_has() -> None:
    events = events_of([StickerModel(), FlowModel()], "a cat at sunset")
    assert not [event for event in events if isinstance(event, GenerationFailed)]
    assert {e.model for e in events if isinstance(e, PictureUpdate)} == {"stickers 1"}
    events = events_of([StickerModel(), FlowModel()], "a blue cat")
    shown = [event for event in events if isinstance(event, PictureUpdate)]
    assert [e.step for e in shown if e.model == "generator 1"] == [1, 2, 3, 4]
    assert shown[-1].model == "generator 1"
    (failed,) = [
        e for e in events_of([FlowModel()], "a cat at sunset") if isinstance(e, GenerationFailed)
    ]
    assert "has learned single things" in failed.message


@pytest.fixture
def own_assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that Imagine needs, to be damaged."""
    for name in ("stickers", "models"):
        shutil.copytree(assets_folder() / name, tmp_path / name)
    shutil.copy(assets_folder() / "manifest.json", tmp_path)
    monkeypatch.setenv(ASSETS_FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("damage", ["flipped", "short", "absent"])
def test_a_damaged_file_costs_a_message_and_stickers_go_on(own_assets: Path, damage: str) -> None:
    path = own_assets / ASSET
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif damage == "short":
        path.write_bytes(data[:1000])
    else:
        path.unlink()
    events = events_of([StickerModel(), FlowModel()], "a blue cat")
    (failed,) = [event for event in events if isinstance(event, GenerationFailed)]
    assert "generator" in failed.message
    assert "restore it with" in failed.message
    assert "\n" not in failed.message
    assert [e.model for e in events if isinstance(e, PictureUpdate)] == ["stickers 1"]


def test_a_file_with_the_right_hash_that_is_no_net_is_a_message_too(
    own_assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = asset_path("stickers/noto.json")  # compressed likewise, but no net
    monkeypatch.setattr("overlay.flow_model.asset_path", lambda _id: wrong)
    with pytest.raises(ModelError, match="cannot be used"):
        final_step(FlowModel(), Wish("a cat"))


def test_a_picture_is_fitted_into_the_middle_without_dark_rims() -> None:
    square = np.zeros((8, 8, 4), np.uint8)
    square[2:6, 2:6] = (255, 0, 0, 255)
    made = framed(square, (96, 64))
    assert made.shape == (64, 96, 4)
    assert not made[:, :16].any()
    assert made[32, 48].tolist() == [255, 0, 0, 255]
    assert (made[made[..., 3] > 8][:, 0] > 240).all()


def test_haze_becomes_clear_and_nearly_opaque_opaque() -> None:
    made = np.full((4, 1, 3), -1.0, np.float32)
    made[3, 0] = (-0.96, 0.0, 0.97)  # alpha 0.02, 0.5 and 0.985
    made[0, 0] = (-0.96, 0.0, 0.97)  # pure red
    assert straight_alpha(made)[0].tolist() == [
        [255, 0, 0, 0],
        [255, 0, 0, 128],
        [255, 0, 0, 255],
    ]
