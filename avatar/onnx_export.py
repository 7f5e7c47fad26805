"""A decoder as an ONNX file, for browsers and other runtimes: code in, geometry and nodes out.

    geometry (1, P), appearance (1, A), gaze (2, 3), view (1, 3)
        -> vertices (V, 3), normals (V, 3): metres, head frame, neck straight; hands left out
        -> nodes (rows, columns, K), gain (3): for `render/shaders/local_basis.glsl`

Operators of opset 17 that onnxruntime-web has everywhere: products, gathers, sums. Half-precision
weights are stored as such and computed with in float32, so they halve the file and nothing else.
`PersonalAvatar.decode_nodes` and `Avatar.decode` are the slow twins.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assets.manifest import asset_path
from avatar.avatar_file import read_avatar_file
from avatar.checkpoint import Checkpoint
from avatar.decoder import Decoder
from avatar.encoder import APPEARANCE, GEOMETRY
from avatar.eye_balls import OUTWARDS
from avatar.head_mesh import HeadMesh
from avatar.head_placement import HeadPlacement, moving_vertices
from avatar.local_basis import GRID
from avatar.network import Network
from avatar.opening import personal_path
from avatar.personal_head import personal_head
from avatar.personal_model import GAINS, PersonalModel
from avatar.placement_tables import PlacementTables
from avatar.whole_file import write_whole

if TYPE_CHECKING:
    from onnx import ModelProto

Float32 = npt.NDArray[np.float32]

OPSET, IR_VERSION = 17, 8
PRECISIONS = ("float32", "float16")


def write_onnx(name: str, path: Path, precision: str = "float32") -> None:
    """The decoder of a shipped avatar, an enrolled one, or a `.visavis` path.

    Raises ValueError for an unknown avatar or precision, ImportError without the extra `onnx`,
    OSError when the file cannot be made.
    """
    write_whole(path, decoder_graph(name, precision).SerializeToString())


def decoder_graph(name: str, precision: str = "float32") -> ModelProto:
    """See `write_onnx`."""
    if precision not in PRECISIONS:
        raise ValueError(f"onnx_export: expected precision among {PRECISIONS}, got {precision!r}")
    path = personal_path(name)
    if path is not None:
        file = read_avatar_file(path)
        return _personal(file.model, file.id, precision)
    return _shipped(name.removeprefix("avatars/"), precision)


def _personal(model: PersonalModel, avatar: str, precision: str) -> ModelProto:
    graph = _Graph(precision)
    placement = HeadPlacement(personal_head(HeadMesh.open("default"), model)).tables()
    count = model.geometry_size
    numbers = "geometry"
    if model.glasses is not None:
        worn = graph.slice("appearance", GAINS, GAINS + model.glasses_size)
        numbers = graph.node("Concat", numbers, worn, axis=1)
    moves = model.head_moves()
    moved = graph.product(numbers, moves.reshape(len(moves), -1))
    face = graph.node("Add", graph.node("Reshape", moved, graph.whole([-1, 3])),
                      graph.weight(placement.rest[placement.moving]))  # fmt: skip
    angles = graph.node("MatMul", graph.gaze_angles(with_one=True), graph.weight(model.gaze_map))
    graph.place(placement, face, angles)
    code = graph.slice("appearance", GAINS, model.appearance_size)
    view = graph.node("Sub", "view", graph.weight(model.view_rest[None]))
    flat = graph.node(
        "Add",
        graph.node("Add", graph.product(code, model.node_moves), graph.weight(model.node_rest)),
        graph.product(view, model.node_view),
    )
    rows, columns = (int(n) for n in model.grid)
    planes = len(model.planes)
    place = np.full(rows * columns, len(model.active), np.int32)
    place[model.active] = np.arange(len(model.active))
    on_grid = graph.node("Reshape", flat, graph.whole([-1, planes]))
    still = graph.weight(np.zeros((1, planes), np.float32))
    on_grid = graph.node("Gather", graph.node("Concat", on_grid, still, axis=0),
                         graph.whole(place, np.int32), axis=0)  # fmt: skip
    graph.node("Reshape", on_grid, graph.whole([rows, columns, planes]), out="nodes")
    log = graph.node("Mul", graph.slice("appearance", 0, GAINS), graph.weight(model.gain_sigma))
    one = np.float32(1.0)
    log = graph.node("Clip", log, graph.weight(-one), graph.weight(one))
    graph.node("Reshape", graph.node("Exp", log), graph.whole([3]), out="gain")
    return graph.model(avatar, count, model.appearance_size, (rows, columns, planes), placement)


def _shipped(name: str, precision: str) -> ModelProto:
    """`nodes` are those of the codec's own basis (`avatar.local_basis`), logarithms of light."""
    graph, head = _Graph(precision), HeadMesh.open(name)
    with Checkpoint(asset_path("avatars/codec")) as file:
        decoder = Decoder.read(file, name, len(moving_vertices(head)))
    placement = HeadPlacement(head).tables()
    person = graph.weight(decoder.person[None])
    shape_in = graph.node("Concat", "geometry", person, axis=1)
    moved = graph.product(graph.network(shape_in, decoder.shape_network), decoder.shape_basis)
    face = graph.node("Add", graph.node("Reshape", moved, graph.whole([-1, 3])),
                      graph.weight(placement.rest[placement.moving]))  # fmt: skip
    graph.place(placement, face, graph.gaze_angles(with_one=False))
    colour_in = graph.node("Concat", "appearance", "view", person, axis=1)
    nodes = graph.network(colour_in, decoder.colour_network)
    planes = decoder.colour_network.outputs // GRID**2
    graph.node("Reshape", nodes, graph.whole([GRID, GRID, planes]), out="nodes")
    graph.node("Identity", graph.weight(np.ones(3, np.float32)), out="gain")
    return graph.model(
        f"avatars/{name}", GEOMETRY, APPEARANCE, (GRID, GRID, planes), placement
    )  # fmt: skip


