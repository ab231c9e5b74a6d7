"""The spool's file: one SQLite database, one connection, one transaction a flush.

Batches, cursors, checkpoints and the ledger move together or not at all, so what was accepted is accounted for
whatever moment the power goes. The class is synchronous and belongs to one thread; `agent.spool.Spool` is its face
to the event loop.

Not chosen: an append-only segment log of our own. It salvages more easily, and needs a second mechanism for cursors
and checkpoints that must agree with it after every crash. SQLite's commits measured as fast as append + fdatasync.

Two guards stand beside SQLite. Every row carries the CRC-32 of what it says. And the *witness*, a small file with two
alternating slots, repeats the account after every commit: when a damaged write-ahead log makes SQLite fall back to an
older state without a word, the witness still knows what had been accepted, and the difference is booked as lost.
"""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from agent.ledger import State
from agent.spool.witness import Witness

FILE = "spool.db"
ROW_OVERHEAD = 96  # bytes of a row beside its payload: key, numbers, page share; measured 60 to 120

SCHEMA = """
CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY CHECK (id = 0), body BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS sets (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, payload BLOB NOT NULL,
    crc INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS batches (seq INTEGER PRIMARY KEY, signal TEXT NOT NULL, time_ms INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL, items INTEGER NOT NULL, total INTEGER NOT NULL, set_id INTEGER, crc INTEGER NOT NULL,
    payload BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS batches_by_signal ON batches (signal, seq);
CREATE TABLE IF NOT EXISTS checkpoints (source TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (source, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rejected (id INTEGER PRIMARY KEY, exporter TEXT NOT NULL, signal TEXT NOT NULL,
    time_ms INTEGER NOT NULL, stored_ms INTEGER NOT NULL, items INTEGER NOT NULL, reason TEXT NOT NULL,
    message TEXT NOT NULL, series BLOB NOT NULL, payload BLOB NOT NULL, crc INTEGER NOT NULL);
"""


class Row(Struct, frozen=True):
    """A stored batch. `total` counts the signal's items up to and including this batch; times are Unix ms."""

    seq: int
    signal: str
    time_ms: int
    stored_ms: int
    items: int
    total: int
    digest: bytes
    payload: bytes

    @property
    def size(self) -> int:
        """Bytes on disk, overhead included."""
        return len(self.payload) + ROW_OVERHEAD


class NewBatch(Struct, frozen=True):
    """A batch to store: its encoded form, and the series set it speaks of."""

    signal: str
    time_ms: int
    items: int
    digest: bytes
    series: bytes
    payload: bytes


class RejectedBatch(Struct, frozen=True):
    """What a destination refused for good, with its words; self-contained, for `spool list|show|replay`."""

    exporter: str
    signal: str
    time_ms: int
    items: int
    reason: str
    message: str
    series: bytes
    payload: bytes
    id: int = 0
    stored_ms: int = 0


class Settlement(Struct, frozen=True):
    """The verdict over an exporter's batches up to `seq`: counts, and what was refused."""

    exporter: str
    signal: str
    seq: int
    total: int
    delivered: int = 0
    dropped: dict[str, int] = {}
    rejected: tuple[RejectedBatch, ...] = ()
    partial: dict[str, int] = {}  # items that the server counted as left out, without naming them


def _row_crc(row: tuple[object, ...], payload: bytes) -> int:
    """CRC-32 over what a row says about itself and its payload."""
    return zlib.crc32(payload, zlib.crc32("|".join(map(str, row)).encode()))


def now_ms() -> int:
    """Unix time in ms."""
    return time.time_ns() // 1_000_000


