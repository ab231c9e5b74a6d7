"""What a server sends, between the socket and asyncpg: checked, counted, and its rows taken out as they pass by.

Everything is asked with the simple query protocol, whose rows are text: no decoder of asyncpg's sees them, none of its
own queries about types is needed, and pgbouncer's console knows no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from typing import Final, cast

from collectors.postgres.errors import Failed, Trouble
from collectors.postgres.frames import (
    HEADER,
    MOST_FRAME,
    Login,
    Refused,
    Row,
    checked,
    parse_columns,
    parse_row,
)

MOST: Final = 16 << 20  # bytes a server may send in one round; a thousand tables make half a MiB
MOST_KEPT: Final = 4 << 20  # bytes of an answer's rows
MOST_CELLS: Final = 100_000  # of an answer; the largest of ours, of 5000 backends, has 45,000
_IDLE: Final = (b"N", b"A", b"v")
BREATH: Final = 500  # cells after which the event loop gets its turn


class Answer:
    """The rows of an answer as they came; what is beyond the bounds was thrown away, and `whole` is False."""

    def __init__(self, columns: list[str]) -> None:
        self.columns = columns
        self.whole = True
        self._bodies: list[bytes] = []
        self._kept = 0
        self._most = MOST_CELLS // max(1, len(columns))

    def add(self, body: bytes) -> None:
        """One row."""
        self._kept += len(body)
        if self.whole and self._kept <= MOST_KEPT and len(self._bodies) < self._most:
            self._bodies.append(body)
        else:
            self.whole = False

    async def rows(self) -> AsyncIterator[Row]:
        """Its rows, with turns for the event loop between them; raises `Failed` for odd ones, or where some lack."""
        if not self.whole:
            raise Failed("protocol")
        width, seen = len(self.columns), 0
        for body in self._bodies:
            seen += width + 1
            if seen > BREATH:
                seen = 0
                await asyncio.sleep(0)
            try:
                row = parse_row(body)
            except (ValueError, struct.error):
                raise Failed("protocol") from None
            if len(row) != width:
                raise Failed("protocol")
            yield row


class Tap(asyncio.Protocol):
    """Hands on to `inner` what it may see; cuts the connection when it is too much for a round, or no message at all.

    `trouble` is why it was cut.
    """

    def __init__(self, inner: asyncio.Protocol, *, private: bool = False) -> None:
        self.inner = inner
        self.left = MOST
        self.trouble: Trouble | None = None
        self._login: Login | None = Login(private=private)
        self._asked = False
        self._rest = bytearray()
        self._answer = Answer([])
        self._transport: asyncio.Transport | None = None

    def ask(self) -> None:
        """A question is on its way: rows that come now are its answer."""
        self._asked, self._answer = True, Answer([])

    def take(self) -> Answer:
        """The answer to the last question."""
        answer, self._answer, self._asked = self._answer, Answer([]), False
        return answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Some bytes of the server's."""
        if self.trouble is not None:
            return
        self.left -= len(data)
        try:
            if self.left < 0:
                raise Refused
            passed = self._read(data)
        except Refused as refused:
            self._rest.clear()
            self.trouble = refused.trouble
            self.abort()
        else:
            if passed:
                self.inner.data_received(passed)

    def _read(self, data: bytes) -> bytes:
        """What to hand on of the whole messages that are there."""
        source: bytes | bytearray = data
        if self._rest:
            self._rest += data
            source = self._rest
        at, passed = 0, bytearray()
        while len(source) - at >= HEADER.size:
            kind, length = HEADER.unpack_from(source, at)
            if not 4 <= length <= MOST_FRAME:
                raise Refused
            end = at + 1 + length
            if end > len(source):
                break
            self._message(kind, bytes(source[at + HEADER.size : end]), passed)
            at = end
        if source is self._rest:
            del self._rest[:at]
        else:
            self._rest += data[at:]
        return bytes(passed)

    def _message(self, kind: bytes, body: bytes, passed: bytearray) -> None:
        if kind == b"D" and self._asked:
            self._answer.add(body)
            return
        if kind in _IDLE:  # notices, and what nobody listens to
            return
        if self._login is not None:
            body = self._login.checked(kind, body)
        elif self._asked:
            if kind == b"T":
                self._begin(body)
                return
            body = checked(kind, body)
        elif kind == b"E":  # the server says goodbye: that it hangs up is what counts
            return
        elif kind == b"S":
            body = checked(kind, body)
        else:
            raise Refused
        if kind == b"Z":
            self._login, self._asked = None, False
        passed += HEADER.pack(kind, len(body) + 4) + body

    def _begin(self, body: bytes) -> None:
        try:
            self._answer = Answer(parse_columns(body))
        except (ValueError, struct.error):
            raise Refused from None

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            with contextlib.suppress(AttributeError):  # Python before 3.11.5, where TLS is closed already
                self._transport.abort()

    def eof_received(self) -> bool | None:
        """The server says no more."""
        return self.inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self.inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """The server does not read."""
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        self.inner.resume_writing()
