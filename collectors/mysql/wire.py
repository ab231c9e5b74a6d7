"""Packets to and from a server: name, address, TLS, and a bound on what a server may send.

The packets' format is that of the client/server protocol (MySQL internals: "Protocol Basics"): three bytes of length,
one of sequence, payload.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Final, cast

from agent.asker import Asker
from agent.tls import client_context
from collectors.mysql.errors import Failed
from collectors.mysql.options import Options

MOST: Final = 4 << 20  # bytes a server may send in one round; status and variables make 60 KiB
_RESOLVING: Final = 60.0  # seconds; the round's deadline comes first
_HEADER: Final = 4

Address = tuple[socket.AddressFamily, str]


class Wire(asyncio.Protocol):
    """What came in and was not read yet, at most `left` bytes more of it; then the connection is cut."""

    def __init__(self) -> None:
        self.left = MOST
        self.ended = False
        self.secured = self.untrusted = False
        self.sequence = 0
        self._buffer = bytearray()
        self._read = 0  # bytes of it
        self._more: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None

    @property
    def transport(self) -> asyncio.Transport:
        """The connection; raises `Failed` when there is none."""
        if self._transport is None:
            raise Failed("reset")
        return self._transport

    @property
    def usable(self) -> bool:
        """Whether it stands, with nothing said that nobody asked for."""
        return not self.ended and not self._unread

    @property
    def _unread(self) -> int:
        return len(self._buffer) - self._read

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance

    def data_received(self, data: bytes) -> None:
        """Some bytes of the server's."""
        self.left -= len(data)
        if self.left < 0:
            self.abort()
        else:
            del self._buffer[: self._read]
            self._read = 0
            self._buffer += data
        self._wake()

    def eof_received(self) -> bool | None:
        """The server says no more."""
        self.ended = True
        self._wake()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """The end; `untrusted`: TLS ended it, as it does with 1.3 when the server does not like our certificate."""
        self.ended, self.untrusted = True, isinstance(exc, ssl.SSLError)
        self._wake()

    def _wake(self) -> None:
        if self._more is not None and not self._more.done():
            self._more.set_result(None)

    async def receive(self) -> bytes:
        """The payload of the next packet; raises `Failed`."""
        header = await self._take(_HEADER)
        length, sequence = int.from_bytes(header[:3], "little"), header[3]
        payload = await self._take(length)
        if sequence != self.sequence:  # nobody asked for it: a server says so that it goes away
            raise Failed("reset" if payload[:1] == b"\xff" and not sequence else "protocol")
        self.sequence = (sequence + 1) & 0xFF
        return payload

    async def _take(self, count: int) -> bytes:
        while (missing := count - self._unread) > 0:
            if self.left < 0 or missing > self.left:
                raise Failed("protocol")
            if self.ended:
                raise Failed("reset")
            self._more = asyncio.get_running_loop().create_future()
            await self._more
        begin, self._read = self._read, self._read + count
        return bytes(self._buffer[begin : self._read])

    def send(self, payload: bytes) -> None:
        """One packet; ours are short."""
        self.transport.write(len(payload).to_bytes(3, "little") + bytes((self.sequence,)) + payload)
        self.sequence = (self.sequence + 1) & 0xFF

    async def secure(self, context: ssl.SSLContext, name: str) -> None:
        """TLS from here on; raises `Failed`."""
        if self._unread:
            raise Failed("protocol")  # said before anybody could be sure who says it
        try:
            secured = await asyncio.get_running_loop().start_tls(self.transport, self, context, server_hostname=name)
        except (OSError, EOFError) as error:
            raise Failed("tls") from error
        if secured is None or self._unread:
            raise Failed("tls")
        self._transport, self.secured, self.ended = secured, True, False

    def abort(self) -> None:
        """Cut the connection."""
        self.ended = True
        if self._transport is not None:
            with contextlib.suppress(AttributeError):  # Python before 3.11.5, where TLS is closed already
                self._transport.abort()


class Dialer:
    """Makes connections to one server."""

    def __init__(self, options: Options) -> None:
        self.options, self.target = options, options.target
        self._asker: Asker[list[Address] | OSError] = Asker(_look_up)

    async def dial(self) -> Wire:
        """A connection over TCP, or to a socket of this machine; raises `Failed`, OSError."""
        loop = asyncio.get_running_loop()
        if self.target.socket:
            _, wire = await loop.create_unix_connection(Wire, self.target.socket)
            return wire
        link = await self._connect()
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        _, wire = await loop.create_connection(Wire, sock=link)
        return wire

    async def _connect(self) -> socket.socket:
        host = self.target.host
        found = (await self._asker.ask([host], _RESOLVING)).get(host, [])
        if isinstance(found, OSError) or not found:
            raise Failed("resolve")
        failure: OSError = OSError()
        for family, address in found[:4]:
            link = socket.socket(family, socket.SOCK_STREAM)
            link.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(link, (address, self.target.port))
            except OSError as error:
                link.close()
                failure = error
                continue
            except asyncio.CancelledError:
                link.close()
                raise
            return link
        raise failure

    def close(self) -> None:
        """Let the resolving thread go."""
        self._asker.close()


def tls_context(options: Options) -> ssl.SSLContext:
    """What the server is spoken to with; raises `Failed` for files that cannot be used."""
    try:
        return client_context(
            options, verify=options.sslmode.startswith("verify"), name=options.sslmode == "verify-full"
        )
    except OSError as error:  # of which SSLError is one
        raise Failed("tls") from error


def _look_up(host: str) -> list[Address] | OSError:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return OSError()
    return [(family, str(address[0])) for family, _, _, _, address in found]
