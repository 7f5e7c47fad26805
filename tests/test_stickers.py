"""Stickers by meaning: names, words of a scene, where things stand, in which colour."""

from __future__ import annotations

import dataclasses
import random
from xml.etree import ElementTree

import numpy as np
import pytest

from assets.manifest import AssetError, asset_path, load_manifest
from overlay.image_model import ModelError
from overlay.named_colour import (
    COLOURS,
    Paint,
    hex_from_paint,
    oklch_from_srgb,
    paint_from_hex,
    paint_of,
    repaint,
)
from overlay.scene_layout import Placed, lay_out
from overlay.scene_words import NUMBERS, PLACES, RELATIONS, Scene, Thing, read_scene
from overlay.sticker_model import LABEL_SHARE, StickerModel, composition_svg
from overlay.sticker_picture import draw_svg
from overlay.sticker_search import StickerSearch
from overlay.svg_process import SvgProcess
from overlay.text_encoder import TextEncoder
from overlay.wish import PromptError, Wish
from overlay.word_pieces import WordPieces


@pytest.fixture(scope="module")
def model() -> StickerModel:
    return StickerModel()


@pytest.fixture(scope="module")
def search(model: StickerModel) -> StickerSearch:
    return model.search


def picture(model: StickerModel, prompt: str, **options: object) -> np.ndarray:
    wish = Wish(prompt, size=(256, 256), **options)  # pyright: ignore[reportArgumentType]
    (step,) = model.steps(wish, lambda: False)
    assert step.final
    return step.rgba


def shown(model: StickerModel, prompt: str) -> list[tuple[int, str | None, str]]:
    found = model.compose(prompt)
    return [
        (thing.count, thing.colour, sticker.names[0])
        for thing, sticker in zip(found.scene.things, found.stickers, strict=True)
    ]


def test_word_pieces_are_those_of_the_published_tokenizer() -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="the extra dev has it")
    path = asset_path("models/minilm_l6_vocabulary.txt")
    ours = WordPieces.read(path)
    theirs = tokenizers.BertWordPieceTokenizer(str(path), lowercase=True)
    texts = [
        "a blue cat next to a red car",
        "Café naïve — don't stop! $5.00 №7 <b>",
        "漢字 test かな مرحبا بالعالم",
        "x" * 101,
        "🐶 dog's\u00a0end\u200b.",
    ]
    chance = random.Random(6)
    letters = "abcdefgh éÅß漢字אب.,!?'#-_🐶\t\u200d 0123"
    texts += ["".join(chance.choices(letters, k=40)) for _ in range(300)]
    for text in texts:
        assert ours.encode(text, 999) == theirs.encode(text).ids, text
    assert len(ours.encode("cat " * 300, 128)) == 128


def test_meanings_are_near_where_they_should_be() -> None:
    encoder = TextEncoder()
    car, automobile, coffee = (encoder.encode(w) for w in ("car", "automobile", "coffee"))
    assert np.linalg.norm(car) == pytest.approx(1.0, abs=1e-5)
    assert car @ automobile > 0.8 > 0.5 > car @ coffee


def test_every_shipped_sticker_can_be_drawn_and_is_named(search: StickerSearch) -> None:
    stickers = search.book.stickers
    assert len(stickers) > 1500
    assert len({sticker.emoji for sticker in stickers}) == len(stickers)
    assert search.book.name_vectors.shape == search.book.tag_vectors.shape == (len(stickers), 384)
    for sticker in stickers[::60]:
        for style, drawing in sticker.drawings.items():
            box = f"0 0 {drawing.side} {drawing.side}"
            head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}">'
            svg = f"{head}{drawing.svg}</svg>"
            assert draw_svg(svg, (32, 32))[..., 3].max() > 128, (sticker.names, style)
    allowed = {"Apache-2.0", "MIT"}
    licences = {a.licence for a in load_manifest().values() if a.id.startswith("stickers/")}
    assert licences == allowed


