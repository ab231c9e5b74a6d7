"""The way to a server, under asyncpg: name, address, TLS and a bound on what a server may send.

asyncpg takes an event loop; ours makes the connections itself and hands everything else on. It does so because asyncpg
bounds nothing (a message may have 2 GiB, an answer any number of rows), believes lengths that end its process, checks
certificates against no other name than the host's, tells a password to whoever asks for it, and tells a refused TLS
handshake from a lost connection by its words alone.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any, Final

from agent.asker import Asker
from agent.tls import client_context
from collectors.postgres.errors import Failed
from collectors.postgres.options import Login
from collectors.postgres.tap import Tap

_SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)  # protocol-message-formats: SSLRequest
_RESOLVING: Final = 60.0  # seconds; the round's deadline comes first

Address = tuple[socket.AddressFamily, str]


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
    """An event loop to asyncpg; `tap` is that of the connection made last."""

    def __init__(self, login: Login) -> None:
        self.login, self.target = login, login.target
        self.tap: Tap | None = None
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
        return self._hand_over(factory, transport, private=True)

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
        private = False
        try:
            if mode != "disable":
                transport.write(_SSL_REQUEST)
                answer = await asked.answer
                if answer == b"S":
                    transport = await self._secure(transport, asked)
                    private = mode.startswith("verify")
                elif answer != b"N":
                    raise Failed("protocol")
                elif mode != "prefer":
                    raise Failed("tls")
            return self._hand_over(factory, transport, private=private)
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

    def _hand_over(
        self, factory: Callable[[], asyncio.Protocol], transport: asyncio.Transport, *, private: bool
    ) -> Any:
        inner = factory()
        tap = Tap(inner, private=private)
        if hasattr(inner, "query"):  # and is not there to cancel what another connection does
            self.tap = tap
        transport.set_protocol(tap)
        tap.connection_made(transport)
        return transport, inner

    def forget(self) -> None:
        """The next connection is not there yet."""
        self.tap = None

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
