"""A session as MP4 with sound: what its camera saw, or an avatar drawn from what was recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from apps.pipeline import Codes, Draw
from apps.sound_line import SoundFormat
from apps.usage import FailedError
from apps.video_writer import VideoWriter
from overlay.placement import place_panels
from sessions.seams import Record
from streams.audio_block import AudioBlock
from streams.avatar_code import AvatarCode
from streams.frame import Frame
from streams.shown_panels import ShownPanels
from streams.tracked_state import TrackedState
from streams.view import View

USUAL_FPS = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A picture of the film."""

    t_ns: int
    rgb: npt.NDArray[np.uint8]
    """(H, W, 3 or 4) uint8 sRGB."""


@dataclass(frozen=True, slots=True)
class FilmTake:
    """What was written."""

    pictures: int
    sound: bool
    start_ns: int
    """The session's time at the film's time 0: that of the first picture."""


def write_film(
    parts: Iterable[Shown | AudioBlock],
    out: Path,
    fps: float = USUAL_FPS,
    sound: SoundFormat | None = None,
) -> FilmTake:
    """Pictures and sound, in the order of their times, each at its own time.

    Sound before the first picture is left out. `fps` is nominal: the pictures' times count.
    Raises FailedError when there is no picture or their size changes, WriteError when the file
    cannot take it.
    """
    writer: VideoWriter | None = None
    start_ns = 0
    early: list[AudioBlock] = []
    size = (0, 0)
    try:
        for part in parts:
            if isinstance(part, AudioBlock):
                if sound is None:
                    continue
                if writer is None:
                    early.append(part)
                    continue
                writer.write_sound(replace(part, t_ns=part.t_ns - start_ns))
                continue
            if writer is None:
                size, start_ns = (part.rgb.shape[1], part.rgb.shape[0]), part.t_ns
                writer = VideoWriter(out, size, fps, sound=sound)
                for block in early:
                    if block.t_ns + block.duration_ns > start_ns:
                        writer.write_sound(replace(block, t_ns=block.t_ns - start_ns))
                early.clear()
            elif part.rgb.shape[1::-1] != size:
                raise FailedError(
                    f"{out}: pictures change from {size[0]}x{size[1]} to {part.rgb.shape[1]}x"
                    f"{part.rgb.shape[0]} after {writer.frames} of them; a video has one size"
                )
            writer.write(part.rgb, part.t_ns - start_ns)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise FailedError(f"{out}: no picture to write")
    return FilmTake(writer.frames, sound is not None, start_ns)


def recorded_pictures(records: Iterable[Record]) -> Iterator[Shown | AudioBlock]:
    """The frames (give those of one camera) as they are, and the sound; other records are left
    out."""
    for record in records:
        if isinstance(record, Frame):
            yield Shown(record.t_ns, record.rgb)
        elif isinstance(record, AudioBlock):
            yield record


def drawn_pictures(
    records: Iterable[Record],
    avatar: Codes,
    draw: Draw,
    view_of: Callable[[int], View],
) -> Iterator[Shown | AudioBlock]:
    """A picture of every state or code (give only one of the two), with the panels of its time,
    and the sound; other records are left out.

    `view_of` tells from where to draw at a time. Raises ValueError for codes of another avatar.
    """
    shown: ShownPanels | None = None
    for record in records:
        if isinstance(record, AudioBlock):
            yield record
            continue
        if isinstance(record, ShownPanels):
            shown = record
        if not isinstance(record, TrackedState | AvatarCode):
            continue
        code = avatar.encode(record) if isinstance(record, TrackedState) else record
        view = view_of(record.t_ns)
        panels = () if shown is None else shown.panels
        image = draw(
            avatar.decode(code, view),
            view,
            place_panels(panels, code.world_from_head, code.hands),
        )
        if image is None:
            raise ValueError("drawn_pictures: expected read-back pictures, got none")
        yield Shown(record.t_ns, image.rgba)


def nominal_fps(times_ns: npt.NDArray[np.int64]) -> float:
    """Pictures a second by the median of their intervals; USUAL_FPS for fewer than two."""
    steps = np.diff(times_ns)
    steps = steps[steps > 0]
    if not len(steps):
        return USUAL_FPS
    return float(np.clip(1e9 / np.median(steps), 1.0, 240.0))
