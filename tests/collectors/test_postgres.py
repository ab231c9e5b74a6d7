"""The PostgreSQL and pgbouncer collectors: pure parts, and servers that hang, lie and never stop."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import struct
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.fanout import FanOut
from agent.model import Sample
from collectors.pgbouncer import POOLS, Pgbouncer, read_table
from collectors.postgres import METRICS, Options, Postgres, short_version
from collectors.postgres.custom import Custom, parse_label, parse_number
from collectors.postgres.errors import TROUBLES
from collectors.postgres.options import Query, parse_dsn
from collectors.postgres.parts import PARTS
from collectors.postgres.settings import Settings, parse_setting
from collectors.postgres.statements import gauges, read_rows
from collectors.postgres.tap import Tap, parse_columns, parse_row
from collectors.postgres.wire import MOST
from config import Secret

VERSIONS = (120000, 130000, 140000, 150000, 160000, 170000, 180000)


# -- the address ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dsn", "instance", "user", "database"),
    [
        ("postgres://db", "db:5432", "nightjar", "nightjar"),
        ("postgresql://me:pw@db:6000/shop?sslmode=require", "db:6000", "me", "shop"),
        ("postgres://a%40b@[::1]:5433/x%20y", "[::1]:5433", "a@b", "x y"),
        ("postgres:///shop?host=/run/postgresql", "/run/postgresql/.s.PGSQL.5432", "nightjar", "shop"),
    ],
)
def test_a_dsn_is_one_server(dsn: str, instance: str, user: str, database: str) -> None:
    target = parse_dsn(dsn)
    assert (target.instance, target.user, target.database) == (instance, user, database)
    assert "pw" not in repr(target)


@pytest.mark.parametrize(
    "dsn",
    [
        *("mysql://s3cret@db", "postgres://s3cret@a,b/x", "postgres://s3cret@db:99999/x", "s3cret"),
        *("postgres://db/x?s3cret=1", "postgres://db/x?sslmode=s3cret", "postgres://db/x?host=/s3cret", "postgres://["),
    ],
)
def test_what_is_wrong_with_a_dsn_is_told_without_it(dsn: str) -> None:
    with pytest.raises(ValueError, match=r".") as told:
        Options(dsn=dsn)
    assert "s3cret" not in str(told.value)


@given(st.text())
def test_any_text_is_a_target_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_dsn(text).instance


@pytest.mark.parametrize(
    ("more", "mode"),
    [({}, "prefer"), ({"ca_file": "x"}, "verify-full"), ({"insecure_skip_verify": True}, "require")],
)
def test_tls_is_what_the_options_amount_to(more: dict[str, object], mode: str) -> None:
    assert Options(**more).sslmode == mode  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "more",
    [
        {"dsn": "postgres://a:b@c", "password": Secret("x")},
        {"key_file": "x"},
        {"dsn": "postgres://c?sslmode=disable", "ca_file": "x"},
        {"dsn": "postgres://c?sslmode=verify-full", "insecure_skip_verify": True},
        {"disable": ("nothing",)},
        {"queries": (Query(prefix="a", sql="SELECT 1", columns={"b": "label"}),)},
        {"queries": (Query(prefix="a", sql="SELECT 1", columns={"b-c": "gauge"}),)},
        {"queries": (Query(prefix="a", sql="SELECT 1", columns={"n": "gauge", "instance": "label"}),)},
    ],
)
def test_options_that_contradict_each_other_are_faults(more: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Options(**more)  # type: ignore[arg-type]


# -- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_asked_for_every_family_once(version: int) -> None:
    asked = [one for part in PARTS for one in part.statements if one.suits(version)]
    for statement in asked:
        assert len({family.labels for family in statement.families}) == 1
        assert statement.families[0].labels[0] == "instance"
    names = Counter(family.name for statement in asked for family in statement.families)
    assert [name for name, count in names.items() if count > 1] == []
    assert ("pg_stat_checkpointer_num_timed_total" in names) == (version >= 170000)
    assert ("pg_stat_bgwriter_checkpoints_timed_total" in names) == (version < 170000)


def test_no_family_is_declared_twice() -> None:
    names = Counter((family.name, family.labels) for family in METRICS)
    assert max(names.values()) == 1


def test_rows_become_samples_and_null_becomes_none() -> None:
    families = gauges("x", ("a",), {"b": "", "c": ""})
    samples = [*read_rows("i", families, [("l", 1.0, None), (None, None, 2.0)])]
    assert [(one.family.name, one.labels, one.value) for one in samples] == [
        ("x_b", ("i", "l"), 1.0),
        ("x_c", ("i", ""), 2.0),
    ]


@pytest.mark.parametrize(
    ("setting", "unit", "kind", "expected"),
    [
        ("on", "", "bool", (1.0, "")),
        ("off", "", "bool", (0.0, "")),
        ("100", "", "integer", (100.0, "")),
        ("-1", "kB", "integer", (-1.0, "bytes")),
        ("2", "8kB", "integer", (16384.0, "bytes")),
        ("2", "16MB", "integer", (33554432.0, "bytes")),
        ("1500", "ms", "integer", (1.5, "seconds")),
        ("5", "min", "integer", (300.0, "seconds")),
        ("0.5", "", "real", (0.5, "")),
        ("5MB", "MB", "integer", (5242880.0, "bytes")),
        ("5", "parsec", "integer", None),
        ("none", "", "integer", None),
    ],
)
def test_settings_are_in_seconds_and_bytes(
    setting: str, unit: str, kind: str, expected: tuple[float, str] | None
) -> None:
    assert parse_setting(setting, unit, kind) == expected


@given(st.text(), st.text(), st.sampled_from(["bool", "integer", "real"]))
def test_no_setting_is_too_odd(setting: str, unit: str, kind: str) -> None:
    parse_setting(setting, unit, kind)


def test_a_setting_keeps_its_family() -> None:
    settings = Settings()
    rows = [("my.own-limit", "1", "s", "integer")]
    (first,), (second,) = settings.read("i", rows), settings.read("i", rows)
    assert first.family is second.family
    assert first.family.name == "pg_settings_my_own_limit_seconds"


@pytest.mark.parametrize(
    ("text", "short"), [("15.18 (Debian 15.18-0)", "15.18.0"), ("17beta1", "171.0.0"), ("", "0.0"), ("16.3", "16.3.0")]
)
def test_versions_are_short(text: str, short: str) -> None:
    assert short_version(text) == short


def test_columns_of_a_query_become_numbers_and_labels() -> None:
    query = Query(prefix="q", sql="SELECT 1 ;", columns={"a": "label", "n": "gauge", "t": "counter"})
    custom = Custom(query)
    assert custom.sql == "SELECT 1"
    samples = [*custom.read("i", [{"a": None, "n": Decimal("1.5"), "t": 3}, {"a": "x" * 999, "n": None, "t": True}])]
    assert [one.value for one in samples] == [1.5, 3.0, 1.0]
    assert len(samples[2].labels[1]) == 256
    assert parse_number(datetime.timedelta(minutes=1)) == 60
    assert parse_number(datetime.datetime(1970, 1, 2)) == 86400
    assert parse_label(7) == "7"
    for odd in (b"x", "x", [1], 10**400):
        with pytest.raises(ValueError, match=r"."):
            parse_number(odd)


# -- the simple protocol ----------------------------------------------------------------------------------------------


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def columns(*names: str) -> bytes:
    return message(b"T", struct.pack("!H", len(names)) + b"".join(name.encode() + b"\0" + b"\0" * 18 for name in names))


def row(*values: str | None) -> bytes:
    fields = (
        struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value.encode() for value in values
    )
    return message(b"D", struct.pack("!H", len(values)) + b"".join(fields))


class Deaf(asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        pass


@given(st.lists(st.integers(1, 30), max_size=20))
def test_rows_are_read_however_they_come_in_pieces(pieces: list[int]) -> None:
    stream = columns("database", "cl_active") + row("a", "1") + row(None, "2") + message(b"C", b"SHOW\0")
    tap = Tap(Deaf())
    for piece in pieces:
        tap.data_received(stream[:piece])
        stream = stream[piece:]
    tap.data_received(stream)
    assert tap.take() == [{"database": "a", "cl_active": "1"}, {"database": "", "cl_active": "2"}]


@given(st.binary())
def test_no_bytes_break_the_parsers(body: bytes) -> None:
    for parse in (parse_columns, parse_row):
        try:
            parse(body)
        except (ValueError, struct.error):
            continue
    Tap(Deaf()).data_received(body)


def test_a_table_of_the_console_becomes_samples() -> None:
    rows = [{"database": "d", "user": "u", "cl_active": "3", "maxwait": "odd", "unheard_of": "1"}]
    ((family, labels, value, _),) = read_table(POOLS, "i", rows)
    assert (family.name, labels, value) == ("pgbouncer_pools_client_active_connections", ("i", "d", "u"), 3.0)


# -- bad servers ------------------------------------------------------------------------------------------------------

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
WELCOME = message(b"R", struct.pack("!i", 0)) + message(b"S", b"server_version\x0015.1\0") + message(b"Z", b"I")


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
        pytest.param(  # asyncpg's half-made connection complains when it is thrown away
            no_version,
            {"protocol"},
            marks=pytest.mark.filterwarnings("ignore:Exception ignored in.*Connection.__del__"),
        ),
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
