"""One switch decides where data goes: to the file, or, while the disk refuses, into a bounded ring in memory.

The account (`state`) moves the same way in both cases, so numbers stay true; when the disk is back, ring and account
are written in one transaction. What the disk holds stays readable meanwhile, if the disk can be read at all.

What is in memory when the process ends is lost. The account is left with the witness after every change, so that the
next process counts it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from agent.ledger import State
from agent.spool import early, unwritten
from agent.spool.house import Evicted, House, Limits
from agent.spool.lock import AlreadyRunning
from agent.spool.place import REFUSALS, Event, Place
from agent.spool.records import Checkpoint, RejectedBatch
from agent.spool.ring import NewRow, Ring
from agent.spool.salvage import Salvaged, disk_trouble
from agent.spool.store import Store
from agent.spool.unwritten import Found
from agent.spool.witness import Seen

ROUNDS = 8  # of evictions before a write
AHEAD = 2  # commits; the number of an account in memory is above that of one that failed and came about all the same
DISK_RETRY = 10.0  # seconds between attempts to write to a disk that refused


class Switch:
    """Owns the store. `state` is replaced, never changed in place: the event loop reads it at any time."""

    def __init__(
        self,
        directory: Path,
        limits: Limits,
        *,
        tell: Callable[[Event], None],
        clock: Callable[[], int],
        monotonic: Callable[[], float],
        free: Callable[[Path], tuple[int, int]],
    ) -> None:
        self._directory, self._tell, self._monotonic = directory, tell, monotonic
        self._place = Place(directory, tell=tell, clock=clock)
        self.house = House(directory, limits, clock=clock, monotonic=monotonic, free=free)
        self.state = State()
        self.store: Store | None = None
        self.ring = Ring()
        self.trouble = ""  # why the disk is not written; empty when it is
        self.salvages = 0
        self.loaded = False  # whether `state` continues what the disk holds
        self.joined: early.Joined | None = None  # how numbers given out before that went on
        self.detached: set[str] = set()  # exporters that went before that
        self._disk = State()  # what the disk held when it was last open
        self._known: Found | None = None  # what its files say, as long as it was not open
        self._retry_at = 0.0

    # -- opening and closing --------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the file, whatever it looks like. Raises `AlreadyRunning`; a disk that refuses is told, not raised."""
        try:
            self._open()
        except (OSError, sqlite3.Error) as error:
            self._degrade(error)

    def _open(self) -> None:
        self._adopt(*self._place.open(self.house.limits, self._witness()))

    @property
    def disk(self) -> State:
        """What the disk holds."""
        return self.store.state if self.store is not None else self._disk

    def _witness(self) -> Seen | None:
        """The account, and what the file must know of it at least."""
        return Seen(self.state, self.disk.commit) if self.loaded else None

    def _adopt(self, store: Store, salvaged: Salvaged | None) -> None:
        """Go on with a store that was just opened."""
        self.store = store
        if salvaged is not None:
            self.salvages += 1
            self._tell(Event("spool.salvaged", msgspec.structs.asdict(salvaged)))
        if not self.loaded:
            self._join(store, salvaged is not None)
        self._flush(store)

    def _join(self, store: Store, salvaged: bool) -> None:
        """Put what was collected before the disk came behind what is on it."""
        found, known = unwritten.adopted(store.state, store.seen), self._known
        if self.state == State() and not self.detached:
            self.state = found.state
        else:
            if known is not None:  # the witness has ours by now
                same = salvaged or known.disk.commit == store.state.commit
                found = known if same else Found(store.state, store.state)
            self.joined = early.join(self.state, self.ring.rows, found.state, self.detached)
            self.ring.renumber(self.joined.rows)
            self.state = self.joined.state
        self.loaded = True
        self._tell_lost(found.lost)

    def close(self) -> None:
        """Write what memory still holds, if the disk lets us, count it as lost if not, and let go of the file."""
        if self.trouble:
            with contextlib.suppress(*REFUSALS):
                self._recover()
        if self.trouble:
            self._give_up_memory()
        self._close_store()
        self._place.release()

    def _give_up_memory(self) -> None:
        found = self._whole()
        found = unwritten.give_up(found.state, found.disk)
        found.state.commit += AHEAD
        self._note(found)
        self.state, self.ring = found.state, Ring()
        self._tell_lost(found.lost)

    def _tell_lost(self, items: int) -> None:
        if items:
            self._tell(Event("spool.memory_lost", {"items": items}))

    def _whole(self) -> Found:
        """The account as the next process should find it, and what of it the disk holds."""
        if self.loaded:
            return Found(self.disk, self.state)
        if self._known is None:
            return Found(State(), self.state)
        known = self._known
        joined = early.join(self.state, self.ring.rows, known.state, self.detached)
        return Found(known.disk, joined.state)

    def _note(self, found: Found) -> None:
        """Leave an account that the disk does not take with the witness."""
        if self.loaded or self._known is not None:
            self._place.note(Seen(found.state, found.disk.commit), self.store)

    def _close_store(self) -> None:
        if self.store is not None:
            self._disk = self.store.state
            with contextlib.suppress(sqlite3.Error):
                self.store.close()
            self.store = None

    # -- writing --------------------------------------------------------------------------------------------------

    def commit(
        self,
        state: State,
        rows: Sequence[NewRow] = (),
        *,
        checkpoints: Sequence[Checkpoint] = (),
        rejected: Sequence[RejectedBatch] = (),
    ) -> None:
        """Make `state` the truth, with everything that belongs to it, wherever there is room."""
        if self.store is None or self.trouble:
            self._keep(state, rows, checkpoints, rejected)
            self.try_disk()
            return
        try:
            if self.store.moved():
                self._move(self.store)
            self.store.commit(state, rows, checkpoints=checkpoints, rejected=rejected)
            self.state = self.store.state
        except REFUSALS as error:
            self._keep(state, rows, checkpoints, rejected)
            self._again(error)

    def _again(self, error: Exception) -> None:
        """A write failed: where the disk is full it may be full of what we can give up."""
        if _full(error) and self.store is not None:
            try:
                self._flush(self.store)
                return
            except REFUSALS as again:
                error = again
        self.failed(error)

    def make_room(self, incoming: int) -> None:
        """Hold the limits of age, size and free space, so that `incoming` bytes fit."""
        if self.store is None or self.trouble:
            return
        try:
            self._hold_limits(self.store, incoming)
        except (OSError, sqlite3.Error) as error:
            self._again(error)

    def _hold_limits(self, store: Store, incoming: int) -> None:
        for _ in range(ROUNDS):
            if not self._evict(store, self.house.make_room, incoming):
                break
        self.house.tidy(store, incoming)

    def _evict(self, store: Store, choose: Callable[[Store, State, int], Evicted], incoming: int) -> bool:
        """Delete what is chosen; answers whether anything was. What is only in memory does not come onto the disk's
        account with it.
        """
        state, whole = self.state.copy(), self.state is store.state
        evicted = choose(store, state, incoming)
        if evicted.seq:
            store.commit(state if whole else evicted.book(store.state.copy()), evict=evicted.seq)
            self._tell(Event("spool.evicted", {"items": evicted.lost}))
        if evicted.seq or state.jumps != self.state.jumps:
            self.state = state
            if not whole:
                state.commit += AHEAD
                self._note(Found(store.state, state))
        return bool(evicted.seq)

    def _keep(
        self,
        state: State,
        rows: Sequence[NewRow],
        checkpoints: Sequence[Checkpoint],
        rejected: Sequence[RejectedBatch],
    ) -> None:
        """Keep in memory what the disk did not take."""
        self.ring.add(rows, checkpoints, rejected)
        self.ring.drop_done(state.done())
        for seq, total, batch in self.ring.overflow(self.house.limits.ring_bytes):
            state.give_up_between(batch.signal, total - batch.items, total, seq, "memory")
        state.commit += AHEAD
        self.state = state
        self._note(self._whole())

    def _flush(self, store: Store) -> None:
        """Write what memory holds; the disk is back when that works."""
        if self.ring or self.state is not store.state:
            try:
                self._hold_limits(store, self.ring.bytes)
                self._write_ring(store)
            except sqlite3.Error as error:
                if not _full(error):
                    raise
                self._relieve(store)
                self._write_ring(store)
            self.ring = Ring()
        self.state = store.state
        if self.trouble:
            self._tell(Event("spool.disk_back", {"directory": str(self._directory)}))
        self.trouble = ""

    def _relieve(self, store: Store) -> None:
        """The disk is full: give up the oldest on it until what memory holds can be written."""
        while self._evict(store, self.house.relieve, self.ring.bytes):
            pass
        self.house.make_way(store, self.ring.bytes)

    def _write_ring(self, store: Store) -> None:
        ring = self.ring
        store.commit(self.state.copy(), ring.rows, rejected=ring.rejected, checkpoints=ring.checkpoints)

    # -- when something fails -------------------------------------------------------------------------------------

    def failed(self, error: Exception) -> None:
        """The file failed: salvage it if it is damaged, do without it if the disk refuses."""
        if isinstance(error, AlreadyRunning) or disk_trouble(error):
            self._degrade(error)
            return
        try:
            self.start_over(str(error))
        except REFUSALS as again:
            self._degrade(again)

    def start_over(self, reason: str) -> None:
        """The file is damaged: carry over what can be read. Raises one of `REFUSALS`."""
        sets = self.store.held_sets if self.store is not None else {}
        self._close_store()
        self._adopt(*self._place.start_over(reason, self.house.limits, self._witness(), sets))

    def _degrade(self, error: Exception) -> None:
        text = str(error) or type(error).__name__
        if not self.trouble:
            self._tell(Event("spool.disk_trouble", {"directory": str(self._directory), "error": text}))
        self.trouble = text
        if not self.loaded and self._known is None:
            self._known = self._place.known()
        self._retry_at = self._monotonic() + DISK_RETRY

    def try_disk(self) -> None:
        """Try a disk that refused again, when it is time."""
        if self.trouble and self._monotonic() >= self._retry_at:
            try:
                self._recover()
            except REFUSALS as error:
                self._degrade(error)

    def _recover(self) -> None:
        """Write through the connection there is; open anew only where that may help, for it reads on meanwhile."""
        if self.store is not None:
            try:
                if self.store.moved():
                    self._move(self.store)
                self._flush(self.store)
                return
            except (OSError, sqlite3.Error) as error:
                if not disk_trouble(error):
                    self.start_over(str(error))
                    return
                if _full(error) or not self._place.writable():
                    raise
        self._close_store()
        self._open()

    def _move(self, old: Store) -> None:
        """The file was removed or replaced under us; its content is still open."""
        self._adopt(*self._place.move(old, self.house.limits, Seen(self.state, old.state.commit)))


def _full(error: Exception) -> bool:
    return bool(getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL)
