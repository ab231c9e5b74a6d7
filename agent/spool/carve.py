"""Reading a damaged SQLite file without SQLite: every page is looked at, and every row judged by its own checksum.

One flipped byte can hide a whole table from SQLite (a header, the schema, an inner page of a tree). The rows lie in
leaf pages, and each can be understood on its own; so a damaged page costs the rows that lie in it, and nothing else.
The write-ahead log is read the same way, also behind a damaged frame.

A pass over the file for each table, one row held at a time, never a loop back: it ends, whatever the bytes say.
The file is only read. Format: https://sqlite.org/fileformat2.html, sections 1.5, 1.6, 2.1 and 4.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from agent.ledger import State
from agent.spool.records import (
    LOCAL_LEAST,
    LOCAL_MOST,
    PAGE,
    Checkpoint,
    NewBatch,
    RejectedBatch,
    Row,
    crc,
    rejected_crc,
)

Record = list[Any]  # a row's columns; the first is its number

LOGS = ("-log", "-wal")  # the log as it was found, and as SQLite left it
LEAF = 0x0D  # a table's leaf page
CELLS_MOST = PAGE // 16  # our smallest rows take more
LARGEST = 128 << 20
_FRAME = struct.Struct(">IIII")  # page, size after commit, salt 1, salt 2
_NUMBERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # serial type -> bytes of an integer

STATE, SETS, CHECKPOINTS, BATCHES, REJECTED = 3, 4, 6, 9, 11  # tables, by their number of columns


class Carving:
    """The sound rows of a file and its log. A context manager; opening raises OSError when the file cannot be read."""

    def __init__(
        self, path: Path, *, more: Callable[[], bool] = lambda: True, sets: Mapping[bytes, bytes] | None = None
    ) -> None:
        """`more` is asked between pages whether to go on; `sets` are series sets known from elsewhere, by digest."""
        self._more, self._held_sets = more, sets or {}
        self.faults = 0  # pages that could not be read
        self._files = [os.open(path, os.O_RDONLY | os.O_CLOEXEC)]
        for suffix in LOGS:
            if (log := Path(f"{path}{suffix}")).is_file():
                self._files.append(os.open(log, os.O_RDONLY | os.O_CLOEXEC))
        self._newest: dict[int, tuple[int, int]] = {}  # page number -> file, offset
        self._places: list[tuple[int, int, int]] = []  # file, offset, page number
        self._survey()
        self._known_sets: dict[int, list[tuple[bytes, bytes]]] | None = None

    def __enter__(self) -> Carving:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            os.close(file)
        self._files = []

    # -- what the rows say ----------------------------------------------------------------------------------------

    def state(self) -> State | None:
        """The newest account of which a whole copy is found."""
        states = [state for row in self._rows(STATE) if (state := _state(row)) is not None]
        return max(states, key=lambda state: state.commit, default=None)

    def sets(self) -> dict[int, list[tuple[bytes, bytes]]]:
        """The series sets by number: (digest, payload). Numbers are used again, so there may be several."""
        if self._known_sets is None:
            found: dict[int, list[tuple[bytes, bytes]]] = {}
            for number, digest, payload, checksum in self._rows(SETS):
                if isinstance(payload, bytes) and zlib.crc32(payload) == checksum:
                    known = found.setdefault(number, [])
                    if (digest, payload) not in known:
                        known.append((digest, payload))
            self._known_sets = found
        return self._known_sets

    def batches(self) -> Iterator[tuple[Row, NewBatch]]:
        """The batches, each once, oldest first; those that were deleted lately may be among them."""
        last = -1
        for *facts, set_id, checksum, payload in self._rows(BATCHES):
            if facts[0] == last or not isinstance(payload, bytes):
                continue
            for digest, series in self._sets_for(set_id):
                if crc((*facts, zlib.crc32(series)), payload) == checksum:
                    row = Row(*facts, digest, payload)  # type: ignore[call-arg]  # its numbers, as many as there are
                    last = row.seq
                    yield row, NewBatch(row.signal, row.time_ms, row.items, digest, series, payload, row.stored_ms)
                    break

    def _sets_for(self, number: int) -> Iterable[tuple[bytes, bytes]]:
        """The sets of a number; if none is sound any that is left, for there may be another copy of it."""
        found = self.sets()
        return (
            found.get(number)
            or {**self._held_sets, **{digest: one for sets in found.values() for digest, one in sets}}.items()
        )

    def checkpoints(self) -> list[Checkpoint]:
        """The checkpoints, each in its newest sound version."""
        newest: dict[tuple[str, bytes], tuple[int, bytes]] = {}
        for _, source, key, value, checksum, written in self._rows(CHECKPOINTS):
            if not (isinstance(key, bytes) and isinstance(value, bytes) and isinstance(written, int)):
                continue
            if crc((source, written), key, value) == checksum and newest.get((source, key), (-1,))[0] < written:
                newest[source, key] = (written, value)
        return [(source, key.decode("utf-8", "surrogatepass"), value) for (source, key), (_, value) in newest.items()]

    def rejected(self) -> list[RejectedBatch]:
        """The dead letters, oldest first."""
        found: dict[int, RejectedBatch] = {}
        for number, exporter, signal, time_ms, stored_ms, items, reason, message, *rest in self._rows(REJECTED):
            series, payload, checksum = rest
            if isinstance(series, bytes) and isinstance(payload, bytes):
                one = RejectedBatch(
                    exporter, signal, time_ms, items, reason, message, series, payload, number, stored_ms
                )
                if rejected_crc(one) == checksum:
                    found[number] = one
        return [found[number] for number in sorted(found)]

    # -- pages ----------------------------------------------------------------------------------------------------

    def _survey(self) -> None:
        """Find every page: first those of the file, then the logs', of which the last version counts."""
        for number in range(1, os.fstat(self._files[0]).st_size // PAGE + 1):
            self._note(number, 0, (number - 1) * PAGE)
        for file in range(1, len(self._files)):
            for number, offset in self._frames(file):
                self._note(number, file, offset)

    def _note(self, number: int, file: int, offset: int) -> None:
        self._newest[number] = (file, offset)
        self._places.append((file, offset, number))

    def _frames(self, file: int) -> list[tuple[int, int]]:
        """(page number, offset) of a log's frames up to the last commit. Left-overs of an earlier round of the log
        are told by their salt; which salt is the present one, header and first frames vote.
        """
        size = os.fstat(self._files[file]).st_size
        heads = [(at, self._read(file, at, 24)) for at in range(32, size - PAGE - 23, PAGE + 24)]
        frames = [(at, *_FRAME.unpack_from(head)) for at, head in heads if len(head) == 24]
        votes = Counter(frame[3:] for frame in frames[:2])
        votes[struct.unpack(">II", self._read(file, 16, 8).ljust(8, b"\0"))] += 1
        salts = votes.most_common(1)[0][0]
        ours = [frame for frame in frames if frame[3:] == salts]
        last = max((at for at, _, committed, *_ in ours if committed), default=0)
        return [(number, at + 24) for at, number, *_ in ours if at <= last]

    def _read(self, file: int, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._files[file], size, offset)
        except OSError:
            self.faults += 1
            return b""

    def _page(self, number: int) -> bytes:
        """The newest version of a page; raises LookupError."""
        page = self._read(*self._newest[number], PAGE)
        if len(page) < PAGE:
            raise LookupError(number)
        return page

    # -- rows -----------------------------------------------------------------------------------------------------

    def _rows(self, columns: int) -> Iterator[Record]:
        """Every row of so many columns that a leaf page holds, in the order of their numbers."""
        for number, file, offset, at in sorted(self._cells(columns)):
            if not self._more():
                return
            with contextlib.suppress(LookupError, ValueError):
                if (row := self._row(self._read(file, offset, PAGE), number, at)) is not None:
                    yield row

    def _cells(self, columns: int) -> Iterator[tuple[int, int, int, int]]:
        """(row number, file, page's offset, place in the page) of what looks like a row of so many columns."""
        for file, offset, page_number in self._places:
            if not self._more():
                return
            page = self._read(file, offset, PAGE)
            head = 100 if page_number == 1 else 0
            if len(page) < PAGE or page[head] != LEAF:
                continue
            cells = min(int.from_bytes(page[head + 3 : head + 5]), CELLS_MOST)
            for at in struct.unpack_from(f">{cells}H", page, head + 8):
                with contextlib.suppress(LookupError):
                    _, after = _varint(page, at)
                    number, body = _varint(page, after)
                    if len(_types(page[body:])) == columns:
                        yield number, file, offset, at

    def _row(self, page: bytes, number: int, at: int) -> Record | None:
        size, at = _varint(page, at)
        _, at = _varint(page, at)
        if size > LARGEST:
            return None
        local = size
        if size > LOCAL_MOST:
            local = LOCAL_LEAST + (size - LOCAL_LEAST) % (PAGE - 4)
            local = local if local <= LOCAL_MOST else LOCAL_LEAST
        body = page[at : at + local]
        if size > local:
            body += self._overflow(int.from_bytes(page[at + local : at + local + 4]), size - local)
        return _columns(body, _types(body), number) if len(body) == size else None

    def _overflow(self, number: int, size: int) -> bytes:
        parts = []
        while size > 0:
            page = self._page(number)
            number, part = int.from_bytes(page[:4]), page[4 : 4 + size]
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length integer and the place behind it; raises IndexError."""
    value = 0
    for _ in range(8):
        byte = data[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    return value << 8 | data[at], at + 1


def _types(body: bytes) -> list[int]:
    """The serial types that a record's header lists; raises LookupError when it is no header of ours."""
    end, at = _varint(body, 0)
    types = []
    while at < min(end, 128):
        kind, at = _varint(body, at)
        types.append(kind)
    if at != end:
        raise LookupError(end)
    return types


def _columns(body: bytes, types: list[int], number: int) -> Record | None:
    """The values of a record; the first column is the row's number, and stored as NULL."""
    at = body[0]  # the header is shorter than 128 bytes
    row: Record = []
    for kind in types:
        if kind >= 12:
            size = (kind - 12) // 2
            content = body[at : at + size]
            row.append(content.decode("utf-8", "replace") if kind % 2 else content)
        elif kind in _NUMBERS:
            size = _NUMBERS[kind]
            row.append(int.from_bytes(body[at : at + size], signed=True))
        else:
            size = 0
            row.append({0: None, 8: 0, 9: 1}.get(kind))
        at += size
    row[0] = number
    return row if at == len(body) else None


def _state(row: Record) -> State | None:
    _, body, checksum = row
    if not isinstance(body, bytes) or zlib.crc32(body) != checksum:
        return None
    try:
        return msgspec.msgpack.decode(body, type=State)
    except msgspec.MsgspecError:
        return None
