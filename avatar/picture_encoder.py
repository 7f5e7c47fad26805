"""The encoder that sees: a frame's unwrapped, coarse texture projected on the appearance code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse

from avatar.head_mesh import HeadMesh
from avatar.lash_cover import LashCover
from avatar.node_grid import node_shares
from avatar.personal_atlas import FACE_PARTS, personal_uv
from avatar.personal_model import CHART, GAINS, PersonalModel
from avatar.photometric_registration import ExpectedTexels, PhotometricRegistration
from avatar.posed_face import PosedFace
from avatar.sharpening import sharpened
from avatar.spectacle_cover import SpectacleCover, front_opacity
from avatar.spectacle_sight import SpectacleSight
from avatar.spectacle_texels import FrontTexels
from avatar.unwrapping import TexelTable, texel_weight, unwrap
from streams.frame import Frame
from streams.mirror import mirror_frame
from streams.projection import project
from streams.tracked_state import FacePose

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

SHARPENING = 1.0
"""Of the picture before it is projected: what is drawn from a code is softer than what it was taken
from. Only here, not in learning and not in registration: on one clip it made up for 0.09 of the
sharpness at 0.1 dB, where learning from sharpened pictures cost two to three times that."""
LEAST_VISIBLE = 0.25
"""Share of the face's texels that must be seen for a picture to say what the face looks like."""


