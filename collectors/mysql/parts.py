"""What is asked of a server, as a table, under mysqld_exporter's names for its collectors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from agent.model import Family, Sample
from collectors.mysql import innodb, replication, status, variables
from collectors.mysql.errors import UNKNOWN_TABLE, UNKNOWN_VARIABLE, Failed, Refused
from collectors.mysql.values import MOST

if TYPE_CHECKING:
    from collectors.mysql.session import Answer, Row, Session


class Part(Protocol):
    """One thing that succeeds or fails alone."""

    name: ClassVar[str]
    families: ClassVar[tuple[Family, ...]]

    async def look(self, session: Session) -> Iterable[Sample]:
        """Its samples; raises what `Session.ask` raises."""
        ...


def bounded(answer: Answer) -> tuple[Row, ...]:
    """The rows of an answer that names a series each; raises `Failed` for more than any server has."""
    if len(answer.rows) > MOST:
        raise Failed("protocol")
    return answer.rows


class GlobalStatus:
    """SHOW GLOBAL STATUS."""

    name: ClassVar[str] = "global_status"
    families: ClassVar[tuple[Family, ...]] = status.FAMILIES

    def __init__(self) -> None:
        self._status = status.Status()

    async def look(self, session: Session) -> Iterable[Sample]:
        """Its samples."""
        return self._status.read(session.instance, bounded(await session.ask(status.SQL)))


class GlobalVariables:
    """SHOW GLOBAL VARIABLES."""

    name: ClassVar[str] = "global_variables"
    families: ClassVar[tuple[Family, ...]] = variables.FAMILIES

    def __init__(self) -> None:
        self._variables = variables.Variables()

    async def look(self, session: Session) -> Iterable[Sample]:
        """Its samples."""
        return self._variables.read(session.instance, bounded(await session.ask(variables.SQL)))


class SlaveStatus:
    """SHOW ALL SLAVES STATUS, SHOW SLAVE STATUS or SHOW REPLICA STATUS."""

    name: ClassVar[str] = "slave_status"
    families: ClassVar[tuple[Family, ...]] = replication.FAMILIES

    def __init__(self) -> None:
        self._replication = replication.Replication()
        self._queries: list[str] = []
        self._connections = 0

    async def look(self, session: Session) -> Iterable[Sample]:
        """Its samples."""
        if self._connections != session.connections:
            server, self._connections = session.server, session.connections
            self._queries = replication.queries(mariadb=server.mariadb, version=server.version)
        answer = await session.ask_first(self._queries)
        return self._replication.read(session.instance, answer.columns, answer.rows)


class InnodbCmp:
    """information_schema.innodb_cmp."""

    name: ClassVar[str] = "info_schema.innodb_cmp"
    families: ClassVar[tuple[Family, ...]] = innodb.CMP

    async def look(self, session: Session) -> Iterable[Sample]:
        """Its samples."""
        return innodb.read_rows(session.instance, innodb.CMP, (await session.ask(innodb.CMP_SQL)).rows)


class InnodbCmpmem:
    """information_schema.innodb_cmpmem."""

    name: ClassVar[str] = "info_schema.innodb_cmpmem"
    families: ClassVar[tuple[Family, ...]] = innodb.CMPMEM

    async def look(self, session: Session) -> Iterable[Sample]:
        """Its samples."""
        return innodb.read_rows(session.instance, innodb.CMPMEM, (await session.ask(innodb.CMPMEM_SQL)).rows)


class QueryResponseTime:
    """information_schema.query_response_time and its halves; nothing where no plugin counts."""

    name: ClassVar[str] = "info_schema.query_response_time"
    families: ClassVar[tuple[Family, ...]] = tuple(innodb.TIMES.values())

    async def look(self, session: Session) -> Iterable[Sample]:
        """Its samples."""
        samples: list[Sample] = []
        try:
            if (await session.ask(innodb.TIMES_ON)).rows != (("1",),):
                return samples
            for sql, family in innodb.TIMES.items():
                times = innodb.parse_times((await session.ask(sql)).rows)
                samples.append(Sample(family, (session.instance,), times))
        except Refused as refused:
            if refused.code != UNKNOWN_VARIABLE and not (samples and refused.code in UNKNOWN_TABLE):
                raise
        return samples


PARTS: Final[tuple[type[Part], ...]] = (
    GlobalStatus,
    GlobalVariables,
    SlaveStatus,
    InnodbCmp,
    InnodbCmpmem,
    QueryResponseTime,
)
