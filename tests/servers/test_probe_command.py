"""`nightjar probe` at real Redis, PostgreSQL, pgbouncer and MariaDB: verdicts, and output read strictly."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.nagios_parser import Output, parse_output
from tests.running import NIGHTJAR
from tests.servers.mysql_servers import MysqlServer
from tests.servers.postgres_servers import PASSWORD, PgbouncerServer, PostgresServer
from tests.servers.redis_servers import PASSWORD as REDIS_PASSWORD
from tests.servers.redis_servers import USER, RedisServer

pytestmark = pytest.mark.servers

RANGES = ("-w", "5", "-c", "9")
LOGIN = ("--password", "${env:OF_TESTS}")


def probe(*arguments: str, password: str = PASSWORD) -> Output:
    """What a call says; it exits as it says, and the password is not in it."""
    done = subprocess.run(
        [NIGHTJAR, "probe", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={**os.environ, "OF_TESTS": password},
    )
    assert done.stderr == ""
    assert password not in done.stdout
    said = parse_output(done.stdout)
    assert said.code == done.returncode
    return said


def test_redis_is_probed(redis_single: RedisServer) -> None:
    target = f"127.0.0.1:{redis_single.port}"
    said = probe("redis", target, *RANGES, "-vv")
    assert (said.word, said.status) == ("REDIS", "OK")
    assert said.text.startswith(f"{target} is up")
    assert any(line.startswith("redis_memory_used_bytes{") for line in said.long)
    assert probe("redis", redis_single.url, "--expr", "redis_connected_clients", "-c", "1:100").status == "OK"
    said = probe("redis", target, "--keys", "queue:jobs", "--expr", "redis_key_size", "-w", "4")
    assert (said.status, said.values[0].value) == ("WARNING", 5)
    assert probe("redis", target).status in ("OK", "WARNING")


def test_redis_behind_a_login_and_tls_is_probed(redis_locked: RedisServer) -> None:
    tls = redis_locked.folder.parent / "tls"
    files = ("--ca-file", f"{tls}/ca.pem", "--cert-file", f"{tls}/client.pem", "--key-file", f"{tls}/client.key")
    target = f"rediss://127.0.0.1:{redis_locked.tls_port}"  # type: ignore[attr-defined]  # the fixture's
    login = ("--username", USER, *LOGIN)
    assert probe("redis", target, *files, *login, *RANGES, password=REDIS_PASSWORD).status == "OK"
    said = probe("redis", target, *files, *login, *RANGES, password="s3cret-and-wrong")
    assert (said.status, said.text.endswith("is down: auth")) == ("CRITICAL", True)


def test_postgres_is_probed(postgres: PostgresServer) -> None:
    target = f"127.0.0.1:{postgres.port}"
    said = probe("postgres", target, *LOGIN, *RANGES, "-v")
    assert (said.word, said.status) == ("POSTGRES", "OK")
    assert said.text.startswith(f"{target} is up")
    assert any(line.startswith("pg_up ") for line in said.long)
    said = probe("postgres", postgres.dsn(), *LOGIN, "--expr", "pg_settings_max_connections", "-c", "30:30")
    assert (said.status, said.values[0].value) == ("OK", 30)
    query = '{"prefix": "shop", "sql": "SELECT count(*) AS things FROM things", "columns": {"things": "gauge"}}'
    postgres.psql("GRANT SELECT ON things TO nightjar")
    said = probe("postgres", target, *LOGIN, "--queries", query, "--expr", "shop_things > 999")
    assert (said.status, said.values[0].value) == ("CRITICAL", 1000)


def test_postgres_is_judged_by_its_default_rules(postgres: PostgresServer) -> None:
    said = probe("postgres", f"127.0.0.1:{postgres.port}", *LOGIN)
    assert said.status == "WARNING"
    assert "fsync is off" in said.text, "as the server of these tests has it"
    assert [(one.value, one.warn) for one in said.values if one.label == "PostgresFsyncOff"] == [(0, "@0")]


def test_postgres_refuses_a_wrong_password(postgres: PostgresServer) -> None:
    said = probe("postgres", f"127.0.0.1:{postgres.port}", *LOGIN, password="s3cret-and-wrong")
    assert said.status == "CRITICAL"
    assert f"127.0.0.1:{postgres.port} is down: " in said.text


def test_pgbouncer_is_probed(pgbouncer: PgbouncerServer) -> None:
    said = probe("pgbouncer", f"127.0.0.1:{pgbouncer.port}", *LOGIN, *RANGES)
    assert (said.word, said.status) == ("PGBOUNCER", "OK")
    assert probe("pgbouncer", pgbouncer.url, *LOGIN, "--expr", "pgbouncer_up", "-c", "1:").status == "OK"


def test_mysql_is_probed(mysql: MysqlServer) -> None:
    target = f"127.0.0.1:{mysql.port}"
    said = probe("mysql", target, *LOGIN, *RANGES, "-v")
    assert (said.word, said.status) == ("MYSQL", "OK")
    assert any(line.startswith("mysql_up ") for line in said.long)
    rate = "rate(mysql_global_status_queries[5m])"
    said = probe("mysql", "-H", "127.0.0.1", "-p", str(mysql.port), *LOGIN, "--expr", rate, "-c", "0:1000000")
    assert said.status == "OK"
    assert said.values[0].value > 0
    assert probe("mysql", mysql.url(), *LOGIN, password="s3cret-and-wrong").status == "CRITICAL"
