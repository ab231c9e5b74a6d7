"""One switch decides where data goes: to the file, or, while the disk refuses, into a bounded ring in memory.

The account (`state`) moves the same way in both cases, so numbers stay true; when the disk is back, ring and account
are written in one transaction. What the disk holds stays readable meanwhile, if the disk can be read at all.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from agent.ledger import State
from agent.spool import early
from agent.spool.house import House, Limits
from agent.spool.lock import AlreadyRunning
from agent.spool.place import REFUSALS, Event, Place
from agent.spool.records import Checkpoint, RejectedBatch
from agent.spool.ring import NewRow, Ring
from agent.spool.salvage import Salvaged, disk_trouble
from agent.spool.store import Store

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

    def _witness(self) -> State | None:
        """What the file must know at least."""
        return self.state if self.loaded else None

    def _adopt(self, store: Store, salvaged: Salvaged | None) -> None:
        """Go on with a store that was just opened."""
        self.store = store
        if salvaged is not None:
            self.salvages += 1
            self._tell(Event("spool.salvaged", msgspec.structs.asdict(salvaged)))
        if not self.loaded:
            if self.state == State() and not self.detached:
                self.state = store.state
            else:
                self.joined = early.join(self.state, self.ring, store.state, self.detached)
                self.state = self.joined.state
            self.loaded = True
        self._flush(store)

    def close(self) -> None:
        """Write what memory still holds, if the disk lets us, and let go of the file."""
        if self.trouble:
            with contextlib.suppress(*REFUSALS):
                self._recover()
        self._close_store()
        self._place.release()

    def _close_store(self) -> None:
        if self.store is not None:
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
            self.failed(error)

    def make_room(self, incoming: int) -> None:
        """Hold the limits of age, size and free space, so that `incoming` bytes fit."""
        if self.store is None or self.trouble:
            return
        try:
            self._hold_limits(self.store, incoming)
        except (OSError, sqlite3.Error) as error:
            self.failed(error)

    def _hold_limits(self, store: Store, incoming: int) -> None:
        state = self.state.copy()
        evicted = self.house.make_room(store, state, incoming)
        if evicted.seq:
            store.commit(state, evict=evicted.seq)
            self._tell(Event("spool.evicted", {"items": evicted.lost}))
        if evicted.seq or state.jumps != self.state.jumps:
            self.state = state
        self.house.tidy(store, incoming)

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
        self.state = state

    def _flush(self, store: Store) -> None:
        """Write what memory holds; the disk is back when that works."""
        if self.ring or self.state is not store.state:
            self._hold_limits(store, self.ring.bytes)
            ring = self.ring
            store.commit(self.state.copy(), ring.rows, rejected=ring.rejected, checkpoints=ring.checkpoints)
            self.ring = Ring()
        self.state = store.state
        if self.trouble:
            self._tell(Event("spool.disk_back", {"directory": str(self._directory)}))
        self.trouble = ""

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
        self._adopt(*self._place.move(old, self.house.limits, self.state))


def _full(error: Exception) -> bool:
    return bool(getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL)
