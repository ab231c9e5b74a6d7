"""The state directory: who may use it, what stands in it, and how its file is opened, replaced and moved."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from agent.spool.house import Limits
from agent.spool.lock import AlreadyRunning, Lock
from agent.spool.salvage import NEW, Salvaged, disk_trouble, open_store, put_strangers_aside, remove, start_over, swap
from agent.spool.store import Store
from agent.spool.unwritten import Found, known
from agent.spool.witness import Seen, Witness

REFUSALS = (OSError, sqlite3.Error, AlreadyRunning)  # how a disk says no

Opened = tuple[Store, Salvaged | None]


class Event(Struct, frozen=True):
    """Something worth a log line, told to the loop: a name, and what it says."""

    name: str
    facts: dict[str, object]


class Place:
    """The directory and its lock. `open`, `start_over` and `move` raise one of `REFUSALS`."""

    def __init__(self, directory: Path, *, tell: Callable[[Event], None], clock: Callable[[], int]) -> None:
        self.directory, self._tell, self._clock = directory, tell, clock
        self._lock: Lock | None = None

    def open(self, limits: Limits, witness: Seen | None) -> Opened:
        """The store, salvaged if need be."""
        self._take()
        return open_store(self.directory, witness=witness, clock=self._clock, **_options(limits))

    def start_over(self, reason: str, limits: Limits, witness: Seen | None, sets: Mapping[bytes, bytes]) -> Opened:
        """A new file with what can be read of the damaged one, which must be closed."""
        self._take()
        return start_over(self.directory, reason, witness=witness, sets=sets, clock=self._clock, **_options(limits))

    def move(self, old: Store, limits: Limits, witness: Seen) -> Opened:
        """A new file with the content of one that lost its name. `old` is closed, unless the disk refuses.

        The old connection is closed before the new file gets its name: closing removes the log by name.
        """
        self._tell(Event("spool.file_vanished", {"path": str(old.path)}))
        self._take()
        remove(self.directory / NEW)
        try:
            old.copy_to(self.directory / NEW)
        except sqlite3.Error as error:
            if disk_trouble(error):
                raise
            old.close()
            return self.start_over(str(error), limits, witness, old.held_sets)
        old.close()
        swap(self.directory, self._clock())
        return self.open(limits, witness)

    def _take(self) -> None:
        """The directory, without what does not belong there, and its lock."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if found := put_strangers_aside(self.directory, self._clock()):
            self._tell(Event("spool.strangers", {"directory": str(self.directory), "names": found}))
        if self._lock is not None and self._lock.moved():
            self.release()
        if self._lock is None:
            self._lock = Lock(self.directory)

    @property
    def _ours(self) -> bool:
        return self._lock is not None and not self._lock.moved()

    def known(self) -> Found | None:
        """What the files say where SQLite cannot open them; None when they cannot be read, or are not ours."""
        return known(self.directory) if self._ours else None

    def note(self, seen: Seen, store: Store | None) -> None:
        """Leave an account that the disk does not take with the witness, if that is possible."""
        if not self._ours:
            return
        if store is not None and store.witness is not None:
            store.witness.write(seen)
            return
        witness = Witness(self.directory / "spool.witness")
        witness.read()  # to spare the newer slot
        witness.write(seen)
        witness.close()

    def writable(self) -> bool:
        """Whether the disk takes a small file now."""
        probe = self.directory / "spool.probe"
        try:
            probe.write_bytes(b"\0" * 65_536)
        except OSError:
            return False
        finally:
            with contextlib.suppress(OSError):
                probe.unlink(missing_ok=True)
        return True

    def release(self) -> None:
        """Let another process have the directory."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _options(limits: Limits) -> dict[str, int]:
    return {"log_pages": limits.log_pages, "rejected_bytes": limits.rejected_bytes}
