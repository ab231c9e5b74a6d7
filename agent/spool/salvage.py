"""Opening a spool whatever its file looks like: set a damaged one aside, carry over what can be read, count the rest.

Content never decides whether the agent starts. When SQLite refuses a file, or its account is older than the witness
knows, its rows are carved out one by one (see `carve`) into a new file, which then takes its place; the damaged one is
kept as `spool.db.corrupt-<time>`. Damage costs the rows it hits: the account is taken from the file or from the
witness, whichever is newer, and what it says is pending but could not be found is counted as `dropped{corrupt}` when
the cursor passes.

The damaged file stays in its place, only read, until the new one is complete: a salvage that is interrupted, or for
which the disk has no room, is simply done again. It is bounded in time.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from agent.ledger import State
from agent.spool.carve import LOGS, Carving
from agent.spool.private import copy_private
from agent.spool.records import NewBatch
from agent.spool.store import FILE, Store, now_ms
from agent.spool.unwritten import adopted
from agent.spool.witness import Seen, Witness

BUDGET = 60.0  # seconds; what is not read by then is counted as lost and stays in the file set aside
KEEP = 3  # files set aside; the oldest go, so that damage cannot fill the disk
NEW = f"{FILE}.new"  # the new file while it is being written
KEPT = f"{FILE}-log"  # the log as it was found at start
SUFFIXES = (*LOGS, "-shm")
CHUNK = 1 << 20  # bytes carried over in one transaction


class Salvaged(Struct, frozen=True):
    """What became of a damaged file: where it lies, why, and the batches and items found in it."""

    aside: str
    reason: str
    batches: int
    items: int
    orphaned: bool = False  # no account survived: every exporter starts at the oldest batch


def disk_trouble(error: Exception) -> bool:
    """Whether an error tells of the disk (full, read-only, failing, busy) and not of the content."""
    if isinstance(error, OSError):
        return True
    code = getattr(error, "sqlite_errorcode", 0)
    if code == sqlite3.SQLITE_IOERR_SHORT_READ:
        return False  # the file is shorter than it was
    return code & 0xFF in {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
    }


def put_strangers_aside(directory: Path, at_ms: int) -> list[str]:
    """Rename what stands in the place of one of our files and is no file, such as a directory or a pipe."""
    found = []
    for name in (FILE, KEPT, f"{FILE}-wal", f"{FILE}-shm", "spool.lock", "spool.witness", "spool.reserve", NEW):
        path = directory / name
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(path.stat().st_mode):
                os.rename(path, directory / f"{name}.stranger-{at_ms}")
                found.append(name)
    return found


def open_store(
    directory: Path,
    *,
    witness: Seen | None = None,
    clock: Callable[[], int] = now_ms,
    **options: int,
) -> tuple[Store, Salvaged | None]:
    """The store of a state directory, salvaged if need be; `witness` is an account that outlived the file, `options`
    are the store's. Raises OSError or sqlite3.Error only when the disk itself cannot be written.
    """
    keep_log(directory)
    try:
        store = Store(directory, FILE, clock=clock, **options)
    except sqlite3.Error as error:
        if disk_trouble(error):
            raise
        reason = str(error)
    else:
        if witness is None or store.state.commit >= witness.durable:
            (directory / KEPT).unlink(missing_ok=True)
            return store, None
        reason = f"commit {store.state.commit} found where {witness.durable} was written"
        store.close()
    return start_over(directory, reason, witness=witness, sets=None, clock=clock, **options)


def keep_log(directory: Path) -> None:
    """Copy the log before SQLite opens it, for it forgets everything behind a damaged frame. A copy that is there
    already is of a salvage that was interrupted.
    """
    log = directory / f"{FILE}-wal"
    with contextlib.suppress(OSError):
        if log.stat().st_size and not (directory / KEPT).exists():
            copy_private(log, directory / KEPT)


def start_over(
    directory: Path,
    reason: str,
    *,
    witness: Seen | None = None,
    sets: Mapping[bytes, bytes] | None = None,
    clock: Callable[[], int] = now_ms,
    **options: int,
) -> tuple[Store, Salvaged]:
    """Write what the file still says into a new one, and swap them; `witness` is an account that outlived the file,
    `sets` are series sets that did, by digest.

    The store that had the file open must be closed.
    """
    remove(directory / NEW)
    new = Store(directory, NEW, clock=clock, **options)
    try:
        found = _carry_over(directory, new, witness, sets)
        new.fold_log()  # closing does it too, but keeps quiet when it fails
    except BaseException:
        new.close()
        remove(directory / NEW)
        raise
    new.close()
    aside = swap(directory, clock())
    store = Store(directory, FILE, clock=clock, **options)
    return store, Salvaged(str(aside), reason, *found)


def swap(directory: Path, at_ms: int) -> Path:
    """Put the complete new file in its place; whatever stands there is kept under another name. Answers the name.

    The log goes first: one left beside a new file would be replayed into it.
    """
    aside = _free_name(directory, at_ms)
    for suffix in LOGS:
        with contextlib.suppress(FileNotFoundError):
            os.rename(directory / f"{FILE}{suffix}", f"{aside}{suffix}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(directory / f"{FILE}-shm")
    with contextlib.suppress(OSError):  # no such file, or a file system without links
        os.link(directory / FILE, aside)
    if not aside.exists() and (directory / FILE).exists():
        os.rename(directory / FILE, aside)
    os.replace(directory / NEW, directory / FILE)
    forget_asides(directory, KEEP)
    place = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(place)
    finally:
        os.close(place)
    return aside


def asides(directory: Path) -> list[Path]:
    """The damaged files that were kept, oldest first."""
    found = directory.glob(f"{FILE}.corrupt-*")
    return sorted(file for file in found if not file.name.endswith(SUFFIXES))


def forget_asides(directory: Path, keep: int) -> int:
    """Remove all but the newest `keep` damaged files; answers how many went."""
    kept = asides(directory)
    gone = kept[: max(0, len(kept) - keep)]
    for file in gone:
        remove(file)
    return len(gone)


def remove(path: Path) -> None:
    """Remove a database and its log."""
    for suffix in ("", *SUFFIXES):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _free_name(directory: Path, at_ms: int) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(at_ms / 1000))
    for number in range(1000):
        path = directory / f"{FILE}.corrupt-{stamp}.{number:03}Z"
        if not path.exists():
            return path
    raise FileExistsError(path)


def _carry_over(
    directory: Path, store: Store, witness: Seen | None, sets: Mapping[bytes, bytes] | None
) -> tuple[int, int, bool]:
    """Copy what the file still says into `store`; answers (batches, items, no account survived)."""
    seen = Witness(directory / "spool.witness").read()
    known = [one.state for one in (witness, seen) if one is not None]
    deadline = time.monotonic() + BUDGET
    try:
        carving = Carving(directory / FILE, more=lambda: time.monotonic() < deadline, sets=sets)
    except FileNotFoundError:
        state = max(known, key=lambda state: state.commit, default=State())
        store.commit(state)
        return 0, 0, False
    with carving:
        if (carved := carving.state()) is not None:  # without an agent, what was in its memory is gone
            known.append(adopted(carved, seen).state if witness is None else carved)
        state = max(reversed(known), key=lambda state: state.commit, default=State(orphaned=True)).copy()
        found = _copy_batches(carving, store, state)
        state.orphaned = state.orphaned and found[0] > 0
        store.commit(state, checkpoints=carving.checkpoints(), rejected=carving.rejected())
        return (*found, state.orphaned)


def _copy_batches(carving: Carving, store: Store, state: State) -> tuple[int, int]:
    """Carry over the batches that somebody waits for; without an account, all of them."""
    batches = items = size = 0
    done = state.done()
    chunk: list[tuple[int, int, NewBatch]] = []
    for row, new in carving.batches():
        if state.orphaned:
            head = state.heads.setdefault(row.signal, state.head(row.signal))
            head.seq, head.items = max(head.seq, row.seq), max(head.items, row.total)
        elif not done.get(row.signal, row.seq) < row.seq <= state.head(row.signal).seq:
            continue
        chunk.append((row.seq, row.total, new))
        batches, items, size = batches + 1, items + row.items, size + row.size
        if size > CHUNK:
            store.commit(state, chunk)
            chunk, size = [], 0
    store.commit(state, chunk)
    return batches, items
