"""One round over an open connection: INFO first and alone, then what such a server is asked, then the chosen keys."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, Final

from agent.model import Sample, gauge
from collectors.redis import keys, sentinel
from collectors.redis.info import Info, info_samples, parse_info
from collectors.redis.options import Key
from collectors.redis.queries import Query, databases, queries

if TYPE_CHECKING:
    from collectors.redis.link import Link

ANSWERED: Final = gauge(
    "redis_query_success", "1 if the server answered this query, 0 if it refused.", "instance", "query"
)
ROUNDS: Final = 240  # until a refused query is asked again: every refusal is an entry in the server's ACL log
REFUSALS: Final = ("ERR", "NOPERM")  # errors that will be the same next round: unknown commands, missing rights
MALFORMED: Final = (TypeError, ValueError, LookupError, AttributeError, OverflowError)  # a reply of another shape


async def ask_info(link: Link) -> Info:
    """INFO with all sections; raises what the server answered instead."""
    reply = await link.ask("INFO", "ALL") or await link.ask("INFO")  # old Sentinels know no ALL and answer nothing
    if isinstance(reply, Exception):
        raise reply
    if not isinstance(reply, bytes):
        raise ValueError("INFO is answered with something else")
    info = parse_info(reply.decode("utf-8", "replace"))
    if not info.fields:
        raise ValueError("INFO is answered with nothing")
    return info


class Round:
    """The samples of a round, as they come together."""

    def __init__(self, link: Link, instance: str, info: Info) -> None:
        self._link, self._instance, self._info = link, instance, info
        self.samples: list[Sample] = []

    async def run(self, wanted: Sequence[Key]) -> list[Sample]:
        """Ask for everything."""
        configured = await self._ask_queries()
        self.samples += info_samples(self._instance, self._info, databases(self._info, configured))
        if self._info.sentinel:
            await self._ask_sentinel()
        elif wanted:
            await self._ask_keys(wanted)
        return self.samples

    async def _ask_queries(self) -> Sequence[Any] | None:
        """Ask all queries together; the replies to `config`, or None when it was refused."""
        asked = {query: not self._link.waits(query.name) for query in queries(self._info)}
        commands = [command for query, now in asked.items() if now for command in query.commands]
        replies = iter(await self._link.ask_all(commands)) if commands else iter(())
        configured = None
        for query, now in asked.items():
            own = list(islice(replies, len(query.commands) if now else 0))
            success = now and self._answered(query, own)
            self._told(query.name, success=success)
            configured = own if success and query.name == "config" else configured
        return configured

    def _answered(self, query: Query, replies: Sequence[Any]) -> bool:
        """Take the replies to a query; False when they are refusals or nonsense."""
        if errors := [reply for reply in replies if isinstance(reply, Exception)]:
            if any(getattr(error, "status_code", None) in REFUSALS for error in errors):
                self._link.wait(query.name, ROUNDS)
            return False
        try:
            self.samples += list(query.parse(self._instance, self._info, replies))
        except MALFORMED:
            return False
        return True

    def _told(self, query: str, *, success: bool) -> None:
        self.samples.append(ANSWERED(float(success), self._instance, query))

    async def _ask_sentinel(self) -> None:
        reply = await self._link.ask("SENTINEL", "MASTERS")
        try:
            names = sentinel.master_names(reply)
            for entry, name in zip(reply, names, strict=False):  # type: ignore[arg-type]  # a list: it has names
                replies = await self._link.ask_all(sentinel.about_master(name))
                self.samples += list(sentinel.parse_master(self._instance, entry, replies))
        except MALFORMED:
            self._told("sentinel", success=False)
            return
        self._told("sentinel", success=True)

    async def _ask_keys(self, wanted: Sequence[Key]) -> None:
        success = True
        for database, group in groupby(sorted(wanted, key=lambda key: key.database), lambda key: key.database):
            selected = await self._link.ask("SELECT", database) if not self._info.cluster else b"OK"
            if isinstance(selected, Exception):
                success = False
                continue
            names: dict[bytes, None] = {}
            for key in group:
                matches = await self._scan(key) if key.pattern else [key.name.encode()]
                success &= matches is not None
                names |= dict.fromkeys(matches or ())
            for portion in keys.batches(list(names)):
                success &= await self._measure(database, portion)
        self._told("keys", success=success)

    async def _scan(self, key: Key) -> list[bytes] | None:
        """The keys that match a pattern; None when the server does not let us search, or answers with nonsense."""
        cursor, matches, complete = b"0", dict[bytes, None](), False
        for _ in range(keys.STEPS):
            reply = await self._link.ask("SCAN", cursor, "MATCH", key.name, "COUNT", keys.COUNT)
            if isinstance(reply, Exception):
                return None
            try:
                cursor, some = keys.parse_scan(reply)
            except MALFORMED:
                return None
            matches |= dict.fromkeys(some)
            complete = cursor == b"0"
            if complete or len(matches) > keys.MATCHES:
                break
        complete = complete and len(matches) <= keys.MATCHES
        self.samples += keys.found(self._instance, key, len(matches), complete=complete)
        return list(matches)[: keys.MATCHES]

    async def _measure(self, database: int, names: Sequence[bytes]) -> bool:
        replies = await self._link.ask_all(keys.about(names))
        commands = keys.lengths(names, replies)
        sizes = await self._link.ask_all(list(commands.values())) if commands else []
        measured = dict(zip(commands, sizes, strict=True))
        try:
            self.samples += list(keys.parse_keys(self._instance, database, names, replies, measured))
        except MALFORMED:  # a length that no float holds
            return False
        return True
