"""Looking into a spool, for people: what waits and for whom, what was refused, what is damaged."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from agent import codec
from agent.ledger import Entry, State
from agent.model import Batch
from agent.spool.records import RejectedBatch, Row
from agent.spool.unwritten import ahead


class Listed(Struct, frozen=True):
    """A batch that waits: number, signal, times (Unix ms), items, bytes, and the exporters that have not read it."""

    seq: int
    signal: str
    time_ms: int
    stored_ms: int
    items: int
    bytes: int
    waiting: tuple[str, ...]


def entries(state: State) -> list[Entry]:
    """The ledger as people see it: what was given up ahead of a cursor is dropped, and no longer pending."""
    return [_entry(state, one) for one in state.entries()]


def _entry(state: State, one: Entry) -> Entry:
    given_up = ahead(state.accounts[one.exporter][one.signal], state.gaps.get(one.signal, ()))
    if not given_up:
        return one
    dropped = {reason: one.dropped.get(reason, 0) + given_up.get(reason, 0) for reason in one.dropped | given_up}
    return msgspec.structs.replace(one, pending=one.pending - sum(given_up.values()), dropped=dropped)


def listed(rows: Iterable[Row | None], state: State, limit: int) -> list[Listed]:
    """The first `limit` of these rows, as shown; damaged ones are left out."""
    sound = (row for row in rows if row is not None)
    return [_listed(row, state) for row in itertools.islice(sound, limit)]


def _listed(row: Row, state: State) -> Listed:
    waiting = [
        name
        for name, accounts in state.accounts.items()
        if (at := accounts.get(row.signal)) and at.seq < row.seq and not (at.ended and at.end_seq < row.seq)
    ]
    return Listed(row.seq, row.signal, row.time_ms, row.stored_ms, row.items, row.size, tuple(waiting))


def decoded(payload: bytes, time_ms: int, series: bytes) -> Batch:
    """A batch from its stored form; raises `codec.Corrupt`."""
    return codec.decode_batch(payload, time_ms, codec.decode_series(series))


def decoded_rejected(one: RejectedBatch) -> Batch:
    """The batch of a dead letter; raises `codec.Corrupt`."""
    return decoded(one.payload, one.time_ms, one.series)