class Store:
    """The database. `state` is always what the last successful transaction said."""

    REJECTED_ROWS = 1_000
    REJECTED_BYTES = 8 << 20

    def __init__(self, directory: Path, *, clock: Callable[[], int] = now_ms, log_pages: int = 512) -> None:
        self.path = directory / FILE
        self.log_pages = log_pages
        self.clock = clock
        self._sets: dict[bytes, int] = {}
        self._digests: dict[int, bytes] = {}
        self.witness = Witness(directory / "spool.witness")
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
            self.inode = self.path.stat().st_ino
            self.state = self._load_state()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        for pragma in (
            "auto_vacuum=INCREMENTAL",
            "journal_mode=WAL",
            "synchronous=FULL",
            "cache_size=-1024",
            f"wal_autocheckpoint={self.log_pages}",
            f"journal_size_limit={self.log_pages * 4096}",
            "temp_store=MEMORY",
        ):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        self._db.executescript(SCHEMA)

    def _load_state(self) -> State:
        row = self._db.execute("SELECT body, crc FROM state WHERE id = 0").fetchone()
        if row is None:
            state = State()
        else:
            if not isinstance(row[0], bytes) or zlib.crc32(row[0]) != row[1]:
                raise sqlite3.DatabaseError("the state row is damaged")
            try:
                state = msgspec.msgpack.decode(row[0], type=State)
            except msgspec.MsgspecError as error:
                raise sqlite3.DatabaseError(f"the state row is unreadable: {error}") from None
        seen = self.witness.read()
        if seen is None or seen.commit <= state.commit:
            return state
        raise sqlite3.DatabaseError(f"commit {state.commit} found where {seen.commit} was written")

    def close(self) -> None:
        """Close the connection; the log is folded into the file."""
        self._db.close()
        self.witness.close()

    def moved(self) -> bool:
        """Whether the file is gone from its place, or another stands there."""
        try:
            return self.path.stat().st_ino != self.inode
        except OSError:
            return True

    # -- transactions ---------------------------------------------------------------------------------------------

    def commit(
        self,
        state: State,
        rows: Sequence[tuple[int, int, NewBatch]] = (),
        *,
        rejected: Iterable[RejectedBatch] = (),
        checkpoints: Iterable[tuple[str, str, bytes]] = (),
        below: Mapping[str, int] | None = None,
    ) -> None:
        """One transaction: store `rows` (seq, total, batch), dead letters and checkpoints, delete each signal's
        batches up to `below`, and make `state` the truth. Raises sqlite3.Error and leaves everything as it was.
        """
        state.commit += 1
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._insert(rows)
            self._keep_rejected(rejected)
            self._db.executemany("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?)", checkpoints)
            for signal, seq in (below or {}).items():
                self._db.execute("DELETE FROM batches WHERE signal = ? AND seq <= ?", (signal, seq))
            body = msgspec.msgpack.encode(state)
            self._db.execute("INSERT OR REPLACE INTO state VALUES (0, ?, ?)", (body, zlib.crc32(body)))
            self._db.execute("COMMIT")
        except BaseException:
            self._sets.clear()
            self._digests.clear()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self.state = state
        self.witness.write(state)

    def _insert(self, rows: Sequence[tuple[int, int, NewBatch]]) -> None:
        stored = self.clock()
        for seq, total, batch in rows:
            set_id = self._set_id(batch)
            facts = (seq, batch.signal, batch.time_ms, stored, batch.items, total)
            crc = _row_crc(facts, batch.payload)
            self._db.execute(
                "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*facts, set_id, crc, batch.payload)
            )

    def _set_id(self, batch: NewBatch) -> int:
        if (found := self._sets.get(batch.digest)) is None:
            row = self._db.execute("SELECT id FROM sets WHERE digest = ?", (batch.digest,)).fetchone()
            if row is None:
                cursor = self._db.execute(
                    "INSERT INTO sets (digest, payload, crc) VALUES (?, ?, ?)",
                    (batch.digest, batch.series, zlib.crc32(batch.series)),
                )
                row = (cursor.lastrowid,)
            found = self._sets[batch.digest] = int(row[0])
        return found

    def _keep_rejected(self, rejected: Iterable[RejectedBatch]) -> None:
        stored = self.clock()
        for one in rejected:
            crc = zlib.crc32(one.payload, zlib.crc32(one.series))
            self._db.execute(
                "INSERT INTO rejected (exporter, signal, time_ms, stored_ms, items, reason, message, series, payload,"
                " crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    one.exporter,
                    one.signal,
                    one.time_ms,
                    stored,
                    one.items,
                    one.reason,
                    one.message[:1000],
                    one.series,
                    one.payload,
                    crc,
                ),
            )
        # Dead letters are already booked as rejected; the table is bounded, and its oldest rows make room.
        self._db.execute("DELETE FROM rejected WHERE id <= (SELECT max(id) FROM rejected) - ?", (self.REJECTED_ROWS,))

    def collect_garbage(self) -> None:
        """Forget series sets that no batch speaks of, and give free pages back to the file system."""
        self._db.execute("DELETE FROM sets WHERE id NOT IN (SELECT DISTINCT set_id FROM batches)")
        self._sets.clear()
        self._digests.clear()
        self._db.execute("PRAGMA incremental_vacuum(4096)").fetchall()

    # -- reading --------------------------------------------------------------------------------------------------

    def read(self, signal: str, after: int, max_items: int, *, max_bytes: int = 8 << 20) -> list[Row]:
        """Batches of a signal after `after`, oldest first, until `max_items` or `max_bytes` is reached; at least
        one if there is one. A row whose checksum is wrong is left out: the cursor passing over it counts it.
        """
        rows: list[Row] = []
        items = size = 0
        cursor = self._db.execute(
            "SELECT seq, signal, time_ms, stored_ms, items, total, set_id, crc, payload FROM batches"
            " WHERE seq > ? AND signal = ? ORDER BY seq",
            (after, signal),
        )
        for record in cursor:
            row = self._row(record)
            if row is None:
                continue
            rows.append(row)
            items += row.items
            size += row.size
            if items >= max_items or size >= max_bytes:
                break
        cursor.close()
        return rows

    def _row(self, record: tuple[object, ...]) -> Row | None:
        *facts, set_id, crc, payload = record
        if not isinstance(payload, bytes) or _row_crc(tuple(facts), payload) != crc:
            return None
        digest = self._digest(set_id)
        return Row(*facts, digest, payload) if digest else None  # type: ignore[arg-type, call-arg]  # the checksum vouches

    def _digest(self, set_id: object) -> bytes | None:
        if not isinstance(set_id, int):
            return None
        if (found := self._digests.get(set_id)) is None:
            row = self._db.execute("SELECT digest FROM sets WHERE id = ?", (set_id,)).fetchone()
            if row is None:
                return None
            found = self._digests[set_id] = bytes(row[0])
        return found

    def series(self, digest: bytes) -> bytes | None:
        """The payload of a series set; None when it is missing or damaged."""
        row = self._db.execute("SELECT payload, crc FROM sets WHERE digest = ?", (digest,)).fetchone()
        if row is None or not isinstance(row[0], bytes) or zlib.crc32(row[0]) != row[1]:
            return None
        return row[0]

    def oldest_ms(self) -> int:
        """When the oldest batch was stored, Unix ms; far in the future when there is none."""
        row = self._db.execute("SELECT stored_ms FROM batches ORDER BY seq LIMIT 1").fetchone()
        return int(row[0]) if row else 1 << 62

    def count(self) -> int:
        """Batches in the file."""
        return int(self._db.execute("SELECT count(*) FROM batches").fetchone()[0])

    def outline(self) -> Iterable[tuple[int, str, int, int, int, int]]:
        """(seq, signal, stored_ms, items, total, bytes) of every batch, oldest first."""
        return self._db.execute(
            "SELECT seq, signal, stored_ms, items, total, length(payload) FROM batches ORDER BY seq"
        )

    def checkpoints(self, source: str) -> dict[str, bytes]:
        """The checkpoints of a source, such as the positions of a tailer."""
        rows = self._db.execute("SELECT key, value FROM checkpoints WHERE source = ?", (source,))
        return {str(key): bytes(value) for key, value in rows}

    def rejected(self) -> list[RejectedBatch]:
        """The dead letters, oldest first; damaged ones left out."""
        rows = self._db.execute(
            "SELECT exporter, signal, time_ms, items, reason, message, series, payload, id, stored_ms, crc"
            " FROM rejected ORDER BY id"
        )
        return [RejectedBatch(*row[:-1]) for row in rows if zlib.crc32(row[7], zlib.crc32(row[6])) == row[10]]

    def forget_rejected(self, ids: Iterable[int]) -> None:
        """Remove dead letters, once replayed or given up."""
        self._db.executemany("DELETE FROM rejected WHERE id = ?", [(one,) for one in ids])

    def used(self) -> int:
        """Bytes that live rows hold in the file, without free pages and the log."""
        pages, free, size = (self._pragma(name) for name in ("page_count", "freelist_count", "page_size"))
        return (pages - free) * size

    def on_disk(self) -> int:
        """Bytes of all the spool's files."""
        files = (self.path, Path(f"{self.path}-wal"), Path(f"{self.path}-shm"), self.witness.path)
        return sum(file.stat().st_size for file in files if file.exists())

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    def verify(self) -> list[str]:
        """Every fault that can be found: SQLite's own check, and the checksum of every row."""
        faults = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check(100)") if row[0] != "ok"]
        records = self._db.execute(
            "SELECT seq, signal, time_ms, stored_ms, items, total, set_id, crc, payload FROM batches ORDER BY seq"
        )
        damaged = [record[0] for record in records if self._row(record) is None]
        return faults + [f"batch {seq}: its checksum does not match, or its series set is missing" for seq in damaged]
