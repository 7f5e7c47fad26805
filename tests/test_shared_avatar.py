"""The copy of an avatar's file that others get: it decodes alike, and drives nobody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from avatar.avatar_file import AvatarFileError, decoding_copy, read_avatar_file
from avatar.bitstream import BitstreamDecoder, BitstreamEncoder
from avatar.personal_avatar import PersonalAvatar
from capture.frame_source import open_source
from tracking.tracker import Tracker, TrackerOptions

OWNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def test_a_copy_for_others_decodes_the_same(
    small_avatar: Path, demo_clip: Path, tmp_path: Path
) -> None:
    """Codes that the owner makes under the copy's id come out as the same vertices and pixels."""
    path = tmp_path / "copy.visavis"
    identity, data = decoding_copy(small_avatar, OWNER)
    assert (identity, data) == decoding_copy(small_avatar, OWNER)
    path.write_bytes(data)
    whole, copy = read_avatar_file(small_avatar), read_avatar_file(path)
    assert copy.signer == whole.signer
    assert copy.consent == whole.consent
    assert copy.report == {}
    assert copy.id == identity != whole.id
    assert len(data) < small_avatar.stat().st_size
    with (
        Tracker.open(TrackerOptions(hands=0)) as tracker,
        open_source(f"video:{demo_clip}") as source,
        PersonalAvatar(whole.model, copy.id) as own,
        PersonalAvatar(copy.model, copy.id) as seen,
    ):
        encoder, decoder = BitstreamEncoder(own), BitstreamDecoder(seen)
        for _, frame in zip(range(4), source, strict=False):
            code = own.encode(tracker.track(frame), frame)
            packet = encoder.encode(code)
            if packet is None:
                continue
            came = decoder.decode(packet)
            assert came is not None
            here, there = own.decode(came), seen.decode(came)
            assert np.array_equal(here.vertices, there.vertices)
            assert np.array_equal(here.albedo, there.albedo)
        # Without landmarks of its person it knows nobody, and blend shapes move it nowhere.
        for name in ("landmark_moves", "any_map", "projection"):
            assert not getattr(copy.model, name).any()
            assert getattr(whole.model, name).any()


def test_somebody_elses_avatar_is_not_passed_on(small_avatar: Path) -> None:
    with pytest.raises(AvatarFileError, match="only who made an avatar"):
        decoding_copy(small_avatar, Ed25519PrivateKey.generate())
