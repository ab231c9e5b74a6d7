"""The PostgreSQL and pgbouncer collectors before servers that hang, lie and never stop."""

from __future__ import annotations

import asyncio
import struct
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.fanout import FanOut
from agent.model import Sample
from collectors.pgbouncer import Pgbouncer
from collectors.postgres import Options, Postgres
from collectors.postgres.errors import TROUBLES
from collectors.postgres.options import Query
from collectors.postgres.tap import MOST
from config import Secret
from tests.collectors.test_postgres_wire import WELCOME, columns, demand, message, row

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def fake(handler: Handler) -> AsyncIterator[tuple[int, list[int]]]:
    """A server that does what the handler does; its port, and how many came so far."""
    came, tasks = [0], set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came[0] += 1
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], came
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take the wish for TLS, deny it, and take the login."""
    await reader.readexactly(8)
    writer.write(b"N")
    (length,) = struct.unpack("!i", await reader.readexactly(4))
    await reader.readexactly(length - 4)


def refusing(state: str, words: str = "no") -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader, writer)
        writer.write(message(b"E", f"SFATAL\0C{state}\0M{words}\0\0".encode()))
        await writer.drain()

    return handler


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def silent_after_login(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await startup(reader, writer)
    writer.write(WELCOME)
    await reader.read()


async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await startup(reader, writer)


async def not_postgres(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await reader.read()


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await startup(reader, writer)
    writer.write(b"\xff" * 64)
    await reader.read()


async def no_version(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await startup(reader, writer)
    writer.write(message(b"R", struct.pack("!i", 0)) + message(b"Z", b"I"))
    await reader.read()


async def huge_message(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await startup(reader, writer)
    writer.write(b"R" + struct.pack("!i", 0x7FFFFFFF))
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def endless_rows(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await startup(reader, writer)
    writer.write(WELCOME + columns("a"))
    while True:
        writer.write(row("x" * 100) * 500)
        await writer.drain()


async def a_byte_at_a_time(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await startup(reader, writer)
    for byte in b"R" + struct.pack("!i", 0x7FFF) + b"\0" * 0x7FFF:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.01)


def value(samples: Iterable[Sample], name: str, *labels: str) -> object:
    return next((one.value for one in samples if one.family.name == name and one.labels[1:] == labels), None)


def collectors(port: int) -> list[tuple[str, Postgres | Pgbouncer]]:
    return [
        ("pg", Postgres(Options(dsn=f"postgres://127.0.0.1:{port}/x", password=Secret("s3cret")))),
        ("pgbouncer", Pgbouncer(Pgbouncer.Options(url=f"postgres://127.0.0.1:{port}/x", password=Secret("s3cret")))),
    ]


@pytest.mark.parametrize(
    ("handler", "troubles"),
    [
        (silent, {"timeout"}),
        (silent_after_login, {"timeout"}),
        (a_byte_at_a_time, {"timeout"}),
        (gone, {"reset", "protocol"}),
        (not_postgres, {"protocol"}),
        (garbage, {"protocol", "timeout"}),
        (no_version, {"protocol"}),
        (huge_message, {"protocol", "reset"}),
        (endless_rows, {"protocol", "reset"}),
        (refusing("57P03"), {"starting"}),
        (refusing("53300"), {"too_many_connections"}),
        (refusing("28P01"), {"auth"}),
        (refusing("08P01", "no more connections allowed (max_client_conn)"), {"too_many_connections"}),
        (refusing("08P01", "password authentication failed"), {"auth"}),
        (refusing("XX000"), {"query"}),
    ],
)
async def test_a_bad_server_is_a_class_within_the_deadline(handler: Handler, troubles: set[str]) -> None:
    async with fake(handler) as (port, _came):
        for prefix, collector in collectors(port):
            rounds = FanOut(collector, 1.0)
            samples = list(await asyncio.wait_for(rounds.collect(), 2))
            assert value(samples, f"{prefix}_up") == 0
            (told,) = [one.labels[-1] for one in samples if one.family.name == f"{prefix}_error"]
            assert told in troubles
            assert told in TROUBLES
            assert "s3cret" not in repr(samples)
            await rounds.close()


async def test_a_server_that_never_stops_costs_no_memory() -> None:
    import asyncpg  # noqa: F401  # its import is not what is measured

    for handler in (huge_message, endless_rows):
        async with fake(handler) as (port, _came):
            for _, collector in collectors(port):
                tracemalloc.start()
                await FanOut(collector, 5).collect()
                _, peak = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                await collector.close()
                assert peak < 6 * MOST


async def test_rounds_that_hang_leave_no_connection_behind() -> None:
    open_now = [0, 0]

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now[0] += 1
        open_now[1] = max(open_now)
        try:
            await silent_after_login(reader, writer)
        finally:
            open_now[0] -= 1

    async with fake(hang) as (port, came):
        rounds = FanOut(collectors(port)[0][1], 0.2)
        for _ in range(5):
            await rounds.collect()
        assert came[0] == 5
        assert open_now[1] <= 2
        await rounds.close()


async def test_a_refused_certificate_demand_is_tls() -> None:
    async with fake(startup) as (port, _came):
        collector = Postgres(Options(dsn=f"postgres://127.0.0.1:{port}/x?sslmode=require"))
        assert value(await collector.probe("x"), "pg_error", "tls") == 1
        await collector.close()


async def test_after_a_login_that_hung_the_next_ones_wait_longer_and_longer() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader, writer)
        await reader.read()

    async with fake(hang) as (port, came):
        collector = collectors(port)[0][1]
        rounds, tried = FanOut(collector, 0.1), []
        for number in range(17):
            before = came[0]
            samples = list(await rounds.collect())
            assert value(samples, "pg_error", "timeout") == 1
            tried += [number] * (came[0] - before)
        assert tried == [0, 2, 5, 10, 15]
        await rounds.close()


async def test_a_server_that_is_gone_is_asked_every_round() -> None:
    async with fake(refusing("57P03")) as (port, came):
        rounds = FanOut(collectors(port)[0][1], 1)
        for _ in range(3):
            await rounds.collect()
        assert came[0] == 3
        await rounds.close()


def answering(said: bytes | None, question: bytes) -> Handler:
    """Lets us in, and has one row of this version, and this for one question: None hangs up."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader, writer)
        writer.write(WELCOME)
        while True:
            _, length = struct.unpack("!ci", await reader.readexactly(5))
            asked = await reader.readexactly(length - 4)
            if question in asked:
                if said is None:
                    return
                writer.write(said)
            elif b"version()" in asked:
                writer.write(columns("a", "b", "c") + row("PostgreSQL 15.1", "15.1", "150001"))
            elif b"pg_conf_load_time" in asked:
                writer.write(columns("a", "b") + row("x", "f"))
            writer.write(message(b"C", b"SELECT 1\0") + message(b"Z", b"I"))
            await writer.drain()

    return handler


