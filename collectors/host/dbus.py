"""The little of D-Bus that asking systemd needs: the wire format, pure, and a client over a unix socket.

Source: dbus.freedesktop.org/doc/dbus-specification.html. Messages are little-endian; calls carry strings alone.
Not chosen: a D-Bus library, for one method and a few properties.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4  # message types
PATH, INTERFACE, MEMBER, REPLY_SERIAL, DESTINATION, SIGNATURE = 1, 2, 3, 5, 6, 8  # header fields
MOST_BYTES: Final = 16 * 1024 * 1024  # of a message; the specification allows 128 MiB
FIXED: Final = {  # type -> size and alignment, struct format
    "y": (1, "B"),
    "b": (4, "I"),
    "n": (2, "h"),
    "q": (2, "H"),
    "i": (4, "i"),
    "u": (4, "I"),
    "h": (4, "I"),
    "x": (8, "q"),
    "t": (8, "Q"),
    "d": (8, "d"),
}
ALIGNMENT: Final = {"s": 4, "o": 4, "a": 4, "(": 8, "{": 8, "g": 1, "v": 1}


class DBusError(OSError):
    """A call that was refused, or an answer that is no D-Bus."""


class Call(NamedTuple):
    """A method call; its arguments are strings."""

    path: str
    interface: str
    member: str
    arguments: Sequence[str] = ()
    destination: str = "org.freedesktop.systemd1"


class Message(NamedTuple):
    """A message as it came; `reply_to` is the serial of the call that it answers."""

    type: int
    reply_to: int
    body: tuple[Any, ...]


def _padding(at: int, alignment: int) -> int:
    return -at % alignment


def _text(value: str, at: int) -> bytes:
    data = value.encode()
    return bytes(_padding(at, 4)) + struct.pack("<I", len(data)) + data + b"\0"


def encode_call(call: Call, serial: int) -> bytes:
    """A method call on the wire."""
    body = b""
    for argument in call.arguments:
        body += _text(argument, len(body))
    fields = b""
    for code, kind, value in (
        (PATH, "o", call.path),
        (DESTINATION, "s", call.destination),
        (INTERFACE, "s", call.interface),
        (MEMBER, "s", call.member),
        (SIGNATURE, "g", "s" * len(call.arguments)),
    ):
        fields += bytes(_padding(len(fields), 8)) + bytes([code, 1]) + kind.encode() + b"\0"
        fields += bytes([len(value)]) + value.encode() + b"\0" if kind == "g" else _text(value, len(fields))
    head = struct.pack("<BBBBIII", ord("l"), CALL, 0, 1, len(body), serial, len(fields)) + fields
    return head + bytes(_padding(len(head), 8)) + body


def split_signature(signature: str) -> list[str]:
    """The complete types of a signature; raises DBusError."""
    types: list[str] = []
    at = 0
    while at < len(signature):
        end = _type_end(signature, at)
        types.append(signature[at:end])
        at = end
    return types


def _type_end(signature: str, at: int) -> int:
    if at >= len(signature):
        raise DBusError(f"signature {signature!r} ends too early")
    if signature[at] == "a":
        return _type_end(signature, at + 1)
    if signature[at] in "({":
        closing = {"(": ")", "{": "}"}[signature[at]]
        at += 1
        while signature[at : at + 1] != closing:
            at = _type_end(signature, at)
    return at + 1


class Reader:
    """Values out of a message's bytes; alignment counts from the message's start."""

    def __init__(self, data: bytes, order: str = "<") -> None:
        self._data = data
        self._order = order
        self._at = 0

    def read(self, kind: str) -> Any:
        """The next value of a complete type; raises DBusError where the bytes do not hold one."""
        try:
            return self._read(kind)
        except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
            raise DBusError(f"no {kind!r} in the message: {error}") from None

    def _read(self, kind: str) -> Any:
        first = kind[0]
        if first in FIXED:
            return self._fixed(first)
        self._align(ALIGNMENT[first])
        match first:
            case "s" | "o":
                return self._take(self._fixed("u"))
            case "g":
                return self._take(self._fixed("y"))
            case "v":
                return self._read(self._take(self._fixed("y")))
            case "a":
                return self._array(kind[1:])
        return tuple(self._read(part) for part in split_signature(kind[1:-1]))

    def _fixed(self, kind: str) -> Any:
        size, form = FIXED[kind]
        self._align(size)
        (value,) = struct.unpack_from(self._order + form, self._data, self._at)
        self._at += size
        return bool(value) if kind == "b" else value

    def _align(self, alignment: int) -> None:
        self._at += _padding(self._at, alignment)

    def _take(self, length: int) -> str:
        end = self._at + length
        text = self._data[self._at : end]
        if len(text) != length or self._data[end] != 0:
            raise DBusError("a string is not ended")
        self._at = end + 1
        return text.decode()

    def _array(self, kind: str) -> list[Any]:
        length = self._fixed("u")
        self._align(FIXED[kind[0]][0] if kind[0] in FIXED else ALIGNMENT[kind[0]])
        end = self._at + length
        if end > len(self._data):
            raise DBusError("an array is longer than its message")
        values = []
        while self._at < end:
            values.append(self._read(kind))
        return values


def parse_size(head: bytes) -> int:
    """The size of a whole message, from its first 16 bytes; raises DBusError."""
    order = {b"l": "<", b"B": ">"}.get(head[:1])
    if order is None:
        raise DBusError("no D-Bus message")
    body, _serial, fields = struct.unpack_from(order + "III", head, 4)
    size = 16 + int(fields) + _padding(int(fields), 8) + int(body)
    if size > MOST_BYTES:
        raise DBusError(f"a message of {size} bytes")
    return size


def parse_message(data: bytes) -> Message:
    """A whole message; raises DBusError."""
    reader = Reader(data, "<" if data[:1] == b"l" else ">")
    _order, kind, _flags, _version, _length, _serial = (reader.read(part) for part in "yyyyuu")
    fields = dict(reader.read("a(yv)"))
    reader._align(8)
    signature = fields.get(SIGNATURE, "")
    body = tuple(reader.read(part) for part in split_signature(signature))
    return Message(kind, int(fields.get(REPLY_SERIAL, 0)), body)


class Bus:
    """A connection; calls are sent together and answered in any order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._serial = 0

    @classmethod
    async def connect(cls, path: str, uid: int | None = None) -> Bus:
        """Connect and authenticate as this user; raises OSError."""
        bus = cls(*await asyncio.open_unix_connection(path))
        try:
            await bus._authenticate(os.getuid() if uid is None else uid)
        except BaseException:
            bus.close()
            raise
        return bus

    async def _authenticate(self, uid: int) -> None:
        self._writer.write(b"\0AUTH EXTERNAL " + str(uid).encode().hex().encode() + b"\r\n")
        answer = await self._line()
        if not answer.startswith(b"OK "):
            raise DBusError(f"not accepted: {answer[:80]!r}")
        self._writer.write(b"BEGIN\r\n")

    async def _line(self) -> bytes:
        try:
            return await self._reader.readuntil(b"\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise DBusError("the bus hung up during authentication") from None

    async def call(self, calls: Sequence[Call]) -> list[Message]:
        """The answers to all calls, in their order; an error answer is one too. Raises OSError."""
        first = self._serial + 1
        self._serial += len(calls)
        self._writer.writelines(encode_call(call, first + at) for at, call in enumerate(calls))
        await self._writer.drain()
        answers: dict[int, Message] = {}
        while len(answers) < len(calls):
            message = await self._receive()
            if message.type in (RETURN, ERROR) and first <= message.reply_to <= self._serial:
                answers[message.reply_to] = message
        return [answers[first + at] for at in range(len(calls))]

    async def _receive(self) -> Message:
        try:
            head = await self._reader.readexactly(16)
            return parse_message(head + await self._reader.readexactly(parse_size(head) - 16))
        except asyncio.IncompleteReadError:
            raise DBusError("the bus hung up") from None

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
