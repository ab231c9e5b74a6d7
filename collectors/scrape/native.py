"""Native histograms as they are scraped: made compact, held against the rules, cut down to limits.

Source: prometheus/prometheus model/histogram (Validate, Compact, ReduceResolution), scrape/target.go
(bucketLimitAppender, maxSchemaAppender) and pickSchema of scrape/scrape.go (v3.5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from agent.model import NativeHistogram
from collectors.scrape.grammar import Malformed

FINEST: Final = 8  # schemas: a bucket's bounds are a factor of 2 ** 2 ** -schema apart
COARSEST: Final = -4
_FINEST_FACTOR: Final = 1.00271
_INDEXES: Final = range(-(1 << 31), 1 << 31)

Spans = Sequence[tuple[int, int]]
Counts = Sequence[float]
Bucket = tuple[int, float]


class Impossible(Malformed):
    """A native histogram that contradicts itself, or that nobody can hold."""


class Side(NamedTuple):
    """The buckets of one sign as they are sent: spans, and either deltas (of whole counts) or counts."""

    spans: list[tuple[int, int]]
    deltas: list[int]
    counts: list[float]


class Limits(NamedTuple):
    """The most buckets of a histogram (0: no limit), and the finest schema."""

    buckets: int = 0
    schema: int = FINEST


def finest_schema(factor: float) -> int:
    """The finest schema whose buckets grow by at least `factor`; 0 is any."""
    return max(COARSEST, min(FINEST, math.floor(-math.log2(math.log2(factor if factor > 1 else _FINEST_FACTOR)))))


def build(
    schema: int,
    total: float,
    threshold: float,
    counts: tuple[float, float],
    spans: tuple[Spans, Spans],
    buckets: tuple[Counts, Counts],
) -> NativeHistogram:
    """The histogram with these counts (of all, and in the zero bucket) and buckets (positive, negative), absolute;
    raises `Impossible` for one that Prometheus refuses.
    """
    if not COARSEST <= schema <= FINEST:
        raise Impossible(f"a native histogram of schema {schema}")
    positive, negative = _compact(spans[0], buckets[0]), _compact(spans[1], buckets[1])
    count, zero = counts
    return NativeHistogram(schema, float(count), total, threshold, float(zero), positive, negative)


def _compact(spans: Spans, counts: Counts) -> tuple[tuple[tuple[int, int], ...], tuple[float, ...]]:
    """Spans and counts without empty buckets, and no two spans next to each other."""
    if sum([length for _, length in spans]) != len(counts):
        raise Impossible("spans of more or fewer buckets than there are")
    if [count for count in counts if count < 0]:
        raise Impossible("a bucket with fewer than no observations")
    if all(counts) and all(length for _, length in spans) and all(offset > 0 for offset, _ in spans[1:]):
        return tuple(spans), tuple(map(float, counts))
    return _spanned(_indexed(spans, counts))


def _indexed(spans: Spans, counts: Counts) -> list[Bucket]:
    """The buckets that are not empty, by their index."""
    indexes: list[int] = []
    at = 0
    for offset, length in spans:
        indexes.extend(range(at + offset, at + offset + length))
        at += offset + length
    found = [(index, count) for index, count in zip(indexes, counts, strict=True) if count]
    if any(after[0] <= before[0] for before, after in pairwise(found)):
        raise Impossible("spans that go back")
    if found and (found[0][0] not in _INDEXES or found[-1][0] not in _INDEXES):
        raise Impossible("a bucket beyond all bounds")
    return found


def _spanned(buckets: Sequence[Bucket]) -> tuple[tuple[tuple[int, int], ...], tuple[float, ...]]:
    """Buckets as spans and counts."""
    spans: list[tuple[int, int]] = []
    end = 0
    for index, _ in buckets:
        if spans and index == end:
            spans[-1] = (spans[-1][0], spans[-1][1] + 1)
        else:
            spans.append((index - end, 1))
        end = index + 1
    return tuple(spans), tuple([float(count) for _, count in buckets])


def limited(value: NativeHistogram, limits: Limits) -> tuple[NativeHistogram, bool]:
    """The histogram within limits, in a coarser schema where it must be, and whether it fits in the coarsest."""
    if value.schema > limits.schema:
        value = coarser(value, limits.schema)
    while limits.buckets and len(value.positive[1]) + len(value.negative[1]) > limits.buckets:
        if value.schema <= COARSEST:
            return value, False
        value = coarser(value, value.schema - 1)
    return value, True


def coarser(value: NativeHistogram, schema: int) -> NativeHistogram:
    """The histogram in a coarser schema."""
    by = value.schema - schema
    positive, negative = (_spanned(_merged(_indexed(*side), by)) for side in (value.positive, value.negative))
    return NativeHistogram(schema, value.count, value.sum, value.zero_threshold, value.zero_count, positive, negative)


def _merged(buckets: Sequence[Bucket], by: int) -> list[Bucket]:
    """The buckets of a schema that is coarser by so many steps."""
    found: dict[int, float] = {}
    for index, count in buckets:
        wider = (index - 1 >> by) + 1
        found[wider] = found.get(wider, 0.0) + count
    return list(found.items())
