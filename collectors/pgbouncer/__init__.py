"""pgbouncer: its pools, databases, clients and totals from the admin console, under pgbouncer_exporter's names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Final

from msgspec import Struct

from agent.model import Family, Sample, counter, gauge
from collectors.pgbouncer.rules import RULES
from collectors.portions import keep
from collectors.postgres.errors import Failed, Trouble
from collectors.postgres.options import Login
from collectors.postgres.session import Session
from config.rules import Rule

UP: Final = gauge("pgbouncer_up", "The pgbouncer scrape succeeded", "instance")
ERROR: Final = gauge("pgbouncer_error", "1 with the class of what keeps us from the console.", "instance", "error")
SHOW_ERROR: Final = gauge(
    "pgbouncer_show_error", "1 with the class of what keeps us from a table of the console.", "instance",
    *("show", "error"),
)  # fmt: skip
VERSION: Final = gauge("pgbouncer_version_info", "The pgbouncer version info", "instance", "version")
CLIENTS: Final = gauge(
    "pgbouncer_client_connections",
    "Number of client connections grouped by database, user, application name, and state",
    *("instance", "database", "user", "application_name", "state"),
)
MOST_GROUPS: Final = 1000  # of clients
MOST_SAMPLES: Final = 100_000  # of a round
LONGEST: Final = 1024  # characters of a value
_NUMBER: Final = re.compile(r"[+-]?\d{1,40}(?:\.\d{1,40})?", re.ASCII)
_DATABASE: Final = ("instance", "name", "host", "port", "database", "force_user", "pool_mode")
_POOL: Final = ("instance", "database", "user")
_MICRO: Final = 1e-6

Row = dict[str, str]


class Column(Struct, frozen=True):
    """A column that is a metric."""

    family: Family
    factor: float = 1.0


def _gauges(prefix: str, labels: tuple[str, ...], table: Mapping[str, tuple[str, str]]) -> dict[str, Column]:
    return {column: Column(gauge(f"{prefix}_{name}", help, *labels)) for column, (name, help) in table.items()}


def _total(name: str, help: str, factor: float = 1.0) -> Column:
    return Column(counter(f"pgbouncer_stats_totals_{name}_total", help, "instance", "database"), factor)


_RESERVE: Final = ("reserve_pool", "Maximum number of additional connections for this database")
DATABASES: Final = _gauges(
    "pgbouncer_databases",
    _DATABASE,
    {
        "pool_size": ("pool_size", "Maximum number of server connections"),
        "reserve_pool": _RESERVE,
        "max_connections": ("max_connections", "Maximum number of allowed connections for this database"),
        "current_connections": ("current_connections", "Current number of connections for this database"),
        "paused": ("paused", "1 if this database is currently paused, else 0"),
        "disabled": ("disabled", "1 if this database is currently disabled, else 0"),
    },
)
DATABASES["reserve_pool_size"] = DATABASES["reserve_pool"]  # its name since 1.24
POOLS: Final = _gauges(
    "pgbouncer_pools",
    _POOL,
    {
        "cl_active": ("client_active_connections", "Client connections linked to a server connection"),
        "cl_active_cancel_req": ("client_active_cancel_connections", "Clients whose cancel request was forwarded"),
        "cl_waiting": ("client_waiting_connections", "Client connections waiting on a server connection"),
        "cl_waiting_cancel_req": ("client_waiting_cancel_connections", "Clients whose cancel request waits"),
        "sv_active": ("server_active_connections", "Server connections linked to a client connection"),
        "sv_active_cancel": ("server_active_cancel_connections", "Server connections forwarding a cancel request"),
        "sv_being_canceled": ("server_being_canceled_connections", "Servers waiting for cancel requests to end"),
        "sv_idle": ("server_idle_connections", "Server connections idle and ready for a client query"),
        "sv_used": ("server_used_connections", "Server connections idle so long that they need a check"),
        "sv_tested": ("server_testing_connections", "Server connections running a reset or check query"),
        "sv_login": ("server_login_connections", "Server connections in the process of logging in"),
        "maxwait": ("client_maxwait_seconds", "Age of oldest unserved client connection"),
    },
)
TOTALS: Final = {
    "query_count": _total("queries_pooled", "Total number of SQL queries pooled"),
    "query_time": _total("queries_duration_seconds", "Seconds spent with servers executing queries", _MICRO),
    "bytes_received": _total("received_bytes", "Total volume in bytes of network traffic received"),
    "requests": _total("queries", "Total number of SQL requests pooled"),
    "bytes_sent": _total("sent_bytes", "Total volume in bytes of network traffic sent"),
    "wait_time": _total("client_wait_seconds", "Time spent by clients waiting for a server in seconds", _MICRO),
    "xact_count": _total("sql_transactions_pooled", "Total number of SQL transactions pooled"),
    "xact_time": _total("server_in_transaction_seconds", "Seconds spent with servers in a transaction", _MICRO),
    "client_parse_count": _total("client_parses", "Parse messages received from clients"),
    "server_parse_count": _total("server_parses", "Parse messages sent to PostgreSQL"),
    "bind_count": _total("binds", "Prepared statements readied for execution with a Bind message"),
    "server_assignment_count": _total("server_assignments", "Times a server was assigned to a client"),
}
LISTS: Final = {
    name: gauge(f"pgbouncer_{known}", f"Count of {help}", "instance")
    for name, known, help in (
        ("databases", "databases", "databases"),
        ("users", "users", "users"),
        ("pools", "pools", "pools"),
        ("free_clients", "free_clients", "free clients"),
        ("used_clients", "used_clients", "used clients"),
        ("login_clients", "login_clients", "clients in login state"),
        ("free_servers", "free_servers", "free servers"),
        ("used_servers", "used_servers", "used servers"),
        ("dns_names", "cached_dns_names", "DNS names in the cache"),
        ("dns_zones", "cached_dns_zones", "DNS zones in the cache"),
        ("dns_queries", "in_flight_dns_queries", "in-flight DNS queries"),
    )
}
CONFIG: Final = {
    "max_client_conn": gauge(
        "pgbouncer_config_max_client_connections", "Config maximum number of client connections", "instance"
    ),
    "max_user_connections": gauge(
        "pgbouncer_config_max_user_connections", "Config maximum number of server connections per user", "instance"
    ),
}
METRICS: Final = (
    *(UP, ERROR, SHOW_ERROR, VERSION, CLIENTS),
    *dict.fromkeys(column.family for table in (DATABASES, POOLS, TOTALS) for column in table.values()),
    *(*LISTS.values(), *CONFIG.values()),
)


_TABLES: Final = (DATABASES, POOLS, TOTALS)
WANTED: Final = frozenset(  # columns; there are others
    {
        *("version", "list", "items", "key", "value", *CLIENTS.labels),
        *(name for table in _TABLES for name in table),
        *(label for table in _TABLES for column in table.values() for label in column.family.labels),
    }
)


class PgbouncerOptions(Login, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[collectors.pgbouncer]`: one console; its user needs to be in pgbouncer's `stats_users`."""

    KEY: ClassVar[str] = "url"
    PORT: ClassVar[int] = 6432
    DATABASE: ClassVar[str] = "pgbouncer"

    url: str = "postgres://nightjar@127.0.0.1:6432/pgbouncer"


