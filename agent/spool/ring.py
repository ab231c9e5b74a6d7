"""What is kept in memory while the disk refuses: a bounded number of bytes, oldest out first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from agent.spool.records import ROW_OVERHEAD, Checkpoint, NewBatch, RejectedBatch

NewRow = tuple[int, int, NewBatch]  # number, items of the signal up to and including it, batch
OBJECT = 400  # bytes of Python's own beside a batch's payload


class Ring:
    """Batches by number, with the checkpoints and dead letters that wait to be written with them."""

    def __init__(self) -> None:
        self._rows: dict[int, NewRow] = {}
        self._sets: dict[bytes, int] = {}  # batches that share a series set, by digest
        self._checkpoints: dict[tuple[str, str], bytes] = {}
        self.rejected: list[RejectedBatch] = []
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __bool__(self) -> bool:
        return bool(self._rows or self._checkpoints or self.rejected)

    @property
    def rows(self) -> list[NewRow]:
        """The batches, oldest first."""
        return list(self._rows.values())

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The newest checkpoints."""
        return [(source, key, value) for (source, key), value in self._checkpoints.items()]

    def add(
        self,
        rows: Iterable[NewRow] = (),
        checkpoints: Iterable[Checkpoint] = (),
        rejected: Iterable[RejectedBatch] = (),
    ) -> None:
        """Keep what could not be written."""
        for seq, total, batch in rows:
            self._rows[seq] = (seq, total, batch)
            self._weigh(batch, 1)
        for source, key, value in checkpoints:
            self._checkpoints[source, key] = value
        for one in rejected:
            self.rejected.append(one)
            self.bytes += one.size

    def _weigh(self, batch: NewBatch, sign: int) -> None:
        self.bytes += sign * (len(batch.payload) + OBJECT + ROW_OVERHEAD)
        sharing = self._sets.get(batch.digest, 0)
        self._sets[batch.digest] = sharing + sign
        if 0 in (sharing, sharing + sign):  # the first of its set comes, or the last goes
            self.bytes += sign * len(batch.series)
        if not self._sets[batch.digest]:
            del self._sets[batch.digest]

    def _drop(self, seq: int) -> NewRow:
        row = self._rows.pop(seq)
        self._weigh(row[2], -1)
        return row

    def drop_done(self, done: dict[str, int]) -> None:
        """Let go of batches that every exporter is through with."""
        for seq in [seq for seq, _, batch in self._rows.values() if seq <= done.get(batch.signal, 0)]:
            self._drop(seq)

    def overflow(self, most: int) -> Iterator[NewRow]:
        """Take out what is above `most` bytes: dead letters first, they are booked already; then the oldest batches."""
        while self.bytes > most and self.rejected:
            self.bytes -= self.rejected.pop(0).size
        while self.bytes > most and self._rows:
            yield self._drop(next(iter(self._rows)))

    def after(self, signal: str, seq: int) -> Iterator[NewRow]:
        """Batches of a signal after number `seq`, oldest first."""
        return (row for row in self.rows if row[2].signal == signal and row[0] > seq)

    def series(self, digest: bytes) -> bytes | None:
        """A series set that a batch here speaks of."""
        if digest not in self._sets:
            return None
        return next(batch.series for _, _, batch in self._rows.values() if batch.digest == digest)

    def checkpoints_of(self, source: str) -> dict[str, bytes]:
        """The checkpoints of a source that wait to be written."""
        return {key: value for (of, key), value in self._checkpoints.items() if of == source}

    def renumber(self, rows: Sequence[NewRow]) -> None:
        """The same batches under other numbers."""
        self._rows = {row[0]: row for row in rows}
