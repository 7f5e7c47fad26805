"""Camera pictures as H.264, one picture a message, without looking ahead: Annex B, no B-pictures,
parameter sets before every key picture (what Foxglove and Rerun ask of a video in a log).

Lossless pictures are H.264 too (libx264rgb, High 4:4:4 Predictive, quantiser 0): RGB comes back bit
for bit. Of others the picture that counts is what the decoder gives: the same bytes for the same
packets, because H.264 defines its decoder exactly and OpenCV turns YUV (BT.601, 16 to 235) into RGB
with integers.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import av.error
import cv2
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange, Colorspace

from sessions.seams import SessionChannel
from streams.frame import Frame

RGB = npt.NDArray[np.uint8]
MOST_PIXELS = 1 << 25
"""Of a picture: 7680 x 4320 and a little."""
KEPT_DECODED = 45
"""Pictures that one camera's track keeps decoded (62 MB at 1280 x 720): more than lie between two
key pictures at 30 a second..."""
KEPT_BYTES = 256 << 20
"""...but no more than this, as RGB."""


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """How pictures are stored."""

    lossless: bool = False
    """True: bit for bit, at twenty to sixty times the size."""
    kbps: float = 1000.0
    """Most kbit/s for 1280 x 720 pixels at 30 a second; for other sizes in proportion to the square
    root of pixels a second, so that small pictures, which are cheap, are the better ones."""
    crf: float = 20.0
    """x264's quality where the rate allows it: 0 lossless, 18 hardly visible, 51 worst."""
    preset: str = "ultrafast"
    """x264's effort: 2 ms of one core for 1280 x 720, a third of "superfast", 1.6 dB below it."""
    key_ns: int = 1_000_000_000
    """A key picture at least so often: what a seek has to decode."""
    lossless_key_ns: int = 250_000_000
    """The same for lossless pictures, which decode slowly and gain little from the one before."""


class PictureEncoder:
    """One camera's pictures to packets. For one thread."""

    def __init__(self, size: tuple[int, int], fps: float, options: PictureOptions) -> None:
        _require_bearable(size)
        self._size, self._options = size, options
        self._key_ns = options.lossless_key_ns if options.lossless else options.key_ns
        # 4:2:0 halves both axes; an odd last row or column is doubled.
        self._padding = (0, 0) if options.lossless else (size[1] % 2, size[0] % 2)
        self._next_key_ns: int | None = None
        self._count = 0
        rate = Fraction(min(max(fps, 1.0), 240.0)).limit_denominator(1001)
        name = "libx264rgb" if options.lossless else "libx264"
        context = cast(VideoCodecContext, av.CodecContext.create(name, "w"))
        context.width = size[0] + self._padding[1]
        context.height = size[1] + self._padding[0]
        context.pix_fmt = "rgb24" if options.lossless else "yuv420p"
        context.framerate = rate
        context.time_base = 1 / rate
        context.thread_count = 1
        # Key pictures are asked for one by one, so that they follow the records' own times.
        settings = {"tune": "zerolatency", "bf": "0", "forced-idr": "1", "g": "100000"}
        if options.lossless:
            settings |= {"qp": "0", "preset": "ultrafast"}
        else:
            pixels_s = context.width * context.height * float(rate)
            kbps = max(60.0, options.kbps * (pixels_s / (1280 * 720 * 30)) ** 0.5)
            settings |= {
                "preset": options.preset,
                "crf": f"{options.crf:g}",
                "maxrate": f"{kbps:.0f}k",
                "bufsize": f"{2 * kbps:.0f}k",
            }
            context.color_range = int(ColorRange.MPEG)
            context.colorspace = int(Colorspace.ITU601)
        context.options = settings
        self._context = context

    def encode(self, rgb: RGB, t_ns: int) -> tuple[bytes, bool]:
        """(height, width, 3) uint8 -> the picture's packet, and whether it is a key picture."""
        key = self._next_key_ns is None or t_ns >= self._next_key_ns
        if self._options.lossless:
            picture = VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24")
        else:
            picture = VideoFrame.from_ndarray(self._yuv_of(rgb), "yuv420p")
            picture.color_range = int(ColorRange.MPEG)
            picture.colorspace = int(Colorspace.ITU601)
        picture.pts, picture.time_base = self._count, self._context.time_base
        if key:
            picture.pict_type = PictureType.I
            self._next_key_ns = t_ns + self._key_ns
        self._count += 1
        packets = self._context.encode(picture)
        if len(packets) != 1:
            raise ValueError(f"PictureEncoder: expected 1 packet a picture, got {len(packets)}")
        return bytes(packets[0]), key

    def _yuv_of(self, rgb: RGB) -> RGB:
        if any(self._padding):
            rgb = np.pad(rgb, ((0, self._padding[0]), (0, self._padding[1]), (0, 0)), "edge")
        return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8)


