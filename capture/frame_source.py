"""The seam between whatever takes pictures and everything that uses them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from streams.camera import Camera
from streams.closing import Closing
from streams.frame import Frame

SPECS = "webcam:NUMBER, video:PATH"


class SourceError(OSError):
    """A source cannot be opened, or stopped giving pictures. The message is one readable line."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What is known or wished of a source before it is opened."""

    fov_long_side: float | None = None
    """Radians along the longer image side, of a camera that nobody calibrated."""
    camera: Camera | None = None
    """The camera where it was calibrated, at any resolution of the same proportions."""
    size: tuple[int, int] | None = None
    """(width, height) to ask of a webcam; None takes its default. A file has its own."""
    fps: float | None = None
    """Rate to ask of a webcam; None takes its default. A file has its own."""
    mirrored: bool = False
    """True when the source delivers mirror images ("selfie" pictures)."""
    longest_side: int = 2048
    """Pictures with a longer side than this are scaled down as they are read: trackers use no
    more, and a few 8k frames on their way through the stages would fill the memory."""
    timeout_s: float = 5.0
    """A live source that gives no picture for so long counts as unplugged."""

    def __post_init__(self) -> None:
        if self.fov_long_side is not None and not 0.1 <= self.fov_long_side <= 3.0:
            raise ValueError(
                "SourceOptions.fov_long_side: expected 0.1 to 3.0 radians, "
                f"got {self.fov_long_side!r}"
            )
        if self.fov_long_side is not None and self.camera is not None:
            raise ValueError("SourceOptions: expected fov_long_side or camera, got both")
        if self.longest_side < 16:
            raise ValueError(
                f"SourceOptions.longest_side: expected at least 16 pixels, got {self.longest_side}"
            )
        if not self.timeout_s > 0:
            raise ValueError(
                f"SourceOptions.timeout_s: expected seconds above 0, got {self.timeout_s}"
            )

    def camera_of(self, size: tuple[int, int], name: str) -> Camera:
        """The camera of a source that gives pictures of (width, height): the calibrated one, or a
        guess called `name`. Raises SourceError when it was calibrated for other proportions."""
        if self.camera is None:
            return Camera.guessed(size, self.fov_long_side, name=name)
        (width, height), (w, h) = self.camera.size, size
        # A row or column more or less comes of rounding; anything else is cropped.
        if abs(width * h / height - w) > 1.0 + w / 400.0:
            raise SourceError(
                f"{name}: its pictures are {w}x{h}, but the camera was calibrated with "
                f"{width}x{height}; choose a resolution of the same proportions, or calibrate it "
                "at this one"
            )
        return self.camera if size == self.camera.size else self.camera.scaled(size)


class FrameSource(Protocol):
    """Gives frames one after the other, with strictly rising `seq` and `t_ns`.

    A live source gives its newest picture and drops what nobody fetched (a gap in `seq`); any
    other one gives every picture. `close` may be called twice and from another thread.
    """

    @property
    def camera(self) -> Camera:
        """The camera of every frame."""
        ...

    @property
    def fps(self) -> float:
        """Nominal frames a second; the frames' own times are what counts."""
        ...

    @property
    def live(self) -> bool:
        """True when pictures are lost unless they are fetched in time."""
        ...

    @property
    def damaged(self) -> int:
        """How many faults were met in the data so far; 0 for a sound source."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...

    def __next__(self) -> Frame: ...

    def close(self) -> None:
        """Let go of the device or file."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


class SourceAround(Closing):
    """A FrameSource that hands on another one's; what differs is said by who inherits."""

    def __init__(self, source: FrameSource) -> None:
        self._source = source

    @property
    def camera(self) -> Camera:
        return self._source.camera

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """As `cameras_of`."""
        return cameras_of(self._source)

    @property
    def fps(self) -> float:
        return self._source.fps

    @property
    def live(self) -> bool:
        return self._source.live

    @property
    def of_camera(self) -> bool:
        """As `is_of_camera`."""
        return is_of_camera(self._source)

    @property
    def damaged(self) -> int:
        return self._source.damaged

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        return next(self._source)

    def close(self) -> None:
        """Close the other one."""
        self._source.close()


def cameras_of(source: FrameSource) -> tuple[Camera, ...]:
    """The cameras of a source's frames and of what is beside these, the frames' own first."""
    return source.cameras if isinstance(source, SourceAround) else (source.camera,)


def is_of_camera(source: FrameSource) -> bool:
    """Whether its frames show who is here: those of a film that is paced as if it were live do
    not."""
    return source.of_camera if isinstance(source, SourceAround) else source.live


def open_source(spec: str, options: SourceOptions | None = None) -> FrameSource:
    """Open "webcam:0", "webcam:/dev/video2" or "video:talk.mp4".

    Raises SourceError when there is no such source or it is unreadable, ValueError when the spec
    itself makes no sense.
    """
    chosen = options or SourceOptions()
    kind, _, where = spec.partition(":")
    if not where:
        raise ValueError(f"source {spec!r}: expected one of {SPECS}")
    # Imported here: a video needs no OpenCV, a webcam no FFmpeg.
    if kind == "webcam":
        from capture.webcam import Webcam

        return Webcam(int(where) if where.isdigit() else where, chosen)
    elif kind == "video":
        from capture.video_file import VideoFile

        return VideoFile(Path(where), chosen)
    else:
        raise ValueError(f"source {spec!r}: expected one of {SPECS}")
