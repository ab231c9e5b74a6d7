"""Batches to the spool's bytes and back, exact to the bit.

A series set is written once, as JSON, with the values of one round as a *base*. A batch of that set is then its values
as doubles, XORed with the base: what stands still becomes zeros, and of a counter a few bytes are left. Both are
compressed with zstd. Measured on 24 hours of 1,380 series of which a third changes every round: 2.1 bytes a sample.
LZ4 would take 2.3 and a third of the time; JSON with the differences from the base took 2.3 and twice as long; labels
in every batch make 70.

What is no double follows as msgpack: staleness markers, histograms, summaries, extras. Doubles are in the machine's own
byte order: a spool does not travel.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain
from struct import error as FormatError
from struct import pack
from typing import Any, NamedTuple, get_args

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
LEVEL = 1  # zstd: level 3 saves nothing here
DOUBLE = 8  # bytes
PIECE = 500  # series
IDENTITY = "spool.identity"  # SeriesSet.cache: its Identity


Pair = tuple[str, str]


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
    base: int  # the doubles of the base, as one number
    batches: int = 0  # encoded with this base


class _Set(Struct):
    families: list[tuple[str, Kind, str, str]]  # name, kind, help, unit
    series: list[tuple[int, int, list[str]]]  # family, start_ms, label names and values in turn


class _Rest(Struct, omit_defaults=True):
    """What is no double, by position."""

    collector: str
    stale: list[int] = []
    histograms: dict[int, Histogram] = {}
    natives: dict[int, NativeHistogram] = {}
    summaries: dict[int, Summary] = {}
    extras: dict[int, Extra] = {}


_KINDS = frozenset(get_args(Kind))
_SET = msgspec.json.Decoder(_Set)
_REST = msgspec.msgpack.Decoder(_Rest)


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


def _identity(series: SeriesSet, doubles: bytes) -> Identity:
    """The identity of a set, remembered in it; its base are the values of the batch that needs a new one."""
    found: Identity | None = series.cache.get(IDENTITY)
    if found is None or found.batches >= REBASE:
        digest, frame = _hash(), zstd.Compressor(level=LEVEL)
        for piece in (*_document(series.series), b"\n", doubles):
            digest.update(piece)
            frame.compress(piece)
        found = series.cache[IDENTITY] = Identity(digest.digest(), bytes(frame.finish()), _number(doubles))
    found.batches += 1
    return found


def _document(series: Sequence[Series]) -> Iterator[bytes]:
    """A `_Set` as JSON, in pieces: whole, it would be the largest thing in memory."""
    families: dict[tuple[str, str, str, str], int] = {}
    for one in series:
        if one.kind not in _KINDS:
            raise ValueError(f"a series of the kind {one.kind!r}")
        families.setdefault((one.name, one.kind, one.help, one.unit), len(families))
    yield b'{"families":' + _to_json(list(families)) + b',"series":['
    for first in range(0, len(series), PIECE):
        rows = [
            (families[one.name, one.kind, one.help, one.unit], one.start_ms, list(chain.from_iterable(one.labels)))
            for one in series[first : first + PIECE]
        ]
        yield (b"," if first else b"") + _to_json(rows)[1:-1]
    yield b"]}"


def decode_series(payload: bytes) -> SeriesSet:
    """The series set of a payload; raises `Corrupt`."""
    plain = decompress(payload)
    text, _, doubles = plain.partition(b"\n")
    try:
        document = _SET.decode(text)
        pairs: dict[Pair, Pair] = {}
        found = SeriesSet([_series(document, pairs, *row) for row in document.series])
    except (msgspec.MsgspecError, UnicodeError, RecursionError, IndexError, ValueError) as error:
        raise Corrupt(f"not a series set: {error}") from None
    if len(doubles) != DOUBLE * len(found):
        raise Corrupt(f"a series set of {len(found)} with a base of {len(doubles) / DOUBLE}")
    found.cache[IDENTITY] = Identity(_hash(plain).digest(), payload, _number(doubles))
    return found


def _series(document: _Set, pairs: dict[Pair, Pair], family: int, start_ms: int, texts: list[str]) -> Series:
    """A series; equal labels of several become one object by way of `pairs`."""
    if family < 0:
        raise IndexError(family)
    labels = zip(texts[::2], texts[1::2], strict=True)
    return Series(*document.families[family], tuple([pairs.setdefault(pair, pair) for pair in labels]), start_ms)


def _hash(data: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(data, digest_size=16)


# -- batches ------------------------------------------------------------------------------------------------------


def encode(batch: MetricBatch) -> Encoded:
    """The stored form of a batch."""
    rest = _Rest(batch.collector, extras=batch.extras)
    doubles = _doubles(batch.values, rest)
    identity = _identity(batch.series, doubles)
    return Encoded(
        identity.digest, identity.payload, compress(_exclusive_or(doubles, identity.base) + _to_msgpack(rest))
    )


def decode_batch(payload: bytes, time_ms: int, series: SeriesSet) -> MetricBatch:
    """The batch of a payload; its values are an array unless some are no numbers. Raises `Corrupt`."""
    plain, size = decompress(payload), DOUBLE * len(series)
    try:
        values = array("d", _exclusive_or(plain[:size], series.cache[IDENTITY].base))
        rest = _REST.decode(plain[size:])
        if len(values) != len(series):
            raise Corrupt(f"{len(values)} values of {len(series)} series")
        return MetricBatch(rest.collector, time_ms, series, _put_back(values, rest), rest.extras)
    except (msgspec.MsgspecError, OverflowError, RecursionError, LookupError, ValueError) as error:
        raise Corrupt(f"not a batch: {error}") from None


def _number(doubles: bytes) -> int:
    return int.from_bytes(doubles, "little")


def _exclusive_or(doubles: bytes, base: int) -> bytes:
    return (_number(doubles) ^ base).to_bytes(len(doubles), "little")


def _doubles(values: Sequence[Value | Stale], rest: _Rest) -> bytes:
    """The values as doubles; zeros where one is no number, which goes to `rest`."""
    if isinstance(values, array):
        return values.tobytes()
    form = f"{len(values)}d"
    try:
        return pack(form, *values)  # most often all are numbers; four times as fast as an array
    except (FormatError, OverflowError):
        return pack(form, *_set_apart(values, rest))


def _set_apart(values: Sequence[Value | Stale], rest: _Rest) -> list[float]:
    """The values with 0.0 where one is no number, which goes to `rest`."""
    plain = [0.0] * len(values)
    rest.stale, rest.histograms, rest.natives, rest.summaries = [], {}, {}, {}
    for at, value in enumerate(values):
        if value is STALE:
            rest.stale.append(at)
        elif isinstance(value, Histogram):
            rest.histograms[at] = value
        elif isinstance(value, NativeHistogram):
            rest.natives[at] = value
        elif isinstance(value, Summary):
            rest.summaries[at] = value
        else:
            plain[at] = _float(value)
    return plain


def _float(value: Any) -> float:
    """A number as the float that it is on every wire."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _put_back(values: array[float], rest: _Rest) -> Sequence[Value | Stale]:
    """The values with what is no number at its place."""
    odd: dict[int, Any] = {**dict.fromkeys(rest.stale, STALE), **rest.histograms, **rest.natives, **rest.summaries}
    if not odd:
        return values
    if min(odd) < 0:
        raise IndexError(min(odd))
    found: list[Any] = values.tolist()
    for at, value in odd.items():
        found[at] = value
    return found


# -- text ---------------------------------------------------------------------------------------------------------


def _to_json(document: object) -> bytes:
    """JSON; text that is not Unicode, such as a file name of bytes, is written with replacement characters."""
    try:
        return orjson.dumps(document)
    except TypeError:
        return orjson.dumps(_writable(document))


def _to_msgpack(rest: _Rest) -> bytes:
    try:
        return msgspec.msgpack.encode(rest)
    except UnicodeEncodeError:
        return msgspec.msgpack.encode(_writable(msgspec.to_builtins(rest)))


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
