"""Textures through H.264: one access unit a frame, keys on demand, true colours, a bounded rate."""

from __future__ import annotations

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from headset.webxr.avatar_encoding import texture_size
from headset.webxr.texture_video import TextureVideoEncoder, TextureVideoOptions

UInt8 = npt.NDArray[np.uint8]
SIZE = 192


def pictures(count: int, noise: float = 0.0) -> list[UInt8]:
    """A smooth coloured ground that drifts."""
    rng = np.random.default_rng(2)
    ground = cv2.resize(
        rng.uniform(60, 200, (6, 6, 3)), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC
    )
    found = []
    for k in range(count):
        rgb = np.roll(ground, 2 * k, axis=0) + noise * rng.normal(size=ground.shape)
        found.append(np.clip(rgb, 0, 255).astype(np.uint8))
    return found


class Decoder:
    """FFmpeg's, as a browser has it."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("h264", "r")

    def decode(self, unit: bytes) -> list[UInt8]:
        frames = self._codec.decode(Packet(unit))  # pyright: ignore[reportAttributeAccessIssue]
        return [rgb_of(frame) for frame in frames]


def rgb_of(frame: VideoFrame) -> UInt8:
    assert frame.colorspace == Colorspace.ITU709
    assert frame.color_range == ColorRange.MPEG
    shown = VideoReformatter().reformat(
        frame, format="rgb24", src_colorspace=Colorspace.ITU709,
        dst_colorspace=Colorspace.ITU709, src_color_range=ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
    )  # fmt: skip
    return np.asarray(shown.to_ndarray(), np.uint8)


def psnr(a: UInt8, b: UInt8) -> float:
    return float(10 * np.log10(255**2 / np.square(a.astype(float) - b).mean()))


def test_every_frame_is_one_unit_that_decodes_at_once() -> None:
    shown = pictures(12)
    with TextureVideoEncoder((SIZE, SIZE), 4_000_000) as encoder:
        decoder = Decoder()
        for k, picture in enumerate(shown):
            unit, key = encoder.encode(picture)
            assert key is (k == 0)
            assert unit[:4] == b"\0\0\0\1"
            (back,) = decoder.decode(unit)
            assert psnr(back, picture) > 36.0
            # And it is this picture: the others are farther off.
            assert psnr(back, shown[k]) > psnr(back, shown[(k + 5) % 12]) + 8


def test_a_key_on_demand_stands_alone() -> None:
    shown = pictures(6)
    with TextureVideoEncoder((SIZE, SIZE), 4_000_000) as encoder:
        units = [encoder.encode(picture, key=k == 4) for k, picture in enumerate(shown)]
    assert [key for _, key in units] == [True, False, False, False, True, False]
    late = Decoder()
    (back,) = late.decode(units[4][0])
    assert psnr(back, shown[4]) > 36.0
    (back,) = late.decode(units[5][0])
    assert psnr(back, shown[5]) > 36.0


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (16, 128, 200)])
def test_colours_are_true(colour: tuple[int, int, int]) -> None:
    plain = np.full((64, 64, 3), colour, np.uint8)
    with TextureVideoEncoder((64, 64), 4_000_000) as encoder:
        (back,) = Decoder().decode(encoder.encode(plain)[0])
    assert np.abs(back.astype(int) - plain).max() <= 3  # limited range has 220 steps


def test_the_rate_is_bounded() -> None:
    bits_s, noisy = 300_000, pictures(60, noise=25.0)
    with TextureVideoEncoder((SIZE, SIZE), bits_s) as encoder:
        sizes = [len(encoder.encode(picture)[0]) for picture in noisy]
    seconds = (len(noisy) - 10) / encoder.options.fps
    assert 8 * sum(sizes[10:]) / seconds < 1.25 * bits_s
    with TextureVideoEncoder((SIZE, SIZE), 100 * bits_s) as free:
        assert sum(len(free.encode(p)[0]) for p in noisy[:20]) > 3 * sum(sizes[:20])


def test_another_size_is_scaled_and_what_is_no_picture_refused() -> None:
    large = pictures(1)[0]
    with TextureVideoEncoder((64, 64), 4_000_000) as encoder:
        (back,) = Decoder().decode(encoder.encode(large)[0])
        assert back.shape == (64, 64, 3)
        small = cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA)
        assert psnr(back, np.asarray(small, np.uint8)) > 33.0
        with pytest.raises(ValueError, match="uint8"):
            encoder.encode(large.astype(np.float32))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="closed"):
        encoder.encode(large)
    with pytest.raises(ValueError, match="x264"):
        TextureVideoEncoder((64, 64), 1, TextureVideoOptions(preset="no such effort"))


def test_sizes_are_even_and_never_enlarged() -> None:
    assert texture_size(1024, 1024, 512) == (512, 512)
    assert texture_size(300, 500, 1024) == (300, 500)
    assert texture_size(301, 501, 1024) == (300, 500)
    assert texture_size(2000, 1000, 512) == (512, 256)
