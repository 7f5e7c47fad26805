"""Textures as H.264, one access unit for each frame (Annex B), for WebCodecs to decode.

x264 without B frames or look-ahead, so that a frame is out before the next one comes; quality is
even (crf) under a cap of the bit rate. Colours are BT.709, limited range, 4:2:0.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.error
import cv2
import numpy as np
import numpy.typing as npt
from av.codec import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter

from streams.array_contract import require_array
from streams.closing import Closing

UInt8 = npt.NDArray[np.uint8]
COLOUR: dict[str, Any] = {
    "src_colorspace": Colorspace.ITU709, "dst_colorspace": Colorspace.ITU709,
    "src_color_range": ColorRange.JPEG, "dst_color_range": ColorRange.MPEG,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TextureVideoOptions:
    """How textures are encoded."""

    preset: str = "ultrafast"
    """x264's effort. On textures, which change little, "superfast" takes twice the time for 0.3 dB
    less at the same rate; on films it is 1 dB better."""
    crf: int = 20
    """x264's quality where the bit rate allows it."""
    fps: int = 30
    threads: int = 1
    buffer_s: float = 0.25
    """How much of the bit rate one frame may use up at most."""


class TextureVideoEncoder(Closing):
    """One client's, of one size and bit rate: another rate is another encoder."""

    def __init__(
        self, size: tuple[int, int], bits_s: int, options: TextureVideoOptions | None = None
    ) -> None:
        """`size` (width, height) pixels, even."""
        self.options = options or TextureVideoOptions()
        self.size, self.bits_s = size, bits_s
        self._reformatter = VideoReformatter()
        self._codec: VideoCodecContext | None = _opened(size, bits_s, self.options)
        self._count = 0

    def encode(self, rgb: UInt8, key: bool = False) -> tuple[bytes, bool]:
        """(H, W, 3) uint8 sRGB of any size -> one access unit, and whether it stands alone.

        Raises ValueError after `close`, RuntimeError when x264 holds a frame back.
        """
        if self._codec is None:
            raise ValueError("TextureVideoEncoder.encode: this encoder is closed")
        require_array("TextureVideoEncoder.encode", rgb, np.uint8, (None, None, 3))
        if rgb.shape[:2] != self.size[::-1]:
            rgb = np.asarray(cv2.resize(rgb, self.size, interpolation=cv2.INTER_AREA), np.uint8)
        frame = VideoFrame.from_numpy_buffer(np.ascontiguousarray(rgb), format="rgb24")
        frame = self._reformatter.reformat(frame, format="yuv420p", threads=1, **COLOUR)
        frame.pts, frame.time_base = self._count, Fraction(1, self.options.fps)
        frame.pict_type = PictureType.I if key or self._count == 0 else PictureType.NONE
        self._count += 1
        packets = self._codec.encode(frame)
        if len(packets) != 1:
            raise RuntimeError(f"x264: expected one packet for a frame, got {len(packets)}")
        return bytes(packets[0]), packets[0].is_keyframe

    def close(self) -> None:
        """Free the encoder."""
        self._codec = None


def _opened(size: tuple[int, int], bits_s: int, options: TextureVideoOptions) -> VideoCodecContext:
    codec = CodecContext.create("libx264", "w")
    if not isinstance(codec, VideoCodecContext):
        raise RuntimeError("libx264: expected a video encoder")
    codec.width, codec.height = size
    codec.pix_fmt = "yuv420p"
    codec.time_base = Fraction(1, options.fps)
    codec.framerate = Fraction(options.fps, 1)
    codec.thread_count = options.threads
    codec.color_range = ColorRange.MPEG
    codec.colorspace = Colorspace.ITU709
    codec.color_primaries = ColorPrimaries.BT709
    codec.color_trc = ColorTrc.IEC61966_2_1
    rate = max(bits_s // 1000, 50)
    codec.options = {
        "preset": options.preset,
        "tune": "zerolatency",
        "crf": str(options.crf),
        "forced-idr": "1",
        "x264-params": (
            "keyint=infinite:scenecut=0:bframes=0:repeat-headers=1:annexb=1:"
            f"vbv-maxrate={rate}:vbv-bufsize={max(round(rate * options.buffer_s), 50)}"
        ),
    }
    try:
        codec.open()
    except av.error.FFmpegError as error:
        raise ValueError(f"x264: cannot encode {size[0]} x {size[1]}: {error}") from error
    return codec
