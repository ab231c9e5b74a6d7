"""Redis: what redis_exporter shows of a server, replica, Sentinel or cluster node, from one INFO reply and a few more.

One connection is kept. INFO is asked alone, so that a blocked server holds one command of ours and no more; the rest
is asked when it has answered. A server that is down is `redis_up` 0, with a reason in
`redis_exporter_last_scrape_error`. The configuration is asked for by name, never as a whole: it holds passwords.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from agent.model import Sample, gauge
from collectors.extras import need
from collectors.redis.info import METRICS as OF_INFO
from collectors.redis.info import Info
from collectors.redis.keys import METRICS as OF_KEYS
from collectors.redis.options import Options, parse_key, parse_url
from collectors.redis.options import Options as _Options
from collectors.redis.queries import METRICS as OF_QUERIES
from collectors.redis.rounds import ANSWERED, Round, ask_info
from collectors.redis.rules import RULES
from collectors.redis.sentinel import METRICS as OF_SENTINEL
from config.rules import Rule

if TYPE_CHECKING:
    from collectors.redis.link import Link

__all__ = ["Options", "Redis"]

UP: Final = gauge("redis_up", "1 if the server answers INFO.", "instance")
LAST_ERROR: Final = gauge(
    "redis_exporter_last_scrape_error",
    "1 if the server is down, and why: resolve, refused, connect, timeout, tls, auth, protocol, loading, busy, reset.",
    *("instance", "err"),
)
METRICS: Final = (UP, LAST_ERROR, ANSWERED, *OF_INFO, *OF_QUERIES, *OF_KEYS, *OF_SENTINEL)


class Redis:
    """One server; a prober of one target, so that one that does not answer in time is told as down."""

    Options: ClassVar[type[_Options]] = _Options
    job: ClassVar[str] = "redis"
    remote: ClassVar[bool] = True
    rules: ClassVar[tuple[Rule, ...]] = RULES

    def __init__(self, options: _Options) -> None:
        need("redis")
        from collectors.redis import link

        self._redis = link
        self._options = options
        self._target = parse_url(options.url)
        self._instance = self._target.instance
        self._keys = [parse_key(one, self._target.database) for one in options.keys]
        self._link: Link | None = None

    async def targets(self) -> Sequence[str]:
        """The one."""
        return [self._instance]

    async def probe(self, target: str) -> Iterable[Sample]:
        """One round."""
        whole = False
        try:
            samples = await self._round()
            whole = True
        except self._redis.FAULTS as error:
            return self._down(self._redis.why(error))
        finally:
            if not whole:
                self._drop()
        return [UP(1.0, self._instance), LAST_ERROR(0.0, self._instance, ""), *samples]

    def late(self, target: str, seconds: float) -> Iterable[Sample]:
        """A server that took too long."""
        return self._down("timeout")

    async def close(self) -> None:
        """Hang up."""
        self._drop()
        await asyncio.sleep(0)  # the event loop closes it

    def _down(self, reason: str) -> list[Sample]:
        return [UP(0.0, self._instance), LAST_ERROR(1.0, self._instance, reason)]

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.drop()

    async def _round(self) -> list[Sample]:
        link, info = await self._greet()
        return await Round(link, self._instance, info).run(self._keys)

    async def _greet(self) -> tuple[Link, Info]:
        """INFO, over the kept connection or, where the server has closed that since, over a new one."""
        if (kept := self._link) is not None:
            try:
                return kept, await ask_info(kept)
            except self._redis.FAULTS as error:
                if self._redis.why(error) != "reset":
                    raise
                self._drop()
        self._link = fresh = self._redis.Link(self._options, self._target)
        await fresh.open()
        return fresh, await ask_info(fresh)