def part_errors(samples: Iterable[Sample]) -> list[tuple[str, ...]]:
    return [one.labels[1:] for one in samples if one.family.name == "pg_scrape_collector_error"]


LOCKS = ("datname", "mode", "held")


@pytest.mark.parametrize(
    "said",
    [
        columns(*LOCKS) + row("d", "m", "no number, and a s3cret"),
        columns(*LOCKS) + row("d", "m"),
        columns(*LOCKS) + row("d", "m", "1", "1"),
        columns("one") + row("d"),
        columns(*LOCKS) + row("d", "m", "1") * 50_000,
        columns(*LOCKS) + row("x" * 3_000_000, "m", "1") * 3,
        columns(*[f"c{at}" for at in range(1000)]) + row(*["1"] * 1000),
    ],
)
async def test_a_part_that_is_answered_with_nonsense_fails_alone(said: bytes) -> None:
    async with fake(answering(said, b"sireadlock")) as (port, came):
        collector = collectors(port)[0][1]
        for _ in range(2):
            samples = list(await collector.probe("x"))
            assert value(samples, "pg_up") == 1
            assert part_errors(samples) == [("locks", "protocol")]
            assert "s3cret" not in repr(samples)
        assert came[0] == 1
        await collector.close()


@pytest.mark.parametrize("question", [b"sireadlock", b"SET search_path", b"SELECT 5"])
async def test_a_link_that_is_cut_is_a_reset(question: bytes) -> None:
    query = Query(prefix="q", sql="SELECT 5 AS n", columns={"n": "gauge"})
    async with fake(answering(None, question)) as (port, _came):
        collector = Postgres(Options(dsn=f"postgres://127.0.0.1:{port}/x", queries=(query,)))
        samples = list(await collector.probe("x"))
        assert value(samples, "pg_error", "reset") == 1
        assert {trouble for _, trouble in part_errors(samples)} <= {"reset"}
        await collector.close()


@pytest.mark.parametrize("private", [False, True])
async def test_the_password_is_told_over_a_socket_of_this_machine_alone(private: bool, tmp_path: Path) -> None:
    heard = bytearray()

    async def curious(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not private:
            await reader.readexactly(8)
            writer.write(b"N")
        (length,) = struct.unpack("!i", await reader.readexactly(4))
        await reader.readexactly(length - 4)
        writer.write(demand(3))
        heard.extend(await reader.read(100))
        writer.close()

    if private:
        server = await asyncio.start_unix_server(curious, tmp_path / ".s.PGSQL.5432")
        dsn = f"postgres:///x?host={tmp_path}"
    else:
        server = await asyncio.start_server(curious, "127.0.0.1", 0)
        dsn = f"postgres://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    async with server:
        collector = Postgres(Options(dsn=dsn, password=Secret("s3cret")))
        samples = list(await collector.probe("x"))
        await collector.close()
    assert (b"s3cret" in heard) == private
    assert value(samples, "pg_error", "plugin") == (None if private else 1)
