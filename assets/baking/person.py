"""The synthetic person: what a capture dome would see, with exact ground truth.

Shape is the head template's with the corrections that linear blend shapes lack (lids that slide
over the ball of the eye). Colour is computed texel by texel: chromophores, blood flow, wrinkles,
ray-cast ambient occlusion of the *moved* surface and the view-dependent sheen of skin under an
even white dome. The codec of `avatar` learns from this; nothing here runs in the live pipeline.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from assets.baking import atlas, painting
from assets.baking.complexion import COMPLEXIONS, Complexion
from assets.baking.eyes import CORNEA_RISE, LIMBUS, rotation_to
from assets.baking.face_strokes import (
    Sheet,
    brow_hairs,
    lid_margins,
    scalp_cover,
    stubble,
    wrinkle_valleys,
)
from assets.baking.hair import GROOMS, Hair, bun, grow, join
from assets.baking.head_surface import smooth_normals
from assets.baking.occlusion import dome_light
from assets.baking.part_painting import Layers, paint_parts
from assets.baking.skin import (
    AT_REST,
    HAEMOGLOBIN,
    blob_sum,
    blood_flow,
    chromophores,
    cloudy,
    reflectance,
    wrinkle_drive,
)
from assets.baking.template import AVATARS, SIZE, Template, atlas_texels, open_template
from assets.baking.texels import Texels, bleed
from streams.face_shapes import SHAPE_INDEX
from streams.topology import PARTS

Float = npt.NDArray[Any]

FACE = 384
"""Texels on a side of the head's chart at the resolution at which expression is modelled."""
FACE_SOURCE = 768
"""The same square at the atlas' own resolution."""
ATLAS_RAYS = 48
FACE_RAYS = 20
"""Rays a texel for the neutral atlas, and for each expression."""
LID_CLEARANCE = 0.0006
"""Metres that lids keep off the eye ball."""


