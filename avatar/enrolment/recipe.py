"""From a tracked video to a personal model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from avatar.driving import OwnDriving, own_inputs
from avatar.enrolment.code_space import CodeSpace
from avatar.enrolment.driving_fit import ANY_RIDGE, ANY_SPREAD, OwnFit, Regression
from avatar.enrolment.learning_picture import LearningPicture
from avatar.enrolment.learning_stages import LearningStages
from avatar.enrolment.observations import Observations
from avatar.enrolment.registration import Registration, own_strangeness
from avatar.enrolment.silhouette import OutlineView, shaped_scalp
from avatar.enrolment.spectacle_fit import find_spectacles
from avatar.enrolment.spectacle_matte import WornSpectacles, front_picture
from avatar.enrolment.static_texture import StaticTexture
from avatar.enrolment.texel_filling import TexelSurface
from avatar.enrolment.texture_basis_fit import (
    LEAST_SEEN,
    BasisFit,
    BasisOptions,
    Watch,
    fit_basis,
)
from avatar.head_mesh import ATLAS, HeadMesh
from avatar.landmark_map import LandmarkMap
from avatar.personal_atlas import STATIC_PARTS, personal_uv
from avatar.personal_head import beyond_face, hair_share, template_as
from avatar.personal_model import CHART, PersonalModel
from avatar.picture_encoder import PictureEncoder, face_table, reduced_mean, template_faces
from avatar.spectacles import NUMBERS
from avatar.unwrapping import TexelTable, unwrap
from streams.camera import Camera
from streams.frame import Frame
from streams.mirror import mirror_frame
from streams.rigid import Rigid
from streams.tracked_state import FacePose

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]
Video = Callable[[], Iterator[Frame]]
"""Gives the same frames, in order, every time it is called."""
Progress = Callable[[str, float], None]
"""What is being done, and which share of it is done, 0..1."""
Show = Callable[[UInt8], None]
"""Takes a picture (h, 2 w, 3) of a moment and of the avatar so far."""

MM2_ERROR = 60.0
"""Squared code values that a square millimetre of misplaced surface costs in the picture (measured
on three talking people: faces have about 5 code values of contrast a pixel, 1.6 pixels a mm)."""

MM2_FRAME_ERROR = 25.0
"""Likewise a millimetre by which the frame of glasses is misplaced, squared: it is a fiftieth of
the face, and differs from it by some 40 code values."""


class EnrolmentError(ValueError):
    """The video cannot become an avatar; says why and what to film instead."""


WORN = ("auto", "yes", "no")


@dataclass(frozen=True, slots=True)
class EnrolmentOptions:
    """How an avatar is made."""

    appearance: int = 512
    """Numbers for the texture, after the three gains."""
    basis: BasisOptions = field(default_factory=BasisOptions)
    most_frames: int = 1200
    """A longer video is thinned evenly to so many."""
    least_frames: int = 60
    """Fewer moments with a face are too few."""
    registered_frames: int = 300
    """So many frames, evenly far apart, make the first picture of the person, to which all are
    registered photometrically; 0: landmarks are taken as they are."""
    glasses: str = "auto"
    """Whether the person wears some: "yes", "no", or as it is seen in the video."""

    def __post_init__(self) -> None:
        if self.glasses not in WORN:
            raise ValueError(
                f"EnrolmentOptions.glasses: expected {', '.join(WORN)}, got {self.glasses!r}"
            )


Matte = Callable[[UInt8], Float32]
"""(H, W, 3) sRGB -> (H, W) float32, 0 background to 1 person."""
OUTLINE_FRAMES, STATIC_FRAMES, SPECTACLE_FRAMES = 24, 48, 120
SURE = 8
"""Power of the matte by which a texel counts: half background is no colour of hair."""
RIM_M = 0.006
"""Metres of the person's outline that show some of the background."""
CELL_M = 0.002
"""Metres; see TexelSurface.cell. A texel of the face has about one."""
FACE_M = 0.008
"""Metres from the landmarks, on the template: so near, background is kept out by the shape."""
FIRST_ROUNDS = 3
"""Of learning the first picture."""
MATTE_EVERY = 3
"""A new mask for every n-th of the face's frames: hair moves little between them."""


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
    moved: Float32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """(N, Q) their numbers in each frame; Q is 0 without any."""


