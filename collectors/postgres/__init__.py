"""PostgreSQL 12 to 18: what postgres_exporter shows by default, under its names, and the connections as a pool.

One connection a server, kept, with time limits on everything it does: whoever locks tables, or the catalogue, makes
parts of a round fail (`pg_scrape_collector_success` 0) and nothing wait. What had been found when the round's deadline
came is kept.

Names in our queries mean what is in `pg_catalog`, whatever stands in the schemas of the role's own path: else whoever
may create a function there would have it run with our rights.

asyncpg was chosen over psycopg 3: 6 MB and 55 ms of import against 14 MB and 130 ms. It logs in and asks; answers are
read by `tap.py`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from typing import ClassVar, Final

from agent.model import Sample, counter, gauge, unknown
from collectors.postgres.custom import END, Custom
from collectors.postgres.errors import Failed, Trouble
from collectors.postgres.frames import Row
from collectors.postgres.options import Options, parse_dsn
from collectors.postgres.options import Options as _Options
from collectors.postgres.parts import PARTS, SETTINGS
from collectors.postgres.rules import RULES
from collectors.postgres.session import Session
from collectors.postgres.settings import LOADED, SQL, Settings
from collectors.postgres.statements import Part, read_row
from collectors.postgres.tap import Answer
from config.rules import Rule

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
MOST_SAMPLES: Final = 150_000  # of a round; a thousand tables have 28,000


class Postgres:
    """One server."""

    Options: ClassVar[type[_Options]] = _Options
    job: ClassVar[str] = "postgres"
    remote: ClassVar[bool] = True
    rules: ClassVar[tuple[Rule, ...]] = RULES

    def __init__(self, options: _Options) -> None:
        self._session = Session(options)
        self._options = options
        wanted = [part for part in PARTS if part.default or part.name in options.enable]
        self._parts = [part for part in wanted if part.name not in options.disable]
        self._custom = [Custom(query) for query in options.queries]
        self._settings = Settings()
        self._settings_key: Row | None = None
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
        await self._connect()
        for part in self._parts:
            await self._attempt(found, part.name, self._ask(found, part))
        for custom in self._custom:
            await self._attempt(found, custom.name, self._query(found, custom))
        found.doing = ""

    async def _connect(self) -> None:
        session = self._session
        if await session.connect():
            await session.ask(setup(self._options, session.version))
            ((full, version, number),) = await _rows(await session.ask(_ABOUT), width=3)
            self._about = full or "", version or ""
            self._version = _whole(number)
            self._settings_key = None

    async def _attempt(self, found: Round, name: str, asking: Awaitable[list[Sample]]) -> None:
        found.started(name)
        try:
            samples = await asking
        except Failed as failed:
            found.ended(name, failed.trouble)
            if not self._session.usable:
                raise
        else:
            found.samples += samples
            found.answered = True
            found.ended(name, None)
            if len(found.samples) > MOST_SAMPLES:
                raise Failed("protocol")

    async def _ask(self, found: Round, part: Part) -> list[Sample]:
        samples: list[Sample] = []
        if part is SETTINGS:
            samples += await self._look_at_settings(found.instance)
        for statement in part.statements:
            if statement.suits(self._version):
                answer = await self._session.ask(statement.sql)
                async for row in answer.rows():
                    samples += _read(read_row(found.instance, statement.families, row))
        return samples

    async def _look_at_settings(self, instance: str) -> list[Sample]:
        (key,) = await _rows(await self._session.ask(LOADED), width=2)
        if self._settings_key is None or key != self._settings_key:
            answer = await self._session.ask(SQL)
            self._settings_now = [
                one async for row in answer.rows() for one in _read(self._settings.read(instance, row))
            ]
            self._settings_key = key
        return self._settings_now

    async def _query(self, found: Round, custom: Custom) -> list[Sample]:
        try:
            answer = await self._session.ask(custom.sql)
        finally:
            if self._session.usable:
                await self._session.ask(END)
        try:
            return [one async for row in answer.rows() for one in custom.read(found.instance, row)]
        except ValueError:  # no number in a column
            raise Failed("query") from None

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


def _read(samples: Iterable[Sample]) -> list[Sample]:
    """The samples of a row of ours; raises `Failed` where it is not what we asked for."""
    try:
        return list(samples)
    except ValueError:
        raise Failed("protocol") from None


async def _rows(answer: Answer, width: int) -> list[Row]:
    """The one row of an answer that has one; raises `Failed` for any other."""
    rows = [row async for row in answer.rows()]
    if len(rows) != 1 or len(rows[0]) != width:
        raise Failed("protocol")
    return rows


def _whole(text: str | None) -> int:
    if text is None or not re.fullmatch(r"[0-9]{5,7}", text):
        raise Failed("protocol")
    return int(text)


def short_version(text: str) -> str:
    """`15.14 (Debian …)` as postgres_exporter writes it: `15.14.0`; text after the numbers is dropped."""
    numbers = text.split()[0].split(".") if text.split() else []
    digits = ["".join(filter(str.isdigit, number)) or "0" for number in numbers]
    return ".".join([*digits, "0", "0"][:3])


def setup(options: _Options, version: int) -> str:
    """What is set on the session before anything else is asked.

    Not in the login itself: what a client says there hides the server's own values, which `pg_settings` is to tell, and
    the role's own `search_path`, which is that of custom queries; and poolers refuse it.
    """
    statement, lock = (round(float(one) * 1000) for one in (options.statement_timeout, options.lock_timeout))
    wanted = {
        "search_path": "pg_catalog, pg_temp",
        "statement_timeout": statement,
        "lock_timeout": lock,
        "idle_in_transaction_session_timeout": statement,
        "client_min_messages": "error",
        "datestyle": "ISO",
        "intervalstyle": "postgres",
        "extra_float_digits": 1,
        "jit": "off",
    }
    if version >= 14:
        wanted["client_connection_check_interval"] = 1000  # a backend ends when we are gone
    return "; ".join(f"SET {name} = {value}" for name, value in wanted.items())
