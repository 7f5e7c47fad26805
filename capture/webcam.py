"""Webcams, through OpenCV, in a thread of their own that keeps only the newest picture.

The only place where pictures are BGR.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from capture.frame_source import SourceError, SourceOptions
from streams.clock import now_ns
from streams.closing import Closing
from streams.frame import Frame
from streams.mailbox import Mailbox, SeamClosedError

DEFAULT_FPS = 30.0
FAILED_READS = 3
"""So many failed reads in a row mean that the camera is gone; one alone is a hiccup of USB."""


class Webcam(Closing):
    """A live FrameSource over a camera number or device path (or anything else OpenCV opens).

    A frame's time is that of its arrival less half a frame, as the exposure's middle is not told.
    """

    live = True
    damaged = 0

    def __init__(self, device: int | str, options: SourceOptions | None = None) -> None:
        options = options or SourceOptions()
        self._device = device
        self._timeout_s = options.timeout_s
        self._mirrored = options.mirrored
        self._capture = _open(device, options)
        ok, first = self._capture.read()
        if not ok or first is None or min(first.shape[:2]) == 0:
            self._capture.release()
            raise SourceError(
                f"webcam {device}: opened, but gives no picture; is another program using it?"
            )
        height, width = first.shape[:2]
        try:
            self.camera = options.camera_of((width, height), f"webcam {device}")
        except SourceError:
            self._capture.release()
            raise
        told = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = told if 1.0 <= told <= 1000.0 else DEFAULT_FPS
        self._newest: Mailbox[Frame] = Mailbox(f"webcam {device}")
        self._read_until = -1
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._capture_loop, name=f"webcam {device}", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        if self._stop.is_set():
            raise StopIteration
        try:
            letter = self._newest.wait(self._timeout_s, after=self._read_until)
        except TimeoutError as error:
            raise SourceError(
                f"webcam {self._device}: no picture for {self._timeout_s:g} s; "
                "check its plug, then start again"
            ) from error
        except SeamClosedError:
            raise StopIteration from None
        self._read_until = letter.seq
        return letter.value

    def close(self) -> None:
        """Stop the thread and let go of the camera. A camera whose driver hangs is left behind:
        its thread ends with the process."""
        self._stop.set()
        self._newest.close()
        if self._thread is not threading.current_thread():
            self._thread.join(self._timeout_s)

    def _capture_loop(self) -> None:
        half_frame_ns = round(0.5e9 / self.fps)
        seq = failed = 0
        last_ns = -1
        # The thread owns the device: it alone reads and releases it.
        try:
            while not self._stop.is_set():
                ok, bgr = self._capture.read()
                arrived_ns = now_ns()
                if not ok or bgr is None:
                    failed += 1
                    if failed >= FAILED_READS:
                        raise SourceError(
                            f"webcam {self._device}: stopped giving pictures after {seq}; was it "
                            "unplugged? Plug it in and start again"
                        )
                    self._stop.wait(0.02)
                    continue
                failed = 0
                last_ns = max(arrived_ns - half_frame_ns, last_ns + 1)
                if bgr.shape[1::-1] != self.camera.size:
                    bgr = cv2.resize(bgr, self.camera.size, interpolation=cv2.INTER_AREA)
                rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
                self._newest.put(Frame(last_ns, seq, self.camera, rgb, self._mirrored))
                seq += 1
        except SeamClosedError:
            pass  # close() was called while a picture was on its way.
        except Exception as error:
            self._newest.fail(error)
        finally:
            self._capture.release()


def cameras_present() -> tuple[str, ...]:
    """The video devices that this machine lists; empty where it cannot list them (no Linux)."""
    return tuple(sorted(str(path) for path in Path("/dev").glob("video*")))


def _open(device: int | str, options: SourceOptions) -> cv2.VideoCapture:
    with _quiet():
        if isinstance(device, int) and sys.platform.startswith("linux"):
            capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        else:
            capture = cv2.VideoCapture(device)
    if not capture.isOpened():
        capture.release()
        raise SourceError(f"webcam {device}: {_why_not(device)}")
    if options.size is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, options.size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, options.size[1])
    if options.fps is not None:
        capture.set(cv2.CAP_PROP_FPS, options.fps)
    # One picture of delay at most; a driver that knows no such setting ignores it.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def _why_not(device: int | str) -> str:
    path = f"/dev/video{device}" if isinstance(device, int) else device
    present = cameras_present()
    if path in present and not os.access(path, os.R_OK | os.W_OK):
        return f"you may not use {path}; add yourself to the group `video` and log in again"
    if path in present:
        return f"{path} does not open; is another program using it?"
    if present:
        return f"there is no such camera; present: {', '.join(present)}"
    return "there is no camera on this machine; plug one in, or use --source video:PATH"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV's own complaints off the terminal while a camera is tried."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
