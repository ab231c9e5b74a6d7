"""The slow path of remote write: one value of the model becomes the points that the wire knows.

Classic histograms and summaries have no message of their own in remote write: they travel as `_bucket`, `_sum` and
`_count` series, as a scrape would have named them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from agent.exposition import openmetrics_bound
from agent.model import STALE, Exemplar, Extra, Histogram, NativeHistogram, Series, Stale, Summary, Value
from exporters.wire.columns import Run

_SHAPES_KEPT: Final = 4096
_NONE: Final = Extra()
_CUMULATIVE: Final = frozenset({"counter", "histogram", "summary"})

Labels = tuple[tuple[str, str], ...]


class Point(NamedTuple):
    """One sample of one series of the wire; a native histogram, or the end of one, has `native` set."""

    series: Series
    name: str
    more: Labels
    value: float | NativeHistogram | Stale
    time_ms: int
    start_ms: int
    exemplars: tuple[Exemplar, ...] = ()
    native: bool = False


class Shapes:
    """The bounds or quantiles that each compound series was last seen with (None: it was native).

    A staleness marker says only that a series ended; without its shape we could not name the series to end. Those
    never seen before (after a restart) get markers for what every histogram has.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, Labels], tuple[float, ...] | None] = {}

    def remember(self, series: Series, shape: tuple[float, ...] | None) -> None:
        """Keep the shape of a series, letting the oldest go when there are too many."""
        self._seen[series.name, series.labels] = shape
        if len(self._seen) > _SHAPES_KEPT:
            del self._seen[next(iter(self._seen))]

    def last(self, series: Series) -> tuple[float, ...] | None:
        """The last known shape; empty when there is none."""
        return self._seen.get((series.name, series.labels), ())


def expand(run: Run, positions: Sequence[int], shapes: Shapes) -> Iterator[Point]:
    """The points of some series of a run, in time order within a series."""
    for batch in run.batches:
        for at in positions:
            extra = batch.extras.get(at, _NONE)
            yield from _expand_value(run.series.series[at], batch.values[at], batch.time_ms, extra, shapes)


def _expand_value(series: Series, value: Value | Stale, batch_ms: int, extra: Extra, shapes: Shapes) -> Iterator[Point]:
    time_ms = extra.time_ms or batch_ms
    start_ms = extra.start_ms or series.start_ms if series.kind in _CUMULATIVE else 0
    if isinstance(value, Histogram):
        shapes.remember(series, value.bounds)
        yield from _expand_histogram(series, value, time_ms, start_ms, extra.exemplars)
    elif isinstance(value, Summary):
        shapes.remember(series, tuple(quantile for quantile, _ in value.quantiles))
        yield from _expand_summary(series, value, time_ms, start_ms)
    elif isinstance(value, NativeHistogram):
        shapes.remember(series, None)
        yield Point(series, series.name, (), value, time_ms, start_ms, extra.exemplars, native=True)
    elif value is STALE and series.kind in ("histogram", "gaugehistogram", "summary"):
        yield from _expand_end(series, shapes.last(series), time_ms)
    else:
        yield Point(series, series.name, (), value, time_ms, start_ms, extra.exemplars)


def _expand_histogram(
    series: Series, value: Histogram, time_ms: int, start_ms: int, exemplars: tuple[Exemplar, ...]
) -> Iterator[Point]:
    below = float("-inf")
    name = f"{series.name}_bucket"
    bounds = (*value.bounds, float("inf"))
    for bound, labels, count in zip(bounds, bound_labels("le", bounds), value.counts, strict=True):
        inside = tuple([one for one in exemplars if below < one.value <= bound]) if exemplars else ()
        yield Point(series, name, labels, count, time_ms, start_ms, inside)
        below = bound
    count_name, sum_name = total_names(series)
    yield Point(series, count_name, (), value.counts[-1], time_ms, start_ms)
    yield Point(series, sum_name, (), value.sum, time_ms, start_ms)


def _expand_summary(series: Series, value: Summary, time_ms: int, start_ms: int) -> Iterator[Point]:
    labels = bound_labels("quantile", tuple([quantile for quantile, _ in value.quantiles]))
    for label, (_, at) in zip(labels, value.quantiles, strict=True):
        yield Point(series, series.name, label, at, time_ms, 0)
    count_name, sum_name = total_names(series)
    yield Point(series, count_name, (), value.count, time_ms, start_ms)
    yield Point(series, sum_name, (), value.sum, time_ms, start_ms)


def _expand_end(series: Series, shape: tuple[float, ...] | None, time_ms: int) -> Iterator[Point]:
    if shape is None:
        yield Point(series, series.name, (), STALE, time_ms, 0, native=True)
        return
    summary = series.kind == "summary"
    bounds = shape if summary else (*shape, float("inf"))
    name, label = (series.name, "quantile") if summary else (f"{series.name}_bucket", "le")
    for labels in bound_labels(label, bounds):
        yield Point(series, name, labels, STALE, time_ms, 0)
    for total in total_names(series):
        yield Point(series, total, (), STALE, time_ms, 0)


@lru_cache(maxsize=256)
def bound_labels(name: str, bounds: tuple[float, ...]) -> tuple[Labels, ...]:
    """The `le` or `quantile` label of each bound."""
    return tuple([((name, openmetrics_bound(bound)),) for bound in bounds])


def total_names(series: Series) -> tuple[str, str]:
    """The names of the count and the sum; OpenMetrics gives gauge histograms names of their own."""
    if series.kind == "gaugehistogram":
        return f"{series.name}_gcount", f"{series.name}_gsum"
    return f"{series.name}_count", f"{series.name}_sum"
