"""`visavis test`: the test suite of this checkout."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, slots=True)
class Test:
    """Run the test suite; what follows `test` goes to pytest, for example `-k tracking -x`."""

    arguments: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """For pytest."""

    def run(self) -> int:
        """pytest's own closing line and 0 or 1; 1 also when this is no checkout."""
        root = Path(__file__).parents[1]
        if not (root / "tests").is_dir():
            print(
                "visavis: the tests are not installed with the package; run them in a checkout "
                "of the repository: ./visavis test",
                file=sys.stderr,
            )
            return 1
        if importlib.util.find_spec("pytest") is None:
            print(
                f"visavis: pytest is missing; install it with: pip install -e '{root}[dev]'",
                file=sys.stderr,
            )
            return 1
        command = [sys.executable, "-m", "pytest", *self.arguments]
        return 0 if subprocess.call(command, cwd=root) == 0 else 1
