"""Which engine runs the tracking networks on this machine.

"mediapipe" is another pipeline as a whole (`tracking.engines.mediapipe_tasks`), kept to compare
with; the others run the networks of our own.
"""

from __future__ import annotations

import ctypes.util
import importlib
from pathlib import Path
from typing import Protocol, cast

from tracking.net import NetSource

ENGINES = ("litert", "openvino", "torch", "mediapipe")
"""What `--tracker` and `tracking.tracker.TrackerOptions.engine` take, beside "auto"."""


class _CpuNets(Protocol):
    def __call__(self, threads: int, *, bundles: dict[str, Path]) -> NetSource: ...


class _TorchNets(Protocol):
    def __call__(self, device: str, *, bundles: dict[str, Path]) -> NetSource: ...


def chosen_engine(name: str) -> str:
    """`name`; of "auto", torch where there is a CUDA device and LiteRT elsewhere.

    OpenVINO in bfloat16 takes a tenth less of a processor's time than LiteRT, but opens nine times
    as slowly and errs by half a pixel on hands, so it is for those who ask for it.

    Raises ValueError for a name that is no engine.
    """
    if name == "auto":
        return "torch" if _has_cuda() else "litert"
    if name not in ENGINES:
        raise ValueError(
            f"TrackerOptions.engine: expected auto or one of {', '.join(ENGINES)}, got {name!r}"
        )
    return name


def open_nets(engine: str, threads: int, bundles: dict[str, Path]) -> NetSource:
    """The networks' source. `threads` of each network, on a processor; `bundles` replaces shipped
    bundles by asset name.

    Imported here, since each takes a while. Raises ValueError for another name, RuntimeError when
    the engine's package or device is not there.
    """
    if engine == "litert":
        make = cast("_CpuNets", _named("tracking.nets.litert", "LiteRtNets"))
        return make(threads, bundles=bundles)
    elif engine == "openvino":
        make = cast("_CpuNets", _named("tracking.nets.openvino", "OpenVinoNets"))
        return make(threads, bundles=bundles)
    elif engine == "torch":
        make_torch = cast("_TorchNets", _named("tracking.nets.torch_nets", "TorchNets"))
        return make_torch("cuda" if _has_cuda() else "cpu", bundles=bundles)
    else:
        raise ValueError(f"open_nets: expected litert, openvino or torch, got {engine!r}")


def _named(module: str, name: str) -> object:
    return getattr(importlib.import_module(module), name)


def _has_cuda() -> bool:
    # Importing torch takes seconds, so the driver is looked for first.
    if ctypes.util.find_library("cuda") is None and ctypes.util.find_library("nvcuda") is None:
        return False
    import torch

    return torch.cuda.is_available()
