"""Milliseconds of one decode by every engine: `python -m benchmarks.decoder_engines AVATAR`.

Of a personal avatar (an enrolled name or a .visavis file), in one run on one machine:

- numbers    the two products with the code's large matrices: all that is learned
- head       vertices, normals, coefficients and gain, ready for the fragment shader
- texture    the head, and the whole picture summed for renderers without that shader

and, beside them, Multiface's decoder: its public layers (`avatar.training.conv_decoder`: texture of
1024 x 1024, 7,306 vertices, a code of 128, a bias a texel) with random weights, which cost what
trained ones do. On CUDA all are captured as graphs in half precision. Best and median of `runs`.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import tyro

from avatar.avatar_file import read_avatar_file
from avatar.eye_balls import gaze_from_angles
from avatar.head_code import HeadCode
from avatar.local_texture import LocalTexture
from avatar.onnx_export import PRECISIONS, decoder_graph
from avatar.opening import personal_path
from avatar.personal_decoder import NumpyDecoder
from avatar.personal_model import GAINS, PersonalModel
from avatar.torch_decoder import CudaEngine, TorchDecoder, TorchTexture, has_cuda
from avatar.training.conv_decoder import ConvDecoder, ConvOptions
from streams.rigid import Rigid

VERTICES, LATENT = 7306, 128
"""Of Multiface."""
BATCH = 16


@dataclass(frozen=True, slots=True)
class DecoderEngines:
    """What to time."""

    avatar: tyro.conf.Positional[str]
    """The name of an enrolled avatar, or a .visavis file."""
    runs: int = 60
    threads: int = 1
    """Of torch and onnxruntime on the CPU."""

    def main(self) -> None:
        """Print a table."""
        path = personal_path(self.avatar)
        if path is None:
            raise SystemExit(f"{self.avatar}: expected an enrolled avatar or a .visavis file")
        model = read_avatar_file(path).model
        torch.set_num_threads(self.threads)
        device = torch.cuda.get_device_name() if has_cuda() else "no CUDA device"
        print(f"{platform.processor() or platform.machine()}, {self.threads} thread(s); {device}")
        print(f"{'':44}{'best ms':>10}{'median ms':>11}")
        code = _code(model)
        with torch.no_grad():
            self._on_cpu(model, code)
            if has_cuda():
                self._on_cuda(model, code)

    def _on_cpu(self, model: PersonalModel, code: HeadCode) -> None:
        moves = model.moves.reshape(model.geometry_size, -1)
        appearance = code.appearance[GAINS:]
        self._row("numpy, numbers", lambda: (code.geometry @ moves, appearance @ model.node_moves))
        decoder, texture = NumpyDecoder(model), LocalTexture(model.texture_basis())
        self._row("numpy, head", lambda: decoder.decode(code))

        def whole() -> None:
            head = decoder.decode(code)
            texture.picture(head.nodes, head.gain)

        self._row("numpy + OpenCV, texture", whole)
        twin, sums = TorchDecoder(model), TorchTexture(model)
        one = torch.from_numpy(twin.packed([code]))
        self._row("torch, head", lambda: twin(one))

        def summed() -> None:
            out = twin(one)
            sums(out.nodes, out.gain)

        self._row("torch, texture", summed)
        many = one.expand(BATCH, -1).contiguous()
        self._row(f"torch, head, a batch of {BATCH}", lambda: twin(many), BATCH)
        self._onnx(code)
        conv = ConvDecoder(ConvOptions(1024, LATENT), VERTICES).eval()
        given = torch.zeros(1, LATENT), torch.tensor([[0.0, 0.0, 1.0]])
        self._row("Multiface's decoder, torch", lambda: conv(*given), runs=8)

    def _onnx(self, code: HeadCode) -> None:
        try:
            import onnxruntime
        except ImportError:
            print("onnxruntime is not installed")
            return
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        given = {
            "geometry": code.geometry[None], "appearance": code.appearance[None],
            "gaze": code.gaze, "view": code.towards[None],
        }  # fmt: skip
        for precision in PRECISIONS:
            data = decoder_graph(self.avatar, precision).SerializeToString()
            session = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
            name = f"onnxruntime, head, {precision} ({len(data) / 2**20:.1f} MiB)"
            self._row(name, lambda session=session: session.run(None, given))

    def _on_cuda(self, model: PersonalModel, code: HeadCode) -> None:
        for batch in (1, BATCH):
            for texture in (False, True):
                engine = CudaEngine(model, batch, texture)
                inputs = engine.packed([code] * batch)
                name = f"cuda, {'texture' if texture else 'head'}, a batch of {batch}"
                self._row(name, _synchronised(lambda e=engine, i=inputs: e.run(i)), batch)
        engine = CudaEngine(model)
        self._row("cuda, head, from code to arrays on the host", lambda: engine.decode(code))
        conv = ConvDecoder(ConvOptions(1024, LATENT), VERTICES).eval().cuda()
        given = torch.zeros(1, LATENT).cuda(), torch.tensor([[0.0, 0.0, 1.0]]).cuda()
        self._row("Multiface's decoder, cuda float32", _synchronised(lambda: conv(*given)))
        halves = conv.half(), tuple(part.half() for part in given)
        self._row("the same, float16", _synchronised(lambda: halves[0](*halves[1])))
        graph = _captured(lambda: halves[0](*halves[1]))
        self._row("the same, float16, a graph", _synchronised(graph.replay))

    def _row(
        self, name: str, work: Callable[[], object], heads: int = 1, runs: int | None = None
    ) -> None:
        """Time `work`; milliseconds a head."""
        for _ in range(3):
            work()
        times = []
        for _ in range(runs or self.runs):
            begun = time.perf_counter()
            work()
            times.append((time.perf_counter() - begun) * 1e3 / heads)
        print(f"{name:44}{min(times):10.3f}{float(np.median(times)):11.3f}", flush=True)


def _code(model: PersonalModel) -> HeadCode:
    rng = np.random.default_rng(1)
    return HeadCode(
        rng.normal(size=model.geometry_size).astype(np.float32),
        rng.normal(size=model.appearance_size).astype(np.float32),
        gaze_from_angles(np.array([[0.1, 0.0], [0.1, 0.0]])),
        Rigid.from_rotvec((0.1, 0.2, 0.0), (0.0, 0.0, -0.6)),
        np.array([0.0, 0.0, 1.0], np.float32),
    )


def _synchronised(work: Callable[[], object]) -> Callable[[], None]:
    """Until the device is done."""

    def both() -> None:
        work()
        torch.cuda.synchronize()

    return both


def _captured(work: Callable[[], object]) -> torch.cuda.CUDAGraph:
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph


if __name__ == "__main__":
    tyro.cli(DecoderEngines).main()
