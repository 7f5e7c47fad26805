"""The page's files, read once: what is asked for by a path is looked up, never opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PAGE_FOLDER = Path(__file__).parent / "page"
PAIRING_FILES = {"/": "/pair.html", "/pair.js": "/pair.js", "/pair.css": "/pair.css"}
"""All that an unpaired client gets: its path, and the file."""
FRONT = "/index.html"
_TYPES = {
    ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css",
    ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png",
    ".webp": "image/webp", ".jpg": "image/jpeg", ".wasm": "application/wasm",
    ".woff2": "font/woff2", ".frag": "text/plain", ".vert": "text/plain", ".glsl": "text/plain",
    ".txt": "text/plain",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file as it is sent."""

    body: bytes
    content_type: str


class PageFiles:
    """By path, which begins with "/"."""

    def __init__(
        self, more: Mapping[str, tuple[bytes, str]] | None = None, folder: Path = PAGE_FOLDER
    ) -> None:
        """`more` adds files, or puts others in their place: path -> (bytes, content type)."""
        self._files: dict[str, PageFile] = {}
        for place, _, names in os.walk(folder):
            for name in names:
                path = Path(place) / name
                kind = _TYPES.get(path.suffix.lower())
                if kind is not None:
                    key = f"/{path.relative_to(folder).as_posix()}"
                    self._files[key] = PageFile(path.read_bytes(), kind)
        for key, (body, kind) in (more or {}).items():
            self._files[f"/{key.lstrip('/')}"] = PageFile(body, kind)

    def for_anyone(self, path: str) -> PageFile | None:
        """A file of the pairing page."""
        name = PAIRING_FILES.get(path)
        return None if name is None else self._files.get(name)

    def for_paired(self, path: str) -> PageFile | None:
        """Any file; "/" is the front page."""
        return self._files.get(FRONT if path == "/" else path)
