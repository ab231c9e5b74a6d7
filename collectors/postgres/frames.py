"""What a server may say, message by message: the gate before asyncpg, whose decoders believe lengths that lie.

A length below four ends its process or lets it turn in a circle, and so may a text without an end. Messages are those
of PostgreSQL's protocol 3 (protocol-message-formats). Rows are not handed on at all: they are read here, as text.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from collectors.postgres.errors import Trouble

HEADER: Final = struct.Struct("!ci")
_LENGTH: Final = struct.Struct("!i")
MOST_FRAME: Final = 4 << 20  # bytes of one message; a row of ours has a few hundred
MOST_COLUMNS: Final = 1024
_MOST_WORDS: Final = 1024  # bytes kept of an error's text, which nobody sees
_SHORT: Final = 64 << 10  # bytes of a message that is no row, error or notice
_ROUNDS_OF_HASH: Final = re.compile(rb"(?:^|,)i=([1-9][0-9]{0,5})(?:,|\Z)")  # 4096 unless somebody changed it
_VERSION: Final = re.compile(rb"server_version\0[0-9]{1,9}(?:[. ][^\0]*|[a-z][^\0]*)?\0\Z", re.DOTALL)
_OK, _CLEAR, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 5, 10, 11, 12
_NEXT: Final = {  # what a server may want, after what it wanted last: whom SCRAM proves us to proves itself
    None: (_OK, _CLEAR, _MD5, _SASL),
    _CLEAR: (_OK,),
    _MD5: (_OK,),
    _SASL: (_SASL_CONTINUE,),
    _SASL_CONTINUE: (_SASL_FINAL,),
    _SASL_FINAL: (_OK,),
}
_SEVERITIES: Final = (b"ERROR", b"FATAL", b"PANIC")

Row = list[str | None]


class Refused(Exception):
    """The server said what it may not say: nothing more of it is listened to."""

    def __init__(self, trouble: Trouble = "protocol") -> None:
        super().__init__(trouble)
        self.trouble: Trouble = trouble


class Login:
    """What a server may say until we are in; `private`: the link may be told the password as it is."""

    def __init__(self, *, private: bool) -> None:
        self._private = private
        self._wanted: int | None = None
        self._versioned = False

    def checked(self, kind: bytes, body: bytes) -> bytes:
        """The body to hand on; raises `Refused`: `plugin` for a proof that a server does not get."""
        if kind == b"R" and 4 <= len(body) <= _SHORT:
            return self._demand(body)
        if self._wanted == _OK:
            if kind == b"K" and 8 <= len(body) <= 260:
                return body
            if kind == b"Z" and self._versioned:  # without which asyncpg's connection is left half made
                return checked(kind, body)
        if kind == b"S":
            self._versioned |= _VERSION.match(body) is not None
        if kind in (b"E", b"S"):
            return checked(kind, body)
        raise Refused

    def _demand(self, body: bytes) -> bytes:
        (kind,), more = struct.unpack_from("!i", body), body[4:]
        if kind not in _NEXT and kind != _OK:
            raise Refused("plugin")
        if kind not in _NEXT.get(self._wanted, ()) or not _is_sound(kind, more):
            raise Refused
        if kind == _CLEAR and not self._private:
            raise Refused("plugin")
        self._wanted = kind
        return body


def _is_sound(kind: int, more: bytes) -> bool:
    if kind == _MD5:
        return len(more) == 4
    if kind == _SASL:
        names = more[:-2].split(b"\0")
        return more.endswith(b"\0\0") and all(names) and len(names) <= 16
    if kind == _SASL_CONTINUE:
        found = _ROUNDS_OF_HASH.search(more)
        return found is not None and int(found[1]) <= 100_000  # each of them takes time
    return kind == _SASL_FINAL or not more


def checked(kind: bytes, body: bytes) -> bytes:
    """The body of a message to hand on instead of this one; raises `Refused` for what has no business here."""
    if kind == b"E":
        return checked_error(body)
    if len(body) > _SHORT:
        raise Refused
    if kind == b"S" and _texts(body) == 2:
        return body
    if kind == b"C" and _texts(body) == 1:
        return body
    if kind == b"Z" and len(body) == 1 and body in b"ITE":
        return body
    if kind == b"I" and not body:
        return body
    raise Refused


def checked_error(body: bytes) -> bytes:
    """An ErrorResponse of nothing but severity, state and a piece of its text."""
    fields = parse_fields(body)
    state = fields.get(b"C", b"XX000")
    told = fields.get(b"V", fields.get(b"S", b""))
    kept = {b"S": told if told in _SEVERITIES else b"ERROR", b"C": state, b"M": fields.get(b"M", b"")[:_MOST_WORDS]}
    if len(state) != 5 or not state.isalnum() or state[:2] in (b"00", b"01", b"02"):  # success, warnings
        raise Refused
    words = b"".join(name + value.decode("ascii", "replace").encode() + b"\0" for name, value in kept.items())
    return words + b"\0"


def parse_fields(body: bytes) -> dict[bytes, bytes]:
    """The fields of an error or a notice by their letters; raises `Refused`."""
    if body[-2:] != b"\0\0" and body != b"\0":
        raise Refused
    return {field[:1]: field[1:] for field in body[:-2].split(b"\0", 64)[:64]}


def _texts(body: bytes) -> int:
    return body.count(b"\0") if body.endswith(b"\0") else 0


def parse_columns(body: bytes) -> list[str]:
    """The column names of a RowDescription; raises ValueError, struct.error."""
    (count,) = struct.unpack_from("!H", body)
    if count > MOST_COLUMNS:
        raise ValueError("too many columns")
    names, at = [], 2
    for _ in range(count):
        end = body.index(b"\0", at)
        names.append(body[at:end].decode("utf-8", "replace"))
        at = end + 19  # the terminator and six numbers
    if at != len(body):
        raise ValueError("a column ends beyond its message")
    return names


def parse_row(body: bytes) -> Row:
    """The values of a DataRow; raises ValueError, struct.error."""
    (count,) = struct.unpack_from("!H", body)
    values: Row = []
    at, length_at = 2, _LENGTH.unpack_from
    for _ in range(count):
        (length,) = length_at(body, at)
        at += 4
        if length < 0:
            values.append(None)
        else:
            values.append(body[at : at + length].decode("utf-8", "replace"))
            at += length
    if at != len(body):
        raise ValueError("a value ends beyond its message")
    return values
