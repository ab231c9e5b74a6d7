"""MySQL 5.7 and later, and MariaDB: what mysqld_exporter shows by default, under its names, over one connection.

The connection is kept, with time limits on what it does: whoever holds up a query makes a part of a round fail
(`mysql_exporter_collector_success` 0) and nothing wait. What had been found when the round's deadline came is kept.

PyMySQL parses packets and answers challenges, over connections of our own. Not chosen: asyncmy 0.2.18, which believes
the lengths a server sends and crashes the process with it (a column definition of nine bytes is enough), and takes
6 MB; aiomysql 0.3.2, which goes on without TLS where the server has none, and then hands over the password if asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Final

from agent.model import Sample, gauge
from collectors.extras import need
from collectors.mysql.errors import FAILURES, Failed, Refused, Trouble, trouble_of
from collectors.mysql.options import Options, parse_url
from collectors.mysql.options import Options as _Options
from collectors.mysql.parts import PARTS, Part
from collectors.mysql.rules import RULES
from collectors.portions import keep
from config.rules import Rule

__all__ = ["Mysql", "Options", "parse_url"]

UP: Final = gauge("mysql_up", "Whether the MySQL server is up.", "instance")
ERROR: Final = gauge("mysql_error", "1 with the class of what keeps us from the server.", "instance", "error")
DURATION: Final = gauge(
    "mysql_exporter_collector_duration_seconds", "Collector time duration.", "instance", "collector"
)
SUCCESS: Final = gauge("mysql_exporter_collector_success", "Whether a collector succeeded.", "instance", "collector")
PART_ERROR: Final = gauge(
    "mysql_exporter_collector_error", "1 with the class of a part's failure.", "instance", "collector", "error"
)
OWN: Final = (UP, ERROR, DURATION, SUCCESS, PART_ERROR)
METRICS: Final = (*OWN, *(family for part in PARTS for family in part.families))  # beside names of the server's
MOST_SAMPLES: Final = 50_000  # of a part
_ENDING: Final = frozenset({"reset", "starting"})  # after an error of these the server hangs up


class Mysql:
    """One server."""

    Options: ClassVar[type[_Options]] = _Options
    job: ClassVar[str] = "mysql"
    remote: ClassVar[bool] = True
    rules: ClassVar[tuple[Rule, ...]] = RULES

    def __init__(self, options: _Options) -> None:
        need("mysql")
        from collectors.mysql.session import Session

        self._session = Session(options)
        self._parts = [part() for part in PARTS if part.name not in options.disable]
        self._round = Round("")

    async def targets(self) -> Sequence[str]:
        """The one server."""
        return [self._session.instance]

    async def probe(self, target: str) -> Iterable[Sample]:
        """Everything the parts find; what fails is a sample."""
        self._round = found = Round(target)
        try:
            await self._look(found)
        except Failed as failed:
            self._session.drop()
            found.down = failed.trouble
        except BaseException:  # cut off by the deadline, most of all
            self._session.drop()
            raise
        return found.told()

    def late(self, target: str, seconds: float) -> Iterable[Sample]:
        """What had been found when the deadline came."""
        found = self._round
        if found.doing:
            found.ended("timeout")
        if not found.answered:
            found.down = "timeout"
        return found.told()

    async def _look(self, found: Round) -> None:
        await self._session.connect()
        found.connected()
        for part in self._parts:
            await self._attempt(found, part)
        found.answered = True

    async def _attempt(self, found: Round, part: Part) -> None:
        found.started(part.name)
        try:
            samples: list[Sample] = []
            await keep(await part.look(self._session), samples, MOST_SAMPLES)
        except Refused as refused:
            found.ended(refused.trouble)
            if refused.trouble in _ENDING:
                raise
        except (Failed, *FAILURES) as error:  # nobody knows what the next bytes mean
            found.ended(trouble_of(error))
            raise Failed(trouble_of(error)) from None
        else:
            found.samples += samples
            found.answered = True
            found.ended(None)

    async def close(self) -> None:
        """Let go of the connection."""
        self._session.close()


class Round:
    """What a round has found so far."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.samples: list[Sample] = []
        self.down: Trouble | None = None
        self.answered = False
        self.doing = ""
        self._since = time.perf_counter()

    def connected(self) -> None:
        """There is a connection."""
        self.samples.append(DURATION(time.perf_counter() - self._since, self.instance, "connection"))

    def started(self, name: str) -> None:
        """A part begins."""
        self.doing, self._since = f"collect.{name}", time.perf_counter()

    def ended(self, trouble: Trouble | None) -> None:
        """The part under way is done, or failed."""
        name, self.doing = self.doing, ""
        self.samples.append(DURATION(time.perf_counter() - self._since, self.instance, name))
        self.samples.append(SUCCESS(float(trouble is None), self.instance, name))
        if trouble is not None:
            self.samples.append(PART_ERROR(1.0, self.instance, name, trouble))

    def told(self) -> Iterator[Sample]:
        """All of it, and what it amounts to."""
        yield UP(float(self.down is None), self.instance)
        if self.down is not None:
            yield ERROR(1.0, self.instance, self.down)
        yield from self.samples
