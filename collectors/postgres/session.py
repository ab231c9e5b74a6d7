"""The one connection to a server, kept from round to round.

A login may hang in the server, behind a lock on a catalogue that logins read, and nobody can cancel it there: its
backend stays when we have gone. After a login that was cut off the next one waits, 1, 2 and then 4 rounds, and
the rounds in between are a `timeout`; so few backends pile up, and the server has connections left for others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from collectors.extras import need
from collectors.postgres.errors import Failed, Trouble, failures, login_trouble_of, trouble_of
from collectors.postgres.options import Login
from collectors.postgres.tap import MOST, Answer
from collectors.postgres.wire import Dialer
from config import reveal

if TYPE_CHECKING:
    import asyncpg  # type: ignore[import-untyped]  # ships no marker

APPLICATION: Final = "nightjar"
_FOR_EVER: Final = 3600.0  # seconds; the deadline of the round comes first
_LONGEST_PAUSE: Final = 4  # rounds: more would tell of a server that is back too late


class Session:
    """Connects when asked and not connected; after `drop` the next one starts anew. Raises ValueError without asyncpg,
    which is imported when it connects: 55 ms and 6 MB that only a running collector costs.
    """

    def __init__(self, login: Login) -> None:
        need("postgres")
        self.dialer = Dialer(login)
        self._login = login
        self._connection: asyncpg.Connection[Any] | None = None
        self._pause = self._pausing = 0
        self.connections = 0  # made so far

    @property
    def instance(self) -> str:
        """The label of the server's series."""
        return self.dialer.target.instance

    @property
    def usable(self) -> bool:
        """Whether there is a connection that stands."""
        return self._connection is not None and not self._connection.is_closed()

    async def connect(self) -> bool:
        """See to it that there is a connection, with a new allowance of bytes; True for a new one. Raises `Failed`."""
        fresh = not self.usable
        if fresh:
            self.drop()
            if self._pausing:
                self._pausing -= 1
                raise Failed("timeout")
            await self._log_in()
        if self.dialer.tap is not None:
            self.dialer.tap.left = MOST
        return fresh

    async def _log_in(self) -> None:
        self.dialer.forget()
        try:
            self._connection = await self._open()
        except failures() as error:
            self._pause = 0
            trouble = self._ended(login_trouble_of(error))
            self.drop()
            raise Failed(trouble) from None
        except BaseException:  # cut off by the deadline, most of all
            if self.dialer.tap is not None:  # the server has heard of us
                self._pausing = self._pause = min(2 * self._pause or 1, _LONGEST_PAUSE)
            self.drop()
            raise
        self._pause = 0
        self.connections += 1

    def _ended(self, trouble: Trouble) -> Trouble:
        """The reason of a failure that asyncpg calls so: what we cut off ourselves, it takes for a lost connection."""
        return self.dialer.tap.trouble or trouble if self.dialer.tap is not None else trouble

    async def ask(self, sql: str) -> Answer:
        """The answer to a query, or the last of several; raises `Failed`, after which it may be of no use any more."""
        if self._connection is None or (tap := self.dialer.tap) is None:
            raise Failed("reset")
        tap.ask()
        try:
            await self._connection.execute(sql)
        except failures() as error:
            tap.take()
            raise Failed(self._ended(trouble_of(error) if self.usable else "reset")) from None
        return tap.take()

    @property
    def version(self) -> int:
        """The server's major version, as it says itself."""
        return 0 if self._connection is None else int(self._connection.get_server_version().major)

    async def _open(self) -> asyncpg.Connection[Any]:
        import asyncpg

        target, password = self.dialer.target, self._login.password
        if password is not None:
            password.reread()
        return await asyncpg.connect(
            host=target.socket.rpartition("/")[0] or target.host,
            port=target.port,
            user=target.user,
            database=target.database,
            password=target.password if password is None else reveal(password),
            ssl=False,  # the dialer's business
            loop=self.dialer,  # a loop in everything asyncpg asks of one
            timeout=_FOR_EVER,
            max_cached_statement_lifetime=0,
            server_settings={"application_name": APPLICATION},
        )

    def drop(self) -> None:
        """Cut the connection, whatever it was doing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
        if self.dialer.tap is not None:
            self.dialer.tap.abort()  # asyncpg may have given up on it without closing it

    def close(self) -> None:
        """Let go of everything."""
        self.drop()
        self.dialer.close()