def choose_rows(seen: Observations, options: EnrolmentOptions) -> npt.NDArray[np.intp]:
    """Which moments to learn from. Raises EnrolmentError when there are too few."""
    if len(seen) < options.least_frames:
        raise EnrolmentError(
            f"enrol: expected a face in at least {options.least_frames} frames, "
            f"found one in {len(seen)}; film the face from the front, in even light, for a minute"
        )
    if len(seen) <= options.most_frames:
        return np.arange(len(seen))
    return np.unique(np.linspace(0, len(seen) - 1, options.most_frames).astype(np.intp))


def enrol(
    video: Video,
    seen: Observations,
    options: EnrolmentOptions | None = None,
    progress: Progress = lambda _what, _share: None,
    matte: Matte = all_person,
    show: Show | None = None,
    stages: LearningStages | None = None,
) -> PersonalModel:
    """A model of the person whose face is in the frames `seen.frames` of `video`. With a `matte`
    that knows person from background, hair and clothes get their outline from it. `show` is given
    a picture of the learning now and then. `stages` keep what is done."""
    stages = stages or LearningStages()
    options = options or EnrolmentOptions()
    head, landmarks = HeadMesh.open("default"), LandmarkMap.open()
    chosen = seen.at(choose_rows(seen, options))
    progress("registering", 0.0)
    registration = stages.once("likeness", Registration.fit)(head, landmarks, chosen)
    progress("registering", 0.5)
    if matte is not all_person:
        outlined = stages.once("outline", with_outline)
        registration = outlined(video, head, registration, chosen, matte)
    progress("registering", 1.0)
    worn = None
    if options.glasses != "no":
        worn = stages.once("glasses", worn_spectacles)(
            video, head, registration, chosen, options.glasses == "yes"
        )
    moments = Moments(chosen, registration.codes(chosen))
    if options.registered_frames:
        codes = stages.once("registration", registered_codes)(
            video, head, registration, moments, options, progress, matte, show, worn
        )
        moments = replace(moments, codes=codes)
    textures = stages.once("textures", read_textures)(
        video, head, registration, moments, progress, matte, worn
    )
    return learn(registration, moments, textures, options, progress, show, stages)


def registered_codes(
    video: Video,
    head: HeadMesh,
    registration: Registration,
    moments: Moments,
    options: EnrolmentOptions,
    progress: Progress,
    matte: Matte,
    show: Show | None,
    worn: WornSpectacles | None,
) -> Float32:
    """(N, P) geometry numbers of the moments, all frames registered to one picture of the person,
    which is learned from a part of them first."""
    few = moments.spread(options.registered_frames)
    quick = replace(options, basis=replace(options.basis, rounds=FIRST_ROUNDS))
    textures = read_textures(video, head, registration, few, progress, matte, worn)
    first = learn(registration, few, textures, quick, progress, show)
    del textures
    return registered(video, head, first, moments, progress).codes


def registered(
    video: Video, head: HeadMesh, model: PersonalModel, moments: Moments, progress: Progress
) -> Moments:
    """The moments with the geometry numbers of every frame moved until it agrees with what the
    `model`, a first one, expects of it: all frames registered to one picture of the person."""
    encoder, driving = PictureEncoder(head, model), OwnDriving(model)
    seen, codes = moments.seen, moments.codes.copy()
    views = seen.view_directions()
    for row, frame in _frames_of(video, seen):
        pose, gaze = seen.world_from_head[row], seen.gaze[row]
        expected = driving.appearance(pose, codes[row], gaze)
        face = FacePose(seen.blendshapes[row], seen.landmarks[row], gaze, pose, 1.0)
        codes[row] = encoder.registered(frame, face, codes[row], views[row], expected)
        progress("registering photometrically", (row + 1) / len(seen))
    return replace(moments, codes=codes)


