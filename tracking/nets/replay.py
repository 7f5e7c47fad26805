"""Work that is recorded once and then repeated: the one place where CUDA differs from a CPU."""

from __future__ import annotations

from collections.abc import Callable

import torch

Work = Callable[[], None]

WARM_UPS = 3
"""Runs before a CUDA graph is captured, as torch asks for (torch.cuda.CUDAGraph, notes)."""


def recorded(work: Work, device: torch.device) -> Work:
    """On CUDA `work` as one graph, whose replay costs one launch; elsewhere `work` itself.

    `work` reads and writes the same tensors each time and asks nothing of their values.
    """
    if device.type != "cuda":
        return work
    aside = torch.cuda.Stream(device)
    aside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            work()
    torch.cuda.current_stream(device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
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
