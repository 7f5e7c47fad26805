"""The avatar decoder of the headset's page against Python's, on the same packets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from avatar.avatar_file import read_avatar_file
from avatar.bitstream import (
    BitstreamDecoder,
    BitstreamEncoder,
    BitstreamError,
    BitstreamOptions,
    presence_tables,
)
from avatar.code_numbers import GROUPS
from avatar.codec import Avatar
from avatar.page_decoder import page_decoder
from avatar.personal_avatar import PersonalAvatar
from avatar.range_coder import RangeEncoder
from avatar.slow_range_coder import cumulative
from avatar.symbol_tables import even_table, level_table, near_tables, rare_table
from streams.avatar_code import AvatarCode
from streams.tracked_state import SIDES
from tests.page_decoding import (
    EYE,
    SCRIPT,
    VIEW,
    Json,
    array,
    gesturing,
    made_up_model,
    nodes_of,
    run_node,
    text,
)

PEOPLE = ("shipped", "personal", "with glasses")
MS = 1_000_000
FAR_M = 1e-5
"""Metres between a vertex in Python and on the page: single precision, summed in another order."""
NODES = 1e-4
"""Of the largest coefficient, likewise."""
NORMALS, WORST_NORMALS = 5e-4, 2e-2
"""Of 999 in 1000, and of all: a face may be 0.05 mm wide, and 1e-7 m turn its normal by 2e-3."""


@dataclass(frozen=True, slots=True)
class Everyone:
    """Avatars by name and where the page's decoder of each is."""

    avatars: dict[str, Avatar | PersonalAvatar]
    decoders: list[str]
    folder: Path

    def run(self, runs: list[Json], **job: Any) -> Any:
        return run_node(SCRIPT, self.folder, {"decoders": self.decoders, "runs": runs, **job})


@pytest.fixture(scope="module")
def everyone(tmp_path_factory: pytest.TempPathFactory) -> Everyone:
    folder = tmp_path_factory.mktemp("page")
    avatars = {
        "shipped": Avatar.open("mei"),
        "personal": PersonalAvatar(made_up_model(1, glasses=False), "avatars/made/up"),
        "with glasses": PersonalAvatar(made_up_model(2, glasses=True), "avatars/made/too"),
    }
    for name, avatar in avatars.items():
        (folder / name).write_bytes(page_decoder(avatar))
    return Everyone(avatars, [str(folder / name) for name in avatars], folder)


class Receiver:
    """Python's decoder, which notes what the page is asked and what it should say."""

    def __init__(self, avatar: Avatar | PersonalAvatar) -> None:
        self.avatar, self.decoder = avatar, BitstreamDecoder(avatar)
        self.steps: list[Json] = []
        self.wanted: list[Any] = []

    def _note(self, step: Json, shown: Callable[[], AvatarCode | None], *, mesh: bool) -> None:
        rows: list[Any] = []
        numbers = self.decoder._state.numbers
        code_of = numbers.code_of

        def spy(
            row: npt.NDArray[np.int64], shown: tuple[bool, ...], t_ns: int, origin: str
        ) -> AvatarCode:
            rows.append((row, shown))
            return code_of(row, shown, t_ns, origin)

        numbers.code_of = spy  # the row of a concealed moment is nowhere else
        try:
            code = shown()
            found = None if code is None else (code, *rows[0], self.decoder.healing)
        except BitstreamError as error:
            found = str(error)
        finally:
            numbers.code_of = code_of
        self.steps.append({**step, "mesh": mesh, "eye": EYE})
        self.wanted.append(found)

    def packet(self, packet: bytes, *, mesh: bool = False) -> None:
        self._note({"packet": text(packet)}, lambda: self.decoder.decode(packet), mesh=mesh)

    def concealed(self, t_ms: int, *, mesh: bool = False) -> None:
        self._note({"concealed": t_ms}, lambda: self.decoder.concealed(t_ms * MS), mesh=mesh)

    def at(self, t_ms: int) -> None:
        self._note({"at": t_ms}, lambda: self.decoder.at(t_ms * MS), mesh=False)


