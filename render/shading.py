"""The shaders' formulas in numpy, for the reference renderer: slow, plain, and the same numbers.

The functions mirror render/shaders/*.vert and *.frag line by line; tests compare the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from render.environment import Environment
from render.materials import Material
from render.shader_colour import decode_srgb, encode_srgb, tone_mapped

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Lights:
    """An Environment as arrays."""

    surround: Array
    """(3, 4, 4) irradiance matrices."""
    frames: Array
    """(4, 3, 3) rows: direction, width axis, height axis."""
    colours: Array
    """(4, 3)."""
    radiances: Array
    """(4, 3)."""

    @staticmethod
    def of(environment: Environment) -> Lights:
        arrays = (
            environment.irradiance_matrices(),
            environment.light_frames(),
            environment.light_colours(),
            environment.light_radiances(),
        )
        return Lights(*(array.astype(np.float64) for array in arrays))


@dataclass(frozen=True, slots=True, eq=False)
class Fragments:
    """What the rasteriser hands to a fragment shader, N fragments of one triangle."""

    view: Array
    """(N, 4) unit vector to the eye and distance, interpolated (so not quite unit)."""
    normal: Array
    """(N, 3)."""
    light: Array
    """(N, 3) diffuse light."""
    gloss: Array
    """(N, 4) as v_gloss."""
    highlight: Array
    """(N, 3)."""
    albedo: Array
    """(N, 3) sRGB code values 0..1 from the texture."""
    surface: Array
    """(N, 4) of the relief map, or of the surface map itself for fibres, 0..1."""
    position_dx: Array
    """(N, 3) change of (view.xyz * view.w) to the next pixel to the right."""
    position_dy: Array
    """(N, 3) likewise, to the next pixel up."""
    uv_dx: Array
    """(N, 2)."""
    uv_dy: Array
    """(N, 2)."""


def light_vertices(
    positions: Array, normals: Array, surface: Array, eye: Array, lights: Lights, material: Material
) -> dict[str, Array]:
    """mesh.vert without shadows: (V, .) arrays view, light, gloss and highlight.

    `surface`: (V, 4) relief map at the vertices, 0..1.
    """
    v = eye - positions
    away = np.linalg.norm(v, axis=1, keepdims=True)
    v = v / np.maximum(away, 1e-6)
    h = np.concatenate([normals, np.ones((len(normals), 1))], axis=1)
    around = np.maximum(np.einsum("vi,cij,vj->vc", h, lights.surround, h), 0.0)
    wrap = np.array(material.wrap)
    directions = lights.frames[:, 0]
    facing = normals @ directions[0]
    key = np.clip((facing[:, None] + wrap) / (1 + wrap), 0.0, 1.0)
    light = around + lights.colours[0] * key
    q = 2 + 2 * (v @ directions.T) + 1e-4
    one = np.ones(len(v))
    gloss = np.stack([one, q[:, 0], one, q[:, 1]], axis=1)
    highlight = np.zeros((len(v), 3))
    nv = (normals * v).sum(axis=1)
    if material.kind == "skin":
        alpha = np.maximum(surface[:, 0] ** 2, 0.02)
        for i in (1, 2):
            nl = normals @ directions[i]
            f = fresnel(material.reflectance, 0.5 * np.sqrt(q[:, i]))
            strength = ggx(nl + nv, q[:, i], alpha) * f * np.maximum(nl, 0.0)
            highlight += strength[:, None] * lights.colours[i]
        grazing = 1 - np.clip(nv, 0.0, 1.0)
        highlight *= (surface[:, 1] * material.gain * grazing**2)[:, None]
        gloss[:, 0] *= fresnel(material.reflectance, 0.5 * np.sqrt(q[:, 0])) * material.gain
    elif material.kind == "fibre":
        gloss[:, 0] *= np.clip((facing + 0.3) / 1.3, 0, 1) * material.gain
        gloss[:, 2] *= np.clip((normals @ directions[1] + 0.3) / 1.3, 0, 1) * material.gain
    elif material.kind == "cloth":
        graze = 1 - np.clip(nv, 0.0, 1.0)
        highlight = light * (4 * material.reflectance * material.gain * graze**2)[:, None]
    return {
        "view": np.concatenate([v, away], axis=1),
        "light": light,
        "gloss": gloss,
        "highlight": highlight,
    }


def ggx(nh: Array, q: Array, alpha: Array) -> Array:
    """highlight.glsl."""
    a2 = alpha * alpha
    d = nh * nh * (a2 - 1) + q
    return a2 * q / (d * d)


def fresnel(reflectance: float, cosine: Array) -> Array:
    """highlight.glsl."""
    return reflectance + (1 - reflectance) * (1 - cosine) ** 5


def shade(f: Fragments, slope_scale: Array, lights: Lights, material: Material) -> Array:
    """(N, 4) premultiplied sRGB code values 0..1: the fragment shader of the material's kind."""
    if material.kind == "baked":
        opacity = f.surface[:, 3:]
        if material.limb > 0:
            facing = (f.normal * f.view[:, :3]).sum(axis=1, keepdims=True)
            t = np.clip(facing / material.limb, 0.0, 1.0)
            opacity = opacity * t * t * (3.0 - 2.0 * t)
        return np.concatenate([f.albedo * opacity, opacity], axis=1)
    albedo = decode_srgb(f.albedo)
    if material.kind == "skin":
        shown, alpha = _skin(f, albedo, slope_scale, lights, material), 1.0
    elif material.kind == "wet":
        shown, alpha = _wet(f, albedo, slope_scale, lights, material), 1.0
    elif material.kind == "fibre":
        shown, alpha = _fibre(f, albedo, lights, material), f.surface[:, 3:]
    elif material.kind == "cloth":
        shown, alpha = albedo * f.light + f.highlight * (0.3 + albedo), 1.0
    else:
        raise ValueError(f"shade: expected a kind of SHADER_KINDS, got {material.kind!r}")
    code = encode_srgb(tone_mapped(shown))
    alphas = np.broadcast_to(alpha, (len(code), 1))
    return np.concatenate([code * alphas, alphas], axis=1)


