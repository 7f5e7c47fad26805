"""Arrays from safetensors files, each checked as it is read. No pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from streams.array_contract import Shape
from streams.closing import Closing


class CheckpointError(ValueError):
    """A file of arrays is unreadable, or not what this version of the code expects."""


class Checkpoint(Closing):
    """One open file. Use in a `with` statement."""

    def __init__(self, path: Path) -> None:
        """Raises CheckpointError when the file is no readable safetensors file."""
        self.path = path
        try:
            self._file = safe_open(str(path), framework="numpy")
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path}: expected a safetensors file, got {error}") from error
        self._keys = frozenset(self._file.keys())

    def close(self) -> None:
        """Arrays are not read afterwards."""
        self._file.__exit__(None, None, None)  # safetensors has no other way to close

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def array(self, key: str, dtype: npt.DTypeLike, shape: Shape) -> npt.NDArray[Any]:
        """The array of this name; None in `shape` accepts any length.

        Raises CheckpointError when it is absent, of another dtype or shape, or not finite.
        """
        wanted = f"{np.dtype(dtype)} ({', '.join('*' if n is None else str(n) for n in shape)})"
        if key not in self._keys:
            raise CheckpointError(f"{self.path}: {key}: expected {wanted}, got nothing")
        value = cast("npt.NDArray[Any]", self._file.get_tensor(key))
        fits = value.dtype == np.dtype(dtype) and len(value.shape) == len(shape)
        if not fits or any(
            n is not None and n != m for n, m in zip(shape, value.shape, strict=True)
        ):
            got = f"{value.dtype} {value.shape}"
            raise CheckpointError(f"{self.path}: {key}: expected {wanted}, got {got}")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise CheckpointError(
                f"{self.path}: {key}: expected finite numbers, got NaN or infinity"
            )
        return value

    def names(self, key: str) -> tuple[str, ...]:
        """A list of words that the file's metadata holds as JSON."""
        text = (self._file.metadata() or {}).get(key)
        try:
            words = json.loads(text or "")
        except json.JSONDecodeError as error:
            raise CheckpointError(
                f"{self.path}: metadata {key}: expected a JSON list, got {text!r}"
            ) from error
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise CheckpointError(f"{self.path}: metadata {key}: expected words, got {text!r}")
        return tuple(words)
