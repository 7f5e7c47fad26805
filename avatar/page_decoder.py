"""An avatar's decoder for the page of a headset: one file of arrays that JavaScript reads.

It holds what turns a packet of the bitstream into vertices, normals and coefficients of a texture
basis (docs/code_payload.md), and nothing else: no encoder, no landmarks, no consent, no report. The
file is safetensors in gzip; equal avatars give equal bytes.
"""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from avatar.bitstream import KEY_EVERY, presence_tables
from avatar.code_numbers import FORMAT, GROUPS, CodeNumbers, usual_sizes
from avatar.codec import Avatar
from avatar.field_basis import field_basis
from avatar.hand_rig import SLEEVE_M, SPAN_ENDS, SPAN_STARTS, HandRig
from avatar.head_mesh import HeadMesh
from avatar.head_placement import HeadPlacement
from avatar.mesh_assembly import MeshAssembly
from avatar.mesh_layout import MeshLayout, MeshPiece
from avatar.network import Network
from avatar.packet_format import KEEPS, OFFSETS
from avatar.personal_avatar import PersonalAvatar
from avatar.personal_head import personal_head
from avatar.range_coder import BYTE, MOST_BITS
from avatar.slow_range_coder import cumulative
from avatar.symbol_tables import (
    CLASSES,
    Table,
    even_table,
    level_table,
    near_table,
    near_tables,
    rare_table,
)
from streams.hand_skeleton import METACARPAL_BASE, THUMB_ROLL
from streams.texture_basis import TextureBasis
from streams.tracked_state import SIDES

Tensors = dict[str, npt.NDArray[Any]]
UInt8 = npt.NDArray[np.uint8]

VERSION = 1
PERSONAL = (
    "moves", "moves.size", "gaze_map", "active", "node_rest", "node_moves", "node_moves.size",
    "node_view", "view_rest", "gain_sigma", "own_rest", "own_map", "own_map.size", "own_points",
    "own_points.size", "own_metric", "own_point_map", "own_point_map.size", "own_centre",
    "own_scale",
)  # fmt: skip
"""Arrays of a PersonalModel that decode. `own_*` are what the sender and the receiver expect of the
appearance alike."""


def page_decoder(avatar: Avatar | PersonalAvatar) -> bytes:
    """The file of an opened avatar."""
    numbers = CodeNumbers(avatar)
    if isinstance(avatar, PersonalAvatar):
        kind, head, lit = "personal", personal_head(HeadMesh.open("default"), avatar.model), False
        basis, own = avatar.basis, _personal(avatar)
    else:
        kind, head, lit = "shipped", avatar.head, True
        basis, own = field_basis(avatar.decoder, head.albedo), _shipped(avatar)
    hands = HandRig.open()
    tensors = {
        **_numbers(numbers),
        **_tables(),
        **_head(head),
        **_topology(avatar.id, head, hands, lit=lit),
        **_texture(basis),
        **_hands(hands),
        **own,
    }
    options = hands.options
    about = {
        "format": "visavis-page-decoder",
        "version": VERSION,
        "packet_format": FORMAT,
        "id": avatar.id,
        "kind": kind,
        "check": numbers.check,
        "groups": [list(numbers.groups[name].bands) for name in GROUPS],
        "geometry": numbers.geometry,
        "appearance": numbers.appearance,
        "lit": lit,
        "space": basis.space,
        "grid": list(basis.grid),
        "hand": {
            "sleeve_m": options.sleeve_m,
            "least_sleeve_m": SLEEVE_M,
            "wrist_flexion": options.wrist_flexion,
            "wrist_deviation": options.wrist_deviation,
            "follow": options.follow,
            "stretch": options.stretch,
            "metacarpal_base": METACARPAL_BASE.tolist(),
            "thumb_roll": THUMB_ROLL,
        },
    }
    whole = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    # One entry: safetensors writes several in any order, and equal avatars are equal bytes here.
    raw = save(whole, {"about": json.dumps(about, sort_keys=True)})
    return gzip.compress(raw, compresslevel=6, mtime=0)


def _numbers(numbers: CodeNumbers) -> Tensors:
    """The layout of the code: what both ends of the bitstream have in common."""
    fields = ("step", "coarsest", "spread", "shift")
    rows = {
        f"numbers.{field}": np.concatenate(
            [getattr(numbers.groups[name], field) for name in GROUPS]
        ).astype(np.int32)
        for field in fields
    }
    return {
        **rows,
        "numbers.face_scale": numbers.face_scale,
        "numbers.hand_scale": numbers.hand_scale,
        "numbers.hand_sizes": usual_sizes(*SIDES),
    }


