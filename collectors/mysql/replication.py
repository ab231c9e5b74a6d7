"""SHOW SLAVE STATUS under the name each server has for it: a family a column, a series a source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from agent.model import Family, Sample, gauge, unknown
from collectors.mysql.values import LONGEST, Named, name_of, parse_value

_DIGITS: Final = re.compile(r"[0-9]{1,20}")
LABELS: Final = ("master_host", "master_uuid", "channel_name", "connection_name")
_LONGEST_POSITIONS: Final = 16 << 10  # characters: some five hundred domains
_SLAVE: Final = "mysql_slave_status"
POSITIONS: Final = {
    column: gauge(
        f"{_SLAVE}_{column.lower()}",
        f"{column} metric from SHOW SLAVE STATUS.",
        *("instance", *LABELS, "domain_id", "server_id"),
    )
    for column in ("Gtid_IO_Pos", "Gtid_Slave_Pos")
}
FAMILIES: Final[tuple[Family, ...]] = tuple(POSITIONS.values())
_SOURCES: Final = (  # the columns of each label: MySQL 8.4 has another word for it
    ("Master_Host", "Source_Host"),
    ("Master_UUID", "Source_UUID"),
    ("Channel_Name",),
    ("Connection_name",),
)


def queries(*, mariadb: bool, version: tuple[int, int, int]) -> list[str]:
    """What to ask, the likeliest first; the words differ, and so do the columns' names."""
    several, old, new = "SHOW ALL SLAVES STATUS", "SHOW SLAVE STATUS", "SHOW REPLICA STATUS"
    if mariadb:
        return [several, old]
    return [new, old] if version >= (8, 4, 0) else [old, new]


class Replication:
    """The families so far."""

    def __init__(self) -> None:
        self._named = Named(_SLAVE, unknown, "Generic metric from SHOW SLAVE STATUS.", *LABELS)

    def read(self, instance: str, columns: tuple[str, ...], rows: Iterable[tuple[str | None, ...]]) -> Iterator[Sample]:
        """The samples of one row a source; columns that are no numbers are left out."""
        for row in rows:
            texts = dict(zip(columns, row, strict=True))
            labels = (instance, *(_first(texts, names)[:LONGEST] for names in _SOURCES))
            for column, text in texts.items():
                if (value := parse_value(text)) is not None:
                    yield Sample(self._named[name_of(column)], labels, value)
            for column, family in POSITIONS.items():
                yield from read_positions(family, labels, texts.get(column) or "")


def read_positions(family: Family, labels: tuple[str, ...], text: str) -> Iterator[Sample]:
    """MariaDB's GTIDs, `domain-server-sequence` each."""
    for gtid in text[:_LONGEST_POSITIONS].split(","):
        domain, _, rest = gtid.strip().partition("-")
        server, _, sequence = rest.partition("-")
        if _DIGITS.fullmatch(domain) and _DIGITS.fullmatch(server) and _DIGITS.fullmatch(sequence):
            yield Sample(family, (*labels, domain, server), float(sequence))


def _first(texts: dict[str, str | None], names: tuple[str, ...]) -> str:
    return next((text for name in names if (text := texts.get(name))), "")
