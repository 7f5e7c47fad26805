"""Panels: placed where head and wrists are, live, and readable pictures."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageFont

from overlay.board import PanelBoard
from overlay.image_panel import MAX_SIDE, PictureError, image_panel, read_picture
from overlay.placement import place_panels
from overlay.text_panel import TextStyle, text_panel
from streams.panel import Panel
from streams.rigid import Rigid
from streams.tracked_state import HandPose

HERE = Rigid.from_rotvec([0.1, 0.2, 0.3], [0.0, 0.1, -0.02])


def panel(panel_id: str = "p", anchor: str = "world", value: int = 0) -> Panel:
    return Panel(panel_id, np.full((2, 3, 4), value, np.uint8), anchor, HERE, (0.3, 0.2))


def hand(side: str, world_from_wrist: Rigid) -> HandPose:
    zeros = np.zeros((21, 3), np.float32)
    return HandPose(side, zeros, world_from_wrist, np.zeros((5, 4), np.float32), 1.0)


# -- placement


def test_panels_go_where_their_anchors_are() -> None:
    world_from_head = Rigid.from_rotvec([0, 1, 0], [1, 2, 3])
    wrist = Rigid.from_rotvec([1, 0, 0], [-1, 0, 0])
    given = [panel("a"), panel("b", "head"), panel("c", "left wrist"), panel("d", "right wrist")]
    placed = place_panels(given, world_from_head, (hand("left", wrist),))
    assert [p.id for p in placed] == ["a", "b", "c"]  # no right hand is seen
    assert {p.anchor for p in placed} == {"world"}
    assert placed[0] is given[0]
    for p, expected in zip(placed[1:], [world_from_head @ HERE, wrist @ HERE], strict=True):
        np.testing.assert_allclose(p.anchor_from_panel.matrix(), expected.matrix(), atol=1e-12)
        assert p.size_m == (0.3, 0.2)


def test_without_a_person_only_the_world_is_left() -> None:
    given = [panel("b", "head"), panel("c", "left wrist"), panel("a")]
    assert [p.id for p in place_panels(given, None, ())] == ["a"]


# -- board


def test_the_board_is_live() -> None:
    board = PanelBoard()
    assert board.panels(0) == ()
    first, second = panel("a"), panel("b")
    assert board.put(first)
    assert board.put(second)
    newer = panel("a", value=9)
    assert board.put(newer)
    assert board.panels(5) == (newer, second)  # in its old place
    assert board.get("a") is newer
    assert board.remove("a")
    assert not board.remove("a")
    assert board.get("a") is None
    assert board.panels(0) == (second,)
    board.clear()
    assert board.panels(0) == ()


def test_an_older_answer_does_not_replace_a_newer_one() -> None:
    board = PanelBoard()
    newer, older = panel("a", value=2), panel("a", value=1)
    assert board.put(newer, t_ns=20)
    assert not board.put(older, t_ns=10)
    assert board.panels(0) == (newer,)


def test_many_threads_write_one_board() -> None:
    board = PanelBoard()

    def write(name: str) -> None:
        for value in range(200):
            board.put(panel(name, value=value), t_ns=value)
            assert {p.id for p in board.panels(0)} <= {"a", "b", "c"}

    with ThreadPoolExecutor(3) as pool:
        for writing in [pool.submit(write, name) for name in "abc"]:
            writing.result(20)
    assert sorted(p.id for p in board.panels(0)) == ["a", "b", "c"]
    assert {int(p.rgba[0, 0, 0]) for p in board.panels(0)} == {199}


# -- text


def drawn(text: str, style: TextStyle | None = None) -> Panel:
    return text_panel("t", text, "head", HERE, style)


def rows_of_ink(p: Panel) -> int:
    """How many lines of text a panel has: runs of rows that hold ink."""
    ink = (p.rgba[..., 0] > 200).any(axis=1)
    return int((np.diff(ink.astype(int)) == 1).sum())


def test_text_on_a_round_translucent_background() -> None:
    style = TextStyle(colour=(255, 255, 255, 255), background=(10, 20, 30, 128))
    p = drawn("Hxg", style)
    height, width = p.rgba.shape[:2]
    np.testing.assert_array_equal(p.rgba[0, 0], [10, 20, 30, 0])  # round corner, no dark fringe
    np.testing.assert_array_equal(p.rgba[0, width // 2], [10, 20, 30, 128])
    assert (p.rgba[..., :3].reshape(-1, 3) == 255).all(-1).any()  # full ink
    assert (p.rgba[..., 3] == 255).any()
    np.testing.assert_allclose(p.size_m, (width / style.pixels_per_m, height / style.pixels_per_m))


def test_text_wraps_and_keeps_line_breaks() -> None:
    assert rows_of_ink(drawn("HHH HHH")) == 1
    assert rows_of_ink(drawn("HHH\nHHH\nHHH")) == 3
    style = TextStyle(wrap_m=0.1)
    long = drawn("HHH " * 12, style)
    assert rows_of_ink(long) > 2
    assert long.size_m[0] <= style.wrap_m + 2 * style.margin_m + 1e-9
    one_word = drawn("H" * 60, style)
    assert rows_of_ink(one_word) > 2
    assert one_word.size_m[0] <= style.wrap_m + 2 * style.margin_m + 1e-9


def test_long_text_is_cut() -> None:
    p = drawn("HHH " * 500, TextStyle(max_lines=3))
    assert rows_of_ink(p) == 3
    assert p.rgba.shape[0] < 400


def test_letters_that_the_first_font_lacks_are_drawn() -> None:
    """Pillow's font has no accents and draws one same box for each."""
    accents = [drawn(letter).rgba for letter in "äöüéñßЖΩ"]
    assert len({rgba.tobytes() for rgba in accents}) == len(accents)
    box = ImageFont.load_default(42).getmask("\U0010ffff").getbbox()
    assert box is not None


