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
from exporters.wire.columns import CUMULATIVE, Run

_SHAPES_KEPT: Final = 4096
_STEADY: Final = 4  # rounds in a row after which a shape is thought to last
_NONE: Final = Extra()

Labels = tuple[tuple[str, str], ...]
Shape = tuple[float, ...] | None


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

    A staleness marker says only that a series ended; without its shape we could not name the series to end. A histogram
    may be classic and native at once, or become the other: two series of the same name and labels, of which the object
    tells which has ended. Where that was read from the spool, and is another, the last of the name and labels is meant.
    Those never seen before (after a restart) get markers for what every histogram has.
    """

    def __init__(self) -> None:
        self._seen: dict[Series, Shape] = {}
        self._named: dict[tuple[str, Labels], Shape] = {}
        self._rounds: dict[Series, int] = {}  # in a row with the same shape

    def remember(self, series: Series, shape: Shape) -> Shape:
        """Keep the shape of a series, letting the oldest go when there are too many; the former one, empty for none."""
        former = self._seen.get(series, ())
        if former == shape and series in self._seen:
            self._rounds[series] = self._rounds.get(series, 0) + 1
            return former
        self._rounds.pop(series, None)
        self._seen[series] = self._named[series.name, series.labels] = shape
        if len(self._seen) > _SHAPES_KEPT:
            oldest = next(iter(self._seen))
            del self._seen[oldest]
            self._rounds.pop(oldest, None)
        if len(self._named) > _SHAPES_KEPT:
            del self._named[next(iter(self._named))]
        return former

    def last(self, series: Series) -> Shape:
        """The last known shape; empty when there is none."""
        if series in self._seen:
            return self._seen[series]
        return self._named.get((series.name, series.labels), ())

    def is_steady(self, series: Series, shape: tuple[float, ...]) -> bool:
        """Whether a series was seen in this very shape some rounds in a row."""
        return self._rounds.get(series, 0) >= _STEADY and self._seen.get(series) == shape


def wire_series(series: Series, shape: tuple[float, ...]) -> list[Series]:
    """The plain series that a histogram or summary becomes: one a bucket or quantile, count, sum."""
    bounds = shape if series.kind == "summary" else (*shape, float("inf"))
    name, start_ms = _bucket_name(series), 0 if series.kind == "summary" else series.start_ms
    kind, text, unit = series.kind, series.help, series.unit
    labels = bound_labels(_bound_name(series), bounds)
    return [
        *(Series(name, kind, text, unit, series.labels + more, start_ms) for more in labels),
        *(Series(total, kind, text, unit, series.labels, series.start_ms) for total in total_names(series)),
    ]


def expand(run: Run, positions: Sequence[int], shapes: Shapes) -> Iterator[Point]:
    """The points of some series of a run, in time order within a series."""
    for batch in run.batches:
        for at in positions:
            extra = batch.extras.get(at, _NONE)
            yield from _expand_value(run.series.series[at], batch.values[at], batch.time_ms, extra, shapes)


def _expand_value(series: Series, value: Value | Stale, batch_ms: int, extra: Extra, shapes: Shapes) -> Iterator[Point]:
    time_ms = extra.time_ms or batch_ms
    start_ms = extra.start_ms or series.start_ms if series.kind in CUMULATIVE else 0
    if isinstance(value, Histogram):
        yield from _expand_lost(series, shapes.remember(series, value.bounds), value.bounds, time_ms)
        yield from _expand_histogram(series, value, time_ms, start_ms, extra.exemplars)
    elif isinstance(value, Summary):
        quantiles = tuple([quantile for quantile, _ in value.quantiles])
        yield from _expand_lost(series, shapes.remember(series, quantiles), quantiles, time_ms)
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


def _expand_lost(series: Series, former: Shape, bounds: tuple[float, ...], time_ms: int) -> Iterator[Point]:
    """The ends of the buckets or quantiles that a series had before and has no more."""
    if former and former is not bounds and (lost := tuple([bound for bound in former if bound not in bounds])):
        for labels in bound_labels(_bound_name(series), lost):
            yield Point(series, _bucket_name(series), labels, STALE, time_ms, 0)


def _bound_name(series: Series) -> str:
    return "quantile" if series.kind == "summary" else "le"


def _bucket_name(series: Series) -> str:
    return series.name if series.kind == "summary" else f"{series.name}_bucket"


def _expand_end(series: Series, shape: Shape, time_ms: int) -> Iterator[Point]:
    if shape is None:
        yield Point(series, series.name, (), STALE, time_ms, 0, native=True)
        return
    bounds = shape if series.kind == "summary" else (*shape, float("inf"))
    for labels in bound_labels(_bound_name(series), bounds):
        yield Point(series, _bucket_name(series), labels, STALE, time_ms, 0)
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
