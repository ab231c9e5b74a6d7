"""Rows of the simple query protocol, read off the wire as they pass by.

pgbouncer's console answers simple queries alone, and asyncpg, which logs us in, throws away their rows. The format is
that of PostgreSQL's protocol 3 (protocol-message-formats: RowDescription, DataRow), where values are text.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Final

from collectors.postgres.wire import Meter

_HEADER: Final = struct.Struct("!ci")
MOST_ROWS: Final = 20_000

Row = dict[str, str]


class Tap(Meter):
    """A meter that keeps the rows of the last answer; `take` gives and forgets them."""

    def __init__(self, inner: asyncio.Protocol) -> None:
        super().__init__(inner)
        self._buffer = bytearray()
        self._columns: list[str] = []
        self._rows: list[Row] = []

    def data_received(self, data: bytes) -> None:
        """Read along, then hand on."""
        self._buffer += data
        if not self._read():
            self.left = -1  # no such message exists; what is cut off now is not listened to either
        super().data_received(data)

    def _read(self) -> bool:
        at = 0
        while len(self._buffer) - at >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._buffer, at)
            if length < 4:
                return False
            end = at + 1 + length
            if end > len(self._buffer):
                break
            if kind in b"TD" and not self._message(kind, bytes(self._buffer[at + _HEADER.size : end])):
                return False
            at = end
        del self._buffer[:at]
        return True

    def _message(self, kind: bytes, body: bytes) -> bool:
        try:
            if kind == b"T":
                self._columns, self._rows = parse_columns(body), []
            elif len(self._rows) < MOST_ROWS:
                self._rows.append(dict(zip(self._columns, parse_row(body), strict=False)))
        except (ValueError, struct.error):
            return False
        return True

    def take(self) -> list[Row]:
        """The rows of the last answer."""
        rows, self._rows = self._rows, []
        return rows


def parse_columns(body: bytes) -> list[str]:
    """The column names of a RowDescription; raises ValueError, struct.error."""
    (count,) = struct.unpack_from("!H", body)
    names, at = [], 2
    for _ in range(count):
        end = body.index(b"\0", at)
        names.append(body[at:end].decode("utf-8", "replace"))
        at = end + 19  # the terminator and six numbers
    return names


def parse_row(body: bytes) -> list[str]:
    """The values of a DataRow, NULL as nothing; raises ValueError, struct.error."""
    (count,) = struct.unpack_from("!H", body)
    values, at = [], 2
    for _ in range(count):
        (length,) = struct.unpack_from("!i", body, at)
        at += 4
        text = body[at : at + max(length, 0)]
        if len(text) < length:
            raise ValueError("a value ends beyond its message")
        values.append(text.decode("utf-8", "replace"))
        at += max(length, 0)
    return values
