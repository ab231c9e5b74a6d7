"""What is asked of a server, as a table: parts of statements, each with the families its columns become.

A statement selects its labels first, then one number a family, in the families' order; NULL is no sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from agent.model import Family, Sample, counter, gauge
from collectors.postgres.frames import Row

DATABASE: Final = ("datname",)
TABLE: Final = ("datname", "schemaname", "relname")
LONGEST: Final = 1024  # characters of a label
_LONGEST_NUMBER: Final = 64


class Statement(Struct, frozen=True):
    """One query, for servers whose `server_version_num` is in [since, before)."""

    sql: str
    families: tuple[Family, ...]
    since: int = 0
    before: int = 1 << 30

    def suits(self, version: int) -> bool:
        """Whether a server of that version understands it."""
        return self.since <= version < self.before


class Part(Struct, frozen=True):
    """What `pg_scrape_collector_success` tells of, under postgres_exporter's name for it."""

    name: str
    statements: tuple[Statement, ...]
    default: bool = True


def counters(prefix: str, labels: tuple[str, ...], table: dict[str, str]) -> tuple[Family, ...]:
    """A counter `prefix_name` for each name and help."""
    return tuple(counter(f"{prefix}_{name}", help, "instance", *labels) for name, help in table.items())


def gauges(prefix: str, labels: tuple[str, ...], table: dict[str, str]) -> tuple[Family, ...]:
    """A gauge `prefix_name` for each name and help."""
    return tuple(gauge(f"{prefix}_{name}", help, "instance", *labels) for name, help in table.items())


def read_row(instance: str, families: tuple[Family, ...], row: Row) -> Iterator[Sample]:
    """The samples of a row of a statement's; raises ValueError for one of another shape."""
    width = len(families[0].labels) - 1
    labels = (instance, *("" if label is None else label[:LONGEST] for label in row[:width]))
    for family, text in zip(families, row[width:], strict=True):
        if text is not None:
            if len(text) > _LONGEST_NUMBER or "_" in text:
                raise ValueError("is no number")
            yield Sample(family, labels, float(text))
