"""Prometheus remote write 1.0: `prometheus.WriteRequest`.

Source: https://prometheus.io/docs/specs/prw/remote_write_spec/ and prometheus/prometheus prompb/types.proto.
Start timestamps do not exist in this version; metadata travels beside the series, in field 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from agent.model import Exemplar, MetricBatch, Series, SeriesSet
from exporters.wire.columns import Layout, Prefixes, Run, all_slow, encode_run, group, layout, pack_values
from exporters.wire.flat import Flattener
from exporters.wire.lines import Key, Line, encode_samples, gather
from exporters.wire.points import Labels, Shapes
from exporters.wire.protobuf import double, integer, message, text

TYPES: Final = {  # the enum MetricType, the same in both versions
    "unknown": 0,
    "counter": 1,
    "gauge": 2,
    "histogram": 3,
    "gaugehistogram": 4,
    "summary": 5,
    "info": 6,
    "stateset": 7,
}
_TIMESERIES_TAG: Final = 0x0A
_SLOW_LABELS_KEPT: Final = 64  # per series of the set; histograms whose buckets keep changing would fill memory


class Encoded(Struct, frozen=True):
    """A message before compression, and how much is in it."""

    body: bytes
    samples: int
    histograms: int = 0
    exemplars: int = 0


class Pairs(dict[tuple[str, str], bytes]):
    """Encoded labels by name and value; within a set most of them repeat."""

    def __missing__(self, pair: tuple[str, str]) -> bytes:
        name, value = pair
        encoded = self[pair] = message(1, text(1, name) + text(2, value))
        return encoded


def sorted_labels(name: str, labels: Labels) -> list[tuple[str, str]]:
    """The whole label set in byte order, the name at its place; empty values are left out, as the protocol wants.

    Code points order as UTF-8 bytes do, so strings can be compared as they are.
    """
    return sorted([("__name__", name), *[pair for pair in labels if pair[1]]])


class RemoteWrite1:
    """The encoder of version 1.0; it remembers nothing but the shapes of histograms."""

    def __init__(self) -> None:
        self._shapes = Shapes()
        self._flattened = Flattener(self._shapes)

    def encode(self, batches: Sequence[MetricBatch], families: Iterable[Series] = ()) -> Encoded:
        """A WriteRequest of the batches, oldest first, and the metadata of some families."""
        pieces: list[bytes] = []
        samples = 0
        lines: list[Line] = []
        for run in group(map(self._flattened, batches)):
            shape = layout(run.series, starts=False)
            if (columns := pack_values(run, shape)) is None:
                shape = all_slow(run.series)
            elif shape.plain:
                pieces += encode_run(run, shape, columns, (_prefixes(run.series, shape),))
                samples += len(shape.plain) * len(run.batches)
            lines += self._encode_slow(run, shape, pieces)
        pieces += [_encode_family(family) for family in families]
        return counted(b"".join(pieces), samples, lines)

    def _encode_slow(self, run: Run, shape: Layout, pieces: list[bytes]) -> Iterable[Line]:
        if not shape.slow:
            return ()
        lines = gather(run, shape.slow, self._shapes)
        labels = _slow_labels(run.series)
        pieces += [_encode_line(key, line, labels) for key, line in lines.items()]
        return lines.values()


def counted(body: bytes, samples: int, lines: Sequence[Line]) -> Encoded:
    """The message with its numbers: `samples` of the fast path, and what the lines hold."""
    return Encoded(
        body,
        samples + sum(len(line.samples) for line in lines),
        sum(len(line.histograms) for line in lines),
        sum(len(line.exemplars) for line in lines),
    )


def families(series: SeriesSet) -> dict[str, Series]:
    """One series of each family of a set, by family name."""
    if (found := series.cache.get("rw-families")) is None:
        found = series.cache["rw-families"] = {one.name: one for one in reversed(series.series)}
    return found


def _prefixes(series: SeriesSet, shape: Layout) -> Prefixes:
    if (found := series.cache.get("rw1")) is None:
        pairs = Pairs()
        labels = [_encode_labels(series.series[at].name, series.series[at].labels, pairs) for at in shape.plain]
        found = series.cache["rw1"] = Prefixes(_TIMESERIES_TAG, labels)
    return found


def _encode_labels(name: str, labels: Labels, pairs: Pairs) -> bytes:
    return b"".join([pairs[pair] for pair in sorted_labels(name, labels)])


class _SlowLabels(dict[Key, bytes]):
    """Encoded labels of the series that the slow path makes."""

    def __missing__(self, key: Key) -> bytes:
        encoded = self[key] = _encode_labels(key.name, key.series.labels + key.more, Pairs())
        return encoded


def _slow_labels(series: SeriesSet) -> _SlowLabels:
    found: _SlowLabels = series.cache.setdefault("rw1-slow", _SlowLabels())
    if len(found) > _SLOW_LABELS_KEPT * len(series):
        found.clear()
    return found


def _encode_line(key: Key, line: Line, labels: _SlowLabels) -> bytes:
    exemplars = [message(3, _encode_exemplar(exemplar, time_ms)) for exemplar, time_ms in line.exemplars]
    histograms = [message(4, histogram) for histogram in line.histograms]
    return message(1, b"".join((labels[key], encode_samples(line), *exemplars, *histograms)))


def _encode_exemplar(exemplar: Exemplar, time_ms: int) -> bytes:
    labels = [message(1, text(1, name) + text(2, value)) for name, value in sorted(exemplar.labels)]
    return b"".join(labels) + double(2, exemplar.value) + integer(3, time_ms)


def _encode_family(family: Series) -> bytes:
    kind, name = integer(1, TYPES[family.kind]), text(2, family.name)
    return message(3, kind + name + text(4, family.help) + text(5, family.unit))
