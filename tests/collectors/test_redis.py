"""The Redis collector: its parsers on captured text, and its options."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Histogram, Sample, Summary, Value
from collectors.redis import Options
from collectors.redis import keys as key_sizes
from collectors.redis.info import commands_spent, info_samples, parse_info
from collectors.redis.options import Key, parse_key, parse_url
from collectors.redis.queries import (
    databases,
    parse_cluster,
    parse_config,
    parse_histogram,
    parse_latency,
    parse_slowlog,
    queries,
)
from collectors.redis.rounds import MALFORMED
from collectors.redis.sentinel import master_names, parse_master

INFO = """# Server\r
redis_version:7.0.15\r
redis_build_id:dbd0f8e0d3a5e2b5\r
redis_mode:standalone\r
os:Linux 6.1.0 x86_64\r
process_id:4711\r
run_id:0123456789abcdef0123456789abcdef01234567\r
tcp_port:6379\r
server_time_usec:1700000000123456\r
uptime_in_seconds:1000\r
\r
# Memory\r
used_memory:1048576\r
used_memory_human:1.00M\r
mem_fragmentation_ratio:1.25\r
maxmemory_policy:noeviction\r
\r
# Persistence\r
rdb_last_bgsave_status:ok\r
aof_last_write_status:err\r
\r
# Stats\r
total_commands_processed:42\r
latest_fork_usec:250\r
\r
# Replication\r
role:slave\r
master_host:10.0.0.1\r
master_port:6380\r
master_link_status:down\r
master_last_io_seconds_ago:-1\r
master_sync_in_progress:0\r
slave_read_repl_offset:7\r
slave_repl_offset:9\r
slave_priority:100\r
slave_read_only:1\r
connected_slaves:1\r
slave0:ip=10.0.0.2,port=6381,state=online,offset=99,lag=1\r
\r
# Commandstats\r
cmdstat_get:calls=3,usec=30,usec_per_call=10.00,rejected_calls=1,failed_calls=2\r
cmdstat_config|get:calls=1,usec=5,usec_per_call=5.00,rejected_calls=0,failed_calls=0\r
cmdstat_config|set:calls=1,usec=6,usec_per_call=6.00,rejected_calls=0,failed_calls=0\r
cmdstat_old:calls=1,usec=2,usec_per_call=2.00\r
\r
# Errorstats\r
errorstat_ERR:count=4\r
\r
# Latencystats\r
latency_percentiles_usec_get:p50=1.003,p99=2.007,p99.9=3.007\r
\r
# Keyspace\r
db0:keys=5,expires=2,avg_ttl=1500\r
"""

SENTINEL = """# Sentinel
sentinel_masters:1
sentinel_tilt:0
master0:name=main,status=sdown,address=10.0.0.1:6379,slaves=2,sentinels=3
"""

Found = dict[tuple[str, ...], Value]


def found(samples: Iterable[Sample]) -> Found:
    """Values by name and labels after the instance."""
    return {(sample.family.name, *sample.labels[1:]): sample.value for sample in samples}


def told(text: str, number: int = 0) -> Found:
    return found(info_samples("i", parse_info(text), number))


# -- INFO -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (("redis_memory_used_bytes",), 1048576),
        (("redis_mem_fragmentation_ratio",), 1.25),
        (("redis_memory_fragmentation_ratio",), 1.25),
        (("redis_rdb_last_bgsave_status",), 1),
        (("redis_aof_last_write_status",), 0),
        (("redis_commands_processed_total",), 42),
        (("redis_latest_fork_seconds",), 0.00025),
        (("redis_start_time_seconds",), 1699999000),
        (("redis_master_link_up", "10.0.0.1", "6380"), 0),
        (("redis_master_last_io_seconds_ago", "10.0.0.1", "6380"), -1),
        (("redis_slave_repl_offset", "10.0.0.1", "6380"), 9),
        (("redis_slave_info", "10.0.0.1", "6380", "1"), 1),
        (("redis_connected_slave_offset_bytes", "10.0.0.2", "6381", "online"), 99),
        (("redis_connected_slave_lag_seconds", "10.0.0.2", "6381", "online"), 1),
        (("redis_commands_total", "get"), 3),
        (("redis_commands_duration_seconds_total", "get"), 0.00003),
        (("redis_commands_rejected_calls_total", "get"), 1),
        (("redis_commands_failed_calls_total", "get"), 2),
        (("redis_errors_total", "ERR"), 4),
        (("redis_latency_percentiles_usec", "get"), Summary(3, 30, ((50, 1.003), (99, 2.007), (99.9, 3.007)))),
        (("redis_db_keys", "db0"), 5),
        (("redis_db_keys_expiring", "db0"), 2),
        (("redis_db_avg_ttl_seconds", "db0"), 1.5),
    ],
)
def test_a_field_of_info_is_a_sample(key: tuple[str, ...], value: Value) -> None:
    assert told(INFO)[key] == value


def test_commands_of_old_servers_have_no_failed_calls() -> None:
    assert ("redis_commands_total", "old") in told(INFO)
    assert ("redis_commands_failed_calls_total", "old") not in told(INFO)


def test_databases_that_info_leaves_out_are_empty() -> None:
    keys = {key[1]: value for key, value in told(INFO, 3).items() if key[0] == "redis_db_keys"}
    assert keys == {"db0": 5, "db1": 0, "db2": 0}


def test_a_sentinel_has_masters_and_no_databases() -> None:
    assert told(SENTINEL, 16) == {
        ("redis_instance_info", *[""] * 12): 1,
        ("redis_sentinel_masters",): 1,
        ("redis_sentinel_tilt",): 0,
        ("redis_sentinel_master_status", "main", "10.0.0.1:6379", "sdown"): 0,
        ("redis_sentinel_master_slaves", "main", "10.0.0.1:6379"): 2,
        ("redis_sentinel_master_sentinels", "main", "10.0.0.1:6379"): 3,
    }


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "", "x", "0x10"])
def test_what_is_no_finite_number_is_no_sample(value: str) -> None:
    assert ("redis_memory_used_bytes",) not in told(f"# Memory\nused_memory:{value}\n")


@given(st.text() | st.lists(st.sampled_from([*INFO.splitlines(), *SENTINEL.splitlines(), "#", ":", "a:b=c,,="])))
def test_no_text_breaks_the_parser_and_all_values_are_finite(given: str | list[str]) -> None:
    samples = list(info_samples("i", parse_info(given if isinstance(given, str) else "\n".join(given)), 2))
    assert all(len(sample.labels) == len(sample.family.labels) for sample in samples)
    assert all(math.isfinite(sample.value) for sample in samples if isinstance(sample.value, float))


# -- the other replies ----------------------------------------------------------------------------------------------


def test_a_container_command_has_the_time_of_its_subcommands() -> None:
    assert commands_spent(parse_info(INFO)) == {"get": 30, "config|get": 5, "config|set": 6, "config": 11, "old": 2}


def test_a_histogram_is_cumulative_and_its_sum_is_in_info() -> None:
    reply = [[b"get", [b"calls", 3, b"histogram_usec", [1, 1, 2, 2, 4, 3]]]]
    samples = found(parse_histogram("i", parse_info(INFO), [reply[0]]))
    assert samples == {("redis_commands_latencies_usec", "get"): Histogram((1, 2, 4), (1, 2, 3, 3), 30)}


@pytest.mark.parametrize(
    ("calls", "buckets"),
    [
        (3, [b"nan", 1]),
        (3, [b"inf", 1]),
        (3, [2, 1, 1, 2]),
        (3, [1, 1, 1, 2]),
        (3, [-5, 1]),
        (3, [1, 2, 2, 1]),
        (3, [1, 4]),
        (b"nan", [1, 1]),
    ],
)
def test_buckets_without_order_are_no_histogram(calls: object, buckets: list[object]) -> None:
    reply = [[b"get", [b"calls", calls, b"histogram_usec", buckets]]]
    with pytest.raises(ValueError, match="order"):
        list(parse_histogram("i", parse_info(INFO), reply))


def test_limits_come_from_the_configuration() -> None:
    reply = [b"databases", b"4", b"maxclients", b"100", b"client-output-buffer-limit", b"normal 0 1 2 slave 3 4 5"]
    assert databases(parse_info(""), [reply]) == 4
    samples = found(parse_config("i", parse_info(""), [reply]))
    assert samples["redis_config_maxclients",] == 100
    assert samples["redis_config_client_output_buffer_limit_bytes", "slave", "hard"] == 3
    assert samples["redis_config_client_output_buffer_limit_overcome_seconds", "normal", "soft"] == 2


def test_the_configuration_is_never_asked_for_as_a_whole() -> None:
    for version in ("6.0.16", "7.0.15", "none"):
        for query in queries(parse_info(f"# Server\nredis_version:{version}\n")):
            assert all(command[-1] != "*" for command in query.commands)
            assert all(len(command) == 3 for command in query.commands if command[0] == "CONFIG") or version[0] == "7"


def test_the_slow_log_tells_its_newest_entry() -> None:
    full = [7, [[12, 1700000000, 2_500_000, [b"KEYS", b"*"], b"10.0.0.9:1234", b""]]]
    assert [sample.value for sample in parse_slowlog("i", parse_info(""), full)] == [7, 12, 2.5]
    assert [sample.value for sample in parse_slowlog("i", parse_info(""), [0, []])] == [0, 0, 0]


def test_a_spike_is_in_seconds() -> None:
    samples = found(parse_latency("i", parse_info(""), [[[b"fork", 1700000000, 250, 900]]]))
    assert samples["redis_latency_spike_duration_seconds", "fork"] == 0.25


def test_cluster_info_is_told_by_field() -> None:
    text = b"cluster_state:fail\r\ncluster_known_nodes:3\r\ncluster_stats_messages_auth-req_sent:2\r\nnew:1\r\n"
    assert found(parse_cluster("i", parse_info(""), [text])) == {
        ("redis_cluster_state",): 0,
        ("redis_cluster_known_nodes",): 3,
        ("redis_cluster_stats_messages_auth_req_sent",): 2,
    }


def test_a_master_that_lacks_its_quorum_says_so() -> None:
    entry = [b"name", b"main", b"ip", b"10.0.0.1", b"port", b"6379", b"quorum", b"2", b"last-ok-ping-reply", b"1500"]
    replies = [Exception("NOQUORUM 1 usable Sentinels."), [[b"flags", b"s_down,sentinel"]], [[b"flags", b"slave"]]]
    samples = found(parse_master("i", entry, replies))
    assert master_names([entry]) == ["main"]
    assert samples["redis_sentinel_master_ckquorum_status", "main", "NOQUORUM 1 usable Sentinels."] == 0
    assert samples["redis_sentinel_master_setting_ckquorum", "main", "10.0.0.1:6379"] == 2
    assert samples["redis_sentinel_master_last_ok_ping_reply_seconds", "main", "10.0.0.1:6379"] == 1.5
    assert samples["redis_sentinel_master_ok_sentinels", "main", "10.0.0.1:6379"] == 1
    assert samples["redis_sentinel_master_ok_slaves", "main", "10.0.0.1:6379"] == 1


REPLIES = st.recursive(
    st.none() | st.integers() | st.binary(max_size=8) | st.sampled_from([b"calls", b"histogram_usec", b"flags"]),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=20,
)


@given(st.lists(REPLIES, max_size=4))
def test_a_reply_of_another_shape_is_malformed_and_nothing_else(replies: list[Any]) -> None:
    info = parse_info(INFO)
    for parse in (parse_config, parse_slowlog, parse_latency, parse_histogram, parse_cluster):
        try:
            list(parse("i", info, replies))
        except MALFORMED:
            continue


def test_a_key_that_is_not_here_has_no_size() -> None:
    names = [b"a", b"gone", b"\xff"]
    replies = [b"list", 100, b"none", None, b"string", Exception("no memory for you")]
    commands = key_sizes.lengths(names, replies)
    assert commands == {b"a": ("LLEN", b"a"), b"\xff": ("STRLEN", b"\xff")}
    samples = found(key_sizes.parse_keys("i", 2, names, replies, {b"a": 3, b"\xff": 9}))
    assert samples == {
        ("redis_key_size", "db2", "a"): 3,
        ("redis_key_memory_usage_bytes", "db2", "a"): 100,
        ("redis_key_size", "db2", "\\xff"): 9,
    }


# -- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "instance"),
    [
        ("redis://db.example.com", "db.example.com:6379"),
        ("redis://user:pw@[::1]:7000/3", "[::1]:7000"),
        ("rediss://10.0.0.1:6380/", "10.0.0.1:6380"),
        ("unix:///run/redis/redis.sock", "/run/redis/redis.sock"),
    ],
)
def test_the_instance_is_the_address_alone(url: str, instance: str) -> None:
    assert parse_url(url).instance == instance
    assert "pw" not in repr(parse_url(url))


@pytest.mark.parametrize(
    "options",
    [
        {"url": "http://secret"},
        {"url": "redis://"},
        {"url": "redis://secret:port"},
        {"url": "redis://host/secret"},
        {"url": "redis://host?secret=1"},
        {"url": "unix://secret"},
        {"url": "redis://host", "ca_file": "secret.pem"},
        {"url": "rediss://host", "key_file": "secret.pem"},
        {"keys": ("",)},
    ],
)
def test_options_that_cannot_be_meant_are_refused_without_repeating_them(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^(url|key_file|keys): ") as refused:
        Options(**options)
    assert "secret" not in str(refused.value)


def test_a_key_may_name_its_database() -> None:
    assert parse_key("queue:*", 2) == Key(2, "queue:*")
    assert parse_key("db3=a=b") == Key(3, "a=b")
    assert parse_key("db3=x*").pattern
    assert not parse_key("plain").pattern
