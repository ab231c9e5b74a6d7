"""Classic histograms and summaries on the fast path: while their bounds stay, they are so many plain series.

A batch with such series becomes one of a wider set, in which each of them has made way for its `_bucket`, `_count` and
`_sum` series. Only what has no fixed width stays as it is, for the slow path: native histograms, ends, samples with
exemplars or a time of their own, and bounds that changed a moment ago.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from agent.model import Histogram, MetricBatch, Series, SeriesSet, Stale, Summary, Value
from exporters.wire.columns import COMPOUND_KINDS, remember_layout
from exporters.wire.points import Shape, Shapes, wire_series

_KEPT: Final = 4  # wider sets of one set: those of the bounds, and of the exemplars, of its last few rounds
_CACHE: Final = "rw-flat"


class Wider(Struct, frozen=True):
    """The wider set, and where the positions of the narrow one went that stayed as they are."""

    series: SeriesSet
    moved: dict[int, int]


class Flattener:
    """Makes batches wide; `shapes` knows the bounds of the last time."""

    def __init__(self, shapes: Shapes) -> None:
        self._shapes = shapes

    def __call__(self, batch: MetricBatch) -> MetricBatch:
        """The batch as it goes on the wire; itself where there is nothing to widen."""
        compound = _compound(batch.series)
        if not compound:
            return batch
        shapes = {at: shape for at in compound if (shape := self._steady(batch, at)) is not None}
        if not shapes:
            return batch
        wider = _wider(batch.series, shapes)
        extras = {wider.moved[at]: extra for at, extra in batch.extras.items()}
        return MetricBatch(batch.collector, batch.time_ms, wider.series, _values(batch.values, shapes), extras)

    def _steady(self, batch: MetricBatch, at: int) -> Shape:
        """The bounds or quantiles of a value that can be widened, else None."""
        value = batch.values[at]
        if at in batch.extras:
            return None
        if isinstance(value, Histogram):
            shape = value.bounds
        elif isinstance(value, Summary):
            shape = tuple([quantile for quantile, _ in value.quantiles])
        else:
            return None
        return shape if self._shapes.is_steady(batch.series.series[at], shape) else None


def _compound(series: SeriesSet) -> Sequence[int]:
    """The positions of a set's histograms and summaries."""
    key = "rw-compound"
    if (found := series.cache.get(key)) is None:
        found = series.cache[key] = tuple(at for at, one in enumerate(series.series) if one.kind in COMPOUND_KINDS)
    return found


def _wider(series: SeriesSet, shapes: dict[int, tuple[float, ...]]) -> Wider:
    known: dict[tuple[tuple[int, tuple[float, ...]], ...], Wider] = series.cache.setdefault(_CACHE, {})
    key = tuple(shapes.items())
    if (found := known.get(key)) is None:
        if len(known) >= _KEPT:
            del known[next(iter(known))]
        found = known[key] = _widen(series.series, shapes)
    return found


def _widen(series: Sequence[Series], shapes: dict[int, tuple[float, ...]]) -> Wider:
    wide: list[Series] = []
    moved: dict[int, int] = {}
    fast: list[int] = []
    for at, one in enumerate(series):
        if at in shapes:
            fast += range(len(wide), len(wide) + len(shapes[at]) + 2 + (one.kind != "summary"))
            wide += wire_series(one, shapes[at])
        else:
            moved[at] = len(wide)
            wide.append(one)
    found = SeriesSet(wide)
    remember_layout(found, frozenset(fast))
    return Wider(found, moved)


def _values(values: Sequence[Value | Stale], shapes: dict[int, tuple[float, ...]]) -> list[Value | Stale]:
    wide: list[Value | Stale] = []
    since = 0
    for at in shapes:
        wide += values[since:at]
        value = values[at]
        if isinstance(value, Histogram):
            wide += value.counts
            wide += (value.counts[-1], value.sum)
        elif isinstance(value, Summary):
            wide += [quantile for _, quantile in value.quantiles]
            wide += (value.count, value.sum)
        since = at + 1
    wide += values[since:]
    return wide
