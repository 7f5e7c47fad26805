"""Hands that hold panels, places where pictures appear, and the shelf."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apps.shelf_row import COUNT, ShelfRow
from apps.view_places import as_backdrop, beside, on_desk
from capture.hand_shapes import HAND_SHAPES
from overlay.board import PanelBoard
from overlay.generation_event import PictureUpdate
from overlay.image_panel import image_panel
from overlay.panel_hands import LARGEST_M, LOST_NS, PanelHands, distance_to
from overlay.panel_places import PanelPlace, at_hand
from overlay.pinch import PinchSensor
from overlay.shelf import Shelf
from overlay.sticker_model import StickerModel
from overlay.sticker_search import StickerSearch
from overlay.wish import Wish
from render.panels import labelled_picture, premultiplied
from streams.adult_hand import adult_hand
from streams.hand_skeleton import joints_from_angles
from streams.rigid import Rigid
from streams.tracked_state import HandPose
from streams.view import View

STEP_NS = 33_000_000


def hand(
    side: str, xyz: tuple[float, float, float], apart: float = 0.1, turn: float = 0.0
) -> HandPose:
    """A hand whose tips' middle is at `xyz`, `apart` palms from each other."""
    joints = np.zeros((21, 3), np.float32)
    palm = 0.09
    joints[:] = np.array(xyz) + (0.0, -0.1, 0.0)
    joints[9] += (0.0, palm, 0.0)
    joints[4] = np.array(xyz) - (apart * palm / 2, 0.0, 0.0)
    joints[8] = np.array(xyz) + (apart * palm / 2, 0.0, 0.0)
    wrist = Rigid.from_rotvec((0.0, 0.0, turn))
    place = Rigid.from_rotation(wrist.rotation(), joints[0])
    return HandPose(side, joints, place, np.zeros((5, 4), np.float32), 1.0)


def board_with_panel(tall: float = 0.2) -> PanelBoard:
    board = PanelBoard()
    picture = np.full((8, 16, 4), 200, np.uint8)
    board.put(image_panel("picture", picture, "world", Rigid.identity(), tall, "a model"))
    return board


def panel_of(board: PanelBoard):
    panel = board.get("picture")
    assert panel is not None
    return panel


def test_a_pinch_trembles_without_letting_go() -> None:
    sensor = PinchSensor()
    at = (0.0, 0.0, 0.0)
    apart = [0.5, 0.35, 0.2, 0.35, 0.44, 0.5, 0.35]
    assert [len(sensor.sense([hand("left", at, a)])) for a in apart] == [0, 0, 1, 1, 1, 0, 0]
    assert len(sensor.sense([hand("left", at, 0.2), hand("right", at, 0.2)])) == 2
    assert sensor.sense([]) == ()
    assert len(sensor.sense([hand("left", at, 0.35)])) == 0


def test_the_shape_of_a_pinching_hand_is_one_and_others_are_none() -> None:
    found: dict[str, bool] = {}
    for name, angles in HAND_SHAPES.items():
        joints = joints_from_angles(angles, adult_hand("right"), Rigid.identity())
        posed = HandPose("right", joints, Rigid.identity(), angles.astype(np.float32), 1.0)
        found[name] = bool(PinchSensor().sense([posed]))
    assert found.pop("pinch")
    assert not found["open"]
    assert not found["flat"]
    assert not found["point"]


def test_distance_to_a_panel() -> None:
    panel = panel_of(board_with_panel())
    assert panel.size_m == pytest.approx((0.4, 0.2))
    assert distance_to(panel, np.array([0.1, -0.05, 0.0])) == 0.0
    assert distance_to(panel, np.array([0.23, 0.0, 0.04])) == pytest.approx(0.05)


def test_a_held_panel_moves_and_turns_with_the_hand() -> None:
    board = board_with_panel()
    hands = PanelHands(board)
    assert hands.update([hand("right", (0.1, 0.0, 0.02), 0.5)], 0) == []
    (grabbed,) = hands.update([hand("right", (0.1, 0.0, 0.02))], STEP_NS)
    assert (grabbed.kind, grabbed.panel_id, grabbed.side) == ("grabbed", "picture", "right")
    assert np.allclose(panel_of(board).anchor_from_panel.xyz, 0.0, atol=1e-6)
    hands.update([hand("right", (0.3, 0.1, 0.02))], 2 * STEP_NS)
    assert np.allclose(panel_of(board).anchor_from_panel.xyz, (0.2, 0.1, 0.0), atol=1e-6)
    hands.update([hand("right", (0.3, 0.1, 0.02), turn=np.pi / 2)], 3 * STEP_NS)
    # A quarter turn about the fingers: the middle, 0.1 to their left, is now below them.
    assert np.allclose(panel_of(board).anchor_from_panel.xyz, (0.3, 0.0, 0.0), atol=1e-6)
    for k in range(4, 12):
        hands.update([hand("right", (0.3, 0.1, 0.02), turn=np.pi / 2)], k * STEP_NS)
    (released,) = hands.update([hand("right", (0.3, 0.1, 0.02), 0.6)], 12 * STEP_NS)
    assert released.kind == "released"
    assert panel_of(board).generated_by == "a model"


