"""What the frames of a video show of a face, texel by texel, in the layout of the atlas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt

from avatar.enrolment.lash_picture import LashLook
from avatar.enrolment.learning_picture import LearningPicture
from avatar.enrolment.observations import Observations
from avatar.enrolment.registration import Registration
from avatar.enrolment.spectacle_fit import find_spectacles
from avatar.enrolment.spectacle_matte import WornSpectacles, front_picture
from avatar.enrolment.static_texture import StaticTexture
from avatar.enrolment.texel_filling import TexelSurface
from avatar.enrolment.texture_basis_fit import LEAST_SEEN
from avatar.head_mesh import ATLAS, HeadMesh
from avatar.head_placement import GLASSES
from avatar.personal_atlas import STATIC_PARTS, personal_uv
from avatar.personal_head import beyond_face, hair_share, template_as
from avatar.picture_encoder import face_table, template_faces
from avatar.spectacles import NUMBERS
from avatar.unwrapping import TexelTable, unwrap
from streams.camera import Camera
from streams.frame import Frame
from streams.mirror import mirror_frame
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Video = Callable[[], Iterator[Frame]]
"""Gives the same frames, in order, every time it is called."""
Progress = Callable[[str, float], None]
"""What is being done, and which share of it is done, 0..1."""
Matte = Callable[[UInt8], Float32]
"""(H, W, 3) sRGB -> (H, W) float32, 0 background to 1 person."""
SURE = 8
"""Power of the matte by which a texel counts: half background is no colour of hair."""
RIM_M = 0.006
"""Metres of the person's outline that show some of the background."""
CELL_M = 0.002
"""Metres; see TexelSurface.cell. A texel of the face has about one."""
FACE_M = 0.008
"""Metres from the landmarks, on the template: so near, background is kept out by the shape."""
MATTE_EVERY = 3
"""A new mask for every n-th of the face's frames: hair moves little between them."""
STATIC_FRAMES, SPECTACLE_FRAMES, LASH_FRAMES = 48, 120, 48
APART_M = (0.0, 0.0, 1.0)
"""Metres from glasses to where they are told to be: what is known of them says nothing of the face.
"""


class EnrolmentError(ValueError):
    """The video cannot become an avatar; says why and what to film instead."""


