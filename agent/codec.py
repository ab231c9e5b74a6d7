"""Batches to the spool's bytes and back: zstd-compressed JSON, exact to the bit.

A series set is written once, with the values of one round as a *base*; a batch of that set then holds `null` where a
value is that of the base, an integer where it is the base plus that integer, and the value itself elsewhere. Measured
on 12 hours of 1,380 series of which a third changes every round: 1.8 bytes a sample, against 2.8 with values in place
of the integers, 3.9 without a base and 70 with the labels in every batch.

Zeros are never taken from the base: 0.0 and -0.0 compare equal, and a spool returns what it was given.

JSON has no infinity and no NaN, and a NaN carries bits of its own. What is no finite number therefore follows the
JSON, after a newline, as msgpack: staleness markers, non-finite numbers, histograms, summaries, extras.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import cramjam
import msgspec
import orjson
from cramjam import zstd
from msgspec import Struct

from agent.model import (
    STALE,
    Extra,
    Histogram,
    Kind,
    MetricBatch,
    NativeHistogram,
    Series,
    SeriesSet,
    Stale,
    Summary,
    Value,
)

REBASE = 5_000  # batches after which a set gets a new base: counters have gone far from the old one
EXACT = float(1 << 53)  # integers of a smaller size are exact
LEVEL = 1  # zstd: level 3 saves 1 % here and costs half as much again
IDENTITY = "spool.identity"  # SeriesSet.cache: its Identity


class Corrupt(ValueError):
    """Bytes that are no batch or no series set."""


class Encoded(NamedTuple):
    """A batch in its stored form: the digest and payload of its series set, and its own payload."""

    digest: bytes
    series: bytes
    payload: bytes


class Identity(Struct):
    """What the spool knows of a series set. One object, replaced as a whole: two threads cannot mix two bases."""

    digest: bytes
    payload: bytes
    base: list[float | None]
    batches: int = 0  # encoded with this base


class _Set(Struct):
    families: list[tuple[str, Kind, str, str]]  # name, kind, help, unit
    series: list[tuple[int, int, list[str]]]  # family, start_ms, label names and values in turn
    base: list[float | None]


class _Odd(Struct, omit_defaults=True):
    """What is no finite number, by position."""

    stale: list[int] = []
    floats: dict[int, float] = {}
    histograms: dict[int, Histogram] = {}
    natives: dict[int, NativeHistogram] = {}
    summaries: dict[int, Summary] = {}
    extras: dict[int, Extra] = {}


_SET = msgspec.json.Decoder(_Set)
_ODD = msgspec.msgpack.Decoder(_Odd)


def compress(data: bytes) -> bytes:
    """The zstd frame of `data`."""
    return bytes(zstd.compress(data, level=LEVEL))


def decompress(data: bytes) -> bytes:
    """The content of a zstd frame; raises `Corrupt`."""
    try:
        return bytes(zstd.decompress(data))
    except (cramjam.DecompressionError, ValueError, OSError, MemoryError) as error:
        raise Corrupt(f"not a zstd frame: {error}") from None


# -- series sets --------------------------------------------------------------------------------------------------


def _identity(series: SeriesSet, values: list[Value | Stale]) -> Identity:
    """The identity of a set, remembered in it; its base are the values of the batch that needs a new one."""
    found: Identity | None = series.cache.get(IDENTITY)
    if found is None or found.batches >= REBASE:
        base = [v if isinstance(v, float) and v != 0.0 and math.isfinite(v) else None for v in values]
        plain = _to_json(_set_document(series, base))
        found = series.cache[IDENTITY] = Identity(_digest(plain), compress(plain), base)
    found.batches += 1
    return found


def _set_document(series: SeriesSet, base: list[float | None]) -> dict[str, Any]:
    families: dict[tuple[str, str, str, str], int] = {}
    rows = []
    for one in series.series:
        at = families.setdefault((one.name, one.kind, one.help, one.unit), len(families))
        rows.append((at, one.start_ms, [text for pair in one.labels for text in pair]))
    return {"families": list(families), "series": rows, "base": base}


def decode_series(payload: bytes) -> SeriesSet:
    """The series set of a payload; raises `Corrupt`."""
    plain = decompress(payload)
    try:
        document = _SET.decode(plain)
        found = SeriesSet([_series(document, *row) for row in document.series])
    except (msgspec.MsgspecError, UnicodeError, RecursionError, IndexError, ValueError) as error:
        raise Corrupt(f"not a series set: {error}") from None
    if len(document.base) != len(found):
        raise Corrupt(f"a series set of {len(found)} with a base of {len(document.base)}")
    found.cache[IDENTITY] = Identity(_digest(plain), payload, document.base)
    return found


def _series(document: _Set, family: int, start_ms: int, texts: list[str]) -> Series:
    if family < 0:
        raise IndexError(family)
    return Series(*document.families[family], tuple(zip(texts[::2], texts[1::2], strict=True)), start_ms)


def _digest(plain: bytes) -> bytes:
    return hashlib.blake2b(plain, digest_size=16).digest()


# -- batches ------------------------------------------------------------------------------------------------------


def encode(batch: MetricBatch) -> Encoded:
    """The stored form of a batch."""
    values = batch.values
    identity = _identity(batch.series, values)
    odd = _Odd(extras=batch.extras)
    if not _all_finite(values):
        values = _set_apart(values, odd)
    plain = _to_json({"collector": batch.collector, "values": _less_base(values, identity.base)})
    if odd != _PLAIN:
        plain += b"\n" + _to_msgpack(odd)
    return Encoded(identity.digest, identity.payload, compress(plain))


def _less_base(values: list[Any], base: list[float | None]) -> list[object]:
    """What is written of finite floats. The sum is tried, so that no rounding gets by; -0.0 is no sum."""
    return [
        None if v == b else int(d) if b and v and -EXACT < (d := v - b) < EXACT and d.is_integer() and b + d == v else v
        for v, b in zip(values, base, strict=True)
    ]


def _plus_base(numbers: list[Any], base: list[float | None]) -> list[Any]:
    """The floats that were written; raises TypeError where neither has a value, or something is no number."""
    return [b if n is None else n if type(n) is float else b + n for n, b in zip(numbers, base, strict=True)]


def decode_batch(payload: bytes, time_ms: int, series: SeriesSet) -> MetricBatch:
    """The batch of a payload; raises `Corrupt`."""
    plain, _, tail = decompress(payload).partition(b"\n")
    try:
        document = orjson.loads(plain)
        collector, values = str(document["collector"]), _plus_base(document["values"], series.cache[IDENTITY].base)
        sum(values)  # a TypeError where a value is missing; the cheapest way to look
        odd = _ODD.decode(tail) if tail else _PLAIN
        _put_back(values, odd)
    except (msgspec.MsgspecError, ArithmeticError, RecursionError, LookupError, TypeError, ValueError) as error:
        raise Corrupt(f"not a batch: {error}") from None
    return MetricBatch(collector, time_ms, series, values, dict(odd.extras))


_PLAIN = _Odd()


def _all_finite(values: list[Value | Stale]) -> bool:
    """Whether all are finite floats, in two passes in C; a sum that overflows merely costs the careful look."""
    return set(map(type, values)) <= {float} and math.isfinite(sum(values))  # type: ignore[arg-type]  # all floats


def _set_apart(values: list[Value | Stale], odd: _Odd) -> list[Value | Stale]:
    """The values with 0.0 where something odd was, which goes to `odd`; integers become floats."""
    plain: list[Value | Stale] = []
    odd.stale, odd.floats, odd.histograms, odd.natives, odd.summaries = [], {}, {}, {}, {}
    for at, value in enumerate(values):
        if isinstance(value, float | int) and math.isfinite(number := _float(value)):
            plain.append(number)
            continue
        plain.append(0.0)
        if value is STALE:
            odd.stale.append(at)
        elif isinstance(value, Histogram):
            odd.histograms[at] = value
        elif isinstance(value, NativeHistogram):
            odd.natives[at] = value
        elif isinstance(value, Summary):
            odd.summaries[at] = value
        else:
            odd.floats[at] = _float(value)
    return plain


def _float(value: Any) -> float:
    """A number as the float that it is on every wire."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _put_back(values: list[Any], odd: _Odd) -> None:
    places: list[Iterable[tuple[int, Any]]] = [((at, STALE) for at in odd.stale)]
    places += [book.items() for book in (odd.floats, odd.histograms, odd.natives, odd.summaries)]
    for place in places:
        for at, value in place:
            if at < 0:
                raise IndexError(at)
            values[at] = value


# -- text ---------------------------------------------------------------------------------------------------------


def _to_json(document: object) -> bytes:
    """JSON; text that is not Unicode, such as a file name of bytes, is written with replacement characters."""
    try:
        return orjson.dumps(document)
    except TypeError:
        return orjson.dumps(_writable(document))


def _to_msgpack(odd: _Odd) -> bytes:
    try:
        return msgspec.msgpack.encode(odd)
    except UnicodeEncodeError:
        return msgspec.msgpack.encode(_writable(msgspec.to_builtins(odd)))


def _writable(value: Any) -> Any:
    """The value without what JSON or UTF-8 cannot say: lone surrogates, integers of more than 64 bits."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_writable(key): _writable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(one) for one in value]
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else _float(value)
    return value
