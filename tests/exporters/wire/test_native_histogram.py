"""Native histograms in both versions of remote write, and how each form of a histogram ends."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from agent.model import STALE, STALE_BYTES, Histogram, MetricBatch, NativeHistogram, Series, SeriesSet, Summary
from exporters.wire.remote_write_1 import RemoteWrite1
from exporters.wire.remote_write_2 import RemoteWrite2

T0 = 1_760_000_000_000
STALE_BITS = 0x7FF0000000000002

Decode = Callable[[bytes], list[Any]]


def batch(values: list[Any], *series: Series, time_ms: int = T0) -> MetricBatch:
    return MetricBatch("c", time_ms, SeriesSet(series), values)


NATIVE = NativeHistogram(
    schema=3,
    count=12.0,
    sum=18.4,
    zero_threshold=0.001,
    zero_count=2.0,
    positive=(((0, 2), (3, 1)), (1.0, 4.0, 2.0)),
    negative=(((-1, 1),), (3.0,)),
)


def test_a_native_histogram_of_whole_counts_travels_with_deltas(decode_1: Decode, decode_2: Decode) -> None:
    one = batch([NATIVE], Series("n", "histogram", "N.", "", (), start_ms=T0 - 9))
    for encoder, decode in ((RemoteWrite1(), decode_1), (RemoteWrite2(), decode_2)):
        encoded = encoder.encode([one])
        (wire,) = decode(encoded.body)
        (found,) = wire.histograms
        assert (encoded.samples, encoded.histograms, wire.samples) == (0, 1, [])
        assert (found.count_int, found.zero_count_int, found.schema, found.sum) == (12, 2, 3, 18.4)
        assert [(span.offset, span.length) for span in found.positive_spans] == [(0, 2), (3, 1)]
        assert list(found.positive_deltas) == [1, 3, -2]
        assert [(span.offset, span.length) for span in found.negative_spans] == [(-1, 1)]
        assert list(found.negative_deltas) == [3]
        assert (found.timestamp, found.zero_threshold) == (T0, 0.001)
    assert found.start_timestamp == T0 - 9


def test_a_native_histogram_of_broken_counts_travels_as_floats(decode_2: Decode) -> None:
    value = NativeHistogram(-53, 2.5, 1.0, positive=(((0, 2),), (0.5, 2.0)), custom_values=(0.1, 1.0))
    one = batch([value], Series("n", "gaugehistogram", "N.", "", ()))
    (found,) = decode_2(RemoteWrite2().encode([one]).body)[0].histograms
    assert (found.WhichOneof("count"), found.count_float) == ("count_float", 2.5)
    assert list(found.positive_counts) == [0.5, 2.0]
    assert list(found.custom_values) == [0.1, 1.0]
    assert (found.schema, found.reset_hint) == (-53, 3)


def test_the_end_of_a_native_histogram_is_a_histogram_with_the_markers_sum(decode_2: Decode) -> None:
    series = Series("n", "histogram", "N.", "", ())
    encoder = RemoteWrite2()
    encoder.encode([batch([NATIVE], series)])
    (wire,) = decode_2(encoder.encode([batch([STALE], series)]).body)
    assert struct.pack("<d", wire.histograms[0].sum) == STALE_BYTES


def test_of_a_histogram_that_is_classic_and_native_each_form_has_its_own_end(
    decode_1: Decode, decode_2: Decode
) -> None:
    classic, both = Series("h", "histogram", "H.", "", ()), Series("h", "histogram", "H.", "", ())
    values = [Histogram((0.5,), (1.0, 2.0), 7.5), NATIVE]
    for encoder, decode in ((RemoteWrite1(), decode_1), (RemoteWrite2(), decode_2)):
        wires = decode(encoder.encode([batch(values, classic, both)]).body)
        assert [bool(wire.histograms) for wire in wires] == [False] * 4 + [True]
        (end,) = decode(encoder.encode([batch([STALE], both, time_ms=T0 + 1)]).body)
        assert [struct.pack("<d", one.sum) for one in end.histograms] == [STALE_BYTES]
        ends = decode(encoder.encode([batch([STALE], classic, time_ms=T0 + 1)]).body)
        assert [dict(wire.labels)["__name__"] for wire in ends] == ["h_bucket", "h_bucket", "h_count", "h_sum"]


def test_a_gauge_histogram_is_marked_as_one_and_no_other(decode_1: Decode, decode_2: Decode) -> None:
    series = [Series("n", kind, "N.", "", ()) for kind in ("gaugehistogram", "histogram")]
    for encoder, decode in ((RemoteWrite1(), decode_1), (RemoteWrite2(), decode_2)):
        hints = [wire.histograms[0].reset_hint for wire in decode(encoder.encode([batch([NATIVE] * 2, *series)]).body)]
        assert hints == [3, 0]


def test_buckets_and_quantiles_that_a_series_has_no_more_are_ended(decode_1: Decode, decode_2: Decode) -> None:
    histogram, summary = Series("h", "histogram", "H.", "", ()), Series("s", "summary", "S.", "", ())
    before = [Histogram((0.5, 1.0), (1.0, 2.0, 3.0), 7.5), Summary(1.0, 1.0, ((0.5, 1.0), (0.9, 2.0)))]
    after = [Histogram((1.0, 2.0), (2.0, 2.0, 3.0), 7.5), Summary(1.0, 1.0, ((0.9, 2.0),))]
    for encoder, decode in ((RemoteWrite1(), decode_1), (RemoteWrite2(), decode_2)):
        encoder.encode([batch(before, histogram, summary)])
        wires = decode(encoder.encode([batch(after, histogram, summary, time_ms=T0 + 1)]).body)
        ended = [dict(wire.labels) for wire in wires if [sample[0] for sample in wire.samples] == [STALE_BITS]]
        assert ended == [{"__name__": "h_bucket", "le": "0.5"}, {"__name__": "s", "quantile": "0.5"}]
        assert len(wires) == 5 + 3 + 2