def is_lossless(packet: bytes) -> bool:
    """Whether a key picture's packet belongs to lossless pictures as `PictureEncoder` makes them.

    Of the profiles that x264 writes only High 4:4:4 Predictive (profile_idc 244, ITU-T H.264 Annex
    A.2.11) has them; the parameter set's first byte (7.3.2.1.1) says it.
    """
    at = packet.find(b"\x00\x00\x01")
    while 0 <= at < len(packet) - 4:
        if packet[at + 3] & 0x1F == 7:  # a sequence parameter set
            return packet[at + 4] == 244
        at = packet.find(b"\x00\x00\x01", at + 3)
    return False


class PictureDecoder:
    """Packets of one camera, in order, to pictures. For one thread."""

    def __init__(self, size: tuple[int, int]) -> None:
        _require_bearable(size)
        self._size = size
        self._context = cast(VideoCodecContext, av.CodecContext.create("h264", "r"))
        # Before a decoder makes room for it: a stream may claim 16384 x 16384. What it counts are
        # rows of whole vectors.
        wide, high = ((side + 128) // 128 * 128 for side in size)
        self._context.options = {"max_pixels": f"{wide * high}"}
        self._context.thread_count = 1
        self._context.flags |= int(Flags.low_delay)

    def decode(self, packet: bytes) -> VideoFrame:
        """The packet's picture, still as it is stored. Raises ValueError when there is none."""
        try:
            pictures = self._context.decode(Packet(packet))
        except av.error.FFmpegError as error:
            raise ValueError(f"frames: expected an H.264 picture ({error})") from error
        if len(pictures) != 1 or pictures[0].is_corrupt:
            raise ValueError(f"frames: expected 1 whole picture a packet, got {len(pictures)}")
        picture = cast(VideoFrame, pictures[0])
        width, height = self._size
        if not (0 <= picture.width - width <= 1 and 0 <= picture.height - height <= 1):
            raise ValueError(
                f"frames: expected pictures of {width}x{height}, "
                f"got {picture.width}x{picture.height}"
            )
        return picture

    def rgb_of(self, picture: VideoFrame) -> RGB:
        """(height, width, 3) uint8 sRGB of what `decode` gave."""
        width, height = self._size
        if picture.format.name == "gbrp":
            lossless = np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)
            return np.ascontiguousarray(lossless[:height, :width])
        if picture.format.name != "yuv420p":
            raise ValueError(f"frames: expected yuv420p or gbrp, got {picture.format.name}")
        yuv = np.asarray(picture.to_ndarray(), np.uint8)
        rgb = np.asarray(cv2.cvtColor(yuv, cv2.COLOR_YUV2RGB_I420), np.uint8)
        return np.ascontiguousarray(rgb[:height, :width])


def _require_bearable(size: tuple[int, int]) -> None:
    if not 0 < size[0] * size[1] <= MOST_PIXELS:
        raise ValueError(
            f"frames: expected pictures of at most {MOST_PIXELS} pixels, got {size[0]}x{size[1]}"
        )


class PictureTrack:
    """Decodes one channel of pictures in order, over gaps."""

    def __init__(self, channel: SessionChannel, keep: int = 0) -> None:
        """`keep`: how many of the decoded pictures are kept as they are stored."""
        if channel.camera is None:
            raise ValueError(f"{channel.topic}: expected a channel with a calibration")
        self._camera = channel.camera
        self._decoder = PictureDecoder(self._camera.size)
        self._next_packet: int | None = None
        width, height = self._camera.size
        self._keep = min(keep, max(1, KEPT_BYTES // (3 * width * height)))
        self._kept: OrderedDict[int, tuple[Any, VideoFrame]] = OrderedDict()
        self.stands_ns = -1
        """Time of the newest packet that was decoded."""
        self._newest: Frame | None = None

    def frame(self, message: Any, wanted: bool) -> Frame | None:
        """The message's picture; None when it is not wanted or cannot be decoded, because a packet
        before it is missing: until the next key picture, what a decoder gives is not what was
        recorded."""
        self.stands_ns = message.t_ns
        if message.key:
            self._decoder = PictureDecoder(self._camera.size)
        elif message.packet != self._next_packet:
            self._next_packet = None
            return None
        self._next_packet = message.packet + 1
        picture = self._decoder.decode(message.data)
        if self._keep:
            message.data = b""
            self._kept[message.t_ns] = (message, picture)
            while len(self._kept) > self._keep:
                self._kept.popitem(last=False)
        return self._frame_of(message, picture) if wanted else None

    def kept_frame(self, t_ns: int) -> Frame | None:
        """A picture that was decoded lately."""
        if self._newest is not None and self._newest.t_ns == t_ns:
            return self._newest
        if t_ns not in self._kept:
            return None
        self._newest = self._frame_of(*self._kept[t_ns])
        return self._newest

    def _frame_of(self, message: Any, picture: VideoFrame) -> Frame:
        return Frame(
            message.t_ns,
            message.seq,
            self._camera,
            self._decoder.rgb_of(picture),
            message.mirrored,
            message.device_ns if message.has_device_ns else None,
        )
