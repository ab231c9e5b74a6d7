"""Our Redis collector against real servers, and beside the real redis_exporter on the same ones."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
import redis as redis_py

from agent.fanout import FanOut
from agent.model import Histogram, Sample, Summary, Value
from collectors.host.exposition import parse_exposition
from collectors.redis import Options, Redis
from config import Secret
from tests.daemon import get
from tests.servers import redis_servers
from tests.servers.redis_servers import PASSWORD, USER, RedisServer, redis_exporter, wait_until_blocked

pytestmark = pytest.mark.servers

Labels = tuple[tuple[str, str], ...]
OWN = re.compile(
    r"redis_exporter_(?!last_scrape_error)|redis_target_scrape|redis_last_key_groups_scrape|go_|process_|promhttp_"
)  # about itself
LEFT_OUT = {
    "sentinel": {"redis_db_keys", "redis_db_keys_expiring"},  # a Sentinel has no databases; 16 empty ones are told
    "all": set[str](),
}
MOVING = re.compile(  # gauges that do not hold still between two looks
    r"redis_(uptime|start_time|memory|mem_|allocator|clients|connected_clients|client_recent|cpu|instantaneous"
    r"|master_last_io|master_repl_offset|slave_repl_offset|connected_slave|repl_backlog|total_system|rdb_changes"
    r"|lazyfree|sentinel_master_last_ok|latency_spike|cluster_(messages|stats)|db_avg_ttl"
    r"|expired_stale|active_defrag)"
)
COMING = re.compile(r"redis_(errors_total|latency_spike|key_)")  # series of a moment


class Told(NamedTuple):
    """Types and series by name; a label without a value is no label."""

    kinds: dict[str, str]
    series: dict[str, dict[Labels, Value]]


def read_theirs(text: str) -> Told:
    told = Told({}, {})
    for group in parse_exposition(text):
        if not OWN.match(group.name):
            told.kinds[group.name] = group.kind
            told.series[group.name] = {
                tuple(sorted((name, value) for name, value in exposed.labels.items() if value)): exposed.value
                for exposed in group.exposed
            }
    return told


def read_ours(samples: Iterable[Sample]) -> Told:
    told = Told({}, {})
    for family, labels, value, _extra in samples:
        told.kinds[family.name] = family.kind
        pairs = zip(family.labels, labels, strict=True)
        key = tuple(sorted((name, text) for name, text in pairs if text and name != "instance"))
        series = told.series.setdefault(family.name, {})
        assert key not in series, f"twice: {family.name} {key}"
        series[key] = value
    return told


def shape(value: Value) -> tuple[float, ...]:
    if isinstance(value, Summary):
        return tuple(at for at, _ in value.quantiles)
    return value.bounds if isinstance(value, Histogram) else ()


def amounts(value: Value) -> tuple[float, ...]:
    """What only grows: a number, or count and sum."""
    if isinstance(value, Summary):
        return value.count, value.sum
    if isinstance(value, Histogram):
        return value.counts[-1], value.sum
    assert isinstance(value, int | float)
    return (value,)


def differences(before: Told, ours: Told, after: Told, left_out: set[str]) -> list[str]:
    faults: list[str] = []
    for name in sorted(before.kinds.keys() & after.kinds.keys() - left_out):
        if name not in ours.kinds:
            faults.append(f"missing: {name} ({before.kinds[name]}, {len(before.series[name])} series)")
            continue
        if before.kinds[name] != ours.kinds[name]:
            faults.append(f"type: {name} is {before.kinds[name]}, ours {ours.kinds[name]}")
        first, mine, last = before.series[name], ours.series[name], after.series[name]
        faults += [f"missing: {name}{key}" for key in first.keys() & last.keys() - mine.keys()]
        if not COMING.match(name):
            faults += [f"too much: {name}{key}" for key in mine.keys() - first.keys() - last.keys()]
        for key in first.keys() & mine.keys() & last.keys():
            for one, ours_is, two in zip(*map(amounts, (first[key], mine[key], last[key])), strict=True):
                low, high = min(one, two) - 1e-9, max(one, two) + 1e-9
                if not MOVING.match(name) and not low <= ours_is <= high:
                    faults.append(f"value: {name}{key} is {one} to {two}, ours {ours_is}")
            if not set(shape(first[key])) <= set(shape(mine[key])):
                faults.append(f"bounds: {name}{key} {shape(first[key])}, ours {shape(mine[key])}")
    return faults


async def compare(server: RedisServer, left_out: set[str], *flags: str, keys: tuple[str, ...] = ()) -> None:
    """Scrape the exporter, us, the exporter; print the differences, and fail on any."""
    collector = Redis(Options(url=server.url, keys=keys))
    with redis_exporter(server, *flags) as base:
        get(f"{base}/metrics")
        await collector.probe("")
        before = read_theirs(get(f"{base}/metrics")[1])
        ours = read_ours(await collector.probe(""))
        after = read_theirs(get(f"{base}/metrics")[1])
    await collector.close()
    faults = differences(before, ours, after, left_out)
    count = sum(map(len, before.series.values()))
    print(f"\n{len(before.kinds)} families, {count} series of redis_exporter; {len(faults)} differences")
    print(*faults, sep="\n")
    print(f"only ours: {', '.join(sorted(ours.kinds.keys() - before.kinds.keys()))}")
    assert len(before.kinds) > 40
    assert faults == []


async def look(options: Options) -> Told:
    """One round of a new collector."""
    collector = Redis(options)
    try:
        return read_ours(await collector.probe(""))
    finally:
        await collector.close()


def only(told: Told, name: str) -> Value:
    (value,) = told.series[name].values()
    return value


def reason(told: Told) -> str:
    """Why it is down; empty while it is up."""
    (labels,) = told.series["redis_exporter_last_scrape_error"]
    assert (only(told, "redis_up") == 0) is bool(labels)
    return dict(labels).get("err", "")


def queries(told: Told) -> dict[str, Value]:
    return {dict(labels)["query"]: value for labels, value in told.series["redis_query_success"].items()}


# -- beside redis_exporter ------------------------------------------------------------------------------------------


async def test_a_single_server_is_told_as_redis_exporter_tells_it(redis_single: RedisServer) -> None:
    await compare(redis_single, LEFT_OUT["all"])


async def test_sizes_of_chosen_keys_are_redis_exporters(redis_single: RedisServer) -> None:
    flags = ("--check-keys=db0=text:*,db0=queue:*", "--check-single-keys=db0=ranks,db0=events,db0=members")
    await compare(
        redis_single,
        {"redis_key_value", "redis_key_value_as_string"},  # what a key holds is never read
        *flags,
        "--count-keys=db0=text:*,db0=queue:*",
        keys=("text:*", "queue:*", "ranks", "events", "members"),
    )


async def test_master_replica_and_sentinel_are_told_as_redis_exporter_tells_them(
    redis_single: RedisServer, tmp_path: Path
) -> None:
    with (
        redis_servers.redis_replica(redis_single, tmp_path / "replica") as replica,
        redis_servers.redis_sentinel(redis_single, tmp_path / "sentinel") as sentinel,
    ):
        await compare(redis_single, LEFT_OUT["all"])
        await compare(replica, LEFT_OUT["all"])
        await compare(sentinel, LEFT_OUT["sentinel"])


async def test_a_cluster_node_is_told_as_redis_exporter_tells_it(tmp_path: Path) -> None:
    with redis_servers.redis_cluster(tmp_path / "cluster") as nodes:
        for node in nodes:
            await compare(node, LEFT_OUT["all"])


# -- ways to reach a server -----------------------------------------------------------------------------------------


async def test_a_unix_socket_is_a_way_in_and_the_label_is_its_path(redis_single: RedisServer) -> None:
    collector = Redis(Options(url=f"unix://{redis_single.socket}"))
    samples = list(await collector.probe(""))
    await collector.close()
    assert samples[0].value == 1.0
    assert {sample.labels[0] for sample in samples} == {redis_single.socket}


def locked(server: RedisServer, **changes: object) -> Options:
    tls = server.folder.parent / "tls"
    files = {"ca_file": f"{tls}/ca.pem", "cert_file": f"{tls}/client.pem", "key_file": f"{tls}/client.key"}
    given = {"url": f"rediss://127.0.0.1:{server.tls_port}", "username": USER, "password": Secret(PASSWORD)}  # type: ignore[attr-defined]
    return Options(**{**given, **files, **changes})  # type: ignore[arg-type]


async def test_tls_with_a_client_certificate_and_a_user_with_few_rights_is_enough(redis_locked: RedisServer) -> None:
    told = await look(locked(redis_locked))
    assert reason(told) == ""
    assert set(queries(told).values()) == {1.0}
    assert "redis_commands_total" in told.series


async def test_the_name_that_the_certificate_must_hold_can_be_given(redis_locked: RedisServer) -> None:
    assert reason(await look(locked(redis_locked, server_name="redis.test"))) == ""
    assert reason(await look(locked(redis_locked, server_name="other.test"))) == "tls"
    assert reason(await look(locked(redis_locked, server_name="other.test", insecure_skip_verify=True))) == ""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"password": Secret("wrong")}, "auth"),
        ({"username": "nobody"}, "auth"),
        ({"ca_file": None}, "tls"),
        ({"cert_file": None, "key_file": None}, "tls"),
        ({"cert_file": "/nowhere.pem", "key_file": None}, "tls"),
    ],
)
async def test_what_keeps_us_out_has_its_class(
    redis_locked: RedisServer, changes: dict[str, object], expected: str
) -> None:
    assert reason(await look(locked(redis_locked, **changes))) == expected


async def test_a_password_in_the_url_works_and_is_in_no_label(redis_single: RedisServer) -> None:
    redis_single("CONFIG", "SET", "requirepass", "sesame")
    assert reason(await look(Options(url=redis_single.url))) == "auth"
    told = await look(Options(url=redis_single.url.replace("//", "//:sesame@")))
    assert reason(told) == ""
    assert "sesame" not in repr(told)


async def test_tls_to_a_plain_port_and_plain_to_a_tls_port_have_their_classes(redis_locked: RedisServer) -> None:
    late = FanOut(Redis(Options(url=redis_locked.url.replace("redis:", "rediss:"))), 0.5)
    assert reason(read_ours(await late.collect())) == "timeout"  # the server waits for the end of a command
    await late.close()
    plain = f"redis://127.0.0.1:{redis_locked.tls_port}"  # type: ignore[attr-defined]
    assert reason(await look(Options(url=plain))) in ("protocol", "reset")


# -- trouble --------------------------------------------------------------------------------------------------------


async def test_what_a_user_may_not_ask_fails_alone_and_is_not_asked_every_round(redis_single: RedisServer) -> None:
    redis_single("ACL", "SETUSER", "narrow", "on", ">pw", "+info", "+client|setname", "+slowlog")
    collector = Redis(Options(url=redis_single.url, username="narrow", password=Secret("pw")))
    told = [read_ours(await collector.probe("")) for _ in range(3)]
    await collector.close()
    expected = {"config": 0.0, "latency": 0.0, "histogram": 0.0, "slowlog": 1.0}
    assert [queries(each) for each in told] == [expected] * 3
    assert only(told[2], "redis_up") == 1
    denied = [each.series.get("redis_errors_total", {}).get((("err", "NOPERM"),)) for each in told]
    assert denied == [None, 3.0, 3.0]


async def test_one_connection_is_kept_for_all_rounds(redis_single: RedisServer) -> None:
    collector = Redis(Options(url=redis_single.url))
    counts = [only(read_ours(await collector.probe("")), "redis_connections_received_total") for _ in range(4)]
    assert len(set(counts)) == 1
    names = [client["name"] for client in redis_single.client.client_list()]
    await collector.close()
    assert names.count("nightjar") == 1


async def test_a_connection_that_the_server_closed_meanwhile_is_no_outage(redis_single: RedisServer) -> None:
    collector = Redis(Options(url=redis_single.url))
    await collector.probe("")
    redis_single("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert reason(read_ours(await collector.probe(""))) == ""
    await collector.close()


async def test_a_server_that_is_gone_is_refused_and_comes_back(redis_single: RedisServer, tmp_path: Path) -> None:
    collector = Redis(Options(url=redis_single.url))
    await collector.probe("")
    redis_single.process.stop()
    assert reason(read_ours(await collector.probe(""))) == "refused"
    port = redis_single.port
    from tests.conftest import need_peer
    from tests.daemon import Process, within

    command = [need_peer("redis-server"), "--port", str(port), "--save", ""]
    with Process(command, tmp_path / "again.log"):
        within(10, redis_single.alive, "it is back")
        assert reason(read_ours(await collector.probe(""))) == ""
    await collector.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_a_long_script_makes_it_busy_or_late_and_piles_nothing_up(redis_single: RedisServer) -> None:
    """The server answers nobody at first, and `BUSY` from 1 s on; then it is killed and all is as before."""
    redis_single("CONFIG", "SET", "busy-reply-threshold", 1000)
    collector = FanOut(Redis(Options(url=redis_single.url)), 0.3)
    assert reason(read_ours(await collector.collect())) == ""
    clients, held = len(redis_single("CLIENT", "LIST")), descriptors()
    script = threading.Thread(target=run_for_ever, args=(redis_single.port,))
    script.start()
    wait_until_blocked(redis_single)
    reasons = []
    while reasons[-5:] != ["busy"] * 5 and len(reasons) < 60:
        reasons.append(reason(read_ours(await collector.collect())))
        assert descriptors() <= held + 2  # the script's own, and ours
    assert set(reasons) == {"timeout", "busy"}
    redis_single("SCRIPT", "KILL")
    script.join(10)
    assert reason(read_ours(await collector.collect())) == ""
    assert len(redis_single("CLIENT", "LIST")) <= clients
    await collector.close()


def run_for_ever(port: int) -> None:
    killed = pytest.raises(redis_py.exceptions.ResponseError)
    with redis_py.Redis("127.0.0.1", port, socket_timeout=60, retry=None) as client, killed:
        client.eval("while true do end", 0)


async def test_a_key_of_another_node_is_left_out(tmp_path: Path) -> None:
    with redis_servers.redis_cluster(tmp_path / "cluster") as nodes:
        slot = nodes[0]("CLUSTER", "KEYSLOT", "here")
        holder = nodes[slot // 5462]
        holder("SET", "here", "12345")
        told = {node.port: await look(Options(url=node.url, keys=("here",))) for node in nodes}
    assert {port for port, each in told.items() if "redis_key_size" in each.series} == {holder.port}
    assert only(told[holder.port], "redis_key_size") == 5
    assert {only(each, "redis_up") for each in told.values()} == {1}
