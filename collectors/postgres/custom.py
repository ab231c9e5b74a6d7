"""Queries from the configuration: each a part of its own, read-only, with a bound on rows and on every value.

The server cuts rows and values itself, and writes everything as text: no type is too odd for a label. A query runs with
the role's own `search_path`, as whoever wrote it tried it, and nothing that it sets outlives it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from agent.model import Family, Sample, counter, gauge
from collectors.postgres.frames import Row
from collectors.postgres.options import Query
from collectors.postgres.tap import MOST_CELLS

MOST_ROWS: Final = 5000
MOST_TEXT: Final = 256  # characters of a label's value
_MOST_DIGITS: Final = 400  # the largest float8 has 309
END: Final = "ROLLBACK"  # after every query, whatever came of it
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|NaN|-?[Ii]nfinity", re.ASCII)
_INTERVAL: Final = re.compile(
    r"(?:(?P<years>-?\+?\d+) years? ?)?(?:(?P<months>[+-]?\d+) mons? ?)?(?:(?P<days>[+-]?\d+) days? ?)?"
    r"(?:(?P<sign>[+-]?)(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d(?:\.\d+)?))?",
    re.ASCII,
)
_SPAN: Final = {"years": 365.25 * 86400, "months": 30 * 86400.0, "days": 86400.0}
_CLOCK: Final = {"hours": 3600.0, "minutes": 60.0, "seconds": 1.0}


class Custom:
    """One query and its families."""

    def __init__(self, query: Query) -> None:
        self.name = query.prefix
        self.labels = tuple(name for name, role in query.columns.items() if role == "label")
        self.families: dict[str, Family] = {
            name: (counter if role == "counter" else gauge)(
                f"{query.prefix}_{name}", f"Column {name} of a query of the configuration.", "instance", *self.labels
            )
            for name, role in query.columns.items()
            if role != "label"
        }
        self.sql = self._wrapped(query.sql.rstrip("; \t\r\n"))

    def _wrapped(self, sql: str) -> str:
        wanted = [(name, MOST_TEXT) for name in self.labels] + [(name, _MOST_DIGITS) for name in self.families]
        columns = ", ".join(f'pg_catalog."left"(q."{name}"::pg_catalog.text, {most})' for name, most in wanted)
        most = min(MOST_ROWS, MOST_CELLS // len(wanted))
        select = f"SELECT {columns} FROM (\n{sql}\n) AS q LIMIT {most}"  # noqa: S608  # it is the user's own
        return f"BEGIN READ ONLY; SET LOCAL search_path TO DEFAULT; {select}"

    def read(self, instance: str, row: Row) -> Iterator[Sample]:
        """The samples of a row: labels first, as asked for; raises ValueError for what is no number."""
        width = len(self.labels)
        labels = (instance, *(text or "" for text in row[:width]))
        for family, text in zip(self.families.values(), row[width:], strict=True):
            if text is not None:
                yield Sample(family, labels, parse_number(text))


def parse_number(text: str) -> float:
    """A column's text as a sample's value: times are Unix seconds, durations seconds; raises ValueError."""
    if text in ("true", "false"):
        return float(text == "true")
    told = text.strip()
    if _NUMBER.fullmatch(told):
        value = float(told)
        if len(text) >= _MOST_DIGITS or (value in (float("inf"), -float("inf")) and told[-1] != "y"):
            raise ValueError("the number is too large")
        return value
    if told and (found := _INTERVAL.fullmatch(told)):
        return parse_interval(found.groupdict())
    try:
        moment = datetime.fromisoformat(told)
    except ValueError:
        raise ValueError("is no number") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def parse_interval(parts: dict[str, str | None]) -> float:
    """The seconds of an interval, whose months are of 30 days and years of 365.25, as PostgreSQL counts its epoch."""
    days = sum(float(parts[name] or 0) * scale for name, scale in _SPAN.items())
    clock = sum(float(parts[name] or 0) * scale for name, scale in _CLOCK.items())
    return days - clock if parts["sign"] == "-" else days + clock
