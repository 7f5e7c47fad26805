"""Our codec as a torch module: coefficients on a coarse grid times learned planes.

What the fragment shader sums per pixel, written so that any of it can be trained further. It starts
as the closed-form fit that makes a personal avatar (`texture_basis_fit`, `CodeSpace`): geometry and
appearance linear in the code, the code a linear map of the picture. Small networks that start at
zero may bend both maps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from avatar.datasets.registered_capture import RegisteredCapture
from avatar.enrolment.code_space import CodeSpace
from avatar.enrolment.texel_filling import atlas_surface
from avatar.enrolment.texture_basis_fit import BasisFit, BasisOptions, fit_basis
from avatar.training.face_codec import Encoded, FaceCodec, FaceScale, reduced, sample_rows
from avatar.unwrapping import FULLY_SEEN, TexelTable

Float32 = npt.NDArray[np.float32]

FITTED = 400
"""Moments that the closed form sees; it holds their textures in memory."""
COARSE = 256
"""The encoder looks at no more texels than this on a side."""
HIDDEN = 128
VIEW_INPUTS = 3


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """How large the code and the basis are."""

    size: int = 256
    """Texels on a side."""
    geometry: int = 32
    """Numbers for the mesh."""
    appearance: int = 96
    """Numbers for the texture."""
    grid: int = 16
    """Nodes on a side."""
    planes: int = 12
    """A multiple of four, as textures carry them."""
    bent: bool = True
    """Networks beside the linear maps, which start at nothing."""

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 2048 or self.size % max(1, self.size // COARSE):
            raise ValueError(f"LocalOptions.size: expected 16 to 2048, got {self.size}")
        for name in ("geometry", "appearance", "grid", "planes"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"LocalOptions.{name}: expected a positive number, got {getattr(self, name)}"
                )
        if self.planes % 4:
            raise ValueError(f"LocalOptions.planes: expected 4, 8, 12, ..., got {self.planes}")


class LocalCodec(FaceCodec):
    """Encoder and decoder over V vertices, in the units of `FaceCodec`. Built empty (it decodes the
    average); `closed_form` fills it."""

    name = "local"
    texel_share: Tensor
    encoded_texels: Tensor

    def __init__(self, options: LocalOptions, vertices: int) -> None:
        super().__init__(options.size, vertices)
        self.options = options
        nodes = options.grid * options.grid * options.planes
        stride = self.stride = max(1, options.size // COARSE)
        coarse = len(range(0, options.size, stride))
        shares = torch.from_numpy(node_shares_along(options.size, options.grid))
        self.register_buffer("texel_share", shares, persistent=False)
        self.register_buffer("encoded_texels", torch.zeros(coarse, coarse))
        texels, face = 3 * options.size * options.size, vertices * 3
        self.planes = _Rows(options.planes, texels)
        self.node_rest = _Rows(1, nodes)
        self.node_moves = _Rows(options.appearance, nodes)
        self.node_view = _Rows(VIEW_INPUTS, nodes)
        self.vertex_moves = _Rows(options.geometry, face)
        self.projection = _Rows(options.appearance, nodes)
        self.projection_rest = _Rows(1, options.appearance)
        self.view_codes = _Rows(VIEW_INPUTS, options.appearance)
        self.vertex_projection = _Rows(options.geometry, face)
        self.node_bend, self.vertex_bend = None, None
        if options.bent:
            self.node_bend = _Bend(self.latent + VIEW_INPUTS, options.appearance)
            self.vertex_bend = _Bend(options.geometry, options.geometry)

    @property
    def latent(self) -> int:
        return self.options.geometry + self.options.appearance

    def encode(self, texture: Tensor, seen: Tensor, vertices: Tensor, view: Tensor) -> Encoded:
        step = slice(None, None, self.stride)
        weight = (seen[:, :, step, step] * FULLY_SEEN).clamp(max=1.0) * self.encoded_texels
        difference = texture[:, :, step, step] * weight
        along = torch.einsum("bcyx,kcyx->bkyx", difference, self.pictures()[:, :, step, step])
        share = self.texel_share[step]
        products = torch.einsum("yi,bkyx,xj->bijk", share, along, share).flatten(1)
        rest = self.projection_rest() + view @ self.view_codes()
        appearance = products @ self.projection().T - rest
        geometry = vertices.flatten(1) @ self.vertex_projection().T
        mean = torch.cat([geometry, appearance], 1)
        # A code of unit variance over the capture, known exactly: nothing is drawn.
        return Encoded(mean, torch.zeros_like(mean))

    def decode(self, code: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
        geometry, appearance = code.split([self.options.geometry, self.options.appearance], 1)
        if self.node_bend is not None and self.vertex_bend is not None:
            appearance = appearance + self.node_bend(torch.cat([code, view], 1))
            geometry = geometry + self.vertex_bend(geometry)
        vertices = (geometry @ self.vertex_moves()).unflatten(1, (-1, 3))
        return self.summed(self.nodes(appearance, view)), vertices

    def nodes(self, appearance: Tensor, view: Tensor) -> Tensor:
        """(B, A) and (B, 3) -> coefficients (B, grid, grid, K)."""
        flat = self.node_rest() + appearance @ self.node_moves() + view @ self.node_view()
        return flat.unflatten(1, (self.options.grid, self.options.grid, self.options.planes))

    def summed(self, nodes: Tensor) -> Tensor:
        """(B, grid, grid, K) -> (B, 3, S, S): what the fragment shader does."""
        share = self.texel_share
        coefficients = torch.einsum("yi,bijk,xj->bkyx", share, nodes, share)
        return torch.einsum("bkyx,kcyx->bcyx", coefficients, self.pictures())

    def pictures(self) -> Tensor:
        """(K, 3, S, S): the planes."""
        return self.planes().unflatten(1, (3, self.size, self.size))

    def forward(
        self, texture: Tensor, seen: Tensor, vertices: Tensor, view: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        encoded = self.encode(texture, seen, vertices, view)
        decoded, moved = self.decode(encoded.mean, view)
        return decoded, moved, 0.5 * encoded.mean.square().mean()


class _Rows(nn.Module):
    """A matrix held as rows of root mean square about 1 and their sizes: the closed form's numbers
    are of many orders of magnitude, and Adam's steps are of one."""

    scale: Tensor

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.relative = nn.Parameter(torch.zeros(rows, columns))
        self.register_buffer("scale", torch.ones(rows, 1))

    def forward(self) -> Tensor:
        return self.relative * self.scale

    def put(self, matrix: Tensor) -> None:
        """(at most as many rows, columns); rows that are left over stay at nothing."""
        size = matrix.square().mean(1, keepdim=True).sqrt()
        least = 1e-3 * float(size.max())
        scale = size.clamp(min=max(least, 1e-12))
        with torch.no_grad():
            self.scale.fill_(max(least, 1e-12))
            self.scale[: len(matrix)].copy_(scale)
            self.relative[: len(matrix)].copy_(matrix / scale)


