"""The thread's side of the spool: every decision about disk, memory and loss, in plain synchronous code.

One switch decides where a batch goes: to the file, or, while the disk refuses, into a bounded ring in memory. The
account (`state`) moves the same way in both cases, so numbers stay true; when the disk is back, ring and account are
written in one transaction.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from agent.ledger import Account, State
from agent.spool.lock import AlreadyRunning, Lock
from agent.spool.salvage import Salvaged, disk_trouble, open_store, start_over
from agent.spool.store import NewBatch, Row, Settlement, Store, now_ms

RING_BYTES = 16 << 20
DISK_RETRY = 10.0  # seconds between attempts to write to a disk that refused
SMALLEST = 4 << 20


class Limits(Struct, frozen=True):
    """How much the spool may hold: bytes on disk, age in seconds, and the free bytes to leave (of a total)."""

    max_size: int = 512 << 20
    max_age: float = 72 * 3600
    min_free: Callable[[int], int] = lambda total: total // 20

    @property
    def log_pages(self) -> int:
        """Pages of 4 KiB that the write-ahead log may take, as a share of the whole."""
        return min(512, max(64, self.max_size // 16 // 4096))


class SpoolStat(Struct, frozen=True):
    """What the spool holds: bytes of its files, batches, when the oldest was stored (Unix ms, 0: none)."""

    path: str
    bytes: int
    batches: int
    oldest_ms: int
    salvages: int
    trouble: str


class Event(Struct, frozen=True):
    """Something worth a log line, told to the loop: a name, and what it says."""

    name: str
    facts: dict[str, object]


class Writer:
    """Owns the store. All methods run in the spool's one thread, except reading `state` and `trouble`."""

    def __init__(
        self,
        directory: Path,
        limits: Limits,
        *,
        tell: Callable[[Event], None] = lambda event: None,
        clock: Callable[[], int] = now_ms,
        monotonic: Callable[[], float] = time.monotonic,
        free: Callable[[Path], tuple[int, int]] | None = None,
    ) -> None:
        self.directory, self.limits, self.tell = directory, limits, tell
        self.clock, self.monotonic, self.free = clock, monotonic, free or _free
        self.state = State()
        self.store: Store | None = None
        self.ring: dict[int, tuple[int, NewBatch]] = {}  # seq -> (total, batch)
        self.ring_bytes = 0
        self.trouble = ""  # why the disk is not written; empty when it is
        self.salvages = 0
        self._lock: Lock | None = None
        self._loaded = False  # whether `state` continues what the disk holds
        self._orphaned = False
        self._retry_at = 0.0
        self._next_collection = 0.0
        self._clocks = (clock(), monotonic())
        self._stood_ms = 0  # how much of the wall clock's advance was a jump, and is no age

    # -- opening and closing --------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the file, whatever it looks like. Raises `AlreadyRunning`; a disk that refuses is told, not raised."""
        try:
            self._open()
        except AlreadyRunning:
            raise
        except (OSError, sqlite3.Error) as error:
            self._degrade(error)

    def _open(self) -> None:
        self._take_lock()
        store, salvaged = open_store(self.directory, clock=self.clock, log_pages=self.limits.log_pages)
        self._adopt(store, salvaged)

    def _take_lock(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._lock is not None and self._lock.moved():
            self._lock.release()
            self._lock = None
        if self._lock is None:
            self._lock = Lock(self.directory)

    def _adopt(self, store: Store, salvaged: Salvaged | None) -> None:
        if salvaged is not None:
            self.salvages += 1
            self._orphaned = self._orphaned or salvaged.orphaned
            self.tell(Event("spool.salvaged", msgspec.structs.asdict(salvaged)))
        self.store = store
        if not self._loaded:
            self._merge(store)
        self._loaded = True
        if self.ring or self.state is not store.state:
            self._flush_ring(store)
        self.state = store.state
        if self.trouble:
            self.tell(Event("spool.disk_back", {"directory": str(self.directory)}))
        self.trouble = ""

    def _flush_ring(self, store: Store) -> None:
        rows = [(seq, total, batch) for seq, (total, batch) in self.ring.items()]
        store.commit(_copy(self.state), rows, below=self.state.done())
        self.ring.clear()
        self.ring_bytes = 0

    def _merge(self, store: Store) -> None:
        """Join what was collected before the disk could first be read to the account that lies there."""
        early, disk = self.state, _copy(store.state)
        for exporter, accounts in early.accounts.items():
            for signal, account in accounts.items():
                self._join(disk, exporter, signal, account)
        ring = list(self.ring.values())
        self.state, self.ring = disk, {}
        for _, batch in ring:
            self._number(disk, batch)

    def _join(self, disk: State, exporter: str, signal: str, early: Account) -> None:
        account = self._attach(disk, exporter, signal)
        account.start -= early.items - early.start
        account.delivered += early.delivered
        for mine, theirs in ((account.dropped, early.dropped), (account.rejected, early.rejected)):
            for reason, count in theirs.items():
                mine[reason] = mine.get(reason, 0) + count

    def close(self) -> None:
        """Write what memory still holds, if the disk lets us, and let go of the file."""
        if self.trouble:
            with contextlib.suppress(OSError, sqlite3.Error, AlreadyRunning):
                self._reopen()
        with contextlib.suppress(sqlite3.Error):
            if self.store is not None:
                self.store.close()
        if self._lock is not None:
            self._lock.release()

    # -- the account ----------------------------------------------------------------------------------------------

    def attach(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Give each (exporter, signal) an account; known ones go on where they were."""
        state = _copy(self.state)
        for exporter, signal in pairs:
            self._attach(state, exporter, signal)
        self._orphaned = False
        self._commit(state)

    def _attach(self, state: State, exporter: str, signal: str) -> Account:
        if self._orphaned and signal not in state.accounts.get(exporter, {}) and self.store is not None:
            first = next((row for row in self.store.outline() if row[1] == signal), None)
            if first is not None:
                seq, _, _, items, total, _ = first
                account = Account(seq=seq - 1, items=total - items, start=total - items)
                return state.accounts.setdefault(exporter, {}).setdefault(signal, account)
        return state.attach(exporter, signal)

    def detach(self, exporter: str) -> None:
        """Forget an exporter's account, with what waits for it."""
        state = _copy(self.state)
        state.accounts.pop(exporter, None)
        self._commit(state, below=state.done())

    def append(self, batches: Sequence[NewBatch], checkpoints: Sequence[tuple[str, str, bytes]] = ()) -> list[int]:
        """Make batches durable with the checkpoints they came with; answers their numbers (0: nobody wants it)."""
        state = _copy(self.state)
        rows: list[tuple[int, int, NewBatch]] = []
        numbers: list[int] = []
        for batch in batches:
            if not state.of(batch.signal):
                numbers.append(0)
                continue
            head = state.head(batch.signal)
            head.items += batch.items
            head.seq = state.last + 1
            rows.append((head.seq, head.items, batch))
            numbers.append(head.seq)
        self._commit(state, rows, checkpoints=checkpoints)
        self.keep_house()
        return numbers

    def _number(self, state: State, batch: NewBatch) -> None:
        head = state.head(batch.signal)
        head.items += batch.items
        head.seq = state.last + 1
        self.ring[head.seq] = (head.items, batch)

    def settle(self, settlement: Settlement) -> None:
        """Book a verdict and move the exporter's cursor; what nobody needs any more is deleted with it."""
        state = _copy(self.state)
        account = state.accounts.get(settlement.exporter, {}).get(settlement.signal)
        if account is None or account.seq >= settlement.seq:
            return
        refused = dict(settlement.partial)
        for one in settlement.rejected:
            refused[one.reason] = refused.get(one.reason, 0) + one.items
        missing = account.move(
            settlement.seq,
            settlement.total,
            delivered=settlement.delivered,
            dropped=settlement.dropped,
            rejected=refused,
        )
        if missing:
            self.tell(Event("spool.damaged", {"exporter": settlement.exporter, "items": missing}))
        self._commit(state, rejected=settlement.rejected, below=state.done())

    # -- one switch: disk or memory -------------------------------------------------------------------------------

    def _commit(self, state: State, rows: Sequence[tuple[int, int, NewBatch]] = (), **more: object) -> None:
        if self.store is not None and not self.trouble:
            try:
                if self.store.moved():
                    self._move_house()
                self.store.commit(state, rows, **more)  # type: ignore[arg-type]  # the keywords of Store.commit
                self.state = self.store.state
                return
            except (OSError, sqlite3.Error) as error:
                self.state = state
                self._keep_in_memory(rows)
                self._after_failure(error)
                return
        self.state = state
        self._keep_in_memory(rows)
        self.try_disk()

    def _after_failure(self, error: OSError | sqlite3.Error) -> None:
        if disk_trouble(error):
            self._degrade(error)
            return
        try:
            self._close_store()
            store, salvaged = start_over(
                self.directory, str(error), clock=self.clock, log_pages=self.limits.log_pages, witness=self.state
            )
            self._adopt(store, salvaged)
        except (OSError, sqlite3.Error) as again:
            self._degrade(again)

    def _degrade(self, error: OSError | sqlite3.Error) -> None:
        if not self.trouble:
            self.tell(Event("spool.disk_trouble", {"directory": str(self.directory), "error": str(error)}))
        self.trouble = str(error) or type(error).__name__
        self._retry_at = self.monotonic() + DISK_RETRY

    def _keep_in_memory(self, rows: Sequence[tuple[int, int, NewBatch]]) -> None:
        for seq, total, batch in rows:
            self.ring[seq] = (total, batch)
        done = self.state.done()
        for seq in [seq for seq, (_, batch) in self.ring.items() if seq <= done.get(batch.signal, 0)]:
            del self.ring[seq]
        self.ring_bytes = sum(_weight(batch) for _, batch in self.ring.values())
        while self.ring_bytes > RING_BYTES:
            seq = next(iter(self.ring))
            total, batch = self.ring.pop(seq)
            self.ring_bytes -= _weight(batch)
            self._give_up(self.state, batch.signal, seq, total, "memory")

    def try_disk(self) -> None:
        """Try a disk that refused again, when it is time."""
        if self.trouble and self.monotonic() >= self._retry_at:
            try:
                self._reopen()
            except (OSError, sqlite3.Error, AlreadyRunning) as error:
                self.trouble = str(error)
                self._retry_at = self.monotonic() + DISK_RETRY

    def _reopen(self) -> None:
        self._close_store()
        self._open()

    def _close_store(self) -> None:
        if self.store is not None:
            with contextlib.suppress(sqlite3.Error):
                self.store.close()
            self.store = None

    def _move_house(self) -> None:
        """The file was removed or replaced under us: its content is still open, and moves into a new file."""
        old = self.store
        assert old is not None  # noqa: S101  # the caller looked
        self.tell(Event("spool.file_vanished", {"path": str(old.path)}))
        rows = [
            (row.seq, row.total, NewBatch(signal, row.time_ms, row.items, row.digest, series, row.payload))
            for signal, seq in self.state.done().items()
            for row in old.read(signal, seq, 1 << 60, max_bytes=1 << 30)
            if (series := old.series(row.digest)) is not None
        ]
        self._take_lock()
        store, _ = open_store(self.directory, clock=self.clock, log_pages=self.limits.log_pages)
        store.commit(_copy(self.state), rows)
        old.close()
        self.store = store

    # -- limits ---------------------------------------------------------------------------------------------------

    def keep_house(self) -> None:
        """Hold the limits of age, size and free space; give back what is free."""
        if self.store is None or self.trouble:
            return
        try:
            self._evict(self.store)
            if self.monotonic() >= self._next_collection:
                self._next_collection = self.monotonic() + 600
                self.store.collect_garbage()
        except (OSError, sqlite3.Error) as error:
            self._after_failure(error)

    def _evict(self, store: Store) -> None:
        before = self.clock() - int(self.limits.max_age * 1000) - self._stood()
        surplus, reason = self._surplus(store)
        if surplus <= 0 and store.oldest_ms() >= before:
            return
        freed, last = 0, None
        state = _copy(self.state)
        for seq, signal, stored_ms, _, total, size in store.outline():
            if stored_ms >= before and freed >= surplus:
                break
            freed += size
            last = seq
            self._give_up(state, signal, seq, total, "age" if stored_ms < before else reason)
        if last is not None:
            store.commit(state, below=dict.fromkeys(state.heads, last))
            self.state = store.state
            store.collect_garbage()

    def _surplus(self, store: Store) -> tuple[int, str]:
        """Bytes above the limits, and the limit they are above."""
        used = store.used() + self.limits.log_pages * 4096
        total, free = self.free(self.directory)
        lacking = min(self.limits.min_free(total) - free, used - SMALLEST)
        over = used - self.limits.max_size
        if over > 0:
            over += self.limits.max_size // 64  # a little more, so as not to come back for every batch
        return (over, "size") if over >= lacking else (lacking, "space")

    def _give_up(self, state: State, signal: str, seq: int, total: int, reason: str) -> None:
        for account in state.of(signal):
            if account.seq < seq:
                account.move(seq, total, reason=reason)

    def _stood(self) -> int:
        """Milliseconds that the wall clock jumped ahead since start; they do not age what is stored."""
        wall, steady = self.clock(), self.monotonic()
        jump = (wall - self._clocks[0]) - int((steady - self._clocks[1]) * 1000)
        if jump > 60_000:
            self._stood_ms += jump
        self._clocks = (wall, steady)
        return self._stood_ms

    # -- reading --------------------------------------------------------------------------------------------------

    def read(self, exporter: str, signal: str, max_items: int, after: int) -> list[Row]:
        """Batches of a signal after number `after`, for an exporter.

        Nothing although something is pending: the disk cannot be read now, or all of it is damaged; in the latter
        case the cursor has been moved over it and the loss booked.
        """
        account = self.state.accounts[exporter][signal]
        rows = self._read_file(signal, after, max_items)
        expected = rows[-1].total if rows else account.items
        for seq, (total, batch) in self.ring.items():
            if batch.signal != signal or seq <= after or sum(row.items for row in rows) >= max_items:
                continue
            if total - batch.items != expected and self._loaded:
                break  # what lies between is on a disk that cannot be read now
            rows.append(Row(seq, signal, batch.time_ms, 0, batch.items, total, batch.digest, batch.payload))
            expected = total
        head = self.state.head(signal)
        if not rows and not self.trouble and after == account.seq < head.seq:
            self.settle(Settlement(exporter, signal, head.seq, head.items))
        return rows

    def _read_file(self, signal: str, after: int, max_items: int) -> list[Row]:
        if self.store is None:
            return []
        try:
            return self.store.read(signal, after, max_items)
        except (OSError, sqlite3.Error) as error:
            if self.trouble:
                return []
            self._after_failure(error)
        return [] if self.trouble or self.store is None else self.store.read(signal, after, max_items)

    def series(self, digest: bytes) -> bytes | None:
        """The payload of a series set; None when it is missing or damaged."""
        for _, batch in self.ring.values():
            if batch.digest == digest:
                return batch.series
        try:
            return self.store.series(digest) if self.store is not None else None
        except sqlite3.Error:
            return None

    def stat(self) -> SpoolStat:
        """Sizes and ages, of the ring while the disk cannot be read."""
        size = batches = 0
        oldest = 1 << 62
        with contextlib.suppress(OSError, sqlite3.Error):
            if self.store is not None:
                size, batches, oldest = self.store.on_disk(), self.store.count(), self.store.oldest_ms()
        return SpoolStat(
            path=str(self.directory),
            bytes=size,
            batches=batches + len(self.ring),
            oldest_ms=0 if oldest == 1 << 62 else oldest,
            salvages=self.salvages,
            trouble=self.trouble,
        )

    def checkpoints(self, source: str) -> dict[str, bytes]:
        """The checkpoints of a source; nothing while the disk cannot be read."""
        return self.store.checkpoints(source) if self.store is not None else {}


def _copy(state: State) -> State:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=State)


def _weight(batch: NewBatch) -> int:
    return len(batch.payload) + 512  # the series set is shared by all batches of its shape


def _free(directory: Path) -> tuple[int, int]:
    """(total, free for us) bytes of the file system; nothing known counts as nothing lacking."""
    try:
        stat = os.statvfs(directory)
    except OSError:
        return 0, 0
    return stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize
