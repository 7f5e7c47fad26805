"""One process or many: which of them this is, and where it computes.

Under torchrun (`RANK` and `WORLD_SIZE` in the environment) the processes form a group: NCCL with a
GPU each, else gloo on the CPU. Without it the same code runs alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

TIMEOUT = timedelta(minutes=20)
"""How long a process waits for the others: the closed form of a large capture takes minutes."""


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This process among its peers."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """The one that writes files and reports."""
        return self.rank == 0

    def meet(self) -> None:
        """Wait until all are here."""
        if self.size > 1:
            dist.barrier()

    def averaging(self, module: nn.Module) -> nn.Module:
        """`module`, with gradients averaged over the group."""
        if self.size == 1:
            return module
        ids = [self.device.index] if self.device.type == "cuda" else None
        # Buffers never change in training.
        return DistributedDataParallel(module, device_ids=ids, forward_sync_buffers=False)


@contextmanager
def joined(device: str = "auto") -> Iterator[ProcessGroup]:
    """The group that torchrun made, or this process alone. `device`: "auto", "cpu" or "cuda".

    Raises ValueError for another device, or for "cuda" without one.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device: expected auto, cpu or cuda, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: expected cuda, but torch finds no CUDA device; use cpu")
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield ProcessGroup(0, 1, torch.device("cuda", 0) if on_gpu else torch.device("cpu"))
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    place = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(place)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group(
        "nccl" if on_gpu else "gloo", timeout=TIMEOUT, store=_store(), rank=rank, world_size=size
    )
    try:
        yield ProcessGroup(dist.get_rank(), dist.get_world_size(), place)
    finally:
        dist.destroy_process_group()


def _store() -> Store:
    """Where the processes find each other: torchrun's store, with names of its own for every start.

    torchrun's agent keeps one store over restarts, and whoever comes back early finds the address
    of a peer that was killed ("Connection refused", torch 2.13). The count of restarts tells starts
    apart where one agent counts them; agents of several machines each count their own (there,
    set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 for torchrun).
    """
    store, _, _ = next(rendezvous("env://", timeout=TIMEOUT))
    if os.environ.get("GROUP_WORLD_SIZE") != "1":
        return store
    return PrefixStore(f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
