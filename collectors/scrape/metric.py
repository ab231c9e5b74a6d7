"""What a Metric of io.prometheus.client says.

Source: prometheus/client_model io/prometheus/client/metrics.proto, and prometheus/prometheus
model/textparse/protobufparse.go (v3.5), which is followed where it decides: a value that is missing is zero, a native
histogram is one with spans, a zero threshold or a zero count. Unlike there, each metric is judged by
itself: in v3.5 one histogram of a family decides whether the next is native.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, islice
from struct import Struct as Format
from struct import unpack
from typing import Any, Final, NamedTuple

from agent.model import Exemplar, NativeHistogram
from collectors.scrape.grammar import EXEMPLAR_CHARACTERS, MOST_LINES, Malformed
from collectors.scrape.labelling import Exceeded
from collectors.scrape.native import Impossible, Limits, Side, build, limited
from collectors.scrape.protobuf import Field, Message, check, fields, signed, unzigzag, varint
from collectors.scrape.rows import Starts

_LARGEST_MS: Final = 1 << 62
_DOUBLE: Final = Format("<d")
_INFINITE: Final = _DOUBLE.pack(float("inf"))
_VARINT: Final = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
_BUCKET: Final = re.compile(rb"\x1a(.)\x08(" + _VARINT + rb")\x11(.{8})", re.DOTALL)
_COMMON: Final = re.compile(  # what nearly all classic histograms look like
    rb"\x08(" + _VARINT + rb")\x11(.{8})((?:\x1a.\x08" + _VARINT + rb"\x11.{8})*)(\x7a.*)?", re.DOTALL
)

COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM = range(6)  # the enum MetricType
PLAIN: Final = frozenset({COUNTER, GAUGE, UNTYPED})

TIMESTAMP: Final = Message(0x08, 0x10)
LABEL: Final = Message(0x0A, 0x12)
EXEMPLAR: Final = Message(0x0A, 0x11, 0x1A, nested={0x0A: LABEL, 0x1A: TIMESTAMP})
NUMBER: Final = Message(0x09)
COUNT: Final = Message(0x09, 0x12, 0x1A, nested={0x12: EXEMPLAR, 0x1A: TIMESTAMP})
QUANTILE: Final = Message(0x09, 0x11)
QUANTILES: Final = Message(0x08, 0x11, 0x1A, 0x22, nested={0x1A: QUANTILE, 0x22: TIMESTAMP})
BUCKET: Final = Message(0x08, 0x11, 0x1A, 0x21, nested={0x1A: EXEMPLAR})
SPAN: Final = Message(0x08, 0x10)
BUCKETS: Final = Message(
    *(0x08, 0x21, 0x11, 0x1A, 0x7A, 0x28, 0x31, 0x38, 0x41, 0x4A, 0x50, 0x52, 0x59, 0x5A, 0x62, 0x68, 0x6A, 0x71, 0x72),
    0x82,
    nested={0x1A: BUCKET, 0x7A: TIMESTAMP, 0x4A: SPAN, 0x62: SPAN, 0x82: EXEMPLAR},
)
METRIC: Final = Message(
    *(0x0A, 0x12, 0x1A, 0x22, 0x2A, 0x30, 0x3A),
    nested={0x12: NUMBER, 0x1A: COUNT, 0x22: QUANTILES, 0x2A: NUMBER, 0x3A: BUCKETS},
)
FAMILY: Final = Message(0x0A, 0x12, 0x18, 0x22, 0x2A)
OWN: Final = (0x1A, 0x12, 0x22, 0x2A, 0x3A, 0x3A)  # by MetricType: the field of a Metric that holds its value


class Key(NamedTuple):
    """What of a metric stays the same: its labels, encoded; the bounds of its buckets or its quantiles, as doubles
    (None: it has none, and cannot); whether it is a native histogram.
    """

    labels: tuple[bytes, ...]
    bounds: bytes | None = None
    native: bool = False


class Metric(NamedTuple):
    """One metric: its values in the order in which Prometheus makes series of them (a native histogram, the number,
    count, sum, buckets or quantiles), and at which of them there are start times and exemplars. `fits`: within the
    limit of buckets. `place` is where in the message its only value is; -1 where there is more, or that is not fixed.
    """

    key: Key
    values: tuple[float | NativeHistogram, ...]
    time_ms: int = 0
    starts: Starts = ()
    exemplars: tuple[tuple[int, tuple[Exemplar, ...]], ...] = ()
    fits: bool = True
    place: int = -1


class Reader:
    """Reads metrics. `limits` are those of native histograms; without them their classic part alone is read."""

    def __init__(self, limits: Limits | None, *, classic_too: bool) -> None:
        self._limits, self._classic_too = limits, classic_too

    def read(self, data: bytes, kind: int) -> Metric:
        """The metric of a family of this type; raises `Malformed` and `Exceeded`."""
        labels: list[bytes] = []
        own: list[bytes] = []
        time_ms = end = 0
        for tag, value, at in fields(data, METRIC):
            if tag == 0x0A:
                labels.append(value)
            elif tag == 0x30:
                time_ms = signed(value)
            elif tag == OWN[kind]:
                own.append(value)
                end = at
            else:
                check(value, METRIC.nested[tag])
        message = own[0] if len(own) == 1 else b"".join(own)  # which is how protobuf merges
        if kind == SUMMARY:
            return _summary(message, tuple(labels), time_ms)
        if kind in (HISTOGRAM, GAUGE_HISTOGRAM):
            if not time_ms and (common := _common(message, tuple(labels))) is not None:
                return common
            return self._histogram(_parts(message), tuple(labels), time_ms)
        metric = _number(fields(message, COUNT if kind == COUNTER else NUMBER), tuple(labels), time_ms)
        if metric.place < 0 or time_ms or len(own) > 1:
            return metric._replace(place=-1)
        return metric._replace(place=end - len(message) + metric.place)

    def _histogram(self, parts: _Parts, labels: tuple[bytes, ...], time_ms: int) -> Metric:
        bounds, values, exemplars = _classic(parts)
        if self._limits is None or not parts.native:
            return Metric(Key(labels, bounds), values, time_ms, _starts(parts.start, 1), exemplars)
        value, fits = limited(_native(parts), self._limits)
        timed = [one for one in parts.exemplars or chain(*[inside for _, inside in exemplars]) if one.time_ms]
        first = ((0, tuple(sorted(timed, key=lambda one: (one.time_ms, one.value)))),) if timed else ()
        if not (self._classic_too and parts.buckets):
            return Metric(Key(labels, None, native=True), (value,), time_ms, _starts(parts.start, 1), first, fits)
        moved = tuple([(place + 1, inside) for place, inside in exemplars])
        key = Key(labels, bounds, native=True)
        return Metric(key, (value, *values), time_ms, _starts(parts.start, 2), first + moved, fits)


def _number(parts: Sequence[Field], labels: tuple[bytes, ...], time_ms: int) -> Metric:
    number, start, exemplars, ends = 0.0, b"", [], []
    for tag, value, at in parts:
        if tag == 0x09:
            (number,) = _DOUBLE.unpack(value)
            ends.append(at)
        elif tag == 0x12:
            exemplars.append(value)
        else:
            start += value
    found = _exemplar(b"".join(exemplars)) if exemplars else None
    place = ends[0] - 8 if len(ends) == 1 and not exemplars else -1
    return Metric(Key(labels), (number,), time_ms, _starts(start, 1), ((0, (found,)),) if found else (), place=place)


def _summary(data: bytes, labels: tuple[bytes, ...], time_ms: int) -> Metric:
    count, total, start, quantiles, values = 0, 0.0, b"", [], []
    for tag, value, _ in fields(data, QUANTILES):
        if tag == 0x08:
            count = value
        elif tag == 0x11:
            (total,) = _DOUBLE.unpack(value)
        elif tag == 0x1A:
            pair = {0x09: bytes(8), 0x11: bytes(8), **{tag: number for tag, number, _ in fields(value, QUANTILE)}}
            quantiles.append(pair[0x09])
            values.append(pair[0x11])
        else:
            start += value
    numbers = unpack(f"<{len(values)}d", b"".join(values))
    return Metric(Key(labels, b"".join(quantiles)), (float(count), total, *numbers), time_ms, _starts(start, 1))


def _common(data: bytes, labels: tuple[bytes, ...]) -> Metric | None:
    """A classic histogram in its most common form, twice as fast as any; None for one in another."""
    if (found := _COMMON.fullmatch(data)) is None:
        return None
    count, total, middle, tail = found.groups()
    buckets = _BUCKET.findall(middle)
    start = fields(tail, BUCKETS) if tail else []
    framed = all(size[0] == len(number) + 10 for size, number, _ in buckets)
    bounds = [bound for _, _, bound in buckets]
    if not framed or len(start) > 1 or _INFINITE in bounds:
        return None
    last = float(_whole(count))
    values = last, _DOUBLE.unpack(total)[0], *[float(_whole(number)) for _, number, _ in buckets], last
    return Metric(Key(labels, b"".join(bounds)), values, 0, _starts(start[0][1] if start else b"", 1))


def _whole(number: bytes) -> int:
    """A varint of a few bytes."""
    if len(number) == 1:
        return number[0]
    return number[0] & 0x7F | number[1] << 7 if len(number) == 2 else varint(number, 0)[0]


class _Parts:
    """The fields of a Histogram."""

    __slots__ = (
        *("buckets", "count", "count_float", "exemplars", "native", "negative", "positive", "schema", "start"),
        *("sum", "threshold", "zero", "zero_float"),
    )

    def __init__(self) -> None:
        self.count = self.schema = self.zero = 0
        self.sum = self.count_float = self.threshold = self.zero_float = 0.0
        self.start = b""
        self.buckets: list[bytes] = []
        self.exemplars: list[Exemplar] = []
        self.positive, self.negative = Side([], [], []), Side([], [], [])
        self.native = False


_DOUBLES: Final = {0x11: "sum", 0x21: "count_float", 0x31: "threshold", 0x41: "zero_float"}
_WHOLE: Final = {0x08: "count", 0x38: "zero"}


def _parts(data: bytes) -> _Parts:
    parts = _Parts()
    deltas = parts.positive.deltas
    for tag, value, _ in fields(data, BUCKETS):
        if tag == 0x68:  # of which there are many
            deltas.append(value >> 1 ^ -(value & 1))
        elif tag == 0x1A:
            parts.buckets.append(value)
        elif tag in _DOUBLES:
            setattr(parts, _DOUBLES[tag], _DOUBLE.unpack(value)[0])
        elif tag in _WHOLE:
            setattr(parts, _WHOLE[tag], value)
        elif tag == 0x28:
            parts.schema = unzigzag(value & 0xFFFFFFFF)
        elif tag == 0x7A:
            parts.start += value
        elif tag == 0x82:
            parts.exemplars += filter(None, (_exemplar(value),))
        else:
            _fill(parts.positive if tag >= 0x62 else parts.negative, tag, value)
    parts.native = bool(parts.positive.spans or parts.negative.spans or parts.threshold > 0 or parts.zero)
    return parts


def _fill(side: Side, tag: int, value: Any) -> None:
    """Take one more field of the buckets of either sign; numbers come one by one or packed."""
    if tag in (0x4A, 0x62):
        span = {0x08: 0, 0x10: 0, **{tag: number for tag, number, _ in fields(value, SPAN)}}
        side.spans.append((unzigzag(span[0x08] & 0xFFFFFFFF), span[0x10] & 0xFFFFFFFF))
    elif tag in (0x59, 0x71):
        side.counts.extend(_DOUBLE.unpack(value))
    elif tag in (0x5A, 0x72):
        if len(value) % 8:
            raise Malformed("packed doubles that are cut")
        side.counts.extend(unpack(f"<{len(value) // 8}d", value))
    elif tag in (0x50, 0x68):
        side.deltas.append(unzigzag(value))
    else:
        side.deltas.extend(map(unzigzag, islice(_varints(value), MOST_LINES)))
    if len(side.deltas) >= MOST_LINES:
        raise Exceeded("sample_limit")


def _varints(data: bytes) -> Iterable[int]:
    at = 0
    try:
        while at < len(data):
            value, at = varint(data, at)
            yield value
    except IndexError:
        raise Malformed("packed numbers that are cut") from None


def _classic(parts: _Parts) -> tuple[bytes, tuple[float, ...], tuple[tuple[int, tuple[Exemplar, ...]], ...]]:
    """Bounds below infinity, values and exemplars of the classic part; whatever follows infinity is lost."""
    count = parts.count_float or float(parts.count)
    values: list[float] = [count, parts.sum]
    bounds: list[bytes] = []
    exemplars: list[tuple[int, tuple[Exemplar, ...]]] = []
    last = count
    for at, data in enumerate(parts.buckets):
        bound, number, exemplar = _bucket(data)
        if exemplar is not None and len(bounds) == at:
            exemplars.append((len(values), (exemplar,)))
        if len(bounds) == at:
            if bound == _INFINITE:
                last = number
            else:
                bounds.append(bound)
                values.append(number)
    values.append(last)
    return b"".join(bounds), tuple(values), tuple(exemplars)


def _bucket(data: bytes) -> tuple[bytes, float, Exemplar | None]:
    """A bucket's bound, count and exemplar."""
    whole, broken, bound, exemplars = 0, 0.0, bytes(8), []
    for tag, value, _ in fields(data, BUCKET):
        if tag == 0x08:
            whole = value
        elif tag == 0x11:
            bound = value
        elif tag == 0x21:
            (broken,) = _DOUBLE.unpack(value)
        else:
            exemplars.append(value)
    return bound, broken or float(whole), _exemplar(b"".join(exemplars)) if exemplars else None


