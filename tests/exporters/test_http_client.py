"""What stands between an exporter and an answer: no server, a hanging one, a lying one, a proxy."""

from __future__ import annotations

import asyncio
import html
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from agent.model import MetricBatch, Retry, Series, SeriesSet, TooLarge
from config import ClientOptions, Referenced, Secret
from exporters.http_client import HttpClient

T0 = 1_760_000_000_000
BATCH = MetricBatch("c", T0, SeriesSet([Series("up", "gauge", "Is it up?", "", (("job", "x"),))]), [1.0])


async def test_nobody_listening_is_refused(exporting: Any) -> None:
    async with exporting("http://127.0.0.1:1/api/v1/write") as exporter:
        with pytest.raises(Retry) as caught:
            await exporter.send(exporter.encode([BATCH]))
    assert caught.value.kind == "refused"


async def test_a_name_that_does_not_resolve_is_dns(exporting: Any) -> None:
    async with exporting("http://does-not-exist.invalid/api/v1/write") as exporter:
        with pytest.raises(Retry) as caught:
            await exporter.send(exporter.encode([BATCH]))
    assert caught.value.kind == "dns"


async def test_a_server_that_hangs_is_a_timeout(exporting: Any, raw_server: Any) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_server(reply) as url, exporting(url, 0.2) as exporter:
        with pytest.raises(Retry, match=r"no answer within 0\.2 s") as caught:
            await exporter.send(exporter.encode([BATCH]))
    assert caught.value.kind == "timeout"


async def test_a_reset_is_a_reset(exporting: Any, raw_server: Any) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with raw_server(reply) as url, exporting(url) as exporter:
        with pytest.raises(Retry) as caught:
            await exporter.send(exporter.encode([BATCH]))
    assert caught.value.kind == "reset"


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 20", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x00" * 50]
)
async def test_what_is_no_answer_is_retried(said: bytes, exporting: Any, raw_server: Any) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()

    async with raw_server(reply) as url, exporting(url) as exporter:
        with pytest.raises(Retry) as caught:
            await exporter.send(exporter.encode([BATCH]))
    assert caught.value.kind in {"malformed", "reset"}


async def test_headers_without_end_are_malformed(exporting: Any, raw_server: Any) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000)
        await writer.drain()
        await reader.read()

    async with raw_server(reply) as url, exporting(url) as exporter:
        with pytest.raises(Retry) as caught:
            await exporter.send(exporter.encode([BATCH]))
    assert caught.value.kind == "malformed"


async def test_an_answer_cut_off_in_its_body_keeps_its_status(exporting: Any, raw_server: Any) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 1000\r\n\r\nhalf a sen")
        await writer.drain()

    async with raw_server(reply) as url, exporting(url) as exporter:
        with pytest.raises(TooLarge, match="413: half a sen"):
            await exporter.send(exporter.encode([BATCH]))


async def test_a_body_without_end_is_not_read_to_its_end(exporting: Any, raw_server: Any) -> None:
    sent = 0

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 503 Busy\r\n\r\n")
        while sent < 50_000_000:
            writer.write(b"x" * 10_000)
            sent += 10_000
            await writer.drain()

    async with raw_server(reply) as url, exporting(url) as exporter:
        with pytest.raises(Retry, match="503: xxx") as caught:
            await exporter.send(exporter.encode([BATCH]))
    assert caught.value.kind == "5xx"
    assert sent < 50_000_000


async def test_cancelling_passes_through(exporting: Any, raw_server: Any) -> None:
    reached = asyncio.Event()

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await reader.read()

    async with raw_server(reply) as url, exporting(url) as exporter:
        task = asyncio.create_task(exporter.send(exporter.encode([BATCH])))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    "url",
    [
        Referenced("http://127.0.0.1:9/write/hunter2-token", "http://127.0.0.1:9/write/${env:T}"),
        "http://user:hunter2-token@127.0.0.1:9/write",
        "http://127.0.0.1:9/write?apikey=hunter2-token",
    ],
)
def test_the_secrets_of_a_url_are_neither_named_nor_believed_when_echoed(url: str) -> None:
    client = HttpClient(url, ClientOptions(), 1.0)
    assert "hunter2" not in client.where
    assert b"hunter2" not in client._masked(f"no such page: {url}".encode())


async def test_secrets_are_masked_whole_and_in_every_form_of_an_echo() -> None:
    secret, longer = 'pa"ss\\w&rd <1>', 'pa"ss\\w&rd <1>-LONGER'
    options = ClientOptions(username="u", password=Secret(secret), headers={"X-Token": Secret(longer)})
    client = HttpClient("http://127.0.0.1:1/x", options, 1.0)
    for form in (longer, orjson.dumps(longer).decode(), quote(longer, safe=""), html.escape(longer)):
        assert b"LONGER" not in client._masked(form.encode())
        assert client._masked(form.encode()).strip(b'"') == b"***"
    await client.close()


@pytest.mark.parametrize("proxy", ["u:s3cr3t@127.0.0.1:1", "http://u:s3cr3t%zz@127.0.0.1:99999", "foo://u:s3cr3t@x"])
async def test_a_proxy_of_the_environment_keeps_its_password(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    client = HttpClient("http://metrics.example.com/x", ClientOptions(), 2.0)
    with pytest.raises(Retry) as caught:
        await client.post(b"", {})
    await client.close()
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.kind == "proxy"
