"""The PostgreSQL collector where others have set traps in a real server: functions, locks, big answers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from agent.fanout import FanOut
from collectors.postgres import Options, Postgres
from collectors.postgres.options import Query
from config import Secret
from tests.servers.postgres_servers import PASSWORD, PostgresServer
from tests.servers.test_postgres import look, options, value

pytestmark = pytest.mark.servers


async def test_a_big_answer_of_a_query_is_cut_and_costs_nothing_else(postgres: PostgresServer) -> None:
    many = Query(prefix="many", sql="SELECT n FROM generate_series(1, 1000000) n", columns={"n": "gauge"})
    long = Query(prefix="long", sql="SELECT 1 AS n, repeat('x', 20000000) AS t", columns={"n": "gauge", "t": "label"})
    odd = Query(prefix="odd", sql="SELECT 1 AS n, true AS a, 'c'::\"char\" AS b, '{1}'::int[] AS c, row(1, 2) AS d",
                columns={"n": "gauge", **dict.fromkeys("abcd", "label")})  # type: ignore[arg-type]  # fmt: skip
    two = Query(prefix="two", sql="SELECT 1 AS n; SELECT 2 AS n", columns={"n": "gauge"})
    collector = Postgres(options(postgres, queries=(many, long, odd, two)))
    pid = "SELECT pid FROM pg_stat_activity WHERE application_name = 'nightjar'"
    samples, first = await look(collector), postgres.psql(pid)
    assert sum(one.family.name == "many_n" for one in samples) == 5000
    assert value(samples, "long_n", "x" * 256) == 1
    assert value(samples, "odd_n", "true", "c", "{1}", "(1,2)") == 1
    assert value(samples, "pg_scrape_collector_error", "two", "query") == 1
    assert value(await look(collector), "pg_up") == 1
    assert postgres.psql(pid) == first
    await collector.close()


@pytest.fixture
def mallory(postgres: PostgresServer) -> Iterator[None]:
    """Somebody who may create functions in `public`, as everybody could before PostgreSQL 15, and has done so."""
    grant = "ALTER ROLE mallory SUPERUSER"
    postgres.psql("CREATE ROLE mallory; GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC; CREATE SCHEMA shop")
    postgres.psql(
        "SET ROLE mallory; CREATE FUNCTION public.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS "
        f"$$ BEGIN EXECUTE '{grant}'; RETURN QUERY SELECT pg_catalog.unnest($1); END $$"
    )
    postgres.psql("CREATE TABLE shop.orders AS SELECT 3 AS n; ALTER ROLE postgres SET search_path = shop, public")
    try:
        yield
    finally:
        postgres.psql("RESET ROLE; ALTER ROLE postgres RESET search_path; DROP SCHEMA shop CASCADE")
        postgres.psql("DROP OWNED BY mallory; REVOKE CREATE ON SCHEMA public FROM PUBLIC; DROP ROLE mallory")


async def test_nobodys_function_runs_as_us_and_queries_have_the_path_of_the_role(
    postgres: PostgresServer, mallory: None
) -> None:
    query = Query(prefix="mine", sql="SELECT n FROM orders", columns={"n": "gauge"})
    dsn = f"postgres://postgres@:{postgres.port}/postgres?host={postgres.folder}"
    collector = Postgres(Options(dsn=dsn, queries=(query,)))
    for _ in range(2):
        samples = await look(collector)
        assert value(samples, "pg_exporter_last_scrape_error") == 0
        assert value(samples, "mine_n") == 3
    await collector.close()
    assert postgres.psql("SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'") == "f"


async def test_a_catalogue_that_logins_read_is_locked_and_few_backends_hang(postgres: PostgresServer) -> None:
    locker = await asyncpg.connect(host=str(postgres.folder), port=postgres.port, user="postgres", database="postgres")
    rounds = FanOut(Postgres(options(postgres)), 0.3)
    async with locker.transaction():
        await locker.execute("LOCK TABLE pg_authid IN ACCESS EXCLUSIVE MODE")
        for _ in range(9):
            assert value(list(await rounds.collect()), "pg_error", "timeout") == 1
        pid = (postgres.data / "postmaster.pid").read_text().split()[0]
        shown = subprocess.run(["ps", "--ppid", pid, "-o", "args="], capture_output=True, text=True, check=True).stdout
        assert 1 <= sum("authentication" in line for line in shown.splitlines()) <= 3
    await locker.close()
    await rounds.close()


async def test_a_password_that_was_changed_in_its_file_is_read_at_the_next_login(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    collector = Postgres(options(postgres, password=Secret(PASSWORD, file.read_text)))
    assert value(await look(collector), "pg_up") == 1
    try:
        postgres.psql("ALTER ROLE nightjar PASSWORD 'another'")
        file.write_text("another")
        postgres.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'nightjar'")
        await look(collector)
        assert value(await look(collector), "pg_up") == 1
    finally:
        postgres.psql(f"ALTER ROLE nightjar PASSWORD '{PASSWORD}'")
        await collector.close()
