"""The page's modules run by node on what the tests give them."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[1] / "headset" / "webxr" / "page"
SCRIPT = Path(__file__).parent / "webxr" / "wire_twins.js"


def pieces(parts: list[bytes]) -> bytes:
    """Byte strings one after the other, each after its length."""
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)


def run_twins(folder: Path, files: dict[str, bytes | list[Any]]) -> dict[str, Any]:
    """Write `files` to `folder`, run wire_twins.js there, and return what it told; what it wrote
    lies in `folder`."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the page's modules are not compared")
    for name, data in files.items():
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        (folder / name).write_bytes(raw)
    # The modules have no package.json beside them, which would be served.
    flag = "--experimental-default-type=module"
    done = subprocess.run(
        [node, flag, str(SCRIPT), str(PAGE), str(folder)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if "bad option" in done.stderr:
        pytest.skip(f"this node is older than 20.10: {done.stderr.strip()[:100]}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
