"""MP4 files (H.264), through FFmpeg (PyAV), that stay playable whatever happens.

The file is written in fragments of about a second, so what a killed process leaves can be played;
on a proper close it becomes a plain MP4.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter

from apps.sound_encoder import SoundEncoder
from apps.sound_line import SoundFormat
from streams.audio_block import AudioBlock
from streams.closing import Closing

SOUND_CODECS = frozenset({"aac", "mp3", "opus", "flac", "alac"})
"""Sound that MP4 carries as it is."""
LEAST_TICKS_S = 12_800
"""Finer than any rate that a video has."""


class WriteError(OSError):
    """A video cannot be written (on). The message is one readable line."""


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """How pictures are encoded."""

    crf: int = 18
    """x264's quality: 0 lossless, 18 hardly visible, 51 worst."""
    preset: str = "veryfast"
    """x264's effort."""
    threads: int = 2
    """Fixed, because x264's bytes depend on it."""


class VideoWriter(Closing):
    """One video of one size, written as pictures come, each with its own time.

    `sound_from` is a file whose first sound stream is copied next to the pictures; `sound` says
    that sound will come through `write_sound`, which is encoded as AAC.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        fps: float,
        options: VideoOptions | None = None,
        sound_from: Path | None = None,
        sound: SoundFormat | None = None,
    ) -> None:
        options = options or VideoOptions()
        if sound is not None and sound_from is not None:
            raise ValueError("VideoWriter: expected sound or sound_from, got both")
        self.path = path
        self.frames = 0
        # 4:2:0 halves both axes; an odd last row or column is doubled.
        self._padding = (size[1] % 2, size[0] % 2)
        self._size = size
        self._last_pts: int | None = None
        self._reformatter = VideoReformatter()
        self._file = _open_file(path)
        self._closed = False
        try:
            # A finished file is an ordinary MP4, an unfinished one a fragmented MP4.
            self._container = av.open(
                self._file,
                "w",
                format="mp4",
                options={"movflags": "+hybrid_fragmented+frag_keyframe", "flush_packets": "1"},
            )
            rate = Fraction(fps).limit_denominator(1001)
            ticks_s = rate.numerator * -(-LEAST_TICKS_S // rate.numerator)
            self._time_base = Fraction(1, ticks_s)
            self._step = max(1, round(Fraction(ticks_s) / rate))
            self._stream = self._container.add_stream("libx264", rate=rate)
            self._stream.width = size[0] + self._padding[1]
            self._stream.height = size[1] + self._padding[0]
            self._stream.pix_fmt = "yuv420p"
            self._stream.time_base = self._time_base
            context = self._stream.codec_context
            context.time_base = self._time_base
            context.thread_count = options.threads
            context.gop_size = max(1, round(fps))
            # No B-pictures: their delay would shift every time in the fragments by two pictures.
            context.options = {"crf": str(options.crf), "preset": options.preset, "bf": "0"}
            context.colorspace = int(Colorspace.ITU709)
            context.color_primaries = int(ColorPrimaries.BT709)
            context.color_trc = int(ColorTrc.BT709)
            context.color_range = int(ColorRange.MPEG)
            self._sound = _Sound.of(sound_from, self._container)
            self._encoder = None if sound is None else SoundEncoder(self._container, sound)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._file.fail()
            self._file.close()
            raise WriteError(f"{path}: cannot write this video ({error})") from error

    def write(self, rgb: npt.NDArray[np.uint8], t_ns: int) -> None:
        """Add a picture, (height, width, 3 or 4) uint8 sRGB (alpha is ignored), shown from `t_ns`.

        Raises ValueError for another size or a time that does not rise, WriteError when the file
        cannot take it (disk full); what was written before stays playable.
        """
        if self._closed:
            raise ValueError(f"VideoWriter.write: expected an open file, {self.path} is closed")
        width, height = self._size
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[:2] != (height, width):
            raise ValueError(
                f"VideoWriter.write: expected uint8 ({height}, {width}, 3 or 4), "
                f"got {rgb.dtype} {rgb.shape}"
            )
        pts = round(Fraction(t_ns, 1_000_000_000) / self._time_base)
        if self._last_pts is not None and pts <= self._last_pts:
            raise ValueError(
                f"VideoWriter.write: expected times that rise by at least "
                f"{float(self._time_base) * 1e3:.3f} ms, got {t_ns} ns again or earlier"
            )
        pixels = rgb[:, :, :3]
        if any(self._padding):
            pixels = np.pad(pixels, ((0, self._padding[0]), (0, self._padding[1]), (0, 0)), "edge")
        picture = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
        picture = self._reformatter.reformat(
            picture,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        picture.pts, picture.time_base = pts, self._time_base
        self._last_pts = pts
        try:
            self._mux(self._stream.encode(picture))
            self._sound.copy_until(t_ns / 1e9, self._container)
        except (av.error.FFmpegError, OSError) as error:
            raise self._failure(error) from error
        self.frames += 1

    def write_sound(self, block: AudioBlock) -> None:
        """Add sound; its time counts as the pictures' do. Gaps become silence.

        Raises ValueError for a writer without `sound` or another rate or number of channels,
        WriteError when the file cannot take it.
        """
        if self._encoder is None or self._closed:
            raise ValueError("VideoWriter.write_sound: expected an open file made with `sound`")
        try:
            self._encoder.write(block)
        except (av.error.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Finish the file. Raises WriteError when its end cannot be written."""
        if self._closed:
            return
        self._closed = True
        try:
            if self.frames and not self._file.failed:
                self._mux(self._stream.encode(None))
                end = (self._last_pts or 0) + self._step
                self._sound.copy_until(float(end * self._time_base), self._container)
                if self._encoder is not None:
                    self._encoder.finish()
            elif not self.frames:
                self._file.fail()
            self._container.close()
        except (av.error.FFmpegError, OSError) as error:
            if not self._file.failed:
                raise self._failure(error) from error
        finally:
            self._sound.close()
            self._file.close()
            if not self.frames:
                self.path.unlink(missing_ok=True)

    def _mux(self, packets: list[Packet]) -> None:
        for packet in packets:
            if not packet.duration:
                packet.duration = self._step
            self._container.mux(packet)

    def _failure(self, error: BaseException) -> WriteError:
        self._file.fail()
        reason = getattr(error, "strerror", None) or str(error)
        return WriteError(
            f"{self.path}: writing stopped after {self.frames} pictures ({reason}); "
            "what was written plays; free some space or choose another folder with --out"
        )