@pytest.mark.parametrize(
    ("words", "name"),
    [
        # These went wrong when names and tags counted alike.
        ("coffee", "hot beverage"),
        ("tropical beach", "beach with umbrella"),
        ("rocket", "rocket"),
        ("red apple", "red apple"),
        ("car", "automobile"),
        ("grumpy old man", "old man"),
        ("dogs", "dog"),
        ("stars", "star"),
        ("haunted house", "house"),
        ("melancholy jazz", "saxophone"),
        ("sad clown", "clown face"),
        ("love letter", "love letter"),
    ],
)
def test_names_come_before_tags(search: StickerSearch, words: str, name: str) -> None:
    match = search.find(words.split())
    assert match is not None
    assert match.sticker.names[0] == name


@pytest.mark.parametrize("words", ["gobbledygook xyzzy", "أزرق قطة", "mitochondria", "qwertyuiop"])
def test_words_that_nothing_is_near_to_find_nothing(search: StickerSearch, words: str) -> None:
    assert search.find(words.split()) is None


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("three dogs beside an old man at sunset", [(3, None, "dog"), (1, None, "old man")]),
        ("a blue cat next to a red car", [(1, "blue", "cat"), (1, None, "automobile")]),
        ("two orange cats and an orange", [(2, "orange", "cat"), (1, None, "tangerine")]),
        ("hot dogs, a green apple", [(3, None, "hot dog"), (1, None, "green apple")]),
        ("grapes", [(1, None, "grapes")]),
        ("12 purple cats", [(12, "purple", "cat")]),
        ("🐶🐶 on 🚗", [(2, None, "dog face"), (1, None, "automobile")]),
        ("a knight fighting a dragon", [(1, None, "ninja"), (1, None, "dragon")]),
        ("999999999999 mice", [(3, None, "mouse")]),
        ("100 mice", [(24, None, "mouse")]),
    ],
)
def test_what_a_prompt_says(
    model: StickerModel, prompt: str, expected: list[tuple[int, str | None, str]]
) -> None:
    assert shown(model, prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "place", "hour"),
    [
        ("a cat at sunset", None, "sunset"),
        ("a cat in the forest at night", "forest", "night"),
        ("a whale under the sea", "underwater", None),
        ("night sky", None, "night"),
        ("a cat on a mat", None, None),
        ("a city bus", None, None),
    ],
)
def test_where_and_when(
    search: StickerSearch, prompt: str, place: str | None, hour: str | None
) -> None:
    scene = read_scene(prompt, search)
    assert (scene.place, scene.hour) == (place, hour)


def test_a_scene_of_nothing_known_is_no_picture(model: StickerModel) -> None:
    with pytest.raises(ModelError, match="no sticker is near"):
        model.compose("gobbledygook xyzzy")
    with pytest.raises(ModelError, match=r"style 'crayon': expected one of noto, fluent"):
        picture(model, "a cat", style="crayon")


SQUARE = [(1.0, 1.0), (1.0, 1.0)]


def _middle(placed: list[Placed], thing: int) -> tuple[float, float]:
    mine = [p for p in placed if p.thing == thing]
    return (
        float(np.mean([p.x for p in mine])),
        float(np.mean([p.y + p.height / 2 for p in mine])),
    )


@pytest.mark.parametrize(
    ("relation", "check"),
    [
        ("beside", lambda a, b: a[0] < b[0] and abs(a[1] - b[1]) < 0.2),
        ("right of", lambda a, b: a[0] > b[0]),
        ("on", lambda a, b: a[1] > b[1] + 0.4 and abs(a[0] - b[0]) < 0.1),
        ("above", lambda a, b: a[1] > b[1] + 0.8),
        ("under", lambda a, b: a[1] < b[1] - 0.8),
        ("behind", lambda a, b: a[1] > b[1]),
        ("wearing", lambda a, b: b[1] > a[1] + 0.4),
    ],
)
def test_relations_place_things(relation: str, check: object) -> None:
    things = [Thing(("cat",)), Thing(("car",), relation=relation)]
    placed = lay_out(things, SQUARE, 0)
    assert check(_middle(placed, 0), _middle(placed, 1))  # pyright: ignore[reportCallIssue]


def test_what_is_behind_is_drawn_first() -> None:
    things = [Thing(("dragon",)), Thing(("castle",), relation="behind")]
    assert [p.thing for p in lay_out(things, SQUARE, 0)] == [0, 1]
    things = [Thing(("mouse",)), Thing(("elephant",), relation="in front of")]
    assert [p.thing for p in lay_out(things, SQUARE, 0)] == [1, 0]


