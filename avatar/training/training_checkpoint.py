"""Where training stands, on disk: tensors in a safetensors file, the rest in JSON beside it.

`step-00001200.safetensors` is written first and `step-00001200.json`, with the tensors' SHA-256,
last; each under another name and then renamed. A checkpoint counts when both are there and agree,
so whatever a crash leaves behind is passed over. No pickle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from assets.manifest import sha256_of

KEPT = 2
"""Checkpoints that stay: should the newest be damaged, there is one more."""
FORMAT = 1


class TrainingCheckpointError(ValueError):
    """A checkpoint is not what training can go on from."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingCheckpoint:
    """All that is not a function of options, seed and step."""

    step: int
    """Steps that are done."""
    tensors: dict[str, Tensor]
    about: dict[str, Any]
    """JSON: which codec, which options."""

    def write(self, folder: Path) -> None:
        """Add to the folder and drop all but the newest. Raises OSError (disk full, say), which
        leaves older checkpoints as they were."""
        folder.mkdir(parents=True, exist_ok=True)
        name = f"step-{self.step:08d}"
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.tensors.items()}
        path = folder / f"{name}.safetensors"
        _put(path, lambda part: save_file(tensors, part))
        about = {
            **self.about,
            "format": FORMAT,
            "step": self.step,
            "sha256": sha256_of(path),
        }
        text = json.dumps(about, indent=1)
        _put(folder / f"{name}.json", lambda part: part.write_text(text, encoding="utf-8"))
        kept = set(_names(folder)[-KEPT:])
        for found in (*folder.glob("step-*.json"), *folder.glob("step-*.safetensors")):
            if found.stem not in kept:
                found.unlink(missing_ok=True)
        for part in folder.glob(".step-*.part"):  # of a process that was killed as it wrote
            part.unlink(missing_ok=True)

    @staticmethod
    def newest(folder: Path) -> TrainingCheckpoint | None:
        """The newest whole one, or None."""
        for name in reversed(_names(folder)):
            try:
                return TrainingCheckpoint.read(folder / f"{name}.json")
            except TrainingCheckpointError:
                continue
        return None

    @staticmethod
    def read(path: Path) -> TrainingCheckpoint:
        """From the path of its JSON. Raises TrainingCheckpointError when it is not whole."""
        tensors_path = path.with_suffix(".safetensors")
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(about, dict) or about.get("format") != FORMAT:
                raise TrainingCheckpointError(f"{path}: expected a checkpoint of format {FORMAT}")
            if sha256_of(tensors_path) != about.get("sha256"):
                raise TrainingCheckpointError(f"{tensors_path}: its SHA-256 is not that of {path}")
            return TrainingCheckpoint(int(about["step"]), load_file(tensors_path), about)
        except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
            if isinstance(error, TrainingCheckpointError):
                raise
            raise TrainingCheckpointError(f"{path}: no whole checkpoint: {error}") from error


def optimiser_tensors(optimiser: torch.optim.Adam, names: list[str]) -> dict[str, Tensor]:
    """Adam's moments by the names of the parameters it was given, in their order."""
    state = optimiser.state_dict()["state"]
    return {
        f"adam.{key}.{names[index]}": torch.as_tensor(value)
        for index, values in state.items()
        for key, value in values.items()
    }


def restore_optimiser(
    optimiser: torch.optim.Adam, names: list[str], tensors: dict[str, Tensor]
) -> None:
    """The inverse of `optimiser_tensors`; nothing happens before the first step."""
    state: dict[int, dict[str, Tensor]] = {}
    for index, name in enumerate(names):
        found = {
            key: tensors[f"adam.{key}.{name}"]
            for key in ("step", "exp_avg", "exp_avg_sq")
            if f"adam.{key}.{name}" in tensors
        }
        if found:
            state[index] = found
    if state:
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _names(folder: Path) -> list[str]:
    """Of the checkpoints that have their JSON, oldest first."""
    return sorted(path.stem for path in folder.glob("step-*.json"))


def _put(path: Path, write: Callable[[Path], Any]) -> None:
    """Write under another name, to the disk, then rename."""
    part = path.with_name(f".{path.name}.part")
    try:
        write(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
