"""Operators: unary minus, arithmetic, comparisons and sets, between numbers and vectors, with their matching of labels.

Source: https://prometheus.io/docs/prometheus/latest/querying/operators/
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from agent.promql.arithmetic import ARITHMETIC, COMPARISON
from agent.promql.points import Labels, Moment, Node, Point, QueryError, Vector, distinct, keys, others, with_label

Key = tuple[str, Labels] | Labels
SETS: Final = ("and", "or", "unless")


class NegativeNumber(Struct, frozen=True):
    """`-` before a number."""

    operand: Node[float]

    def evaluate(self, at: Moment) -> float:
        """Its opposite."""
        return -self.operand.evaluate(at)


class Negative(Struct, frozen=True):
    """`-` before a vector."""

    operand: Node[Vector]

    def evaluate(self, at: Moment) -> Vector:
        """The opposite of each element."""
        return distinct([Point("", labels, -value) for _, labels, value in self.operand.evaluate(at)])


class BetweenNumbers(Struct, frozen=True):
    """Two numbers; a comparison is 1 or 0."""

    op: str
    left: Node[float]
    right: Node[float]

    def evaluate(self, at: Moment) -> float:
        """The result."""
        left, right = self.left.evaluate(at), self.right.evaluate(at)
        if (compare := COMPARISON.get(self.op)) is not None:
            return float(compare(left, right))
        return ARITHMETIC[self.op](left, right)


class WithNumber(Struct, frozen=True):
    """A vector and a number, on the left where `swapped`. A comparison filters; with `bool` it is 1 or 0."""

    op: str
    vector: Node[Vector]
    number: Node[float]
    swapped: bool = False
    as_bool: bool = False

    def evaluate(self, at: Moment) -> Vector:
        """The result by element."""
        points, number = self.vector.evaluate(at), self.number.evaluate(at)
        if (compare := COMPARISON.get(self.op)) is None:
            return self._calculate(points, number)
        if self.swapped:
            held = [compare(number, point.value) for point in points]
        else:
            held = [compare(point.value, number) for point in points]
        if self.as_bool:
            return distinct([Point("", point.labels, float(one)) for point, one in zip(points, held, strict=True)])
        return distinct([point for point, one in zip(points, held, strict=True) if one])

    def _calculate(self, points: Vector, number: float) -> Vector:
        operate = ARITHMETIC[self.op]
        if self.swapped:
            return distinct([Point("", labels, operate(number, value)) for _, labels, value in points])
        return distinct([Point("", labels, operate(value, number)) for _, labels, value in points])


class Matching(Struct, frozen=True):
    """How elements of two vectors find each other: by all labels, by those named (`on`), or by all but those.

    `many` is the side of which several may match one element of the other ("", "left", "right"); `include` are the
    labels that it then takes over from the other side.
    """

    on: bool = False
    labels: frozenset[str] = frozenset()
    many: str = ""
    include: tuple[str, ...] = ()

    def key(self, point: Point) -> Key:
        """What is the same for elements that match."""
        if self.on:
            found = keys(point.labels, self.labels)
            return (point.name, found) if "__name__" in self.labels else found
        return others(point.labels, self.labels) if self.labels else point.labels

    def result(self, many: Point, one: Point, *, named: bool) -> tuple[str, Labels]:
        """Name and labels of what two elements make; `many` is the left one where none may be several."""
        name, labels = (many.name if named else ""), many.labels
        if not self.many:
            if self.on:
                name, labels = (name if "__name__" in self.labels else ""), keys(labels, self.labels)
            elif self.labels:
                labels = others(labels, self.labels)
        if self.include:
            given = dict(one.labels)
            for label in self.include:
                if label == "__name__":
                    name = one.name
                else:
                    labels = with_label(labels, label, given.get(label, ""))
        return name, labels


class Sets(Struct, frozen=True):
    """`and`, `or`, `unless`."""

    op: str
    left: Node[Vector]
    right: Node[Vector]
    matching: Matching

    def evaluate(self, at: Moment) -> Vector:
        """The elements that stay."""
        left, right, key = self.left.evaluate(at), self.right.evaluate(at), self.matching.key
        if self.op == "or":
            known = {key(point) for point in left}
            return distinct([*left, *(point for point in right if key(point) not in known)])
        known = {key(point) for point in right}
        return [point for point in left if (key(point) in known) == (self.op == "and")]


class BetweenVectors(Struct, frozen=True):
    """Arithmetic or a comparison between the elements of two vectors that match."""

    op: str
    left: Node[Vector]
    right: Node[Vector]
    matching: Matching
    as_bool: bool = False

    def evaluate(self, at: Moment) -> Vector:
        """The result by pair."""
        left, right = self.left.evaluate(at), self.right.evaluate(at)
        if not left or not right:
            return []
        swapped = self.matching.many == "right"
        many, one = (right, left) if swapped else (left, right)
        unique = self._unique(one, "left" if swapped else "right")
        seen: set[object] = set()
        found = []
        for point in many:
            key = self.matching.key(point)
            if (match := unique.get(key)) is None:
                continue
            value = self._value(match.value, point.value) if swapped else self._value(point.value, match.value)
            if value is None:
                continue
            name, labels = self.matching.result(point, match, named=self.op in COMPARISON and not self.as_bool)
            self._refuse_twice(seen, (key, name, labels) if self.matching.many else key)
            found.append(Point(name, labels, value))
        return distinct(found)

    def _unique(self, points: Vector, side: str) -> dict[Key, Point]:
        found: dict[Key, Point] = {}
        for point in points:
            key = self.matching.key(point)
            if key in found:
                raise QueryError(f"several elements on the {side} of {self.op} match the same: {_shown(point)}")
            found[key] = point
        return found

    def _value(self, left: float, right: float) -> float | None:
        """The number that two elements make; None where a comparison filters them out."""
        if (compare := COMPARISON.get(self.op)) is None:
            return ARITHMETIC[self.op](left, right)
        held = compare(left, right)
        return float(held) if self.as_bool else left if held else None

    def _refuse_twice(self, seen: set[object], key: object) -> None:
        if key in seen:
            how = "they differ in labels that group_left takes away" if self.matching.many else "group_left allows that"
            raise QueryError(f"several elements match one of the other side of {self.op}; {how}")
        seen.add(key)


def _shown(point: Point) -> str:
    return point.name + "{" + ", ".join(f'{name}="{value}"' for name, value in point.labels) + "}"
