"""Aggregations: `sum by (…)` and the like.

Source: https://prometheus.io/docs/prometheus/latest/querying/operators/#aggregation-operators
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isnan
from typing import Final

from msgspec import Struct

from agent.promql.arithmetic import go_fixed, largest, mean, root, smallest, total, variance
from agent.promql.points import (
    Labels,
    Moment,
    Node,
    Point,
    QueryError,
    Vector,
    distinct,
    keys,
    others,
    with_label,
)
from agent.promql.quantiles import quantile

SIMPLE: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "sum": total,
    "avg": mean,
    "min": smallest,
    "max": largest,
    "count": lambda values: float(len(values)),
    "group": lambda values: 1.0,
    "stddev": lambda values: root(variance(values)),
    "stdvar": variance,
}
Group = tuple[str, Labels]


class Grouping(Struct, frozen=True):
    """Which labels make a group: those named (`by`), or all but those and the name (`without`)."""

    labels: frozenset[str] = frozenset()
    without: bool = False

    def group(self, point: Point) -> Group:
        """Name and labels of an element's group."""
        if self.without:
            return "", others(point.labels, self.labels)
        if not self.labels:
            return "", ()
        return (point.name if "__name__" in self.labels else ""), keys(point.labels, self.labels)

    def split(self, points: Vector) -> dict[Group, Vector]:
        """The elements by group."""
        groups: dict[Group, Vector] = {}
        for point in points:
            groups.setdefault(self.group(point), []).append(point)
        return groups


class Aggregation(Struct, frozen=True):
    """One number a group."""

    op: str
    vector: Node[Vector]
    grouping: Grouping

    def evaluate(self, at: Moment) -> Vector:
        """A point a group."""
        fold = SIMPLE[self.op]
        groups = self.grouping.split(self.vector.evaluate(at))
        return [Point(*group, fold([point.value for point in points])) for group, points in groups.items()]


class Quantile(Struct, frozen=True):
    """`quantile(0.9, vector)`."""

    share: Node[float]
    vector: Node[Vector]
    grouping: Grouping

    def evaluate(self, at: Moment) -> Vector:
        """A point a group."""
        share = self.share.evaluate(at)
        groups = self.grouping.split(self.vector.evaluate(at))
        return [Point(*group, quantile(share, [one.value for one in points])) for group, points in groups.items()]


class Top(Struct, frozen=True):
    """`topk` and `bottomk`: the elements of a group with the largest or smallest values, as they are."""

    op: str
    count: Node[float]
    vector: Node[Vector]
    grouping: Grouping

    def evaluate(self, at: Moment) -> Vector:
        """At most so many elements a group, best first."""
        count, vector = self.count.evaluate(at), self.vector.evaluate(at)
        if not vector or count < 1:
            return []
        if isnan(count) or count >= 2**63:
            raise QueryError(f"{self.op} of {count} elements")
        descending = self.op == "topk"
        found = []
        for points in self.grouping.split(vector).values():
            numbers = [point for point in points if not isnan(point.value)]
            numbers.sort(key=lambda point: point.value, reverse=descending)
            ranked = [*numbers, *(point for point in points if isnan(point.value))]
            found += ranked[: int(count)]
        return found


class CountValues(Struct, frozen=True):
    """`count_values("label", vector)`: how often each value is there, the value as a label."""

    label: str
    vector: Node[Vector]
    grouping: Grouping

    def evaluate(self, at: Moment) -> Vector:
        """A point a group and value."""
        counts: dict[Group, float] = {}
        for point in self.vector.evaluate(at):
            name, labels = self.grouping.group(point)
            text = go_fixed(point.value)
            if self.grouping.without and self.label in ("__name__", *self.grouping.labels):
                group = (name, labels)
            elif self.label == "__name__":
                group = (text, labels)
            else:
                group = (name, with_label(labels, self.label, text))
            counts[group] = counts.get(group, 0.0) + 1
        return distinct([Point(*group, count) for group, count in counts.items()])