def test_as_many_are_placed_as_were_asked_for_in_every_relation() -> None:
    for relation in ("beside", "on", "above", "under", "behind", "in front of", "in", "holding"):
        things = [Thing(("ant",), 7), Thing(("bee",), 5, relation=relation)]
        placed = lay_out(things, SQUARE, 3)
        assert [sum(p.thing == k for p in placed) for k in (0, 1)] == [7, 5]


def test_a_word_more_leaves_earlier_things_alike() -> None:
    first = lay_out([Thing(("dog",), 3)], SQUARE, 5)
    more = lay_out([Thing(("dog",), 3), Thing(("man",))], SQUARE, 5)
    assert [p for p in more if p.thing == 0] == first
    other = lay_out([Thing(("dog",), 3)], SQUARE, 6)
    assert other != first


def _hue_share(rgba: np.ndarray, word: str) -> float:
    """How much of what is covered has the hue of that word."""
    covered = rgba[rgba[..., 3] > 200][:, :3] / 255.0
    paints = oklch_from_srgb(covered)
    wanted = paint_of(word).hue
    apart = np.abs((paints[:, 2] - wanted + np.pi) % (2 * np.pi) - np.pi)
    return float(((apart < 0.5) & (paints[:, 1] > 0.05)).mean())


@pytest.mark.parametrize("style", ["noto", "fluent"])
@pytest.mark.parametrize("colour", ["blue", "green", "purple", "pink"])
def test_things_take_the_colour_that_is_named(model: StickerModel, style: str, colour: str) -> None:
    for thing in ("cat", "elephant", "automobile", "horse"):
        plain = _hue_share(picture(model, f"a {thing}", style=style), colour)
        painted = _hue_share(picture(model, f"a {colour} {thing}", style=style), colour)
        # Half of a car are its windows and wheels.
        assert painted > 0.45 > plain + 0.2, (thing, plain, painted)


def test_painting_keeps_light_and_shade_and_other_colours() -> None:
    svg = '<path fill="#ff8800"/><path fill="#aa5500"/><path fill="#0044ff"/><use href="#ff8800"/>'
    main = paint_from_hex("#ff8800")
    painted = repaint(svg, main, paint_of("green"))
    light, dark, other = (paint_from_hex(painted[at : at + 7]) for at in _colours_at(painted))
    assert light.lightness > dark.lightness + 0.1
    assert abs(light.hue - paint_of("green").hue) < 0.05
    assert abs(other.hue - paint_from_hex("#0044ff").hue) < 1e-6
    assert painted.endswith('<use href="#ff8800"/>')


def _colours_at(svg: str) -> list[int]:
    return [i + 6 for i in range(len(svg)) if svg.startswith('fill="#', i)]


def test_colours_survive_oklch() -> None:
    for code in {*COLOURS.values(), "#000000", "#ffffff", "#0f0"}:
        back = hex_from_paint(paint_from_hex(code))
        full = code if len(code) == 7 else "#00ff00"
        assert all(abs(int(back[i : i + 2], 16) - int(full[i : i + 2], 16)) <= 1 for i in (1, 3, 5))
    # Ottosson's example values: red in Oklab is L 0.628, C 0.258, h 29.2 degrees.
    red = paint_from_hex("#ff0000")
    assert (red.lightness, red.chroma, np.rad2deg(red.hue)) == pytest.approx(
        (0.628, 0.258, 29.2), abs=0.05
    )
    assert max(int(hex_from_paint(Paint(0.7, 0.5, 2.0))[i : i + 2], 16) for i in (1, 3, 5)) <= 255


def test_pictures_leave_the_label_free_and_their_ground_clear(model: StickerModel) -> None:
    for prompt in ("a blue cat next to a red car", "24 ants on a pizza", "a whale above a bus"):
        rgba = picture(model, prompt)
        rows = np.flatnonzero((rgba[..., 3] > 8).any(axis=1))
        assert rows.max() <= 256 - LABEL_SHARE * 256
        assert rgba[0, 0, 3] == 0
    assert (picture(model, "a cat at sunset")[..., 3] == 255).all()


