"""From a personal avatar's code to its head: by which engine, chosen by name.

numpy   the slow twin of the others; on a CPU also the fastest for one head at a time
torch   batches of heads on the CPU, float32
cuda    half-precision products under a captured CUDA graph
auto    cuda where there is a device, otherwise numpy
"""

from __future__ import annotations

import numpy as np

from avatar.head_code import DecodedHead, DecoderEngine, HeadCode
from avatar.head_mesh import HeadMesh
from avatar.head_placement import HeadPlacement
from avatar.personal_head import personal_head
from avatar.personal_model import PersonalModel
from avatar.posed_face import mapped_gaze

ENGINES = ("numpy", "torch", "cuda", "auto")


def open_decoder(engine: str, model: PersonalModel) -> DecoderEngine:
    """The engine of this name for one person.

    Raises ValueError for an unknown name, RuntimeError when "cuda" finds no device.
    """
    if engine == "auto":
        from avatar.torch_decoder import has_cuda

        engine = "cuda" if has_cuda() else "numpy"
    if engine == "numpy":
        return NumpyDecoder(model)
    elif engine == "torch":
        from avatar.torch_decoder import TorchEngine

        return TorchEngine(model)
    elif engine == "cuda":
        from avatar.torch_decoder import CudaEngine

        return CudaEngine(model)
    else:
        raise ValueError(f"decoder engine: expected one of {', '.join(ENGINES)}, got {engine!r}")


class NumpyDecoder:
    """The specification of the others."""

    name = "numpy"

    def __init__(self, model: PersonalModel) -> None:
        head = personal_head(HeadMesh.open("default"), model)
        self._model, self._moves = model, model.head_moves()
        self._placement = HeadPlacement(head)
        self._face_rest = head.vertices[self._placement.moving]

    def decode(self, code: HeadCode) -> DecodedHead:
        """See `DecoderEngine`."""
        model = self._model
        face = self._face_rest + np.tensordot(
            model.head_numbers(code.geometry, code.appearance), self._moves, 1
        )
        gaze = mapped_gaze(model.gaze_map, code.gaze)
        vertices, normals = self._placement.place(face, gaze, code.world_from_head)
        nodes = model.nodes(code.appearance, code.towards)
        return DecodedHead(vertices, normals, nodes, model.gain(code.appearance))
