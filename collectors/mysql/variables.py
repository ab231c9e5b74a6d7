"""SHOW GLOBAL VARIABLES: a gauge each, with the version and what else is text and worth a label."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from agent.model import Family, Sample, gauge
from collectors.mysql.values import Named, name_of, parse_value

SQL: Final = "SHOW GLOBAL VARIABLES"
VERSION: Final = gauge(
    "mysql_version_info",
    "MySQL version and distribution.",
    *("instance", "innodb_version", "version", "version_comment"),
)
GALERA: Final = gauge(
    "mysql_galera_variables_info", "PXC/Galera variables information.", "instance", "wsrep_cluster_name"
)
CACHE: Final = gauge("mysql_galera_gcache_size_bytes", "PXC/Galera gcache size.", "instance")
ISOLATION: Final = gauge("mysql_transaction_isolation", "MySQL transaction isolation.", "instance", "level")
FAMILIES: Final[tuple[Family, ...]] = (VERSION, GALERA, CACHE, ISOLATION)
_TEXTS: Final = frozenset(
    {"innodb_version", "version", "version_comment", "wsrep_cluster_name", "wsrep_provider_options", "tx_isolation",
     "transaction_isolation"}
)  # fmt: skip
_CACHE_SIZE: Final = re.compile(r"gcache\.size = (\d+)([MG]?);", re.ASCII)
_POWER: Final = {"": 0, "M": 20, "G": 30}
_LONGEST: Final = 256  # characters of a label
_LONGEST_TEXT: Final = 16 << 10  # wsrep_provider_options has 3,000


class Variables:
    """The families so far."""

    def __init__(self) -> None:
        self._named = Named("mysql_global_variables", gauge, "Generic gauge metric from SHOW GLOBAL VARIABLES.")

    def read(self, instance: str, rows: Iterable[tuple[str | None, ...]]) -> Iterator[Sample]:
        """The samples of rows of (name, value)."""
        texts: dict[str, str] = {}
        for name, text in rows:
            key = name_of(name or "")
            if (value := parse_value(text)) is not None:
                yield Sample(self._named[key], (instance,), value)
            elif key in _TEXTS:
                texts[key] = (text or "")[:_LONGEST_TEXT]
        yield from read_texts(instance, texts)


def read_texts(instance: str, texts: dict[str, str]) -> Iterator[Sample]:
    """What is told in labels."""
    yield Sample(VERSION, (instance, *(texts.get(label, "")[:_LONGEST] for label in VERSION.labels[1:])), 1.0)
    if cluster := texts.get("wsrep_cluster_name"):
        yield Sample(GALERA, (instance, cluster[:_LONGEST]), 1.0)
    if provider := texts.get("wsrep_provider_options"):
        yield Sample(CACHE, (instance,), parse_cache_size(provider))
    if level := texts.get("transaction_isolation") or texts.get("tx_isolation"):
        yield Sample(ISOLATION, (instance, level[:_LONGEST]), 1.0)


def parse_cache_size(options: str) -> float:
    """The bytes of `gcache.size` in wsrep_provider_options; 0 where there are none."""
    found = _CACHE_SIZE.search(options)
    return float(found[1]) * 2.0 ** _POWER[found[2]] if found else 0.0
