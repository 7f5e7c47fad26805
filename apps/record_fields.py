"""A record taken apart into its fields, to compare two of them bit by bit and to hash them."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.texture_basis import TextureBasis
from streams.topology import Topology

Value = npt.NDArray[Any] | int | float | str | bool | bytes | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two records differ first, in the order of their fields."""

    field: str
    """For example "face.landmarks" or "hands[1].joints"."""
    how: str
    """In words: how many numbers, and by how much."""
    largest: float | None = None
    """Largest difference of two numbers; None where it is not one of numbers."""


def fields_of(record: object, name: str = "") -> Iterator[tuple[str, Value]]:
    """Names and values of everything in a record, depth first, in the order of its definition.

    What never changes from one moment to the next (topology, texture basis) is named by its
    identity within the program's run, so it is left out.
    """
    if isinstance(record, Topology | TextureBasis):
        return
    if is_dataclass(record) and not isinstance(record, type):
        for field in fields(record):
            inner = f"{name}.{field.name}" if name else field.name
            yield from fields_of(getattr(record, field.name), inner)
    elif isinstance(record, tuple | list):
        yield f"{name} (how many)", len(record)
        for k, item in enumerate(record):
            yield from fields_of(item, f"{name}[{k}]")
    elif isinstance(record, dict):
        yield f"{name} (keys)", repr(sorted(record))
        for key in sorted(record):
            yield from fields_of(record[key], f"{name}[{key!r}]")
    elif isinstance(record, np.ndarray | int | float | str | bytes) or record is None:
        yield name, record
    else:
        raise ValueError(f"{name}: expected a record of streams, got {type(record).__name__}")


def first_difference(a: object, b: object) -> Difference | None:
    """None when every bit is the same: NaN equals the same NaN, 0 does not equal -0."""
    left, right = list(fields_of(a)), list(fields_of(b))
    for (name, mine), (other, yours) in zip(left, right, strict=False):
        if name != other:
            return Difference(name, f"only one has it (the other one has {other})")
        if packed_value(mine) != packed_value(yours):
            return _difference(name, mine, yours)
    if len(left) != len(right):
        longer = left if len(left) > len(right) else right
        return Difference(longer[min(len(left), len(right))][0], "only one has it")
    return None


class Digest:
    """SHA-256 over records, one after the other: the same for the same bits in any process."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.count = 0

    def add(self, record: object) -> None:
        """Take in one record."""
        for name, value in fields_of(record):
            self._hash.update(name.encode())
            self._hash.update(packed_value(value))
        self.count += 1

    @property
    def text(self) -> str:
        """The hash until now, hexadecimal."""
        return self._hash.hexdigest()


def packed_value(value: Value) -> bytes:
    """One value's bits with its type and shape."""
    if isinstance(value, np.ndarray):
        form = f"{value.dtype.newbyteorder('<').str}{value.shape}"
        little = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
        return form.encode() + little.tobytes()
    if isinstance(value, float | np.floating):
        return b"f" + struct.pack("<d", value)
    if isinstance(value, bytes):
        return b"b" + value
    return f"{type(value).__name__}:{value}".encode()


def _difference(name: str, a: Value, b: Value) -> Difference:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.shape != b.shape or a.dtype != b.dtype:
            return Difference(name, f"{a.dtype} {a.shape} and {b.dtype} {b.shape}")
        mine, yours = a.astype(np.float64), b.astype(np.float64)
        differs = (mine != yours) | (np.signbit(mine) != np.signbit(yours))
        differs &= ~(np.isnan(mine) & np.isnan(yours))
        count = int(differs.sum())
        if not count:
            return Difference(name, "two NaN of different bits")
        with np.errstate(invalid="ignore"):
            largest = float(np.nanmax(np.abs(mine - yours), initial=0.0))
        first = tuple(int(i) for i in np.argwhere(differs)[0])
        return Difference(
            name,
            f"{count} of {a.size} numbers, by up to {largest:.6g}; first at {list(first)}: "
            f"{a[first]} and {b[first]}",
            largest,
        )
    if isinstance(a, int | float) and isinstance(b, int | float):
        return Difference(name, f"{a!r} and {b!r}", abs(float(a) - float(b)))
    return Difference(name, f"{_short(a)} and {_short(b)}")


def _short(value: Value) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)[:60]
