"""The way to a server, under asyncpg: name, address, TLS and a bound on what a server may send.

asyncpg takes an event loop; ours makes the connections itself and hands everything else on. It does so because asyncpg
bounds nothing (a message may have 2 GiB, an answer any number of rows), checks certificates against no other name than
the host's, and tells a refused TLS handshake from a lost connection by its words alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any, Final, cast

from agent.asker import Asker
from agent.tls import client_context
from collectors.postgres.errors import Failed
from collectors.postgres.options import Login

MOST: Final = 16 << 20  # bytes a server may send in one round; a thousand tables make half a MiB
_SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)  # protocol-message-formats: SSLRequest
_RESOLVING: Final = 60.0  # seconds; the round's deadline comes first

Address = tuple[socket.AddressFamily, str]


class Meter(asyncio.Protocol):
    """Hands on what comes in, and cuts the connection when it is too much for a round."""

    def __init__(self, inner: asyncio.Protocol) -> None:
        self.inner = inner
        self.left = MOST
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Some bytes of the server's."""
        self.left -= len(data)
        if self.left >= 0:
            self.inner.data_received(data)
        else:
            self.abort()

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


class _Asked(asyncio.Protocol):
    """Waits for the one byte that answers an SSLRequest."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if not self.answer.done():
            self.answer.set_result(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc or ConnectionResetError())


class Dialer:
    """An event loop to asyncpg; `meter` is that of the connection made last.

    `tap` makes another kind of meter.
    """

    def __init__(self, login: Login, tap: Callable[[asyncio.Protocol], Meter] = Meter) -> None:
        self.login, self.target = login, login.target
        self.meter: Meter | None = None
        self._tap = tap
        self._asker: Asker[list[Address] | OSError] = Asker(_look_up)

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.get_running_loop(), name)

    async def create_connection(self, factory: Callable[[], asyncio.Protocol], host: str, port: int) -> Any:
        """A connection over TCP and, if wanted, TLS; raises `Failed`, OSError."""
        return await self._greet(factory, await self._dial(host, port))

    async def create_unix_connection(self, factory: Callable[[], asyncio.Protocol], path: str) -> Any:
        """A connection over a socket of this machine."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_unix_connection(_Asked, path)
        return self._hand_over(factory, transport)

    async def _dial(self, host: str, port: int) -> socket.socket:
        found = (await self._asker.ask([host], _RESOLVING)).get(host, [])
        if isinstance(found, OSError) or not found:
            raise Failed("resolve")
        failure: OSError = OSError()
        for family, address in found[:4]:
            link = socket.socket(family, socket.SOCK_STREAM)
            link.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(link, (address, port))
            except OSError as error:
                link.close()
                failure = error
                continue
            except asyncio.CancelledError:
                link.close()
                raise
            return link
        raise failure

    async def _greet(self, factory: Callable[[], asyncio.Protocol], link: socket.socket) -> Any:
        mode, loop = self.login.sslmode, asyncio.get_running_loop()
        transport, asked = await loop.create_connection(_Asked, sock=link)
        try:
            if mode != "disable":
                transport.write(_SSL_REQUEST)
                answer = await asked.answer
                if answer == b"S":
                    transport = await self._secure(transport, asked)
                elif answer != b"N":
                    raise Failed("protocol")
                elif mode != "prefer":
                    raise Failed("tls")
            return self._hand_over(factory, transport)
        except BaseException:
            transport.abort()
            raise

    async def _secure(self, transport: asyncio.Transport, asked: _Asked) -> asyncio.Transport:
        context = tls_context(self.login)
        name = self.login.server_name or self.target.host
        try:
            secured = await asyncio.get_running_loop().start_tls(transport, asked, context, server_hostname=name)
        except OSError as error:
            raise Failed("tls") from error
        if secured is None:
            raise Failed("tls")
        return secured

    def _hand_over(self, factory: Callable[[], asyncio.Protocol], transport: asyncio.Transport) -> Any:
        inner = factory()
        self.meter = self._tap(inner)
        transport.set_protocol(self.meter)
        self.meter.connection_made(transport)
        return transport, inner

    def close(self) -> None:
        """Let the resolving thread go."""
        self._asker.close()


def tls_context(login: Login) -> ssl.SSLContext:
    """What the server is spoken to with; raises `Failed` for files that cannot be used."""
    try:
        return client_context(login, verify=login.sslmode.startswith("verify"), name=login.sslmode == "verify-full")
    except OSError as error:  # of which SSLError is one
        raise Failed("tls") from error


def _look_up(host: str) -> list[Address] | OSError:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return OSError()
    return [(family, str(address[0])) for family, _, _, _, address in found]