def with_outline(
    video: Video, head: HeadMesh, registration: Registration, chosen: Observations, matte: Matte
) -> Registration:
    """The scalp grown to the person's outline in frames that look on the head from many sides."""
    rows = outline_rows(chosen)
    views = [
        OutlineView(matte(frame.rgb), frame.camera, chosen.world_from_head[int(rows[row])])
        for row, frame in _frames_of(video, chosen.at(rows))
    ]
    likeness = registration.likeness
    grown = shaped_scalp(head, likeness.vertices, views)
    return replace(registration, likeness=replace(likeness, vertices=grown))


def outline_rows(chosen: Observations) -> npt.NDArray[np.intp]:
    """Moments evenly over the head's turn to the side, so that few profiles count as much as many
    looks ahead."""
    yaw = np.array([pose.rotation()[0, 2] for pose in chosen.world_from_head])
    wanted = np.linspace(yaw.min(), yaw.max(), OUTLINE_FRAMES)
    return np.unique(np.abs(yaw[:, None] - wanted).argmin(0))


def read_textures(
    video: Video,
    head: HeadMesh,
    registration: Registration,
    moments: Moments,
    progress: Progress,
    matte: Matte,
    worn: WornSpectacles | None = None,
) -> Textures:
    """Unwrap the moments' frames; what glasses hide is not seen. Raises EnrolmentError when the
    video ends before the last."""
    table, posed = face_table(head), registration.posed(head)
    chosen, codes = moments.seen, moments.codes
    count, n = len(chosen), len(table.rows)
    colours, seen = np.zeros((count, n, 3), np.uint8), np.zeros((count, n), np.uint8)
    facing, shown, disclosed = np.zeros(n), np.zeros(n), np.zeros(n)
    static = static_texture(head, registration)
    static_rows = set(np.linspace(0, count - 1, min(STATIC_FRAMES, count)).astype(int).tolist())
    mask = inside = np.zeros((0, 0), np.float32)
    rest = head.vertices[: head.template_size].astype(np.float64)
    beyond = beyond_face(rest, table.at_vertices @ rest) > FACE_M
    cover = None if worn is None else worn.cover(table, _f32(registration.likeness.vertices))
    sight = None if worn is None else worn.sight()
    moved = np.full((count, 0 if worn is None else NUMBERS), np.nan, np.float32)
    last = np.zeros(moved.shape[1], np.float32)
    done, middle = 0, None
    for row, frame in _frames_of(video, chosen):
        vertices, normals = posed.of(codes[row], chosen.gaze[row])
        found = unwrap(
            table, frame.rgb, frame.camera, chosen.world_from_head[row], vertices, normals,
            chosen.landmarks[row],
        )  # fmt: skip
        if cover is not None and sight is not None:
            where = frame.camera, chosen.world_from_head[row]
            last, is_found = sight.find(frame.rgb, *where, last)
            if is_found:
                moved[row] = last
            past = cover.uncovered(found.seen, *where, vertices, last)
            found = replace(found, seen=past)
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
    surface = TexelSurface(
        table.at_vertices @ registration.likeness.vertices, table.regions, hair_share(head, table),
        CELL_M, average.astype(np.float32),
    )  # fmt: skip
    return Textures(table, colours, seen, surface, static, middle, worn, between(moved))


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
        return ((int(some[k]), frame) for k, frame in _frames_of(video, chosen.at(some)))

    skin = registration.likeness.vertices[head.regions[: head.template_size] == "head"]
    found = find_spectacles(frames, chosen, skin, sure)
    return None if found is None else WornSpectacles(found.spectacles, front_picture(found))


def static_texture(head: HeadMesh, registration: Registration) -> StaticTexture:
    """Ready to gather frames."""
    likeness = registration.likeness
    regions = head.regions[: head.template_size]
    table = TexelTable.of(template_faces(head), personal_uv(head), regions, ATLAS, STATIC_PARTS)
    return StaticTexture(
        template_as(head, _f32(likeness.vertices), _f32(likeness.eyes), _f32(likeness.neck_pivot)),
        table,
    )


def _frames_of(video: Video, chosen: Observations) -> Iterator[tuple[int, Frame]]:
    """The chosen rows and their frames, as if taken without a mirror."""
    row = 0
    for k, frame in enumerate(video()):
        if row == len(chosen):
            return
        if k == chosen.frames[row]:
            yield row, mirror_frame(frame) if frame.mirrored else frame
            row += 1


