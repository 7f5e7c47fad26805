"""The personal decoder in torch: many heads at once, and on CUDA in half precision under a graph.

`NumpyDecoder` is the slow twin. Products with the large matrices (moves, node moves) and the sum of
the texture's planes run in half precision on CUDA; places, turns and normals stay in float32, where
a tenth of a millimetre would be lost otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from avatar.eye_balls import OUTWARDS
from avatar.head_mesh import HeadMesh
from avatar.head_placement import HeadPlacement
from avatar.personal_decoder import DecodedHead, HeadCode
from avatar.personal_head import personal_head
from avatar.personal_model import GAINS, PersonalModel
from avatar.posture import head_from_torso

Float32 = npt.NDArray[np.float32]

MM = 1000.0
"""Moves are multiplied in millimetres: half floats have most digits about 1."""
POSE_NUMBERS = 2 * 3 + 3 + 3 + 9 + 3
"""Gaze, direction to the eye, turn on the neck, rotation, place."""
WARM_UPS = 3
"""Runs before a CUDA graph is captured, as torch asks for (torch.cuda.CUDAGraph, notes)."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodedTensors:
    """B moments of a head, where the decoder runs."""

    vertices: Tensor
    """(B, V, 3) float32 metres, world."""
    normals: Tensor
    """(B, V, 3) float32 unit vectors, world."""
    nodes: Tensor
    """(B, rows, columns, K) float32."""
    gain: Tensor
    """(B, 3) float32."""


def has_cuda() -> bool:
    """Whether torch finds a CUDA device."""
    return torch.cuda.is_available()


def packed(codes: Sequence[HeadCode]) -> Float32:
    """(B, P + A + POSE_NUMBERS) float32: one row a moment, so that one copy brings all of it."""
    rows = []
    for code in codes:
        pose = code.world_from_head
        turn = head_from_torso(pose)
        rows.append(
            np.concatenate(
                [code.geometry, code.appearance, code.gaze.ravel(), code.towards,
                 turn, pose.rotation().ravel(), pose.xyz]
            )
        )  # fmt: skip
    return np.stack(rows).astype(np.float32)


