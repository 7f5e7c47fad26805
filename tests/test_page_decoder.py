"""The file by which a page decodes an avatar: what is in it, what is not, and damage."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from avatar.codec import Avatar
from avatar.field_basis import atlas_nodes, field_basis
from avatar.local_texture import LocalTexture
from avatar.page_decoder import filtered, page_decoder
from avatar.personal_avatar import PersonalAvatar
from tests.page_decoding import SCRIPT, Json, made_up_model, run_node

MOST_MB = 8.0


@pytest.fixture(scope="module")
def personal() -> bytes:
    return page_decoder(PersonalAvatar(made_up_model(1, glasses=False), "avatars/made/up"))


def header_of(raw: bytes) -> Json:
    return json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])


def test_equal_avatars_give_equal_bytes(personal: bytes) -> None:
    again = page_decoder(PersonalAvatar(made_up_model(1, glasses=False), "avatars/made/up"))
    other = page_decoder(PersonalAvatar(made_up_model(3, glasses=False), "avatars/made/up"))
    assert again == personal
    assert other != personal


def test_nothing_but_what_decodes_is_handed_out(personal: bytes) -> None:
    """Landmarks, the encoder's projection, who drives it: what recognises or copies a person."""
    names = load(gzip.decompress(personal)).keys()
    private = (
        "landmark_rest", "landmark_moves", "projection", "projection_rest", "any_map", "view_codes",
        "strangeness", "coarse", "distortion", "glasses.average",
    )  # fmt: skip
    assert not [word for word in private if any(name.endswith(word) for name in names)]
    about = json.loads(header_of(gzip.decompress(personal))["__metadata__"]["about"])
    assert not [key for key in about if key in ("consent", "report", "made_unix_s", "name")]


def test_a_shipped_avatar_is_some_megabytes() -> None:
    assert len(page_decoder(Avatar.open("default"))) < MOST_MB * 1e6


def test_the_filter_is_undone_by_the_page_in_order() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (7, 5, 3)).astype(np.uint8)
    left = filtered(picture)
    again = np.zeros_like(picture)
    for y in range(7):
        for x in range(5):
            before = again[y, x - 1].astype(int) if x else np.zeros(3, int)
            above = again[y - 1, x].astype(int) if y else np.zeros(3, int)
            again[y, x] = (left[y, x] + ((before + above) >> 1)) & 255
    assert (again == picture).all()


@pytest.mark.parametrize("name", ["default", "walter"])
def test_a_shipped_avatars_colour_is_a_texture_basis(name: str) -> None:
    """But for planes whose channels share a scale: half a step of 127, as the codec's file has."""
    avatar = Avatar.open(name)
    decoder, basis = avatar.decoder, field_basis(avatar.decoder, avatar.head.albedo)
    texture, rng = LocalTexture(basis), np.random.default_rng(2)
    x, y, w, h = decoder.atlas_rectangle(len(avatar.head.albedo))
    for _ in range(3):
        appearance = rng.normal(size=32).astype(np.float32)
        view = np.array([0.3, 0.1, 0.95], np.float32)
        wanted = avatar._skin.coloured(decoder.field(appearance, view)).astype(int)
        nodes = atlas_nodes(decoder.nodes(appearance, view))
        got = texture.picture(nodes, np.ones(3, np.float32)).astype(int)
        difference = np.abs(got - wanted)
        inside = difference[y : y + h, x : x + w]
        assert inside.mean() < 0.6
        assert (inside <= 2).mean() > 0.97
        assert (difference.sum() - inside.sum()) < 1e-3 * difference.size
        assert np.abs(wanted - avatar.head.albedo)[y : y + h, x : x + w].mean() > 2.0


def test_damaged_files_are_refused(personal: bytes, tmp_path: Path) -> None:
    raw = gzip.decompress(personal)
    tensors, header = load(raw), header_of(raw)
    metadata = header["__metadata__"]

    def changed(**arrays: np.ndarray | None) -> bytes:
        kept = {**tensors, **{name.replace("__", "."): value for name, value in arrays.items()}}
        return save({name: value for name, value in kept.items() if value is not None}, metadata)

    about = json.loads(metadata["about"])
    far = tensors["topology.faces"].copy()
    far[7, 1] = len(tensors["topology.uv"])
    below = tensors["head.moving"].copy()
    below[0] = -1
    infinite = tensors["own.node_rest"].copy()
    infinite[3] = np.inf
    damaged = {
        "empty": b"",
        "half": personal[: len(personal) // 2],
        "half of the arrays": raw[: len(raw) // 2],
        "another kind": b"PK" + personal,
        "a bomb": gzip.compress(bytes(200 << 20), 1),
        "faces beyond": changed(topology__faces=far),
        "vertices below": changed(head__moving=below),
        "infinite": changed(own__node_rest=infinite),
        "no moves": changed(own__moves=None),
        "a table that falls": changed(tables__key=tensors["tables.key"][:, ::-1].copy()),
        "a step of nothing": changed(numbers__step=0 * tensors["numbers.step"]),
        "another version": save(
            tensors, {**metadata, "about": json.dumps({**about, "version": 99})}
        ),
        "nothing about it": save(tensors, {"about": "null"}),
        "no options of hands": save(
            tensors, {"about": json.dumps({**about, "hand": {**about["hand"], "follow": None}})}
        ),
        "too many faces": changed(topology__faces=far.repeat(20, 0) * 0),
        "too many planes": changed(
            texture__planes=np.zeros((68, 512, 512, 3), np.int8),
            texture__scale=np.ones(68, np.float32),
        ),
        "no groups": save(tensors, {**metadata, "about": json.dumps({**about, "groups": None})}),
        "huge groups": save(
            tensors, {**metadata, "about": json.dumps({**about, "groups": [[0, 10**12]] * 4})}
        ),
    }  # fmt: skip
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
    paths = [str(tmp_path / name) for name in damaged]
    (tmp_path / "good").write_bytes(raw)
    job = {"decoders": [*paths, str(tmp_path / "good")], "runs": []}
    refused = run_node(SCRIPT, tmp_path, job)["refused"]
    assert refused.pop() is None
    for name, said in zip(damaged, refused, strict=True):
        assert said is not None, name
        assert said.startswith("DecoderFileError: decoder file: "), (name, said)
