"""Sizes of chosen keys; what they hold is never read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

from agent.model import Sample, gauge
from collectors.redis.options import Key

STEPS: Final = 100  # of a SCAN, each of so many keys: a round must end, and scanning must not wear the server out
COUNT: Final = 500
MATCHES: Final = 1000  # keys of one pattern whose sizes are asked
TOGETHER: Final = 100  # keys asked about in one go
NAME: Final = 512  # characters of a key's name in a label

SIZE: Final = gauge("redis_key_size", "Elements of a key, or bytes of a string.", "instance", "db", "key")
MEMORY: Final = gauge("redis_key_memory_usage_bytes", "Memory a key takes.", "instance", "db", "key")
MATCHING: Final = gauge("redis_keys_count", "Keys that match a pattern.", "instance", "db", "key")
COMPLETE: Final = gauge(
    "redis_keys_complete",
    f"1 if all keys were searched for the pattern and all matches are told; 0 beyond {STEPS * COUNT} keys searched "
    f"or {MATCHES} matches.",
    *("instance", "db", "key"),
)
METRICS: Final = (SIZE, MEMORY, MATCHING, COMPLETE)
_LENGTH: Final = {
    b"string": "STRLEN",
    b"list": "LLEN",
    b"set": "SCARD",
    b"zset": "ZCARD",
    b"hash": "HLEN",
    b"stream": "XLEN",
}

Command = tuple[str | bytes | int, ...]


def batches(names: Sequence[bytes]) -> Iterator[list[bytes]]:
    """The names in portions to be asked about together."""
    left = iter(names)
    while portion := list(islice(left, TOGETHER)):
        yield portion


def about(names: Sequence[bytes]) -> list[Command]:
    """What to ask first about keys."""
    return [command for name in names for command in (("TYPE", name), ("MEMORY", "USAGE", name))]


def lengths(names: Sequence[bytes], replies: Sequence[Any]) -> dict[bytes, Command]:
    """What to ask next: the length of every key that is there, by its type. A key elsewhere in a cluster is not."""
    kinds = zip(names, replies[::2], strict=True)
    return {name: (_LENGTH[kind], name) for name, kind in kinds if isinstance(kind, bytes) and kind in _LENGTH}


def parse_keys(
    instance: str, database: int, names: Sequence[bytes], replies: Sequence[Any], sizes: dict[bytes, Any]
) -> Iterator[Sample]:
    """Sizes and memory of keys, from the replies to `about` and `lengths`; what a server refuses is left out."""
    for name, memory in zip(names, replies[1::2], strict=True):
        labels = (instance, f"db{database}", name.decode("utf-8", "backslashreplace")[:NAME])
        if isinstance(size := sizes.get(name), int):
            yield SIZE(float(size), *labels)
        if isinstance(memory, int):
            yield MEMORY(float(memory), *labels)


def parse_scan(reply: Any) -> tuple[bytes, list[bytes]]:
    """Where to go on (`0`: the end) and the keys found; raises ValueError for what is no such reply."""
    if not (isinstance(reply, list) and len(reply) == 2 and isinstance(reply[0], bytes) and isinstance(reply[1], list)):
        raise ValueError("no reply to SCAN")
    return reply[0], [name for name in reply[1] if isinstance(name, bytes)]


def found(instance: str, key: Key, names: int, *, complete: bool) -> Iterator[Sample]:
    """How many keys match a pattern."""
    labels = (instance, f"db{key.database}", key.name[:NAME])
    yield MATCHING(float(names), *labels)
    yield COMPLETE(float(complete), *labels)
