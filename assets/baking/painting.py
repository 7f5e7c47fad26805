"""Textures of the parts that are not skin: iris and sclera, teeth, tongue, lashes, hair, cloth.

Every function returns linear RGB over a rectangle of the atlas, or a single channel.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from assets.baking import eyes
from assets.baking.complexion import Rgb

Float = npt.NDArray[Any]


def linear(rgb: Rgb) -> Float:
    """sRGB 0..1 -> linear (IEC 61966-2-1)."""
    c = np.array(rgb, np.float32)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4).astype(np.float32)


def encode_srgb(linear: Float) -> npt.NDArray[np.uint8]:
    """Linear 0..1 -> uint8 sRGB (IEC 61966-2-1)."""
    c = np.clip(linear, 0.0, 1.0)
    s = np.where(c <= 0.0031308, 12.92 * c, 1.055 * c ** (1 / 2.4) - 0.055)
    return np.round(s * 255).astype(np.uint8)


def soft_step(low: float, high: float, x: Float) -> Float:
    """0 below `low`, 1 above `high`, smooth between (cubic)."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return (t * t * (3.0 - 2.0 * t)).astype(np.float32)


def eye_disc(size: int, iris: Rgb, rng: np.random.Generator) -> Float:
    """(size, size, 3) linear: the disc of assets.baking.eyes.eye_ball seen down its axis."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2.0 - 1.0
    half = 1.0 - 4.0 / size  # the gutter of the rectangle
    x, y = np.meshgrid(axis / half, axis / half)
    r = np.sqrt(x * x + y * y)
    phi = np.arctan2(y, x)
    rim = float(eyes.LIMBUS / eyes.EXTENT)
    t = r / rim  # 1 at the limbus

    sclera = np.broadcast_to(np.array([0.72, 0.69, 0.66], np.float32), (size, size, 3)).copy()
    pink = soft_step(rim * 1.3, 0.85, r)[..., None]
    sclera = sclera * (1 - pink) + pink * np.array([0.58, 0.34, 0.29], np.float32)
    veins = np.zeros((size, size), np.float32)
    for _ in range(26):
        angle, rr = rng.uniform(0, 2 * np.pi), np.linspace(0.95, rng.uniform(0.42, 0.62), 20)
        wander = angle + np.cumsum(rng.normal(0, 0.035, 20))
        points = np.stack([rr * np.cos(wander), rr * np.sin(wander)], -1) * half
        pixels = np.round(((points + 1) / 2 * size - 0.5) * 16).astype(np.int32)
        layer = np.zeros((size, size), np.uint8)
        cv2.polylines(layer, [pixels], False, 150, 1, cv2.LINE_AA, 4)
        veins = np.maximum(veins, layer.astype(np.float32) / 255)
    sclera *= 1.0 - veins[..., None] * np.array([0.12, 0.42, 0.42], np.float32)

    colour = linear(iris)
    fibre = np.zeros_like(phi)
    for k in range(1, 60):
        fibre += np.sin(k * phi + rng.uniform(0, 2 * np.pi) + 1.5 * np.sin(3 * t)) / k**0.55
    fibre /= 5.0
    shade = 0.85 + 0.42 * fibre * soft_step(0.25, 0.5, t)
    shade *= 0.75 + 0.75 * np.exp(-(((t - 0.52) / 0.16) ** 2))  # the collarette is lighter
    shade *= 1.0 - 0.72 * soft_step(0.78, 1.0, t)  # limbal ring
    ring = colour * np.maximum(shade, 0.06)[..., None]
    amber = np.exp(-(((t - 0.42) / 0.12) ** 2))[..., None]
    ring = ring * (1 - 0.25 * amber) + 0.25 * amber * ring.mean(-1, keepdims=True) * np.array(
        [1.7, 1.05, 0.5], np.float32
    )
    pupil = (1.0 - soft_step(0.33, 0.40, t))[..., None]
    ring = ring * (1 - pupil) + 0.004 * pupil
    inside = (1.0 - soft_step(0.93, 1.08, t))[..., None]
    return (sclera * (1 - inside) + ring * inside).astype(np.float32)


def lash_opacity(along: Float, out: Float, curl: float, count: int, reach: float) -> Float:
    """Opacity of hairs on a strip: `along` 0..1 the lid, `out` 0 root .. 1 tip of the strip."""
    phase = (along + curl * (along - 0.5) * out) * count
    jitter = np.sin(np.floor(phase) * 12.9898) * 43758.5453
    length = reach * (0.65 + 0.35 * (jitter - np.floor(jitter)))
    across = np.abs(phase - np.floor(phase) - 0.5) * 2.0
    width = 0.40 * (1.0 - out / np.maximum(length, 1e-3)) + 0.06
    hair = 1.0 - soft_step(0.75, 1.25, across / np.maximum(width, 1e-3))
    return np.where(out < length, hair, 0.0).astype(np.float32)


def strands(size: int, rng: np.random.Generator) -> tuple[Float, Float]:
    """Hair cards: (size, size) shade about 1 and opacity; strands run down the picture (v).

    Four cards lie side by side, from dense to wispy; each thins out towards its sides and both
    ends.
    """
    shade = np.ones((size, size), np.float32)
    opacity = np.zeros((size, size), np.float32)
    cards, width = 4, size // 4
    for card in range(cards):
        count = (64, 44, 30, 18)[card]
        for _ in range(count):
            x0 = rng.beta(2.2, 2.2) * (width - 8) + 4 + card * width
            bend = rng.normal(0, 3.0)
            end = size * np.clip(rng.normal(0.82, 0.17), 0.3, 1.0)
            v = np.linspace(0, 1, 12)
            drift = np.cumsum(rng.normal(0, 0.5, 12))
            x = np.clip(x0 + bend * v**2 + drift, card * width + 2, (card + 1) * width - 3)
            line = np.stack([x, v * end], -1)
            layer = np.zeros((size, size), np.uint8)
            thick = 2 if rng.random() < 0.45 else 1
            cv2.polylines(
                layer, [np.round(line * 16).astype(np.int32)], False, 255, thick, cv2.LINE_AA, 4
            )
            cover = layer.astype(np.float32) / 255
            tone = np.float32(rng.uniform(0.62, 1.4))
            shade = shade * (1 - cover) + tone * cover
            opacity = np.maximum(opacity, cover)
    v = np.linspace(0, 1, size, dtype=np.float32)
    fade = (1.0 - 0.75 * soft_step(0.72, 1.0, v)) * (0.15 + 0.85 * soft_step(0.0, 0.12, v))
    return shade, opacity * fade[:, None]


def knit(height: int, width: int, colour: Rgb, rng: np.random.Generator) -> tuple[Float, Float]:
    """(height, width, 3) linear cloth and (height, width) height 0..1 of a fine jersey."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    row = np.sin(2 * np.pi * (y / 3.0 + 0.25 * np.sin(2 * np.pi * x / 3.0)))
    noise = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), 1.0)
    broad = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), 24.0) * 40
    shade = 1.0 + 0.05 * row + 0.10 * noise + 0.05 * np.clip(broad, -2, 2)
    return linear(colour) * shade[..., None], np.clip(0.5 + 0.18 * row + 0.1 * noise, 0, 1)
