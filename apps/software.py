"""Name and version of what is running, as sessions note them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def software() -> str:
    """For example "visavis 0.1.0"."""
    try:
        return f"visavis {version('visavis')}"
    except PackageNotFoundError:
        return "visavis"
