"""Decoders of what we encode, and servers to send it to."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from exporters.remote_write import WRITTEN, RemoteWrite
from tests import decoding
from tests.decoding import Wire

TAKEN = dict(zip(WRITTEN, ("1", "0", "0"), strict=True))

Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="session")
def proto_1() -> Any:
    return decoding.generated("remote_write_1")


@pytest.fixture(scope="session")
def proto_2() -> Any:
    return decoding.generated("remote_write_2")


@pytest.fixture(scope="session")
def decode_1() -> Callable[[bytes], list[Wire]]:
    return decoding.decode_1


@pytest.fixture(scope="session")
def decode_2() -> Callable[[bytes], list[Wire]]:
    return decoding.decode_2


class Receiver:
    """A server that keeps what it got and answers as it is told, the last answer again and again."""

    def __init__(self) -> None:
        self.requests: list[tuple[web.Request, bytes]] = []
        self.answers: list[tuple[int, dict[str, str], str]] = [(204, TAKEN, "")]
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append((request, await request.read()))
        status, headers, text = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=status, headers=headers, text=text)

    @property
    def headers(self) -> Any:
        return self.requests[-1][0].headers


@contextlib.asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/api/v1/write", receiver.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = f"{'https' if tls else 'http'}://localhost:{port}/api/v1/write"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def exporting(url: str, timeout: float = 10.0, **options: Any) -> AsyncIterator[RemoteWrite]:
    exporter = RemoteWrite(RemoteWrite.Options(url=url, **options), timeout)
    try:
        yield exporter
    finally:
        await exporter.close()


@contextlib.asynccontextmanager
async def raw_server(reply: Reply) -> AsyncIterator[str]:
    """A server below HTTP, for answers that no HTTP library gives; `reply` is called when a request has begun."""
    served: list[asyncio.Task[Any] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await reply(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1/write"
        await asyncio.gather(*[task for task in served if task])


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with serving() as found:
        yield found


@pytest.fixture(name="serving")
def serving_fixture() -> Any:
    return serving


@pytest.fixture(name="exporting")
def exporting_fixture() -> Any:
    return exporting


@pytest.fixture(name="raw_server")
def raw_server_fixture() -> Any:
    return raw_server