def test_text_is_the_same_every_time() -> None:
    np.testing.assert_array_equal(drawn("Grüße 12").rgba, drawn("Grüße 12").rgba)


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_no_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="text_panel 't': expected some text"):
        drawn(text)


def test_bad_styles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"TextStyle\.letter_m: expected a positive number, got 0"):
        TextStyle(letter_m=0)
    with pytest.raises(ValueError, match=r"TextStyle\.colour: expected RGBA from 0 to 255"):
        TextStyle(colour=(0, 0, 256, 0))
    with pytest.raises(ValueError, match="at most 4096 pixels across"):
        TextStyle(wrap_m=3)
    (tmp_path / "x.ttf").write_bytes(b"no font")
    with pytest.raises(ValueError, match=r"TextStyle\.font: expected a font file, got .*x\.ttf"):
        drawn("a", TextStyle(font=tmp_path / "x.ttf"))


# -- images


def saved(path: Path, picture: PillowImage.Image, **options: Any) -> Path:
    picture.save(path, **options)
    return path


def test_a_png_with_alpha_keeps_every_pixel(tmp_path: Path) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    p = image_panel("i", saved(tmp_path / "a.png", PillowImage.fromarray(rgba)), "head", HERE, 0.5)
    np.testing.assert_array_equal(p.rgba, rgba)
    np.testing.assert_allclose(p.size_m, (0.7, 0.5))


def test_exif_turns_a_photo_upright(tmp_path: Path) -> None:
    upright = np.zeros((40, 20, 3), np.uint8)
    upright[:10] = [255, 0, 0]
    lying = PillowImage.fromarray(np.rot90(upright).copy())
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show
    rgba = read_picture(saved(tmp_path / "a.jpg", lying, exif=exif, quality=95))
    assert rgba.shape == (40, 20, 4)
    assert rgba[:8, :, 0].min() > 200
    assert rgba[14:, :, 0].max() < 60


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "I;16"])
def test_every_kind_of_pixel(tmp_path: Path, mode: str) -> None:
    grey = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
    if mode == "I;16":
        picture = PillowImage.fromarray(grey.astype(np.uint16) * 257)
    else:
        picture = PillowImage.fromarray(grey).convert("RGB").convert(mode)
    name = "a.jpg" if mode == "CMYK" else "a.png"
    rgba = read_picture(saved(tmp_path / name, picture))
    assert rgba.shape == (32, 32, 4)
    assert (rgba[..., 3] == 255).all()
    assert rgba[:, :2, :3].mean() < 30  # dithered, where a mode has few colours
    assert rgba[:, -2:, :3].mean() > 225


def test_a_huge_picture_is_made_smaller_and_keeps_its_proportions(tmp_path: Path) -> None:
    big = PillowImage.new("RGBA", (MAX_SIDE * 2, 600), (10, 200, 30, 255))
    p = image_panel("i", saved(tmp_path / "a.png", big), "world", HERE, 0.3)
    assert p.rgba.shape == (300, MAX_SIDE, 4)
    np.testing.assert_array_equal(p.rgba[150, 1000], [10, 200, 30, 255])
    assert p.size_m[0] / p.size_m[1] == pytest.approx(MAX_SIDE * 2 / 600)


def test_shrinking_does_not_pull_in_invisible_colour() -> None:
    rgba = np.zeros((8, MAX_SIDE * 2, 4), np.uint8)
    rgba[..., 0] = 255  # red that nobody sees
    rgba[:, ::2] = [0, 0, 255, 255]
    small = image_panel("i", rgba, "world", HERE, 0.1).rgba
    assert small[..., 0].max() <= 2


def test_arrays() -> None:
    grey = np.full((4, 6), 7, np.uint8)
    np.testing.assert_array_equal(
        image_panel("i", grey, "world", HERE, 0.1).rgba[0, 0], [7, 7, 7, 255]
    )
    backwards = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)[:, ::-1]
    np.testing.assert_array_equal(
        image_panel("i", backwards, "world", HERE, 0.1).rgba[..., :3], backwards
    )
    for wrong in (grey[..., None], grey.astype(np.float32), grey[:0]):
        with pytest.raises(ValueError, match="image_panel 'i': expected uint8"):
            image_panel("i", wrong, "world", HERE, 0.1)  # pyright: ignore[reportArgumentType]


def png_bytes() -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    PillowImage.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "expected a picture"),
        (b"plain text", "expected a picture"),
        (png_bytes()[:2000], "cannot be read"),
        (png_bytes()[:60] + b"\0" * 500 + png_bytes()[560:], "cannot be read"),
        (b"GIF89a" + b"\0" * 60, "expected a picture"),
        (None, "No such file"),
    ],
    ids=["empty", "text", "truncated", "damaged", "other kind", "absent"],
)
def test_bad_files_say_so_in_one_line(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "picture.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PictureError, match=words) as caught:
        read_picture(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_and_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PictureError, match="Is a directory"):
        read_picture(tmp_path)
    path = saved(tmp_path / "a.png", PillowImage.new("RGB", (100, 100)))
    monkeypatch.setattr(PillowImage, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(PictureError, match="decompression bomb"):
        read_picture(path)