def _native(parts: _Parts) -> NativeHistogram:
    if parts.count_float > 0 or parts.zero_float > 0:
        counts = parts.positive.counts, parts.negative.counts
        return build(
            parts.schema, parts.sum, parts.threshold, (parts.count_float, parts.zero_float), _spans(parts), counts
        )
    absolute = list(accumulate(parts.positive.deltas)), list(accumulate(parts.negative.deltas))
    found = build(parts.schema, parts.sum, parts.threshold, (parts.count, parts.zero), _spans(parts), absolute)
    observed = parts.zero + sum(absolute[0]) + sum(absolute[1])
    if observed > parts.count or (observed < parts.count and parts.sum == parts.sum):  # a sum that is NaN allows it
        raise Impossible("a histogram whose buckets hold another number of observations than it counts")
    return found


def _spans(parts: _Parts) -> tuple[Sequence[tuple[int, int]], Sequence[tuple[int, int]]]:
    return parts.positive.spans, parts.negative.spans


def _exemplar(data: bytes) -> Exemplar | None:
    """An exemplar, its time 0 where it has none; None for one that Prometheus does not keep, or nobody can."""
    labels: list[bytes] = []
    number, when = 0.0, b""
    for tag, value, _ in fields(data, EXEMPLAR):
        if tag == 0x0A:
            labels.append(value)
            check(value, LABEL)
        elif tag == 0x11:
            (number,) = _DOUBLE.unpack(value)
        else:
            when += value
    time_ms = _time(when)
    try:
        pairs = [pair(label) for label in labels]
    except Malformed:  # which Prometheus does not look at
        return None
    named = {name: text for name, text in pairs if text}
    if len(dict(pairs)) < len(pairs) or sum(map(len, chain(*named.items()))) > EXEMPLAR_CHARACTERS:
        return None
    return Exemplar(tuple(sorted(named.items())), number, time_ms)


def pair(data: bytes) -> tuple[str, str]:
    """Name and value of a label."""
    found = {tag: value for tag, value, _ in fields(data, LABEL)}
    if found.get(0x0A) == b"":
        raise Malformed("a label without a name")
    return text(found.get(0x0A, b"")), text(found.get(0x12, b""))


def text(data: bytes) -> str:
    """UTF-8; raises `Malformed`."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Malformed(f"not UTF-8: {data[:80]!r}") from None


def _time(data: bytes) -> int:
    """A Timestamp as Unix ms; 0 for none, and for one beyond all times."""
    if not data:
        return 0
    found = {0x08: 0, 0x10: 0, **{tag: value for tag, value, _ in fields(data, TIMESTAMP)}}
    nanos = signed(found[0x10])
    time_ms = signed(found[0x08]) * 1000 + (nanos // 1_000_000 if nanos >= 0 else -(-nanos // 1_000_000))
    return time_ms if abs(time_ms) < _LARGEST_MS else 0


def _starts(data: bytes, values: int) -> Starts:
    """A Timestamp as the start of the first few values of a metric."""
    time_ms = _time(data)
    return tuple([(place, time_ms) for place in range(values)]) if time_ms > 0 else ()
