"""What is told where pyopenxr, a runtime, a headset's OpenGL or Monado's source is missing."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from apps.preview import Preview
from apps.usage import UsageError
from headset.openxr.binding import OpenXrError, load_xr
from headset.openxr.graphics_binding import EGL, OPENGL, binding_extensions


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="EGL is on Linux")
def test_a_runtime_without_egl_is_named() -> None:
    with pytest.raises(OpenXrError, match="does not offer XR_MNDX_egl_enable"):
        binding_extensions({OPENGL, "XR_EXT_hand_tracking"})
    assert binding_extensions({OPENGL, EGL, "more"}) == (OPENGL, EGL)


def test_without_pyopenxr_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xr", None)
    with pytest.raises(OpenXrError, match=r"pip install 'visavis\[openxr\]'"):
        load_xr()


def test_another_xr_is_not_taken_for_pyopenxr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xr", SimpleNamespace(__file__="xr.py"))  # pyright: ignore
    with pytest.raises(OpenXrError, match="is not pyopenxr"):
        load_xr()


def test_pyopengl_keeps_its_platform() -> None:
    _require_pyopenxr()
    code = (
        "import render.gl_context, OpenGL.platform as p; before = p.PLATFORM\n"
        "from headset.openxr.binding import load_xr; xr = load_xr()\n"
        "assert p.PLATFORM is before, type(p.PLATFORM); print(type(before).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "EGLPlatform"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="EGL is on Linux")
def test_the_verb_says_in_one_line_that_no_runtime_is_there(tmp_path) -> None:
    _require_pyopenxr()
    done = _preview("--source", "synthetic:still", XR_RUNTIME_JSON=str(tmp_path / "none.json"))
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("visavis: ")]
    assert "runtime" in line
    assert "XR_RUNTIME_JSON" in line
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="EGL is on Linux")
def test_the_verb_says_in_one_line_which_extra_is_missing(tmp_path: Path) -> None:
    (tmp_path / "xr.py").write_text("raise ModuleNotFoundError('none here', name='xr')")
    done = _preview("--source", "synthetic:still", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "visavis: OpenXR: pyopenxr is not installed; pip install 'visavis[openxr]' (261 MB)"
    )
    assert "Traceback" not in done.stderr


def test_the_doctor_warns_without_a_runtime(tmp_path: Path) -> None:
    environment = os.environ | {"XR_RUNTIME_JSON": str(tmp_path / "none.json")}
    done = subprocess.run(
        [sys.executable, "-m", "apps.probes", "openxr"],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["status"] == "warn", "only one verb needs it"
    assert "docs/openxr.md" in found["mend"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [((), 1, "VISAVIS_MONADO_SOURCE"), (("--if-present",), 0, "no such file"), (("-x",), 2, "")],
)
def test_building_monado_names_what_is_missing(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    script = Path(__file__).parent / "openxr" / "build_monado.py"
    environment = os.environ | {
        "VISAVIS_MONADO_SOURCE": str(tmp_path / "none.tar.xz"),
        "VISAVIS_MONADO": str(tmp_path / "monado"),
    }
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == code
    assert said in done.stderr
    assert not (tmp_path / "monado").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"headset_hands": True}, "add --openxr"),
        ({"headset_space": "stage"}, "add --openxr"),
        ({"openxr": True, "headset_space": "moon"}, "expected one of local, stage"),
        ({"openxr": True, "debug_3d": True}, "leave --out and --debug-3d away"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Preview(**options).check()


def _require_pyopenxr() -> None:
    # Not imported here: that would change PyOpenGL's platform for every other test.
    if importlib.util.find_spec("xr") is None:
        pytest.skip("pyopenxr is not installed (extra openxr)")


def _preview(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-c", "from apps.command import main; main()"),
            *("preview", "--openxr", *arguments),
        ],
        env=os.environ | environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