def test_a_pinch_out_of_reach_holds_nothing_and_dragging_onto_it_neither() -> None:
    board = board_with_panel()
    hands = PanelHands(board)
    assert hands.update([hand("left", (0.0, 0.5, 0.0))], 0) == []
    assert hands.update([hand("left", (0.0, 0.0, 0.0))], STEP_NS) == []


def test_both_hands_scale_it_within_limits() -> None:
    board = board_with_panel()
    hands = PanelHands(board)

    def both(apart: float, t: int) -> None:
        pair = [hand("left", (-apart / 2, 0, 0)), hand("right", (apart / 2, 0, 0))]
        hands.update(pair, t * STEP_NS)

    both(0.2, 0)
    assert panel_of(board).size_m == pytest.approx((0.4, 0.2))
    both(0.4, 1)
    assert panel_of(board).size_m == pytest.approx((0.8, 0.4))
    both(0.1, 2)
    assert panel_of(board).size_m == pytest.approx((0.2, 0.1))
    both(50.0, 3)
    assert panel_of(board).size_m[1] == pytest.approx(LARGEST_M)
    both(0.3, 4)
    # One hand lets go; the other goes on where the panel is.
    place = np.array(panel_of(board).anchor_from_panel.xyz)
    left_only = [hand("left", (-0.15, 0, 0)), hand("right", (0.15, 0, 0), 0.6)]
    (event,) = hands.update(left_only, 5 * STEP_NS)
    assert (event.kind, event.side) == ("released", "right")
    assert np.allclose(panel_of(board).anchor_from_panel.xyz, place, atol=1e-6)
    hands.update([hand("left", (-0.15, 0.2, 0))], 6 * STEP_NS)
    assert np.allclose(panel_of(board).anchor_from_panel.xyz, place + (0, 0.2, 0), atol=1e-6)


def test_thrown_away_it_is_gone_and_put_down_it_stays() -> None:
    for speed, kind in ((2.5, "dismissed"), (0.4, "released")):
        board = board_with_panel()
        hands = PanelHands(board)
        x = 0.0
        for k in range(8):
            x = k * speed * STEP_NS * 1e-9
            hands.update([hand("right", (x, 0, 0))], k * STEP_NS)
        (event,) = hands.update([hand("right", (x, 0, 0), 0.8)], 8 * STEP_NS)
        assert event.kind == kind
        assert (board.get("picture") is None) == (kind == "dismissed")


def test_a_hand_that_is_lost_holds_on_for_a_moment_and_never_throws() -> None:
    board = board_with_panel()
    hands = PanelHands(board)
    for k in range(6):
        hands.update([hand("right", (0.1 * k, 0, 0))], k * STEP_NS)
    place = np.array(panel_of(board).anchor_from_panel.xyz)
    assert hands.update([], 6 * STEP_NS) == []
    hands.update([hand("right", (0.6, 0, 0))], 7 * STEP_NS)
    assert panel_of(board).anchor_from_panel.xyz[0] == pytest.approx(place[0] + 0.1)
    assert hands.update([], 8 * STEP_NS) == []
    (event,) = hands.update([], 8 * STEP_NS + LOST_NS)
    assert event.kind == "released"
    board.remove("picture")
    assert hands.update([hand("right", (0.6, 0, 0))], 10**10) == []


def test_a_held_panel_that_somebody_removes_is_let_go() -> None:
    board = board_with_panel()
    hands = PanelHands(board)
    hands.update([hand("right", (0, 0, 0))], 0)
    board.clear()
    assert hands.update([hand("right", (0.1, 0, 0))], STEP_NS) == []
    assert hands.update([hand("right", (0.1, 0, 0), 0.8)], 2 * STEP_NS) == []


def test_where_pictures_appear() -> None:
    view = View.front((640, 480))
    head = view.world_from_eye @ Rigid.from_translation((0.05, 0.02, 0.7))
    for place in (beside(view), on_desk(view, head), as_backdrop(view, head)):
        corners = [(x * place.tall, y * place.tall, 0.0) for x in (-0.5, 0.5) for y in (-0.5, 0.5)]
        seen = view.world_from_eye.inverse().apply(place.world_from_panel.apply(np.array(corners)))
        left, right, up, down = np.tan(view.fov)
        assert ((seen[:, 0] / seen[:, 2] > left) & (seen[:, 0] / seen[:, 2] < right)).all()
        # An eye's y is down: its tangents are the other way round.
        assert ((-seen[:, 1] / seen[:, 2] < up) & (-seen[:, 1] / seen[:, 2] > down)).all()
    eye = view.world_from_eye.inverse()
    desk, backdrop = on_desk(view, head), as_backdrop(view, head)
    assert (
        eye.apply(backdrop.world_from_panel.xyz)[2] > 0.7 > eye.apply(desk.world_from_panel.xyz)[2]
    )
    up, front = (desk.world_from_panel.rotate(np.array(v)) for v in ((0, 1.0, 0), (0, 0, 1.0)))
    assert eye.rotate(up)[2] > 0.5  # its upper edge leans away from the viewer
    assert eye.rotate(front)[1] < -0.5
    pinch = np.array([0.3, 0.0, -0.4])
    over = at_hand(pinch, Rigid.identity())
    assert over.world_from_panel.xyz[1] - over.tall / 2 == pytest.approx(0.03)
    turned = at_hand(pinch, Rigid.from_rotvec((0, 0, np.pi / 2)))
    assert turned.world_from_panel.xyz[0] < 0.3


