"""The protobuf wire format, writing only: varints, tags and the few field kinds that metrics need.

Source: https://protobuf.dev/programming-guides/encoding/. A value equal to its default is written all the same
unless a caller leaves it out: readers accept both, and fixed widths are what the fast path needs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

_VARINT, _FIXED64, _LENGTH = 0, 1, 2
_64_BITS: Final = (1 << 64) - 1
_DOUBLE: Final = struct.Struct("<d")
_ONE_BYTE: Final = tuple(bytes((value,)) for value in range(0x80))


def varint(value: int) -> bytes:
    """An unsigned integer, seven bits a byte, lowest first; negative int64 values are written as two's complement."""
    if 0 <= value < 0x80:
        return _ONE_BYTE[value]
    value &= _64_BITS
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def zigzag(value: int) -> bytes:
    """A sint32 or sint64: small numbers of either sign in few bytes."""
    return varint(value << 1 ^ value >> 63)


def message(field: int, payload: bytes) -> bytes:
    """A field holding a message, bytes, or packed numbers."""
    return varint(field << 3 | _LENGTH) + varint(len(payload)) + payload


def text(field: int, value: str) -> bytes:
    """A string field; what UTF-8 cannot carry (lone surrogates) becomes `?`, since readers refuse anything else."""
    return message(field, value.encode("utf-8", "replace"))


def integer(field: int, value: int) -> bytes:
    """An int32, int64, uint or enum field."""
    return varint(field << 3 | _VARINT) + varint(value)


def signed(field: int, value: int) -> bytes:
    """A sint32 or sint64 field."""
    return varint(field << 3 | _VARINT) + zigzag(value)


def double(field: int, value: float) -> bytes:
    """A double field."""
    return eight_bytes(field, _DOUBLE.pack(value))


def eight_bytes(field: int, raw: bytes) -> bytes:
    """A double field from its eight bytes, for values that must not pass through float arithmetic."""
    return varint(field << 3 | _FIXED64) + raw


def doubles(field: int, values: Iterable[float]) -> bytes:
    """A repeated double field, packed; nothing when empty."""
    payload = b"".join([_DOUBLE.pack(value) for value in values])
    return message(field, payload) if payload else b""


def zigzags(field: int, values: Iterable[int]) -> bytes:
    """A repeated sint field, packed; nothing when empty."""
    payload = b"".join([zigzag(value) for value in values])
    return message(field, payload) if payload else b""
