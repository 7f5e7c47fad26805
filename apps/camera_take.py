"""What a camera saw during a guided capture: a second of pictures and their tracking at a time.

A part is a short video and the states of its frames. The states are written last and whole, so a
part without them does not count: a kill loses what came after the last part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apps.tracked_parts import part_path, read_parts, write_part, write_whole
from apps.usage import FailedError
from apps.video_writer import VideoOptions, VideoWriter, WriteError
from capture.frame_source import SourceOptions
from capture.video_file import VideoFile
from streams.camera import Camera
from streams.closing import Closing
from streams.frame import Frame
from streams.tracked_state import TrackedState

PART_NS, LEAST_STEP_NS = 1_000_000_000, 1_000_000
QUALITY = VideoOptions(crf=18, preset="superfast")
"""A minute of a noisy 1280 x 720 has about 150 MB; a frame costs 14 ms of CPU time."""
NOTE = "take.json"


@dataclass(frozen=True, slots=True)
class CameraTake:
    """One recording, in a folder of its own."""

    folder: Path

    @property
    def name(self) -> str:
        """For people."""
        return f"the recording in {self.folder}"

    @property
    def finished(self) -> bool:
        """Whether the guide came to its end."""
        return bool(self._note().get("finished"))

    @property
    def live(self) -> tuple[str, ...]:
        """What the person was seen to do when asked."""
        return tuple(str(done) for done in self._note().get("live", ()))

    @property
    def camera(self) -> Camera:
        """Of every frame."""
        note = self._note()
        return Camera(
            str(note["camera"]), (int(note["size"][0]), int(note["size"][1])),
            np.array(note["focal"], np.float64), np.array(note["centre"], np.float64),
        )  # fmt: skip

    def states(self) -> list[TrackedState]:
        """Of all whole parts."""
        return [state for part in read_parts(self.folder) for state in part]

    def frames(self) -> Iterator[Frame]:
        """The pictures of `states`, one each. Raises FailedError when a part has lost some."""
        camera, mirrored = self.camera, bool(self._note()["mirrored"])
        seq = 0
        for number, states in enumerate(read_parts(self.folder)):
            path = part_path(self.folder, number).with_suffix(".mp4")
            options = SourceOptions(longest_side=max(camera.size))
            with VideoFile(path, options) as video:
                pictures = 0
                for picture, state in zip(video, states, strict=False):
                    yield Frame(state.t_ns, seq, camera, picture.rgb, mirrored)
                    seq, pictures = seq + 1, pictures + 1
            if pictures < len(states):
                raise FailedError(
                    f"{path}: expected {len(states)} pictures, found {pictures}; the recording is "
                    "damaged: record anew with --anew"
                )

    def finish(self) -> None:
        """Remember that nothing more is to be recorded."""
        write_whole(self.folder / NOTE, json.dumps({**self._note(), "finished": True}).encode())

    def _note(self) -> dict:
        try:
            return json.loads((self.folder / NOTE).read_bytes())
        except (OSError, ValueError) as error:
            raise FailedError(
                f"{self.folder}: the recording's {NOTE} cannot be read ({error}); record anew "
                "with --anew"
            ) from error


class TakeWriter(Closing):
    """Writes a take as it comes. Close it to keep the last part."""

    def __init__(self, folder: Path, camera: Camera, mirrored: bool, fps: float) -> None:
        folder.mkdir(parents=True, mode=0o700)
        self.take = CameraTake(folder)
        self.seconds = 0.0
        """On disk, whole."""
        self._camera, self._fps = camera, fps
        self._writer: VideoWriter | None = None
        self._states: list[TrackedState] = []
        self._parts = 0
        note = {
            "camera": camera.name, "size": list(camera.size), "focal": camera.focal.tolist(),
            "centre": camera.centre.tolist(), "mirrored": mirrored, "finished": False,
        }  # fmt: skip
        write_whole(folder / NOTE, json.dumps(note).encode())

    def passed(self, live: Sequence[str]) -> None:
        """Remember what a live person did."""
        note = json.loads((self.take.folder / NOTE).read_bytes())
        write_whole(self.take.folder / NOTE, json.dumps({**note, "live": list(live)}).encode())

    def add(self, frame: Frame, state: TrackedState) -> None:
        """One moment. Raises FailedError when the disk is full; whole parts stay."""
        if self._states and frame.t_ns - self._states[-1].t_ns < LEAST_STEP_NS:
            return  # a driver's double: a video cannot tell their times apart
        if self._states and frame.t_ns - self._states[0].t_ns >= PART_NS:
            self._end_part()
        try:
            if self._writer is None:
                path = part_path(self.take.folder, self._parts).with_suffix(".mp4")
                self._writer = VideoWriter(path, self._camera.size, self._fps, QUALITY)
                path.chmod(0o600)
            begun = self._states[0].t_ns if self._states else frame.t_ns
            self._writer.write(frame.rgb, frame.t_ns - begun)
        except (OSError, WriteError) as error:
            raise self._full(error) from error
        self._states.append(state)

    def close(self) -> None:
        """End the last part; a second call does nothing."""
        if self._writer is not None:
            self._end_part()

    def _end_part(self) -> None:
        writer, states = self._writer, self._states
        self._writer, self._states = None, []
        try:
            if writer is not None:
                writer.close()
                write_part(part_path(self.take.folder, self._parts), states)
                self._parts += 1
                self.seconds += (states[-1].t_ns - states[0].t_ns) / 1e9
        except (OSError, WriteError) as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> FailedError:
        self._writer, self._states = None, []
        reason = error.strerror or str(error)
        return FailedError(
            f"{self.take.folder}: the recording stopped ({reason}); {self.seconds:.0f} s of it are "
            "safe: free some space, then go on with --resume"
        )
