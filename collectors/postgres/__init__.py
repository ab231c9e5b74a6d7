"""PostgreSQL 12 to 18: what postgres_exporter shows by default, under its names, and the connections as a pool.

One connection a server, kept, with time limits on everything it does: whoever locks tables, or the catalogue, makes
parts of a round fail (`pg_scrape_collector_success` 0) and nothing wait. What had been found when the round's deadline
came is kept.

asyncpg was chosen over psycopg 3: 6 MB and 55 ms of import against 14 MB and 130 ms, and rows that come as binary.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from agent.model import Sample, counter, gauge, unknown
from collectors.postgres.custom import MOST_ROWS, Custom
from collectors.postgres.errors import Failed, Trouble, failures, trouble_of
from collectors.postgres.options import Options, parse_dsn
from collectors.postgres.options import Options as _Options
from collectors.postgres.parts import PARTS, SETTINGS
from collectors.postgres.session import Session
from collectors.postgres.settings import LOADED, SQL, Settings
from collectors.postgres.statements import Part, read_rows

if TYPE_CHECKING:
    import asyncpg  # type: ignore[import-untyped]  # ships no marker

__all__ = ["Options", "Postgres", "parse_dsn"]

UP: Final = gauge("pg_up", "Whether the last scrape was able to connect to the server (1 yes, 0 no).", "instance")
ERROR: Final = gauge("pg_error", "1 with the class of what keeps us from the server.", "instance", "error")
STATIC: Final = unknown("pg_static", "Version string as reported by postgres", "instance", "version", "short_version")
LAST_ERROR: Final = gauge("pg_exporter_last_scrape_error", "1 when anything of the last scrape failed.", "instance")
LAST_DURATION: Final = gauge("pg_exporter_last_scrape_duration_seconds", "Duration of the last scrape.", "instance")
SCRAPES: Final = counter("pg_exporter_scrapes_total", "Number of times the server was scraped.", "instance")
DURATION: Final = gauge(
    "pg_scrape_collector_duration_seconds", "Duration of a collector scrape.", "instance", "collector"
)
SUCCESS: Final = gauge("pg_scrape_collector_success", "Whether a collector succeeded.", "instance", "collector")
PART_ERROR: Final = gauge(
    "pg_scrape_collector_error", "1 with the class of a part's failure.", "instance", "collector", "error"
)
OWN: Final = (UP, ERROR, STATIC, LAST_ERROR, LAST_DURATION, SCRAPES, DURATION, SUCCESS, PART_ERROR)
# Beside those whose names come from the server or the configuration.
METRICS: Final = (*OWN, *(family for part in PARTS for one in part.statements for family in one.families))

_ABOUT: Final = "SELECT version(), current_setting('server_version'), current_setting('server_version_num')::int"
_SINCE_14: Final = "SET client_connection_check_interval = 1000"  # a backend ends when we are gone


class Postgres:
    """One server."""

    Options: ClassVar[type[_Options]] = _Options
    job: ClassVar[str] = "postgres"
    remote: ClassVar[bool] = True

    def __init__(self, options: _Options) -> None:
        self._session = Session(options)
        self._setup = _limits(options)
        wanted = [part for part in PARTS if part.default or part.name in options.enable]
        self._parts = [part for part in wanted if part.name not in options.disable]
        self._custom = [Custom(query) for query in options.queries]
        self._settings = Settings()
        self._settings_key: object = None
        self._settings_now: list[Sample] = []
        self._about: tuple[str, str] = ("", "")
        self._version = 0
        self._scrapes = 0
        self._round = Round("", 0)

    async def targets(self) -> Sequence[str]:
        """The one server."""
        return [self._session.instance]

    async def probe(self, target: str) -> Iterable[Sample]:
        """Everything the parts find; what fails is a sample."""
        self._scrapes += 1
        self._round = found = Round(target, self._scrapes)
        try:
            await self._look(found)
        except Failed as failed:
            self._session.drop()
            found.down = failed.trouble
        except BaseException:  # cut off by the deadline, most of all
            self._session.drop()
            raise
        return found.told(self._about)

    def late(self, target: str, seconds: float) -> Iterable[Sample]:
        """What had been found when the deadline came."""
        found = self._round
        if found.doing:
            found.ended(found.doing, "timeout")
        if not found.answered:
            found.down = "timeout"
        return found.told(self._about)

    async def _look(self, found: Round) -> None:
        connection = await self._connect()
        for part in self._parts:
            await self._attempt(found, part.name, connection, self._ask(found, part, connection))
        for custom in self._custom:
            await self._attempt(found, custom.name, connection, _query(found, custom, connection))
        found.doing = ""

    async def _connect(self) -> asyncpg.Connection[Any]:
        before = self._session.connections
        connection = await self._session.connect(self._setup)
        if self._session.connections != before:
            try:
                full, version, self._version = await connection.fetchrow(_ABOUT)
                if self._version >= 140000:
                    await connection.execute(_SINCE_14)
            except failures() as error:
                raise Failed(trouble_of(error)) from None
            self._about = full, version
            self._settings_key = None
        return connection

    async def _attempt(
        self, found: Round, name: str, connection: asyncpg.Connection[Any], asking: Awaitable[None]
    ) -> None:
        found.started(name)
        try:
            await asking
        except failures() as error:
            trouble = trouble_of(error)
            found.ended(name, trouble)
            if connection.is_closed():
                raise Failed("reset" if trouble != "protocol" else trouble) from None
        else:
            found.answered = True
            found.ended(name, None)

    async def _ask(self, found: Round, part: Part, connection: asyncpg.Connection[Any]) -> None:
        if part is SETTINGS:
            found.samples += await self._look_at_settings(found.instance, connection)
        for statement in part.statements:
            if statement.suits(self._version):
                rows = await connection.fetch(statement.sql)
                found.samples += read_rows(found.instance, statement.families, rows)

    async def _look_at_settings(self, instance: str, connection: asyncpg.Connection[Any]) -> list[Sample]:
        key = await connection.fetchrow(LOADED)
        if self._settings_key is None or key != self._settings_key:
            self._settings_now = [*self._settings.read(instance, await connection.fetch(SQL))]
            self._settings_key = key
        return self._settings_now

    async def close(self) -> None:
        """Let go of the connection."""
        self._session.close()


class Round:
    """What a round has found so far."""

    def __init__(self, instance: str, number: int) -> None:
        self.instance, self.number = instance, number
        self.samples: list[Sample] = []
        self.down: Trouble | None = None
        self.answered = False
        self.doing = ""
        self._failed = False
        self._begun = self._since = time.perf_counter()

    def started(self, name: str) -> None:
        """A part begins."""
        self.doing, self._since = name, time.perf_counter()

    def ended(self, name: str, trouble: Trouble | None) -> None:
        """A part is done, or failed."""
        self.samples.append(DURATION(time.perf_counter() - self._since, self.instance, name))
        self.samples.append(SUCCESS(float(trouble is None), self.instance, name))
        if trouble is not None:
            self._failed = True
            self.samples.append(PART_ERROR(1.0, self.instance, name, trouble))

    def told(self, about: tuple[str, str]) -> Iterator[Sample]:
        """All of it, and what it amounts to."""
        yield UP(float(self.down is None), self.instance)
        yield SCRAPES(float(self.number), self.instance)
        yield LAST_DURATION(time.perf_counter() - self._begun, self.instance)
        yield LAST_ERROR(float(self._failed or self.down is not None), self.instance)
        if self.down is not None:
            yield ERROR(1.0, self.instance, self.down)
        elif about[0]:
            yield STATIC(1.0, self.instance, about[0], short_version(about[1]))
        yield from self.samples


async def _query(found: Round, custom: Custom, connection: asyncpg.Connection[Any]) -> None:
    async with connection.transaction(readonly=True):
        rows = await connection.fetch(custom.sql)
    try:
        found.samples += custom.read(found.instance, rows[:MOST_ROWS])
    except (KeyError, ValueError) as error:  # no such column, or no number in it
        raise Failed("query") from error


def short_version(text: str) -> str:
    """`15.14 (Debian …)` as postgres_exporter writes it: `15.14.0`; text after the numbers is dropped."""
    numbers = text.split()[0].split(".") if text.split() else []
    digits = ["".join(filter(str.isdigit, number)) or "0" for number in numbers]
    return ".".join([*digits, "0", "0"][:3])


def _limits(options: _Options) -> str:
    """What is set on the session, after the login: so `pg_settings` still knows the server's own values."""
    statement, lock = (round(float(one) * 1000) for one in (options.statement_timeout, options.lock_timeout))
    return (
        f"SET statement_timeout = {statement}; SET lock_timeout = {lock}; "
        f"SET idle_in_transaction_session_timeout = {statement}; SET jit = off"
    )