class Pgbouncer:
    """One pgbouncer."""

    Options: ClassVar[type[PgbouncerOptions]] = PgbouncerOptions
    job: ClassVar[str] = "pgbouncer"
    remote: ClassVar[bool] = True
    rules: ClassVar[tuple[Rule, ...]] = RULES

    def __init__(self, options: PgbouncerOptions) -> None:
        self._session = Session(options)
        self._found: list[Sample] = []

    async def targets(self) -> Sequence[str]:
        """The one console."""
        return [self._session.instance]

    async def probe(self, target: str) -> Iterable[Sample]:
        """What the console shows; a console that cannot be reached is a sample."""
        found: list[Sample] = []
        self._found = found
        try:
            await self._look(target, found)
        except Failed as failed:
            self._session.drop()
            return [*_down(target, failed.trouble), *found]
        except BaseException:  # cut off by the deadline, most of all
            self._session.drop()
            raise
        return [UP(1.0, target), *found]

    def late(self, target: str, seconds: float) -> Iterable[Sample]:
        """A console that does not answer."""
        return [*_down(target, "timeout"), *self._found]

    async def _look(self, target: str, found: list[Sample]) -> None:
        if await self._session.connect():
            await self._session.ask("SHOW VERSION")
        for show, read in READERS.items():
            try:
                rows = await self._rows(show)
                await keep(read(target, rows), found, MOST_SAMPLES)
            except (Failed, ValueError) as error:
                trouble = error.trouble if isinstance(error, Failed) else "protocol"
                if not self._session.usable:
                    raise Failed(trouble) from None
                found.append(SHOW_ERROR(1.0, target, show.lower(), trouble))

    async def _rows(self, show: str) -> list[Row]:
        answer = await self._session.ask(f"SHOW {show}")
        wanted = [(at, name) for at, name in enumerate(answer.columns) if name in WANTED]
        return [{name: (row[at] or "")[:LONGEST] for at, name in wanted} async for row in answer.rows()]

    async def close(self) -> None:
        """Let go of the connection."""
        self._session.close()


