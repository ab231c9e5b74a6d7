"""The limits of the spool: bytes on disk, age, and the free space that others may count on.

What goes is the oldest, for every exporter that has not read it, and it is booked with the limit that made it go.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from agent.ledger import State
from agent.spool.records import PAGE, ROW_OVERHEAD, NewBatch, RejectedBatch, stored
from agent.spool.reserve import Reserve
from agent.spool.salvage import asides, forget_asides
from agent.spool.store import NOTHING, Store

RING_BYTES = 16 << 20
SMALLEST = 4 << 20  # bytes that the spool may take however little space is free; less on a small disk
FIXED = 160 << 10  # bytes beside file and log: their index, the witness, the account
LEAP = 60_000  # ms by which wall and monotonic clock part before it counts as a jump
COLLECT = 600.0  # seconds between looks for what can be given back
JUMPS = 16


class Limits(Struct, frozen=True):
    """How much the spool may hold: bytes on disk, age in seconds, and the free bytes to leave (of a total)."""

    max_size: int = 512 << 20
    max_age: float = 72 * 3600
    min_free: Callable[[int], int] = lambda total: total // 20

    @property
    def log_pages(self) -> int:
        """Pages that the write-ahead log may take, as a share of the whole."""
        return min(128, max(32, self.max_size // 16 // PAGE))

    @property
    def rejected_bytes(self) -> int:
        """Bytes that dead letters may take."""
        return min(8 << 20, self.max_size // 8)

    @property
    def ring_bytes(self) -> int:
        """Bytes kept in memory while the disk refuses; they must fit into the file afterwards."""
        return min(RING_BYTES, self.max_size // 4)

    @property
    def largest(self) -> int:
        """Bytes of the largest batch that is taken: it stands in the file and in the log at the same time."""
        return self.max_size // 4

    def on_disk_of(self, total: int) -> Limits:
        """The same limits, but no more than a file system of so many bytes can hold; 0: not known."""
        most = max(total - self.min_free(total), total // 2)
        return msgspec.structs.replace(self, max_size=most) if 0 < most < self.max_size else self


class Evicted(Struct, frozen=True):
    """What the limits cost: batches up to `seq` are to be deleted; the most items one account lost, by reason.

    `steps` say what an account is to give up: signal, number, items up to there, reason.
    """

    seq: int = 0
    lost: dict[str, int] = {}
    steps: list[tuple[str, int, int, str]] = []

    def book(self, state: State) -> State:
        """Book it in an account that has not got it yet."""
        for step in self.steps:
            state.give_up_to(*step)
        return state


def free_space(directory: Path) -> tuple[int, int]:
    """(total, free for us) bytes of the file system; nothing known counts as nothing lacking."""
    try:
        stat = os.statvfs(directory)
    except OSError:
        return 0, 0
    return stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize


class House:
    """Holds the limits over a store. Changes the state that it is given; the caller commits it."""

    def __init__(
        self,
        directory: Path,
        limits: Limits,
        *,
        clock: Callable[[], int],
        monotonic: Callable[[], float],
        free: Callable[[Path], tuple[int, int]] = free_space,
    ) -> None:
        self.directory, self._limits = directory, limits
        self._clock, self._monotonic, self._free = clock, monotonic, free
        self._seen = (clock(), monotonic())
        self._next_collection = monotonic() + COLLECT
        self._reserve = Reserve(directory)
        self._collected = 0.0
        self._evicted = 0  # batches since then

    @property
    def limits(self) -> Limits:
        """The limits, as far as the file system is large enough for them; may be replaced at any time."""
        return self._limits.on_disk_of(self._free(self.directory)[0])

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits

    # -- making room ----------------------------------------------------------------------------------------------

    def make_room(self, store: Store, state: State, incoming: int) -> Evicted:
        """Give up the oldest batches until `incoming` bytes fit. It is to be asked again: how much less the file
        takes without them shows when they are gone.
        """
        now, oldest = self._clock(), store.oldest_ms()
        self._watch_clock(state, now, oldest)
        surplus, reason = self._surplus(store, incoming)
        if surplus > 0 and self._collect(store):
            surplus, reason = self._surplus(store, incoming)
        born_after = now - int(self.limits.max_age * 1000)
        if surplus <= 0 and born(state, oldest) >= born_after:
            return Evicted()
        return self._evict(store, state, surplus, reason, born_after)

    def relieve(self, store: Store, state: State, incoming: int) -> Evicted:
        """The disk is full: give up a little of what the spool has above its floor, as long as a write of `incoming`
        bytes does not fit. A little, since deleting needs room in the log too.
        """
        surplus = self._above_floor(store)
        if surplus > 0:
            self._reserve.give_up()
            with contextlib.suppress(sqlite3.OperationalError):
                store.fold_log()
            lacking = self._for_write(incoming) - store.pages()[1] * PAGE + incoming
            surplus = min(lacking, surplus, self._log // 2)
        return self._evict(store, state, surplus, "space", -NOTHING) if surplus > 0 else Evicted()

    def make_way(self, store: Store, incoming: int) -> None:
        """Give back free pages until the log has room for a write of `incoming` bytes."""
        if (lacking := self._for_write(incoming)) > 0:
            store.give_back(lacking // PAGE + 1)
        self._hold_reserve()

    def _for_write(self, incoming: int) -> int:
        """Bytes that the file system lacks for a write's log and the reserve."""
        return incoming + 3 * self._log - self._reserve.held - self._free(self.directory)[1]

    def _hold_reserve(self) -> None:
        """Keep a log's worth of room, where there is twice as much."""
        size, held = self._log, self._reserve.held
        if held != size and (held > size or self._free(self.directory)[1] >= 2 * size):
            self._reserve.hold(size)

    @property
    def _log(self) -> int:
        """Bytes that the log may take."""
        return self.limits.log_pages * PAGE

    def _evict(self, store: Store, state: State, surplus: int, reason: str, born_after: int) -> Evicted:
        freed = last = 0
        lost: dict[str, int] = {}
        steps = []
        all_pages, free_pages = store.pages()  # with their share of series sets: by their bytes alone too many would go
        share = (all_pages - free_pages) * PAGE // max(1, store.batches)
        for seq, size, row in store.walk():
            old = row is not None and born(state, row.stored_ms) < born_after
            if freed >= surplus and row is not None and not old:
                break
            freed += max(size, share)
            last = seq
            self._evicted += 1
            if row is not None:  # of a damaged one the numbers cannot be trusted: the next sound one takes it along
                why = "age" if old else reason
                steps.append((row.signal, seq, row.total, why))
                lost[why] = lost.get(why, 0) + state.give_up_to(*steps[-1])
        return Evicted(last, lost, steps)

    def _surplus(self, store: Store, incoming: int) -> tuple[int, str]:
        """Bytes above the limits once `incoming` is written, and the limit they are above. A large write stands in
        the log and in the file for a moment.
        """
        all_pages, free_pages = store.pages()
        used = (all_pages - free_pages) * PAGE
        over = used + 2 * incoming + self._beside - self.limits.max_size
        if over > 0:
            over += self.limits.max_size // 64  # a little more, so as not to come back for every batch
        lacking = min(self._lacking() - free_pages * PAGE + incoming, self._above_floor(store))
        return (over, "size") if over >= lacking else (lacking, "space")

    def _above_floor(self, store: Store) -> int:
        """Bytes in use above what is kept however little space is free."""
        all_pages, free_pages = store.pages()
        floor = min(SMALLEST, self.limits.max_size // 4)
        return (all_pages - free_pages) * PAGE + self._log + FIXED - floor

    @property
    def _beside(self) -> int:
        """Bytes beside the file itself: the log, as much in reserve, and more."""
        return 2 * self._log + FIXED

    def _lacking(self) -> int:
        """Bytes that others should have and have not; damaged files kept for people are the first to go."""
        total, free = self._free(self.directory)
        if (lacking := self.limits.min_free(total) - free) > 0 and asides(self.directory):
            forget_asides(self.directory, 0)
            total, free = self._free(self.directory)
            lacking = self.limits.min_free(total) - free
        return lacking

    # -- giving back ----------------------------------------------------------------------------------------------

    def tidy(self, store: Store, incoming: int) -> None:
        """Give back the free pages that stand in the way of `incoming` bytes, or that others should have."""
        if store.log_pages != self.limits.log_pages:
            store.limit_log(self.limits.log_pages)
        if store.on_disk("-wal") > 2 * store.log_pages * PAGE:
            store.fold_log()  # a large commit, or SQLite could not fold it by itself, which it keeps quiet about
        self._hold_reserve()
        least = 0
        if self._monotonic() >= self._next_collection:
            self._next_collection = self._monotonic() + COLLECT
            self._collect(store)
            least = store.pages()[1] // 2
        all_pages, free_pages = store.pages()
        if free_pages:
            over = all_pages * PAGE + incoming + self._beside - self.limits.max_size
            want = max(over, self._lacking()) // PAGE + 1
            store.give_back(min(max(want, least), free_pages))

    def _collect(self, store: Store) -> bool:
        """Remove series sets that nothing speaks of, not too often unless much was evicted; answers whether it was
        done.
        """
        if self._monotonic() < self._collected + 10.0 and self._evicted * 8 <= store.batches:
            return False
        self._collected, self._evicted = self._monotonic(), 0
        store.collect_garbage()
        return True

    # -- the clock ------------------------------------------------------------------------------------------------

    def _watch_clock(self, state: State, now: int, oldest: int) -> None:
        """Note a leap ahead of the wall clock: what was stored before has not aged by it."""
        steady = self._monotonic()
        leap = (now - self._seen[0]) - int((steady - self._seen[1]) * 1000)
        jumps = [jump for jump in state.jumps[-JUMPS:] if oldest <= jump[0]]
        if leap > LEAP:
            jumps.append((now - leap, leap))
        state.jumps = jumps
        self._seen = (now, steady)


def born(state: State, stored_ms: int) -> int:
    """When a batch was stored, by the clock of today."""
    return stored_ms + sum(leap for before, leap in state.jumps if stored_ms <= before)


def size_of(batches: Sequence[NewBatch], rejected: Iterable[RejectedBatch] = ()) -> int:
    """Bytes that a commit adds to the file, about."""
    sets = {batch.digest: stored(len(batch.series)) for batch in batches}
    rows = sum(stored(len(batch.payload) + ROW_OVERHEAD) for batch in batches)
    return rows + sum(sets.values()) + sum(one.size for one in rejected)
