"""Opening a spool whatever its file looks like: set a damaged one aside, carry over what can be read, count the rest.

Content never decides whether the agent starts. A file that SQLite refuses, or that is older than the witness knows,
is renamed to `spool.db.corrupt-<time>`; each of its tables is then read row by row, each row judged by its checksum,
into a new file. Damage costs the rows it hits: the account is taken from the database or from the witness, whichever
is newer, and what it says is pending but could not be found is counted as `dropped{corrupt}` when the cursor passes.

Recovery is bounded in time and in the number of faults it steps over, and may be interrupted and repeated: the file
set aside is only read.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from agent.ledger import State
from agent.spool.store import FILE, NewBatch, Store, _row_crc, now_ms
from agent.spool.witness import Witness

BUDGET = 30.0  # seconds; what is not read by then is counted as lost and stays in the file set aside
FAULTS = 20_000  # rows stepped over one by one before the rest is given up
KEEP = 3  # files set aside; the oldest go, so that damage cannot fill the disk


class Salvaged(Struct, frozen=True):
    """What became of a damaged file: where it lies, why, and the batches and items found in it."""

    aside: str
    reason: str
    batches: int
    items: int
    orphaned: bool = False  # no account survived: every exporter starts at the oldest batch


def open_store(
    directory: Path, *, clock: Callable[[], int] = now_ms, log_pages: int = 512
) -> tuple[Store, Salvaged | None]:
    """The store of a state directory, salvaged if need be. Raises OSError or sqlite3.OperationalError only when the
    disk itself cannot be written.
    """
    try:
        return Store(directory, clock=clock, log_pages=log_pages), None
    except sqlite3.DatabaseError as error:
        if disk_trouble(error):
            raise
        reason = str(error)
    except (ValueError, TypeError, OverflowError) as error:  # damaged schema: text that is not UTF-8, odd types
        reason = str(error)
    return start_over(directory, reason, clock=clock, log_pages=log_pages)


def disk_trouble(error: sqlite3.Error | OSError) -> bool:
    """Whether an error tells of the disk (full, read-only, failing, busy) and not of the content."""
    if isinstance(error, OSError):
        return True
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
    }


def start_over(
    directory: Path,
    reason: str,
    *,
    clock: Callable[[], int] = now_ms,
    log_pages: int = 512,
    witness: State | None = None,
) -> tuple[Store, Salvaged]:
    """Set the file aside and carry over what it still says; `witness` is an account that outlived it."""
    witness = witness or Witness(directory / "spool.witness").read()
    aside = _set_aside(directory, clock())
    with contextlib.suppress(OSError):
        os.unlink(directory / "spool.witness")
    store = Store(directory, clock=clock, log_pages=log_pages)
    try:
        found = _carry_over(aside, store, witness)
    except BaseException:
        store.close()
        raise
    return store, Salvaged(str(aside), reason, *found)


def _set_aside(directory: Path, at_ms: int) -> Path:
    """Rename the database and its log; the database goes last, so that a crash in between leaves it to be found."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at_ms / 1000))
    name = f"{FILE}.corrupt-{stamp}"
    number = 0
    while (directory / name).exists():
        number += 1
        name = f"{FILE}.corrupt-{stamp}-{number}"
    with contextlib.suppress(FileNotFoundError):
        os.rename(directory / f"{FILE}-wal", directory / f"{name}-wal")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(directory / f"{FILE}-shm")
    with contextlib.suppress(FileNotFoundError):
        os.rename(directory / FILE, directory / name)
    _forget_oldest(directory)
    return directory / name


def _forget_oldest(directory: Path) -> None:
    kept = sorted(
        (file for file in directory.glob(f"{FILE}.corrupt-*") if not file.name.endswith(("-wal", "-shm"))),
        key=lambda file: file.name,
    )
    for file in kept[:-KEEP]:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{file}{suffix}").unlink(missing_ok=True)


