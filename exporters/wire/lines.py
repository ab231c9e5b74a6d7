"""The slow path of remote write, second half: points gathered into one TimeSeries for each series of the wire."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from agent.model import STALE, STALE_BYTES, Exemplar, NativeHistogram, Series, Stale
from exporters.wire.columns import NAN_BYTES, Run
from exporters.wire.native_histogram import encode_native_end, encode_native_histogram
from exporters.wire.points import Labels, Point, Shapes, expand
from exporters.wire.protobuf import integer, message

_DOUBLE: Final = struct.Struct("<d")


class Key(NamedTuple):
    """A series of the wire: its model series, its name, the labels it has beyond it; floats apart from histograms."""

    series: Series
    name: str
    more: Labels
    native: bool


class Line:
    """What a TimeSeries holds: samples and histograms encoded without their tag, exemplars with their time."""

    __slots__ = ("exemplars", "histograms", "samples")

    def __init__(self) -> None:
        self.samples: list[bytes] = []
        self.histograms: list[bytes] = []
        self.exemplars: list[tuple[Exemplar, int]] = []


def gather(run: Run, positions: Sequence[int], shapes: Shapes) -> dict[Key, Line]:
    """The lines of some series of a run, their points in time order."""
    lines: dict[Key, Line] = {}
    for point in expand(run, positions, shapes):
        key = Key(point.series, point.name, point.more, point.native)
        if (line := lines.get(key)) is None:
            line = lines[key] = Line()
        if point.native:
            line.histograms.append(_encode_native(point))
        else:
            line.samples.append(_encode_sample(point))
        line.exemplars += [(exemplar, exemplar.time_ms or point.time_ms) for exemplar in point.exemplars]
    return lines


def encode_samples(line: Line) -> bytes:
    """The samples as field 2 of a TimeSeries, which both versions share."""
    return b"".join([message(2, sample) for sample in line.samples])


def _encode_sample(point: Point) -> bytes:
    return b"\x09" + _value_bytes(point.value) + _encode_times(point.time_ms, point.start_ms)


@lru_cache(maxsize=64)
def _encode_times(time_ms: int, start_ms: int) -> bytes:
    """Fields 2 and 3 of a sample; all samples of a batch tend to have the same."""
    return integer(2, time_ms) + (integer(3, start_ms) if start_ms else b"")


def _value_bytes(value: float | NativeHistogram | Stale) -> bytes:
    if value is STALE:
        return STALE_BYTES
    if isinstance(value, Stale | NativeHistogram):  # never: `native` points do not come here
        raise TypeError(value)
    raw = _DOUBLE.pack(value)
    return NAN_BYTES if raw == STALE_BYTES else raw


def _encode_native(point: Point) -> bytes:
    if isinstance(point.value, NativeHistogram):
        gauge = point.series.kind == "gaugehistogram"
        return encode_native_histogram(point.value, point.time_ms, point.start_ms, gauge=gauge)
    return encode_native_end(point.time_ms)
