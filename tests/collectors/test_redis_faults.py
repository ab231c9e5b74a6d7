"""The Redis collector before servers that hang, lie and never stop."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import pytest

from agent.fanout import FanOut
from agent.model import Sample
from collectors.redis import Options, Redis
from config import Secret
from tests.collectors.test_redis import INFO, found
from tests.conftest import free_port

Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def fake(behave: Behave) -> AsyncIterator[Redis]:
    """A collector of a server that behaves like that."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behave(reader, writer)
        except (ConnectionError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    collector = Redis(Options(url=f"redis://127.0.0.1:{port}"))
    try:
        yield collector
    finally:
        await collector.close()
        server.close()
        await asyncio.sleep(0)


def says(*replies: bytes) -> Behave:
    """Answers each command with the next of these, and any further one with the last."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = list(replies)
        while await reader.readuntil(b"*"):
            writer.write(left.pop(0) if len(left) > 1 else left[0])
            await writer.drain()

    return behave


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(-1)


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


def floods(start: bytes, chunk: bytes) -> Behave:
    """Never stops sending."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(start)
        while True:
            writer.write(chunk)
            await writer.drain()

    return behave


async def dribbles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"+")
    while not writer.is_closing():
        writer.write(b"x")
        await asyncio.sleep(0.02)


def bulk(text: str) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text.encode()), text.encode())


def down(samples: Iterable[Sample]) -> str:
    """Why it is down."""
    values = found(samples)
    (reason,) = [key[1] for key in values if key[0] == "redis_exporter_last_scrape_error"]
    assert values["redis_up",] == float(not reason)
    assert len(values) == 2 or not reason
    return reason


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (hangs_up, "reset"),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "protocol"),
        (says(b"\r\n"), "protocol"),
        (says(b"+OK\r\n", b":7\r\n"), "protocol"),
        (says(b"+OK\r\n", b"*-7\r\n"), "protocol"),
        (says(b"+OK\r\n", b"$x\r\n"), "protocol"),
        (says(b"+OK\r\n", b"$-7\r\n"), "protocol"),
        (says(b"$9999999999\r\n"), "protocol"),
        (says(b"+OK\r\n", b"*99999999999\r\n$99999999999\r\n"), "protocol"),
        (floods(b"", b"x" * 65536), "protocol"),
        (floods(b"$4000000\r\n", b"x" * 65536), "protocol"),
        (floods(b"*2000000000\r\n", b":1\r\n" * 8192), "protocol"),
        (floods(b"*2000000000\r\n", b"*0\r\n" * 8192), "protocol"),
        (floods(b"", b"*1\r\n" * 8192), "protocol"),
        (says(b"-NOAUTH Authentication required.\r\n"), "auth"),
        (says(b"+OK\r\n", b"-NOPERM this user has no permissions to run 'info'\r\n"), "auth"),
        (says(b"-LOADING Redis is loading the dataset in memory\r\n"), "loading"),
        (says(b"-BUSY Redis is busy running a script.\r\n"), "busy"),
        (says(b"-ERR max number of clients reached\r\n"), "refused"),
        (says(b"-DENIED Redis is running in protected mode\r\n"), "refused"),
        (says(b"-ERR unknown command 'INFO'\r\n"), "protocol"),
    ],
)
async def test_a_bad_server_has_its_class_and_little_memory(behave: Behave, reason: str) -> None:
    async with fake(behave) as collector:
        tracemalloc.start()
        try:
            assert down(await collector.probe("")) == reason
            assert tracemalloc.get_traced_memory()[1] < 40 << 20
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("behave", [hangs, dribbles, says(b"+OK\r\n", b"$100\r\nhalf")])
async def test_a_server_that_takes_its_time_is_cut_off(behave: Behave) -> None:
    async with fake(behave) as collector:
        started = time.perf_counter()
        assert down(await FanOut(collector, 0.2).collect()) == "timeout"
        assert time.perf_counter() - started < 1


async def test_a_flood_lets_others_have_their_turn() -> None:
    async with fake(floods(b"*2000000000\r\n", b":1\r\n" * 8192)) as collector:
        longest, running = 0.0, asyncio.create_task(collector.probe(""))
        while not running.done():
            since = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - since)
        assert longest < 0.1


async def test_nobody_there_and_no_such_name_have_their_classes() -> None:
    for url, reason in (
        (f"redis://127.0.0.1:{free_port()}", "refused"),
        (f"redis://localhost:{free_port()}", "refused"),
        ("redis://no-such-host.invalid", "resolve"),
        ("unix:///nowhere/redis.sock", "connect"),
    ):
        assert down(await Redis(Options(url=url)).probe("")) == reason


async def test_queries_that_are_answered_with_nonsense_fail_alone() -> None:
    async with fake(says(b"+OK\r\n", bulk(INFO), b"+what?\r\n")) as collector:
        values = found(await collector.probe(""))
    assert values["redis_up",] == 1
    assert values["redis_memory_used_bytes",] == 1048576
    assert {key[1]: value for key, value in values.items() if key[0] == "redis_query_success"} == {
        "config": 0,
        "slowlog": 0,
        "latency": 0,
        "histogram": 0,
    }


async def test_text_that_is_no_unicode_is_taken() -> None:
    told = b"# Errorstats\r\nerrorstat_\xff\xfe:count=1\r\n"
    async with fake(says(b"+OK\r\n", b"$%d\r\n%s\r\n" % (len(told), told), b"-ERR no\r\n")) as collector:
        assert found(await collector.probe(""))["redis_errors_total", "\ufffd\ufffd"] == 1


async def test_a_login_is_sent_and_seen_nowhere() -> None:
    heard = bytearray()

    async def listens(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(1000))
        writer.write(b"-WRONGPASS invalid username-password pair: hunter2\r\n")
        await reader.read(1)

    async with fake(listens) as collector:
        port = collector._target.port
        options = Options(url=f"redis://127.0.0.1:{port}", username="me", password=Secret("hunter2"))
        samples = list(await Redis(options).probe(""))
    assert b"hunter2" in heard
    assert down(samples) == "auth"
    assert "hunter2" not in repr((samples, options))


@pytest.mark.parametrize(
    ("key", "lies"),
    [
        ("queue", {b"TYPE": b"+string\r\n", b"STRLEN": b":1" + b"0" * 400 + b"\r\n"}),
        ("queue*", {b"SCAN": b":7\r\n"}),
        ("queue*", {b"SCAN": b"*2\r\n:1\r\n:2\r\n"}),
    ],
)
async def test_nonsense_about_keys_fails_alone(key: str, lies: dict[bytes, bytes]) -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while count := int((await reader.readuntil(b"\r\n"))[1:]):
            words = []
            for _ in range(count):
                length = int((await reader.readuntil(b"\r\n"))[1:])
                words.append((await reader.readexactly(length + 2))[:-2])
            info = bulk(INFO) if words[0] == b"INFO" else b"+OK\r\n"
            writer.write(lies.get(words[0], info))
            await writer.drain()

    async with fake(behave) as first:
        collector = Redis(Options(url=f"redis://{(await first.targets())[0]}", keys=(key,)))
        values = found(await collector.probe(""))
        await collector.close()
    assert values["redis_up",] == 1
    assert values["redis_query_success", "keys"] == 0
