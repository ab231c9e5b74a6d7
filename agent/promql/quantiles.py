"""Quantiles, of numbers and of the buckets of classic histograms, calculated as Prometheus does."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from math import inf, isnan, nan
from typing import Final

from agent.promql.arithmetic import go_float
from agent.promql.points import Labels, Point, Vector, distinct

_SMALL: Final = 1e-12  # relative differences of counts that arithmetic makes, and no observation


def quantile(share: float, values: Sequence[float]) -> float:
    """The quantile of some numbers, between two of them by their distance; infinite for a share beyond 0 to 1."""
    if not values or isnan(share):
        return nan
    if not 0 <= share <= 1:
        return -inf if share < 0 else inf
    ranked = sorted(values, key=lambda value: (not isnan(value), value))  # NaN is smaller than all numbers
    rank = share * (len(ranked) - 1)
    lower = math.floor(rank)
    upper = min(len(ranked) - 1, lower + 1)
    weight = rank - lower
    return ranked[lower] * (1 - weight) + ranked[upper] * weight


def histogram_quantile(share: float, buckets: Vector) -> Vector:
    """The quantile of each histogram whose `_bucket` series are given; series without a readable `le` are left out."""
    histograms: dict[tuple[str, Labels], list[tuple[float, float]]] = {}
    for point in buckets:
        bound = go_float(dict(point.labels).get("le", ""))
        if bound is not None:
            rest = tuple([pair for pair in point.labels if pair[0] != "le"])
            histograms.setdefault((point.name, rest), []).append((bound, point.value))
    return distinct([Point("", labels, bucket_quantile(share, found)) for (_, labels), found in histograms.items()])


def bucket_quantile(share: float, buckets: list[tuple[float, float]]) -> float:
    """The quantile of (upper bound, cumulative count) pairs, as if observations were spread evenly in a bucket."""
    if isnan(share):
        return nan
    if not 0 <= share <= 1:
        return -inf if share < 0 else inf
    bounds, counts = _merged(buckets)
    if bounds[-1] != inf or len(bounds) < 2:
        return nan
    _make_monotonic(counts)
    if not counts[-1]:
        return nan
    rank = share * counts[-1]
    last = len(counts) - 1
    at = last if isnan(rank) else bisect_left(counts, rank, 0, last)
    if at == last:
        return bounds[-2]
    if at == 0 and bounds[0] <= 0:
        return bounds[0]
    start, count = 0.0, counts[at]
    if at > 0:
        start = bounds[at - 1]
        count -= counts[at - 1]
        rank -= counts[at - 1]
    return start + (bounds[at] - start) * (rank / count) if count else nan


def _merged(buckets: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Bounds and counts in order; buckets with one bound are one."""
    merged: dict[float, float] = {}
    for bound, count in sorted(buckets, key=lambda bucket: bucket[0]):
        merged[bound] = merged.get(bound, 0.0) + count
    return list(merged), list(merged.values())


def _make_monotonic(counts: list[float]) -> None:
    """A count below the one before it is raised to that, and differences that rounding made are taken out."""
    previous = counts[0]
    for at in range(1, len(counts)):
        current = counts[at]
        if current == previous:
            continue
        if current < previous or _almost(previous, current):
            counts[at] = previous
        else:
            previous = current


def _almost(one: float, other: float) -> bool:
    difference, size = abs(one - other), abs(one) + abs(other)
    return difference / min(size, 1.7976931348623157e308) < _SMALL