def learn(
    registration: Registration,
    moments: Moments,
    textures: Textures,
    options: EnrolmentOptions,
    progress: Progress,
    show: Show | None = None,
    stages: LearningStages | None = None,
) -> PersonalModel:
    """Fit textures, code and driving."""
    stages = stages or LearningStages()
    chosen, geometry = moments.seen, moments.codes
    gains = exposure_gains(textures)
    middle, watch = textures.middle, None
    if show is not None and middle is not None:
        watch = Watch(middle.row, lambda texels, colours: show(middle.beside(texels, colours)))
    basis = stages.once("basis", fit_basis)(
        textures.table, textures.colours, textures.seen, gains, options.basis, textures.surface,
        lambda share: progress("learning the texture", share), watch,
    )  # fmt: skip
    mean = mean_picture(basis, textures)
    # What the encoder subtracts is that picture, and not the finer numbers that it was made of.
    at = textures.table.rows, textures.table.columns
    basis = replace(basis, mean=reduced_mean(mean)[at].astype(np.float32))
    products = inner_products_of(basis, textures, gains)
    views = chosen.view_directions()
    grid = options.basis.grid
    space = CodeSpace.fit(basis, products, views, options.appearance, grid)
    progress("learning to drive", 0.0)
    log_gain = np.log(gains)
    gain_sigma = np.maximum(log_gain.std(0), 0.01)
    moved = textures.moved
    worn, texture = moved.shape[1], space.codes(products, views)
    appearance = np.concatenate([log_gain / gain_sigma, moved, texture], axis=1)
    moved_mm2 = 1e6 * (registration.landmark_moves**2).sum(1) / len(registration.landmark_rest)
    inputs = own_inputs(chosen.poses(), geometry, chosen.gaze)
    own = OwnFit.fit(inputs, appearance, moved_mm2)
    anyone = Regression.fit(
        chosen.drivers(), np.concatenate([geometry, appearance], axis=1), ANY_RIDGE, ANY_SPREAD
    )
    planes, scale = quantised_planes(basis, textures.table)
    likeness = registration.likeness
    mean, opacity = mean_picture(basis, textures), np.full((CHART, CHART), 255, np.uint8)
    if textures.worn is not None:
        mean, opacity, planes = textures.worn.painted(mean, opacity, planes)
    glasses = None if textures.worn is None else textures.worn.spectacles
    frame_errors = np.zeros(0) if glasses is None else MM2_FRAME_ERROR * glasses.unit_mm() ** 2
    errors = np.concatenate(
        [MM2_ERROR * moved_mm2, (100.0 * gain_sigma) ** 2, frame_errors, space.error]
    )
    progress("learning to drive", 1.0)
    return PersonalModel(
        rest=_f32(likeness.vertices),
        eyes=_f32(likeness.eyes),
        eye_radius=np.array([likeness.eye_radius], np.float32),
        neck_pivot=_f32(likeness.neck_pivot),
        moves=registration.moves,
        landmark_rest=_f32(registration.landmark_rest),
        landmark_moves=_f32(registration.landmark_moves),
        gaze_map=_f32(registration.gaze_map),
        mean=mean,
        opacity=opacity,
        planes=planes,
        plane_scale=scale,
        grid=np.array([grid, grid], np.int32),
        active=basis.active.astype(np.int32),
        coarse=basis.coarse.astype(np.int32),
        node_rest=_f32(space.rest),
        node_moves=_f32(np.pad(space.moves, ((worn, 0), (0, 0)))),
        node_view=_f32(space.view),
        view_rest=_f32(space.view_rest),
        gain_sigma=_f32(gain_sigma),
        projection=_f32(np.pad(space.projection, ((worn, 0), (0, 0)))),
        projection_rest=_f32(np.pad(space.offset, (worn, 0))),
        view_codes=_f32(np.pad(space.view_codes, ((0, 0), (worn, 0)))),
        own_rest=_f32(own.rest),
        own_map=_f32(own.linear),
        own_points=_f32(own.points),
        own_metric=_f32(own.metric),
        own_point_map=_f32(own.point_map),
        own_centre=_f32(own.centre),
        own_scale=_f32(own.scale),
        any_map=_f32(anyone.folded()),
        strangeness=np.median(own_strangeness(chosen), keepdims=True).astype(np.float32),
        distortion=_f32(errors),
        glasses=glasses,
    )


