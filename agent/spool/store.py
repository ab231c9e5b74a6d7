"""The spool's file: one SQLite database, one connection, one transaction a flush.

Batches, cursors, checkpoints and the ledger move together or not at all, so what was accepted is accounted for
whatever moment the power goes. The class is synchronous and belongs to one thread; `agent.spool.Spool` is its face
to the event loop.

Not chosen: an append-only segment log of our own. It salvages more easily, and needs a second mechanism for cursors
and checkpoints that must agree with it after every crash. SQLite's commits measured as fast as append + fdatasync.

Three guards stand beside SQLite. Every row carries a CRC-32 of what it says. There is no index, so that none can
disagree with its table: every access is by row number. And the *witness*, a small file with two alternating slots,
repeats the account after every commit: when a damaged write-ahead log makes SQLite fall back to an older state
without a word, the witness still knows what had been accepted, and the difference is booked as lost.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from agent.ledger import State
from agent.spool.private import make_private
from agent.spool.records import (
    PAGE,
    ROW_OVERHEAD,
    Checkpoint,
    NewBatch,
    RejectedBatch,
    Row,
    crc,
    letter_of,
    rejected_crc,
    stored,
)
from agent.spool.schema import BATCH, CHECKPOINT, PRAGMAS, REJECTED, SCHEMA
from agent.spool.sets import Sets
from agent.spool.witness import Seen, Witness, at_rest

FILE = "spool.db"
LARGEST = 128 << 20  # bytes of a value; more is a damaged length, which would be allocated at once
NOTHING = 1 << 62  # a time that no batch reaches
DEAD_LETTERS = 1_000  # rows of the rejected table


class Damaged(sqlite3.DatabaseError):
    """The file holds what we never wrote."""


@contextlib.contextmanager
def as_damage() -> Iterator[None]:
    """Whatever else reading a damaged file makes the binding raise, told as damage."""
    try:
        yield
    except (MemoryError, OverflowError, ValueError, TypeError, SystemError, msgspec.MsgspecError) as error:
        raise Damaged(f"{type(error).__name__}: {error}") from error


def now_ms() -> int:
    """Unix time in ms."""
    return time.time_ns() // 1_000_000


class Store:
    """The database. `state` is always what the last successful transaction said, `batches` how many there are."""

    def __init__(
        self,
        directory: Path,
        name: str = FILE,
        *,
        clock: Callable[[], int] = now_ms,
        log_pages: int = 256,
        rejected_bytes: int = 8 << 20,
    ) -> None:
        self.path = directory / name
        self.log_pages, self.rejected_bytes, self.clock = log_pages, rejected_bytes, clock
        self._deleted: dict[str, int] = {}  # per signal, the batch number up to which rows are gone
        self._below = 0  # the same for all signals
        self.witness = Witness(directory / "spool.witness") if name == FILE else None
        self.seen: Seen | None = None  # what the witness said at opening
        make_private(self.path)
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._sets = Sets(self._db)
        try:
            self._load()
        except BaseException:
            self._db.close()
            raise

    @as_damage()
    def _load(self) -> None:
        self._db.text_factory = lambda raw: raw.decode("utf-8", "replace")
        self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST)
        for pragma in PRAGMAS:
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        self.limit_log(self.log_pages)
        self._db.executescript(SCHEMA)
        for query in (BATCH, REJECTED, CHECKPOINT):
            self._db.execute(f"{query} LIMIT 0")  # the tables are ours
        if (self._pragma("page_size"), self._pragma("auto_vacuum")) != (PAGE, 2):
            raise Damaged("the file's header is damaged")
        self.state = self._read_state()
        self._sets.load()
        self.batches = int(self._db.execute("SELECT count(*) FROM batches").fetchone()[0])
        self._inodes = self._find()

    def limit_log(self, log_pages: int) -> None:
        """Keep the write-ahead log at so many pages."""
        self.log_pages = log_pages
        self._db.execute(f"PRAGMA wal_autocheckpoint={log_pages}").fetchall()
        self._db.execute(f"PRAGMA journal_size_limit={log_pages * PAGE}").fetchall()

    def _read_state(self) -> State:
        row = self._db.execute("SELECT body, crc FROM state WHERE id = 0").fetchone()
        if row is not None and (not isinstance(row[0], bytes) or zlib.crc32(row[0]) != row[1]):
            raise Damaged("the state row is damaged")
        state = State() if row is None else msgspec.msgpack.decode(row[0], type=State)
        self.seen = self.witness.read() if self.witness is not None else None
        if self.seen is not None and self.seen.durable > state.commit:
            raise Damaged(f"commit {state.commit} found where {self.seen.durable} was written")
        return state

    @property
    def held_sets(self) -> Mapping[bytes, bytes]:
        """Series sets in memory, by digest, for the day the file loses them."""
        return self._sets.held

    def close(self) -> None:
        """Close the connection; the log is folded into the file."""
        self._db.close()
        if self.witness:
            self.witness.close()

    # -- the files ------------------------------------------------------------------------------------------------

    def _find(self) -> list[int]:
        return [os.stat(f"{self.path}{suffix}").st_ino for suffix in ("", "-wal")]

    def moved(self) -> bool:
        """Whether the file or its log is gone from its place, or another stands there; not if we cannot look."""
        try:
            return self._find() != self._inodes
        except OSError as error:
            return isinstance(error, FileNotFoundError | NotADirectoryError)

    def copy_to(self, path: Path) -> None:
        """Copy everything into a new file, from a file that may have lost its name."""
        make_private(path)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as target:
            self._db.backup(target, pages=1024)

    # -- transactions ---------------------------------------------------------------------------------------------

    def commit(
        self,
        state: State,
        rows: Sequence[tuple[int, int, NewBatch]] = (),
        *,
        rejected: Sequence[RejectedBatch] = (),
        checkpoints: Sequence[Checkpoint] = (),
        evict: int = 0,
    ) -> None:
        """One transaction: store `rows` (seq, total, batch), dead letters and checkpoints, delete what every account
        is done with and all batches up to number `evict`, and make `state` the truth. Raises sqlite3.Error and leaves
        everything as it was.
        """
        was, state.commit = state.commit, max(state.commit, self.state.commit) + 1
        done, below = state.done(), max(evict, state.passed())
        self._db.execute("BEGIN IMMEDIATE")
        try:
            gone = self._delete(done, below)
            self._insert(rows)
            self._keep_rejected(rejected)
            self._keep_checkpoints(checkpoints, state.commit)
            body = msgspec.msgpack.encode(state)
            self._db.execute("INSERT OR REPLACE INTO state VALUES (0, ?, ?)", (body, zlib.crc32(body)))
            self._db.execute("COMMIT")
        except BaseException:
            state.commit = was
            self._roll_back()
            raise
        self.state, self._deleted, self._below = state, done, below
        self.batches += len(rows) - gone
        if self.witness:
            self.witness.write(at_rest(state))

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        with contextlib.suppress(sqlite3.Error), as_damage():
            self._sets.load()

    def _delete(self, done: dict[str, int], below: int) -> int:
        """Delete everything up to number `below`, whatever signal a damaged row may say it has, and what is done of
        each signal, looking only where it was not deleted before; answers how many rows went.
        """
        gone = 0
        if below > self._below:
            gone = self._db.execute("DELETE FROM batches WHERE seq <= ?", (below,)).rowcount
        for signal, seq in done.items():
            if (before := max(self._deleted.get(signal, 0), below)) < seq:
                sql = "DELETE FROM batches WHERE seq > ? AND seq <= ? AND signal = ?"
                gone += self._db.execute(sql, (before, seq, signal)).rowcount
        return gone

    def _insert(self, rows: Sequence[tuple[int, int, NewBatch]]) -> None:
        now = self.clock()
        for seq, total, batch in rows:
            set_id, set_crc = self._sets.write(batch)
            facts = (seq, batch.signal, batch.time_ms, batch.stored_ms or now, batch.items, total)
            found = crc((*facts, set_crc), batch.payload)
            # OR REPLACE: a commit that failed may have come about all the same, and is then repeated.
            self._db.execute(
                "INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*facts, set_id, found, batch.payload),
            )

    def _keep_rejected(self, rejected: Sequence[RejectedBatch]) -> None:
        now = self.clock()
        for one in rejected:
            message = one.message[:1000].encode("utf-8", "replace").decode()
            one = msgspec.structs.replace(one, message=message, stored_ms=one.stored_ms or now)
            facts = (one.exporter, one.signal, one.time_ms, one.stored_ms, one.items, one.reason, one.message)
            self._db.execute(
                "INSERT OR REPLACE INTO rejected VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (one.id or None, *facts, one.series, one.payload, rejected_crc(one)),
            )
        if rejected:
            self._bound_rejected()

    def _bound_rejected(self) -> None:
        """Dead letters are already booked as rejected; their table is bounded, and its oldest rows make room."""
        kept = size = 0
        for number, length in self._db.execute(
            "SELECT id, length(series) + length(payload) FROM rejected ORDER BY id DESC"
        ).fetchall():
            kept, size = kept + 1, size + length
            if kept > DEAD_LETTERS or size > self.rejected_bytes:
                self._db.execute("DELETE FROM rejected WHERE id <= ?", (number,))
                return

    def _keep_checkpoints(self, checkpoints: Iterable[Checkpoint], written: int) -> None:
        for source, key, value in checkpoints:
            raw = key.encode("utf-8", "surrogatepass")
            number = int.from_bytes(hashlib.blake2b(f"{source}\0".encode() + raw, digest_size=8).digest()) >> 1
            if not value:
                self._db.execute("DELETE FROM checkpoints WHERE id = ?", (number,))
                continue
            facts = (number, source, raw, value, crc((source, written), raw, value), written)
            self._db.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?)", facts)

    def forget_rejected(self, ids: Iterable[int]) -> None:
        """Remove dead letters, once replayed or given up."""
        self._db.executemany("DELETE FROM rejected WHERE id = ?", [(one,) for one in ids])

    def collect_garbage(self) -> None:
        """Forget series sets that no batch speaks of."""
        with as_damage():
            self._sets.collect_garbage()

    def give_back(self, pages: int) -> None:
        """Return free pages to the file system, in steps that keep the log small."""
        while pages > 0 and self._pragma("freelist_count"):
            # executescript, since the statement is to be stepped once a page, and execute steps it once
            self._db.executescript(f"PRAGMA incremental_vacuum({min(pages, self.log_pages)})")
            self.fold_log()
            pages -= self.log_pages

    def fold_log(self) -> None:
        """Carry the log into the file and empty it."""
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    # -- reading --------------------------------------------------------------------------------------------------

    @as_damage()
    def read(self, signal: str, after: int, max_items: int, *, max_bytes: int = 8 << 20) -> tuple[list[Row], bool]:
        """Batches of a signal after `after`, oldest first, until `max_items` or `max_bytes` is reached; at least
        one if there is one. Also whether the last batch of the file was reached.

        A row whose checksum is wrong is left out: the cursor passing over it counts it.
        """
        rows: list[Row] = []
        items = size = 0
        sql = f"{BATCH} WHERE seq > ? AND signal = ? ORDER BY seq"
        with contextlib.closing(self._db.execute(sql, (after, signal))) as records:
            for record in records:
                if (row := self._row(record)) is None:
                    continue
                rows.append(row)
                items, size = items + row.items, size + row.size
                if items >= max_items or size >= max_bytes:
                    return rows, False
        return rows, True

    @as_damage()
    def batch(self, seq: int) -> Row | None:
        """One batch; None when there is none, or it is damaged."""
        record = self._db.execute(f"{BATCH} WHERE seq = ?", (seq,)).fetchone()
        return self._row(record) if record else None

    def _row(self, record: tuple[object, ...]) -> Row | None:
        *facts, set_id, found, payload = record
        known = self._sets.of(set_id)
        if known is None or not isinstance(payload, bytes) or crc((*facts, known[1]), payload) != found:
            return None
        return Row(*facts, known[0], payload)  # type: ignore[arg-type, call-arg]  # the checksum vouches

    @as_damage()
    def series(self, digest: bytes) -> bytes | None:
        """The payload of a series set; None when it is missing or damaged."""
        return self._sets.payload(digest)

    @as_damage()
    def oldest_ms(self) -> int:
        """When the oldest batch was stored, Unix ms; far in the future when there is none."""
        row = self._db.execute("SELECT stored_ms FROM batches ORDER BY seq LIMIT 1").fetchone()
        return int(row[0]) if row else NOTHING

    def walk(self, after: int = 0) -> Iterator[tuple[int, int, Row | None]]:
        """(seq, bytes, row) of every batch, oldest first; no row where it is damaged."""
        sql = f"{BATCH} WHERE seq > ? ORDER BY seq"
        with as_damage(), contextlib.closing(self._db.execute(sql, (after,))) as records:
            for record in records:
                row = self._row(record)
                yield int(record[0]), stored(row.size) if row is not None else ROW_OVERHEAD, row

    @as_damage()
    def checkpoints(self, source: str) -> dict[str, bytes]:
        """The checkpoints of a source, such as the positions of a tailer."""
        rows = self._db.execute(f"{CHECKPOINT} WHERE source = ?", (source,))
        known: dict[str, bytes] = {}
        for key, value, found, written in rows:
            if crc((source, written), key, value) != found:
                raise Damaged("a checkpoint is damaged")
            known[key.decode("utf-8", "surrogatepass")] = value
        return known

    @as_damage()
    def rejected(self) -> list[RejectedBatch]:
        """The dead letters, oldest first; damaged ones left out."""
        rows = self._db.execute(f"{REJECTED} ORDER BY id")
        return [one for row in rows if (one := letter_of(row)) is not None]

    # -- sizes and faults -----------------------------------------------------------------------------------------

    def pages(self) -> tuple[int, int]:
        """(all, free) pages of the file."""
        return self._pragma("page_count"), self._pragma("freelist_count")

    def on_disk(self, *suffixes: str) -> int:
        """Bytes of all the spool's files, or of those with a suffix."""
        total = 0
        for suffix in suffixes or ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                total += os.stat(f"{self.path}{suffix}").st_size
        return total if suffixes or self.witness is None else total + self.witness.size()

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    @as_damage()
    def verify(self) -> list[str]:
        """Every fault that can be found: SQLite's own check, and the checksum of every row."""
        faults = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check(100)") if row[0] != "ok"]
        faults += [f"batch {seq}: damaged, or its series set is" for seq, _, row in self.walk() if row is None]
        faults += self._sets.faults()
        letters = self._db.execute(REJECTED)
        return faults + [f"rejected {row[8]}: damaged" for row in letters if letter_of(row) is None]
