"""The fast path of remote write: plain float samples, written a column of bytes at a time.

Batches that share a series set form a run: S series x N batches. With the timestamps of our years (six bytes as a
varint) every sample record has the same width, so all S x N records are one template repeated. Its doubles, put in the
order of the series by N strided slice assignments, are poured in by eight more, one per byte of a double. Around each
series' records come its cached labels and a short header; one join makes the body. No Python code runs per sample.

Not chosen: a struct format for the whole row (it has to be built for each shape and still walks a Python list of
values and gaps); numpy (30 MB of memory for what `array` and slices do).
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from struct import Struct as Format
from struct import error as FormatError
from struct import pack
from typing import Any, Final

from msgspec import Struct

from agent.model import (
    STALE,
    STALE_BYTES,
    Histogram,
    MetricBatch,
    NativeHistogram,
    Series,
    SeriesSet,
    Stale,
    Summary,
    Value,
)
from exporters.wire.protobuf import varint

NAN_BYTES: Final = pack("<Q", 0x7FF8000000000001)  # prometheus/model/value: NormalNaN
_COMPOUND: Final = (Histogram, NativeHistogram, Summary)

COMPOUND_KINDS: Final = frozenset({"histogram", "gaugehistogram", "summary"})
CUMULATIVE: Final = frozenset({"counter", "histogram", "summary"})
_SIX_BYTES: Final = range(1 << 35, 1 << 42)  # Unix ms from 1971 to 2109: six bytes as a varint
_CUT_AT_ONCE: Final = 256
_HEADS_KEPT: Final = 2  # numbers of batches whose headers are remembered: one when live, one when catching up


class Run(Struct, frozen=True):
    """Batches of one series set, oldest first, that are encoded together."""

    series: SeriesSet
    batches: list[MetricBatch]


def group(batches: Iterable[MetricBatch]) -> list[Run]:
    """Runs of consecutive batches that share a series set, per collector.

    A series belongs to one collector, so runs of different collectors may change places; those of one collector
    may not, or a series that lives on in a changed set would go out of order. Sorting by collector makes equal
    mixtures of sets look equal, whatever order they came in.
    """
    runs: dict[str, list[Run]] = {}
    for batch in batches:
        mine = runs.setdefault(batch.collector, [])
        if mine and mine[-1].series is batch.series:
            mine[-1].batches.append(batch)
        else:
            mine.append(Run(batch.series, [batch]))
    return [run for collector in sorted(runs) for run in runs[collector]]


class Part(Struct, frozen=True):
    """The series `first` to `last` of a layout's order, whose counters all began at `start_ms` (0: unknown)."""

    first: int
    last: int
    start_ms: int


class Layout(Struct, frozen=True):
    """Which series of a set take the fast path, in what order, and which (`slow`) do not."""

    plain: Sequence[int]
    slow: Sequence[int]
    parts: tuple[Part, ...]
    pick: Callable[[Sequence[Any]], Sequence[Any]] | None


def layout(series: SeriesSet, *, starts: bool) -> Layout:
    """The layout of a set, cached with it; `starts` keeps series apart whose counters began at different times."""
    key = ("rw-layout", starts)
    if (found := series.cache.get(key)) is None:
        found = series.cache[key] = _plan_layout(series.series, starts=starts)
    return found


def all_slow(series: SeriesSet) -> Layout:
    """The layout of a run in which nothing may take the fast path."""
    return Layout((), range(len(series)), (), None)


def remember_layout(series: SeriesSet, widened: frozenset[int]) -> None:
    """Lay out a set in which these positions, of kinds that take the slow path, are what became of them: numbers."""
    for starts in (False, True):
        series.cache["rw-layout", starts] = _plan_layout(series.series, starts=starts, widened=widened)


def _plan_layout(series: Sequence[Series], *, starts: bool, widened: frozenset[int] = frozenset()) -> Layout:
    began = [_start(one) if starts else 0 for one in series]
    plain = [
        at
        for at, one in enumerate(series)
        if began[at] is not None and (one.kind not in COMPOUND_KINDS or at in widened)
    ]
    slow = tuple(sorted(set(range(len(series))).difference(plain)))
    plain.sort(key=lambda at: began[at] or 0)
    parts: list[Part] = []
    for place, at in enumerate(plain):
        if parts and parts[-1].start_ms == began[at]:
            parts[-1] = Part(parts[-1].first, place + 1, parts[-1].start_ms)
        else:
            parts.append(Part(place, place + 1, began[at] or 0))
    if plain == list(range(len(series))):
        return Layout(range(len(series)), slow, tuple(parts), None)
    return Layout(tuple(plain), slow, tuple(parts), _picker(plain))


def _start(series: Series) -> int | None:
    """When the counter began, in ms; 0 when that is not known, None when it does not fit the fixed width."""
    if series.kind not in CUMULATIVE or series.start_ms == 0:
        return 0
    return series.start_ms if series.start_ms in _SIX_BYTES else None


