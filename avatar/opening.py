"""Any avatar by name: those that ship, those that were enrolled, or a file."""

from __future__ import annotations

from pathlib import Path

from avatar.avatar_file import SUFFIX, AvatarFileError, read_avatar_file
from avatar.codec import Avatar
from avatar.personal_avatar import PersonalAvatar
from avatar.signature import user_folder


def open_avatar(name: str) -> Avatar | PersonalAvatar:
    """ "default", "amara", "mei", "walter"; the name of an enrolled avatar; or a `.visavis` path.

    Raises ValueError (AssetError, AvatarFileError) when there is none or it is damaged.
    """
    path = personal_path(name)
    if path is None:
        return Avatar.open(name)
    file = read_avatar_file(path)
    return PersonalAvatar(file.model, file.id)


def personal_path(name: str) -> Path | None:
    """The file of a personal avatar; None for a name that no file has."""
    if name.endswith(SUFFIX):
        path = Path(name)
        if not path.exists():
            raise AvatarFileError(f"{path}: expected an avatar file, found none")
        return path
    path = enrolled_path(name) if Path(name).name == name else None
    return path if path is not None and path.is_file() else None


def enrolled_path(name: str) -> Path:
    """Where `enroll --name NAME` puts its file."""
    return user_folder() / "avatars" / f"{name}{SUFFIX}"