def _down(target: str, trouble: Trouble) -> list[Sample]:
    return [UP(0.0, target), ERROR(1.0, target, trouble)]


def read_table(columns: Mapping[str, Column], target: str, rows: Iterable[Row]) -> Iterator[Sample]:
    """The samples of rows whose columns are labels or metrics; what is no number is left out."""
    for row in rows:
        for name, text in row.items():
            if (column := columns.get(name)) is not None and (value := parse_value(text)) is not None:
                labels = (target, *(row.get(label, "") for label in column.family.labels[1:]))
                yield Sample(column.family, labels, value * column.factor)


def parse_value(text: str) -> float | None:
    """A number as pgbouncer writes them, or None."""
    return float(text) if _NUMBER.fullmatch(text) else None


def _read_databases(target: str, rows: Iterable[Row]) -> Iterator[Sample]:
    return read_table(DATABASES, target, rows)


def _read_pools(target: str, rows: Iterable[Row]) -> Iterator[Sample]:
    return read_table(POOLS, target, rows)


def _read_totals(target: str, rows: Iterable[Row]) -> Iterator[Sample]:
    return read_table(TOTALS, target, rows)


def _read_version(target: str, rows: Iterable[Row]) -> Iterator[Sample]:
    return (VERSION(1.0, target, row.get("version", "")) for row in rows)


def _read_lists(target: str, rows: Iterable[Row]) -> Iterator[Sample]:
    return _read_pairs(LISTS, target, ((row.get("list", ""), row.get("items", "")) for row in rows))


def _read_config(target: str, rows: Iterable[Row]) -> Iterator[Sample]:
    return _read_pairs(CONFIG, target, ((row.get("key", ""), row.get("value", "")) for row in rows))


def _read_pairs(families: Mapping[str, Family], target: str, pairs: Iterable[tuple[str, str]]) -> Iterator[Sample]:
    for name, text in pairs:
        if (family := families.get(name)) is not None and (value := parse_value(text)) is not None:
            yield family(value, target)


def _read_clients(target: str, rows: Iterable[Row]) -> Iterator[Sample]:
    groups = Counter(tuple(row.get(label, "") for label in CLIENTS.labels[1:]) for row in rows)
    return (CLIENTS(float(count), target, *labels) for labels, count in groups.most_common(MOST_GROUPS))


READERS: Final = {
    "VERSION": _read_version,
    "LISTS": _read_lists,
    "CONFIG": _read_config,
    "DATABASES": _read_databases,
    "POOLS": _read_pools,
    "STATS_TOTALS": _read_totals,
    "CLIENTS": _read_clients,
}
