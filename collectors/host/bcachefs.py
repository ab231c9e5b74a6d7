"""bcachefs: errors, counters, compression and devices of each file system, from /sys/fs/bcachefs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.model import NoData, Sample, counter, gauge

from .machine import Machine, Tree

BASE = "fs/bcachefs"
INFO = gauge("node_bcachefs_info", "Filesystem information.", "uuid")
BTREE_CACHE = gauge("node_bcachefs_btree_cache_size_bytes", "Btree cache memory usage in bytes.", "uuid")
COMPRESSED = gauge("node_bcachefs_compression_compressed_bytes", "Compressed size by algorithm.", "uuid", "algorithm")
UNCOMPRESSED = gauge(
    "node_bcachefs_compression_uncompressed_bytes", "Uncompressed size by algorithm.", "uuid", "algorithm"
)
ERRORS = counter("node_bcachefs_errors_total", "Error count by error type.", "uuid", "error_type")
WRITES = counter("node_bcachefs_btree_writes_total", "Number of btree writes by type.", "uuid", "type")
WRITE_SIZE = gauge("node_bcachefs_btree_write_average_size_bytes", "Average btree write size by type.", "uuid", "type")
DEVICE = gauge("node_bcachefs_device_info", "Device information.", "uuid", "device", "label", "state")
BUCKET_SIZE = gauge("node_bcachefs_device_bucket_size_bytes", "Bucket size in bytes.", "uuid", "device")
BUCKETS = gauge("node_bcachefs_device_buckets", "Total number of buckets.", "uuid", "device")
DURABILITY = gauge("node_bcachefs_device_durability", "Device durability setting.", "uuid", "device")
IO_DONE = counter(
    "node_bcachefs_device_io_done_bytes_total",
    "IO bytes by operation type and data type.",
    *("uuid", "device", "operation", "data_type"),
)
IO_ERRORS = counter("node_bcachefs_device_io_errors_total", "IO errors by error type.", "uuid", "device", "type")
UNITS = {unit: 1024.0**power for power, unit in enumerate("kmgtpe", start=1)}
NOT_IN_NAMES = re.compile(r"_*[^0-9A-Za-z_]+_*")
SINCE_CREATION = "since filesystem creation:"


def parse_size(text: str) -> float:
    """A number with or without one of bcachefs' units, which are powers of 1024."""
    text = text.strip()
    unit = UNITS.get(text[-1:].lower())
    return float(int(float(text[:-1]) * unit)) if unit else float(int(float(text)))


def parse_table(text: str) -> Iterator[tuple[str, str, str]]:
    """The first three columns of a table with a header and a name before the colon in each line."""
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) >= 3:
            yield words[0].removesuffix(":"), words[1], words[2]


def parse_counter(text: str) -> float:
    """What a counter file says since the file system was made; raises ValueError where it says nothing."""
    for line in text.splitlines():
        if line.startswith(SINCE_CREATION):
            return parse_size(line.removeprefix(SINCE_CREATION))
    raise ValueError("no counter of bcachefs")


def parse_io_done(text: str) -> Iterator[tuple[str, str, float]]:
    """Operation, type of data and bytes."""
    operation = ""
    for line in text.splitlines():
        name, colon, value = line.strip().partition(":")
        if name in ("read", "write") and not value:
            operation = name
        elif operation and colon:
            yield operation, name.strip(), float(int(value))


def parse_io_errors(text: str) -> Iterator[tuple[str, float]]:
    """Type and count of errors in the section since the file system was made."""
    here = False
    for line in text.splitlines():
        if line.startswith("IO errors since "):
            here = line.startswith("IO errors since filesystem creation")
        elif here and ":" in line:
            name, _, value = line.partition(":")
            yield name.strip(), float(int(value))


def bcachefs(machine: Machine) -> Iterator[Sample]:
    """The part `bcachefs`."""
    sys = machine.sys
    names = [name for name in sys.entries(BASE) if sys.is_directory(f"{BASE}/{name}")]
    if not names:
        raise NoData("no bcachefs")
    for uuid in names:
        base = f"{BASE}/{uuid}"
        yield INFO(1.0, uuid)
        yield BTREE_CACHE(parse_size(sys.optional(f"{base}/btree_cache_size") or "0"), uuid)
        yield from _tables(sys, base, uuid)
        for name in sys.entries(f"{base}/counters"):
            metric = f"node_bcachefs_{NOT_IN_NAMES.sub('_', name)}_total"
            help = f"Bcachefs counter {name} since filesystem creation."
            family = machine.families("counter", metric, help, "uuid")
            yield family(parse_counter(sys.text(f"{base}/counters/{name}")), uuid)
        for name in sys.names(base):
            if name.startswith("dev-"):
                yield from _device(sys, f"{base}/{name}", uuid, name[4:])


def _tables(sys: Tree, base: str, uuid: str) -> Iterator[Sample]:
    for name, compressed, uncompressed in parse_table(sys.optional_text(f"{base}/compression_stats")):
        yield COMPRESSED(parse_size(compressed), uuid, name)
        yield UNCOMPRESSED(parse_size(uncompressed), uuid, name)
    for line in sys.optional_text(f"{base}/errors").splitlines():
        words = line.split()
        if len(words) >= 2:
            yield ERRORS(float(int(words[1])), uuid, words[0])
    for name, count, size in parse_table(sys.optional_text(f"{base}/btree_write_stats")):
        yield WRITES(float(int(count)), uuid, name)
        yield WRITE_SIZE(parse_size(size), uuid, name)


def _device(sys: Tree, base: str, uuid: str, device: str) -> Iterator[Sample]:
    label, state = (sys.optional(f"{base}/{file}") or "" for file in ("label", "state"))
    yield DEVICE(1.0, uuid, device, label, state)
    yield BUCKET_SIZE(parse_size(sys.optional(f"{base}/bucket_size") or "0"), uuid, device)
    yield BUCKETS(float(int(sys.optional(f"{base}/nbuckets") or "0")), uuid, device)
    yield DURABILITY(float(int(sys.optional(f"{base}/durability") or "0")), uuid, device)
    for operation, kind, value in parse_io_done(sys.optional_text(f"{base}/io_done")):
        yield IO_DONE(value, uuid, device, operation, kind)
    for kind, value in parse_io_errors(sys.optional_text(f"{base}/io_errors")):
        yield IO_ERRORS(value, uuid, device, kind)