def all_person(rgb: UInt8) -> Float32:
    """The matte of one who knows no background."""
    return np.ones(rgb.shape[:2], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """What is learned from."""

    seen: Observations
    codes: Float32
    """(N, P) the geometry numbers on which frames are unwrapped."""

    def spread(self, most: int) -> Moments:
        """At most so many, evenly far apart."""
        count = len(self.seen)
        rows = np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.intp))
        return replace(self, seen=self.seen.at(rows), codes=self.codes[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Textures:
    """What every chosen frame shows, in the layout of the atlas."""

    table: TexelTable
    colours: UInt8
    """(N, n, 3) uint8 sRGB."""
    seen: UInt8
    """(N, n) uint8 visibility."""
    surface: TexelSurface
    """Where the texels lie, and how often background is seen there."""
    static: StaticTexture
    """Neck, collar and clothes."""
    middle: LearningPicture | None = None
    """A moment to watch the learning at."""
    worn: WornSpectacles | None = None
    """The person's glasses."""
    lashes: LashLook | None = None
    """The person's lashes."""
    moved: Float32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """(N, Q) their numbers in each frame; Q is 0 without any."""


def read_textures(
    video: Video,
    head: HeadMesh,
    registration: Registration,
    moments: Moments,
    progress: Progress,
    matte: Matte,
    worn: WornSpectacles | None = None,
    lashes: LashLook | None = None,
) -> Textures:
    """Unwrap the moments' frames; what glasses hide is not seen, and of `lashes` the face is
    freed. Raises EnrolmentError when the
    video ends before the last."""
    face, posed = face_table(head), registration.posed(head)
    front = None if worn is None else worn.texels()
    table = face if front is None else front.after(face)
    chosen, codes = moments.seen, moments.codes
    count, n = len(chosen), len(table.rows)
    colours, seen = np.zeros((count, n, 3), np.uint8), np.zeros((count, n), np.uint8)
    facing, shown, disclosed = np.zeros(n), np.zeros(n), np.zeros(n)
    static = static_texture(head, registration)
    static_rows = set(np.linspace(0, count - 1, min(STATIC_FRAMES, count)).astype(int).tolist())
    mask = inside = np.zeros((0, 0), np.float32)
    rest = head.vertices[: head.template_size].astype(np.float64)
    beyond = (beyond_face(rest, table.at_vertices @ rest) > FACE_M) & (table.regions != GLASSES)
    cover = (
        None if worn is None else worn.cover(face, contiguous_f32(registration.likeness.vertices))
    )
    sight = None if worn is None else worn.sight()
    lash_cover = None
    if lashes is not None:
        lash_cover = lashes.cover(head, face, contiguous_f32(registration.likeness.vertices))
    moved = np.full((count, 0 if worn is None else NUMBERS), np.nan, np.float32)
    last = np.zeros(moved.shape[1], np.float32)
    done, middle = 0, None
    for row, frame in frames_of(video, chosen):
        vertices, normals = posed.of(codes[row], chosen.gaze[row])
        found = unwrap(
            table, frame.rgb, frame.camera, chosen.world_from_head[row], vertices, normals,
            chosen.landmarks[row],
        )  # fmt: skip
        if lash_cover is not None:
            found = lash_cover.past(found, frame.camera, chosen.world_from_head[row], vertices)
        if cover is not None and sight is not None and front is not None:
            where = frame.camera, chosen.world_from_head[row]
            last, is_found = sight.find(frame.rgb, *where, last)
            past = cover.uncovered(found.seen, *where, vertices, last)
            found = replace(found, seen=past)
            if is_found:
                moved[row] = last
                found = front.seen_in(frame.rgb, *where, last, found)
        if row % MATTE_EVERY == 0 or mask.shape != frame.rgb.shape[:2]:
            mask = matte(frame.rgb)
            inside = well_inside(mask, frame.camera, chosen.world_from_head[row])
        person = found.sampled(mask)
        person[beyond] = found.sampled(inside)[beyond]
        facing += found.seen
        shown += found.seen * person
        disclosed += found.disclosed
        colours[row], seen[row] = found.colours, np.rint(found.seen * person**SURE * 255)
        if row in static_rows:
            static.add(frame, chosen.world_from_head[row], chosen.landmarks[row], inside)
        if row == count // 2:
            middle = LearningPicture(row, frame.rgb, found.places, found.seen * person)
        done = row + 1
        progress("unwrapping", done / count)
    if done < count:
        raise EnrolmentError(
            f"enrol: expected {count} frames with a face, the video gave {done}; is the file cut?"
        )
    # What never lay between the lips would take their colour, and show it to who opens the mouth.
    seen[:, disclosed < LEAST_SEEN * count] = 0
    average = np.where(facing > 1e-3, shown / np.maximum(facing, 1e-3), 1.0)
    at = table.at_vertices @ registration.likeness.vertices
    if front is not None:
        at[len(face.rows) :] = front.points.mean(1) + APART_M
    surface = TexelSurface(
        at, table.regions, hair_share(head, table), CELL_M, average.astype(np.float32)
    )
    return Textures(table, colours, seen, surface, static, middle, worn, lashes, between(moved))


def well_inside(mask: Float32, camera: Camera, world_from_head: Rigid) -> Float32:
    """A matte (H, W) 0..1 without its rim, where hair and background are mixed."""
    depth = float(np.linalg.norm(world_from_head.xyz - camera.world_from_camera.xyz))
    radius = max(1, round(float(camera.focal[0]) * RIM_M / max(depth, 0.1)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.erode(mask, kernel), np.float32)


def between(moved: Float32) -> Float32:
    """(N, Q) with the rows that are not known (nan) between those that are; zeros if none is."""
    out, rows = np.zeros_like(moved), np.arange(len(moved))
    known = ~np.isnan(moved).any(1)
    for k in range(moved.shape[1] if known.any() else 0):
        out[:, k] = np.interp(rows, rows[known], moved[known, k])
    return out


def worn_spectacles(
    video: Video, head: HeadMesh, registration: Registration, chosen: Observations, sure: bool
) -> WornSpectacles | None:
    """The glasses that the person wears; without being `sure`, None where none are seen."""
    rows = np.linspace(0, len(chosen) - 1, min(SPECTACLE_FRAMES, len(chosen))).astype(np.intp)
    some = np.unique(rows)

    def frames() -> Iterator[tuple[int, Frame]]:
        return ((int(some[k]), frame) for k, frame in frames_of(video, chosen.at(some)))

    skin = registration.likeness.vertices[head.regions[: head.template_size] == "head"]
    found = find_spectacles(frames, chosen, skin, sure)
    return None if found is None else WornSpectacles(found.spectacles, front_picture(found))


def lash_look(video: Video, chosen: Observations) -> LashLook:
    """How dark the rims of the lids are in some of the frames."""
    rows = np.linspace(0, len(chosen) - 1, min(LASH_FRAMES, len(chosen))).astype(np.intp)
    some = chosen.at(np.unique(rows))
    return LashLook.of(
        (frame, some.world_from_head[row], some.landmarks[row])
        for row, frame in frames_of(video, some)
    )


def static_texture(head: HeadMesh, registration: Registration) -> StaticTexture:
    """Ready to gather frames."""
    likeness = registration.likeness
    regions = head.regions[: head.template_size]
    table = TexelTable.of(template_faces(head), personal_uv(head), regions, ATLAS, STATIC_PARTS)
    return StaticTexture(
        template_as(
            head,
            contiguous_f32(likeness.vertices),
            contiguous_f32(likeness.eyes),
            contiguous_f32(likeness.neck_pivot),
        ),
        table,
    )


def frames_of(video: Video, chosen: Observations) -> Iterator[tuple[int, Frame]]:
    """The chosen rows and their frames, as if taken without a mirror."""
    row = 0
    for k, frame in enumerate(video()):
        if row == len(chosen):
            return
        if k == chosen.frames[row]:
            yield row, mirror_frame(frame) if frame.mirrored else frame
            row += 1


def contiguous_f32(values: npt.NDArray[np.floating]) -> Float32:
    """The same numbers as float32, row after row."""
    return np.ascontiguousarray(values, np.float32)
