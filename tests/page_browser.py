"""Headless Chromium with the page's own worker, and a page around it that only counts."""

from __future__ import annotations

import base64
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
HARNESS = Path(__file__).parent / "webxr" / "wire_page.js"
FRONT = b'<!DOCTYPE html><title>wire</title><script type="module" src="/wire_page.js"></script>'
FILES = {
    "/index.html": (FRONT, "text/html"),
    "/wire_page.js": (HARNESS.read_bytes(), "text/javascript"),
}
"""In the place of the page's own front page; its worker stays."""


@contextlib.contextmanager
def browser_page(folder: Path, url: str, token: str) -> Iterator[Any]:
    """A Playwright page that is paired by `token`, not opened yet, with the extra attribute
    `errors`. Skips the test where there is no browser."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    cookie = {
        "name": "__Host-visavis", "value": token, "url": url, "secure": True, "httpOnly": True,
        "sameSite": "Strict",
    }  # fmt: skip
    with sync.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(folder / "profile"), executable_path=found, headless=True, args=list(FLAGS),
            ignore_https_errors=True,
        )  # fmt: skip
        try:
            context.add_cookies([cookie])
            page: Any = context.pages[0]
            page.errors = []
            page.on("pageerror", lambda error: page.errors.append(str(error)))
            yield page
        finally:
            context.close()


def arrays(value: Any) -> Any:
    """What `plain` of wire_page.js made of a message, with numpy arrays."""
    kinds = {
        "Float32Array": np.float32, "Uint8Array": np.uint8, "Uint32Array": np.uint32,
        "Int8Array": np.int8,
    }  # fmt: skip
    if isinstance(value, dict):
        if set(value) == {"array", "base64"}:
            return np.frombuffer(base64.b64decode(value["base64"]), kinds[value["array"]])
        return {key: arrays(item) for key, item in value.items()}
    return [arrays(item) for item in value] if isinstance(value, list) else value