class _File(io.RawIOBase):
    """The file on disk. After a failed write it takes no more, so that the fragments that are
    there stay as they are when FFmpeg lets go of it."""

    def __init__(self, path: Path) -> None:
        self.failed = False
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - closed in close()

    def write(self, data: object, /) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        if self.failed:
            return len(view)
        done = 0
        try:
            while done < len(view):
                done += self._file.write(view[done:])
        except OSError:
            self.failed = True
            raise
        return done

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def fail(self) -> None:
        """Take no more bytes."""
        self.failed = True

    def close(self) -> None:
        self._file.close()
        super().close()


class _Sound:
    """Copies sound packets of a file, as far as the pictures have come."""

    def __init__(self, source: InputContainer | None, target: Stream | None) -> None:
        self._source, self._target = source, target
        self._packets = source.demux(source.streams.audio[0]) if source is not None else iter(())
        self._waiting: Packet | None = None
        self._started = False

    @staticmethod
    def of(path: Path | None, container: OutputContainer) -> _Sound:
        """Nothing to copy when there is no path, no sound, or a kind of it that MP4 lacks."""
        if path is None:
            return _Sound(None, None)
        try:
            source = av.open(str(path), "r")
        except (av.error.FFmpegError, OSError):
            return _Sound(None, None)
        streams = source.streams.audio
        codec = streams[0].codec_context if streams else None
        if codec is None or codec.name not in SOUND_CODECS:
            source.close()
            return _Sound(None, None)
        return _Sound(source, container.add_stream_from_template(streams[0]))

    def copy_until(self, end_s: float, container: OutputContainer) -> None:
        while self._target is not None:
            if self._waiting is None:
                try:
                    self._waiting = next(self._packets, None)
                except av.error.FFmpegError:
                    self._waiting = None  # The rest of the sound is damaged: keep what there is.
            packet = self._waiting
            if packet is None or packet.dts is None or packet.time_base is None:
                self._target = None  # The end: FFmpeg's demuxer closes with an empty packet.
                return
            if float(packet.dts * packet.time_base) >= end_s:
                return
            self._waiting = None
            packet.stream = self._target
            container.mux(packet)

    def close(self) -> None:
        if self._source is not None:
            self._source.close()


def _open_file(path: Path) -> _File:
    try:
        return _File(path)
    except OSError as error:
        raise WriteError(
            f"{path}: cannot write here ({error.strerror}); choose another place with --out"
        ) from error


def check_writable(path: Path) -> None:
    """Raise WriteError unless a file can be written at `path`; change nothing there."""
    if path.is_dir():
        raise WriteError(f"{path}: this is a folder; give a file name in it")
    if not path.parent.is_dir():
        raise WriteError(f"{path}: there is no folder {path.parent}; make it first")
    existed = path.exists()
    try:
        with path.open("r+b" if existed else "xb"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise WriteError(
            f"{path}: cannot write here ({error.strerror}); choose another place with --out"
        ) from error
