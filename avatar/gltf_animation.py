"""A take of a person as a glTF animation: morph weights, head, eyes, bending neck, skinned hands.

The scene is the world: y up, metres, a webcam at its origin looks along -z. What is not seen is
scaled to nothing at that moment, which is how glTF hides (section 3.7.3.1: a node whose scale is
zero need not be drawn); everything else runs straight from one key to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from avatar.blend_shape_head import BlendShapeHead
from avatar.gltf_document import GltfDocument
from avatar.hand_rig import HandRig, RestHand
from avatar.person_take import HandTracks, PersonTake
from streams.hand_skeleton import OPENXR_JOINTS
from streams.rigid import wxyz_from_rotvec
from streams.topology import PARTS

Float32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

NECK_SHARES = (0.0, 0.5, 1.0)
"""Of the torso's turn that the neck's joints make. Between two neighbours a vertex is mixed
linearly, which for a turn of 26 degrees is 0.5 mm off the arc; without the middle one 1.8 mm."""
NECK_JOINTS = ("neck", "torso")
"""Those after the head itself."""
BONES = (*OPENXR_JOINTS, "forearm", "sleeve")
MOST_BONES = 4
"""Bones a vertex, which is what every engine takes; 4 % of the hand's have more in the rig."""


@dataclass(frozen=True, slots=True)
class PersonNodes:
    """Where a calm head is in a document."""

    root: int
    """The head's node."""
    face: int | None
    """The mesh with morph targets; None when nothing of it moves."""
    eyes: tuple[int, int]
    bodies: tuple[int, ...]
    """Nodes of the meshes that bend with the neck."""
    materials: dict[int, int]
    """Part to material."""


def neck_attributes(out: GltfDocument, torso_share: Float32) -> dict[str, int]:
    """The attributes that say which of the neck's joints a vertex follows; shares (N,) 0..1."""
    steps = len(NECK_SHARES) - 1
    along = np.clip(torso_share, 0.0, 1.0) * steps
    lower = np.minimum(along.astype(int), steps - 1)
    joints, weights = np.zeros((len(along), 4), np.uint8), np.zeros((len(along), 4), np.float32)
    weights[:, 1] = along - lower
    weights[:, 0] = 1.0 - weights[:, 1]
    joints[:, 0], joints[:, 1] = lower, lower + 1
    joints[weights == 0.0] = 0  # the validator wants joints without weight to be 0
    return {"JOINTS_0": out.joints(joints), "WEIGHTS_0": out.vectors(weights)}


def animate(out: GltfDocument, head: BlendShapeHead, nodes: PersonNodes, take: PersonTake) -> None:
    """Add the take to a document that holds the calm head, ready to bend."""
    tracks = _Tracks(out, take.times_s)
    if take.seen.any():
        tracks.add(nodes.root, "translation", take.places)
        tracks.add(nodes.root, "rotation", _xyzw(take.wxyz))
        for node, turns in zip(nodes.eyes, take.eyes, strict=True):
            tracks.add(node, "rotation", _xyzw(turns))
        if nodes.face is not None:
            tracks.add(nodes.face, "weights", take.shapes)
    else:
        out.json["nodes"][nodes.root]["scale"] = [0.0, 0.0, 0.0]
    tracks.hide(nodes.root, take.seen)
    _bend_neck(out, head, nodes, take, tracks)
    if take.hands:
        rig = HandRig.open()
        for side, hand in take.hands.items():
            _add_hand(out, rig, side, hand, nodes, tracks)
    out.json["animations"] = [
        {"name": "take", "channels": tracks.channels, "samplers": tracks.samplers}
    ]


class _Tracks:
    """The channels of one animation."""

    def __init__(self, out: GltfDocument, times_s: Float32) -> None:
        self._out = out
        self._times = out.floats(times_s, bounds=True)
        self.channels: list[dict[str, Any]] = []
        self.samplers: list[dict[str, Any]] = []

    def add(self, node: int, path: str, values: Float32, way: str = "LINEAR") -> None:
        """A value a moment: (T, 3), (T, 4), or (T, weights)."""
        flat = values.ravel() if path == "weights" else values
        self.samplers.append(
            {"input": self._times, "interpolation": way, "output": self._out.floats(flat)}
        )
        target = {"node": node, "path": path}
        self.channels.append({"sampler": len(self.samplers) - 1, "target": target})

    def hide(self, node: int, seen: Bools) -> None:
        """Scale the node to nothing while it is not seen."""
        if not seen.all():
            scales = np.repeat(seen[:, None], 3, axis=1).astype(np.float32)
            self.add(node, "scale", scales, "STEP")


