"""Histograms and summaries say the same on the fast path as on the slow one, round after round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.model import STALE, Exemplar, Extra, Histogram, MetricBatch, NativeHistogram, Series, SeriesSet, Summary
from exporters.wire.flat import Flattener
from exporters.wire.points import Shapes
from exporters.wire.remote_write_1 import RemoteWrite1
from exporters.wire.remote_write_2 import RemoteWrite2

T0 = 1_760_000_000_000
Decode = Callable[[bytes], list[Any]]
SERIES = SeriesSet(
    [
        Series("load", "gauge", "Load.", "", ()),
        Series("took_seconds", "histogram", "Time.", "seconds", (("job", "a"), ("zone", "b")), T0 - 5),
        Series("jobs_total", "counter", "Jobs.", "", (), T0 - 5),
        Series("size", "summary", "Sizes.", "", (("job", "a"),), T0 - 7),
        Series("depth", "gaugehistogram", "Depth.", "", ()),
        Series("took_seconds", "histogram", "Time.", "seconds", (("job", "c"),)),
    ]
)
numbers = st.floats(0, 1e9)
bounds = st.sampled_from([(0.1, 1.0), (0.1, 1.0, 2.5), (), (5.0,)])


@st.composite
def histograms(draw: st.DrawFn) -> Histogram:
    found = draw(bounds)
    return Histogram(found, tuple(draw(st.lists(numbers, min_size=len(found) + 1, max_size=len(found) + 1))), 2.0)


summaries = st.sampled_from([(), (0.5,), (0.5, 0.99)]).flatmap(
    lambda at: st.builds(Summary, numbers, numbers, st.just(tuple((quantile, 1.5) for quantile in at)))
)
natives = st.builds(NativeHistogram, st.just(0), numbers, numbers)
rounds = st.tuples(
    numbers,
    st.one_of(histograms(), natives, st.just(STALE)),
    numbers,
    st.one_of(summaries, st.just(STALE)),
    histograms(),
    histograms(),
)
exemplars = st.sets(st.sampled_from([1, 5]))


def told(decode: Decode, body: bytes) -> list[Any]:
    found = [
        (wire.labels, sorted(wire.samples), sorted(map(repr, wire.histograms)), sorted(map(repr, wire.exemplars)))
        for wire in decode(body)
    ]
    return sorted(found, key=repr)


def slow(batch: MetricBatch) -> MetricBatch:
    """The same batch, which the fast path does not take: its samples have times of their own."""
    extras = {
        at: Extra(batch.time_ms, 0, batch.extras.get(at, Extra()).exemplars) for at in range(len(batch)) if at != 0
    }
    return MetricBatch(batch.collector, batch.time_ms, batch.series, batch.values, extras)


@pytest.mark.parametrize("version", [1, 2])
@settings(deadline=None, max_examples=80)
@given(stream=st.lists(st.tuples(rounds, exemplars, st.sampled_from([1, 7])), min_size=1, max_size=4))
def test_both_ways_say_the_same(decode_1: Decode, decode_2: Decode, version: int, stream: list[Any]) -> None:
    encoder, reference = (RemoteWrite1(), RemoteWrite1()) if version == 1 else (RemoteWrite2(), RemoteWrite2())
    decode = decode_1 if version == 1 else decode_2
    lasting = [(values, shown) for values, shown, times in stream for _ in range(times)]
    for tick, (values, shown) in enumerate(lasting):
        extras = {at: Extra(exemplars=(Exemplar((("id", "x"),), 0.05, T0),)) for at in shown}
        batch = MetricBatch("c", T0 + tick * 1000, SERIES, list(values), extras)
        one, other = encoder.encode([batch]), reference.encode([slow(batch)])
        assert told(decode, one.body) == told(decode, other.body)
        assert (one.samples, one.histograms, one.exemplars) == (other.samples, other.histograms, other.exemplars)


def test_bounds_that_stay_take_the_fast_path() -> None:
    shapes = Shapes()
    flat = Flattener(shapes)
    series = SeriesSet([SERIES.series[1]])

    def batch(tick: int, *bounds: float) -> MetricBatch:
        counts = tuple(float(at) for at in range(len(bounds) + 1))
        return MetricBatch("c", T0 + tick, series, [Histogram(bounds, counts, 9.0)])

    first = batch(0, 0.1, 1.0)
    assert flat(first) is first
    for _ in range(5):
        shapes.remember(series.series[0], (0.1, 1.0))
    second, third = flat(batch(1, 0.1, 1.0)), flat(batch(2, 0.1, 1.0))
    assert second.values == [0.0, 1.0, 2.0, 2.0, 9.0]
    assert [one.name for one in second.series.series] == [
        *["took_seconds_bucket"] * 3,
        "took_seconds_count",
        "took_seconds_sum",
    ]
    assert third.series is second.series
    changed = batch(3, 0.1)
    assert flat(changed) is changed
