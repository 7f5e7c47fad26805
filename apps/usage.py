"""What the command line's own texts mean, and how failures read."""

from __future__ import annotations

SMALLEST, LARGEST = 16, 4096
OWN_PACKAGES = (
    *("streams", "assets", "capture", "tracking", "avatar", "overlay", "render", "sessions"),
    *("headset", "apps"),
)


class UsageError(ValueError):
    """The command line makes no sense: exit code 2. The message is one readable line."""


class FailedError(RuntimeError):
    """A verb could not do all that it was asked to: exit code 1. The message is one readable line
    and says what was done."""


def parse_size(text: str) -> tuple[int, int]:
    """ "1280x720" -> (1280, 720). Raises UsageError."""
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise UsageError(f"--size {text}: expected WIDTHxHEIGHT, for example 1280x720")
    size = int(width), int(height)
    if not all(SMALLEST <= n <= LARGEST for n in size):
        raise UsageError(f"--size {text}: expected sides from {SMALLEST} to {LARGEST} pixels")
    return size


def one_line(error: BaseException) -> str:
    """What to tell a user: our own errors speak for themselves, others come with a hint."""
    text = " ".join(str(error).split())
    if type(error).__module__.partition(".")[0] in OWN_PACKAGES and text:
        return text
    return (
        f"unexpected {type(error).__name__}: {text or 'no message'} "
        "(set VISAVIS_DEBUG=1 for the traceback; `visavis doctor` checks this machine)"
    )
