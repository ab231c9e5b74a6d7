"""The MySQL collector beside real servers, and beside the exporter people run today."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pymysql
import pytest

from agent.fanout import FanOut
from agent.model import Histogram, Sample, Value
from collectors.host.exposition import parse_exposition
from collectors.mysql import Mysql, Options
from config import Secret
from tests.conftest import free_port
from tests.daemon import get, within
from tests.running import Running, eventually
from tests.servers.mysql_servers import PASSWORD, MysqlServer

pytestmark = pytest.mark.servers

OWN = re.compile(r"go_|process_|promhttp_|mysqld_exporter_")  # the exporter about itself
ONLY_OURS = {"mysql_error", "mysql_exporter_collector_error"}  # the classes of failures
# What its own session, beside ours, makes of the server while it looks, and how long it looks.
MOVING = re.compile(r"mysql_(exporter_collector_duration|global_status_(memory_used|threads_))")

Labels = tuple[tuple[str, str], ...]


class Metrics(NamedTuple):
    """Types and series by metric name."""

    kinds: dict[str, str]
    series: dict[str, dict[Labels, float]]


def number(value: object) -> float:
    if isinstance(value, Histogram):
        return value.counts[-1]
    assert isinstance(value, float)
    return value


def read_theirs(text: str) -> Metrics:
    found = Metrics({}, {})
    for group in parse_exposition(text):
        if not OWN.match(group.name):
            found.kinds[group.name] = group.kind
            found.series[group.name] = {tuple(sorted(one.labels.items())): number(one.value) for one in group.exposed}
    return found


def read_ours(samples: list[Sample]) -> Metrics:
    found = Metrics({}, {})
    for family, labels, value, _extra in samples:
        found.kinds[family.name] = family.kind
        series = found.series.setdefault(family.name, {})
        key = tuple(sorted(zip(family.labels[1:], labels[1:], strict=True)))
        assert key not in series, f"twice: {family.name} {key}"
        series[key] = number(value)
    return found


def differences(before: Metrics, ours: Metrics, after: Metrics) -> Iterator[str]:
    """What is not the same on both sides; values must lie between two looks of theirs."""
    for name in sorted(before.kinds.keys() | ours.kinds.keys() - ONLY_OURS):
        if name not in ours.kinds or name not in before.kinds:
            yield f"missing: {name} ({'ours' if name in before.kinds else 'theirs'})"
            continue
        if ours.kinds[name] != before.kinds[name]:
            yield f"type: {name} is {before.kinds[name]}, ours {ours.kinds[name]}"
        yield from (f"missing: {name}{key} (ours)" for key in before.series[name].keys() - ours.series[name].keys())
        yield from (f"missing: {name}{key} (theirs)" for key in ours.series[name].keys() - before.series[name].keys())
        for key in before.series[name].keys() & ours.series[name].keys() & after.series[name].keys():
            low, high = sorted((before.series[name][key], after.series[name][key]))
            if not MOVING.match(name) and not low <= ours.series[name][key] <= high:
                yield f"value: {name}{key} is {low} to {high}, ours {ours.series[name][key]}"


@contextmanager
def exporter(program: str, server: MysqlServer) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    flags = (f"--mysqld.address=127.0.0.1:{server.port}", "--mysqld.username=nightjar", "--log.level=error")
    command = [program, f"--web.listen-address={address}", *flags]
    with subprocess.Popen(command, env={"MYSQLD_EXPORTER_PASSWORD": PASSWORD}, stderr=subprocess.DEVNULL) as process:
        try:
            within(20, lambda: "mysql_up 1" in get(f"http://{address}/metrics")[1], "the exporter answers")
            yield f"http://{address}/metrics"
        finally:
            process.terminate()


def options(server: MysqlServer, **more: object) -> Options:
    return Options(**{"url": server.url(), "password": Secret(PASSWORD), **more})  # type: ignore[arg-type]


async def look(collector: Mysql, rounds: int = 1) -> list[Sample]:
    for _ in range(rounds):
        samples = list(await collector.probe((await collector.targets())[0]))
    return samples


def value(samples: list[Sample], name: str, *labels: str) -> Value | None:
    return next((one.value for one in samples if one.family.name == name and one.labels[1:] == labels), None)


def error(samples: list[Sample]) -> str:
    """The class of what keeps us from the server."""
    told = [one.labels[-1] for one in samples if one.family.name == "mysql_error"]
    assert value(samples, "mysql_up") == float(not told)
    return told[0] if told else ""


async def error_of(options: Options) -> str:
    collector = Mysql(options)
    told = error(await look(collector))
    await collector.close()
    return told


@pytest.mark.parametrize("role", ["mysql", "replica"])
async def test_a_server_is_told_as_mysqld_exporter_tells_it(
    role: str, peer: Callable[[str], str], request: pytest.FixtureRequest, replica: MysqlServer
) -> None:
    server: MysqlServer = request.getfixturevalue(role)
    plain = server.url(more="?sslmode=disable")  # as the exporter's: a session with TLS is told of its certificate
    collector = Mysql(options(server, url=plain))
    with exporter(peer("prometheus-mysqld-exporter"), server) as url:
        await look(collector)
        before = read_theirs(get(url)[1])
        ours = read_ours(await look(collector))
        after = read_theirs(get(url)[1])
    await collector.close()
    faults = [*differences(before, ours, after)]
    print(f"\n{len(before.kinds)} families, {sum(map(len, before.series.values()))} series; {len(faults)} faults")
    print(*faults, sep="\n")
    assert faults == []


async def test_the_shipped_user_is_enough_and_can_change_nothing(mysql: MysqlServer) -> None:
    collector = Mysql(options(mysql))
    samples = await look(collector)
    await collector.close()
    parts = {one.labels[1]: one.value for one in samples if one.family.name == "mysql_exporter_collector_success"}
    assert parts == dict.fromkeys(parts, 1.0)
    assert len(parts) == 6
    with pymysql.connect(host="127.0.0.1", port=mysql.port, user="nightjar", password=PASSWORD) as ours:
        for sql in ("SELECT * FROM shop.things", "CREATE DATABASE mine", "SET GLOBAL max_connections = 1"):
            with ours.cursor() as cursor, pytest.raises(pymysql.err.OperationalError):
                cursor.execute(sql)


async def test_what_a_user_may_not_see_fails_alone(mysql: MysqlServer) -> None:
    mysql.sql("CREATE OR REPLACE USER 'narrow'@'%' IDENTIFIED BY 'pw'")
    collector = Mysql(options(mysql, url=mysql.url("narrow"), password=Secret("pw")))
    samples = await look(collector)
    assert error(samples) == ""
    for part in ("slave_status", "info_schema.innodb_cmp", "info_schema.innodb_cmpmem"):
        assert value(samples, "mysql_exporter_collector_error", f"collect.{part}", "permission") == 1
    assert value(samples, "mysql_global_status_threads_connected") is not None
    await collector.close()


async def test_one_connection_is_kept_with_its_name_and_limits(mysql: MysqlServer) -> None:
    collector = Mysql(options(mysql))
    samples = await look(collector, 3)
    ids = "SELECT id FROM information_schema.processlist WHERE user = 'nightjar'"
    first = mysql.sql(ids)
    assert re.fullmatch(r"\d+", first)
    await look(collector)
    assert mysql.sql(ids) == first
    session = {
        name: (await collector._session.ask(f"SELECT @@{name}")).rows[0][0]
        for name in ("max_statement_time", "lock_wait_timeout")
    }
    assert session == {"max_statement_time": "2.000000", "lock_wait_timeout": "1"}
    assert value(samples, "mysql_global_variables_max_statement_time") == 0  # the server's, not that of our session
    assert value(samples, "mysql_global_variables_max_connections") == 12
    await collector.close()


async def test_replication_is_seen_from_the_replica(mysql: MysqlServer, replica: MysqlServer) -> None:
    primary, collector = Mysql(options(mysql)), Mysql(options(replica))
    labels = ("127.0.0.1", "", "", "east")
    samples = await look(collector)
    assert value(samples, "mysql_slave_status_slave_io_running", *labels) == 1
    assert value(samples, "mysql_slave_status_seconds_behind_master", *labels) == 0
    assert value(samples, "mysql_slave_status_master_port", *labels) == mysql.port
    assert value(samples, "mysql_slave_status_gtid_io_pos", *labels, "0", "1") is not None
    assert not any(one.family.name.startswith("mysql_slave_status") for one in await look(primary))
    replica.sql("STOP SLAVE 'east' IO_THREAD")
    try:
        assert value(await look(collector), "mysql_slave_status_slave_io_running", *labels) == 0
    finally:
        replica.sql("START SLAVE 'east'")
    await asyncio.gather(primary.close(), collector.close())


async def test_with_every_table_locked_a_round_is_whole_and_quick(mysql: MysqlServer) -> None:
    locker = pymysql.connect(host="127.0.0.1", port=mysql.port, user="root")
    collector = FanOut(Mysql(options(mysql)), 5)
    await collector.collect()
    for lock in ("LOCK TABLES shop.things WRITE, mysql.global_priv WRITE", "FLUSH TABLES WITH READ LOCK"):
        with locker.cursor() as cursor:
            cursor.execute(lock)
            for _ in range(3):
                samples = list(await asyncio.wait_for(collector.collect(), 2))
                assert error(samples) == ""
                assert value(samples, "mysql_exporter_collector_success", "collect.slave_status") == 1
            assert mysql.connections() == 1
            cursor.execute("UNLOCK TABLES")
    locker.close()
    await collector.close()


async def test_a_server_that_stands_still_is_late_and_nothing_piles_up(mysql: MysqlServer) -> None:
    collector = FanOut(Mysql(options(mysql)), 0.4)
    assert error(list(await collector.collect())) == ""
    assert mysql.process is not None
    freeze(mysql, still=True)
    try:
        for _ in range(4):
            started = time.monotonic()
            assert error(list(await collector.collect())) == "timeout"
            assert time.monotonic() - started < 0.6
    finally:
        freeze(mysql, still=False)
    await asyncio.to_thread(eventually, lambda: mysql.connections() == 0, "what was cut off is gone")
    while error(list(await collector.collect())):
        pass
    assert mysql.connections() == 1
    await collector.close()


def freeze(server: MysqlServer, *, still: bool) -> None:
    assert server.process is not None
    server.process.send(signal.SIGSTOP if still else signal.SIGCONT)


async def test_a_query_that_is_late_ends_at_the_server(mysql: MysqlServer) -> None:
    collector = Mysql(options(mysql))
    await look(collector)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(collector._session.ask("SELECT SLEEP(100)"), 0.2)
    collector._session.drop()
    await asyncio.to_thread(eventually, lambda: mysql.connections() == 0, "the query ended with its time")
    await collector.close()


@pytest.mark.parametrize(
    ("more", "trouble"),
    [
        ({"password": Secret("wrong")}, "auth"),
        ({"password": None}, "auth"),
        ({"url": "mysql://nobody@127.0.0.1:{port}"}, "auth"),
        ({"url": "mysql://nightjar@127.0.0.1:1"}, "refused"),
        ({"url": "mysql://nightjar@nowhere.invalid"}, "resolve"),
        ({"url": "mysql:///?socket=/nowhere.sock"}, "refused"),
    ],
)
async def test_a_server_that_does_not_let_us_in_is_a_sample_with_a_class(
    more: dict[str, object], trouble: str, mysql: MysqlServer
) -> None:
    if isinstance(more.get("url"), str):
        more = more | {"url": str(more["url"]).format(port=mysql.port)}
    assert await error_of(options(mysql, **more)) == trouble


async def test_a_full_server_is_told_as_such(mysql: MysqlServer) -> None:
    mysql.sql("CREATE OR REPLACE USER 'crowd'@'%'")
    with contextlib.ExitStack() as crowd:
        with contextlib.suppress(pymysql.err.OperationalError):
            for _ in range(20):
                crowd.enter_context(pymysql.connect(host="127.0.0.1", port=mysql.port, user="crowd"))
        assert await error_of(options(mysql)) == "too_many_connections"
    await asyncio.to_thread(eventually, lambda: crowd_is_gone(mysql), "there is room again")
    ours = [pymysql.connect(host="127.0.0.1", port=mysql.port, user="nightjar", password=PASSWORD) for _ in range(3)]
    assert await error_of(options(mysql)) == "too_many_connections"  # of those our user may have
    for one in ours:
        one.close()


def crowd_is_gone(server: MysqlServer) -> bool:
    return server.sql("SELECT count(*) FROM information_schema.processlist WHERE user = 'crowd'") == "0"


@pytest.mark.parametrize(
    ("mode", "authority", "name", "expected"),
    [
        ("verify-full", True, "localhost", ""),
        ("verify-full", True, None, "tls"),  # the certificate is not for 127.0.0.1
        ("verify-ca", True, None, ""),
        ("verify-full", False, "localhost", "tls"),
        ("require", False, None, ""),
        ("prefer", False, None, ""),
    ],
)
async def test_tls_is_verified_as_asked(
    mode: str, authority: bool, name: str | None, expected: str, mysql: MysqlServer
) -> None:
    ca_file = str(mysql.folder / "ca.pem") if authority else None
    url = mysql.url(more=f"?sslmode={mode}")
    collector = Mysql(options(mysql, url=url, ca_file=ca_file, server_name=name))
    assert error(await look(collector)) == expected
    if not expected:
        ((_, version),) = (await collector._session.ask("SHOW SESSION STATUS LIKE 'Ssl_version'")).rows
        assert version == "TLSv1.3"
    await collector.close()


async def test_where_one_side_wants_tls_and_the_other_does_not_nobody_comes_in(
    mysql: MysqlServer, replica: MysqlServer
) -> None:
    plain = options(mysql, url=mysql.url(more="?sslmode=disable"))
    assert await error_of(plain) == ""
    mysql.sql("SET GLOBAL require_secure_transport = 1")
    try:
        assert await error_of(plain) == "auth"  # all that MariaDB says; MySQL has a number for it
        assert await error_of(options(mysql)) == ""
    finally:
        mysql.sql("SET GLOBAL require_secure_transport = 0")
    demanding = options(replica, url=replica.url(more="?sslmode=require"))  # which has none
    assert await error_of(demanding) == "tls"


async def test_a_socket_of_this_machine_will_do(mysql: MysqlServer) -> None:
    collector = Mysql(options(mysql, url=f"mysql:///?socket={mysql.socket}"))
    assert error(await look(collector)) == ""
    assert await collector.targets() == [str(mysql.socket)]
    await collector.close()


async def test_a_connection_that_the_server_closed_meanwhile_is_no_outage(mysql: MysqlServer) -> None:
    collector = Mysql(options(mysql))
    await look(collector)
    mysql.sql("KILL USER nightjar")
    while collector._session.open:
        await asyncio.sleep(0)
    assert error(await look(collector)) == ""
    await collector.close()


async def test_a_query_that_is_killed_costs_the_rest_of_a_round(mysql: MysqlServer) -> None:
    collector = Mysql(options(mysql))
    await look(collector)
    asking = asyncio.create_task(collector._session.ask("SELECT SLEEP(60)"))
    sleeping = "SELECT id FROM information_schema.processlist WHERE info = 'SELECT SLEEP(60)'"
    identity = await asyncio.to_thread(within, 10, lambda: mysql.sql(sleeping), "the query runs")
    mysql.sql(f"KILL CONNECTION {identity}")
    with pytest.raises(Exception, match="broke off"):
        await asking
    assert error(await look(collector)) in ("", "reset")
    assert error(await look(collector)) == ""
    await collector.close()


async def test_a_restart_costs_at_most_a_round(replica: MysqlServer) -> None:
    collector = Mysql(options(replica))
    assert error(await look(collector)) == ""
    replica.stop()
    assert error(await look(collector)) in ("refused", "reset")
    assert error(await look(collector)) == "refused"
    replica.start()
    assert error(await look(collector)) == ""
    await collector.close()


def test_the_agent_serves_it_and_its_health(mysql: MysqlServer, tmp_path: Path) -> None:
    port = free_port()
    config = (
        f'[agent]\nlisten = "127.0.0.1:{port}"\ninterval = "1s"\n'
        f'[[collectors.mysql]]\nurl = "{mysql.url()}"\npassword = "${{env:MYSQL_SECRET}}"\n'
        '[[collectors.mysql]]\nname = "gone"\nurl = "mysql://127.0.0.1:1"\npassword = "${env:MYSQL_SECRET}"\n'
    )
    with Running(tmp_path, config, MYSQL_SECRET=PASSWORD) as agent:
        agent.start()
        address = f"http://127.0.0.1:{port}"
        for at, up in ((mysql.port, 1), (1, 0)):
            line = re.compile(rf'mysql_up{{agent="[^"]+",instance="127.0.0.1:{at}",job="mysql"}} {up}')
            within(15, lambda line=line: line.search(get(f"{address}/metrics")[1]), f"{line.pattern}")  # type: ignore[misc]
        health = get(f"{address}/api/health/database")[1]
        assert f'"127.0.0.1:{mysql.port}"' in health
        assert '"critical"' in health
        assert PASSWORD not in get(f"{address}/metrics")[1] + health + agent.log_text()
