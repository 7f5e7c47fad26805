"""SVG drawn by a process of its own.

resvg holds Python's global lock while it draws, 10 to 60 ms: in this process whatever else runs,
the thread that draws the scene above all, would stand still for so long at every keystroke.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from typing import IO

import numpy as np
import numpy.typing as npt

from overlay.image_model import ModelError
from overlay.sticker_picture import draw_svg
from streams.closing import Closing

_QUESTION = struct.Struct("<III")
"""Bytes of the SVG, width, height."""
_ANSWER = struct.Struct("<BI")
"""0 = a picture, 1 = what went wrong as UTF-8; bytes of it."""
_LARGEST = 64 << 20


class SvgProcess(Closing):
    """Draws as `draw_svg` does, one picture at a time. Started at the first picture, and anew
    after a failure."""

    def __init__(self, timeout_s: float = 10.0) -> None:
        self.timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Have it ready before the first picture. Raises ModelError when it cannot be started."""
        self._running()

    def draw(self, svg: str, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """(H, W, 4) uint8 sRGB with straight alpha of that (width, height).

        Raises ValueError for what is no SVG, ModelError when the process ended or took too long.
        """
        process = self._running()
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:
            raise ModelError("the process that draws stickers has no pipes")
        data = svg.encode()
        # A read from a pipe has no time-out; it ends when the process is gone.
        watchdog = threading.Timer(self.timeout_s, process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            stdin.write(_QUESTION.pack(len(data), *size) + data)
            stdin.flush()
            failed, length = _ANSWER.unpack(_read(stdout, _ANSWER.size))
            answer = _read(stdout, length)
        except (OSError, EOFError) as error:
            self.close()
            raise ModelError(
                f"the process that draws stickers ended or took over {self.timeout_s:g} s; "
                "type on to start it again"
            ) from error
        finally:
            watchdog.cancel()
        if failed:
            raise ValueError(answer.decode("utf-8", "replace"))
        return np.frombuffer(answer, np.uint8).reshape(size[1], size[0], 4)

    def close(self) -> None:
        """End the process; may be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait(10)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # What was still to be written cannot be.
                    pass

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            # The folder that this package lies in, wherever the program was started.
            start = f"import sys; sys.path[:0] = {sys.path!r}; import overlay.svg_process as p"
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", f"{start}; p.serve()"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            except OSError as error:
                raise ModelError(
                    f"the process that draws stickers cannot be started: {error.strerror}"
                ) from error
        return self._process


def serve() -> None:
    """Answer on standard output what standard input asks, until it is closed."""
    if hasattr(os, "nice"):
        os.nice(5)  # what is drawn 60 times a second goes before what is drawn once a key
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            length, width, height = _QUESTION.unpack(_read(questions, _QUESTION.size))
            svg = _read(questions, length).decode()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            answer, failed = draw_svg(svg, (width, height)).tobytes(), 0
        except Exception as error:
            # Native code fails in its own ways, and the next picture may be drawn.
            answer, failed = str(error).encode(), 1
        answers.write(_ANSWER.pack(failed, len(answer)) + answer)
        answers.flush()


def _read(pipe: IO[bytes], length: int) -> bytes:
    """So many bytes. Raises EOFError when there are fewer."""
    if length > _LARGEST:
        raise EOFError(f"{length} bytes announced")
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError(f"{len(data)} of {length} bytes")
    return data
