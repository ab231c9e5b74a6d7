"""bcache: cache sets, backing devices and cache devices, from /sys/fs/bcache (Documentation/admin-guide/bcache.rst)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.model import Family, Sample, counter, gauge

from .machine import Machine, Tree

BASE = "fs/bcache"
SETS: tuple[tuple[str, Family, float], ...] = (  # file of a cache set, family, unit
    (
        "average_key_size",
        gauge("node_bcache_average_key_size_sectors", "Average data per key in the btree (sectors).", "uuid"),
        1.0,
    ),
    (
        "btree_cache_size",
        gauge("node_bcache_btree_cache_size_bytes", "Amount of memory currently used by the btree cache.", "uuid"),
        1.0,
    ),
    (
        "cache_available_percent",
        gauge(
            "node_bcache_cache_available_percent",
            "Percentage of cache device without dirty data, usable for writeback (may contain clean cached data).",
            "uuid",
        ),
        1.0,
    ),
    ("congested", gauge("node_bcache_congested", "Congestion.", "uuid"), 1.0),
    (
        "root_usage_percent",
        gauge(
            "node_bcache_root_usage_percent",
            "Percentage of the root btree node in use (tree depth increases if too high).",
            "uuid",
        ),
        1.0,
    ),
    ("tree_depth", gauge("node_bcache_tree_depth", "Depth of the btree.", "uuid"), 1.0),
    (
        "internal/active_journal_entries",
        gauge(
            "node_bcache_active_journal_entries",
            "Number of journal entries that are newer than the index.",
            "uuid",
        ),
        1.0,
    ),
    ("internal/btree_nodes", gauge("node_bcache_btree_nodes", "Total nodes in the btree.", "uuid"), 1.0),
    (
        "internal/btree_read_average_duration_us",
        gauge("node_bcache_btree_read_average_duration_seconds", "Average btree read duration.", "uuid"),
        1e-9,  # named for microseconds; node_exporter takes it for nanoseconds, and dashboards know its values
    ),
    (
        "internal/cache_read_races",
        counter(
            "node_bcache_cache_read_races_total",
            "Reads from the cache during which the bucket was reused and invalidated.",
            "uuid",
        ),
        1.0,
    ),
)
BACKING = ("uuid", "backing_device")
DIRTY = gauge("node_bcache_dirty_data_bytes", "Amount of dirty data for this backing device in the cache.", *BACKING)
WRITEBACK = {  # line of writeback_rate_debug -> family
    "target": gauge(
        "node_bcache_dirty_target_bytes",
        "Current dirty data target threshold for this backing device in bytes.",
        *BACKING,
    ),
    "rate": gauge("node_bcache_writeback_rate", "Current writeback rate for this backing device in bytes.", *BACKING),
    "proportional": gauge(
        "node_bcache_writeback_rate_proportional_term",
        "Current result of proportional controller, part of writeback rate",
        *BACKING,
    ),
    "integral": gauge(
        "node_bcache_writeback_rate_integral_term",
        "Current result of integral controller, part of writeback rate",
        *BACKING,
    ),
    "change": gauge(
        "node_bcache_writeback_change", "Last writeback rate change step for this backing device.", *BACKING
    ),
}
TOTALS = {  # file of stats_total -> family
    "bypassed": counter(
        "node_bcache_bypassed_bytes_total",
        "Amount of IO (both reads and writes) that has bypassed the cache.",
        *BACKING,
    ),
    "cache_hits": counter(
        "node_bcache_cache_hits_total", "Hits counted per individual IO as bcache sees them.", *BACKING
    ),
    "cache_misses": counter(
        "node_bcache_cache_misses_total", "Misses counted per individual IO as bcache sees them.", *BACKING
    ),
    "cache_bypass_hits": counter(
        "node_bcache_cache_bypass_hits_total", "Hits for IO intended to skip the cache.", *BACKING
    ),
    "cache_bypass_misses": counter(
        "node_bcache_cache_bypass_misses_total", "Misses for IO intended to skip the cache.", *BACKING
    ),
    "cache_miss_collisions": counter(
        "node_bcache_cache_miss_collisions_total",
        "Instances where data insertion from cache miss raced with write (data already present).",
        *BACKING,
    ),
}
READAHEADS = counter("node_bcache_cache_readaheads_total", "Count of times readahead occurred.", *BACKING)
CACHES = {  # file of a cache device -> family
    "io_errors": gauge(
        "node_bcache_io_errors",
        "Number of errors that have occurred, decayed by io_error_halflife.",
        *("uuid", "cache_device"),
    ),
    "metadata_written": counter(
        "node_bcache_metadata_written_bytes_total",
        "Sum of all non data writes (btree writes and all other metadata).",
        *("uuid", "cache_device"),
    ),
    "written": counter(
        "node_bcache_written_bytes_total",
        "Sum of all data that has been written to the cache.",
        *("uuid", "cache_device"),
    ),
}
UNITS = {unit: 1024.0**power for power, unit in enumerate("kMGTPEZY", start=1)}
DEVICE = re.compile(r"(bdev|cache)[0-9]")


def parse_size(text: str) -> float:
    """A number as bcache prints it (bch_hprint): with a unit, the digit after the point is tenths of 1024."""
    sign, digits = (-1.0, text[1:]) if text.startswith("-") else (1.0, text)
    unit = UNITS.get(digits[-1:], 0.0)
    if not unit:
        return sign * int(float(digits))
    whole, point, rest = digits[:-1].partition(".")
    number = float(whole) + (float(rest) / 10.24 if point else 0.0)
    return sign * int(number * unit)


def parse_writeback(text: str) -> dict[str, float]:
    """The lines of writeback_rate_debug that have a family."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if name in WRITEBACK:
            found[name] = parse_size(rest.split()[-1].removesuffix("/sec"))
    return found


def bcache(machine: Machine) -> Iterator[Sample]:
    """The part `bcache`."""
    sys = machine.sys
    for uuid in sys.entries(BASE):
        if "-" not in uuid:
            continue
        for file, family, unit in SETS:
            yield family(_size(sys, f"{BASE}/{uuid}/{file}") * unit, uuid)
        for name in sys.names(f"{BASE}/{uuid}"):
            match = DEVICE.match(name)
            if match and match[1] == "bdev":
                yield from _backing(sys, f"{BASE}/{uuid}/{name}", uuid, name)
            elif match:
                for file, family in CACHES.items():
                    yield family(_size(sys, f"{BASE}/{uuid}/{name}/{file}"), uuid, name)


def _backing(sys: Tree, directory: str, uuid: str, name: str) -> Iterator[Sample]:
    yield DIRTY(_size(sys, f"{directory}/dirty_data"), uuid, name)
    writeback = parse_writeback(sys.text(f"{directory}/writeback_rate_debug"))
    for line, family in WRITEBACK.items():
        yield family(writeback.get(line, 0.0), uuid, name)
    for file, family in TOTALS.items():
        yield family(_size(sys, f"{directory}/stats_total/{file}"), uuid, name)
    if readaheads := _size(sys, f"{directory}/stats_total/cache_readaheads"):  # gone since Linux 5.13
        yield READAHEADS(readaheads, uuid, name)


def _size(sys: Tree, path: str) -> float:
    try:
        return parse_size(sys.word(path))
    except FileNotFoundError:
        return 0.0