class _Bend(nn.Module):
    """A network of one hidden layer that starts at zero."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(inputs, HIDDEN), nn.Linear(HIDDEN, outputs)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(nn.functional.elu(self.hidden(x)))


def node_shares_along(size: int, grid: int) -> Float32:
    """(size, grid) bilinear weights of the nodes at each texel of one side, as `node_shares`."""
    place = np.clip((np.arange(size) + 0.5) / size * grid - 0.5, 0.0, grid - 1.0)
    return np.maximum(1.0 - np.abs(place[:, None] - np.arange(grid)), 0.0).astype(np.float32)


def closed_form(
    capture: RegisteredCapture,
    options: LocalOptions,
    scale: FaceScale,
    say: Callable[[str], None] = lambda _line: None,
) -> LocalCodec:
    """The codec fitted by alternating least squares and principal components, in seconds."""
    rows = sample_rows(len(capture), FITTED)
    table = chart_table(capture, options.size)
    colours = np.zeros((len(rows), len(table.rows), 3), np.uint8)
    seen = np.zeros((len(rows), len(table.rows)), np.uint8)
    vertices, views = [], []
    for k, row in enumerate(rows):
        moment = capture[int(row)]
        picture, visible = reduced(moment, options.size)
        colours[k] = picture[table.rows, table.columns]
        seen[k] = np.rint(np.clip(visible[table.rows, table.columns], 0, 1) * 255)
        vertices.append(moment.vertices)
        views.append(moment.view)
    say(f"closed form: {len(rows)} moments, {len(table.rows)} texels")
    codec = LocalCodec(options, len(scale.vertex_mean))
    codec.set_scale(scale)
    every_view = np.stack(views).astype(np.float32)
    basis_options = BasisOptions(options.grid, options.planes, stride=codec.stride)
    even = np.ones((len(rows), 3), np.float32)
    basis = fit_basis(table, colours, seen, even, basis_options, atlas_surface(table))
    products = np.concatenate(
        [
            basis.inner_products(basis.differences(colours[k : k + 32], seen[k : k + 32], even[:1]))
            for k in range(0, len(rows), 32)
        ]
    )
    space = CodeSpace.fit(basis, products, every_view, options.appearance, options.grid)
    _fill_appearance(codec, table, basis, space)
    _fill_geometry(codec, np.stack(vertices), scale)
    return codec


def chart_table(capture: RegisteredCapture, size: int) -> TexelTable:
    """The texels that the capture's faces cover."""
    regions = np.full(len(capture.uv), "face")
    return TexelTable.of(capture.faces, capture.uv, regions, size, ("face",))


