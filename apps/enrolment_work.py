"""The folder of one enrolment: what it learns from, and what has been tracked of it.

It stays after the avatar is written, so that more video can be added later. Videos stay where they
are and are known by their content; recordings of the camera lie in the folder itself.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.camera_take import NOTE as TAKE_NOTE
from apps.camera_take import CameraTake
from apps.tracked_parts import part_path, read_parts, write_part, write_whole
from apps.usage import FailedError, UsageError
from assets.manifest import sha256_of
from capture.frame_source import open_source
from streams.frame import Frame
from streams.tracked_state import TrackedState

PART_FRAMES = 150
NOTE, TRACKED, LEARNING = "clips.json", "tracked.json", "learning"


@dataclass(frozen=True, slots=True)
class VideoClip:
    """A video file, and the folder of what was tracked of it."""

    video: Path
    folder: Path
    bytes: int
    sha256: str

    @staticmethod
    def of(video: Path, folder: Path) -> VideoClip:
        """Read all of the file for its hash."""
        return VideoClip(video.resolve(), folder, video.stat().st_size, sha256_of(video))

    @property
    def name(self) -> str:
        """For people."""
        return str(self.video)

    def check(self) -> None:
        """Raises FailedError when the file is gone or another one."""
        try:
            same = self.video.stat().st_size == self.bytes and sha256_of(self.video) == self.sha256
        except OSError:
            same = False
        if not same:
            raise FailedError(
                f"{self.video}: was learned from and is needed again, but it is gone or changed; "
                "put it back (the same bytes), or begin anew without it with --anew"
            )

    def frames(self) -> Iterator[Frame]:
        """The video from its beginning."""
        with open_source(f"video:{self.video}") as source:
            yield from source

    def track(self, progress: Callable[[str, float], None]) -> list[TrackedState]:
        """The state of every frame; parts that are on disk are not tracked again."""
        from tracking.tracker import Tracker, TrackerOptions

        done = read_parts(self.folder)
        states = [state for part in done for state in part]
        if self._tracked().get("parts") == len(done):
            return states
        parts, known, fresh = len(done), len(states), list[TrackedState]()
        expected = frame_count(self.video)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (
            Tracker.open(TrackerOptions(hands=0)) as tracker,
            open_source(f"video:{self.video}") as source,
        ):
            for k, frame in enumerate(source):
                if k < known:
                    continue
                fresh.append(tracker.track(frame))
                if len(fresh) == PART_FRAMES:
                    write_part(part_path(self.folder, parts), fresh)
                    states, fresh, parts = states + fresh, [], parts + 1
                progress("tracking", min(1.0, (k + 1) / max(1, expected)))
            damaged = source.damaged
        if fresh:
            write_part(part_path(self.folder, parts), fresh)
            states, parts = states + fresh, parts + 1
        if not states:
            raise FailedError(f"{self.video}: holds no picture")
        note = {"parts": parts, "damaged": damaged}
        write_whole(self.folder / TRACKED, json.dumps(note).encode())
        return states

    def damaged(self) -> bool:
        """Whether the tracked video is cut off or has faults."""
        return bool(self._tracked().get("damaged"))

    def _tracked(self) -> dict[str, Any]:
        try:
            return json.loads((self.folder / TRACKED).read_bytes())
        except (OSError, ValueError):
            return {}


Clip = VideoClip | CameraTake


@dataclass(slots=True)
class EnrolmentWork:
    """All clips of one avatar, in the order in which they were given."""

    folder: Path
    clips: list[Clip]

    @staticmethod
    def read(folder: Path) -> EnrolmentWork:
        """What is there; no clips when there is nothing. Raises FailedError when it is damaged."""
        try:
            note = json.loads((folder / NOTE).read_bytes())
            clips = [_clip_of(folder, entry) for entry in note["clips"]]
        except FileNotFoundError:
            return EnrolmentWork(folder, [])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FailedError(
                f"{folder / NOTE}: cannot be read ({error}); begin anew with --anew"
            ) from error
        return EnrolmentWork(folder, clips)

    def takes(self) -> list[CameraTake]:
        """The recordings among the clips."""
        return [clip for clip in self.clips if isinstance(clip, CameraTake)]

    def begin_with(self, video: Path) -> None:
        """Only this video. Raises UsageError rather than lose a recording."""
        self.require_no_takes()
        self.clear()
        self.add_video(video)

    def require_no_takes(self) -> None:
        """Raises UsageError when the folder holds the only copy of a recording."""
        if self.takes() or any(self.folder.glob(f"clip-*/{TAKE_NOTE}")):
            raise UsageError(
                f"enroll: {self.folder} holds recordings of the camera; go on with them with "
                "--resume, add to them with --add, or remove them with --anew"
            )

    def go_on_with(self, video: Path) -> None:
        """One of the clips again, or the first. Raises UsageError when it is none of them."""
        if not self.clips:
            self.add_video(video)
        elif not self._knows(video):
            names = ", ".join(clip.name for clip in self.clips)
            raise UsageError(
                f"enroll --resume: {self.folder} is of {names}, not of {video}; --add learns from "
                "both, without --resume you begin anew"
            )

    def add_video(self, video: Path) -> None:
        """One more; a video that is there already is not added twice."""
        if not self._knows(video):
            self._register(VideoClip.of(video, self._next_folder()))

    def next_take(self) -> Path:
        """The folder for a new recording; `add_take` when it is there."""
        return self._next_folder()

    def add_take(self, take: CameraTake) -> None:
        """One more."""
        self._register(take)

    def leave_out(self, clip: Clip) -> None:
        """One less; its folder, which may be the only copy of a recording, stays."""
        self._write([one for one in self.clips if one is not clip])

    def check(self) -> None:
        """Raises FailedError when a clip is gone."""
        for clip in self.clips:
            if isinstance(clip, VideoClip):
                clip.check()

    def clear(self) -> None:
        """Remove what was tracked and recorded; nothing else lies there."""
        for folder in self.folder.glob("clip-*"):
            shutil.rmtree(folder)
        shutil.rmtree(self.folder / LEARNING, ignore_errors=True)
        for own in (NOTE, "preview.png"):
            (self.folder / own).unlink(missing_ok=True)
        for old in (*self.folder.glob("part-*.npz"), self.folder / "source.json"):
            old.unlink(missing_ok=True)  # of Visavis 0.1
        self.clips = []

    def frames(self) -> Iterator[Frame]:
        """Of all clips, one after the other."""
        for clip in self.clips:
            yield from clip.frames()

    def track(self, progress: Callable[[str, float], None]) -> list[list[TrackedState]]:
        """The states of every clip."""
        return [
            clip.track(progress) if isinstance(clip, VideoClip) else clip.states()
            for clip in self.clips
        ]

    def _knows(self, video: Path) -> bool:
        about = video.stat().st_size
        return any(
            isinstance(clip, VideoClip)
            and clip.bytes == about
            and (clip.video == video.resolve() or sha256_of(video) == clip.sha256)
            for clip in self.clips
        )

    def _next_folder(self) -> Path:
        number = 0
        while (folder := self.folder / f"clip-{number:02d}").exists() or any(
            clip.folder == folder for clip in self.clips
        ):
            number += 1
        return folder

    def _register(self, clip: Clip) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write([*self.clips, clip])

    def _write(self, clips: list[Clip]) -> None:
        self.clips = clips
        note = {"clips": [_entry_of(one) for one in self.clips]}
        write_whole(self.folder / NOTE, json.dumps(note, indent=1).encode())


def _entry_of(clip: Clip) -> dict[str, Any]:
    if isinstance(clip, CameraTake):
        return {"kind": "camera", "folder": clip.folder.name}
    return {
        "kind": "video", "folder": clip.folder.name, "path": str(clip.video), "bytes": clip.bytes,
        "sha256": clip.sha256,
    }  # fmt: skip


def _clip_of(folder: Path, entry: dict[str, Any]) -> Clip:
    own = folder / Path(str(entry["folder"])).name
    if entry["kind"] == "camera":
        return CameraTake(own)
    return VideoClip(Path(str(entry["path"])), own, int(entry["bytes"]), str(entry["sha256"]))


def frame_count(video: Path) -> int:
    """About how many frames there are, for the progress; 0 when the file does not say."""
    import av

    try:
        with av.open(str(video)) as container:
            return int(container.streams.video[0].frames or 0)
    except (OSError, IndexError, ValueError):
        return 0
