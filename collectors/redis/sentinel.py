"""What a Sentinel knows about the masters it watches, beyond INFO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from agent.model import Sample, gauge
from collectors.redis.info import number
from collectors.redis.queries import Command, pairs

MASTERS: Final = 256  # of which more is asked than INFO tells
WORDS: Final = 200  # characters of a verdict

_OF: Final = ("instance", "master_name", "master_address")
CKQUORUM: Final = gauge(
    "redis_sentinel_master_ckquorum_status",
    "1 if enough Sentinels can be reached to agree on a failover and to carry it out; the Sentinel's words.",
    *("instance", "master_name", "message"),
)
SETTINGS: Final = {
    "quorum": gauge("redis_sentinel_master_setting_ckquorum", "Sentinels that must agree on a failure.", *_OF),
    "failover-timeout": gauge(
        "redis_sentinel_master_setting_failover_timeout", "Milliseconds a failover may take.", *_OF
    ),
    "parallel-syncs": gauge(
        "redis_sentinel_master_setting_parallel_syncs", "Replicas that copy at once after a failover.", *_OF
    ),
    "down-after-milliseconds": gauge(
        "redis_sentinel_master_setting_down_after_milliseconds", "Milliseconds of silence that mean down.", *_OF
    ),
    "config-epoch": gauge("redis_sentinel_master_config_epoch", "Epoch; grows with each failover.", *_OF),
    "last-ok-ping-reply": gauge(
        "redis_sentinel_master_last_ok_ping_reply_seconds", "Seconds since the master last answered well.", *_OF
    ),
}
OK_SENTINELS: Final = gauge("redis_sentinel_master_ok_sentinels", "Sentinels that are fine, this one included.", *_OF)
OK_SLAVES: Final = gauge("redis_sentinel_master_ok_slaves", "Replicas that are fine.", *_OF)
METRICS: Final = (CKQUORUM, *SETTINGS.values(), OK_SENTINELS, OK_SLAVES)


def master_names(reply: Any) -> list[str]:
    """The masters in the reply to SENTINEL MASTERS; raises ValueError and the like for what is none."""
    return [pairs(each)["name"] for each in reply[:MASTERS]]


def about_master(name: str) -> tuple[Command, ...]:
    """What to ask about a master."""
    return ("SENTINEL", "CKQUORUM", name), ("SENTINEL", "SENTINELS", name), ("SENTINEL", "SLAVES", name)


def parse_master(instance: str, told: Any, replies: Sequence[Any]) -> Iterator[Sample]:
    """An entry of SENTINEL MASTERS with the replies about it; the first, as an error, is a verdict too."""
    master = pairs(told)
    labels = (instance, master["name"], f"{master['ip']}:{master['port']}")
    verdict, sentinels, slaves = replies
    good = isinstance(verdict, bytes)
    words = verdict.decode("utf-8", "replace") if good else str(verdict)
    yield CKQUORUM(float(good), instance, master["name"], words[:WORDS])
    for name, family in SETTINGS.items():
        value = number(master.get(name)) or 0.0
        yield family(value / 1000 if name == "last-ok-ping-reply" else value, *labels)
    yield OK_SENTINELS(1.0 + _well(sentinels), *labels)
    yield OK_SLAVES(float(_well(slaves)), *labels)


def _well(entries: Any) -> int:
    """How many Sentinels or replicas nobody thinks are down."""
    flags = [pairs(entry)["flags"] for entry in entries]
    return sum("s_down" not in each and "o_down" not in each for each in flags)