def _fill_appearance(
    codec: LocalCodec, table: TexelTable, basis: BasisFit, space: CodeSpace
) -> None:
    options, std = codec.options, float(codec.texture_std)
    grid, planes, size = options.grid, options.planes, options.size
    count = len(space.moves)

    def spread(values: npt.NDArray[np.floating]) -> Tensor:
        """(..., active * K) -> (..., grid * grid * K)."""
        out = np.zeros((*values.shape[:-1], grid * grid, planes), np.float32)
        out[..., basis.active, :] = values.reshape(*values.shape[:-1], -1, planes)
        return torch.from_numpy(out.reshape(*values.shape[:-1], -1))

    picture = np.zeros((planes, 3, size, size), np.float32)
    picture[:, :, table.rows, table.columns] = basis.planes.transpose(1, 2, 0) / std
    # The basis has a mean of its own, weighted as its fit is; the difference is in the planes' span
    # or invisible, so the codec's average simply becomes the basis' one.
    average = codec.texture_mean.numpy().copy()
    average[:, table.rows, table.columns] = basis.mean.T
    encoded = np.zeros((size, size), np.float32)
    encoded[table.rows[basis.coarse], table.columns[basis.coarse]] = 1.0
    codec.texture_mean.copy_(torch.from_numpy(average))
    codec.encoded_texels.copy_(torch.from_numpy(encoded[:: codec.stride, :: codec.stride]))
    view, rest = spread(space.view), _tensor(space.view_rest)
    codes = _tensor(space.view_codes)
    codec.planes.put(torch.from_numpy(picture).flatten(1))
    codec.node_rest.put((spread(space.rest) - rest @ view)[None])
    codec.node_view.put(view)
    codec.node_moves.put(spread(space.moves))
    # Inner products are in code values squared; here both factors are in standard deviations.
    codec.projection.put(spread(space.projection) * std**2)
    offset = torch.zeros(options.appearance)
    offset[:count] = _tensor(space.offset) - rest @ codes
    codec.projection_rest.put(offset[None])
    every = torch.zeros(VIEW_INPUTS, options.appearance)
    every[:, :count] = codes
    codec.view_codes.put(every)


def _tensor(values: npt.NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _fill_geometry(codec: LocalCodec, vertices: Float32, scale: FaceScale) -> None:
    moved = (vertices - scale.vertex_mean).reshape(len(vertices), -1) / scale.vertex_std
    gram = (moved @ moved.T).astype(np.float64)
    values, vectors = np.linalg.eigh(gram)
    # Noise has no directions: what is below a millionth of the first is left at nothing.
    keep = np.flatnonzero(values > 1e-6 * max(values[-1], 1e-12))[::-1][: codec.options.geometry]
    sigma = np.sqrt(values[keep])
    directions = (vectors[:, keep] / sigma).T @ moved
    size = sigma / np.sqrt(len(moved))
    codec.vertex_moves.put(_tensor(directions * size[:, None]))
    codec.vertex_projection.put(_tensor(directions / size[:, None]))
