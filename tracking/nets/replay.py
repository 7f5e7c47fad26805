"""Work that is recorded once and then repeated: the one place where CUDA differs from a CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch

Work = Callable[[], None]

WARM_UPS = 3
"""Runs before a CUDA graph is captured, as torch asks for (torch.cuda.CUDAGraph, notes)."""
_CAPTURING = threading.Lock()
"""Engines of several cameras are in threads of their own, and may begin at once."""


def recorded(work: Work, device: torch.device) -> Work:
    """On CUDA `work` as one graph, whose replay costs one launch; elsewhere `work` itself.

    `work` reads and writes the same tensors each time and asks nothing of their values. It is
    recorded without gradients, and in float32 convolutions are computed as such: cuDNN's default is
    to round their factors to 10 bits (TF32).
    """

    def plain() -> None:
        with torch.inference_mode():
            work()

    if device.type != "cuda":
        return plain
    graph = torch.cuda.CUDAGraph()
    exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    with _CAPTURING, torch.cuda.device(device), exact:
        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                plain()
        torch.cuda.current_stream(device).wait_stream(aside)
        # The other thread may go on with what it has recorded already.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            plain()
    return graph.replay


def side_by_side(first: Work, second: Work, device: torch.device) -> None:
    """Both, on CUDA at the same time, each on a stream of its own.

    The caller keeps every tensor that `second` reads until after this call: the memory of one that
    is gone is given away while `second` may still read it.
    """
    if device.type != "cuda":
        first()
        second()
        return
    here, aside = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        second()
    first()
    here.wait_stream(aside)


def finish(device: torch.device) -> None:
    """Wait until copies to the host have landed."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