class PictureEncoder:
    """Linear: nothing is learned here that the model does not hold."""

    def __init__(self, head: HeadMesh, model: PersonalModel) -> None:
        face = table = face_table(head)
        opacity = front = None
        if model.glasses is not None:
            opacity = front_opacity(model.opacity)
            front = FrontTexels.of(model.glasses, opacity)
            table = front.after(face)
        if len(model.coarse) and int(model.coarse.max()) >= len(table.rows):
            raise ValueError(
                f"PictureEncoder: expected texels below {len(table.rows)}, got {model.coarse.max()}"
            )
        self._model = model
        self._table = table.at(model.coarse)
        rows, columns = self._table.rows, self._table.columns
        scale = model.plane_scale * np.float32(255.0)
        planes = model.planes[:, rows, columns].astype(np.float32) * scale[:, None, None]
        self._planes = np.ascontiguousarray(planes.transpose(1, 0, 2), np.float32)
        self._mean = reduced_mean(model.mean)[rows, columns].astype(np.float32)
        shares = node_shares(self._table, int(model.grid[0]))
        self._shares = sparse.csr_array(sparse.csr_array(shares[:, model.active]).T)
        rest, eyes = model.rest, model.eyes
        within = sparse.csr_array(self._shares.T)
        texels = ExpectedTexels(self._table, self._mean, self._planes, within)
        self.registration = PhotometricRegistration(head, model, texels)
        self._posed = PosedFace(head, rest, model.moves, eyes, model.gaze_map)
        self._lashes = None
        if model.has_lashes:
            skin = self._table.at(np.flatnonzero(model.coarse < len(face.rows)))
            self._lashes = LashCover(head, model.mean, model.opacity, skin, rest)
        self._cover, self._sight, self._front = None, None, None
        if model.glasses is not None and front is not None and opacity is not None:
            on_front = model.coarse[model.coarse >= len(face.rows)] - len(face.rows)
            self._front = front.at(on_front)
            self._mean[len(rows) - len(on_front) :] = self._front.average
            covered = self._table.at(np.arange(len(rows) - len(on_front)))
            self._cover = SpectacleCover(model.glasses, opacity, covered, rest)
            self._sight = SpectacleSight(model.glasses, opacity)
        steady = self._table.regions == "head"
        self._skin = np.flatnonzero(steady)[::7]

    def registered(
        self, frame: Frame, face: FacePose, geometry: Float32, view: Float32, guess: Float32
    ) -> Float32:
        """The geometry (P,) of the face in `frame`: the tracked `geometry`, moved until the frame
        agrees with the `guess` (A,) of its appearance. `view` as in `appearance`."""
        frame = mirror_frame(frame) if frame.mirrored else frame
        shown = None
        if self._cover is not None:
            vertices, _ = self._posed.of(geometry, face.gaze)
            moved = guess[GAINS : GAINS + self._model.glasses_size]
            where = frame.camera, face.world_from_head
            every = np.ones(len(self._table.rows), np.float32)
            shown = self._cover.uncovered(every, *where, vertices, moved)
        return self.registration.registered(
            frame, face.world_from_head, geometry, guess, view, shown
        )

    def appearance(
        self, frame: Frame, face: FacePose, geometry: Float32, view: Float32, guess: Float32
    ) -> tuple[Float32, float]:
        """The code (A,) of the face in `frame`, and the share of its texels that is seen.

        `geometry` (P,) numbers of the same face; `view` (3,) unit from head to camera; `guess` (A,)
        the driven code, which stands for what is not seen.
        """
        model = self._model
        vertices, normals = self._posed.of(geometry, face.gaze)
        frame = mirror_frame(frame) if frame.mirrored else frame
        marks, _ = project(frame.camera, face.world_from_head.apply(face.landmarks))
        rgb = sharpened(frame.rgb, SHARPENING, marks)
        found = unwrap(
            self._table, rgb, frame.camera, face.world_from_head, vertices, normals,
            face.landmarks,
        )  # fmt: skip
        if self._lashes is not None:
            found = self._lashes.past(found, frame.camera, face.world_from_head, vertices)
        worn = slice(GAINS, GAINS + model.glasses_size)
        moved = guess[worn]
        if self._cover is not None and self._sight is not None and self._front is not None:
            where = frame.camera, face.world_from_head
            moved, is_found = self._sight.find(frame.rgb, *where, moved)
            past = self._cover.uncovered(found.seen, *where, vertices, moved)
            found = replace(found, seen=past)
            if is_found:
                found = self._front.seen_in(rgb, *where, moved, found)
        seen = found.seen
        weight = texel_weight(np.rint(seen * 255).astype(np.uint8))
        visible = float((weight > 0.5).mean())
        log_gain = self._log_gain(found.colours, weight, guess)
        even = found.colours.astype(np.float32) / np.exp(log_gain)
        difference = (even - self._mean) * weight[:, None]
        along = np.einsum("tc,tkc->tk", difference, self._planes)
        products = (self._shares @ along).ravel()
        shown = (view - model.view_rest) @ model.view_codes
        rest = model.projection @ products - model.projection_rest - shown
        code = np.concatenate([log_gain / model.gain_sigma, rest]).astype(np.float32)
        code[worn] = moved
        return code, visible

    def _log_gain(self, colours: UInt8, weight: Float32, guess: Float32) -> Float32:
        """(3,) the exposure against the mean, from skin that is well seen."""
        rows = self._skin[weight[self._skin] > 0.9]
        if len(rows) < 50:
            return guess[:3] * self._model.gain_sigma
        level = np.median(colours[rows].astype(np.float32), axis=0)
        usual = np.median(self._mean[rows], axis=0)
        return np.log(np.clip(level / np.maximum(usual, 1.0), 0.4, 2.5)).astype(np.float32)


def reduced_mean(mean: UInt8) -> UInt8:
    """(ATLAS, ATLAS, 3) -> (CHART, CHART, 3): every other texel's neighbourhood of the mean."""
    factor = len(mean) // CHART
    blocks = mean.reshape(CHART, factor, CHART, factor, 3).astype(np.float32)
    return np.rint(blocks.mean((1, 3))).astype(np.uint8)


def template_faces(head: HeadMesh) -> npt.NDArray[np.int32]:
    """The faces of the template without hair."""
    return head.faces[(head.faces < head.template_size).all(1)]


def face_table(head: HeadMesh) -> TexelTable:
    """The texels whose colour the code changes."""
    regions = head.regions[: head.template_size]
    faces, uv = template_faces(head), personal_uv(head)
    return TexelTable.of(faces, uv, regions, CHART, FACE_PARTS)