def _tables() -> Tensors:
    """The range coder's, cumulated: (tables, symbols + 1) each."""

    def rows(*tables: Table) -> npt.NDArray[np.int32]:
        return np.array([cumulative(table.probabilities) for table in tables], np.int32)

    return {
        "tables.levels": rows(*(level_table(kind) for kind in range(CLASSES))),
        "tables.offsets": rows(*near_tables(OFFSETS)),
        "tables.keeps": rows(*near_tables(len(KEEPS))),
        "tables.presences": rows(*presence_tables()),
        "tables.key": rows(rare_table(KEY_EVERY)),
        "tables.number_bits": rows(near_table(MOST_BITS + 1, 0)),
        **{f"tables.even_{2 << k}": rows(even_table(2 << k)) for k in range(BYTE)},
    }


def _head(head: HeadMesh) -> Tensors:
    tables = HeadPlacement(head).tables()
    balls = [[ball.start, ball.stop] for ball in tables.balls]
    return {
        "head.rest": tables.rest.astype(np.float32),
        "head.rest_normals": tables.rest_normals.astype(np.float32),
        "head.moving": tables.moving,
        "head.balls": np.array(balls, np.int32),
        "head.eyes": tables.eyes.astype(np.float32),
        "head.bending": tables.bending,
        "head.corners": tables.normals.corners,
        "head.faces_of_point": tables.normals.faces_of_point,
        "head.point_of_vertex": tables.normals.point_of_vertex,
        "head.neck": tables.neck,
        "head.torso_share": tables.torso_share,
        "head.neck_pivot": tables.neck_pivot.astype(np.float32),
    }


def _topology(name: str, head: HeadMesh, hands: HandRig, *, lit: bool) -> Tensors:
    piece = MeshPiece("head", head.faces, head.uv, head.parts)
    topology = MeshAssembly(MeshLayout(name, head.surface, lit), piece, hands).whole()
    return {
        "topology.faces": topology.faces,
        "topology.uv": topology.uv,
        "topology.parts": topology.parts,
        "topology.surface": filtered(topology.surface),
    }


def _texture(basis: TextureBasis) -> Tensors:
    return {
        "texture.mean": filtered(basis.mean),
        "texture.planes": basis.planes,
        "texture.scale": basis.scale,
    }


def filtered(picture: UInt8) -> UInt8:
    """(H, W, C): each texel as its difference, modulo 256, from the mean of those to its left and
    above it, which compresses to half (PNG's "average" filter, ISO/IEC 15948, 9.2)."""
    wide = picture.astype(np.int16)
    left, above = np.zeros_like(wide), np.zeros_like(wide)
    left[:, 1:], above[1:] = wide[:, :-1], wide[:-1]
    return (wide - ((left + above) >> 1)).astype(np.uint8)


def _hands(hands: HandRig) -> Tensors:
    sides = [hands.rest(side) for side in SIDES]
    vertex, bone = np.nonzero(hands.weights)
    names = (
        "rotations", "origins", "joints", "spans", "metacarpal_lengths", "bone_lengths", "elbow",
    )  # fmt: skip
    return {
        "hand.vertices": sides[0].vertices.astype(np.float32),
        "hand.normals": sides[0].normals.astype(np.float32),
        "hand.bones": bone.astype(np.uint8),
        "hand.shares": hands.weights[vertex, bone],
        "hand.starts": np.searchsorted(vertex, np.arange(len(hands.weights) + 1)).astype(np.int32),
        "hand.span_starts": SPAN_STARTS.astype(np.int32),
        "hand.span_ends": SPAN_ENDS.astype(np.int32),
        **{f"hand.{name}": np.stack([getattr(side, name) for side in sides]) for name in names},
    }


def _personal(avatar: PersonalAvatar) -> Tensors:
    tensors = avatar.model.tensors()
    own = {f"own.{name}": tensors[name] for name in PERSONAL}
    if avatar.model.glasses is not None:
        own["own.glasses_moves"] = avatar.model.glasses.vertex_moves()
    return own


def _shipped(avatar: Avatar) -> Tensors:
    decoder = avatar.decoder
    # As in the codec's file, but for a scale a row; half floats hold rows brought to 1.
    size = np.maximum(np.abs(decoder.shape_basis).max(1), 1e-20).astype(np.float32)
    return {
        "own.person": decoder.person,
        "own.shape_basis": (decoder.shape_basis / size[:, None]).astype(np.float16),
        "own.shape_basis.size": size,
        **_network("own.shape", decoder.shape_network),
        **_network("own.colour", decoder.colour_network),
    }


def _network(name: str, network: Network) -> Tensors:
    layers = zip(network.weights, network.biases, strict=True)
    out = {f"{name}.direct": network.direct}
    for k, (weight, bias) in enumerate(layers):
        out[f"{name}.{k}.weight"], out[f"{name}.{k}.bias"] = weight, bias
    return out
