"""Tracked states as CSV and Parquet, read back by others."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from avatar.codec import Avatar
from capture.scenes import open_scene
from sessions.state_table import HAND_JOINTS, Column, Moment, StateTable, moments_of
from sessions.table_file import write_table
from streams.avatar_code import AvatarCode
from streams.face_shapes import FACE_SHAPES
from streams.hand_skeleton import FINGER_JOINTS
from streams.tracked_state import TrackedState


@pytest.fixture(scope="module")
def states() -> list[TrackedState]:
    """Hands that come and go, and a person who leaves."""
    times = [round(k * 1e9 / 15) for k in range(60)]
    return [open_scene("demo").state_at(t) for t in times[:30]] + [
        open_scene("away").state_at(t) for t in times[30:45]
    ]


@pytest.fixture(scope="module")
def codes(states: list[TrackedState]) -> list[AvatarCode]:
    with Avatar.open("amara") as avatar:
        return [avatar.encode(state) for state in states[::2]]


@pytest.fixture(scope="module")
def moments(states: list[TrackedState], codes: list[AvatarCode]) -> list[Moment]:
    records = [*states, *codes]
    return list(moments_of(sorted(records, key=lambda r: (r.t_ns, isinstance(r, AvatarCode)))))


def test_states_and_codes_of_one_time_share_a_row(
    moments: list[Moment], states: list[TrackedState], codes: list[AvatarCode]
) -> None:
    assert [state for state, _ in moments] == states
    assert [code for _, code in moments if code is not None] == codes
    assert [code is not None for _, code in moments] == [k % 2 == 0 for k in range(len(states))]
    alone = list(moments_of([states[0], states[0], codes[0], codes[1]]))
    assert alone == [(states[0], codes[0]), (states[0], None), (None, codes[1])]


def test_csv_holds_every_number_to_the_last_digit(
    tmp_path: Path, moments: list[Moment], codes: list[AvatarCode]
) -> None:
    table = StateTable.of(codes[0])
    assert write_table(table.columns, table.rows(moments), tmp_path / "a.csv") == len(moments)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [column.name for column in table.columns]
    hands = 0
    for row, (state, code) in zip(rows, moments, strict=True):
        assert state is not None
        assert int(row["t_ns"]) == state.t_ns
        if state.face is None:
            assert row["head_x_m"] == row["jawOpen"] == row["left_gaze_z"] == ""
        else:
            shapes = np.array([row[name] for name in FACE_SHAPES], np.float32)
            np.testing.assert_array_equal(shapes, state.face.blendshapes)
            head = [float(row[f"head_{name}"]) for name in ("x_m", "y_m", "z_m", "qw", "qz")]
            pose = state.face.world_from_head
            assert head == [*pose.xyz.tolist(), pose.wxyz[0], pose.wxyz[3]]
            assert np.float32(row["right_gaze_x"]) == state.face.gaze[1, 0]
        for side in ("left", "right"):
            hand = state.hand(side)
            tip = row[f"{side}_ring_tip_y_m"]
            assert (tip == "") == (hand is None)
            if hand is not None:
                hands += 1
                assert np.float32(tip) == hand.joints[16, 1]
                assert float(row[f"{side}_wrist_x_m"]) == hand.world_from_wrist.xyz[0]
                assert np.float32(row[f"{side}_thumb_ip_flexion_rad"]) == hand.angles[0, 3]
                assert np.float32(row[f"{side}_index_spread_rad"]) == hand.angles[1, 0]
        if code is not None:
            assert row["avatar"] == "avatars/amara"
            assert np.float32(row["geometry_047"]) == code.geometry[47]
            assert np.float32(row["appearance_000"]) == code.appearance[0]
        else:
            assert row["geometry_000"] == ""
    assert hands > 5


def test_parquet_is_the_same_with_units(
    tmp_path: Path, moments: list[Moment], codes: list[AvatarCode]
) -> None:
    pq = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow (extra tables)")
    table = StateTable.of(codes[0], landmarks=True)
    path = tmp_path / "a.parquet"
    assert write_table(table.columns, table.rows(moments), path) == len(moments)
    read = pq.read_table(path)
    assert read.column_names == [column.name for column in table.columns]
    assert read.schema.field("head_x_m").metadata[b"unit"] == b"m"
    wanted = list(table.rows(moments))
    for k, column in enumerate(table.columns):
        values = read.column(column.name).to_pylist()
        assert values == [row[k] for row in wanted], column
    assert read.column("jawOpen").null_count == sum(
        1 for state, _ in moments if state is None or state.face is None
    )


def test_codes_alone_still_say_where_head_and_hands_are(codes: list[AvatarCode]) -> None:
    table = StateTable.of(codes[0])
    names = [column.name for column in table.columns]
    for row, code in zip(table.rows((None, code) for code in codes), codes, strict=True):
        named = dict(zip(names, row, strict=True))
        assert named["source"] is named["jawOpen"] is None
        x = None if code.world_from_head is None else code.world_from_head.xyz[0]
        assert named["head_x_m"] == x


def test_columns_are_named_once_and_in_the_joints_order() -> None:
    names = [column.name for column in StateTable(48, 32, landmarks=True).columns]
    assert len(set(names)) == len(names)
    assert len(HAND_JOINTS) == 21
    assert HAND_JOINTS[FINGER_JOINTS[4, 3]] == "little_tip"
    assert HAND_JOINTS[FINGER_JOINTS[0, 0]] == "thumb_cmc"


def test_what_is_no_table_is_refused(tmp_path: Path, codes: list[AvatarCode]) -> None:
    table = StateTable(3, 3)
    with pytest.raises(ValueError, match="one avatar"):
        write_table(table.columns, table.rows([(None, codes[0])]), tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()
    with pytest.raises(ValueError, match=r"\.csv or \.parquet"):
        write_table(table.columns, [], tmp_path / "a.xlsx")
    with pytest.raises(ValueError, match="neither"):
        list(table.rows([(None, None)]))


def test_numbers_that_are_no_numbers_survive(tmp_path: Path) -> None:
    columns = (Column("a", "float32", "m", ""), Column("b", "text", "", ""))
    write_table(columns, [[math.inf, 'x,"y"\n'], [None, None]], tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["a", "b"], ["inf", 'x,"y"\n'], ["", ""]]