def test_a_large_generated_panel_says_so_above_heads_too() -> None:
    picture = np.full((400, 400, 4), 255, np.uint8)
    for tall, above in ((0.3, False), (1.3, True)):
        panel = image_panel("x", picture, "world", Rigid.identity(), tall, "a model")
        shown = labelled_picture(panel)
        assert (shown[3, :, :3].max() < 100) == above
        assert shown[-3, :, :3].max() < 100


def test_premultiplying_rounds_every_pair_of_values_as_it_says() -> None:
    colour, alpha = np.meshgrid(np.arange(256), np.arange(256))
    rgba = np.stack([colour, colour, 255 - colour, alpha], axis=-1).astype(np.uint8)
    wanted = (rgba[..., :3].astype(np.int64) * alpha[..., None] + 127) // 255
    np.testing.assert_array_equal(premultiplied(rgba)[..., :3], wanted)
    np.testing.assert_array_equal(premultiplied(rgba)[..., 3], alpha)
    held = rgba.copy()
    premultiplied(rgba)
    np.testing.assert_array_equal(rgba, held)


@pytest.fixture(scope="module")
def search() -> StickerSearch:
    return StickerModel().search


def made(prompt: str, colour: int) -> PictureUpdate:
    rgba = np.full((16, 16, 4), 255, np.uint8)
    rgba[..., 0] = colour
    return PictureUpdate(1, 0, Wish(prompt), "tiny", "tiny model", 0, 1, 1, rgba)


def test_one_list_of_made_own_and_found(tmp_path: Path, search: StickerSearch) -> None:
    own = tmp_path / "mine"
    own.mkdir()
    Image.new("RGB", (30, 20), (1, 2, 3)).save(own / "my_sailing-boat.jpg")
    (own / "notes.txt").write_text("no picture")
    (own / "broken.png").write_bytes(b"no picture either")
    shelf = Shelf(search, tmp_path / "made", (own, tmp_path / "nowhere"))
    assert len(shelf) == 1
    path = shelf.keep(made("a purple cow on a mountain", 9))
    assert path.stat().st_mode & 0o077 == 0
    shelf.keep(made("a purple cow on a mountain", 9))
    shelf.keep(made("a sports car", 11))
    assert len(shelf) == 3
    cow = shelf.ranked("purple cow")
    assert (cow[0].kind, cow[0].text, cow[0].label) == (
        "made",
        "a purple cow on a mountain",
        "tiny model",
    )
    np.testing.assert_array_equal(cow[0].picture(), made("x", 9).rgba)
    boat = shelf.ranked("sailing boat on the sea")
    assert (boat[0].kind, boat[0].text, boat[0].label) == ("own", "my sailing boat", None)
    assert {item.kind for item in boat} >= {"own", "sticker"}
    pizza = shelf.ranked("pizza")[0]
    assert (pizza.kind, pizza.text) == ("sticker", "pizza")
    assert pizza.picture(64).shape == (64, 64, 4)
    assert [i.likeness for i in boat] == sorted((i.likeness for i in boat), reverse=True)

    # The next session finds what was made, and a copy among one's own pictures stays labelled.
    (own / "copy.png").write_bytes(path.read_bytes())
    again = Shelf(search, tmp_path / "made", (own,))
    assert {item.label for item in again.ranked("purple cow") if item.kind != "sticker"} >= {
        "tiny model"
    }
    assert all(k.label for k in again._kept if k.kind == "made" or k.path.name == "copy.png")
    with pytest.raises(ValueError, match="expected a folder"):
        Shelf(search).keep(made("a", 1))


def test_the_row_shows_the_nearest_and_keeps(tmp_path: Path, search: StickerSearch) -> None:
    board = PanelBoard()
    above = PanelPlace(Rigid.identity(), 0.2)
    with ShelfRow(board, Shelf(search, tmp_path)) as row:
        row.keep(made("a red dog", 7))
        row.ask("a red dog")
        assert row._looking is not None
        row._looking.result(30)
        row.refresh(above)
        panels = [board.get(f"shelf {k}") for k in range(COUNT)]
        first = row.first()
        assert first is not None
        assert first[0].kind == "made"
        assert panels[0] is not None
        assert panels[0].generated_by == "tiny model"
        xs = [p.anchor_from_panel.xyz[0] for p in panels if p is not None]
        assert len(xs) == COUNT
        assert xs == sorted(xs)
        row.ask("")
        row._looking.result(30)
        row.refresh(above)
        assert board.panels(0) == ()
