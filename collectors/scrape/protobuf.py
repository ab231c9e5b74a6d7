"""The protobuf wire format, reading: the fields of a message.

Source: https://protobuf.dev/programming-guides/encoding/. Unknown fields are passed over,
known ones of another wire type are refused. Lengths are held against what is there before anything is made of them.
"""

from __future__ import annotations

from itertools import repeat
from typing import Any, Final

from collectors.scrape.grammar import MOST_LINES, Malformed
from collectors.scrape.labelling import Exceeded

_64_BITS: Final = (1 << 64) - 1

Field = tuple[int, Any, int]  # tag; a number, or bytes; where it ends


class Message:
    """A kind of message: the tags of its fields, and the messages within it."""

    __slots__ = ("nested", "numbers", "tags")

    def __init__(self, *tags: int, nested: dict[int, Message] | None = None) -> None:
        self.tags = frozenset(tags)
        self.numbers = frozenset(tag >> 3 for tag in tags)
        self.nested = nested or {}


def fields(data: bytes, message: Message) -> list[Field]:
    """The known fields of a message, in their order; raises `Malformed` and `Exceeded`."""
    found: list[Field] = []
    at, end, tags = 0, len(data), message.tags
    try:
        for _ in repeat(None, MOST_LINES):
            if at >= end:
                break
            tag, at = data[at], at + 1
            if tag > 0x7F:
                tag, at = varint(data, at - 1)
            wire, start = tag & 7, at
            value: int | bytes = b""
            if wire == 2:
                size, start = data[at], at + 1
                if size > 0x7F:
                    size, start = varint(data, at)
                at = start + size
                value = data[start:at]
            elif wire == 0:
                number, at = data[at], at + 1
                if number > 0x7F:
                    number, at = varint(data, at - 1)
                value = number
            elif wire == 1:
                at += 8
                value = data[start:at]
            else:
                at = _skip(data, at, wire)
            if tag in tags:
                found.append((tag, value, at))
            elif tag >> 3 in message.numbers or not 0 < tag >> 3 < 1 << 29:
                raise Malformed(f"a field with the tag {tag}")
        else:
            raise Exceeded("sample_limit")
    except IndexError:
        at = end + 1
    if at > end:
        raise Malformed("a message that ends within a field")
    return found


def varint(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned number of 64 bits, and where it ends; raises IndexError when the data ends before it."""
    value = shift = 0
    while shift < 64:
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _64_BITS, at
        shift += 7
    raise Malformed("a number of more than 64 bits")


def _skip(data: bytes, at: int, wire: int) -> int:
    """Where a field ends that nobody reads: four bytes, or a group with all that is nested in it."""
    if wire == 5:
        return at + 4
    opened = depth = int(wire == 3)
    for _ in repeat(None, MOST_LINES * opened):
        tag, at = varint(data, at)
        wire = tag & 7
        if wire == 0:
            _, at = varint(data, at)
        elif wire == 2:
            size, at = varint(data, at)
            at += size
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire in (3, 4):
            depth += 1 if wire == 3 else -1
        if wire > 5 or not depth:
            break
    if depth or not opened:
        raise Malformed("a field of a wire type that there is not")
    return at


def check(data: bytes, message: Message) -> None:
    """Hold what nobody wants against its form; raises `Malformed`."""
    for tag, value, _ in fields(data, message):
        if tag in message.nested:
            check(value, message.nested[tag])


def signed(value: int) -> int:
    """A number of 64 bits as int64."""
    return value - (1 << 64) if value >> 63 else value


def unzigzag(value: int) -> int:
    """A sint32 or sint64 from its zigzag form."""
    return value >> 1 ^ -(value & 1)