def require_same_rows(receiver: Receiver, results: list[Any]) -> int:
    """Bit for bit; how many moments were shown."""
    shown = 0
    for wanted, got in zip(receiver.wanted, results, strict=True):
        if wanted is None:
            assert got is None
        elif isinstance(wanted, str):
            assert got is not None
            assert "error" in got, wanted
        else:
            code, row, known, healing = wanted
            assert got["tMs"] == code.t_ns // MS
            assert tuple(got["known"]) == known
            assert got["origin"] == code.origin
            assert (array(got["row"]).astype(np.int64) == row).all()
            assert got["healing"] == pytest.approx(healing)
            shown += 1
    return shown


def packets_of(
    avatar: Avatar | PersonalAvatar, count: int, seed: int, kbit_s: float = 32.0
) -> list[tuple[AvatarCode, bytes | None]]:
    encoder = BitstreamEncoder(avatar, BitstreamOptions(kbit_s))
    return [(code, encoder.encode(code)) for code in gesturing(avatar, count, seed)]


def test_the_page_reads_the_symbols_of_a_range_coder(everyone: Everyone) -> None:
    rng = np.random.default_rng(7)
    tables = [
        *((("levels", k), level_table(k)) for k in range(24)),
        *((("offsets", k), table) for k, table in enumerate(near_tables(16))),
        *((("keeps", k), table) for k, table in enumerate(near_tables(4))),
        *((("presences", k), table) for k, table in enumerate(presence_tables())),
        *((("even", 2 << k), even_table(2 << k)) for k in range(8)),
        (("key", 0), rare_table(64)),
    ]
    messages, wanted = [], []
    for length in rng.integers(0, 400, 300):
        coder, reads, symbols = RangeEncoder(), [], []
        likely = rng.random() < 0.3  # only such run into carries
        for _ in range(length):
            if rng.random() < 0.03:
                number = int(2 ** rng.uniform(0, 25.9)) - 1
                coder.encode_numbers([number])
                reads.append(["number"])
            elif rng.random() < 0.03:
                number = int(rng.integers(0, 2**32))
                coder.encode_bits(number, 32)
                reads.append(["bits", 32])
            else:
                name, table = tables[rng.integers(len(tables))]
                chances = [float(p) for p in table.probabilities]
                number = int(np.argmax(chances) if likely else rng.integers(len(chances)))
                coder.encode_one(number, table)
                reads.append([*name])
            symbols.append(number)
        messages.append({"bytes": text(coder.finish()), "reads": reads})
        wanted.append(symbols)
    job = {"decoder": everyone.decoders[0], "messages": messages}
    assert run_node(SCRIPT.with_name("symbols.mjs"), everyone.folder, job) == wanted


def test_the_page_reads_states_on_both_sides_of_a_bound(everyone: Everyone) -> None:
    """Where a quotient in double precision is rounded to the other side."""
    step = (2**64 - 1) >> 24
    messages, wanted = [], []
    for kind in range(24):
        bounds = cumulative(level_table(kind).probabilities)
        for symbol, bound in enumerate(bounds[1:-1]):
            for offset, found in ((step * bound - 1, symbol), (step * bound, symbol + 1)):
                messages.append(
                    {"bytes": text(offset.to_bytes(8, "big")), "reads": [["levels", kind]]}
                )
                wanted.append([found])
    job = {"decoder": everyone.decoders[0], "messages": messages}
    assert run_node(SCRIPT.with_name("symbols.mjs"), everyone.folder, job) == wanted


def test_numbers_are_equal_to_the_bit_whatever_is_lost(everyone: Everyone) -> None:
    receivers, runs = [], []
    for which, avatar in enumerate(everyone.avatars.values()):
        for seed, loss in ((1, 0.0), (2, 0.05), (3, 0.3)):
            rng, receiver = np.random.default_rng(seed), Receiver(avatar)
            late: list[bytes] = []
            for code, packet in packets_of(avatar, 90, seed, (32.0, 12.0, 6.0)[seed - 1]):
                t_ms = code.t_ns // MS
                if packet is None or rng.random() < loss:
                    receiver.concealed(t_ms)
                    late += [packet] if packet else []
                else:
                    receiver.packet(packet)
                if rng.random() < loss and late:
                    receiver.packet(late.pop(0))
                receiver.at(t_ms - int(rng.integers(0, 40)))
                receiver.concealed(t_ms + int(rng.integers(0, 1500)))
            receivers.append(receiver)
            runs.append({"decoder": which, "steps": receiver.steps})
    answer = everyone.run(runs)
    assert answer["refused"] == [None] * len(PEOPLE)
    for receiver, results in zip(receivers, answer["results"], strict=True):
        assert require_same_rows(receiver, results) > 200