def _bend_neck(
    out: GltfDocument,
    head: BlendShapeHead,
    nodes: PersonNodes,
    take: PersonTake,
    tracks: _Tracks,
) -> None:
    """Joints below the head turn about the neck's pivot by their share of the torso's turn."""
    joints = [nodes.root]
    pivot = head.neck_pivot.astype(np.float64)
    for name, share in zip(NECK_JOINTS, NECK_SHARES[1:], strict=True):
        turns = take.torso_turns.astype(np.float64) * share
        wxyz = np.stack([wxyz_from_rotvec(turn) for turn in turns]).astype(np.float32)
        joint = out.add("nodes", {"name": name, "translation": pivot.tolist()})
        out.json["nodes"][nodes.root]["children"].append(joint)
        joints.append(joint)
        tracks.add(joint, "rotation", _xyzw(wxyz))
    bind = np.tile(np.eye(4, dtype=np.float32), (len(joints), 1, 1))
    bind[1:, :3, 3] = -head.neck_pivot
    skin = _add_skin(out, "neck", joints, bind, nodes.root)
    for node in nodes.bodies:
        out.json["nodes"][node]["skin"] = skin


def _add_hand(
    out: GltfDocument,
    rig: HandRig,
    side: str,
    hand: HandTracks,
    nodes: PersonNodes,
    tracks: _Tracks,
) -> None:
    """A hand's mesh, its bones side by side in the world, and how they move."""
    rest = rig.rest(side)
    bones = [out.add("nodes", {"name": f"{side}-{name}"}) for name in BONES]
    root = out.add("nodes", {"name": f"hand-{side}", "children": bones})
    tracks.hide(root, hand.seen)
    for k, bone in enumerate(bones):
        tracks.add(bone, "translation", hand.origins[:, k])
        tracks.add(bone, "rotation", _xyzw(hand.wxyz[:, k]))
        tracks.add(bone, "scale", hand.sizes[:, k])
        # Programs that play no animation show the hand where it is first.
        node = out.json["nodes"][bone]
        node["translation"] = hand.origins[0, k].tolist()
        node["rotation"] = _xyzw(hand.wxyz[:1, k])[0].tolist()
        node["scale"] = hand.sizes[0, k].tolist()
    bind = np.zeros((len(bones), 4, 4), np.float32)
    bind[:, :3, :3] = rest.rotations.transpose(0, 2, 1)
    bind[:, :3, 3] = -np.einsum("bji,bj->bi", rest.rotations, rest.origins)
    bind[:, 3, 3] = 1.0
    skin = _add_skin(out, f"hand-{side}", bones, bind, root)
    primitives = []
    for part, chosen in (("skin", rig.cloth == 0), ("cloth", rig.cloth != 0)):
        faces = rest.faces[chosen[rest.faces[:, 0]]]
        if len(faces):
            part_number = PARTS.index(part)
            material = nodes.materials.get(part_number, nodes.materials[PARTS.index("skin")])
            primitives.append(_hand_primitive(out, rig, side, rest, faces, material))
    mesh = out.add("meshes", {"name": f"hand-{side}", "primitives": primitives})
    body = out.add("nodes", {"name": f"hand-{side}-mesh", "mesh": mesh, "skin": skin})
    out.json["scenes"][0]["nodes"] += [root, body]


def _hand_primitive(
    out: GltfDocument,
    rig: HandRig,
    side: str,
    rest: RestHand,
    faces: npt.NDArray[np.int32],
    material: int,
) -> dict[str, Any]:
    used, corners = np.unique(faces, return_inverse=True)
    shares = rig.weights[used]
    largest = np.argsort(-shares, axis=1, kind="stable")[:, :MOST_BONES]
    weights = np.take_along_axis(shares, largest, axis=1)
    weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    joints = np.where(weights > 0.0, largest, 0).astype(np.uint8)
    normals = rest.normals[used]
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    return {
        "attributes": {
            "POSITION": out.vectors(rest.vertices[used].astype(np.float32)),
            "NORMAL": out.vectors(normals.astype(np.float32)),
            "TEXCOORD_0": out.vectors(rig.atlas_uv(side)[used]),
            "JOINTS_0": out.joints(joints),
            "WEIGHTS_0": out.vectors(weights),
        },
        "indices": out.indices(corners.ravel(), len(used)),
        "material": material,
    }


def _add_skin(out: GltfDocument, name: str, joints: list[int], bind: Float32, skeleton: int) -> int:
    """Index of a new skin; `bind` (J, 4, 4) joint_from_mesh at rest."""
    columns = np.ascontiguousarray(bind.transpose(0, 2, 1))
    skin = {
        "name": name, "joints": joints, "skeleton": skeleton,
        "inverseBindMatrices": out.floats(columns),
    }  # fmt: skip
    out.json.setdefault("skins", [])
    return out.add("skins", skin)


def _xyzw(wxyz: Float32) -> Float32:
    """glTF keeps the scalar last."""
    return np.ascontiguousarray(np.roll(wxyz, -1, axis=-1))