class TorchDecoder(nn.Module):
    """One person's decoder. Buffers move with `.to(device)`."""

    moves: Tensor
    moves_size: Tensor
    node_moves: Tensor
    node_moves_size: Tensor
    face_rest: Tensor
    rest: Tensor
    rest_normals: Tensor
    eyes: Tensor
    neck_pivot: Tensor
    torso_share: Tensor
    gaze_map: Tensor
    node_rest: Tensor
    node_view: Tensor
    view_rest: Tensor
    gain_sigma: Tensor
    moving: Tensor
    bending: Tensor
    neck: Tensor
    corners: Tensor
    faces_of_point: Tensor
    point_of_vertex: Tensor
    node_place: Tensor
    aside: Tensor

    def __init__(self, model: PersonalModel, half: bool = False) -> None:
        """`half`: the large matrices and the planes in float16."""
        super().__init__()
        self._product = torch.float16 if half else torch.float32
        self.geometry, self.appearance = model.geometry_size, model.appearance_size
        self._rows, self._columns = (int(n) for n in model.grid)
        self._planes = len(model.planes)
        tables = HeadPlacement(personal_head(HeadMesh.open("default"), model)).tables()
        self._balls = tables.balls
        count = model.geometry_size
        for name, matrix in (
            ("moves", model.moves.reshape(count, -1) * np.float32(MM)),
            ("node_moves", model.node_moves),
        ):
            # Rows brought to 1, so that none of it is lost in half precision.
            size = np.maximum(np.abs(matrix).max(1), 1e-20).astype(np.float32)
            self._keep(f"{name}_size", size)
            self._keep(name, matrix / size[:, None], self._product)
        normals, place = tables.normals, np.full(self._rows * self._columns, len(model.active))
        place[model.active] = np.arange(len(model.active))
        floats = {
            "face_rest": tables.rest[tables.moving], "rest": tables.rest,
            "rest_normals": tables.rest_normals, "eyes": tables.eyes,
            "neck_pivot": tables.neck_pivot, "torso_share": tables.torso_share,
            "gaze_map": model.gaze_map, "node_rest": model.node_rest,
            "node_view": model.node_view, "view_rest": model.view_rest,
            "gain_sigma": model.gain_sigma,
        }  # fmt: skip
        wholes = {
            "moving": tables.moving, "bending": tables.bending, "neck": tables.neck,
            "corners": normals.corners, "faces_of_point": normals.faces_of_point,
            "point_of_vertex": normals.point_of_vertex, "node_place": place,
        }  # fmt: skip
        for name, value in floats.items():
            self._keep(name, value)
        for name, value in wholes.items():
            self._keep(name, value, torch.int64)
        self._keep("aside", np.stack([_aside(OUTWARDS), _aside(-OUTWARDS)]))

    def forward(self, inputs: Tensor) -> DecodedTensors:
        """(B, P + A + POSE_NUMBERS) as `packed` -> the heads."""
        sizes = [self.geometry, self.appearance, 6, 3, 3, 9, 3]
        geometry, appearance, gaze, towards, turn, rotation, place = inputs.split(sizes, 1)
        vertices, normals = self._place(geometry, gaze.unflatten(1, (2, 3)), turn)
        turned = rotation.unflatten(1, (3, 3)).transpose(1, 2)
        return DecodedTensors(
            vertices @ turned + place[:, None],
            normals @ turned,
            self._nodes(appearance, towards),
            torch.exp((appearance[:, :GAINS] * self.gain_sigma).clamp(-1.0, 1.0)),
        )

    def _keep(
        self, name: str, value: npt.NDArray[np.generic], kind: torch.dtype = torch.float32
    ) -> None:
        kept = torch.as_tensor(np.array(value)).to(kind).contiguous()
        self.register_buffer(name, kept, persistent=False)

    def _times(self, code: Tensor, name: str) -> Tensor:
        """Numbers of a code (B, n) times one of the large matrices, float32."""
        matrix, size = getattr(self, name), getattr(self, f"{name}_size")
        return ((code * size).to(self._product) @ matrix).float()

    def _nodes(self, appearance: Tensor, towards: Tensor) -> Tensor:
        flat = self._times(appearance[:, GAINS:], "node_moves") + self.node_rest
        flat = flat + (towards - self.view_rest) @ self.node_view
        nodes = flat.unflatten(1, (-1, self._planes))
        nodes = nn.functional.pad(nodes, (0, 0, 0, 1))[:, self.node_place]
        return nodes.unflatten(1, (self._rows, self._columns))

    def _place(self, geometry: Tensor, gaze: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
        """`HeadPlacement.place` in the head frame: (B, V, 3) vertices and normals."""
        batch = len(geometry)
        vertices = self.rest.expand(batch, -1, -1).clone()
        normals = self.rest_normals.expand(batch, -1, -1).clone()
        moved = self._times(geometry, "moves").unflatten(1, (-1, 3)) * (1.0 / MM)
        vertices[:, self.moving] = self.face_rest + moved
        for eye, ball in enumerate(self._balls):
            about = self._ball_rotation(gaze, eye).transpose(1, 2)
            vertices[:, ball] = (self.rest[ball] - self.eyes[eye]) @ about + self.eyes[eye]
            normals[:, ball] = self.rest_normals[ball] @ about
        away = vertices[:, self.neck] - self.neck_pivot
        vertices[:, self.neck] = self._on_neck(away, turn) + self.neck_pivot
        normals[:, self.neck] = self._on_neck(normals[:, self.neck], turn)
        normals[:, self.bending] = self._smooth_normals(vertices)
        return vertices, normals

    def _ball_rotation(self, gaze: Tensor, eye: int) -> Tensor:
        """(B, 3, 3) as `eye_balls.ball_rotation` of `mapped_gaze`."""
        right, up, ahead = gaze.unbind(2)
        angles = torch.stack([torch.atan2(right, ahead), torch.asin(up.clamp(-1.0, 1.0))], 2)
        angles = nn.functional.pad(angles.flatten(1), (0, 1), value=1.0) @ self.gaze_map
        yaw, pitch = angles[:, 2 * eye], angles[:, 2 * eye + 1]
        s, c, y, level = yaw.sin(), yaw.cos(), pitch.sin(), pitch.cos()
        zero = torch.zeros_like(s)
        rows = [c, -s * y, s * level, zero, level, y, -s, -c * y, c * level]
        return torch.stack(rows, 1).unflatten(1, (3, 3)) @ self.aside[eye]

    def _on_neck(self, vectors: Tensor, turn: Tensor) -> Tensor:
        """Each turned by its share (`posture.turn_on_neck`): Rodrigues about one axis."""
        angle = turn.norm(dim=1, keepdim=True)
        axis = (turn / angle.clamp_min(1e-9))[:, None]
        theta = (self.torso_share * angle)[:, :, None]
        along = (vectors * axis).sum(2, keepdim=True) * axis
        across = torch.linalg.cross(axis.expand_as(vectors), vectors)
        return along + theta.cos() * (vectors - along) + theta.sin() * across

    def _smooth_normals(self, vertices: Tensor) -> Tensor:
        """(B, bending, 3): `SmoothNormals.of` by gathers."""
        a, b, c = (vertices[:, self.corners[:, k]] for k in range(3))
        face = nn.functional.pad(torch.linalg.cross(b - a, c - a), (0, 0, 0, 1))
        total = face[:, self.faces_of_point].sum(2)
        unit = total / total.norm(dim=2, keepdim=True).clamp_min(1e-20)
        return unit[:, self.point_of_vertex]


class TorchTexture(nn.Module):
    """The sum of a texture's planes: nodes and gain to pictures, fast twin of `LocalTexture`."""

    planes: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, model: PersonalModel, half: bool = False) -> None:
        super().__init__()
        kind = torch.float16 if half else torch.float32
        planes = torch.as_tensor(np.array(model.planes.transpose(0, 3, 1, 2))).to(kind)
        mean = torch.as_tensor(np.array(model.mean.transpose(2, 0, 1))).float()
        self.register_buffer("planes", planes.contiguous(), persistent=False)
        self.register_buffer("mean", mean, persistent=False)
        scale = torch.as_tensor(np.array(model.plane_scale)) * 255.0
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, nodes: Tensor, gain: Tensor) -> Tensor:
        """(B, rows, columns, K), (B, 3) -> (B, H, W, 3) uint8 sRGB."""
        size = self.planes.shape[-2:]
        coarse = (nodes * self.scale).permute(0, 3, 1, 2)
        wide = _stretched(coarse, size).to(self.planes.dtype)
        field = torch.zeros(len(nodes), 3, *size, dtype=self.planes.dtype, device=nodes.device)
        for k, plane in enumerate(self.planes):
            field = torch.addcmul(field, wide[:, k, None], plane)
        code = self.mean + _stretched(field.float(), self.mean.shape[-2:])
        code = code * gain[:, :, None, None]
        return code.clamp(0.0, 255.0).round().to(torch.uint8).permute(0, 2, 3, 1)


