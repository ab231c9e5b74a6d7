"""Decoders of what we encode (the official protobuf runtime, with classes generated from our own field tables), and
servers to send it to.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from grpc_tools import protoc

from exporters.remote_write import WRITTEN, RemoteWrite

PROTO = Path(__file__).parents[1] / "data" / "proto"
TAKEN = dict(zip(WRITTEN, ("1", "0", "0"), strict=True))

Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Wire(NamedTuple):
    """A decoded TimeSeries: labels in the order they came, samples as (bits of the value, time, start time)."""

    labels: tuple[tuple[str, str], ...]
    samples: list[tuple[int, int, int]]
    histograms: list[Any]
    exemplars: list[tuple[tuple[tuple[str, str], ...], float, int]]
    metadata: tuple[int, str, str] | None


def generated(name: str, folder: Path) -> Any:
    assert protoc.main(["protoc", f"-I{PROTO}", f"--python_out={folder}", f"{name}.proto"]) == 0
    spec = importlib.util.spec_from_file_location(f"{name}_pb2", folder / f"{name}_pb2.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bits(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


@pytest.fixture(scope="session")
def proto_1(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return generated("remote_write_1", tmp_path_factory.mktemp("proto"))


@pytest.fixture(scope="session")
def proto_2(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return generated("remote_write_2", tmp_path_factory.mktemp("proto"))


@pytest.fixture(scope="session")
def decode_1(proto_1: Any) -> Callable[[bytes], list[Wire]]:
    def decode(body: bytes) -> list[Wire]:
        request = proto_1.WriteRequest.FromString(body)
        return [
            Wire(
                tuple((label.name, label.value) for label in one.labels),
                [(bits(sample.value), sample.timestamp, 0) for sample in one.samples],
                list(one.histograms),
                [(tuple((x.name, x.value) for x in e.labels), e.value, e.timestamp) for e in one.exemplars],
                None,
            )
            for one in request.timeseries
        ]

    return decode


@pytest.fixture(scope="session")
def decode_2(proto_2: Any) -> Callable[[bytes], list[Wire]]:
    def decode(body: bytes) -> list[Wire]:
        request = proto_2.Request.FromString(body)
        symbols = request.symbols
        assert symbols[0] == ""
        assert len(set(symbols)) == len(symbols)

        def pairs(refs: list[int]) -> tuple[tuple[str, str], ...]:
            assert len(refs) % 2 == 0
            texts = [symbols[ref] for ref in refs]
            return tuple(zip(texts[::2], texts[1::2], strict=True))

        return [
            Wire(
                pairs(one.labels_refs),
                [(bits(sample.value), sample.timestamp, sample.start_timestamp) for sample in one.samples],
                list(one.histograms),
                [(pairs(e.labels_refs), e.value, e.timestamp) for e in one.exemplars],
                (one.metadata.type, symbols[one.metadata.help_ref], symbols[one.metadata.unit_ref]),
            )
            for one in request.timeseries
        ]

    return decode


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
