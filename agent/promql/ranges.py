"""Functions of ranges: from the samples of a series in some time to one number.

`rate`, `increase` and `delta` extrapolate to the bounds of the range as Prometheus does, and as its documentation says:
as far as the series seems to have been there, and a counter never below zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import isinf, isnan, nan
from typing import Final

from msgspec import Struct

from agent.promql.arithmetic import divide, largest, mean, root, smallest, total, variance_over_time
from agent.promql.points import Moment, Node, Point, Range, Run, Vector, distinct
from agent.promql.quantiles import quantile

Fold = Callable[[Sequence[float]], float]
Estimate = Callable[[Run, Range], float | None]


def _extrapolated(run: Run, within: Range, *, counter: bool, per: float = 1.0) -> float | None:
    """The change over the whole range."""
    times, values = run.times, run.values
    if len(values) < 2:
        return None
    change = values[-1] - values[0]
    if counter:
        change += sum([before for before, after in pairwise(values) if after < before])
    covered = (times[-1] - times[0]) / 1000
    between = covered / (len(values) - 1)
    to_start, to_end = (times[0] - within.start_ms) / 1000, (within.end_ms - times[-1]) / 1000
    if to_start >= between * 1.1:
        to_start = between / 2
    if counter and change > 0 and values[0] >= 0:
        to_start = min(to_start, covered * (values[0] / change))
    if to_end >= between * 1.1:
        to_end = between / 2
    return change * ((covered + to_start + to_end) / covered / per)  # in Prometheus' order, to the last digit


def _rate(run: Run, within: Range) -> float | None:
    return _extrapolated(run, within, counter=True, per=(within.end_ms - within.start_ms) / 1000)


def _irate(run: Run, within: Range) -> float | None:
    if len(run.values) < 2:
        return None
    before, last = run.values[-2:]
    return (last if last < before else last - before) / ((run.times[-1] - run.times[-2]) / 1000)


def _idelta(run: Run, within: Range) -> float | None:
    return run.values[-1] - run.values[-2] if len(run.values) > 1 else None


def _line(run: Run, from_ms: int) -> tuple[float, float]:
    """Slope a second, and value at a time, of the line through the samples with the least squares."""
    first = run.values[0]
    if all(value == first for value in run.values):
        return (nan, nan) if isinf(first) else (0.0, first)
    xs = [(time - from_ms) / 1000 for time in run.times]
    count, sum_x, sum_y = len(xs), total(xs), total(run.values)
    sum_xy = total([x * y for x, y in zip(xs, run.values, strict=True)])
    slope = divide(sum_xy - sum_x * sum_y / count, total([x * x for x in xs]) - sum_x * sum_x / count)
    return slope, sum_y / count - slope * sum_x / count


def _deriv(run: Run, within: Range) -> float | None:
    return _line(run, run.times[0])[0] if len(run.values) > 1 else None


def _changes(run: Run, within: Range) -> float:
    pairs = pairwise(run.values)
    return float(sum([now != before and not (isnan(now) and isnan(before)) for before, now in pairs]))


def _resets(run: Run, within: Range) -> float:
    return float(sum([now < before for before, now in pairwise(run.values)]))


def _fold(fold: Fold) -> Estimate:
    return lambda run, within: fold(run.values)


ESTIMATES: Final[dict[str, Estimate]] = {
    "rate": _rate,
    "increase": lambda run, within: _extrapolated(run, within, counter=True),
    "delta": lambda run, within: _extrapolated(run, within, counter=False),
    "irate": _irate,
    "idelta": _idelta,
    "deriv": _deriv,
    "changes": _changes,
    "resets": _resets,
    "avg_over_time": _fold(mean),
    "min_over_time": _fold(smallest),
    "max_over_time": _fold(largest),
    "sum_over_time": _fold(total),
    "count_over_time": _fold(lambda values: float(len(values))),
    "stddev_over_time": _fold(lambda values: root(variance_over_time(values))),
    "stdvar_over_time": _fold(variance_over_time),
    "last_over_time": _fold(lambda values: values[-1]),
    "present_over_time": _fold(lambda values: 1.0),
}
# What two rounds a second apart tell as well as a longer range does, if less smoothly: how fast, and how much now.
BRIEF: Final = frozenset(("rate", "irate", "avg_over_time", "last_over_time"))
PATIENT: Final = frozenset((*ESTIMATES, "quantile_over_time", "predict_linear", "absent_over_time")) - BRIEF


class OverTime(Struct, frozen=True):
    """A function of a range alone."""

    function: str
    range: Node[Range]

    def evaluate(self, at: Moment) -> Vector:
        """A point a series; series with too few samples have none."""
        estimate, within = ESTIMATES[self.function], self.range.evaluate(at)
        named = self.function == "last_over_time"
        values = [(run, estimate(run, within)) for run in within.runs]
        return distinct(
            [Point(run.name if named else "", run.labels, value) for run, value in values if value is not None]
        )


class QuantileOverTime(Struct, frozen=True):
    """`quantile_over_time(0.9, name[5m])`."""

    share: Node[float]
    range: Node[Range]

    def evaluate(self, at: Moment) -> Vector:
        """A point a series."""
        share = self.share.evaluate(at)
        return distinct([Point("", run.labels, quantile(share, run.values)) for run in self.range.evaluate(at).runs])


class Predicted(Struct, frozen=True):
    """`predict_linear(name[1h], 4 * 3600)`: the value so many seconds from now, by the line through the samples."""

    range: Node[Range]
    seconds: Node[float]

    def evaluate(self, at: Moment) -> Vector:
        """A point a series of two samples or more."""
        seconds = self.seconds.evaluate(at)
        found = []
        for run in self.range.evaluate(at).runs:
            if len(run.values) > 1:
                slope, value = _line(run, at.time_ms)
                found.append(Point("", run.labels, slope * seconds + value))
        return distinct(found)
