"""The one connection to a server, kept from round to round, with its limits set on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from collectors.extras import need
from collectors.postgres.errors import Failed, failures, login_trouble_of
from collectors.postgres.options import Login
from collectors.postgres.wire import MOST, Dialer, Meter
from config import reveal

if TYPE_CHECKING:
    import asyncpg  # type: ignore[import-untyped]  # ships no marker

APPLICATION: Final = "nightjar"
_FOR_EVER: Final = 3600.0  # seconds; the deadline of the round comes first


class Session:
    """Connects when asked and not connected; after `drop` the next one starts anew. Raises ValueError without asyncpg,
    which is imported when it connects: 55 ms and 6 MB that only a running collector costs.
    """

    def __init__(self, login: Login, tap: Callable[[asyncio.Protocol], Meter] = Meter) -> None:
        need("postgres")
        self.dialer = Dialer(login, tap)
        self._login = login
        self._connection: asyncpg.Connection[Any] | None = None
        self.connections = 0  # made so far

    @property
    def instance(self) -> str:
        """The label of the server's series."""
        return self.dialer.target.instance

    async def connect(self, setup: str) -> asyncpg.Connection[Any]:
        """The connection, open; a new one has run `setup`. Raises `Failed`."""
        if self._connection is None or self._connection.is_closed():
            self.drop()
            try:
                self._connection = await self._open()
                self.connections += 1
                await self._connection.execute(setup)
            except failures() as error:
                self.drop()
                raise Failed(login_trouble_of(error)) from None
        if (meter := self.dialer.meter) is not None:
            meter.left = MOST
        return self._connection

    async def _open(self) -> asyncpg.Connection[Any]:
        import asyncpg

        target, password = self.dialer.target, self._login.password
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
        if self.dialer.meter is not None:
            self.dialer.meter.abort()  # asyncpg may have given up on it without closing it

    def close(self) -> None:
        """Let go of everything."""
        self.drop()
        self.dialer.close()
