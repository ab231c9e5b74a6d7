"""Functions of numbers and instant vectors.

Source: https://prometheus.io/docs/prometheus/latest/querying/functions/
"""

from __future__ import annotations

import math
from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, datetime
from math import isnan, nan
from typing import Any, Final

from msgspec import Struct

from agent.promql.arithmetic import atanh, divide, go_max, go_min, logarithm, quiet, sign, sinh, whole
from agent.promql.points import Labels, Moment, Node, Point, QueryError, Range, Vector, distinct, nameless, with_label
from agent.promql.quantiles import histogram_quantile

MATHS: Final[dict[str, Callable[[float], float]]] = {
    "abs": abs,
    "acos": quiet(math.acos),
    "acosh": quiet(math.acosh),
    "asin": quiet(math.asin),
    "asinh": quiet(math.asinh),
    "atan": math.atan,
    "atanh": atanh,
    "ceil": whole(math.ceil),
    "cos": quiet(math.cos),
    "cosh": quiet(math.cosh),
    "deg": lambda value: value * 180 / math.pi,
    "exp": quiet(math.exp),
    "floor": whole(math.floor),
    "ln": logarithm(math.log),
    "log10": logarithm(math.log10),
    "log2": logarithm(math.log2),
    "rad": lambda value: value * math.pi / 180,
    "sgn": sign,
    "sin": quiet(math.sin),
    "sinh": sinh,
    "sqrt": quiet(math.sqrt),
    "tan": quiet(math.tan),
    "tanh": math.tanh,
}
LONGEST: Final = 65_536  # characters of a label that an expression makes
ERA: Final = 400, 146_097 * 86_400  # years and seconds after which the calendar repeats itself
DATES: Final[dict[str, Callable[[datetime, int], int]]] = {  # by a date, and years to add to it
    "minute": lambda date, years: date.minute,
    "hour": lambda date, years: date.hour,
    "day_of_week": lambda date, years: date.isoweekday() % 7,
    "day_of_month": lambda date, years: date.day,
    "day_of_year": lambda date, years: date.timetuple().tm_yday,
    "days_in_month": lambda date, years: monthrange(date.year, date.month)[1],
    "month": lambda date, years: date.month,
    "year": lambda date, years: date.year + years,
}


class Time(Struct, frozen=True):
    """`time()`."""

    def evaluate(self, at: Moment) -> float:
        """Unix seconds."""
        return at.time_ms / 1000


class ToVector(Struct, frozen=True):
    """`vector(1)`."""

    number: Node[float]

    def evaluate(self, at: Moment) -> Vector:
        """One point without labels."""
        return [Point("", (), self.number.evaluate(at))]


class ToScalar(Struct, frozen=True):
    """`scalar(vector)`."""

    vector: Node[Vector]

    def evaluate(self, at: Moment) -> float:
        """The value of the only point; NaN where there is none, or several."""
        points = self.vector.evaluate(at)
        return points[0].value if len(points) == 1 else nan


class Mapped(Struct, frozen=True):
    """A function of each element's value; the numbers that it takes besides are the same for all."""

    function: Callable[..., float]
    vector: Node[Vector]
    numbers: tuple[Node[float], ...] = ()

    def evaluate(self, at: Moment) -> Vector:
        """A point an element, without its name."""
        numbers, function = [one.evaluate(at) for one in self.numbers], self.function
        return distinct([Point("", labels, function(value, *numbers)) for _, labels, value in self.vector.evaluate(at)])


class Clamp(Struct, frozen=True):
    """`clamp(vector, 0, 1)`; empty where the least is larger than the most."""

    vector: Node[Vector]
    least: Node[float]
    most: Node[float]

    def evaluate(self, at: Moment) -> Vector:
        """A point an element."""
        points = self.vector.evaluate(at)
        least, most = self.least.evaluate(at), self.most.evaluate(at)
        if most < least:
            return []
        return distinct([Point("", labels, go_max(least, go_min(most, value))) for _, labels, value in points])


class Sorted(Struct, frozen=True):
    """`sort` and `sort_desc`; NaN comes last."""

    vector: Node[Vector]
    descending: bool

    def evaluate(self, at: Moment) -> Vector:
        """The same elements in order."""
        points = self.vector.evaluate(at)
        numbers = [point for point in points if not isnan(point.value)]
        numbers.sort(key=lambda point: point.value, reverse=self.descending)
        return numbers + [point for point in points if isnan(point.value)]


class Timestamps(Struct, frozen=True):
    """`timestamp(selector)`: when each sample was taken, Unix seconds."""

    times: Callable[[Moment], Vector]

    def evaluate(self, at: Moment) -> Vector:
        """A point an element."""
        return nameless(self.times(at))


class Absent(Struct, frozen=True):
    """`absent` and `absent_over_time`: one point where there is nothing, with the labels that the selector fixes."""

    operand: Node[Any]
    labels: Labels

    def evaluate(self, at: Moment) -> Vector:
        """A point, or none."""
        found = self.operand.evaluate(at)
        return [] if (found.runs if isinstance(found, Range) else found) else [Point("", self.labels, 1.0)]


class HistogramQuantile(Struct, frozen=True):
    """`histogram_quantile(0.9, buckets)`, of classic histograms."""

    share: Node[float]
    vector: Node[Vector]

    def evaluate(self, at: Moment) -> Vector:
        """A point a histogram."""
        return histogram_quantile(self.share.evaluate(at), self.vector.evaluate(at))


class LabelReplace(Struct, frozen=True):
    """`label_replace(vector, target, replacement, source, pattern)`; `expand` makes the new value of the old one, None
    where the pattern does not match.
    """

    vector: Node[Vector]
    target: str
    source: str
    expand: Callable[[str], str | None]

    def evaluate(self, at: Moment) -> Vector:
        """The elements, with their new labels."""
        return distinct([self._replaced(point) for point in self.vector.evaluate(at)])

    def _replaced(self, point: Point) -> Point:
        text = point.name if self.source == "__name__" else dict(point.labels).get(self.source, "")
        value = self.expand(text)
        return point if value is None else relabelled(point, self.target, value)


class LabelJoin(Struct, frozen=True):
    """`label_join(vector, target, separator, source…)`."""

    vector: Node[Vector]
    target: str
    separator: str
    sources: tuple[str, ...]

    def evaluate(self, at: Moment) -> Vector:
        """The elements, with their new labels."""
        return distinct([self._joined(point) for point in self.vector.evaluate(at)])

    def _joined(self, point: Point) -> Point:
        known = dict(point.labels) | {"__name__": point.name}
        return relabelled(point, self.target, self.separator.join([known.get(one, "") for one in self.sources]))


def relabelled(point: Point, label: str, value: str) -> Point:
    """The point with a label set, which may be its name."""
    if len(value) > LONGEST:
        raise QueryError(f"a label longer than {LONGEST} characters")
    if label == "__name__":
        return point._replace(name=value)
    return point._replace(labels=with_label(point.labels, label, value))


def dated(part: Callable[[datetime, int], int]) -> Callable[[float], float]:
    """A part of the date that a number is, in Unix seconds and UTC; NaN where it is none."""

    def called(seconds: float) -> float:
        try:
            eras, rest = divmod(math.trunc(seconds), ERA[1])
        except (ValueError, OverflowError):
            return nan
        return float(part(datetime.fromtimestamp(rest, UTC), eras * ERA[0]))

    return called


def rounded(value: float, to: float = 1.0) -> float:
    """The nearest multiple of a number; halves go up."""
    inverse = 1.0 / to if to else math.copysign(math.inf, to)
    return divide(whole(math.floor)(value * inverse + 0.5), inverse)
