"""The set-up script, on small projects that need no network: real Python, real pip, real venv.

What it asks of the system (dpkg-query, apt-get, id, sudo) is answered by small programs that come
first in PATH, because a test must not install packages.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "visavis"

# A build backend of its own, so that pip needs nothing from anywhere.
BACKEND = """
import base64, hashlib, os, zipfile

def get_requires_for_build_editable(config_settings=None):
    return []

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "visavis-1-py3-none-any.whl"
    info = "visavis-1.dist-info/"
    files = {
        "visavis_small.pth": os.getcwd() + "\\n",
        info + "METADATA": "Metadata-Version: 2.1\\nName: visavis\\nVersion: 1\\n"
                           "Provides-Extra: dev\\n" + os.environ.get("TEST_REQUIRES", ""),
        info + "WHEEL": "Wheel-Version: 1.0\\nGenerator: t\\n"
                        "Root-Is-Purelib: true\\nTag: py3-none-any\\n",
        info + "entry_points.txt": "[console_scripts]\\nvisavis = small:main\\n",
    }
    files[info + "RECORD"] = "".join(f + ",,\\n" for f in [*files, info + "RECORD"])
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name
"""
PROGRAM = """
import os, sys
def main():
    print(os.getcwd(), *sys.argv[1:], sep="|")
    sys.exit(7 if "fail" in sys.argv else 0)
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "visavis"
version = "1"
"""


@dataclass
class Machine:
    """A folder with a project and the system's answers, and how to call it."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        return self.root / "a project's folder"

    def call(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        cwd = self.root / "elsewhere"
        cwd.mkdir(exist_ok=True)
        return subprocess.run(
            ["sh", str(self.project / "visavis"), *arguments],
            cwd=cwd,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def answer(self, program: str, script: str) -> None:
        path = self.root / "bin" / program
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


def make_machine(root: Path) -> Machine:
    keep = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "VISAVIS"))
    }
    machine = Machine(root)
    machine.environment = {
        **keep,
        "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
        "VISAVIS_PYTHON": sys.executable,
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_RETRIES": "0",
    }
    (root / "bin").mkdir()
    machine.answer("dpkg-query", "echo installed")
    machine.answer("apt-get", 'echo "$@" >> "$(dirname "$0")/apt.txt"')
    machine.answer("npm", 'echo "$@" >> "$(dirname "$0")/npm.txt"')
    machine.answer("sudo", "exit 1")
    machine.project.mkdir()
    shutil.copy(SCRIPT, machine.project / "visavis")
    (machine.project / "pyproject.toml").write_text(PYPROJECT)
    (machine.project / "tests" / "webxr").mkdir(parents=True)
    (machine.project / "tests" / "webxr" / "package.json").write_text("{}")
    (machine.project / "backend.py").write_text(BACKEND)
    (machine.project / "small.py").write_text(PROGRAM)
    return machine


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine on which the first call was made, over what an interrupted one had left."""
    machine = make_machine(tmp_path_factory.mktemp("machine"))
    (machine.project / ".venv" / "bin").mkdir(parents=True)
    (machine.project / ".venv" / "bin" / "python").symlink_to("/gone")
    done = machine.call("first", "two words")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{machine.root / 'elsewhere'}|first|two words\n"
    assert "visavis: set up." in done.stderr
    return machine


@pytest.fixture
def fresh(tmp_path: Path) -> Machine:
    return make_machine(tmp_path)


def test_the_second_call_starts_at_once(ready: Machine) -> None:
    done = ready.call("again", "$HOME", "")
    assert done.stdout == f"{ready.root / 'elsewhere'}|again|$HOME|\n"
    assert done.stderr == ""
    assert not (ready.project / ".venv.log").exists()


def test_the_exit_code_comes_through(ready: Machine) -> None:
    assert ready.call("fail").returncode == 7


def test_through_a_symbolic_link(ready: Machine) -> None:
    link = ready.root / "bin" / "vis"
    link.symlink_to(ready.project / "visavis")
    try:
        done = subprocess.run(
            [str(link), "x"], env=ready.environment, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
    finally:
        link.unlink()
    assert (done.returncode, done.stderr) == (0, "")


def test_other_softwares_python_path_is_ignored(ready: Machine, tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text("def main(): print('wrong')")
    assert "wrong" not in ready.call("x", PYTHONPATH=str(tmp_path)).stdout


def test_the_tests_need_more_and_other_verbs_are_content_with_it(ready: Machine) -> None:
    asked_of_npm = ready.root / "bin" / "npm.txt"
    assert not asked_of_npm.exists()
    done = ready.call("test", "-x")
    assert "set up." in done.stderr
    assert done.stdout.endswith("|test|-x\n")
    assert asked_of_npm.read_text().startswith(f"install --prefix {ready.project}/tests/webxr ")
    assert ready.call("test").stderr == ""
    assert ready.call("demo").stderr == ""


def test_an_interrupted_set_up_goes_on(ready: Machine) -> None:
    (ready.project / ".venv" / "visavis-ready").unlink()
    (ready.project / ".venv" / "bin" / "visavis").unlink()
    done = ready.call("x")
    assert done.returncode == 0, done.stderr
    assert "2/3" not in done.stderr  # the environment itself was whole
    assert "set up." in done.stderr


def test_new_requirements_are_installed(ready: Machine) -> None:
    with (ready.project / "pyproject.toml").open("a") as file:
        file.write("\n# changed\n")
    assert "3/3" in ready.call("x").stderr
    assert ready.call("x").stderr == ""


def test_without_root_it_prints_the_one_line(fresh: Machine) -> None:
    fresh.answer("id", "echo 1000")
    fresh.answer("dpkg-query", 'case "$*" in *libegl1*|*glib*) exit 1;; *) echo installed;; esac')
    done = fresh.call("x")
    assert done.returncode == 1
    assert (
        '    sudo sh -c "apt-get update && apt-get install -y --no-install-recommends '
        'libegl1 libglib2.0-0"\n'
    ) in done.stderr
    assert not (fresh.root / "bin" / "apt.txt").exists()


def test_the_tests_want_a_browser_where_apt_has_a_real_one(fresh: Machine) -> None:
    fresh.answer("id", "echo 1000")
    fresh.answer("dpkg-query", 'case "$*" in *chromium*|*xvfb*) exit 1;; *) echo installed;; esac')
    release = Path("/etc/os-release")
    is_debian = release.is_file() and "ID=debian" in release.read_text().splitlines()
    wanted = "xvfb chromium" if is_debian else "xvfb"
    assert f'--no-install-recommends {wanted}"\n' in fresh.call("test").stderr
    fresh.answer("dpkg-query", 'case "$*" in *chromium*) exit 1;; *) echo installed;; esac')
    done = fresh.call("x")
    assert done.returncode == 0, done.stderr  # not needed to run
    assert "chromium" not in done.stderr


@pytest.mark.parametrize("user", ["root", "sudo"])
def test_with_root_it_installs_what_is_missing(fresh: Machine, user: str) -> None:
    fresh.answer("id", f"echo {0 if user == 'root' else 1000}")
    fresh.answer("sudo", '[ "$1" = -n ] && shift && exec "$@"')
    fresh.answer("dpkg-query", 'case "$*" in *libgles2*) exit 1;; *) echo installed;; esac')
    fresh.answer("apt-get", 'echo "$@" >> "$(dirname "$0")/apt.txt"; [ "$1" = update ]')
    done = fresh.call("x")
    assert done.returncode == 1  # this apt-get cannot install
    assert "apt could not install the system packages" in done.stderr
    assert (fresh.root / "bin" / "apt.txt").read_text() == (
        "update\ninstall -y --no-install-recommends libgles2\n"
    )


def test_why_npm_failed(fresh: Machine) -> None:
    fresh.answer("npm", "echo 'npm error network request to https://x failed: ETIMEDOUT'; exit 1")
    done = fresh.call("test")
    assert done.returncode == 1
    assert "the npm packages of tests/webxr could not be installed" in done.stderr
    assert fresh.call("x").returncode == 0  # other verbs do not need them


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ("Temporary failure in name resolution", "the network failed"),
        ("write error: No space left on device", "the disk is full"),
        ("E: Could not get lock /var/lib/dpkg/lock", "another program is installing"),
    ],
)
def test_why_apt_failed(fresh: Machine, says: str, words: str) -> None:
    fresh.answer("id", "echo 0")
    fresh.answer("dpkg-query", "exit 1")
    fresh.answer("apt-get", f'echo "{says}" >&2; exit 100')
    done = fresh.call("x")
    assert done.returncode == 1
    assert words in done.stderr.splitlines()[-2 if "another" not in words else -1]


def test_an_old_python_is_refused(fresh: Machine) -> None:
    fresh.answer("old", "exit 1")
    done = fresh.call("x", VISAVIS_PYTHON="old")
    assert done.returncode == 1
    assert "VISAVIS_PYTHON: expected a Python 3.11 or newer, got old" in done.stderr


def test_without_network_pip_says_so(ready: Machine) -> None:
    (ready.project / ".venv" / "visavis-ready").unlink()
    done = ready.call(
        "x",
        PIP_NO_INDEX="0",
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        TEST_REQUIRES="Requires-Dist: a-package-that-is-nowhere\n",
    )
    assert done.returncode == 1
    assert "the Python packages could not be installed: the network failed" in done.stderr
    assert not (ready.project / ".venv" / "visavis-ready").exists()
    assert ready.call("x").returncode == 0


def test_a_moved_project_gets_a_new_environment(ready: Machine) -> None:
    """Last, because the others use the folder; scripts in an environment hold its path."""
    moved = ready.project.with_name("moved")
    ready.project.rename(moved)
    done = subprocess.run(
        [str(moved / "visavis"), "x"],
        env=ready.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    moved.rename(ready.project)
    assert done.returncode == 0, done.stderr
    assert "the folder was moved" in done.stderr
