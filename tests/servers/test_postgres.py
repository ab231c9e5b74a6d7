"""The PostgreSQL and pgbouncer collectors beside real servers, and beside the exporters people run today."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from agent.fanout import FanOut
from agent.model import Sample
from collectors.host.exposition import parse_exposition
from collectors.pgbouncer import Pgbouncer
from collectors.postgres import Options, Postgres
from collectors.postgres.options import Query
from config import Duration, Secret
from tests.conftest import free_port
from tests.daemon import get, within
from tests.running import Running, eventually
from tests.servers.postgres_servers import PASSWORD, PgbouncerServer, PostgresServer

pytestmark = pytest.mark.servers

OWN = re.compile(r"go_|process_|promhttp_|postgres_exporter_|pgbouncer_exporter_")  # the exporters about themselves
# pg_stat_archiver_last_archive_age: NaN there while nothing was archived, left out here (and there since 0.20).
WITHOUT = {"pg_stat_archiver_last_archive_age"}
# What an exporter's own session sets differs from ours: lib/pq asks for two more digits.
SESSION = {"pg_settings_extra_float_digits"}
# `server` was the legacy half's own word for what `instance` says, and is gone in 0.20.
# `slot_name` of pg_stat_replication is the process id in 0.19, the slot's name since 0.20.
DROPPED = {("", "server"), ("pg_stat_replication", "slot_name")}
MOVING = re.compile(
    r"pg_(stat_activity|exporter|scrape_collector|locks|replication_|stat_replication|wal_|database_size"
    r"|stat_user_tables_(n_|last_|table_size|autovacuum|autoanalyze)|stat_database_numbackends"
    r"|settings_(transaction_|in_hot_standby))|pgbouncer_"
)

Labels = tuple[tuple[str, str], ...]


class Metrics(NamedTuple):
    """Types and series by metric name."""

    kinds: dict[str, str]
    series: dict[str, dict[Labels, float]]


def kept(metric: str, labels: dict[str, str]) -> Labels:
    gone = {label for prefix, label in DROPPED if metric.startswith(prefix)} | {"instance"}
    return tuple(sorted((name, value) for name, value in labels.items() if value and name not in gone))


def read_theirs(text: str) -> Metrics:
    found = Metrics({}, {})
    for group in parse_exposition(text):
        if not OWN.match(group.name):
            found.kinds[group.name] = group.kind
            found.series[group.name] = {
                kept(group.name, dict(one.labels)): float(one.value)  # type: ignore[arg-type]  # no histograms there
                for one in group.exposed
            }
    return found


def read_ours(samples: list[Sample]) -> Metrics:
    found = Metrics({}, {})
    for family, labels, value, _extra in samples:
        found.kinds[family.name] = family.kind
        series = found.series.setdefault(family.name, {})
        key = kept(family.name, dict(zip(family.labels, labels, strict=True)))
        assert key not in series, f"twice: {family.name} {key}"
        assert isinstance(value, float)
        series[key] = value
    return found


def differences(before: Metrics, ours: Metrics, after: Metrics) -> Iterator[str]:
    """What of theirs is missing from ours or unlike it; values must lie between two looks of theirs."""
    for name in sorted(before.kinds.keys() & after.kinds.keys() - WITHOUT):
        if name not in ours.kinds:
            yield f"missing: {name} ({before.kinds[name]})"
            continue
        if ours.kinds[name] != before.kinds[name]:
            yield f"type: {name} is {before.kinds[name]}, ours {ours.kinds[name]}"
        moving = MOVING.match(name) or name in SESSION
        passing = name.startswith(("pg_stat_activity", "pgbouncer_client_connections"))
        for key in before.series[name].keys() & after.series[name].keys():
            if key not in ours.series[name]:
                if not passing:
                    yield f"missing: {name}{key}"
            elif not moving and not passing:
                yield from _value(name, key, before.series[name][key], ours.series[name][key], after.series[name][key])
        if {label for key in before.series[name] for label, _ in key} - {
            label for key in ours.series[name] for label, _ in key
        } and not passing:
            yield f"labels: {name}"


def _value(name: str, key: Labels, before: float, ours: float, after: float) -> Iterator[str]:
    low, high = sorted((before, after))
    if not low - 1e-6 * abs(low) <= ours <= high + 1e-6 * abs(high) and ours == ours:
        yield f"value: {name}{key} is {low} to {high}, ours {ours}"


@contextmanager
def exporter(program: str, *flags: str, **environ: str) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    command = [program, f"--web.listen-address={address}", "--log.level=error", *flags]
    with subprocess.Popen(command, env={**environ}, stderr=subprocess.DEVNULL) as process:
        try:
            within(20, lambda: get(f"http://{address}/metrics")[0] == 200, f"{program} answers")
            yield f"http://{address}/metrics"
        finally:
            process.terminate()


def options(server: PostgresServer, **more: object) -> Options:
    return Options(**{"dsn": server.dsn(), "password": Secret(PASSWORD), **more})  # type: ignore[arg-type]


async def look(collector: Postgres | Pgbouncer, rounds: int = 1) -> list[Sample]:
    for _ in range(rounds):
        samples = list(await collector.probe((await collector.targets())[0]))
    return samples


def value(samples: list[Sample], name: str, *labels: str) -> float | None:
    for family, values, number, _extra in samples:
        if family.name == name and values[1:] == labels:
            assert isinstance(number, float)
            return number
    return None


async def compare(collector: Postgres | Pgbouncer, url: str) -> None:
    await look(collector)
    before = read_theirs(get(url)[1])
    ours = read_ours(await look(collector))
    after = read_theirs(get(url)[1])
    await collector.close()
    faults = [*differences(before, ours, after)]
    print(f"\n{len(before.kinds)} families, {sum(map(len, before.series.values()))} series; {len(faults)} faults")
    print(*faults, sep="\n")
    print("only ours:", *sorted(ours.kinds.keys() - before.kinds.keys()))
    assert faults == []


@pytest.mark.parametrize("role", ["postgres", "standby"])
async def test_a_server_is_told_as_postgres_exporter_tells_it(
    role: str, peer: Callable[[str], str], request: pytest.FixtureRequest, standby: PostgresServer
) -> None:
    server: PostgresServer = request.getfixturevalue(role)
    environ = {"DATA_SOURCE_NAME": server.exporter_dsn}
    with exporter(peer("prometheus-postgres-exporter"), **environ) as url:
        await compare(Postgres(options(server)), url)


async def test_a_pooler_is_told_as_pgbouncer_exporter_tells_it(
    peer: Callable[[str], str], pgbouncer: PgbouncerServer
) -> None:
    url = f"postgres://nightjar:{PASSWORD}@127.0.0.1:{pgbouncer.port}"
    through = await asyncpg.connect(f"{url}/postgres", statement_cache_size=0, ssl=False)
    await through.fetchval("SELECT 1")
    flag = f"--pgBouncer.connectionString={url}/pgbouncer?sslmode=disable"
    with exporter(peer("prometheus-pgbouncer-exporter"), flag) as address:
        await compare(Pgbouncer(Pgbouncer.Options(url=pgbouncer.url, password=Secret(PASSWORD))), address)
    await through.close()


async def test_the_shipped_role_sees_all_parts_and_no_row_of_anybody(postgres: PostgresServer) -> None:
    from collectors.postgres.parts import PARTS

    collector = Postgres(options(postgres, enable=tuple(part.name for part in PARTS if not part.default)))
    samples = await look(collector)
    await collector.close()
    failed = [labels for family, labels, ok, _ in samples if family.name == "pg_scrape_collector_success" and not ok]
    assert failed == []
    ours = await asyncpg.connect(postgres.dsn(), password=PASSWORD, ssl=False)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await ours.fetch("SELECT * FROM things")
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)):
        await ours.execute("CREATE TABLE mine (id int)")
    await ours.close()


async def test_one_connection_is_kept_with_its_name_and_limits(postgres: PostgresServer) -> None:
    collector = Postgres(options(postgres))
    samples = await look(collector, 3)
    pids = postgres.psql("SELECT pid FROM pg_stat_activity WHERE application_name = 'nightjar'")
    assert re.fullmatch(r"\d+", pids)
    await look(collector)
    assert postgres.psql("SELECT pid FROM pg_stat_activity WHERE application_name = 'nightjar'") == pids
    assert value(samples, "pg_settings_statement_timeout_seconds") == 0  # the server's, not that of our session
    await collector.close()


async def test_the_pool_view_counts_connections_against_what_is_left(postgres: PostgresServer) -> None:
    others = [await asyncpg.connect(postgres.dsn(), password=PASSWORD, ssl=False) for _ in range(2)]
    await others[0].execute("BEGIN")
    collector = Postgres(options(postgres))
    samples = await look(collector)
    assert value(samples, "pg_connections", "idle in transaction") == 1
    assert value(samples, "pg_connections", "active") == 1
    assert value(samples, "pg_connections_limit") == 27
    assert (value(samples, "pg_connections_oldest_idle_in_transaction_seconds") or 0) > 0
    await asyncio.gather(collector.close(), *(other.close() for other in others))


async def test_with_every_table_locked_a_round_is_quick_and_nothing_piles_up(postgres: PostgresServer) -> None:
    locker = await asyncpg.connect(host=str(postgres.folder), port=postgres.port, user="postgres", database="postgres")
    collector = FanOut(Postgres(options(postgres)), 10)
    await collector.collect()
    async with locker.transaction():
        await locker.execute("LOCK TABLE things IN ACCESS EXCLUSIVE MODE")
        samples = list(await collector.collect())
        assert value(samples, "pg_scrape_collector_success", "stat_user_tables") == 1
        assert value(samples, "pg_stat_user_tables_seq_scan", "postgres", "public", "things") is not None
        assert value(samples, "pg_stat_user_tables_table_size_bytes", "postgres", "public", "things") is None
        catalogue = await locker.fetchval(
            "SELECT string_agg(quote_ident(relname), ', ') FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = 'pg_catalog'::regnamespace AND has_table_privilege(oid, 'UPDATE')"
        )
        await locker.execute(f"LOCK TABLE {catalogue} IN ACCESS EXCLUSIVE MODE")
        for _ in range(3):
            samples = list(await asyncio.wait_for(collector.collect(), 9))
            assert value(samples, "pg_up") == 1
            assert value(samples, "pg_scrape_collector_error", "roles", "locked") == 1
        backends = "SELECT count(*) FROM pg_stat_get_activity(NULL) WHERE application_name = 'nightjar'"
        assert await locker.fetchval(backends) == 1
    assert value(list(await collector.collect()), "pg_scrape_collector_success", "roles") == 1
    await collector.close()
    await locker.close()


async def test_what_was_found_before_the_deadline_is_kept_and_the_backend_goes(postgres: PostgresServer) -> None:
    slow = Query(prefix="slow", sql="SELECT 1 AS n FROM pg_sleep(60)", columns={"n": "gauge"})
    collector = FanOut(Postgres(options(postgres, queries=(slow,), statement_timeout=Duration("50s"))), 1.5)
    samples = list(await collector.collect())
    assert value(samples, "pg_up") == 1
    assert value(samples, "pg_scrape_collector_error", "slow", "timeout") == 1
    assert value(samples, "pg_database_size_bytes", "postgres") is not None
    alive = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'nightjar'"
    await asyncio.to_thread(eventually, lambda: postgres.psql(alive) == "0", "the backend that slept is gone")
    await collector.close()


async def test_queries_of_the_configuration_become_metrics_and_cannot_write(postgres: PostgresServer) -> None:
    columns = {"kind": "label", "n": "gauge", "total": "counter"}
    good = Query(prefix="shop", sql="SELECT 'a' AS kind, 1.5 AS n, 7 AS total;", columns=columns)  # type: ignore[arg-type]
    bad = Query(prefix="bad", sql="SELECT nothing", columns={"n": "gauge"})
    text = Query(prefix="text", sql="SELECT 'x' AS n", columns={"n": "gauge"})
    writes = Query(prefix="writes", sql="CREATE TEMP TABLE n (n int)", columns={"n": "gauge"})
    collector = Postgres(options(postgres, queries=(good, bad, text, writes)))
    samples = await look(collector, 2)
    assert value(samples, "shop_n", "a") == 1.5
    assert value(samples, "shop_total", "a") == 7
    for name in ("bad", "text", "writes"):
        assert value(samples, "pg_scrape_collector_success", name) == 0
    assert value(samples, "pg_scrape_collector_error", "bad", "query") == 1
    await collector.close()


async def test_replication_is_seen_from_both_sides(postgres: PostgresServer, standby: PostgresServer) -> None:
    ours = [Postgres(options(server)) for server in (postgres, standby)]
    primary, replica = [await look(one) for one in ours]
    assert value(primary, "pg_replication_is_replica") == 0
    assert value(replica, "pg_replication_is_replica") == 1
    assert value(replica, "pg_replication_lag") == value(replica, "pg_replication_lag_seconds")
    for name in ("pg_replication_slot_slot_is_active", "pg_replication_slots_slot_is_active"):
        assert value(primary, name, "standby", "physical") == 1
    assert value(primary, "pg_stat_replication_pg_wal_lsn_diff", "walreceiver", "", "streaming", "standby") is not None
    await asyncio.gather(*(one.close() for one in ours))


@pytest.mark.parametrize(
    ("more", "trouble"),
    [
        ({"password": Secret("wrong")}, "auth"),
        ({"dsn": "postgres://nightjar@127.0.0.1:1/postgres"}, "refused"),
        ({"dsn": "postgres://nightjar@nowhere.invalid/postgres"}, "resolve"),
        ({"dsn": "postgres:///postgres?host=/nowhere"}, "refused"),
    ],
)
async def test_a_server_that_does_not_let_us_in_is_a_sample_with_a_class(
    more: dict[str, object], trouble: str, postgres: PostgresServer
) -> None:
    collector = Postgres(options(postgres, **more))
    samples = await look(collector)
    assert (value(samples, "pg_up"), value(samples, "pg_error", trouble)) == (0, 1)
    await collector.close()


async def test_a_full_server_is_told_as_such_and_a_missing_database_as_auth(postgres: PostgresServer) -> None:
    collector = Postgres(options(postgres, dsn=postgres.dsn(database="nothing")))
    assert value(await look(collector), "pg_error", "auth") == 1
    await collector.close()
    postgres.psql("ALTER ROLE nightjar CONNECTION LIMIT 0")
    collector = Postgres(options(postgres))
    try:
        assert value(await look(collector), "pg_error", "too_many_connections") == 1
    finally:
        postgres.psql("ALTER ROLE nightjar CONNECTION LIMIT 5")
    assert value(await look(collector), "pg_up") == 1
    await collector.close()


@pytest.mark.parametrize(
    ("mode", "authority", "name", "expected"),
    [
        ("verify-full", True, "localhost", None),
        ("verify-full", True, None, "tls"),  # the certificate is not for 127.0.0.1
        ("verify-ca", True, None, None),
        ("verify-full", False, "localhost", "tls"),
        ("require", False, None, None),
        ("prefer", False, None, None),
    ],
)
async def test_tls_is_verified_as_asked(
    mode: str, authority: bool, name: str | None, expected: str | None, postgres: PostgresServer
) -> None:
    ca_file = str(postgres.folder / "ca.pem") if authority else None
    dsn = postgres.dsn(more=f"?sslmode={mode}")
    collector = Postgres(options(postgres, dsn=dsn, ca_file=ca_file, server_name=name))
    samples = await look(collector)
    if expected is None:
        assert value(samples, "pg_up") == 1
        secure = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'nightjar'"
        assert postgres.psql(secure) == "t"
    else:
        assert value(samples, "pg_error", expected) == 1
    await collector.close()


async def test_a_restart_costs_at_most_a_round(postgres: PostgresServer) -> None:
    collector = Postgres(options(postgres))
    assert value(await look(collector), "pg_up") == 1
    postgres.stop()
    down = await look(collector, 2)
    assert value(down, "pg_up") == 0
    assert value(down, "pg_error", "refused") == 1
    postgres.start()
    assert value(await look(collector), "pg_up") == 1
    await collector.close()


async def test_a_pooler_keeps_one_connection_and_names_a_wrong_password(pgbouncer: PgbouncerServer) -> None:
    collector = Pgbouncer(Pgbouncer.Options(url=pgbouncer.url, password=Secret(PASSWORD)))
    samples = await look(collector, 3)
    assert value(samples, "pgbouncer_up") == 1
    assert value(samples, "pgbouncer_client_connections", "pgbouncer", "nightjar", "nightjar", "active") == 1
    await collector.close()
    wrong = Pgbouncer(Pgbouncer.Options(url=pgbouncer.url, password=Secret("wrong")))
    assert value(await look(wrong), "pgbouncer_error", "auth") == 1
    await wrong.close()


async def test_what_is_no_console_of_ours_has_a_reason(postgres: PostgresServer, pgbouncer: PgbouncerServer) -> None:
    """A user who is not in `stats_users`, a dead port, a server, and a database in place of the console."""
    places = {
        pgbouncer.url.replace("nightjar@", "stranger@"): "auth",
        f"postgres://nightjar@127.0.0.1:{free_port()}/pgbouncer": "refused",
        f"postgres://nightjar@127.0.0.1:{postgres.port}/pgbouncer": "auth",
        f"postgres://nightjar@127.0.0.1:{postgres.port}/postgres": "query",
    }
    for url, trouble in places.items():
        collector = Pgbouncer(Pgbouncer.Options(url=url, password=Secret(PASSWORD)))
        samples = await look(collector)
        assert value(samples, "pgbouncer_up") == 0, url
        assert value(samples, "pgbouncer_error", trouble) == 1, samples
        await collector.close()


def test_the_agent_serves_both(postgres: PostgresServer, pgbouncer: PgbouncerServer, tmp_path: Path) -> None:
    port = free_port()
    dsn = postgres.dsn(more="?sslmode=require")
    config = (
        f'[agent]\nlisten = "127.0.0.1:{port}"\ninterval = "1s"\n'
        f'[collectors.postgres]\ndsn = "{dsn}"\npassword = "${{env:PGSECRET}}"\n'
        f'[collectors.pgbouncer]\nurl = "{pgbouncer.url}"\npassword = "${{env:PGSECRET}}"\n'
    )
    with Running(tmp_path, config, PGSECRET=PASSWORD) as agent:
        agent.start()
        address = f"http://127.0.0.1:{port}/metrics"
        for metric, job, at in (("pg_up", "postgres", postgres.port), ("pgbouncer_up", "pgbouncer", pgbouncer.port)):
            line = re.compile(rf'{metric}{{agent="[^"]+",instance="127.0.0.1:{at}",job="{job}"}} 1')
            within(15, lambda line=line: line.search(get(address)[1]), f"{metric} is 1")  # type: ignore[misc]
        assert PASSWORD not in get(address)[1] + agent.log_text()
