"""The default rules beside real servers: sound ones make nothing fire, one that is gone makes its rule fire."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

import pytest

from agent.model import Prober
from agent.promql import Moment, parse_query, window_of
from agent.stamper import Stamper
from collectors.mysql import Mysql
from collectors.pgbouncer import Pgbouncer
from collectors.postgres import Postgres
from collectors.redis import Redis
from config import Secret
from tests.conftest import free_port
from tests.servers import mysql_servers, postgres_servers
from tests.servers.mysql_servers import MysqlServer
from tests.servers.postgres_servers import PgbouncerServer, PostgresServer
from tests.servers.redis_servers import redis_cluster, redis_replica, redis_sentinel, redis_server

pytestmark = pytest.mark.servers


async def firing(collector: Any) -> set[str]:
    """The rules of a collector of one target that fire in two rounds."""
    assert isinstance(collector, Prober)
    stamper = Stamper("test", [{"agent": "here", "job": "test"}])
    queries = {rule.alert: parse_query(rule.expr) for rule in collector.rules}
    window = window_of(queries.values())
    (target,) = await collector.targets()
    for _ in range(2):
        batch = stamper.stamp(round(time.time() * 1000), await collector.probe(target))[0]
        window.take([batch])
    await collector.close()
    at = Moment(batch.time_ms / 1000, [batch], window, brief=True)
    return {name for name, query in queries.items() if not query.needs_history and query.evaluate(at)}


def of_redis(url: str) -> Redis:
    return Redis(Redis.Options(url=url))


async def test_a_sound_redis_its_replica_and_its_sentinel_make_nothing_fire(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        master = stack.enter_context(redis_server(tmp_path / "master", "maxmemory 100mb", "appendonly yes"))
        replica = stack.enter_context(redis_replica(master, tmp_path / "replica"))
        sentinel = stack.enter_context(redis_sentinel(master, tmp_path / "sentinel"))
        for server in (master, replica, sentinel):
            assert await firing(of_redis(server.url)) == set()


async def test_the_nodes_of_a_sound_cluster_make_nothing_fire(tmp_path: Path) -> None:
    with redis_cluster(tmp_path / "cluster") as nodes:
        assert await asyncio.gather(*[firing(of_redis(node.url)) for node in nodes]) == [set()] * len(nodes)


async def test_a_redis_that_is_not_there_is_down() -> None:
    assert await firing(of_redis(f"redis://127.0.0.1:{free_port()}")) == {"RedisDown"}


async def test_of_a_sound_postgres_and_its_standby_fires_what_is_true_of_them(
    postgres: PostgresServer, standby: PostgresServer
) -> None:
    for server in (postgres, standby):
        options = Postgres.Options(
            dsn=server.dsn(), password=Secret(postgres_servers.PASSWORD), enable=("database_wraparound",)
        )
        assert await firing(Postgres(options)) == {"PostgresFsyncOff"}, "the tests' servers are set up like that"


async def test_a_sound_pgbouncer_makes_nothing_fire(pgbouncer: PgbouncerServer) -> None:
    options = Pgbouncer.Options(url=pgbouncer.url, password=Secret(postgres_servers.PASSWORD))
    assert await firing(Pgbouncer(options)) == set()


async def test_a_sound_mysql_and_its_replica_make_nothing_fire(mysql: MysqlServer, replica: MysqlServer) -> None:
    for server in (mysql, replica):
        options = Mysql.Options(url=server.url(), password=Secret(mysql_servers.PASSWORD))
        assert await firing(Mysql(options)) == set()
