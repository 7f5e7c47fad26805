"""A value made of our own records and numpy arrays, in one file and back, to the last bit.

No pickle: reading makes objects of this project's classes, and runs nothing that the file says.
"""

from __future__ import annotations

import importlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy import sparse

Arrays = list[npt.NDArray[Any]]

PACKAGES = ("avatar", "streams", "apps")
"""Whose classes may be in a file."""
TREE = "tree"


class StoredTreeError(ValueError):
    """A file that is not whole, or a value that cannot be stored."""


def write_tree(path: Path, value: object) -> None:
    """An .npz that is there whole or not at all, readable by its owner alone. Raises OSError when
    it cannot be written, StoredTreeError for what is neither ours nor an array."""
    arrays: Arrays = []
    text = json.dumps(_tree_of(value, arrays, {}))
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            named = {str(k): array for k, array in enumerate(arrays)}
            np.savez(file, allow_pickle=False, **{TREE: np.array(text)}, **named)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_tree(path: Path) -> Any:
    """What `write_tree` was given. Raises StoredTreeError for a file that is damaged or of another
    version of the code, FileNotFoundError when there is none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = [file[str(k)] for k in range(len(file.files) - 1)]
            return _value_of(json.loads(str(file[TREE])), arrays)
    except FileNotFoundError:
        raise
    except (
        OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, ImportError, EOFError,
        zipfile.BadZipFile,
    ) as error:  # fmt: skip
        raise StoredTreeError(f"{path}: cannot be read ({error})") from error


def _tree_of(value: Any, arrays: Arrays, known: dict[int, int]) -> Any:
    """As JSON has it; arrays go to `arrays`, each once."""
    if value is None or isinstance(value, bool | int | float | str):
        if isinstance(value, np.generic):  # np.float64 is a float
            return _tree_of(np.asarray(value), arrays, known) | {"scalar": True}
        return value
    if isinstance(value, np.generic):
        return _tree_of(np.asarray(value), arrays, known) | {"scalar": True}
    if isinstance(value, np.ndarray) and value.dtype != object:
        if id(value) not in known:
            known[id(value)] = len(arrays)
            arrays.append(value)
        return {"array": known[id(value)]}
    if isinstance(value, tuple | list):
        parts = [_tree_of(part, arrays, known) for part in cast("list[Any]", value)]
        return {"tuple" if isinstance(value, tuple) else "list": parts}
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if isinstance(value, dict):
        named = cast("dict[Any, Any]", value)
        return {
            "dict": [[_tree_of(part, arrays, known) for part in pair] for pair in named.items()]
        }
    if isinstance(value, sparse.csr_array):
        parts = [
            _tree_of(part, arrays, known) for part in (value.data, value.indices, value.indptr)
        ]
        return {"csr": parts, "shape": [int(n) for n in cast("tuple[int, int]", value.shape)]}
    kind = type(value)
    if kind.__module__.partition(".")[0] not in PACKAGES or "<" in kind.__qualname__:
        raise StoredTreeError(
            f"write_tree: expected records of {', '.join(PACKAGES)} and arrays, "
            f"got {kind.__module__}.{kind.__qualname__}"
        )
    fields = {name: _tree_of(part, arrays, known) for name, part in _fields(value).items()}
    return {"class": [kind.__module__, kind.__qualname__], "fields": fields}


def _fields(value: object) -> dict[str, Any]:
    """Whatever an object holds, by slots or not."""
    found = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                found[name] = getattr(value, name)
    return found


def _value_of(tree: Any, arrays: Arrays) -> Any:
    if not isinstance(tree, dict):
        return tree
    node = cast("dict[str, Any]", tree)
    if "array" in node:
        array = arrays[node["array"]]
        return array[()] if node.get("scalar") else array
    if "tuple" in node:
        return tuple(_value_of(part, arrays) for part in node["tuple"])
    if "list" in node:
        return [_value_of(part, arrays) for part in node["list"]]
    if "slice" in node:
        return slice(*node["slice"])
    if "dict" in node:
        return {_value_of(key, arrays): _value_of(part, arrays) for key, part in node["dict"]}
    if "csr" in node:
        parts = tuple(_value_of(part, arrays) for part in node["csr"])
        return sparse.csr_array(parts, shape=tuple(node["shape"]))
    module, name = node["class"]
    if module.partition(".")[0] not in PACKAGES:
        raise StoredTreeError(f"read_tree: expected a class of ours, got {module}.{name}")
    kind: Any = importlib.import_module(module)
    for part in name.split("."):
        kind = getattr(kind, part)
    if not isinstance(kind, type) or not kind.__module__.startswith(PACKAGES):
        raise StoredTreeError(f"read_tree: expected a class of ours, got {module}.{name}")
    value = object.__new__(kind)
    for field, part in node["fields"].items():
        object.__setattr__(value, field, _value_of(part, arrays))
    return value
