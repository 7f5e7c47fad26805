"""What still looks wrong in personal avatars: `python -m benchmarks.fault_sheet OUT.jpg`.

Three people who do not exist act the guided capture, each is enrolled from the pictures alone, and
moments that were not in it are drawn twice: as filmed, and as the avatar shows them. Up to a turn
of 35 degrees the avatar is encoded from the picture; beyond it no tracker follows, and it gets the
true pose of a calm head. Takes some minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import tyro
from PIL import Image, ImageDraw

from apps.likeness_evaluation import draw_over
from avatar.codec import Avatar
from avatar.enrolment.observations import Observations
from avatar.enrolment.recipe import EnrolmentOptions, enrol
from avatar.personal_avatar import PersonalAvatar, resting_state
from avatar.personal_model import PersonalModel
from benchmarks.portraits import portrait
from capture.scenes import open_scene
from capture.synthetic import SyntheticOptions, SyntheticPerson
from render.renderer import Renderer, RenderOptions, open_renderer
from streams.camera import Camera
from streams.frame import Frame
from streams.projection import project
from streams.rigid import Rigid
from streams.tracked_state import TrackedState
from streams.view import View
from tracking.segmentation import PersonSegmenter
from tracking.tracker import Tracker, TrackerOptions

UInt8 = npt.NDArray[np.uint8]
Dress = Callable[[UInt8, Camera, Rigid], UInt8]
"""Draws on a picture, in place, what a head `world_from_head` wears."""

CAMERA = Camera.from_fov((512, 512), np.deg2rad(44.0), name="fault sheet")
FPS = 5.0
TRACKED_DEG = 35.0
CELL, COLUMNS, LABEL, QUALITY = 196, 3, 18, 82


@dataclass(frozen=True, slots=True)
class Moment:
    """What somebody does who has been enrolled."""

    label: str
    shapes: dict[str, float]
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0


@dataclass(frozen=True, slots=True)
class Person:
    """One who is enrolled."""

    avatar: str
    dress: Dress
    moments: tuple[Moment, ...]


def bare(picture: UInt8, _camera: Camera, _pose: Rigid) -> UInt8:
    """Nothing more than the avatar has."""
    return picture


def spectacles(picture: UInt8, camera: Camera, pose: Rigid) -> UInt8:
    """A dark wire frame with temples as far as the ears."""
    turn = np.linspace(0.0, 2 * np.pi, 48)
    ring = np.stack([0.024 * np.cos(turn), 0.019 * np.sin(turn), np.zeros(48)], axis=1)
    lines = [ring + (side * 0.033, -0.004, 0.032) for side in (-1.0, 1.0)]
    lines.append(np.array([[-0.009, 0.001, 0.034], [0.0, 0.004, 0.036], [0.009, 0.001, 0.034]]))
    _draw(picture, camera, pose, lines, (40, 34, 30), 3)
    for side in (-1.0, 1.0):
        if side * pose.rotation()[0, 2] < 0.05:  # the nearer temple, or both from the front
            temple = np.array([[0.057, 0.0, 0.028], [0.071, 0.002, -0.02], [0.076, 0.002, -0.07]])
            _draw(picture, camera, pose, [temple * (side, 1.0, 1.0)], (40, 34, 30), 3)
    return picture


def long_hair(picture: UInt8, camera: Camera, pose: Rigid) -> UInt8:
    """Two falls of hair from the temples down over the shoulders."""
    down, rng = np.linspace(0.0, 1.0, 24), np.random.default_rng(3)
    for side in (-1.0, 1.0):
        if side * pose.rotation()[0, 2] > 0.3:
            continue  # behind the head
        for across, depth, shade in rng.uniform(0.0, 1.0, (260, 3)):
            x = 0.062 + 0.022 * across + 0.016 * np.sin(np.pi * down) + 0.01 * down
            y = 0.085 - 0.05 * across - (0.215 + 0.04 * depth) * down
            z = np.full(24, -0.015 - 0.08 * depth)
            tint = tuple(int((0.5 + 1.2 * shade) * c) for c in (34, 27, 26))
            strand = np.stack([side * x, y, z], axis=1)
            _draw(picture, camera, pose, [strand], tint, 2)
    return picture


def _draw(
    picture: UInt8,
    camera: Camera,
    pose: Rigid,
    lines: list[npt.NDArray[np.float64]],
    tint: tuple[int, ...],
    width: int,
) -> None:
    for line in lines:
        pixels, _ = project(camera, pose.apply(line))
        corners = np.rint(pixels * 16).astype(np.int32)
        cv2.polylines(picture, [corners], False, tint, width, cv2.LINE_AA, 4)


SMILE = {"mouthSmile": 0.15}
PEOPLE = (
    Person("default", bare, (
        Moment("calm", SMILE),
        Moment("turned by 60 degrees", SMILE, 60.0),
        Moment("turned by 80 degrees", SMILE, 80.0),
        Moment("from behind", SMILE, 160.0),
        Moment("eyes closed", {"eyeBlink": 1.0}),
        Moment("mouth wide open", {"jawOpen": 1.0}),
    )),
    Person("mei", long_hair, (
        Moment("hair over the brow, long hair (drawn)", SMILE),
        Moment("the same, turned", {"browInnerUp": 0.9, "browOuterUp": 0.9}, -28.0),
        Moment("the same, turned by 80 degrees", SMILE, 80.0),
    )),
    Person("walter", spectacles, (
        Moment("glasses (drawn)", SMILE),
        Moment("the same, turned", {"eyeSquint": 0.6}, 26.0, 8.0),
        Moment("the same, eyes closed", {"eyeBlink": 1.0}),
    )),
)  # fmt: skip


class Stage:
    """Films a person."""

    def __init__(self, person: Person, renderer: Renderer) -> None:
        self._avatar, self._renderer = Avatar.open(person.avatar), renderer
        self._dress, self._view = person.dress, View.from_camera(CAMERA)

    def draw(self, state: TrackedState) -> UInt8:
        """(H, W, 3) sRGB."""
        mesh = self._avatar.rig(state)
        picture = np.ascontiguousarray(self._renderer.draw(mesh, self._view).rgba[..., :3])
        assert state.face is not None
        return self._dress(picture, CAMERA, state.face.world_from_head)

    def state(self, moment: Moment) -> TrackedState:
        """The truth."""
        turn = Rigid.from_rotvec([0.0, np.deg2rad(moment.yaw_deg), 0.0]) @ Rigid.from_rotvec(
            [-np.deg2rad(moment.pitch_deg), 0.0, 0.0]
        )
        gaze = (0.0, 0.0)
        rotvec = turn.rotvec()
        return portrait(
            self._avatar, moment.shapes, gaze, (rotvec[0], rotvec[1], rotvec[2])
        )  # fmt: skip


def enrolled(stage: Stage) -> PersonalModel:
    """From the guided capture."""
    film = SyntheticPerson(open_scene("guided"), stage.draw, SyntheticOptions(CAMERA, FPS, 1.5))
    frames = list(film)
    with Tracker.open(TrackerOptions(hands=0)) as tracker, PersonSegmenter() as segmenter:
        seen = Observations.of([tracker.track(frame) for frame in frames])
        return enrol(lambda: iter(frames), seen, EnrolmentOptions(), matte=segmenter.person)


def pairs(person: Person) -> Iterator[tuple[str, UInt8, UInt8]]:
    """Each moment's label, the picture and the avatar's."""
    options = RenderOptions(depth=False, antialias="supersample")
    with open_renderer("gl", options) as renderer:
        stage = Stage(person, renderer)
        with PersonalAvatar(enrolled(stage), "avatars/sheet", fade=False) as avatar:
            for moment in person.moments:
                state = stage.state(moment)
                frame = Frame(0, 0, CAMERA, stage.draw(state))
                assert state.face is not None
                if abs(moment.yaw_deg) > TRACKED_DEG:
                    code = avatar.encode(resting_state(0, state.face.world_from_head))
                else:
                    with Tracker.open(TrackerOptions(hands=0)) as tracker:
                        code = avatar.encode(tracker.track(frame), frame)
                yield moment.label, frame.rgb, draw_over(renderer, avatar, code, frame)


def sheet(cells: list[tuple[str, UInt8, UInt8]]) -> Image.Image:
    """All pairs, the source on the left of each."""
    rows = -(-len(cells) // COLUMNS)
    wide, high = 2 * CELL + 6, CELL + LABEL
    out = Image.new("RGB", (COLUMNS * wide, rows * high), "white")
    pen = ImageDraw.Draw(out)
    for k, (label, source, ours) in enumerate(cells):
        x, y = k % COLUMNS * wide, k // COLUMNS * high
        pen.text((x + 2, y + 3), label, "black")
        for side, picture in enumerate((source, ours)):
            small = cv2.resize(picture[40:480, 36:476], (CELL, CELL), interpolation=cv2.INTER_AREA)
            out.paste(Image.fromarray(np.asarray(small, np.uint8)), (x + side * CELL, y + LABEL))
    return out


def main(out: tyro.conf.Positional[Path]) -> None:
    """Write the sheet."""
    cells: list[tuple[str, UInt8, UInt8]] = []
    for person in PEOPLE:
        cells += pairs(person)
        print(f"{person.avatar}: {len(person.moments)} moments", flush=True)
    sheet(cells).save(out, quality=QUALITY, optimize=True)
    print(f"wrote {out} ({out.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    tyro.cli(main)
