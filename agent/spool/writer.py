"""The thread's side of the spool: what is accepted, what is booked, what is read, in plain synchronous code."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from agent.ledger import State
from agent.spool import early
from agent.spool.house import Limits, free_space, size_of
from agent.spool.look import Listed, listed
from agent.spool.place import Event
from agent.spool.records import Checkpoint, NewBatch, RejectedBatch, Row, Settlement
from agent.spool.ring import NewRow
from agent.spool.store import NOTHING, Damaged, Store, now_ms
from agent.spool.switch import Switch

T = TypeVar("T")

__all__ = ["Event", "Limits", "SpoolStat", "Unreadable", "Writer"]

SALVAGE_EVERY = 3600.0  # seconds between salvages for rows that are missing
TIMES = (-(1 << 62), 1 << 62)  # what a time in ms may be


class SpoolStat(Struct, frozen=True):
    """What the spool holds: bytes of its files, batches, when the oldest was stored (Unix ms, 0: none)."""

    path: str
    bytes: int
    batches: int
    oldest_ms: int
    salvages: int
    trouble: str


class Unreadable(Exception):
    """The disk cannot be read now; nothing is lost."""


class Writer:
    """Everything that the spool does with its file. All methods run in the spool's one thread, except reading
    `state` and `trouble`.
    """

    def __init__(
        self,
        directory: Path,
        limits: Limits,
        *,
        tell: Callable[[Event], None] = lambda event: None,
        clock: Callable[[], int] = now_ms,
        monotonic: Callable[[], float] = time.monotonic,
        free: Callable[[Path], tuple[int, int]] = free_space,
    ) -> None:
        self._directory, self._tell, self._monotonic = directory, tell, monotonic
        self._switch = Switch(directory, limits, tell=tell, clock=clock, monotonic=monotonic, free=free)
        self._next_salvage = monotonic()

    @property
    def state(self) -> State:
        """Heads and accounts."""
        return self._switch.state

    @property
    def trouble(self) -> str:
        """Why the disk is not written; empty when it is."""
        return self._switch.trouble

    @property
    def _store(self) -> Store | None:
        return self._switch.store

    @property
    def limits(self) -> Limits:
        """The limits; may be replaced at any time."""
        return self._switch.house.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._switch.house.limits = limits

    def open(self) -> None:
        """Open the file, whatever it looks like. Raises `AlreadyRunning`; a disk that refuses is told, not raised."""
        self._switch.open()

    def close(self) -> None:
        """Write what memory still holds, if the disk lets us, and let go of the file."""
        self._switch.close()

    # -- the account ----------------------------------------------------------------------------------------------

    def attach(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Give each (exporter, signal) an account; known ones go on where they were."""
        state = self.state.copy()
        for exporter, signal in pairs:
            self._switch.detached.discard(exporter)
            state.attach(exporter, signal)
        if state.orphaned and state.accounts:
            self._adopt_orphans(state)
        self._switch.commit(state)

    def _adopt_orphans(self, state: State) -> None:
        """The accounts were lost, the batches not: whoever comes first starts at the oldest batch."""
        first = self._try(_first_rows) or {}
        for accounts in state.accounts.values():
            for signal, account in accounts.items():
                if (row := first.get(signal)) is not None:
                    account.seq = row.seq - 1
                    account.items = account.start = row.total - row.items
        state.orphaned = False

    def retire(self, keep: Iterable[str]) -> None:
        """Let no exporter but `keep` take anything new; what waits for the others stays within the limits."""
        state = self.state.copy()
        ended = state.retire(keep)
        for exporter, pending in ended.items():
            self._tell(Event("spool.retired", {"exporter": exporter, "pending": pending}))
        if ended:
            self._switch.commit(state)

    def detach(self, exporter: str) -> None:
        """Forget an exporter's account, with what waits for it alone."""
        state = self.state.copy()
        state.accounts.pop(exporter, None)
        self._switch.detached.add(exporter)
        self._switch.commit(state)

    def append(self, batches: Sequence[NewBatch], checkpoints: Sequence[Checkpoint] = ()) -> list[int]:
        """Make batches durable with the checkpoints they came with; answers their numbers (0: nobody wants it)."""
        wanted = [batch for batch in batches if self.state.wanted(batch.signal) and self._fits(batch)]
        if wanted:
            self._switch.make_room(size_of(wanted))
        state = self.state.copy()
        rows: list[NewRow] = []
        numbers = [self._accept(state, batch, rows) for batch in batches]
        if any(numbers) or checkpoints:
            self._switch.commit(state, rows, checkpoints=checkpoints)
        return numbers

    def _accept(self, state: State, batch: NewBatch, rows: list[NewRow]) -> int:
        if not state.wanted(batch.signal):
            return 0
        head = state.accept(batch.signal, batch.items, above=0 if self._switch.loaded else early.FIRST)
        if not self._fits(batch):
            state.give_up_between(batch.signal, head.items - batch.items, head.items, head.seq, "size")
            self._tell(Event("spool.too_large", {"items": batch.items, "bytes": len(batch.payload)}))
        else:
            time_ms = min(max(batch.time_ms, TIMES[0]), TIMES[1])
            rows.append((head.seq, head.items, msgspec.structs.replace(batch, time_ms=time_ms)))
        return head.seq

    def _fits(self, batch: NewBatch) -> bool:
        return len(batch.payload) + len(batch.series) <= self.limits.largest

    def settle(self, settlement: Settlement) -> None:
        """Book a verdict and move the exporter's cursor; what nobody needs any more is deleted with it."""
        if self._switch.joined is not None and settlement.seq > early.FIRST:
            if (found := self._switch.joined.translate(self.state, settlement)) is None:
                return
            settlement = found
        account = self.state.account(settlement.exporter, settlement.signal)
        if account is None or account.seq >= settlement.seq:
            return
        refused = dict(settlement.partial)
        for one in settlement.rejected:
            refused[one.reason] = refused.get(one.reason, 0) + one.items
        state = self.state.copy()
        missing = state.settle(
            settlement.exporter,
            settlement.signal,
            settlement.seq,
            settlement.total,
            delivered=settlement.delivered,
            rejected=refused,
        )
        if missing:
            self._tell(Event("spool.damaged", {"exporter": settlement.exporter, "items": missing}))
        self._switch.commit(state, rejected=settlement.rejected)

    def purge(self, exporter: str = "", before_ms: int = 0) -> int:
        """Give up what waits for an exporter (all of them by default), or what of it was stored before a time
        (Unix ms); answers the items dropped, of all exporters together.
        """
        ends = (self._try(lambda store: _ends(store, before_ms)) or {}) if before_ms else None
        state = self.state.copy()
        was = _purged(state)
        for name in [exporter] if exporter else list(state.accounts):
            for signal in state.accounts.get(name, ()):
                head = state.head(signal)
                seq, items = (head.seq, head.items) if ends is None else ends.get(signal, (0, 0))
                state.settle(name, signal, seq, items, reason="purged")
        self._switch.commit(state)
        return _purged(state) - was

    # -- reading --------------------------------------------------------------------------------------------------

    def read(self, exporter: str, signal: str, max_items: int, after: int, start: int) -> list[Row]:
        """Batches of a signal after number `after` (item `start`), for an exporter.

        Nothing although something is pending: the disk cannot be read now, or all of it is damaged; in the latter
        case the cursor has been moved over it and the loss booked.
        """
        rows, complete = self._read_file(signal, after, max_items)
        for seq, total, batch in self._switch.ring.after(signal, rows[-1].seq if rows else after):
            if sum(row.items for row in rows) >= max_items:
                break
            if not complete and total - batch.items != (rows[-1].total if rows else start):
                break  # what lies between is on a disk that cannot be read now
            rows.append(Row(seq, signal, batch.time_ms, 0, batch.items, total, batch.digest, batch.payload))
        account, head = self.state.account(exporter, signal), self.state.head(signal)
        end = rows[-1].total if rows else head.items
        if (rows or complete) and self._hole(signal, start, end, rows):
            return self.read(exporter, signal, max_items, after, start)
        if not rows and complete and account is not None and after == account.seq < head.seq:
            self.settle(Settlement(exporter, signal, head.seq, head.items))
        return rows

    def oldest_ms(self, exporter: str, signal: str) -> int:
        """When the oldest batch that an exporter has not read was stored, Unix ms; 0 when there is none to be seen."""
        account = self.state.account(exporter, signal)
        if account is None or account.items >= self.state.head(signal).items:
            return 0
        rows, _ = self._read_file(signal, account.seq, 1)
        return rows[0].stored_ms if rows else 0

    def _hole(self, signal: str, start: int, end: int, rows: list[Row]) -> bool:
        """Whether something is missing and the file was salvaged for it: that finds rows which SQLite cannot see. Not
        too often, since the whole file is written anew.
        """
        given_up = sum(max(0, min(gap.stop, end) - max(gap.start, start)) for gap in self.state.gaps.get(signal, ()))
        if end - start - given_up <= sum(row.items for row in rows):
            return False
        if self.trouble or self._store is None or self._monotonic() < self._next_salvage:
            return False
        self._next_salvage = self._monotonic() + SALVAGE_EVERY
        self._switch.failed(Damaged("batches are missing"))
        return True

    def _read_file(self, signal: str, after: int, max_items: int) -> tuple[list[Row], bool]:
        """Rows of the file, and whether nothing follows them there; see `Store.read`."""
        return self._try(lambda store: store.read(signal, after, max_items)) or ([], not self._switch.loaded)

    def _try(self, work: Callable[[Store], T]) -> T | None:
        """Do something with the file, and once more after its salvage if it is damaged; None when it cannot be had."""
        for _ in range(2):
            if self._store is None:
                break
            try:
                return work(self._store)
            except (OSError, sqlite3.Error) as error:
                if self.trouble:
                    break
                self._switch.failed(error)
        return None

    def series(self, digest: bytes) -> bytes | None:
        """The payload of a series set; None when it is missing or damaged. Raises `Unreadable`."""
        if (held := self._switch.ring.series(digest)) is not None:
            return held
        found = self._try(lambda store: (store.series(digest),))
        if found is None:
            raise Unreadable
        return found[0]

    def checkpoints(self, source: str) -> dict[str, bytes]:
        """The checkpoints of a source; only the newest while the disk cannot be read."""
        found = self._try(lambda store: store.checkpoints(source)) or {}
        found.update(self._switch.ring.checkpoints_of(source))
        return {key: value for key, value in found.items() if value}

    # -- looking --------------------------------------------------------------------------------------------------

    def list_batches(self, limit: int) -> list[Listed]:
        """The oldest batches that wait."""
        return self._try(lambda store: listed((row for _, _, row in store.walk()), self.state, limit)) or []

    def batch(self, seq: int) -> Row | None:
        """One batch; None when there is none, or it is damaged."""
        return self._try(lambda store: store.batch(seq))

    def rejected(self) -> list[RejectedBatch]:
        """The dead letters, oldest first."""
        return (self._try(lambda store: store.rejected()) or []) + self._switch.ring.rejected

    def forget_rejected(self, ids: Iterable[int]) -> None:
        """Remove dead letters, once replayed or given up."""
        self._try(lambda store: store.forget_rejected(ids))

    def verify(self) -> list[str]:
        """Every fault that can be found; reads the whole file. What they leave is salvaged."""
        if self._store is None:
            return [self.trouble]
        try:
            faults = self._store.verify()
        except sqlite3.Error as error:
            faults = [str(error)]
        if faults and not self.trouble:
            self._switch.failed(Damaged(faults[0]))
        return faults

    def stat(self) -> SpoolStat:
        """Sizes and ages, of the ring while the disk cannot be read."""
        size = batches = 0
        oldest = NOTHING
        with contextlib.suppress(OSError, sqlite3.Error):
            if (store := self._store) is not None:
                size, batches, oldest = store.on_disk(), store.batches, store.oldest_ms()
        return SpoolStat(
            path=str(self._directory),
            bytes=size,
            batches=batches + len(self._switch.ring),
            oldest_ms=0 if oldest == NOTHING else oldest,
            salvages=self._switch.salvages,
            trouble=self.trouble,
        )


def _first_rows(store: Store) -> dict[str, Row]:
    """The oldest batch of each signal."""
    found: dict[str, Row] = {}
    for _, _, row in store.walk():
        if row is not None:
            found.setdefault(row.signal, row)
    return found


def _ends(store: Store, before_ms: int) -> dict[str, tuple[int, int]]:
    """Where a cursor stands after everything that was stored before a time, by signal."""
    ends: dict[str, tuple[int, int]] = {}
    for _, _, row in store.walk():
        if row is not None and row.stored_ms >= before_ms:
            break
        if row is not None:
            ends[row.signal] = (row.seq, row.total)
    return ends


def _purged(state: State) -> int:
    return sum(account.dropped.get("purged", 0) for signals in state.accounts.values() for account in signals.values())
