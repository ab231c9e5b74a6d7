"""The one connection to a server, kept from round to round, with its limits set on it."""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec import Struct
from pymysql.protocol import FieldDescriptorPacket, MysqlPacket  # type: ignore[import-untyped]  # ships no marker

from collectors.mysql.errors import FAILURES, SYNTAX, Failed, Refused, trouble_of
from collectors.mysql.login import log_in, refusal
from collectors.mysql.options import Options
from collectors.mysql.values import LONGEST
from collectors.mysql.wire import MOST, Dialer, Wire

MOST_COLUMNS: Final = 512
MOST_CELLS: Final = 50_000  # of an answer; all variables and statuses together are 3,000
BREATH: Final = 500  # cells after which the event loop gets its turn
_QUERY: Final = b"\x03"  # COM_QUERY
_OK, _LOCAL_FILE, _END, _ERROR = 0x00, 0xFB, 0xFE, 0xFF
_END_LENGTH: Final = 9  # a packet that begins like an end and is longer is a row

Row = tuple[str | None, ...]


class Answer(Struct, frozen=True):
    """The columns' names, and rows of text."""

    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()


class Server(Struct, frozen=True):
    """What is at the other end."""

    version: tuple[int, int, int] = (0, 0, 0)
    mariadb: bool = False


class Session:
    """Connects when asked and not connected; after `drop` the next one starts anew."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._dialer = Dialer(options)
        self._wire: Wire | None = None
        self.server = Server()
        self.connections = 0  # made so far

    @property
    def instance(self) -> str:
        """The label of the server's series."""
        return self._dialer.target.instance

    @property
    def open(self) -> bool:
        """Whether there is a connection that can be asked."""
        return self._wire is not None and self._wire.usable

    async def connect(self) -> None:
        """A connection with limits set, open, and with a new allowance of bytes; raises `Failed`."""
        if not self.open:
            self.drop()
            try:
                await self._open()
            except FAILURES as error:
                self.drop()
                raise Failed(trouble_of(error)) from None
            except BaseException:
                self.drop()
                raise
        if self._wire is not None:
            self._wire.left = MOST

    async def _open(self) -> None:
        self._wire = wire = await self._dialer.dial()
        try:
            await log_in(wire, self._options)
        except Failed as failed:
            if wire.untrusted and failed.trouble == "reset":
                raise Failed("tls") from None
            raise
        self.connections += 1
        ((version,),) = (await self.ask("SELECT @@version")).rows
        self.server = parse_version(version or "")
        for setting in limits(self._options, self.server):
            await self._set(setting)

    async def _set(self, setting: str) -> None:
        try:
            await self.ask(f"SET SESSION {setting}")
        except Refused as refused:
            if refused.trouble != "query":  # a server, or proxy, that has no such limit
                raise

    async def ask(self, sql: str) -> Answer:
        """The answer to a query; raises `Refused` for an error, and `Failed`, ValueError and the like when the
        connection is of no use any more.
        """
        if self._wire is None:
            raise Failed("reset")
        self._wire.sequence = 0
        self._wire.send(_QUERY + sql.encode())
        return await read_answer(self._wire)

    async def ask_first(self, candidates: list[str]) -> Answer:
        """The answer to the first query whose words the server knows; leaves the one that it knew at the front."""
        for at, sql in enumerate(candidates):
            try:
                answer = await self.ask(sql)
            except Refused as refused:
                if refused.code != SYNTAX or sql == candidates[-1]:
                    raise
            else:
                candidates[:] = [sql, *candidates[:at], *candidates[at + 1 :]]
                return answer
        raise Failed("query")

    def drop(self) -> None:
        """Cut the connection, whatever it was doing."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.abort()

    def close(self) -> None:
        """Let go of everything."""
        self.drop()
        self._dialer.close()


async def read_answer(wire: Wire) -> Answer:
    """The answer to one query: Protocol::Text Resultset, or an OK packet for a statement without rows."""
    first = await _read(wire)
    if first[0] == _OK:
        return Answer()
    if first[0] in (_LOCAL_FILE, _END):  # a server that wants to read our files gets none
        raise Failed("protocol")
    count = MysqlPacket(first, "utf8").read_length_encoded_integer()
    if not 0 < count <= MOST_COLUMNS:
        raise Failed("protocol")
    columns = tuple([str(FieldDescriptorPacket(await _read(wire), "utf8").name)[:LONGEST] for _ in range(count)])
    if not _ends(await _read(wire)):
        raise Failed("protocol")
    rows: list[Row] = []
    some = max(1, BREATH // count)
    while not _ends(data := await _read(wire)):
        if len(rows) * count >= MOST_CELLS:
            raise Failed("protocol")
        rows.append(parse_row(data, count))
        if len(rows) % some == 0:
            await asyncio.sleep(0)
    return Answer(columns, tuple(rows))


async def _read(wire: Wire) -> bytes:
    data = await wire.receive()
    if not data:
        raise Failed("protocol")
    if data[0] == _ERROR:
        raise refusal(data)
    return data


def _ends(data: bytes) -> bool:
    return data[0] == _END and len(data) < _END_LENGTH


def parse_row(data: bytes, count: int) -> Row:
    """The values of a text row; raises AssertionError, LookupError and the like."""
    packet = MysqlPacket(data, "utf8")
    values = [packet.read_length_coded_string() for _ in range(count)]
    return tuple([None if value is None else value.decode("utf-8", "replace") for value in values])


def parse_version(text: str) -> Server:
    """`8.0.36-28.1` or `10.11.19-MariaDB-log`."""
    numbers = [int("".join(filter(str.isdecimal, part))[:4] or 0) for part in text.split("-")[0].split(".")[:3]]
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    return Server((major, minor, patch), "mariadb" in text.lower())


def limits(options: Options, server: Server) -> tuple[str, ...]:
    """What is set on the session, so that nothing of ours runs on when we have gone."""
    statement, lock = float(options.statement_timeout), float(options.lock_timeout)
    waits = f"lock_wait_timeout = {max(1, round(lock))}"  # in whole seconds
    if server.mariadb:
        return (f"max_statement_time = {statement:.3f}", waits)
    return (f"max_execution_time = {max(1, round(statement * 1000))}", waits)  # of SELECT alone: MySQL has no other