def _picker(positions: Sequence[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    if len(positions) < 2:  # itemgetter of one position answers the bare item
        return lambda values: [values[at] for at in positions]
    return itemgetter(*positions)


def pack_values(run: Run, shape: Layout) -> list[bytes] | None:
    """The plain values of each batch of a run as little-endian doubles, in the order of the layout.

    Staleness markers are patched in as bytes afterwards, and float data that happens to have their bits is made an
    ordinary NaN. None means that the run needs the slow path.
    """
    columns = []
    for batch in run.batches:
        if not _fits(batch, shape):
            return None
        if (column := _pack_column(shape.pick(batch.values) if shape.pick else batch.values)) is None:
            return None
        columns.append(column)
    return columns


def _fits(batch: MetricBatch, shape: Layout) -> bool:
    """Whether a batch has the timestamp width of the fast path, and no extras on it."""
    return batch.time_ms in _SIX_BYTES and (not batch.extras or batch.extras.keys() <= set(shape.slow))


def _pack_column(values: Sequence[Value | Stale]) -> bytes | None:
    """One batch's values; None when there is more than numbers and staleness markers among them."""
    code = f"<{len(values)}d"
    if isinstance(values, array) and sys.byteorder == "little":
        return _without_markers(values.tobytes())
    try:
        return _without_markers(pack(code, *values))
    except FormatError:
        if any(isinstance(value, _COMPOUND) for value in values):
            return None
    packed = _without_markers(pack(code, *[0.0 if value is STALE else value for value in values]))
    patched = bytearray(packed)
    for place, value in enumerate(values):
        if value is STALE:
            patched[place * 8 : place * 8 + 8] = STALE_BYTES
    return bytes(patched)


def _without_markers(packed: bytes) -> bytes:
    if STALE_BYTES[7] not in packed[7::8]:  # by far cheaper than a search, and no number of ours is so large
        return packed
    return _quieted(packed) if STALE_BYTES in packed else packed


def _quieted(packed: bytes) -> bytes:
    values = [packed[at : at + 8] for at in range(0, len(packed), 8)]
    return b"".join([NAN_BYTES if value == STALE_BYTES else value for value in values])


def encode_records(times: Sequence[int], columns: Sequence[bytes], part: Part) -> list[bytes]:
    """Sample records (field 2 of a TimeSeries in both versions): for each series, those of all `times` in one piece.

    `columns` is what `pack_values` gave. In a part with `start_ms` each sample carries it as its start_timestamp
    (field 3).
    """
    tail = b"\x18" + varint(part.start_ms) if part.start_ms else b""
    width = 18 + len(tail)
    length = width * len(times)
    head = bytes((0x12, width - 2, 0x09)) + bytes(8) + b"\x10"
    records = bytearray(b"".join([head + varint(time_ms) + tail for time_ms in times])) * (part.last - part.first)
    doubles = _by_series([column[part.first * 8 : part.last * 8] for column in columns])
    for byte in range(8):
        records[3 + byte :: width] = doubles[byte::8]
    return _cut(records, length)


def _by_series(columns: Sequence[bytes]) -> bytes:
    """The doubles of columns, those of one series after those of the other."""
    if len(columns) == 1:
        return columns[0]
    doubles = array("Q", bytes(len(columns) * len(columns[0])))
    for at, column in enumerate(columns):
        doubles[at :: len(columns)] = array("Q", column)
    return doubles.tobytes()


def _cut(records: bytearray, length: int) -> list[bytes]:
    """Equal pieces; one C call makes 256 of them, which is twice as fast as slicing."""
    whole = len(records) - len(records) % (length * _CUT_AT_ONCE)
    pieces = list(chain.from_iterable(_cutter(length).iter_unpack(memoryview(records)[:whole])))
    pieces += [bytes(records[at : at + length]) for at in range(whole, len(records), length)]
    return pieces


@lru_cache(maxsize=32)
def _cutter(length: int) -> Format:
    return Format(f"{length}s" * _CUT_AT_ONCE)


class Prefixes:
    """What precedes the records of each series of a part: a header (tag and length) and the encoded labels.

    The labels do not depend on the number of batches, so they are kept once; the headers do, and are short shared
    bytes.
    """

    __slots__ = ("_heads", "_labels", "_lengths", "_tag")

    def __init__(self, tag: int, labels: list[bytes]) -> None:
        self._tag = tag
        self._labels = labels
        self._lengths = array("I", map(len, labels))
        self._heads: dict[int, list[bytes]] = {}

    def interleave(self, records: list[bytes], length: int) -> list[bytes]:
        """Header, labels and records (of `length` bytes each) of every series, ready to join."""
        pieces = [b""] * (3 * len(records))
        pieces[0::3] = self._heads_for(length)
        pieces[1::3] = self._labels
        pieces[2::3] = records
        return pieces

    def _heads_for(self, length: int) -> list[bytes]:
        if (found := self._heads.get(length)) is None:
            if len(self._heads) >= _HEADS_KEPT:
                del self._heads[next(reversed(self._heads))]
            found = self._heads[length] = [_head(self._tag, labels + length) for labels in self._lengths]
        return found


@lru_cache(maxsize=4096)
def _head(tag: int, length: int) -> bytes:
    return bytes((tag,)) + varint(length)


def encode_run(run: Run, shape: Layout, columns: Sequence[bytes], prefixes: Sequence[Prefixes]) -> list[bytes]:
    """The TimeSeries of a run's plain series, in pieces; one `Prefixes` for each part of the layout."""
    times = [batch.time_ms for batch in run.batches]
    pieces: list[bytes] = []
    for part, prefix in zip(shape.parts, prefixes, strict=True):
        records = encode_records(times, columns, part)
        pieces += prefix.interleave(records, len(records[0]))
    return pieces
