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

from avatar.eye_balls import ball_rotation
from avatar.head_code import DecodedHead, HeadCode
from avatar.head_mesh import HeadMesh
from avatar.head_placement import HeadPlacement
from avatar.personal_head import personal_head
from avatar.personal_model import GAINS, PersonalModel
from avatar.placement_tables import PlacementTables
from avatar.posed_face import mapped_gaze
from avatar.posture import head_from_torso

Float32 = npt.NDArray[np.float32]

MM = 1000.0
"""Moves are multiplied in millimetres: half floats have most digits about 1."""
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


class TorchDecoder(nn.Module):
    """One person's decoder. Buffers move with `.to(device)`.

    What of a moment are a few numbers (turns of balls and neck, gains) is computed on the host, in
    numpy, by `packed`; the rest is few and large operations, because on CUDA each costs a launch.
    """

    moves: Tensor
    node_moves: Tensor
    node_rest: Tensor
    node_place: Tensor
    face_rest: Tensor
    around_eyes: Tensor
    eyes: Tensor
    rest: Tensor
    rest_normals: Tensor
    vertex_pick: Tensor
    neck: Tensor
    neck_pivot: Tensor
    neck_normals: Tensor
    torso_share: Tensor
    neck_pick: Tensor
    corners: Tensor
    faces_of_point: Tensor
    point_of_vertex: Tensor
    normal_pick: Tensor

    def __init__(self, model: PersonalModel, half: bool = False) -> None:
        """`half`: the large matrices in float16."""
        super().__init__()
        self._model = model
        self._product = torch.float16 if half else torch.float32
        self._grid = int(model.grid[0]), int(model.grid[1])
        self._planes = len(model.planes)
        tables = HeadPlacement(personal_head(HeadMesh.open("default"), model)).tables()
        self._keep_matrices(model)
        self._keep_placement(tables)
        self._sizes = (
            model.geometry_size + model.glasses_size, len(model.node_moves) + 3,
            2 * 9, 3 * 6, 1, 9, 3, GAINS,
        )  # fmt: skip

    @property
    def width(self) -> int:
        """Numbers of a moment in `packed`."""
        return sum(self._sizes)

    def packed(self, codes: Sequence[HeadCode]) -> Float32:
        """(B, width) float32: one row a moment, so that one copy brings all of it."""
        return np.stack([self._row(code) for code in codes])

    def forward(self, inputs: Tensor) -> DecodedTensors:
        """`packed` moments -> the heads."""
        geometry, appearance, balls, neck, angle, turn, place, gain = inputs.split(self._sizes, 1)
        moved = (geometry.to(self._product) @ self.moves).unflatten(1, (-1, 3))
        face = torch.add(self.face_rest, moved, alpha=1.0 / MM)
        vertices, normals = self._placed(
            face, balls.unflatten(1, (2, 3, 3)), neck.unflatten(1, (3, 6)), angle[:, :, None]
        )
        turn = turn.unflatten(1, (3, 3))
        flat = (appearance.to(self._product) @ self.node_moves) + self.node_rest
        nodes = flat.unflatten(1, (-1, self._planes))[:, self.node_place]
        return DecodedTensors(
            torch.baddbmm(place[:, None], vertices, turn),
            normals @ turn,
            nodes.unflatten(1, self._grid),
            gain,
        )

    def _keep_matrices(self, model: PersonalModel) -> None:
        moves = model.head_moves()
        moves = moves.reshape(len(moves), -1) * np.float32(MM)
        nodes = np.concatenate([model.node_moves, model.node_view])
        # One node more, of zeros: for the places of the grid that no texel depends on.
        nodes = np.pad(nodes, ((0, 0), (0, self._planes)))
        # Rows brought to 1, so that none of it is lost in half precision; `_row` multiplies back.
        self._moves_size, self._nodes_size = (
            np.maximum(np.abs(matrix).max(1), 1e-20).astype(np.float32) for matrix in (moves, nodes)
        )
        self._keep("moves", moves / self._moves_size[:, None], self._product)
        self._keep("node_moves", nodes / self._nodes_size[:, None], self._product)
        self._keep("node_rest", np.pad(model.node_rest, (0, self._planes)))
        place = np.full(self._grid[0] * self._grid[1], len(model.active))
        place[model.active] = np.arange(len(model.active))
        self._keep("node_place", place, torch.int64)

    def _keep_placement(self, tables: PlacementTables) -> None:
        count, moving = len(tables.rest), len(tables.moving)
        ball = len(range(*tables.balls[0].indices(count)))
        around = [
            np.concatenate([tables.rest[here] - centre, tables.rest_normals[here]])
            for here, centre in zip(tables.balls, tables.eyes, strict=True)
        ]
        if len({len(points) for points in around}) != 1:
            raise ValueError("TorchDecoder: expected two eye balls of equal meshes")
        # Where each vertex is found in [face, left ball, right ball, rest], and so on.
        vertex_pick = moving + 2 * ball + np.arange(count)
        vertex_pick[tables.moving] = np.arange(moving)
        neck_pick, normal_pick = np.arange(count), np.arange(count)
        neck_pick[tables.neck] = count + np.arange(len(tables.neck))
        normal_pick[tables.neck] = count + 2 * ball + np.arange(len(tables.neck))
        for eye, here in enumerate(tables.balls):
            vertex_pick[here] = moving + eye * ball + np.arange(ball)
            normal_pick[here] = count + eye * ball + np.arange(ball)
        bent = count + 2 * ball + len(tables.neck)
        normal_pick[tables.bending] = bent + np.arange(len(tables.bending))
        normals = tables.normals
        # A face of one vertex has no area: it fills the tables of points with fewer faces.
        corners = np.concatenate([normals.corners, np.zeros((1, 3), np.int32)])
        floats = {
            "face_rest": tables.rest[tables.moving], "around_eyes": np.stack(around),
            "eyes": tables.eyes[:, None], "rest": tables.rest,
            "rest_normals": tables.rest_normals, "neck_pivot": tables.neck_pivot,
            "neck_normals": tables.rest_normals[tables.neck],
            "torso_share": np.tile(tables.torso_share, 2)[:, None],
        }  # fmt: skip
        wholes = {
            "vertex_pick": vertex_pick, "neck": tables.neck, "neck_pick": neck_pick,
            "normal_pick": normal_pick, "corners": corners,
            "faces_of_point": normals.faces_of_point, "point_of_vertex": normals.point_of_vertex,
        }  # fmt: skip
        for name, value in floats.items():
            self._keep(name, value)
        for name, value in wholes.items():
            self._keep(name, value, torch.int64)

    def _keep(
        self, name: str, value: npt.NDArray[np.generic], kind: torch.dtype = torch.float32
    ) -> None:
        kept = torch.as_tensor(np.array(value)).to(kind).contiguous()
        self.register_buffer(name, kept, persistent=False)

    def _row(self, code: HeadCode) -> Float32:
        model, pose = self._model, code.world_from_head
        gaze = mapped_gaze(model.gaze_map, code.gaze)
        balls = [ball_rotation(gaze, eye).T.ravel() for eye in (0, 1)]
        turn = head_from_torso(pose)
        angle = float(np.linalg.norm(turn))
        x, y, z = turn / max(angle, 1e-9)
        # Rodrigues: v + sin K v + (1 - cos) K K v; both products at once, vectors as rows.
        across = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        numbers = model.head_numbers(code.geometry, code.appearance)
        appearance = np.concatenate([code.appearance[GAINS:], code.towards - model.view_rest])
        return np.concatenate(
            [numbers * self._moves_size, appearance * self._nodes_size, *balls,
             np.hstack([across.T, (across @ across).T]).ravel(), [angle],
             pose.rotation().T.ravel(), pose.xyz, model.gain(code.appearance)]
        ).astype(np.float32)  # fmt: skip

    def _placed(
        self, face: Tensor, balls: Tensor, neck: Tensor, angle: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`HeadPlacement.place` in the head frame: (B, V, 3) vertices and normals."""
        batch, count = len(face), len(self.neck)
        around = self.around_eyes @ balls
        ball = self.around_eyes.shape[1] // 2
        ball_vertices = (around[:, :, :ball] + self.eyes).flatten(1, 2)
        ball_normals = around[:, :, ball:].flatten(1, 2)
        rest = self.rest.expand(batch, -1, -1)
        vertices = torch.cat([face, ball_vertices, rest], 1)[:, self.vertex_pick]
        # Places about the pivot, and normals, turn alike: both at once.
        away = vertices[:, self.neck] - self.neck_pivot
        still = torch.cat([away, self.neck_normals.expand(batch, -1, -1)], 1)
        both, theta = still @ neck, self.torso_share * angle
        turned = torch.addcmul(still, theta.sin(), both[..., :3])
        turned = torch.addcmul(turned, 1.0 - theta.cos(), both[..., 3:])
        on_neck = turned[:, :count] + self.neck_pivot
        vertices = torch.cat([vertices, on_neck], 1)[:, self.neck_pick]
        bent = self._smooth_normals(vertices)
        rest_normals = self.rest_normals.expand(batch, -1, -1)
        normals = torch.cat([rest_normals, ball_normals, turned[:, count:], bent], 1)
        return vertices, normals[:, self.normal_pick]

    def _smooth_normals(self, vertices: Tensor) -> Tensor:
        """(B, bending, 3): `SmoothNormals.of` by gathers."""
        corners = vertices[:, self.corners]
        sides = corners[:, :, 1:] - corners[:, :, :1]
        face = torch.linalg.cross(sides[:, :, 0], sides[:, :, 1])
        total = face[:, self.faces_of_point].sum(2)
        unit = total / total.norm(dim=2, keepdim=True).clamp_min(1e-20)
        return unit[:, self.point_of_vertex]


class TorchTexture(nn.Module):
    """The sum of a texture's planes: nodes and gain to pictures, fast twin of `LocalTexture`."""

    planes: Tensor
    mean: Tensor

    def __init__(self, model: PersonalModel, half: bool = False) -> None:
        super().__init__()
        kind = torch.float16 if half else torch.float32
        scaled = model.planes * (255.0 * model.plane_scale)[:, None, None, None]
        planes = torch.as_tensor(np.array(scaled.transpose(0, 3, 1, 2))).to(kind)
        mean = torch.as_tensor(np.array(model.mean.transpose(2, 0, 1))).float()
        self.register_buffer("planes", planes.contiguous(), persistent=False)
        self.register_buffer("mean", mean, persistent=False)

    def forward(self, nodes: Tensor, gain: Tensor) -> Tensor:
        """(B, rows, columns, K), (B, 3) -> (B, H, W, 3) uint8 sRGB."""
        size = self.planes.shape[-2:]
        wide = _stretched(nodes.permute(0, 3, 1, 2), size).to(self.planes.dtype)
        field = wide[:, 0, None] * self.planes[0]
        for k in range(1, len(self.planes)):
            field = torch.addcmul(field, wide[:, k, None], self.planes[k])
        code = self.mean + _stretched(field.float(), self.mean.shape[-2:])
        code = code * gain[:, :, None, None]
        return code.clamp(0.0, 255.0).round().to(torch.uint8).permute(0, 2, 3, 1)


def _stretched(pictures: Tensor, size: torch.Size) -> Tensor:
    return nn.functional.interpolate(pictures, tuple(size), mode="bilinear", align_corners=False)


class TorchEngine:
    """One head at a time on the CPU, float32."""

    name = "torch"

    def __init__(self, model: PersonalModel) -> None:
        self._decoder = TorchDecoder(model).eval()

    def decode(self, code: HeadCode) -> DecodedHead:
        """See `DecoderEngine`."""
        with torch.no_grad():
            return _on_host(self._decoder(torch.from_numpy(self._decoder.packed([code]))))


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
        self.packed = self._decoder.packed
        self._staging = torch.zeros(batch, self._decoder.width, pin_memory=True)
        self._inputs = torch.zeros(batch, self._decoder.width, device="cuda")
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
        """(batch, width) from `packed` -> tensors on the device that the next call overwrites."""
        self._copied.synchronize()  # the last copy may still be reading
        self._staging.copy_(torch.from_numpy(inputs))
        self._inputs.copy_(self._staging, non_blocking=True)
        self._copied.record()
        self._graph.replay()
        return self._outputs

    def decode(self, code: HeadCode) -> DecodedHead:
        """See `DecoderEngine`; of an engine with a batch of 1."""
        return _on_host(self.run(self.packed([code])))

    def _compute(self) -> DecodedTensors:
        out = self._decoder(self._inputs)
        if self._texture is not None:
            self.picture = self._texture(out.nodes, out.gain)
        return out


def _on_host(out: DecodedTensors) -> DecodedHead:
    """The first of a batch."""
    parts = (out.vertices, out.normals, out.nodes, out.gain)
    return DecodedHead(*(part[0].cpu().numpy().copy() for part in parts))
