"""A headset in the place of a camera: its samples come in where frames do, and drive the avatar."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np

from streams.camera import Camera
from streams.clock import now_ns
from streams.closing import Closing
from streams.frame import Frame
from streams.headset_sample import HeadsetSample
from streams.mailbox import Mailbox, SeamClosedError
from streams.tracked_state import TrackedState
from tracking.headset_state import SOURCE, HeadsetState, HeadsetStateOptions

SIZE = (720, 720)
GONE_S = 3.0
"""After so long without a sample nobody wears the headset, and that is shown. A link that stalls
for less leaves the avatar as it was."""
REMEMBERED = 32
"""Samples on their way through the pipeline."""


class HeadsetSource(Closing):
    """A live FrameSource: a black picture at the time of each sample, the newest one at a time.

    The pipeline takes its clock from frames; nothing looks at the picture.
    """

    live = True
    damaged = 0
    fps = 72.0

    def __init__(self) -> None:
        self.camera = Camera.from_fov(SIZE, name=SOURCE)
        self._black = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        self._newest: Mailbox[HeadsetSample] = Mailbox("headset")
        self._lock = threading.Lock()
        self._given: OrderedDict[int, HeadsetSample] = OrderedDict()
        self._read, self._seq, self._last_ns = -1, 0, -1

    def put(self, sample: HeadsetSample) -> None:
        """The newest sample; from any one thread. After `close` it is ignored."""
        try:
            self._newest.put(sample)
        except SeamClosedError:
            pass

    def sample_of(self, frame: Frame) -> HeadsetSample | None:
        """What a frame of this source stands for; None where nobody wears the headset."""
        with self._lock:
            return self._given.get(frame.seq)

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        sample, t_ns = None, self._last_ns
        while t_ns <= self._last_ns:
            try:
                letter = self._newest.wait(GONE_S, after=self._read)
            except TimeoutError:
                sample, t_ns = None, now_ns()
                break
            except SeamClosedError:
                raise StopIteration from None
            self._read, sample = letter.seq, letter.value
            t_ns = sample.t_ns
        self._last_ns = max(t_ns, self._last_ns + 1)
        frame = Frame(self._last_ns, self._seq, self.camera, self._black)
        if sample is not None:
            with self._lock:
                self._given[frame.seq] = sample
                if len(self._given) > REMEMBERED:
                    self._given.popitem(last=False)
        self._seq += 1
        return frame

    def close(self) -> None:
        """End; whoever waits for a frame is told."""
        self._newest.close()


class HeadsetTracker:
    """In the place of a camera's tracker (`apps.pipeline.Tracks`)."""

    def __init__(self, source: HeadsetSource, options: HeadsetStateOptions | None = None) -> None:
        self._source, self._state = source, HeadsetState(options)

    def track(self, frame: Frame) -> TrackedState:
        """The state of the frame's sample. Without one nobody is there, and who comes next is
        seated anew."""
        sample = self._source.sample_of(frame)
        if sample is None:
            self._state.begin_anew()
            return TrackedState(frame.t_ns, SOURCE)
        return self._state.state(sample)
