"""Which engine runs the tracking networks on this machine.

"mediapipe" is another pipeline as a whole (`tracking.engines.mediapipe_tasks`), kept to compare
with; the others run the networks of our own.
"""

from __future__ import annotations

import ctypes.util
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from tracking.net import NetSource

if TYPE_CHECKING:
    from tracking.nets.torch_nets import TorchNets

ENGINES = ("litert", "openvino", "torch", "mediapipe")
"""What `--tracker` and `tracking.tracker.TrackerOptions.engine` take, beside "auto"."""


class _CpuNets(Protocol):
    def __call__(self, threads: int, *, bundles: Mapping[str, Path]) -> NetSource: ...


def chosen_engine(name: str) -> str:
    """`name`; of "auto", torch where there is a CUDA device and LiteRT elsewhere.

    OpenVINO in bfloat16 takes a tenth less of a processor's time than LiteRT, but opens nine times
    as slowly and errs by half a pixel on hands, so it is for those who ask for it.

    Raises ValueError for a name that is no engine.
    """
    if name == "auto":
        return "torch" if has_cuda() else "litert"
    if name not in ENGINES:
        raise ValueError(
            f"TrackerOptions.engine: expected auto or one of {', '.join(ENGINES)}, got {name!r}"
        )
    return name


def open_nets(engine: str, threads: int, bundles: Mapping[str, Path]) -> NetSource:
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
        return open_torch_nets(bundles)
    else:
        raise ValueError(f"open_nets: expected litert, openvino or torch, got {engine!r}")


def open_torch_nets(bundles: Mapping[str, Path]) -> TorchNets:
    """As `open_nets`: on CUDA where there is a device."""
    from tracking.nets.torch_nets import TorchNets

    return TorchNets("cuda" if has_cuda() else "cpu", bundles=bundles)


def _named(module: str, name: str) -> object:
    return getattr(importlib.import_module(module), name)


def has_cuda() -> bool:
    """Whether torch has a CUDA device here."""
    # Importing torch takes seconds, so the driver is looked for first.
    if ctypes.util.find_library("cuda") is None and ctypes.util.find_library("nvcuda") is None:
        return False
    import torch

    return torch.cuda.is_available()
