"""SHOW GLOBAL STATUS: a family each, but for the groups that mysqld_exporter gives a label."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from agent.model import Family, Sample, counter, gauge, unknown
from collectors.mysql.values import LONGEST, Named, name_of, parse_value

SQL: Final = "SHOW GLOBAL STATUS"
_GROUP: Final = re.compile(
    r"(com|handler|connection_errors|innodb_buffer_pool_pages|innodb_rows|performance_schema)_(.*)"
)
_STATUS: Final = "mysql_global_status"
COUNTERS: Final = {
    "com": counter(f"{_STATUS}_commands_total", "Total number of executed MySQL commands.", "instance", "command"),
    "handler": counter(f"{_STATUS}_handlers_total", "Total number of executed MySQL handlers.", "instance", "handler"),
    "connection_errors": counter(
        f"{_STATUS}_connection_errors_total", "Total number of MySQL connection errors.", "instance", "error"
    ),
    "innodb_rows": counter(
        f"{_STATUS}_innodb_row_ops_total", "Total number of MySQL InnoDB row operations.", "instance", "operation"
    ),
    "performance_schema": counter(
        f"{_STATUS}_performance_schema_lost_total",
        "Total number of MySQL instrumentations that could not be loaded or created due to memory constraints.",
        *("instance", "instrumentation"),
    ),
}
PAGES: Final = gauge(f"{_STATUS}_buffer_pool_pages", "Innodb buffer pool pages by state.", "instance", "state")
DIRTY: Final = gauge(f"{_STATUS}_buffer_pool_dirty_pages", "Innodb buffer pool dirty pages.", "instance")
CHANGES: Final = counter(
    f"{_STATUS}_buffer_pool_page_changes_total", "Innodb buffer pool page state changes.", "instance", "operation"
)
GALERA: Final = gauge(
    "mysql_galera_status_info",
    "PXC/Galera status information.",
    *("instance", "wsrep_local_state_uuid", "wsrep_cluster_state_uuid", "wsrep_provider_version"),
)
LATENCY: Final = tuple(
    gauge(f"mysql_galera_evs_repl_latency_{name}", f"PXC/Galera group communication latency. {what}.", "instance")
    for name, what in (
        ("min_seconds", "Min value"),
        ("avg_seconds", "Avg value"),
        ("max_seconds", "Max value"),
        ("stdev", "Standard Deviation"),
        ("sample_size", "Sample Size"),
    )
)
FAMILIES: Final[tuple[Family, ...]] = (*COUNTERS.values(), PAGES, DIRTY, CHANGES, GALERA, *LATENCY)
_STATES: Final = frozenset({"data", "free", "misc", "old"})


class Status:
    """The families so far."""

    def __init__(self) -> None:
        self._named = Named(_STATUS, unknown, "Generic metric from SHOW GLOBAL STATUS.")

    def read(self, instance: str, rows: Iterable[tuple[str | None, ...]]) -> Iterator[Sample]:
        """The samples of rows of (name, value); what is no number is left out."""
        galera: dict[str, str] = {}
        for name, text in rows:
            key = name_of(name or "")
            if (value := parse_value(text)) is None:
                if key.startswith("wsrep_"):
                    galera[key] = (text or "")[:LONGEST]
            elif found := _GROUP.fullmatch(key):
                yield from _grouped(instance, found[1], found[2], value)
            else:
                yield Sample(self._named[key], (instance,), value)
        yield from read_galera(instance, galera)


def _grouped(instance: str, group: str, name: str, value: float) -> Iterator[Sample]:
    if (family := COUNTERS.get(group)) is not None:
        yield Sample(family, (instance, name), value)
    elif name == "dirty":
        yield Sample(DIRTY, (instance,), value)
    elif name in _STATES:
        yield Sample(PAGES, (instance, name), value)
    elif name != "total":
        yield Sample(CHANGES, (instance, name), value)


def read_galera(instance: str, texts: dict[str, str]) -> Iterator[Sample]:
    """A Galera cluster's identity, and how long its messages take."""
    if texts.get("wsrep_local_state_uuid"):
        yield Sample(GALERA, (instance, *(texts.get(label, "") for label in GALERA.labels[1:])), 1.0)
    latencies = [parse_value(part) for part in texts.get("wsrep_evs_repl_latency", "").split("/")]
    if len(latencies) == len(LATENCY) and None not in latencies:
        for family, value in zip(LATENCY, latencies, strict=True):
            yield Sample(family, (instance,), value or 0.0)
