"""INFO: the reply taken apart, and what it says under redis_exporter's names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from agent.model import Family, Sample, Summary, counter, gauge
from collectors.redis.fields import FIELDS, FRAGMENTATION, SCALE, WORDS

LINES: Final = 20_000  # of a reply; a busy server with every command in use has some 2,000
DATABASES: Final = 1024  # of which empty ones are told too

START: Final = gauge(
    "redis_start_time_seconds", "When the server started, Unix seconds by the server's clock.", "instance"
)
_IDENTITY: Final = (
    *("role", "redis_version", "redis_build_id", "redis_mode", "os", "maxmemory_policy", "tcp_port", "run_id"),
    *("process_id", "master_replid", "valkey_version", "valkey_release_stage"),
)
INSTANCE: Final = gauge("redis_instance_info", "What the server is.", "instance", *_IDENTITY)
REPLICA: Final = gauge(
    "redis_slave_info", "Whom a replica follows.", "instance", "master_host", "master_port", "read_only"
)

DB_KEYS: Final = gauge("redis_db_keys", "Keys of a database.", "instance", "db")
DB_EXPIRING: Final = gauge("redis_db_keys_expiring", "Keys that have a time to live.", "instance", "db")
DB_CACHED: Final = gauge("redis_db_keys_cached", "Keys cached from the storage provider (KeyDB).", "instance", "db")
DB_TTL: Final = gauge("redis_db_avg_ttl_seconds", "Average time to live.", "instance", "db")

CALLS: Final = counter("redis_commands_total", "Calls of a command.", "instance", "cmd")
SPENT: Final = counter("redis_commands_duration_seconds_total", "Seconds spent in a command.", "instance", "cmd")
REJECTED: Final = counter(
    "redis_commands_rejected_calls_total", "Calls refused before the command ran.", "instance", "cmd"
)
FAILED: Final = counter("redis_commands_failed_calls_total", "Calls that failed while it ran.", "instance", "cmd")
PERCENTILES: Final = Family(
    "redis_latency_percentiles_usec",
    "summary",
    "Microseconds a command takes; the quantiles are percentiles.",
    ("instance", "cmd"),
)
ERRORS: Final = counter("redis_errors_total", "Error replies by their first word.", "instance", "err")
IO_THREAD: Final = counter(
    "redis_active_time_io_thread_seconds_total", "Seconds an I/O thread was at work.", "instance", "thread"
)

_MASTER: Final = ("instance", "master_host", "master_port")
LINK_UP: Final = gauge("redis_master_link_up", "1 if the replica is connected to its master.", *_MASTER)
_FROM_MASTER: Final = {
    "last_io_seconds_ago": gauge(
        "redis_master_last_io_seconds_ago", "Seconds since the master was heard; -1 while it is not.", *_MASTER
    ),
    "sync_in_progress": gauge("redis_master_sync_in_progress", "1 while the replica takes a full copy.", *_MASTER),
}
REPLICA_OFFSET: Final = gauge("redis_slave_repl_offset", "How far the replica has come.", *_MASTER)
_SLAVE: Final = ("instance", "slave_ip", "slave_port", "slave_state")
SLAVE_OFFSET: Final = gauge("redis_connected_slave_offset_bytes", "How far a replica has come.", *_SLAVE)
SLAVE_LAG: Final = gauge("redis_connected_slave_lag_seconds", "Seconds since a replica was heard.", *_SLAVE)

_SENTINEL: Final = {
    "sentinel_masters": gauge("redis_sentinel_masters", "Masters that this Sentinel watches.", "instance"),
    "sentinel_tilt": gauge("redis_sentinel_tilt", "1 while the Sentinel trusts its clock no more.", "instance"),
    "sentinel_running_scripts": gauge("redis_sentinel_running_scripts", "Scripts at work.", "instance"),
    "sentinel_scripts_queue_length": gauge("redis_sentinel_scripts_queue_length", "Scripts that wait.", "instance"),
    "sentinel_simulate_failure_flags": gauge(
        "redis_sentinel_simulate_failure_flags", "Failures it was told to simulate.", "instance"
    ),
}
_WATCHED: Final = ("instance", "master_name", "master_address")
MASTER_STATUS: Final = gauge("redis_sentinel_master_status", "1 if the master is fine.", *_WATCHED, "master_status")
MASTER_SLAVES: Final = gauge("redis_sentinel_master_slaves", "Replicas of a master.", *_WATCHED)
MASTER_SENTINELS: Final = gauge("redis_sentinel_master_sentinels", "Sentinels that watch a master.", *_WATCHED)
METRICS: Final = (
    *(START, INSTANCE, REPLICA, *FIELDS.values(), *FRAGMENTATION),
    *(DB_KEYS, DB_EXPIRING, DB_CACHED, DB_TTL),
    *(CALLS, SPENT, REJECTED, FAILED, PERCENTILES, ERRORS, IO_THREAD),
    *(LINK_UP, *_FROM_MASTER.values(), REPLICA_OFFSET, SLAVE_OFFSET, SLAVE_LAG),
    *(*_SENTINEL.values(), MASTER_STATUS, MASTER_SLAVES, MASTER_SENTINELS),
)

_OF_MASTER: Final = re.compile(
    r"(?P<replica>slave_repl_offset)|master(_\d+)?_(?P<what>host|port|link_status|last_io_seconds_ago|sync_in_progress)"
)
_IO_THREAD: Final = re.compile(r"used_active_time_io_thread_(\d+)")


class Info(Struct, frozen=True):
    """A reply taken apart: (key, value) pairs by section, in their order, and the values by key."""

    sections: dict[str, list[tuple[str, str]]]
    fields: dict[str, str]

    @property
    def sentinel(self) -> bool:
        """Whether the server is a Sentinel."""
        return "Sentinel" in self.sections

    @property
    def cluster(self) -> bool:
        """Whether the server is a node of a cluster."""
        return self.fields.get("cluster_enabled") == "1"

    @property
    def version(self) -> int:
        """The major version of Redis, or of the Redis a fork is compatible with; 0 when it does not say."""
        major = self.fields.get("redis_version", "").partition(".")[0]
        return int(major) if major.isascii() and major.isdigit() and len(major) < 4 else 0


def parse_info(text: str) -> Info:
    """Take an INFO reply apart; what is no `key:value` line is passed over."""
    info = Info({}, {})
    rows = info.sections.setdefault("", [])
    for line in text.split("\n", LINES)[:LINES]:
        line = line.strip()
        if line.startswith("# "):
            rows = info.sections.setdefault(line[2:], [])
            continue
        key, colon, value = line.partition(":")
        if key and colon:
            rows.append((key, value))
            info.fields[key] = value
    return info


def info_samples(instance: str, info: Info, databases: int) -> Iterator[Sample]:
    """All that INFO says; databases below `databases` that it leaves out are empty."""
    yield from _scalars(instance, info)
    yield from _identity(instance, info)
    yield from _replication(instance, info.sections.get("Replication", ()))
    yield from _commands(instance, info)
    for key, value in info.sections.get("Errorstats", ()):
        count = number(_pairs(value).get("count"))
        if key.startswith("errorstat_") and count is not None:
            yield ERRORS(count, instance, key.removeprefix("errorstat_"))
    if info.sentinel:
        yield from _sentinel(instance, info.sections["Sentinel"])
    else:
        yield from _keyspace(instance, info.sections.get("Keyspace", ()), databases)


def number(text: str | None) -> float | None:
    """A finite number, a word that stands for one, or None."""
    if text is None:
        return None
    if text in WORDS:
        return WORDS[text]
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _scalars(instance: str, info: Info) -> Iterator[Sample]:
    for key, text in info.fields.items():
        if (family := FIELDS.get(key)) is not None:
            if (value := number(text)) is not None:
                yield family(value * SCALE.get(key, 1.0), instance)
        elif (found := _IO_THREAD.fullmatch(key)) and (value := number(text)) is not None:
            yield IO_THREAD(value, instance, found[1])
    if (value := number(info.fields.get("mem_fragmentation_ratio"))) is not None:
        yield from (each(value, instance) for each in FRAGMENTATION)


def _identity(instance: str, info: Info) -> Iterator[Sample]:
    told = info.fields.get
    yield INSTANCE(1.0, instance, *(told(name, "") for name in _IDENTITY))
    if told("role") == "slave":
        yield REPLICA(1.0, instance, told("master_host", ""), told("master_port", ""), told("slave_read_only", ""))
    now, uptime = number(told("server_time_usec")), number(told("uptime_in_seconds"))
    if now is not None and uptime is not None:  # both from the same tick of the server's clock: no jitter
        yield START(now // 1_000_000 - uptime, instance)


def _replication(instance: str, rows: Iterable[tuple[str, str]]) -> Iterator[Sample]:
    host = port = ""
    for key, text in rows:
        if found := _OF_MASTER.fullmatch(key):
            what = found["what"]
            host, port = text if what == "host" else host, text if what == "port" else port
            yield from _of_master(what, text, (instance, host, port))
        elif key.startswith("slave") and key[5:].isdigit():
            yield from _slave(instance, _pairs(text))


def _of_master(what: str | None, text: str, labels: tuple[str, str, str]) -> Iterator[Sample]:
    """One line about a replica's master, or, without `what`, the replica's own offset."""
    if what == "link_status":
        yield LINK_UP(float(text == "up"), *labels)
        return
    family = REPLICA_OFFSET if what is None else _FROM_MASTER.get(what)
    if family is not None and (value := number(text)) is not None:
        yield family(value, *labels)


def _slave(instance: str, told: dict[str, str]) -> Iterator[Sample]:
    labels = (instance, told.get("ip", ""), told.get("port", ""), told.get("state", ""))
    for name, family in (("offset", SLAVE_OFFSET), ("lag", SLAVE_LAG)):
        if (value := number(told.get(name))) is not None:
            yield family(value, *labels)


def _commands(instance: str, info: Info) -> Iterator[Sample]:
    """Calls and time by command, and its percentiles, which take count and sum from the former."""
    totals: dict[str, tuple[float, float]] = {}
    for key, text in info.sections.get("Commandstats", ()):
        told = {name: number(value) for name, value in _pairs(text).items()}
        calls, spent = told.get("calls"), told.get("usec")
        if not key.startswith("cmdstat_") or calls is None or spent is None:
            continue
        name = key.removeprefix("cmdstat_")
        totals[name] = calls, spent
        yield CALLS(calls, instance, name)
        yield SPENT(spent / 1e6, instance, name)
        for field, family in (("rejected_calls", REJECTED), ("failed_calls", FAILED)):
            if (value := told.get(field)) is not None:
                yield family(value, instance, name)
    for key, text in info.sections.get("Latencystats", ()):
        name = key.removeprefix("latency_percentiles_usec_")
        if name in totals:
            yield PERCENTILES(Summary(*totals[name], _quantiles(text)), instance, name)


def _quantiles(text: str) -> tuple[tuple[float, float], ...]:
    told = ((number(name.removeprefix("p")), number(value)) for name, value in _pairs(text).items())
    return tuple(sorted((at, value) for at, value in told if at is not None and value is not None))


def commands_spent(info: Info) -> dict[str, float]:
    """Microseconds by command; a container command has the time of its subcommands too."""
    spent: dict[str, float] = {}
    for key, text in info.sections.get("Commandstats", ()):
        name, value = key.removeprefix("cmdstat_"), number(_pairs(text).get("usec"))
        for counted in {name, name.partition("|")[0]} if value is not None else ():
            spent[counted] = spent.get(counted, 0.0) + (value or 0.0)
    return spent


def _keyspace(instance: str, rows: Iterable[tuple[str, str]], databases: int) -> Iterator[Sample]:
    empty = {f"db{at}": None for at in range(min(databases, DATABASES))}
    for name, text in rows:
        told = {key: number(value) for key, value in _pairs(text).items()}
        keys, expiring = told.get("keys"), told.get("expires")
        if keys is None or expiring is None:
            continue
        empty.pop(name, None)
        yield DB_KEYS(keys, instance, name)
        yield DB_EXPIRING(expiring, instance, name)
        if (cached := told.get("cached_keys")) is not None:
            yield DB_CACHED(cached, instance, name)
        if (ttl := told.get("avg_ttl")) is not None:
            yield DB_TTL(ttl / 1000, instance, name)
    for name in empty:
        yield DB_KEYS(0.0, instance, name)
        yield DB_EXPIRING(0.0, instance, name)


def _sentinel(instance: str, rows: Iterable[tuple[str, str]]) -> Iterator[Sample]:
    for key, text in rows:
        if key in _SENTINEL:
            value = number(text)
            yield _SENTINEL[key](value if value is not None else 0.0, instance)
        elif key.startswith("master") and key[6:].isdigit():
            told = _pairs(text)
            labels = (instance, told.get("name", ""), told.get("address", ""))
            slaves, sentinels = number(told.get("slaves")), number(told.get("sentinels"))
            status = told.get("status", "")
            if slaves is not None and sentinels is not None:
                yield MASTER_STATUS(float(status == "ok"), *labels, status)
                yield MASTER_SLAVES(slaves, *labels)
                yield MASTER_SENTINELS(sentinels, *labels)


def _pairs(text: str) -> dict[str, str]:
    """`a=1,b=2` as a table."""
    return {key: value for key, equals, value in (part.partition("=") for part in text.split(",")) if equals}
