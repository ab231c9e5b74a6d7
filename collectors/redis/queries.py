"""What is asked beside INFO: configuration, slow log, latency, cluster. Each may be refused and then fails alone."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from agent.model import Histogram, Sample, gauge, histogram
from collectors.redis.info import Info, commands_spent, number

Command = tuple[str, ...]

# By name and never `*`: the whole configuration holds passwords.
_WANTED: Final = (
    *("databases", "maxclients", "maxmemory", "io-threads", "repl-backlog-size", "client-output-buffer-limit"),
)
_CONFIG: Final = {
    "maxclients": gauge("redis_config_maxclients", "Most connections, as configured.", "instance"),
    "maxmemory": gauge("redis_config_maxmemory", "Limit of memory, as configured; 0 for none.", "instance"),
    "io-threads": gauge("redis_config_io_threads", "I/O threads, as configured.", "instance"),
    "repl-backlog-size": gauge("redis_config_repl_backlog_size", "Replication backlog, as configured.", "instance"),
}
LIMIT: Final = gauge(
    "redis_config_client_output_buffer_limit_bytes", "Limit of output buffers by class of client; 0 for none.",
    *("instance", "class", "limit"),
)  # fmt: skip
OVERCOME: Final = gauge(
    "redis_config_client_output_buffer_limit_overcome_seconds", "How long the soft limit may be exceeded.",
    *("instance", "class", "limit"),
)  # fmt: skip

SLOWLOG: Final = gauge("redis_slowlog_length", "Entries in the slow log.", "instance")
SLOWLOG_ID: Final = gauge("redis_slowlog_last_id", "Number of its newest entry.", "instance")
SLOWEST: Final = gauge("redis_last_slow_execution_duration_seconds", "Seconds its newest entry took.", "instance")

SPIKE: Final = gauge("redis_latency_spike_last", "When the last spike was, Unix seconds.", "instance", "event_name")
SPIKE_SECONDS: Final = gauge(
    "redis_latency_spike_duration_seconds", "Seconds the last spike took.", "instance", "event_name"
)
LATENCIES: Final = histogram("redis_commands_latencies_usec", "Microseconds a command takes.", "instance", "cmd")

_MESSAGES: Final = (
    *("ping", "pong", "meet", "fail", "publish", "publishshard", "auth_req", "auth_ack", "update", "mfstart", "module"),
)
_CLUSTER: Final = {
    "cluster_state": "1 if the cluster takes queries.",
    "cluster_slots_assigned": "Slots that belong to a node.",
    "cluster_slots_ok": "Slots of nodes that are fine.",
    "cluster_slots_pfail": "Slots of nodes that this one does not reach.",
    "cluster_slots_fail": "Slots of nodes that have failed.",
    "cluster_known_nodes": "Nodes known, failed ones included.",
    "cluster_size": "Masters that have slots.",
    "cluster_current_epoch": "Epoch of the cluster.",
    "cluster_my_epoch": "Epoch of this node's configuration.",
    **{
        f"cluster_stats_messages_{kind}_{way}": f"Messages of kind {kind.replace('_', '-')} {way}."
        for kind in _MESSAGES
        for way in ("sent", "received")
    },
}
CLUSTER: Final = {
    **{name: gauge(f"redis_{name}", help, "instance") for name, help in _CLUSTER.items()},
    "cluster_stats_messages_sent": gauge("redis_cluster_messages_sent_total", "Messages sent.", "instance"),
    "cluster_stats_messages_received": gauge("redis_cluster_messages_received_total", "Messages received.", "instance"),
}
METRICS: Final = (
    *(*_CONFIG.values(), LIMIT, OVERCOME, SLOWLOG, SLOWLOG_ID, SLOWEST),
    *(SPIKE, SPIKE_SECONDS, LATENCIES, *CLUSTER.values()),
)


class Query(Struct, frozen=True):
    """Commands asked together, and what their replies say; `parse` raises ValueError and the like on others."""

    name: str
    commands: tuple[Command, ...]
    parse: Callable[[str, Info, Sequence[Any]], Iterable[Sample]]


def queries(info: Info) -> Iterator[Query]:
    """What to ask a server that says this of itself."""
    if not info.sentinel:
        together = info.version >= 7  # older servers take one name at a time
        wanted = (("CONFIG", "GET", *_WANTED),) if together else tuple(("CONFIG", "GET", one) for one in _WANTED)
        yield Query("config", wanted, parse_config)
    yield Query("slowlog", (("SLOWLOG", "LEN"), ("SLOWLOG", "GET", "1")), parse_slowlog)
    yield Query("latency", (("LATENCY", "LATEST"),), parse_latency)
    if info.version >= 7:
        yield Query("histogram", (("LATENCY", "HISTOGRAM"),), parse_histogram)
    if info.cluster:
        yield Query("cluster", (("CLUSTER", "INFO"),), parse_cluster)


def databases(info: Info, replies: Sequence[Any] | None) -> int:
    """How many databases there are, by the replies to the query `config`; 16 is what servers have by themselves."""
    if info.cluster or info.sentinel:
        return int(info.cluster)
    told = number(_settings(replies or ()).get("databases"))
    return 16 if told is None else int(told)


def parse_config(instance: str, info: Info, replies: Sequence[Any]) -> Iterator[Sample]:
    """Limits from CONFIG GET."""
    settings = _settings(replies)
    for name, family in _CONFIG.items():
        if (value := number(settings.get(name))) is not None:
            yield family(value, instance)
    parts = settings.get("client-output-buffer-limit", "").split()
    for kind, hard, soft, seconds in zip(*(parts[at::4] for at in range(4)), strict=False):
        yield LIMIT(float(hard), instance, kind, "hard")
        yield LIMIT(float(soft), instance, kind, "soft")
        yield OVERCOME(float(seconds), instance, kind, "soft")


def parse_slowlog(instance: str, info: Info, replies: Sequence[Any]) -> Iterator[Sample]:
    """Length, and id and duration of the newest entry; its command and client stay where they are."""
    length, entries = replies
    yield SLOWLOG(float(length), instance)
    newest, _time, spent = entries[0][:3] if entries else (0, 0, 0)
    yield SLOWLOG_ID(float(newest), instance)
    yield SLOWEST(float(spent) / 1e6, instance)


def parse_latency(instance: str, info: Info, replies: Sequence[Any]) -> Iterator[Sample]:
    """The latest spike of each event that the latency monitor watches; there are none unless it is turned on."""
    for event, when, milliseconds, *_ in replies[0]:
        yield SPIKE(float(when), instance, text(event))
        yield SPIKE_SECONDS(float(milliseconds) / 1000, instance, text(event))


def parse_histogram(instance: str, info: Info, replies: Sequence[Any]) -> Iterator[Sample]:
    """Cumulative counts by microseconds for each command; their sum is in INFO."""
    spent = commands_spent(info)
    for command, details in zip(replies[0][::2], replies[0][1::2], strict=True):
        facts = dict(zip(map(text, details[::2]), details[1::2], strict=True))
        calls, buckets = float(facts["calls"]), facts["histogram_usec"]
        bounds, counts = tuple(map(float, buckets[::2])), tuple(map(float, buckets[1::2]))
        if len(bounds) != len(counts) or not (_rise(bounds) and _rise((*counts, calls), strictly=False)):
            raise ValueError("buckets without order")
        name = text(command)
        yield LATENCIES(Histogram(bounds, (*counts, calls), spent.get(name, 0.0)), instance, name)


def _rise(numbers: Sequence[float], *, strictly: bool = True) -> bool:
    """Whether numbers are finite, and each is more than the one before, or no less; NaN is neither."""
    pairs = zip((-1.0, *numbers) if strictly else (0.0, *numbers), numbers, strict=False)
    return all((left < right if strictly else left <= right) and right < math.inf for left, right in pairs)


def parse_cluster(instance: str, info: Info, replies: Sequence[Any]) -> Iterator[Sample]:
    """State and counts of the cluster as this node sees it."""
    for line in replies[0].decode("utf-8", "replace").splitlines():
        key, _, told = line.partition(":")
        family, value = CLUSTER.get(re.sub(r"\W", "_", key)), number(told)
        if family is not None and value is not None:
            yield family(value, instance)


def text(reply: Any) -> str:
    """A string of a reply; raises AttributeError for what is none."""
    told: str = reply.decode("utf-8", "backslashreplace")
    return told


def pairs(reply: Any) -> Mapping[str, str]:
    """A flat list of names and values as a table; raises ValueError and the like for what is none."""
    return dict(zip(map(text, reply[::2]), map(text, reply[1::2]), strict=True))


def _settings(replies: Sequence[Any]) -> dict[str, str]:
    return {name: told for reply in replies for name, told in pairs(reply).items()}
