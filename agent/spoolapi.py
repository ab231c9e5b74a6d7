"""The spool for people and scripts: one JSON shape, whether a running agent or its files answer.

The functions shape what `Spool` and `Offline` say; `spool_routes` serves them on the agent's own socket.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
from aiohttp import web

from agent.codec import Corrupt, decode_batch, decode_series, encode
from agent.ledger import Entry
from agent.model import STALE, Batch, SeriesSet
from agent.spool import RejectedBatch, Spool
from agent.spool.look import Listed, decoded_rejected
from agent.spool.writer import SpoolStat

if TYPE_CHECKING:
    from agent.spool.offline import Offline


def entry(one: Entry) -> dict[str, Any]:
    """A line of the ledger."""
    return {**msgspec.to_builtins(one), "balanced": one.balanced}


def stat(found: SpoolStat, entries: Iterable[Entry]) -> dict[str, Any]:
    """Sizes and ages, and the ledger."""
    return {
        "path": found.path,
        "bytes": found.bytes,
        "batches": found.batches,
        "oldest": found.oldest_ms / 1000,
        "salvages": found.salvages,
        "trouble": found.trouble,
        "ledger": [entry(one) for one in entries],
    }


def batches(found: Iterable[Listed]) -> list[dict[str, Any]]:
    """What waits."""
    return [msgspec.to_builtins(one) for one in found]


def rejected(found: Iterable[RejectedBatch], limit: int) -> list[dict[str, Any]]:
    """The dead letters, without their content."""
    shown = [msgspec.to_builtins(one) for one in list(found)[:limit]]
    return [{key: value for key, value in one.items() if key not in ("series", "payload")} for one in shown]


def batch(found: Batch) -> dict[str, Any]:
    """A batch with all it says."""
    samples = [
        {"name": series.name, "labels": dict(series.labels), "type": series.kind, "value": _value(value)}
        for series, value in zip(found.series.series, found.values, strict=True)
    ]
    return {"collector": found.collector, "signal": found.signal, "time_ms": found.time_ms, "samples": samples}


def _value(value: object) -> object:
    if value is STALE:
        return "stale"
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    return msgspec.to_builtins(value)


def show(spool: Offline, number: int, *, rejected: bool) -> dict[str, Any] | None:
    """A batch or a dead letter of a spool that no agent holds; None when there is none, or it is damaged."""
    try:
        if not rejected:
            return batch(found) if (found := spool.show(number)) is not None else None
        letter = next((one for one in spool.rejected() if one.id == number), None)
        return batch(decoded_rejected(letter)) if letter is not None else None
    except Corrupt:
        return None


def purge(spool: Offline, exporter: str, before_ms: int, *, rejected: bool) -> dict[str, int]:
    """Give up what waits in a spool that no agent holds."""
    letters = [one.id for one in spool.rejected()] if rejected else []
    spool.forget_rejected(letters)
    items = spool.purge(exporter, before_ms) if exporter or before_ms else 0
    return {"items": items, "rejected": len(letters)}


def pack(found: Iterable[Batch]) -> bytes:
    """Batches for the way to another process."""
    rows = [(one.time_ms, encoded.series, encoded.payload) for one in found for encoded in (encode(one),)]
    return msgspec.msgpack.encode(rows)


def unpack(data: bytes) -> list[Batch]:
    """The batches of `pack`; raises `Corrupt`."""
    try:
        rows = msgspec.msgpack.decode(data, type=list[tuple[int, bytes, bytes]])
    except msgspec.MsgspecError as error:
        raise Corrupt(f"no batches: {error}") from None
    sets: dict[bytes, SeriesSet] = {}
    return [
        decode_batch(row, time_ms, sets.get(key) or sets.setdefault(key, decode_series(key)))
        for time_ms, key, row in rows
    ]


def spool_routes(spool: Spool) -> list[web.RouteDef]:
    """The same for a running agent, over HTTP on its own socket."""
    served = _Served(spool)
    return [
        web.get("/api/spool/stat", served.stat),
        web.get("/api/spool/batches", served.batches),
        web.get("/api/spool/batches/{number:[0-9]+}", served.show),
        web.get("/api/spool/rejected", served.rejected),
        web.get("/api/spool/rejected/{number:[0-9]+}", served.show_rejected),
        web.get("/api/spool/verify", served.verify),
        web.post("/api/spool/append", served.append),
        web.post("/api/spool/purge", served.purge),
    ]


class _Served:
    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    async def stat(self, request: web.Request) -> web.Response:
        return answer(stat(await self._spool.stat(), self._spool.entries()))

    async def batches(self, request: web.Request) -> web.Response:
        return answer(batches(await self._spool.list_batches(_number(request, "limit", 50))))

    async def show(self, request: web.Request) -> web.Response:
        try:
            found = await self._spool.show(int(request.match_info["number"][:18]))
        except Corrupt:
            found = None
        return answer(batch(found) if found is not None else None)

    async def rejected(self, request: web.Request) -> web.Response:
        return answer(rejected(await self._spool.rejected(), _number(request, "limit", 50)))

    async def show_rejected(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"][:18])
        letter = next((one for one in await self._spool.rejected() if one.id == number), None)
        try:
            return answer(batch(decoded_rejected(letter)) if letter is not None else None)
        except Corrupt:
            return answer(None)

    async def verify(self, request: web.Request) -> web.Response:
        return answer(await self._spool.verify())

    async def append(self, request: web.Request) -> web.Response:
        """Store the batches of another process on this machine; answers how many items they were."""
        try:
            found = unpack(await request.read())
        except Corrupt as error:
            return answer({"error": str(error)}, 400)
        await self._spool.append(found)
        return answer({"items": sum(map(len, found))})

    async def purge(self, request: web.Request) -> web.Response:
        exporter, before_ms = request.query.get("exporter", ""), _number(request, "before_ms", 0)
        letters = [one.id for one in await self._spool.rejected()] if _number(request, "rejected", 0) else []
        await self._spool.forget_rejected(letters)
        items = await self._spool.purge(exporter, before_ms) if exporter or before_ms else 0
        return answer({"items": items, "rejected": len(letters)})


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return int(text[:18]) if text.isascii() and text.isdigit() else default


def answer(document: object, status: int = 200) -> web.Response:
    """A document as a response."""
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")
