"""`visavis stream` as a process of its own, and a client that pairs with it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp

from headset.webxr.messages import MOST_DOWN_BYTES


class StreamProcess:
    """`visavis stream` as a process of its own."""

    def __init__(self, root: Path, home: Path, *arguments: str) -> None:
        code = "from apps.command import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "stream", "--port", "0", *arguments],
            cwd=root, env={**os.environ, "VISAVIS_HOME": str(home), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def find(self, pattern: str, seconds: float = 180.0) -> str:
        """The group of the first line that matches, waiting for it."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for line in list(self.lines):
                if match := re.search(pattern, line):
                    return match[1]
            if self.process.poll() is not None and not self._reading.is_alive():
                break
            time.sleep(0.02)
        raise AssertionError(f"no {pattern} in {self.lines}")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(180.0) == 130, self.lines
        self._reading.join(5.0)


@contextlib.asynccontextmanager
async def paired_client(stream: StreamProcess, home: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """Pair with the PIN from the terminal, over TLS with the certificate that it names."""
    url = stream.find(r"On this machine: (https://\S+/)#")
    pem = (home / "stream" / "certificate.pem").read_text()
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    assert stream.find(r"SHA-256 (\S+)").replace(":", "") == digest
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=pem))
    origin = {"Origin": url.rstrip("/")}
    async with (
        asyncio.timeout(180.0),
        aiohttp.ClientSession(url, connector=connector, headers=origin) as session,
    ):
        async with session.post("/pair", json={"pin": stream.find(r"PIN (\d{6})")}) as answer:
            assert answer.status == 200, await answer.text()
        yield session


async def connected(stream: StreamProcess, home: Path, use: Callable[..., Any]) -> None:
    """`use` a link of a client that is paired."""
    async with (
        paired_client(stream, home) as session,
        session.ws_connect("/link", max_msg_size=MOST_DOWN_BYTES) as ws,
    ):
        await use(ws)
