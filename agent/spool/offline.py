"""The spool of a state directory in which no agent runs, for the command line. Synchronous.

A sound file is opened as the agent would; of a damaged one, or on a disk that is full, the sound rows are shown as
they would be salvaged, and nothing is changed.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

from agent import codec
from agent.ledger import Entry, State
from agent.model import Batch, SeriesSet
from agent.spool.carve import Carving
from agent.spool.house import Limits
from agent.spool.lock import Lock
from agent.spool.look import Listed, decoded, decoded_rejected, entries, listed
from agent.spool.records import NewBatch, RejectedBatch, Row
from agent.spool.salvage import KEPT, disk_trouble, keep_log
from agent.spool.store import FILE, NOTHING, Store
from agent.spool.unwritten import adopted
from agent.spool.witness import Witness
from agent.spool.writer import SpoolStat, Writer

SETS = 64  # decoded series sets kept while replaying
UNLIMITED = Limits(max_size=1 << 60, max_age=1e12, min_free=lambda total: 0)  # the agent's limits are its own


class DamagedSpool(Exception):
    """The file cannot be changed: the disk refuses, or it is damaged and must be salvaged first, by starting the
    agent.
    """


class Offline:
    """A context manager. Opening raises FileNotFoundError without a spool, `AlreadyRunning` when an agent holds it,
    or OSError when the disk cannot be read.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        if not (directory / FILE).is_file():
            raise FileNotFoundError(f"no spool in {directory}")
        self._lock = Lock(directory)
        self.fault = ""  # why the file is only looked at: it must be salvaged, or the disk refuses; empty when sound
        self._refused = False
        self._store: Store | None = None
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise

    def _open(self) -> None:
        keep_log(self._directory)
        try:
            self._store = Store(self._directory)
            (self._directory / KEPT).unlink(missing_ok=True)
        except sqlite3.Error as error:
            self.fault = str(error)
            self._refused = disk_trouble(error)
            if self._refused:  # opening writes, reading the bytes does not
                self.fault = f"the disk refuses ({error}); shown is what can be read without writing"
                self._carving().close()

    def __enter__(self) -> Offline:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and release the directory."""
        if self._store is not None:
            self._store.close()
        self._lock.release()

    # -- reading --------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The account; of a damaged file the newest copy that is whole."""
        if self._store is not None:
            return adopted(self._store.state, self._store.seen).state
        seen = Witness(self._directory / "spool.witness").read()
        with self._carving() as carving:
            state = carving.state()
        if state is not None:
            state = adopted(state, seen).state
        known = [one for one in (state, seen.state if seen is not None else None) if one is not None]
        return max(known, key=lambda state: state.commit, default=State())

    def _carving(self) -> Carving:
        return Carving(self._directory / FILE)

    def entries(self) -> list[Entry]:
        """The ledger."""
        return entries(self.state)

    def stat(self) -> SpoolStat:
        """Sizes and ages; a damaged file shows its damage as `trouble`."""
        batches, oldest = 0, NOTHING
        for row in self._rows():
            if row is not None:
                batches, oldest = batches + 1, min(oldest, row.stored_ms)
        files = [file for file in self._directory.glob("spool.*") if ".corrupt-" not in file.name]
        size = sum(file.stat().st_size for file in files)
        return SpoolStat(str(self._directory), size, batches, oldest if batches else 0, 0, self.fault)

    def _rows(self) -> Iterator[Row | None]:
        """The batches, from SQLite as far as it gets."""
        last = 0
        if self._store is not None:
            try:
                for seq, _, row in self._store.walk():
                    last = seq
                    yield row
                return
            except sqlite3.Error as error:
                self.fault = str(error)
        with self._carving() as carving:
            yield from (row for row, _ in carving.batches() if row.seq > last)

    def list_batches(self, limit: int = 100) -> list[Listed]:
        """The oldest batches that wait."""
        return listed(self._rows(), self.state, limit)

    def show(self, seq: int) -> Batch | None:
        """One batch, decoded; None when there is none. Raises `codec.Corrupt`."""
        for row in self._rows():
            if row is not None and row.seq == seq:
                return self._decoded(row)
        return None

    def _decoded(self, row: Row) -> Batch:
        series = None
        with contextlib.suppress(sqlite3.Error):
            series = self._store.series(row.digest) if self._store is not None else None
        if series is None:
            with self._carving() as carving:
                series = next((new.series for one, new in carving.batches() if one.seq == row.seq), None)
        if series is None:
            raise codec.Corrupt("its series set is damaged")
        return decoded(row.payload, row.time_ms, series)

    def verify(self) -> list[str]:
        """Every fault that can be found; none means sound."""
        if self._store is None:
            return [self.fault]
        try:
            return self._store.verify()
        except sqlite3.Error as error:
            return [str(error)]

    def rejected(self) -> list[RejectedBatch]:
        """The dead letters, oldest first."""
        with contextlib.suppress(sqlite3.Error):
            if self._store is not None:
                return self._store.rejected()
        with self._carving() as carving:
            return carving.rejected()

    # -- changing -------------------------------------------------------------------------------------------------

    def forget_rejected(self, ids: Iterable[int]) -> None:
        """Remove dead letters. Raises `DamagedSpool`."""
        self._sound().forget_rejected(ids)

    def purge(self, exporter: str = "", before_ms: int = 0) -> int:
        """Give up what waits, counted as dropped; see `Writer.purge`. Raises `DamagedSpool`."""
        self._sound().close()
        self._store = None
        self._lock.release()
        writer = Writer(self._directory, UNLIMITED)
        writer.open()
        try:
            return writer.purge(exporter, before_ms)
        finally:
            writer.close()
            self._lock = Lock(self._directory)
            self._open()

    def _sound(self) -> Store:
        if self._store is None:
            if self._refused:
                raise DamagedSpool(f"the spool in {self._directory} cannot be changed: {self.fault}")
            raise DamagedSpool(f"the spool in {self._directory} is damaged ({self.fault}); starting the agent mends it")
        return self._store


def replay(path: Path, *, rejected: bool = False) -> Iterator[Batch]:
    """The batches of any spool file, such as one set aside, or its dead letters; oldest first, decoded. The file is
    only read. Raises OSError when it cannot be.
    """
    known: OrderedDict[bytes, SeriesSet] = OrderedDict()
    with Carving(path) as carving:
        stored: Iterable[RejectedBatch | NewBatch] = (
            carving.rejected() if rejected else (b for _, b in carving.batches())
        )
        for one in stored:
            with contextlib.suppress(codec.Corrupt):
                if one.series not in known:
                    known[one.series] = codec.decode_series(one.series)
                    if len(known) > SETS:
                        known.popitem(last=False)
                yield codec.decode_batch(one.payload, one.time_ms, known[one.series])


__all__ = ["DamagedSpool", "Listed", "Offline", "decoded_rejected", "replay"]