class _Graph:
    """A graph that grows node by node; every value has a name."""

    def __init__(self, precision: str) -> None:
        try:
            import onnx
        except ImportError as error:
            raise ImportError(
                "onnx_export: expected the package onnx; install it: pip install 'visavis[onnx]'"
            ) from error
        self._onnx = onnx
        self._half = precision == "float16"
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def node(self, kind: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """Name of the result of one operator."""
        out = out or f"v{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def weight(self, values: npt.ArrayLike) -> str:
        """Name of a small constant, float32."""
        return self._constant(np.asarray(values, np.float32))

    def whole(self, values: npt.ArrayLike, kind: type[np.signedinteger] = np.int64) -> str:
        """Name of a constant of whole numbers."""
        return self._constant(np.asarray(values, kind))

    def product(self, vector: str, matrix: Float32) -> str:
        """(1, n) times a large matrix (n, m). As halves its rows are brought to 1 first, as the
        avatar's file has them."""
        if not self._half:
            return self.node("MatMul", vector, self.weight(matrix))
        size = np.maximum(np.abs(matrix).max(1), 1e-20).astype(np.float32)
        small = self._constant((matrix / size[:, None]).astype(np.float16))
        wide = self.node("Cast", small, to=self._onnx.TensorProto.FLOAT)
        return self.node("MatMul", self.node("Mul", vector, self.weight(size[None])), wide)

    def network(self, x: str, network: Network) -> str:
        """The same layers as `Network.__call__`."""
        h = x
        for weight, bias in zip(network.weights[:-1], network.biases[:-1], strict=True):
            h = self.node("Add", self.product(h, weight.T), self.weight(bias[None]))
            h = self.node("Elu", h, alpha=1.0)
        last = self.node("Add", self.product(h, network.weights[-1].T),
                         self.weight(network.biases[-1][None]))  # fmt: skip
        return self.node("Add", last, self.product(x, network.direct.T))

    def slice(self, value: str, begin: int, end: int, axis: int = 1) -> str:
        """Columns `begin` to `end`."""
        return self.node(
            "Slice", value, self.whole([begin]), self.whole([end]), self.whole([axis])
        )  # fmt: skip

    def gaze_angles(self, with_one: bool) -> str:
        """(1, 4 or 5): yaw and pitch of both eyes' `gaze`, and 1 (`eye_balls.gaze_angles`)."""
        x, y, z = (self.slice("gaze", k, k + 1) for k in range(3))
        level = self.node("Sqrt", self.node("Add", self.node("Mul", x, x), self.node("Mul", z, z)))
        # There is no atan2: it is twice the arctangent of half the angle.
        half = self.node("Atan", self.node("Div", x, self.node("Add", level, z)))
        yaw = self.node("Add", half, half)
        one = np.float32(1.0)
        pitch = self.node("Asin", self.node("Clip", y, self.weight(-one), self.weight(one)))
        both = self.node("Reshape", self.node("Concat", yaw, pitch, axis=1), self.whole([1, 4]))
        return self.node("Concat", both, self.weight([[1.0]]), axis=1) if with_one else both

    def place(self, tables: PlacementTables, face: str, angles: str) -> None:
        """`HeadPlacement.place` at the identity: `face` (M, 3), `angles` (1, 4) of the gaze."""
        v, n = [face], [self.weight(tables.rest_normals[tables.moving])]
        at = [tables.moving]
        for eye, ball in enumerate(tables.balls):
            turned = self._ball_rotation(angles, eye)
            around = tables.rest[ball] - tables.eyes[eye]
            away = self.node("MatMul", self.weight(around), turned)
            v.append(self.node("Add", away, self.weight(tables.eyes[eye][None])))
            n.append(self.node("MatMul", self.weight(tables.rest_normals[ball]), turned))
            at.append(np.arange(ball.start, ball.stop, dtype=np.int32))
        still = np.setdiff1d(np.arange(len(tables.rest), dtype=np.int32), np.concatenate(at))
        v.append(self.weight(tables.rest[still]))
        n.append(self.weight(tables.rest_normals[still]))
        at.append(still.astype(np.int32))
        order = np.argsort(np.concatenate(at)).astype(np.int32)
        vertices = self.node("Gather", self.node("Concat", *v, axis=0),
                             self.whole(order, np.int32), out="vertices", axis=0)  # fmt: skip
        normals = self.node("Gather", self.node("Concat", *n, axis=0),
                            self.whole(order, np.int32), axis=0)  # fmt: skip
        bent = self._smooth_normals(tables, vertices)
        # Those that bend follow all others; each vertex then takes its own.
        pick = np.arange(len(tables.rest), dtype=np.int32)
        pick[tables.bending] = len(tables.rest) + np.arange(len(tables.bending))
        both = self.node("Concat", normals, bent, axis=0)
        self.node("Gather", both, self.whole(pick, np.int32), out="normals", axis=0)

    def _ball_rotation(self, angles: str, eye: int) -> str:
        """(3, 3) transposed turn of a ball (`eye_balls.ball_rotation`)."""
        yaw = self.slice(angles, 2 * eye, 2 * eye + 1)
        pitch = self.slice(angles, 2 * eye + 1, 2 * eye + 2)
        s, c = self.node("Sin", yaw), self.node("Cos", yaw)
        y, level = self.node("Sin", pitch), self.node("Cos", pitch)
        zero = self.weight([[0.0]])

        def minus(value: str) -> str:
            return self.node("Neg", value)

        def times(a: str, b: str) -> str:
            return self.node("Mul", a, b)

        columns = (
            c, zero, minus(s),
            minus(times(s, y)), level, minus(times(c, y)),
            times(s, level), y, times(c, level),
        )  # fmt: skip
        turn = self.node("Reshape", self.node("Concat", *columns, axis=1), self.whole([3, 3]))
        aside = OUTWARDS if eye == 0 else -OUTWARDS
        c0, s0 = float(np.cos(aside)), float(np.sin(aside))
        first = self.weight([[c0, 0.0, -s0], [0.0, 1.0, 0.0], [s0, 0.0, c0]])
        return self.node("MatMul", first, turn)

    def _smooth_normals(self, tables: PlacementTables, vertices: str) -> str:
        """(B, 3) `SmoothNormals.of`, by gathers."""
        t = tables.normals
        a, b, c = (
            self.node("Gather", vertices, self.whole(t.corners[:, k], np.int32), axis=0)
            for k in range(3)
        )
        u, w = self.node("Sub", b, a), self.node("Sub", c, a)

        def turned(value: str, by: int) -> str:
            around = [(k + by) % 3 for k in range(3)]
            return self.node("Gather", value, self.whole(around, np.int32), axis=1)

        face = self.node(
            "Sub",
            self.node("Mul", turned(u, 1), turned(w, 2)),
            self.node("Mul", turned(u, 2), turned(w, 1)),
        )
        face = self.node("Concat", face, self.weight(np.zeros((1, 3))), axis=0)
        about = self.node("Gather", face, self.whole(t.faces_of_point, np.int32), axis=0)
        total = self.node("ReduceSum", about, self.whole([1]), keepdims=0)
        length = self.node("Sqrt", self.node("ReduceSum", self.node("Mul", total, total),
                                             self.whole([1]), keepdims=1))  # fmt: skip
        unit = self.node("Div", total, self.node("Max", length, self.weight(np.float32(1e-20))))
        return self.node("Gather", unit, self.whole(t.point_of_vertex, np.int32), axis=0)

    def model(
        self,
        avatar: str,
        geometry: int,
        appearance: int,
        nodes: tuple[int, int, int],
        placement: PlacementTables,
    ) -> ModelProto:
        """The whole file, checked."""
        h, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        count = len(placement.rest)
        inputs = (
            ("geometry", (1, geometry)), ("appearance", (1, appearance)),
            ("gaze", (2, 3)), ("view", (1, 3)),
        )  # fmt: skip
        outputs = (
            ("vertices", (count, 3)), ("normals", (count, 3)), ("nodes", nodes), ("gain", (3,)),
        )  # fmt: skip
        graph = h.make_graph(
            self._nodes,
            "decoder",
            [h.make_tensor_value_info(name, kind, shape) for name, shape in inputs],
            [h.make_tensor_value_info(name, kind, shape) for name, shape in outputs],
            self._weights,
        )
        model = h.make_model(
            graph, producer_name="Visavis", opset_imports=[h.make_opsetid("", OPSET)]
        )  # fmt: skip
        model.ir_version = IR_VERSION
        h.set_model_props(model, {"visavis": json.dumps({"avatar": avatar})})
        self._onnx.checker.check_model(model, full_check=True)
        return model

    def _constant(self, values: npt.NDArray[Any]) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(
            self._onnx.numpy_helper.from_array(np.ascontiguousarray(values), name)
        )  # fmt: skip
        return name