def test_the_same_wish_gives_the_same_picture_and_the_seed_changes_it(
    model: StickerModel,
) -> None:
    one = picture(model, "seven sheep in a meadow", seed=4)
    np.testing.assert_array_equal(one, picture(model, "seven sheep in a meadow", seed=4))
    assert (one != picture(model, "seven sheep in a meadow", seed=5)).any()
    assert isinstance(StickerModel(model.search).compose("a cat").scene, Scene)


_MUCH = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><filter id="f"><feGaussianBlur '
    'stdDeviation="2"/></filter>' + '<circle r="9" filter="url(#f)"/>' * 200 + "</svg>"
)


def test_another_process_draws_the_same(model: StickerModel) -> None:
    with SvgProcess() as process:
        live = StickerModel(model.search, process)
        for prompt in ("a blue cat", "three dogs at sunset"):
            np.testing.assert_array_equal(picture(live, prompt), picture(model, prompt))
        with pytest.raises(ValueError):
            process.draw("no drawing", (64, 64))
        np.testing.assert_array_equal(picture(live, "a cat"), picture(model, "a cat"))
        # Killed from outside, it says so once and is started again.
        held = process._process
        assert held is not None
        held.kill()
        held.wait(10)
        np.testing.assert_array_equal(picture(live, "a dog"), picture(model, "a dog"))
        assert process._process is not held
    with SvgProcess(timeout_s=0.0) as process:
        process.start()
        with pytest.raises(ModelError, match="took over 0 s"):
            process.draw(_MUCH, (512, 512))
    assert process._process is None


HOSTILE = [
    "'\"><script>alert(1)</script> a cat",
    "<svg onload=x> & a dog &amp; ]]>",
    "../../etc/passwd",
    "a cat " * 160,
    "a\u202e cat \u0000\x1b[2J",
    "🐶" * 200,
    "and on in under behind, of the",
    "the the the",
    "חתול כחול ליד 🚗",
    "\U0001d51e \U0001d520\U0001d51e\U0001d531",
    "1 2 3 4 5",
    "on on on a cat on on on",
]


@pytest.mark.parametrize("prompt", HOSTILE)
def test_hostile_prompts_give_a_picture_or_a_message(model: StickerModel, prompt: str) -> None:
    said = ""
    try:
        assert picture(model, prompt).shape == (256, 256, 4)
    except ModelError as error:
        said = str(error)
    assert "\n" not in said
    assert not said or "expected" in said


def test_any_words_in_any_order_make_a_whole_drawing_or_a_message(model: StickerModel) -> None:
    chance = random.Random(8)
    names = [name for sticker in model.search.book.stickers[::3] for name in sticker.names]
    words = [*RELATIONS, *PLACES, *NUMBERS, *COLOURS, "<", "&", '"', "🐶", "é", "x" * 60]
    drawn = 0
    for _ in range(150):
        mixed = chance.choices(names, k=4) + chance.choices(words, k=8)
        prompt = " ".join(chance.sample(mixed, chance.randint(1, 12)))
        try:
            found = model.compose(Wish(prompt).prompt)
        except (ModelError, PromptError):
            continue
        svg = composition_svg(found, "noto", (384, 300), 1, model.search)
        ElementTree.fromstring(svg)
        assert "(nan" not in svg
        assert " nan" not in svg
        drawn += 1
    assert drawn > 100


def test_a_damaged_book_is_refused(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, model: StickerModel
) -> None:
    import shutil
    from pathlib import Path

    from assets.manifest import assets_folder
    from overlay.sticker_book import StickerBook

    folder = Path(str(tmp_path)) / "assets"
    (folder / "stickers").mkdir(parents=True)
    own = assets_folder()
    shutil.copy(own / "manifest.json", folder)
    for file in (own / "stickers").iterdir():
        shutil.copy(file, folder / "stickers")
    (folder / "stickers/noto.json.zst").write_bytes(b"something else")
    monkeypatch.setenv("VISAVIS_ASSETS", str(folder))
    with pytest.raises(AssetError, match=r"noto\.json\.zst: damaged"):
        StickerBook.load()
    assert dataclasses.is_dataclass(model.search.book)
