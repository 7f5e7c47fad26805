"""Who is person and who is background: MediaPipe's selfie segmentation."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from assets.manifest import asset_path
from streams.closing import Closing

Float32 = npt.NDArray[np.float32]

MODEL = "models/selfie_segmentation.tflite"
EDGE_RADIUS, EDGE_EPSILON = 4, 1e-3
"""Of the guided filter (He, Sun and Tang 2010) that draws the model's coarse edge to the picture's:
pixels, and squared luma 0..1."""


class PersonSegmenter(Closing):
    """One picture at a time, without memory: equal pictures give equal masks."""

    def __init__(self) -> None:
        """Raises AssetError (ValueError) when the model is missing or damaged."""
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.ImageSegmenterOptions(
            base_options=BaseOptions(model_asset_path=str(asset_path(MODEL))),
            output_confidence_masks=True,
        )
        self._segmenter: Any = vision.ImageSegmenter.create_from_options(options)

    def person(self, rgb: npt.NDArray[np.uint8]) -> Float32:
        """(H, W, 3) uint8 sRGB -> (H, W) float32, 0 background to 1 person, soft at the edge."""
        if self._segmenter is None:
            raise ValueError("PersonSegmenter.person: it is closed; open it again")
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
            raise ValueError(
                f"PersonSegmenter.person: expected uint8 (H, W, 3), got {rgb.dtype} {rgb.shape}"
            )
        import mediapipe

        image = mediapipe.Image(
            image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(rgb)
        )
        masks = self._segmenter.segment(image).confidence_masks
        coarse = np.array(masks[-1].numpy_view(), np.float32).reshape(rgb.shape[:2])
        luma = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        guide = np.asarray(luma / np.float32(255.0), np.float32)
        return _guided(guide, coarse)

    def close(self) -> None:
        """May be called twice."""
        if self._segmenter is not None:
            self._segmenter.close()
            self._segmenter = None


def _guided(guide: Float32, mask: Float32) -> Float32:
    """The mask as a locally linear function of the guide."""
    side = 2 * EDGE_RADIUS + 1

    def mean(x: npt.NDArray[np.floating]) -> Float32:
        return np.asarray(cv2.blur(x, (side, side)), np.float32)

    mean_guide, mean_mask = mean(guide), mean(mask)
    slope = mean(guide * mask) - mean_guide * mean_mask
    slope /= mean(guide * guide) - mean_guide**2 + np.float32(EDGE_EPSILON)
    offset = mean_mask - slope * mean_guide
    return cast("Float32", np.clip(mean(slope) * guide + mean(offset), 0.0, 1.0))
