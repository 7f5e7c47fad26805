"""This user's measured hands: kept in the user's folder, used with their cameras."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from apps.usage import FailedError
from avatar.whole_file import PRIVATE, write_whole
from capture.frame_source import FrameSource, is_of_camera

if TYPE_CHECKING:
    from tracking.user_hand import UserHand

FILE = "hands.json"


def own_hands_path() -> Path:
    """Where they lie, whether or not they were measured."""
    from avatar.signature import user_folder

    return user_folder() / FILE


def own_hands() -> tuple[UserHand, ...]:
    """Those that were measured, perhaps none.

    Raises ValueError when the file is damaged, OSError when it cannot be read.
    """
    from tracking.user_hand import hands_from_json

    path = own_hands_path()
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return ()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text, got {error}; remove the file") from error
    try:
        return hands_from_json(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def hands_for(source: FrameSource) -> tuple[UserHand, ...]:
    """The user's, for a camera; a file shows somebody else, for all that is known.

    Raises FailedError when they cannot be read.
    """
    if not is_of_camera(source):
        return ()
    try:
        return own_hands()
    except (OSError, ValueError) as error:
        raise FailedError(f"{error}; or `visavis measure-hands --forget`") from error


def keep_own_hands(hands: Sequence[UserHand]) -> Path:
    """Write these in the place of what was kept; readable by the user alone. Raises OSError."""
    from tracking.user_hand import hands_to_json

    path = own_hands_path()
    write_whole(path, hands_to_json(hands).encode(), PRIVATE)
    return path
