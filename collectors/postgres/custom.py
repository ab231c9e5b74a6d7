"""Queries from the configuration: each a part of its own, read-only, with a bound on rows and on every value."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from agent.model import Family, Sample, counter, gauge
from collectors.postgres.options import Query

MOST_ROWS: Final = 5000
MOST_TEXT: Final = 256  # characters of a label's value


class Custom:
    """One query and its families."""

    def __init__(self, query: Query) -> None:
        self.name, self.sql = query.prefix, query.sql.rstrip("; \t\r\n")
        self.labels = tuple(name for name, role in query.columns.items() if role == "label")
        self.families: dict[str, Family] = {
            name: (counter if role == "counter" else gauge)(
                f"{query.prefix}_{name}", f"Column {name} of a query of the configuration.", "instance", *self.labels
            )
            for name, role in query.columns.items()
            if role != "label"
        }

    def read(self, instance: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[Sample]:
        """The samples of rows; raises KeyError for a column that is not there, ValueError for what is no number."""
        for row in rows:
            labels = (instance, *(parse_label(row[name]) for name in self.labels))
            for name, family in self.families.items():
                if (value := row[name]) is not None:
                    yield Sample(family, labels, parse_number(value))


def parse_label(value: Any) -> str:
    """A column's value as a label's."""
    return "" if value is None else str(value)[:MOST_TEXT]


def parse_number(value: Any) -> float:
    """A column's value as a sample's: times are Unix seconds, durations seconds; raises ValueError."""
    if isinstance(value, int | float | decimal.Decimal | str):
        try:
            return float(value)
        except OverflowError:
            raise ValueError("the number is too large") from None
    if isinstance(value, datetime.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=datetime.UTC)).timestamp()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    raise ValueError("is no number")
