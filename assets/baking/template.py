"""The head template as its file holds it, and the texels of its atlas."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import load_file

from assets.baking.texels import Texels

AVATARS = Path(__file__).parents[1] / "avatars"
SIZE = 1024
"""Texels on a side of the whole atlas."""


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """The head template's arrays (see assets/baking/bake_head.py)."""

    arrays: dict[str, npt.NDArray[Any]]
    identities: tuple[str, ...]
    regions: tuple[str, ...]

    @staticmethod
    def open() -> Template:
        path = AVATARS / "head_template.safetensors"
        with safe_open(path, "np") as file:
            metadata = file.metadata()
        return Template(
            load_file(path),
            tuple(json.loads(metadata["identities"])),
            tuple(json.loads(metadata["regions"])),
        )

    def region(self, name: str) -> npt.NDArray[Any]:
        """(V,) True on the vertices of a region."""
        return self.arrays["regions"] == self.regions.index(name)


@functools.cache
def open_template() -> Template:
    """The template, read once."""
    return Template.open()


@functools.cache
def atlas_texels() -> Texels:
    """The atlas' texels; every identity shares them."""
    a = open_template().arrays
    return Texels.of(np.asarray(a["faces"], np.int64), np.asarray(a["uv"], np.float32), SIZE)