def _skin(f: Fragments, albedo: Array, slope: Array, lights: Lights, material: Material) -> Array:
    n = _relief_normal(f, slope, material.bump)
    nl = n @ lights.frames[0, 0]
    nh = nl + (n * f.view[:, :3]).sum(axis=1)
    alpha = np.maximum(f.surface[:, 0] ** 2, 0.02)
    q = f.gloss[:, 1]
    lobes = 0.85 * ggx(nh, q, alpha) + 0.15 * ggx(nh, q, 0.4 * alpha)
    strength = lobes * np.maximum(nl, 0) * f.surface[:, 1] * f.gloss[:, 0]
    return albedo * f.light + lights.colours[0] * strength[:, None] + f.highlight


def _wet(f: Fragments, albedo: Array, slope: Array, lights: Lights, material: Material) -> Array:
    n = _relief_normal(f, slope, material.bump)
    v = f.view[:, :3]
    cosine = (n * v).sum(axis=1)
    nv = np.clip(cosine, 0.0, 1.0)
    shown = albedo * f.light * (1 - material.limb * (1 - nv) ** 2)[:, None]
    r = 2 * cosine[:, None] * n - v
    spread = 4 * f.surface[:, 0] ** 2
    sharpness = 1 / (0.14 + spread)
    mirrored = np.zeros_like(shown)
    for i in range(3):
        towards, across, up = lights.frames[i] @ r.T
        near = np.maximum(towards, 1e-3)
        box = _edge(across / near, sharpness) * _edge(up / near, sharpness) * (towards >= 0)
        if i == 0:
            box = box * f.gloss[:, 0]
        mirrored += box[:, None] * lights.radiances[i]
    gain = fresnel(material.reflectance, nv) * f.surface[:, 1] * material.gain / (1 + spread)
    return shown + mirrored * gain[:, None]


def _fibre(f: Fragments, albedo: Array, lights: Lights, material: Material) -> Array:
    turn = np.sign(f.uv_dx[:, 0] * f.uv_dy[:, 1] - f.uv_dx[:, 1] * f.uv_dy[:, 0])
    along = (f.position_dx * f.uv_dy[:, :1] - f.position_dy * f.uv_dx[:, :1]) * turn[:, None]
    t = along / np.sqrt(np.maximum((along**2).sum(axis=1, keepdims=True), 1e-30))
    v = f.view[:, :3]
    tv, nv = (t * v).sum(axis=1), (f.normal * v).sum(axis=1)
    white, tinted = np.zeros_like(albedo), np.zeros_like(albedo)
    for i in range(2):
        direction, colour = lights.frames[i, 0], lights.colours[i]
        th, nh, q = t @ direction + tv, f.normal @ direction + nv, f.gloss[:, 2 * i + 1]
        a, b = th - 0.10 * nh, th + 0.16 * nh
        lit = f.gloss[:, 2 * i]
        white += colour * (lit * (q * 0.05 / (q * 0.05 + a * a)) ** 2)[:, None]
        tinted += colour * (lit * (q * 0.145 / (q * 0.145 + b * b)) ** 2)[:, None]
    highlight = material.reflectance * white + 0.7 * tinted * albedo
    return albedo * f.light + highlight * f.surface[:, 1:2]


def _edge(x: Array, sharpness: Array) -> Array:
    return np.clip((1 - np.abs(x)) * sharpness + 0.5, 0.0, 1.0)


def _relief_normal(f: Fragments, slope_scale: Array, bump: float) -> Array:
    gradient = (f.surface[:, 2:] - 128 / 255) * slope_scale * bump
    px, py = -f.position_dx, -f.position_dy
    across_y, across_x = np.cross(py, f.normal), np.cross(f.normal, px)
    area = (px * across_y).sum(axis=1, keepdims=True)
    bend = (gradient * f.uv_dx).sum(axis=1, keepdims=True) * across_y
    bend += (gradient * f.uv_dy).sum(axis=1, keepdims=True) * across_x
    bent = f.normal - bend * (area / (area * area + 1e-24))
    return bent * np.clip(1.5 - 0.5 * (bent**2).sum(axis=1, keepdims=True), 0.0, 1.5)
