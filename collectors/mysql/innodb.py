"""information_schema: InnoDB's compressed pages, and how long queries took where a plugin counts that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from agent.model import Family, Histogram, Sample, counter, histogram
from collectors.mysql.values import LONGEST, parse_value

Rows = Iterable[tuple[str | None, ...]]

CMP_SQL: Final = """SELECT page_size, compress_ops, compress_ops_ok, compress_time, uncompress_ops, uncompress_time
    FROM information_schema.innodb_cmp"""
_CMP: Final = "mysql_info_schema_innodb_cmp"
CMP: Final = (
    counter(
        f"{_CMP}_compress_ops_total",
        "Number of times a B-tree page of the size PAGE_SIZE has been compressed.",
        *("instance", "page_size"),
    ),
    counter(
        f"{_CMP}_compress_ops_ok_total",
        "Number of times a B-tree page of the size PAGE_SIZE has been successfully compressed.",
        *("instance", "page_size"),
    ),
    counter(
        f"{_CMP}_compress_time_seconds_total",
        "Total time in seconds spent in attempts to compress B-tree pages.",
        *("instance", "page_size"),
    ),
    counter(
        f"{_CMP}_uncompress_ops_total",
        "Number of times a B-tree page of the size PAGE_SIZE has been uncompressed.",
        *("instance", "page_size"),
    ),
    counter(
        f"{_CMP}_uncompress_time_seconds_total",
        "Total time in seconds spent in uncompressing B-tree pages.",
        *("instance", "page_size"),
    ),
)

CMPMEM_SQL: Final = """SELECT page_size, buffer_pool_instance, pages_used, pages_free, relocation_ops,
    relocation_time / 1000 FROM information_schema.innodb_cmpmem"""
_CMPMEM: Final = "mysql_info_schema_innodb_cmpmem"
_POOL: Final = ("instance", "page_size", "buffer_pool")
CMPMEM: Final = (
    counter(f"{_CMPMEM}_pages_used_total", "Number of blocks of the size PAGE_SIZE that are currently in use.", *_POOL),
    counter(
        f"{_CMPMEM}_pages_free_total",
        "Number of blocks of the size PAGE_SIZE that are currently available for allocation.",
        *_POOL,
    ),
    counter(
        f"{_CMPMEM}_relocation_ops_total", "Number of times a block of the size PAGE_SIZE has been relocated.", *_POOL
    ),
    counter(f"{_CMPMEM}_relocation_time_seconds_total", "Total time in seconds spent in relocating blocks.", *_POOL),
)

TIMES_ON: Final = "SELECT @@query_response_time_stats"  # unknown where the plugin is not
TIMES: Final = {
    sql: histogram(
        f"mysql_info_schema_{prefix}query_response_time_seconds",
        f"The number of {what} queries by duration they took to execute.",
        "instance",
    )
    for sql, prefix, what in (
        ("SELECT TIME, COUNT, TOTAL FROM INFORMATION_SCHEMA.QUERY_RESPONSE_TIME", "", "all"),
        ("SELECT TIME, COUNT, TOTAL FROM INFORMATION_SCHEMA.QUERY_RESPONSE_TIME_READ", "read_", "read"),
        ("SELECT TIME, COUNT, TOTAL FROM INFORMATION_SCHEMA.QUERY_RESPONSE_TIME_WRITE", "write_", "write"),
    )
}
_MOST_BOUNDS: Final = 200  # a server has at most 46
FAMILIES: Final[tuple[Family, ...]] = (*CMP, *CMPMEM, *TIMES.values())


def read_rows(instance: str, families: tuple[Family, ...], rows: Rows) -> Iterator[Sample]:
    """Rows of the labels' values, then one a family."""
    width = len(families[0].labels) - 1
    for row in rows:
        labels = (instance, *((label or "")[:LONGEST] for label in row[:width]))
        for family, text in zip(families, row[width:], strict=True):
            if (value := parse_value(text)) is not None:
                yield Sample(family, labels, value)


def parse_times(rows: Rows) -> Histogram:
    """Rows of (upper bound, count, sum); the last one, `TOO LONG`, is told in the count alone. Raises ValueError for
    bounds without order, and for counts that are none.
    """
    bounds: list[float] = []
    counts: list[float] = []
    count = total = 0.0
    for time, number, seconds in rows:
        count += _count(number)
        total += _count(seconds)
        if bound := parse_value((time or "").strip()):
            if len(bounds) == _MOST_BOUNDS or bound <= (bounds[-1] if bounds else 0.0):
                raise ValueError("bounds without order")
            bounds.append(bound)
            counts.append(count)
    return Histogram(tuple(bounds), (*counts, count), total)


def _count(text: str | None) -> float:
    value = parse_value((text or "").strip()) or 0.0
    if value < 0:
        raise ValueError("a count below nothing")
    return value