class _Reader:
    """Reads a damaged database row by row, stepping over what SQLite cannot read."""

    def __init__(self, path: Path) -> None:
        self.deadline = time.monotonic() + BUDGET
        self.faults = 0
        self.db = sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None)
        self.db.text_factory = lambda raw: raw.decode("utf-8", "replace")

    def rows(self, sql: str, key: str, last: int) -> Iterator[tuple[object, ...]]:
        """Rows of `sql` (with `{where}`) in the order of an integer key; after a fault, key by key up to `last`."""
        at = -1
        while True:
            try:
                for row in self.db.execute(sql.format(where=f"WHERE {key} > {at} ORDER BY {key}")):
                    if not isinstance(row[0], int) or row[0] <= at:
                        break
                    at = row[0]
                    yield row
                return
            except (sqlite3.Error, OverflowError, ValueError):
                at += 1
                self.faults += 1
            if at > last or self.faults > FAULTS or time.monotonic() > self.deadline:
                return
            row = self._one(sql.format(where=f"WHERE {key} = {at}"))
            if row is not None:
                yield row

    def _one(self, sql: str) -> tuple[object, ...] | None:
        try:
            return self.db.execute(sql).fetchone()  # type: ignore[no-any-return]  # a row or None
        except (sqlite3.Error, OverflowError, ValueError):
            return None

    def state(self) -> State | None:
        """The account, if its row is whole."""
        row = self._one("SELECT body, crc FROM state WHERE id = 0")
        try:
            if row and isinstance(row[0], bytes) and zlib.crc32(row[0]) == row[1]:
                return msgspec.msgpack.decode(row[0], type=State)
        except msgspec.MsgspecError:
            pass
        return None


def _carry_over(path: Path, store: Store, witness: State | None) -> tuple[int, int, bool]:
    """Copy what `path` still says into `store`; answers (batches, items, no account survived)."""
    if not path.exists():
        if witness is not None:
            store.commit(witness)
        return 0, 0, witness is None
    reader = _Reader(path)
    try:
        own = reader.state()
        known = [state for state in (own, witness) if state is not None]
        state = max(known, key=lambda state: state.commit, default=State())
        found = _copy_batches(reader, store, state, trusted=bool(known))
        _copy_checkpoints(reader, store)
        _copy_rejected(reader, store)
        return (*found, not known)
    finally:
        reader.db.close()


def _copy_batches(reader: _Reader, store: Store, state: State, *, trusted: bool) -> tuple[int, int]:
    last_set = 1_000_000
    sets = {
        row[0]: (bytes(row[1]), bytes(row[2]))
        for row in reader.rows("SELECT id, digest, payload, crc FROM sets {where}", "id", last_set)
        if isinstance(row[1], bytes) and isinstance(row[2], bytes) and zlib.crc32(row[2]) == row[3]
    }
    last = max((head.seq for head in state.heads.values()), default=0) if trusted else 1_000_000
    sql = "SELECT seq, signal, time_ms, stored_ms, items, total, set_id, crc, payload FROM batches {where}"
    batches = items = 0
    chunk: list[tuple[int, int, NewBatch]] = []
    for seq, signal, time_ms, stored_ms, n, total, set_id, crc, payload in reader.rows(sql, "seq", last):
        facts = (seq, signal, time_ms, stored_ms, n, total)
        if set_id not in sets or not isinstance(payload, bytes) or _row_crc(facts, payload) != crc:
            continue
        digest, series = sets[set_id]
        new = NewBatch(str(signal), time_ms, n, digest, series, payload)  # type: ignore[arg-type]  # checksummed
        chunk.append((seq, total, new))  # type: ignore[arg-type]  # checksummed
        batches, items = batches + 1, items + int(n)  # type: ignore[call-overload]  # checksummed
        if not trusted:
            head = state.head(str(signal))
            head.seq, head.items = int(seq), int(total)  # type: ignore[call-overload]  # checksummed
        if len(chunk) >= 500:
            store.commit(state, chunk)
            chunk = []
    store.commit(state, chunk)
    return batches, items


def _copy_checkpoints(reader: _Reader, store: Store) -> None:
    try:
        rows = reader.db.execute("SELECT source, key, value FROM checkpoints").fetchall()
    except (sqlite3.Error, OverflowError, ValueError):
        return
    store.commit(store.state, checkpoints=[row for row in rows if isinstance(row[2], bytes)])


def _copy_rejected(reader: _Reader, store: Store) -> None:
    from agent.spool.store import RejectedBatch

    sql = (
        "SELECT id, stored_ms, exporter, signal, time_ms, items, reason, message, series, payload, crc"
        " FROM rejected {where}"
    )
    found = [
        RejectedBatch(*row[2:10])  # type: ignore[arg-type]  # the checksum covers the payload; the text may be hurt
        for row in reader.rows(sql, "id", store.REJECTED_ROWS)
        if isinstance(row[8], bytes) and isinstance(row[9], bytes) and zlib.crc32(row[9], zlib.crc32(row[8])) == row[10]
    ]
    store.commit(store.state, rejected=found)
