"""What the spool's rows say, each with a CRC-32 over all of it.

A batch's checksum takes in that of its series set: values can never be read with the names of another set.
"""

from __future__ import annotations

import zlib
from typing import Any

from msgspec import Struct

ROW_OVERHEAD = 96  # bytes of a row beside its payload: key, numbers, page share; measured 60 to 120
PAGE = 8192  # bytes; a batch of 1,400 series takes a quarter of it, and would waste half of a page of 4 KiB
LOCAL_MOST = PAGE - 35  # bytes of a row kept in its leaf page; https://sqlite.org/fileformat2.html, section 1.6
LOCAL_LEAST = (PAGE - 12) * 32 // 255 - 23


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
    """A batch to store: its encoded form, and the series set it speaks of. `stored_ms` 0 means now."""

    signal: str
    time_ms: int
    items: int
    digest: bytes
    series: bytes
    payload: bytes
    stored_ms: int = 0


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

    @property
    def size(self) -> int:
        """Bytes on disk, about."""
        return stored(len(self.series) + len(self.payload) + len(self.message) + ROW_OVERHEAD)


class Settlement(Struct, frozen=True):
    """The verdict over an exporter's batches up to `seq`: counts, and what was refused."""

    exporter: str
    signal: str
    seq: int
    total: int
    delivered: int = 0
    rejected: tuple[RejectedBatch, ...] = ()
    partial: dict[str, int] = {}  # items that the server counted as left out, without naming them


Checkpoint = tuple[str, str, bytes]  # source, key, value; an empty value removes it


def stored(size: int) -> int:
    """Bytes that a row of `size` takes in the file: what its leaf page keeps, and whole pages for the rest."""
    if size <= LOCAL_MOST:
        return size
    local = LOCAL_LEAST + (size - LOCAL_LEAST) % (PAGE - 4)
    local = local if local <= LOCAL_MOST else LOCAL_LEAST
    return local + -(-(size - local) // (PAGE - 4)) * PAGE


def crc(facts: tuple[object, ...], *contents: bytes) -> int:
    """The CRC-32 over some facts and what they describe."""
    found = zlib.crc32("|".join(map(str, facts)).encode("utf-8", "surrogatepass"))
    for content in contents:
        found = zlib.crc32(content, found)
    return found


def rejected_crc(one: RejectedBatch) -> int:
    """The checksum of a dead letter, without its id."""
    facts = (one.exporter, one.signal, one.time_ms, one.stored_ms, one.items, one.reason, one.message)
    return crc(facts, one.series, one.payload)


def letter_of(row: tuple[Any, ...]) -> RejectedBatch | None:
    """The dead letter that a row holds (its columns, then its checksum), if it is sound."""
    one = RejectedBatch(*row[:-1])
    whole = isinstance(one.series, bytes) and isinstance(one.payload, bytes)
    return one if whole and rejected_crc(one) == row[-1] else None
