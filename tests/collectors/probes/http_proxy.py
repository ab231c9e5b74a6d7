"""A small real proxy of HTTP: whole URLs, CONNECT, a login; it keeps what it heard."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator

from tests.collectors.probes.zoo import serving

REFUSED = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
NOWHERE = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"


class Proxying:
    """Where it listens, and the heads of the requests that it got."""

    def __init__(self, login: str = "") -> None:
        self.port = 0
        self.heads: list[str] = []
        self._wanted = base64.b64encode(login.encode()).decode() if login else ""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(head)
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        if self._wanted and f"Proxy-Authorization: Basic {self._wanted}" not in lines:
            writer.write(REFUSED)
            await writer.drain()
            return
        place = target if method == "CONNECT" else target.split("/")[2]
        host, _, port = place.rpartition(":")
        try:
            onward = await asyncio.open_connection(host.strip("[]"), int(port))
        except OSError:
            writer.write(NOWHERE)
            await writer.drain()
            return
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            path = "/" + target.split("/", 3)[3]
            kept = [line for line in lines if not line.lower().startswith("proxy-")]
            onward[1].write("\r\n".join([f"{method} {path} HTTP/1.1", *kept, "", ""]).encode("latin-1"))
        await _both_ways((reader, writer), onward)


async def _both_ways(
    one: tuple[asyncio.StreamReader, asyncio.StreamWriter], other: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65_536):
                writer.write(piece)
                await writer.drain()

    ways = [asyncio.create_task(carry(one[0], other[1])), asyncio.create_task(carry(other[0], one[1]))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        other[1].transport.abort()
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


@contextlib.asynccontextmanager
async def proxying(login: str = "", context: ssl.SSLContext | None = None) -> AsyncIterator[Proxying]:
    """A proxy on a free port."""
    proxy = Proxying(login)
    async with serving(proxy.talk, context) as port:
        proxy.port = port
        yield proxy