def _stretched(pictures: Tensor, size: torch.Size) -> Tensor:
    return nn.functional.interpolate(pictures, tuple(size), mode="bilinear", align_corners=False)


def _aside(angle: float) -> Float32:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]], np.float32)


class TorchEngine:
    """One head at a time on the CPU, float32."""

    name = "torch"

    def __init__(self, model: PersonalModel) -> None:
        self._decoder = TorchDecoder(model).eval()

    def decode(self, code: HeadCode) -> DecodedHead:
        """See `DecoderEngine`."""
        with torch.no_grad():
            return _on_host(self._decoder(torch.from_numpy(packed([code]))))


class CudaEngine:
    """One batch of heads under a captured graph: a replay costs one launch."""

    name = "cuda"

    def __init__(self, model: PersonalModel, batch: int = 1, texture: bool = False) -> None:
        """`texture`: also sum the whole picture (`picture`). Raises RuntimeError without CUDA."""
        if not has_cuda():
            raise RuntimeError(
                "decoder engine 'cuda': expected a CUDA device, torch finds none; "
                "use numpy, torch or auto"
            )
        self._decoder = TorchDecoder(model, half=True).cuda().eval()
        self._texture = TorchTexture(model, half=True).cuda().eval() if texture else None
        width = self._decoder.geometry + self._decoder.appearance + POSE_NUMBERS
        self._staging = torch.zeros(batch, width, pin_memory=True)
        self._inputs = torch.zeros(batch, width, device="cuda")
        self._copied = torch.cuda.Event()
        self.picture: Tensor | None = None
        """(B, H, W, 3) uint8 on the device, of the last `run`."""
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside), torch.no_grad():
            for _ in range(WARM_UPS):
                self._compute()
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.no_grad(), torch.cuda.graph(self._graph):
            self._outputs = self._compute()

    def run(self, inputs: Float32) -> DecodedTensors:
        """(batch, ...) as `packed` -> tensors on the device that the next call overwrites."""
        self._copied.synchronize()  # the last copy may still be reading
        self._staging.copy_(torch.from_numpy(inputs))
        self._inputs.copy_(self._staging, non_blocking=True)
        self._copied.record()
        self._graph.replay()
        return self._outputs

    def decode(self, code: HeadCode) -> DecodedHead:
        """See `DecoderEngine`; of an engine with a batch of 1."""
        return _on_host(self.run(packed([code])))

    def _compute(self) -> DecodedTensors:
        out = self._decoder(self._inputs)
        if self._texture is not None:
            self.picture = self._texture(out.nodes, out.gain)
        return out


def _on_host(out: DecodedTensors) -> DecodedHead:
    """The first of a batch."""
    parts = (out.vertices, out.normals, out.nodes, out.gain)
    return DecodedHead(*(part[0].cpu().numpy().copy() for part in parts))
