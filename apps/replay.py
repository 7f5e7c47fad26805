"""`visavis replay`: a recorded session through the pipeline again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from apps.display import has_display
from apps.usage import FailedError, UsageError, parse_size

if TYPE_CHECKING:
    from apps.replay_stages import ReplayOptions

ENDINGS = (".mp4", ".mcap")
SEAMS = ("frames", "state", "code")


@dataclass(frozen=True, slots=True)
class Replay:
    """Play a recorded session through the pipeline again: in a window, or into a file with --out.
    The same file and the same build give the same bytes at every seam; --verify shows it."""

    session: tyro.conf.Positional[Path]
    """FILE.mcap."""
    from_: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """frames (tracked anew), state (as it was tracked) or code (as it was encoded). By default the
    first of these that the session holds."""
    tracker: str = "auto"
    """What tracks the frames: litert, openvino, torch or mediapipe; auto is the one that was
    recorded, else torch with a CUDA device, else litert."""
    avatar: str | None = None
    """Which avatar is drawn; by default the recorded one."""
    camera: str | None = None
    """Which of several cameras; by default the first, and calibrated ones are tracked together."""
    out: Path | None = None
    """Write FILE.mp4 (what is drawn) or FILE.mcap (a session of this replay's states and codes)."""
    size: str | None = None
    """WIDTHxHEIGHT of the picture; by default the recorded view's or the camera's."""
    speed: str = "1"
    """Of the window: 0.5 is half as fast, "max" as fast as it can be drawn."""
    loop: bool = False
    """In the window: start over at the end."""
    start: float = 0.0
    """Begin so many seconds after the session's beginning."""
    seconds: float | None = None
    """Stop after so many seconds of the session."""
    verify: bool = False
    """Replay twice, in one thread and in several, with everything opened anew, and compare every
    state, code, mesh and picture byte for byte; exit 1 at the first difference."""
    key_file: Path | None = None
    """The secret of a sealed session; VISAVIS_SECRET does as well."""

    def run(self) -> int:
        """0 when all was replayed (and was the same); raises what went wrong otherwise."""
        options = self.checked()
        from apps.replay_stages import Replay as Replaying
        from apps.secret import secret_of
        from sessions.reader import SessionReader

        secret = secret_of(self.session, self.key_file)
        with SessionReader(self.session, secret) as session:
            if self.verify:
                from apps.replay_verification import verify_replay

                report = verify_replay(session, options, speed=self.wanted_speed())
                print(report.text())
                return 0 if report.same else 1
            with Replaying(session, options) as replay:
                if self.out is not None:
                    from apps.replay_file import write_replay

                    # What was sealed stays so.
                    print(write_replay(replay, self.out, secret if session.sealed else None))
                else:
                    from apps.replay_window import show_replay

                    show_replay(replay, self.wanted_speed(), self.loop)
        return 0

    def checked(self) -> ReplayOptions:
        """What the options ask for. Raises UsageError for what makes no sense, FailedError where a
        window is asked for and cannot be."""
        if self.from_ is not None and self.from_ not in SEAMS:
            raise UsageError(f"--from {self.from_}: expected {', '.join(SEAMS)}")
        if not self.start >= 0:
            raise UsageError(f"--start {self.start:g}: expected 0 or more seconds")
        if self.seconds is not None and not self.seconds > 0:
            raise UsageError(f"--seconds {self.seconds:g}: expected more than 0")
        size = None if self.size is None else parse_size(self.size)
        self.wanted_speed()
        if self.out is not None:
            if self.out.suffix.lower() not in ENDINGS:
                raise UsageError(f"--out {self.out}: expected a name that ends in .mp4 or .mcap")
            if self.loop or self.verify:
                raise UsageError("--out: goes without --loop and --verify")
            if self.out.exists() and self.session.exists() and self.out.samefile(self.session):
                raise UsageError(f"--out {self.out}: this is the session itself")
        elif not self.verify and not has_display():
            raise FailedError("replay: there is no display for a window; give --out FILE.mp4")
        from apps.replay_stages import ReplayOptions

        return ReplayOptions(
            self.from_, self.tracker, self.avatar, self.camera, size, self.start, self.seconds
        )

    def wanted_speed(self) -> float | None:
        """Times as fast as recorded; None: as fast as can be. Raises UsageError."""
        if self.speed == "max":
            return None
        try:
            speed = float(self.speed)
        except ValueError:
            speed = 0.0
        if not 0.01 <= speed <= 100.0:
            raise UsageError(f"--speed {self.speed}: expected 0.01 to 100, or max")
        return speed
