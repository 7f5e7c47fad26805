"""The Khronos glTF validator, run by node where both are there (`./visavis test` installs it)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

NODE_MODULES = Path(__file__).parent / "webxr" / "node_modules"
_SCRIPT = """
const v = require("gltf-validator"), fs = require("fs"), path = require("path");
const file = process.argv[1], folder = path.dirname(file);
const read = uri => Promise.resolve(
  new Uint8Array(fs.readFileSync(path.join(folder, decodeURIComponent(uri)))));
v.validateBytes(new Uint8Array(fs.readFileSync(file)), { externalResourceFunction: read })
  .then(report => console.log(JSON.stringify(report.issues)));
"""


def gltf_issues(path: Path) -> dict[str, Any]:
    """What the validator says of a .gltf or .glb file; skips the test without a validator."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if not (NODE_MODULES / "gltf-validator").is_dir():
        pytest.skip("gltf-validator is not installed (npm install in tests/webxr)")
    said = subprocess.run(
        ["node", "-e", _SCRIPT, str(path)],
        env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return json.loads(said.stdout)
