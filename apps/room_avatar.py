"""Avatars in a room: the own one as others get it, and theirs as they come."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from apps.usage import FailedError
from avatar.codec import Avatar
from avatar.personal_avatar import PersonalAvatar

SHIPPED = ("default", "amara", "mei", "walter")
"""What everybody has; of these no file is sent."""


@dataclass(frozen=True, slots=True)
class OwnAvatar:
    """What a member speaks with."""

    avatar: Avatar | PersonalAvatar
    """Makes codes under the id that others know."""
    file: bytes | None
    """What others need to decode them; None for an avatar that ships."""


def open_own_avatar(name: str) -> OwnAvatar:
    """As `avatar.opening.open_avatar`. Others get a copy that decodes and does not drive.

    Raises ValueError (AvatarFileError) for a damaged file and for one that somebody else made.
    """
    from avatar.avatar_file import decoding_copy, read_avatar_file
    from avatar.opening import personal_path
    from avatar.signature import own_key

    path = personal_path(name)
    if path is None:
        return OwnAvatar(Avatar.open(name), None)
    identity, file = decoding_copy(path, own_key())
    return OwnAvatar(PersonalAvatar(read_avatar_file(path).model, identity), file)


def open_shipped(avatar_id: str) -> Avatar | None:
    """The avatar that somebody says to wear, if it is one that ships."""
    name = avatar_id.removeprefix("avatars/")
    return Avatar.open(name) if name in SHIPPED else None


def open_received(path: Path, avatar_id: str, identity: bytes) -> PersonalAvatar:
    """A file that came from the member with that Ed25519 key.

    Raises FailedError when it is no avatar, another than was said, or not signed by that member:
    nobody appears as somebody else.
    """
    from avatar.avatar_file import AvatarFileError, read_avatar_file
    from avatar.signature import fingerprint

    try:
        file = read_avatar_file(path)
    except AvatarFileError as error:
        reason = str(error).replace(f"{path}: ", "")
        raise FailedError(f"what came is no avatar ({reason})") from error
    if file.signer != fingerprint(identity):
        raise FailedError(
            f"the avatar was made by {file.signer}, not by who shows it ({fingerprint(identity)})"
        )
    if file.id != avatar_id:
        raise FailedError(f"expected the avatar {avatar_id!r}, got {file.id!r}")
    return PersonalAvatar(file.model, file.id)
