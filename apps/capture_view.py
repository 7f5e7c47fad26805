"""Where a guided capture is shown: in a window, or as words in the terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TextIO

import cv2
import numpy as np
import numpy.typing as npt

from apps.capture_picture import capture_picture
from apps.tracked_parts import write_whole
from avatar.enrolment.coverage import Coverage
from avatar.enrolment.guide import GuideStep
from render.window import Window
from streams.frame import Frame


class CaptureView(Protocol):
    """Tells a person what to do next, and shows how an avatar is coming along."""

    def show(self, frame: Frame, step: GuideStep, coverage: Coverage) -> bool:
        """False when the person wants to stop."""
        ...

    def say(self, text: str) -> None:
        """Something that is no request."""
        ...

    def show_learning(self, rgb: npt.NDArray[np.uint8]) -> bool:
        """The source beside the avatar so far; False when nobody would see it."""
        ...


class TerminalView:
    """One line a request, one every ten percent of the meter."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._said = ""
        self._tenths = 0

    def show(self, frame: Frame, step: GuideStep, coverage: Coverage) -> bool:
        if step.fulfilled and self._said != "good":
            self._say("good", "  good")
        elif not step.fulfilled:
            words = f"{step.text} ({step.hint})" if step.hint else step.text
            if words != self._said:
                self._say(words, f"> {words}")
        tenths = int(10 * coverage.total())
        if tenths > self._tenths:
            self._tenths = tenths
            print(f"  covered: {10 * tenths} %", file=self._out, flush=True)
        return True

    def say(self, text: str) -> None:
        self._say(text, text)

    def show_learning(self, rgb: npt.NDArray[np.uint8]) -> bool:
        return False

    def _say(self, key: str, line: str) -> None:
        self._said = key
        print(line, file=self._out, flush=True)


class WindowView:
    """Everything in one picture; Esc or the close button stops."""

    def __init__(self, window: Window) -> None:
        self._window = window

    def show(self, frame: Frame, step: GuideStep, coverage: Coverage) -> bool:
        self._window.show_picture(capture_picture(frame, step, coverage))
        return not self._window.closed

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def show_learning(self, rgb: npt.NDArray[np.uint8]) -> bool:
        if not self._window.closed:
            self._window.show_picture(rgb)
        return not self._window.closed


class LearningView:
    """Shows how an avatar comes along in a view, or in a picture file where the view has no room
    for it."""

    def __init__(self, view: CaptureView, file: Path) -> None:
        self._view, self._file = view, file
        self._last: npt.NDArray[np.uint8] | None = None

    def show(self, rgb: npt.NDArray[np.uint8]) -> None:
        """(h, 2 w, 3) uint8 sRGB: a moment of the video, and the avatar so far."""
        self._last = rgb
        if not self._view.show_learning(rgb):
            done, data = cv2.imencode(".png", rgb[:, :, ::-1])
            if done:
                write_whole(self._file, data.tobytes())

    def poll(self) -> None:
        """Let a window answer its user between pictures."""
        if self._last is not None:
            self._view.show_learning(self._last)


@contextlib.contextmanager
def open_view() -> Iterator[CaptureView]:
    """A window where one opens, else the terminal."""
    from apps.display import has_display
    from render.gl_context import GlUnavailableError
    from render.window import WindowOptions

    if not has_display():
        yield TerminalView()
        return
    try:
        window = Window(WindowOptions("Visavis - your own avatar", (960, 600), vsync=False))
    except GlUnavailableError:
        yield TerminalView()
        return
    with window:
        yield WindowView(window)
