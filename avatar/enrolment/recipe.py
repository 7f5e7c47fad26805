"""From a tracked video to a personal model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from avatar.driving import OwnDriving, own_inputs
from avatar.enrolment.code_space import CodeSpace
from avatar.enrolment.driving_fit import ANY_RIDGE, ANY_SPREAD, OwnFit, Regression
from avatar.enrolment.lash_picture import LashLook
from avatar.enrolment.learning_stages import LearningStages
from avatar.enrolment.observations import Observations
from avatar.enrolment.registration import Registration, own_strangeness
from avatar.enrolment.silhouette import OutlineView, shaped_scalp
from avatar.enrolment.spectacle_matte import WornSpectacles
from avatar.enrolment.texture_basis_fit import (
    BasisFit,
    BasisOptions,
    Watch,
    fit_basis,
)
from avatar.enrolment.texture_reading import (
    EnrolmentError,
    Matte,
    Moments,
    Progress,
    Textures,
    Video,
    all_person,
    contiguous_f32,
    frames_of,
    lash_look,
    read_textures,
    worn_spectacles,
)
from avatar.head_mesh import ATLAS, HeadMesh
from avatar.head_placement import GLASSES
from avatar.landmark_map import LandmarkMap
from avatar.personal_model import CHART, PersonalModel
from avatar.picture_encoder import PictureEncoder, reduced_mean
from avatar.unwrapping import TexelTable
from streams.tracked_state import FacePose

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]
Show = Callable[[UInt8], None]
"""Takes a picture (h, 2 w, 3) of a moment and of the avatar so far."""

MM2_ERROR = 60.0
"""Squared code values that a square millimetre of misplaced surface costs in the picture (measured
on three talking people: faces have about 5 code values of contrast a pixel, 1.6 pixels a mm)."""

MM2_FRAME_ERROR = 25.0
"""Likewise a millimetre by which the frame of glasses is misplaced, squared: it is a fiftieth of
the face, and differs from it by some 40 code values."""


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


OUTLINE_FRAMES = 24
FIRST_ROUNDS = 3
"""Of learning the first picture."""


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
    lashes = stages.once("lashes", lash_look)(video, chosen)
    moments = Moments(chosen, registration.codes(chosen))
    if options.registered_frames:
        codes = stages.once("registration", registered_codes)(
            video, head, registration, moments, options, progress, matte, show, worn, lashes
        )
        moments = replace(moments, codes=codes)
    textures = stages.once("textures", read_textures)(
        video, head, registration, moments, progress, matte, worn, lashes
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
    lashes: LashLook,
) -> Float32:
    """(N, P) geometry numbers of the moments, all frames registered to one picture of the person,
    which is learned from a part of them first."""
    few = moments.spread(options.registered_frames)
    quick = replace(options, basis=replace(options.basis, rounds=FIRST_ROUNDS))
    textures = read_textures(video, head, registration, few, progress, matte, worn, lashes)
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
    for row, frame in frames_of(video, seen):
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
        for row, frame in frames_of(video, chosen.at(rows))
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
    drawn = reduced_mean(mean)[at].astype(np.float32)
    if textures.worn is not None:  # whose picture is drawn without the skin that is seen through it
        front = textures.worn.texels()
        drawn[len(drawn) - len(front.rows) :] = front.average
    basis = replace(basis, mean=drawn)
    products = inner_products_of(basis, textures, gains)
    views = chosen.view_directions()
    grid = options.basis.grid
    on_face = textures.table.regions != GLASSES
    space = CodeSpace.fit(basis, products, views, options.appearance, grid, on_face)
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
    if textures.lashes is not None:
        mean, opacity, planes = textures.lashes.painted(mean, opacity, planes)
    if textures.worn is not None:
        mean, opacity, planes = textures.worn.painted(mean, opacity, planes)
    glasses = None if textures.worn is None else textures.worn.spectacles
    frame_errors = np.zeros(0) if glasses is None else MM2_FRAME_ERROR * glasses.unit_mm() ** 2
    errors = np.concatenate(
        [MM2_ERROR * moved_mm2, (100.0 * gain_sigma) ** 2, frame_errors, space.error]
    )
    progress("learning to drive", 1.0)
    return PersonalModel(
        rest=contiguous_f32(likeness.vertices),
        eyes=contiguous_f32(likeness.eyes),
        eye_radius=np.array([likeness.eye_radius], np.float32),
        neck_pivot=contiguous_f32(likeness.neck_pivot),
        moves=registration.moves,
        landmark_rest=contiguous_f32(registration.landmark_rest),
        landmark_moves=contiguous_f32(registration.landmark_moves),
        gaze_map=contiguous_f32(registration.gaze_map),
        mean=mean,
        opacity=opacity,
        planes=planes,
        plane_scale=scale,
        grid=np.array([grid, grid], np.int32),
        active=basis.active.astype(np.int32),
        coarse=basis.coarse.astype(np.int32),
        node_rest=contiguous_f32(space.rest),
        node_moves=contiguous_f32(np.pad(space.moves, ((worn, 0), (0, 0)))),
        node_view=contiguous_f32(space.view),
        view_rest=contiguous_f32(space.view_rest),
        gain_sigma=contiguous_f32(gain_sigma),
        projection=contiguous_f32(np.pad(space.projection, ((worn, 0), (0, 0)))),
        projection_rest=contiguous_f32(np.pad(space.offset, (worn, 0))),
        view_codes=contiguous_f32(np.pad(space.view_codes, ((0, 0), (worn, 0)))),
        own_rest=contiguous_f32(own.rest),
        own_map=contiguous_f32(own.linear),
        own_points=contiguous_f32(own.points),
        own_metric=contiguous_f32(own.metric),
        own_point_map=contiguous_f32(own.point_map),
        own_centre=contiguous_f32(own.centre),
        own_scale=contiguous_f32(own.scale),
        any_map=contiguous_f32(anyone.folded()),
        strangeness=np.median(own_strangeness(chosen), keepdims=True).astype(np.float32),
        distortion=contiguous_f32(errors),
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