def require_same_mesh(avatar: Avatar | PersonalAvatar, code: AvatarCode, got: Json) -> None:
    decoded = avatar.decode(code, VIEW)
    vertices = array(got["mesh"]["vertices"]).reshape(-1, 3)
    normals = array(got["mesh"]["normals"]).reshape(-1, 3)
    hand = 2451
    head, seen = len(vertices) - 2 * hand, []
    if code.world_from_head is not None:
        seen += range(head)
    for k, side in enumerate(SIDES):
        if any(h.side == side for h in code.hands):
            seen += range(head + k * hand, head + (k + 1) * hand)
    hidden = np.delete(vertices, seen, axis=0)
    assert len(seen) == len(decoded.vertices)
    assert (hidden == hidden[:1]).all()  # triangles of no area
    if seen:
        assert np.abs(vertices[seen] - decoded.vertices).max() < FAR_M
        off = np.abs(normals[seen] - decoded.normals).max(1)
        assert np.quantile(off, 0.999) < NORMALS
        assert off.max() < WORST_NORMALS
        assert (hidden == vertices[seen[0]]).all()
    nodes = nodes_of(avatar, code)
    difference = np.abs(array(got["mesh"]["nodes"]) - nodes.ravel()).max()
    assert difference < NODES * max(1.0, float(np.abs(nodes).max()))
    gain = np.ones(3)
    if isinstance(avatar, PersonalAvatar):
        gain = avatar.model.gain(code.appearance)
    np.testing.assert_allclose(array(got["mesh"]["gain"]), gain, rtol=1e-5)
    np.testing.assert_allclose(array(got["code"]["appearance"]), code.appearance, atol=1e-4)
    np.testing.assert_allclose(array(got["code"]["geometry"]), code.geometry, rtol=1e-6)