def exposure_gains(textures: Textures) -> Float32:
    """(N, 3): each frame's colour against the average, over skin that is always well seen."""
    steady = (textures.seen[:: max(1, len(textures.seen) // 50)] > 200).mean(0) > 0.9
    steady &= textures.table.regions == "head"
    rows = np.flatnonzero(steady)[::7]
    if len(rows) < 100:
        return np.ones((len(textures.colours), 3), np.float32)
    level = np.median(textures.colours[:, rows].astype(np.float32), axis=1)
    gains = level / np.maximum(np.median(level, axis=0), 1.0)
    return np.clip(gains, 0.4, 2.5).astype(np.float32)


def inner_products_of(basis: BasisFit, textures: Textures, gains: Float32) -> Float32:
    """(N, g * K), some frames at a time."""
    parts = []
    for start in range(0, len(gains), 64):
        part = slice(start, start + 64)
        some = basis.differences(textures.colours[part], textures.seen[part], gains[part])
        parts.append(basis.inner_products(some))
    return np.concatenate(parts)


def quantised_planes(basis: BasisFit, table: TexelTable) -> tuple[npt.NDArray[np.int8], Float32]:
    """(K, CHART, CHART, 3) int8 and (K,) in sRGB code values 0..1. Texels
    beyond the charts take their neighbours' values, so that filtering finds nothing foreign."""
    spread = nearest_texel(table)
    planes = basis.planes.transpose(1, 0, 2)
    scale = np.maximum(np.abs(planes).max(axis=(1, 2)), 1e-6) / 127.0
    codes = np.rint(planes / scale[:, None, None]).astype(np.int8)[:, spread]
    return codes, (scale / 255.0).astype(np.float32)


def mean_picture(basis: BasisFit, textures: Textures) -> UInt8:
    """(ATLAS, ATLAS, 3): the face's mean, neck and clothes as they were seen, and hands in the
    colour of the face."""
    table = textures.table
    small = np.clip(np.rint(basis.mean), 0, 255).astype(np.uint8)[nearest_texel(table)]
    size = (ATLAS, ATLAS)
    picture = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    skin = np.median(basis.mean[table.regions == "head"], axis=0)
    static = textures.static
    rest = static.table
    filled = static.colours(skin * np.float32(0.8))
    spread = filled[nearest_texel(rest)]
    # Everything below the face's chart: with its surroundings, so that filtering finds no edge.
    below = int(ATLAS * 0.75)
    # The skin under the chin reaches a few rows into it.
    covered = np.zeros((CHART, CHART), bool)
    covered[table.rows, table.columns] = True
    free = ~covered.repeat(ATLAS // CHART, 0).repeat(ATLAS // CHART, 1)[below:, :below]
    picture[below:, :below][free] = spread[below:, :below][free]
    template = HeadMesh.open("default").albedo
    hands = (slice(ATLAS // 2, ATLAS), slice(below, ATLAS))
    tone = np.median(template[hands].reshape(-1, 3), axis=0)
    toned = template[hands].astype(np.float32) * (skin / np.maximum(tone, 1.0))
    picture[hands] = np.clip(np.rint(toned), 0, 255).astype(np.uint8)
    return picture


def nearest_texel(table: TexelTable) -> npt.NDArray[np.intp]:
    """(size, size) row of the table's texel that lies nearest."""
    row_of = np.zeros((table.size, table.size), np.intp)
    row_of[table.rows, table.columns] = np.arange(len(table.rows))
    empty = np.ones((table.size, table.size), bool)
    empty[table.rows, table.columns] = False
    indices = np.asarray(distance_transform_edt(empty, return_distances=False, return_indices=True))
    return row_of[indices[0], indices[1]]


def _f32(values: npt.NDArray[np.floating]) -> Float32:
    return np.ascontiguousarray(values, np.float32)
