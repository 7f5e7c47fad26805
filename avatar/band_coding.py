"""What a packet says of its bands through the range coder: each one's class offset and prediction,
by how far they are from the last band's."""

from __future__ import annotations

from avatar.packet_format import KEEPS, MIDDLE, OFFSETS, Layout
from avatar.range_coder import FOREIGN, RangeCoderError, RangeDecoder, RangeEncoder
from avatar.symbol_tables import near_models

LAST_KEEP = len(KEEPS) - 1
"""The prediction that a group's first band is held against: all of the last value."""


def write_bands(coder: RangeEncoder, layout: Layout, offsets: list[int], keeps: list[int]) -> None:
    """(B,) each, as `quantiser.Quantised` has them."""
    encode, by_offset, by_keep = coder.encode_by, near_models(OFFSETS), near_models(len(KEEPS))
    near, last = MIDDLE, LAST_KEEP
    for opens, fresh, offset, keep in zip(layout.opens, layout.fresh, offsets, keeps, strict=True):
        if opens:
            near, last = MIDDLE, LAST_KEEP
        encode(offset, by_offset[near])
        near = offset
        if not fresh:
            encode(keep, by_keep[last])
            last = keep


def read_bands(coder: RangeDecoder, layout: Layout) -> tuple[list[int], list[int]]:
    """(B,) class offsets, and eighths of its last value that a number's prediction keeps. Raises
    RangeCoderError."""
    decode, by_offset, by_keep = coder.decode_by, near_models(OFFSETS), near_models(len(KEEPS))
    near, last = MIDDLE, LAST_KEEP
    offsets: list[int] = []
    kept: list[int] = []
    try:
        for opens, fresh in zip(layout.opens, layout.fresh, strict=True):
            if opens:
                near, last = MIDDLE, LAST_KEEP
            near = decode(by_offset[near])
            offsets.append(near)
            if fresh:
                kept.append(0)
            else:
                last = decode(by_keep[last])
                kept.append(KEEPS[last])
    except AssertionError as error:
        raise RangeCoderError(FOREIGN) from error
    return offsets, kept