@pytest.mark.parametrize("name", PEOPLE)
def test_the_page_draws_what_python_draws(everyone: Everyone, name: str) -> None:
    avatar = everyone.avatars[name]
    receiver = Receiver(avatar)
    for k, (code, packet) in enumerate(packets_of(avatar, 60, 5)):
        if packet is None or k in (20, 21, 50):
            receiver.concealed(code.t_ns // MS, mesh=True)
        else:
            receiver.packet(packet, mesh=k % 3 == 0 or 38 < k < 46)
    run = {"decoder": PEOPLE.index(name), "steps": receiver.steps}
    (results,) = everyone.run([run])["results"]
    require_same_rows(receiver, results)
    drawn = [
        (wanted, got)
        for wanted, got in zip(receiver.wanted, results, strict=True)
        if got is not None and "mesh" in got
    ]
    assert len(drawn) > 20
    assert any(wanted[0].world_from_head is None for wanted, _ in drawn)
    for wanted, got in drawn:
        require_same_mesh(avatar, wanted[0], got)


def test_a_real_face_and_its_own_avatar(
    small_avatar: Path, demo_clip: Path, tmp_path: Path
) -> None:
    """Packets of the clip that ships, through the tracker, of an avatar enrolled from it."""
    from capture.frame_source import open_source
    from tracking.tracker import Tracker, TrackerOptions

    file = read_avatar_file(small_avatar)
    avatar = PersonalAvatar(file.model, file.id)
    encoder, receiver = BitstreamEncoder(avatar, BitstreamOptions(20.0)), Receiver(avatar)
    with (
        Tracker.open(TrackerOptions(hands=0)) as tracker,
        open_source(f"video:{demo_clip}") as clip,
    ):
        for k, frame in zip(range(25), clip, strict=False):
            packet = encoder.encode(avatar.encode(tracker.track(frame), frame))
            if packet is None or k == 12:
                receiver.concealed(frame.t_ns // MS, mesh=True)
            else:
                receiver.packet(packet, mesh=True)
    path = tmp_path / "decoder"
    path.write_bytes(page_decoder(avatar))
    job = {"decoders": [str(path)], "runs": [{"steps": receiver.steps}]}
    (results,) = run_node(SCRIPT, tmp_path, job)["results"]
    assert require_same_rows(receiver, results) > 20
    for wanted, got in zip(receiver.wanted, results, strict=True):
        if wanted is not None:
            require_same_mesh(avatar, wanted[0], got)


def test_hostile_packets_are_refused_or_drawn(everyone: Everyone) -> None:
    """2,000 packets that were changed, cut, lengthened or made up, among good ones."""
    name = "personal"
    avatar, rng = everyone.avatars[name], np.random.default_rng(11)
    receiver = Receiver(avatar)
    good = [packet for _, packet in packets_of(avatar, 60, 8) if packet is not None]
    for k in range(2000):
        packet = bytearray(good[k % len(good)])
        kind = k % 5
        if kind == 0:
            packet = bytearray(rng.integers(0, 256, int(rng.integers(0, 300))).astype(np.uint8))
        elif kind == 1:
            del packet[int(rng.integers(0, len(packet))) :]
        elif kind == 2:
            packet += bytes(rng.integers(0, 256, 400).astype(np.uint8))
        for _ in range(int(rng.integers(0, 4)) if kind else 0):
            if packet:
                packet[int(rng.integers(0, len(packet)))] = int(rng.integers(0, 256))
        if len(packet) > 3 and kind in (0, 3):
            packet[0] = k % 240  # as if it were the next one
        receiver.packet(bytes(packet), mesh=k % 100 == 0)
    for packet in good:
        receiver.packet(packet)
    run = {"decoder": PEOPLE.index(name), "steps": receiver.steps}
    (results,) = everyone.run([run])["results"]
    assert require_same_rows(receiver, results) > 300
    refused = [got for got in results if got is not None and "error" in got]
    assert len(refused) > 20
    for got in results:
        if got is not None and "mesh" in got:
            assert all(np.isfinite(array(value)).all() for value in got["mesh"].values())


def test_another_avatars_packets_are_refused(everyone: Everyone) -> None:
    _, packet = packets_of(everyone.avatars["shipped"], 1, 1)[0]
    assert packet is not None
    (results,) = everyone.run([{"decoder": 1, "steps": [{"packet": text(packet)}]}])["results"]
    assert "another avatar" in results[0]["error"]


def test_the_topology_is_that_of_head_and_hands(everyone: Everyone) -> None:
    for avatar, told in zip(
        everyone.avatars.values(), everyone.run([], topologies=True)["topologies"], strict=True
    ):
        code = gesturing(avatar, 1, 1)[0]
        mesh = avatar.decode(code)
        topology, basis = mesh.topology, told["basis"]
        assert told["id"] == avatar.id
        assert told["lit"] == topology.lit
        assert (array(told["faces"]).reshape(-1, 3) == topology.faces).all()
        assert (array(told["uv"]).reshape(-1, 2) == topology.uv).all()
        assert (array(told["parts"]) == topology.parts).all()
        assert (array(told["surface"]["rgba"]).reshape(topology.surface.shape)
                == topology.surface).all()  # fmt: skip
        mean = avatar.model.mean if isinstance(avatar, PersonalAvatar) else avatar.head.albedo
        assert (array(basis["mean"]["rgb"]).reshape(mean.shape) == mean).all()
        planes = basis["planes"]
        assert len(array(planes["values"])) == (
            planes["count"] * planes["height"] * planes["width"] * 3
        )


def test_the_names_of_groups_are_the_pages() -> None:
    page = Path(__file__).parents[1] / "headset/webxr/page/codec/packet_format.js"
    assert str(list(GROUPS)).replace("'", '"') in page.read_text()
