"""Video files, through FFmpeg (PyAV): every picture, with the exact time that the file gives it.

All of FFmpeg's ways stay in this file: time bases, rotation flags, YUV, error classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter
from av.video.stream import VideoStream

from capture.frame_source import SourceError, SourceOptions
from streams.closing import Closing
from streams.frame import Frame

DEFAULT_FPS = 25.0
SMALLEST_SIDE = 16
"""A picture with a shorter side is no picture of a person; trackers refuse it as well."""
MISSING_END_S = 0.5
"""A file that ends so much earlier than its header says was cut off."""

_MATRIX_OF_TAG = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
}
"""FFmpeg's AVColorSpace numbers to swscale's."""


class VideoFile(Closing):
    """A FrameSource over the first video stream of a file.

    `t_ns` counts from the file's own time zero, so the same file always gives the same frames. A
    damaged file gives what can be decoded and then ends; `damaged` counts what was not.
    """

    live = False

    def __init__(self, path: Path, options: SourceOptions | None = None) -> None:
        options = options or SourceOptions()
        self.path = path
        self.damaged = 0
        self._seq = 0
        self._last_t_ns: int | None = None
        self._end_s = 0.0
        self._reformatter = VideoReformatter()
        self._container, self._stream = _open(path)
        self._frames = self._decode()
        self._mirrored = options.mirrored
        try:
            first = next(self._frames, None)
            if first is None:
                raise SourceError(
                    f"{path}: no picture in it can be decoded; is the file complete? "
                    "Copy or export it again"
                )
            self._pending: VideoFrame | None = first
            self._quarter_turns = (int(first.rotation) // 90) % 4
            self._read_size = _read_size(path, first, self._stream, options.longest_side)
            width, height = self._read_size
            size = (height, width) if self._quarter_turns % 2 else (width, height)
            self.fps = _nominal_rate(self._stream)
            self.camera = options.camera_of(size, path.name)
        except BaseException:
            self._container.close()
            raise

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        picture = self._pending if self._pending is not None else next(self._frames, None)
        self._pending = None
        if picture is None:
            raise StopIteration
        frame = Frame(
            self._time(picture), self._seq, self.camera, self._pixels(picture), self._mirrored
        )
        self._seq += 1
        self._last_t_ns = frame.t_ns
        return frame

    def close(self) -> None:
        """Close the file; iterating ends."""
        self._pending = None
        self._frames = iter(())
        self._container.close()

    def _decode(self) -> Iterator[VideoFrame]:
        """Every decodable picture in display order; counts faults instead of raising them."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                # The demuxer cannot go on; what the decoder still holds comes out below.
                self.damaged += 1
                yield from self._pictures_of(None)
                break
            if packet is None:
                break
            yield from self._pictures_of(packet)
        if self._cut_off():
            self.damaged += 1

    def _pictures_of(self, packet: Packet | None) -> Iterator[VideoFrame]:
        try:
            pictures = self._stream.codec_context.decode(packet)
        except av.error.FFmpegError:
            self.damaged += 1
            return
        for picture in pictures:
            if picture.is_corrupt:
                self.damaged += 1
            if picture.time is not None:
                self._end_s = max(self._end_s, picture.time)
            yield picture

    def _cut_off(self) -> bool:
        """Whether the header promises a later end than what was decoded."""
        stream = self._stream
        if stream.duration is None or stream.time_base is None:
            return False
        promised_s = float((stream.start_time or 0) + stream.duration) * float(stream.time_base)
        return self._end_s + MISSING_END_S < promised_s

    def _time(self, picture: VideoFrame) -> int:
        step_ns = round(1e9 / self.fps)
        last = self._last_t_ns
        if picture.pts is None or picture.time_base is None:
            return 0 if last is None else last + step_ns
        t_ns = round(picture.pts * picture.time_base * 1_000_000_000)
        if last is not None and t_ns <= last:
            # Only a broken file repeats a time; what follows relies on rising ones.
            self.damaged += 1
            return last + step_ns
        return t_ns

    def _pixels(self, picture: VideoFrame) -> npt.NDArray[np.uint8]:
        width, height = self._read_size
        rgb = self._reformatter.reformat(
            picture, width, height, "rgb24", src_colorspace=_matrix_of(picture), threads=1
        ).to_ndarray()
        return np.ascontiguousarray(np.rot90(np.asarray(rgb, np.uint8), self._quarter_turns))


def _open(path: Path) -> tuple[InputContainer, VideoStream]:
    if not path.exists():
        raise SourceError(f"{path}: there is no such file")
    if path.is_dir():
        raise SourceError(f"{path}: this is a folder; give a video file in it")
    try:
        container = av.open(str(path), mode="r")
    except PermissionError as error:
        raise SourceError(f"{path}: you may not read this file (chmod +r {path})") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceError(
            f"{path}: not a video that FFmpeg can read ({_reason(error)}); "
            "a cut-off or foreign file? Copy or export it again, for example as MP4"
        ) from error
    if not container.streams.video:
        container.close()
        raise SourceError(f"{path}: holds no video stream (sound only?)")
    stream = container.streams.video[0]
    if stream.codec_context is None:  # no decoder: PyAV's types leave that out
        container.close()
        raise SourceError(
            f"{path}: its pictures are of a kind that FFmpeg does not know; "
            "export it again, for example as MP4"
        )
    stream.thread_type = "AUTO"
    return container, stream


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())


def _read_size(
    path: Path, picture: VideoFrame, stream: VideoStream, longest_side: int
) -> tuple[int, int]:
    """(width, height) before rotation: square pixels, at most `longest_side`."""
    width, height = picture.width, picture.height
    if min(width, height) < SMALLEST_SIDE:
        raise SourceError(
            f"{path}: its pictures are {width}x{height} pixels; "
            f"expected at least {SMALLEST_SIDE}x{SMALLEST_SIDE}"
        )
    aspect = stream.sample_aspect_ratio
    if aspect is not None and aspect > 0 and 0.1 < float(aspect) < 10.0:
        width = round(width * float(aspect))
    scale = min(1.0, longest_side / max(width, height))
    return max(SMALLEST_SIDE, round(width * scale)), max(SMALLEST_SIDE, round(height * scale))


def _nominal_rate(stream: VideoStream) -> float:
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate is not None and 0.1 <= float(rate) <= 1000.0:
            return float(rate)
    return DEFAULT_FPS


def _matrix_of(picture: VideoFrame) -> Colorspace:
    """The YUV matrix of a picture; an untagged one of 720 lines or more is BT.709, as usual."""
    tagged = _MATRIX_OF_TAG.get(picture.colorspace)
    if tagged is not None:
        return tagged
    return Colorspace.ITU709 if min(picture.width, picture.height) >= 720 else Colorspace.ITU601