class Person:
    """One synthetic person. Build with `open`."""

    def __init__(self, template: Template, identity: str, tone: Complexion) -> None:
        a = template.arrays
        index = template.identities.index(identity)
        self.identity = identity
        self.tone = tone
        self.template = template
        self.faces = np.asarray(a["faces"], np.int64)
        self.uv = np.asarray(a["uv"], np.float32)
        self.weld = np.asarray(a["weld"], np.int64)
        self.rest = np.asarray(a["vertices"][index], np.float32)
        self.shapes = np.asarray(a["shapes"], np.float32)
        self.eyes = np.asarray(a["eyes"][index], np.float32)
        self.eye_radius = float(a["eye_radius"][index])
        self.rng = np.random.default_rng(tone.seed)

        self.texels = atlas_texels()
        canonical = np.asarray(a["vertices"][0], np.float32) * 1000.0
        self.canonical = self.texels.image(canonical)
        masks = cv2.imread(str(AVATARS / "head_masks.png"))
        if masks is None:
            raise FileNotFoundError("assets/avatars/head_masks.png: run assets.baking.bake_head")
        lips, lids, ears = np.moveaxis(masks[..., ::-1].astype(np.float32) / 255.0, -1, 0)
        self.lips, self.lids, self.ears = lips, lids, ears
        part = self.texels.image((a["parts"] == PARTS.index("skin")).astype(np.float32)) > 0.5
        self.skin = part & self.texels.covered
        self.head = np.zeros_like(self.skin)
        self.head[:FACE_SOURCE, :FACE_SOURCE] = self.skin[:FACE_SOURCE, :FACE_SOURCE]
        self._sheet = Sheet(self.canonical, self.texels.covered, self.head, lips, lids, ears, tone)
        lash = PARTS.index("lash")
        self._solid = self.faces[a["parts"][self.faces[:, 0]] != lash]
        self._lid_vertices = [
            np.flatnonzero(
                (template.region("head") | template.region("socket"))
                & (np.linalg.norm(self.rest - eye, axis=1) < 1.6 * self.eye_radius)
                & (self.rest[:, 2] > eye[2])
            )
            for eye in self.eyes
        ]
        self._wrinkles = wrinkle_valleys(self._sheet)
        self._face_setup()
        self._paint()
        self.hair = self._grow_hair()

    @staticmethod
    def open(identity: str) -> Person:
        """Raises ValueError for an unknown name."""
        template = open_template()
        if identity not in COMPLEXIONS or identity not in template.identities:
            raise ValueError(f"identity: expected one of {sorted(COMPLEXIONS)}, got {identity!r}")
        return Person(template, identity, COMPLEXIONS[identity])

    # -- shape ---------------------------------------------------------------------------------

    def vertices(self, weights: npt.NDArray[Any], gaze: npt.NDArray[Any]) -> Float:
        """(V, 3) metres, head frame, of ARKit weights (52,) and gaze (2, 3), left eye first."""
        moved = self.rest + np.tensordot(np.asarray(weights, np.float32), self.shapes, 1)
        for side, name in enumerate(("eye-left", "eye-right")):
            ball = self.template.region(name)
            eye = self.eyes[side]
            turn = rotation_to(np.asarray(gaze[side], np.float64)).astype(np.float32)
            moved[ball] = (self.rest[ball] - eye) @ turn.T + eye
            # Lids slide over the ball and over the cornea wherever it points.
            lid = self._lid_vertices[side]
            ray = moved[lid] - eye
            length = np.linalg.norm(ray, axis=1, keepdims=True)
            off_axis = np.arccos(np.clip(ray @ gaze[side] / length[:, 0], -1.0, 1.0))
            bulge = 1 + CORNEA_RISE * np.cos(np.clip(off_axis / LIMBUS, 0, 1) * np.pi / 2) ** 2
            least = (self.eye_radius * bulge + LID_CLEARANCE)[:, None]
            moved[lid] = eye + ray * np.maximum(1.0, least / length)
        return moved.astype(np.float32)

    # -- colour --------------------------------------------------------------------------------

    def log_ratio(
        self,
        weights: npt.NDArray[Any],
        gaze: npt.NDArray[Any],
        view_dir: npt.NDArray[Any],
    ) -> Float:
        """(384, 384, 3): log of linear albedo over the neutral one on the head's chart."""
        moved = self.vertices(weights, gaze)
        normals = smooth_normals(moved, self.faces, self.weld)
        change = np.log(self._face_occlusion(moved, normals) / self._rest_occlusion)[:, None]
        change = change * np.array([0.75, 1.05, 1.1], np.float32)  # light bounced in skin is red
        drive = wrinkle_drive(weights)
        dark = np.zeros(len(change), np.float32)
        for group, (left, right) in drive.items():
            depth = 0.55 + 0.45 * self.tone.age
            dark += depth * (
                left * self._face_wrinkles[group][0] + right * self._face_wrinkles[group][1]
            )
        change = change - 0.55 * dark[:, None] * np.array([0.8, 1.05, 1.1], np.float32)
        flow = blood_flow(self._face_canonical, self._face_lips, weights)
        flow = flow * (0.4 + 0.6 * np.exp(-1.2 * self.tone.melanin))
        change = change - flow[:, None] * HAEMOGLOBIN
        sheen = self._sheen(normals, moved, view_dir)
        base = self._face_albedo * np.exp(change)
        # Energy: what the surface reflects at the skin's face is not seen again from below.
        lit = base * (1.0 - sheen[:, None]) + sheen[:, None]
        ratio = np.log(np.maximum(lit, 1e-4) / np.maximum(self._face_neutral, 1e-4))
        return self._face_texels.picture(ratio.astype(np.float32)) * self.face_weight[..., None]

    def albedo(
        self,
        weights: npt.NDArray[Any],
        gaze: npt.NDArray[Any],
        view_dir: npt.NDArray[Any],
    ) -> npt.NDArray[np.uint8]:
        """(1024, 1024, 3) uint8 sRGB: the whole atlas for one expression and view."""
        ratio = cv2.resize(
            self.log_ratio(weights, gaze, view_dir), (FACE_SOURCE, FACE_SOURCE),
            interpolation=cv2.INTER_LINEAR,
        )  # fmt: skip
        out = self.neutral_linear.copy()
        out[:FACE_SOURCE, :FACE_SOURCE] *= np.exp(ratio)
        return painting.encode_srgb(out)

    # -- set-up --------------------------------------------------------------------------------

    def _face_setup(self) -> None:
        """Everything at the resolution of expression: texels, rest occlusion, wrinkles."""
        scaled = self.uv * (SIZE / FACE_SOURCE)
        in_head = self.template.region("head")[self.faces].all(1)
        self._face_texels = Texels.of(self.faces[in_head], scaled, FACE)
        canonical = np.asarray(self.template.arrays["vertices"][0], np.float32) * 1000.0
        self._face_canonical = self._face_texels.interpolate(canonical)
        # The back of the head is under hair and far from any expression: fade the change out.
        c = self._face_canonical
        weight = painting.soft_step(-62.0, -30.0, c[:, 2]) * (
            1 - painting.soft_step(70.0, 95.0, c[:, 1])
        )
        self.face_weight = self._face_texels.picture(weight)
        self.face_mask = self.face_weight > 0.0

        self._face_lips = self._to_face(self.lips)
        self._face_wrinkles = {
            group: (self._to_face(left), self._to_face(right))
            for group, (left, right) in self._wrinkles.items()
        }
        moved = self.rest.copy()
        self._rest_occlusion = self._face_occlusion(
            moved, smooth_normals(moved, self.faces, self.weld)
        )

    def _face_occlusion(self, vertices: Float, normals: Float) -> Float:
        """(T,) smoothed occlusion of the face's texels, 0.12..1."""
        t = self._face_texels
        n = t.interpolate(normals)
        n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-9)
        raw = np.ones(len(n), np.float32)
        on = self.face_mask[t.covered]
        raw[on] = dome_light(self._solid, vertices, t.interpolate(vertices)[on], n[on], FACE_RAYS)
        picture = t.picture(raw)
        weight = cv2.GaussianBlur(t.covered.astype(np.float32), (0, 0), 1.4)
        smooth = cv2.GaussianBlur(picture, (0, 0), 1.4) / np.maximum(weight, 1e-3)
        return np.clip(smooth[t.covered], 0.12, 1.0)

    def _to_face(self, picture: Float) -> Float:
        """(SIZE, SIZE, ...) -> (T, ...) at the resolution of expression."""
        small = cv2.resize(
            picture[:FACE_SOURCE, :FACE_SOURCE], (FACE, FACE), interpolation=cv2.INTER_AREA
        )
        return small[self._face_texels.covered]

    def _sheen(self, normals: Float, vertices: Float, view_dir: npt.NDArray[Any]) -> Float:
        """(T,) share of an even dome's light that skin's oily face reflects to this view.

        Schlick's Fresnel with f0 = 0.028 (skin, n = 1.4), flattened at grazing angles by roughness
        as in Karis 2013; occluded like the diffuse light.
        """
        n = self._face_texels.interpolate(normals)
        n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-9)
        cosine = np.clip(n @ np.asarray(view_dir, np.float32), 0.0, 1.0)
        return (0.028 + 0.20 * (1.0 - cosine) ** 5 * 0.7).astype(np.float32) * self._rest_occlusion

    def _paint(self) -> None:
        """The neutral atlas and the static surface map."""
        tone, rng, covered = self.tone, self.rng, self.texels.covered
        m, h = chromophores(self.canonical, self.lips, tone, rng)
        grain = rng.normal(size=(SIZE, SIZE)).astype(np.float32)
        pores = cv2.GaussianBlur(grain, (0, 0), 0.8) - cv2.GaussianBlur(grain, (0, 0), 2.2)
        pores /= pores.std()
        m *= 1.0 + 0.035 * pores
        h *= 1.0 + 0.05 * pores
        if tone.freckles:
            spots = cv2.GaussianBlur(rng.normal(size=(SIZE, SIZE)).astype(np.float32), (0, 0), 1.3)
            spots = painting.soft_step(1.9, 2.8, spots / spots.std())
            near = np.clip(
                blob_sum(self.canonical, ((30, -30, 15), (0, -35, 40), (0, 50, 20)), 30.0), 0, 1
            )
            m += 0.5 * tone.freckles * spots * near
        colour = reflectance(m, h)

        wrinkles = np.zeros((SIZE, SIZE), np.float32)
        for group, (left, right) in self._wrinkles.items():
            wrinkles += tone.age * AT_REST[group] * (left + right)
        lip_lines = cv2.GaussianBlur(
            rng.normal(size=(SIZE, SIZE)).astype(np.float32), (0, 0), sigmaX=0.8, sigmaY=4.0
        )
        lip_lines = np.clip(lip_lines / lip_lines.std(), -2, 2) * self.lips
        colour *= np.exp(-(0.55 * wrinkles + 0.05 * lip_lines)[..., None])
        brow, beard = brow_hairs(self._sheet), stubble(self._sheet)
        hair = painting.linear(tone.hair)
        colour = colour * (1 - brow[..., None]) + brow[..., None] * hair
        shadow = beard[..., None] * (0.35 + 0.65 * hair / max(float(hair.mean()), 1e-3)) * 0.05
        colour = colour * (1 - beard[..., None]) + shadow
        scalp = scalp_cover(self._sheet, GROOMS[self.identity])
        colour = colour * (1 - scalp[..., None]) + scalp[..., None] * 0.55 * hair
        rim = lid_margins(self._sheet)
        colour = colour * (1 - rim[..., None]) + rim[..., None] * colour * np.array(
            [0.62, 0.42, 0.42], np.float32
        )

        occlusion = self._atlas_occlusion()
        albedo = colour * occlusion[..., None] ** np.array([0.75, 1.05, 1.1], np.float32)
        surface = np.zeros((SIZE, SIZE, 4), np.float32)
        oil = 0.46 - 0.07 * blob_sum(self.canonical, ((0, -40, 40), (0, 45, 22)), 18.0)
        surface[..., 0] = np.clip(oil + 0.05 * cloudy(self.canonical, 12.0, rng), 0.3, 0.65)
        surface[..., 0] = surface[..., 0] * (1 - self.lips) + 0.30 * self.lips
        surface[..., 0] = surface[..., 0] * (1 - scalp) + 0.75 * scalp
        surface[..., 1] = occlusion * (1 - 0.8 * scalp)
        surface[..., 2] = np.clip(
            0.5 + 0.05 * pores - 0.10 * lip_lines - 0.12 * wrinkles + 0.06 * brow, 0, 1
        )
        surface[..., 3] = 1.0
        paint_parts(Layers(albedo, surface, occlusion), self.rest, tone, rng)

        sheen0 = np.zeros((SIZE, SIZE), np.float32)
        front = np.array([0.0, 0.0, 1.0], np.float32)
        normals = smooth_normals(self.rest, self.faces, self.weld)
        cosine = np.clip(self.texels.image(normals) @ front, 0, 1)
        sheen0[self.skin] = (0.028 + 0.14 * (1 - cosine[self.skin]) ** 5) * occlusion[self.skin]
        sheen0 *= 1 - 0.9 * np.maximum(scalp, brow)
        neutral = albedo * (1 - sheen0[..., None]) + sheen0[..., None]
        neutral = np.where(self.skin[..., None], neutral, albedo)
        covered = covered.copy()
        x0, y0, x1, y1 = (round(v * SIZE) for v in atlas.HAIR)
        covered[y0:y1, x0:x1] = True  # no face of the template, but the hair's cards lie here
        self.neutral_linear = bleed(neutral, covered).astype(np.float32)
        self.neutral_albedo = painting.encode_srgb(self.neutral_linear)
        self.surface = np.round(np.clip(bleed(surface, covered), 0, 1) * 255).astype(np.uint8)

        self._face_albedo = self._to_face(bleed(albedo, self.skin).astype(np.float32))
        self._face_neutral = self._to_face(bleed(neutral, self.skin).astype(np.float32))

    def _atlas_occlusion(self) -> Float:
        """(S, S) 0.1..1 at rest; the mouth's inside is seen with the jaw open."""
        weights = np.zeros(52, np.float32)
        front = np.tile(np.array([[0, 0, 1]], np.float32), (2, 1))
        out = np.ones((SIZE, SIZE), np.float32)
        parts = self.texels.image(self.template.arrays["parts"].astype(np.float32))
        inside = np.isin(np.round(parts), [PARTS.index("teeth"), PARTS.index("tongue")])
        for jaw, chosen in ((0.0, ~inside), (0.55, inside)):
            weights[SHAPE_INDEX["jawOpen"]] = jaw
            moved = self.vertices(weights, front)
            normals = smooth_normals(moved, self.faces, self.weld).astype(np.float32)
            use = (chosen & self.texels.covered)[self.texels.covered]
            n = self.texels.interpolate(normals)[use]
            n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-9)
            value = dome_light(
                self._solid, moved, self.texels.interpolate(moved)[use], n, ATLAS_RAYS
            )
            layer = np.zeros(len(self.texels.corners), np.float32)
            layer[use] = value
            picture = self.texels.picture(layer)
            mask = np.zeros_like(picture)
            mask[self.texels.covered] = use
            weight = cv2.GaussianBlur(mask, (0, 0), 2.0)
            smooth = cv2.GaussianBlur(picture, (0, 0), 2.0) / np.maximum(weight, 1e-3)
            out = np.where(mask > 0, np.clip(smooth, 0.10, 1.0), out)
        return out.astype(np.float32)

    def _grow_hair(self) -> Hair:
        """The identity's groom on this head."""
        normals = smooth_normals(self.rest, self.faces, self.weld).astype(np.float32)
        use = self.head[self.texels.covered]
        pick = np.flatnonzero(use)
        canonical = self.canonical[self.texels.covered]
        # Texels lie denser on the face than on the crown: thin them to an even cover.
        area = self._texel_area()[pick]
        rng = np.random.default_rng(8)
        pick = rng.choice(pick, 30000, replace=False, p=area / area.sum())
        pick = pick[self.ears[self.texels.covered][pick] < 0.2]
        n = self.texels.interpolate(normals)[pick]
        n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-9)
        skin = np.unique(
            np.concatenate([self.rest[self.template.region(r)] for r in ("head", "neck", "cloth")]),
            axis=0,
        )
        grown = grow(
            GROOMS[self.identity],
            canonical[pick],
            self.texels.interpolate(self.rest)[pick],
            n,
            skin,
        )
        return join([grown, bun()]) if self.identity == "amara" else grown

    def _texel_area(self) -> Float:
        """(T,) square metres of skin that each covered texel shows."""
        corner = self.rest[self.faces].astype(np.float64)
        area = np.linalg.norm(
            np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1
        )
        face = self.texels.face[self.texels.covered]
        return area[face] / np.bincount(face, minlength=len(area))[face]
