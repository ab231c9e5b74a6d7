"""The series sets in the file: written once for many batches, in a few copies, since all of those batches need one."""

from __future__ import annotations

import sqlite3
import zlib
from collections import OrderedDict

from agent.spool.records import NewBatch

COPY_AFTER, COPY_EVERY = 8, 256  # batches
HELD = 32  # sets of the newest batches kept in memory, for the day the file loses them


class Sets:
    """The table `sets`. Raises sqlite3.Error, and what reading damaged rows makes the binding raise."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._rows: dict[int, tuple[bytes, int]] = {}  # by number: digest, checksum
        self._copies: dict[bytes, list[int]] = {}  # by digest: the numbers of the sound ones
        self._uses: dict[bytes, int] = {}  # batches since the newest copy
        self.held: OrderedDict[bytes, bytes] = OrderedDict()  # by digest

    def load(self) -> None:
        """Learn what is in the table."""
        self._rows, self._copies, self._uses = {}, {}, {}
        for number, digest, payload, found in self._db.execute("SELECT id, digest, payload, crc FROM sets"):
            self._rows[number] = (digest, found)
            if _sound(payload, found):
                self._copies.setdefault(digest, []).append(number)

    def of(self, number: object) -> tuple[bytes, int] | None:
        """The digest and checksum of a set by its number."""
        return self._rows.get(number) if isinstance(number, int) else None

    def write(self, batch: NewBatch) -> tuple[int, int]:
        """The number and checksum of a batch's set. It is written when first met, again after `COPY_AFTER` batches
        and then every `COPY_EVERY`: one copy makes good for another.
        """
        self._hold(batch)
        uses = self._uses[batch.digest] = self._uses.get(batch.digest, 0) + 1
        copies = self._copies.setdefault(batch.digest, [])
        if not copies or uses > (COPY_EVERY if len(copies) > 1 else COPY_AFTER):
            copies.append(self._insert(batch))
            self._uses[batch.digest] = 1
        return copies[-1], self._rows[copies[-1]][1]

    def _insert(self, batch: NewBatch) -> int:
        found = zlib.crc32(batch.series)
        sql = "INSERT INTO sets (digest, payload, crc) VALUES (?, ?, ?)"
        number = int(self._db.execute(sql, (batch.digest, batch.series, found)).lastrowid or 0)
        self._rows[number] = (batch.digest, found)
        return number

    def _hold(self, batch: NewBatch) -> None:
        self.held[batch.digest] = batch.series
        self.held.move_to_end(batch.digest)
        if len(self.held) > HELD:
            self.held.popitem(last=False)

    def payload(self, digest: bytes) -> bytes | None:
        """The payload of a set, of any copy that is sound; None when there is none."""
        for number in self._copies.get(digest, ()):
            row = self._db.execute("SELECT payload, crc FROM sets WHERE id = ?", (number,)).fetchone()
            if row is not None and _sound(*row):
                return bytes(row[0])
        self._copies.pop(digest, None)  # the next batch writes it again
        return self.held.get(digest)

    def collect_garbage(self) -> None:
        """Forget sets that no batch speaks of."""
        self._db.execute("DELETE FROM sets WHERE id NOT IN (SELECT DISTINCT set_id FROM batches)")
        self.load()

    def faults(self) -> list[str]:
        """The damaged rows."""
        rows = self._db.execute("SELECT id, payload, crc FROM sets")
        return [f"series set {number}: damaged" for number, *row in rows if not _sound(*row)]


def _sound(payload: object, found: object) -> bool:
    return isinstance(payload, bytes) and zlib.crc32(payload) == found
