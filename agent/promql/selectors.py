"""Selectors: which series an expression looks at, in the latest round or in the window.

Which series of a set match is found once for the set, which stays the same from round to round; after that a selector
picks values by their position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct

from agent.exposition import openmetrics_bound
from agent.model import Histogram, MetricBatch, Series, SeriesSet, Summary
from agent.patterns import compile_pattern
from agent.promql.points import Labels, Moment, Point, QueryError, Range, Run, Vector, with_label

LOOKBACK_MS: Final = 300_000  # how far back an instant selector with an offset looks, as Prometheus does
_SUFFIXES: Final = {
    "histogram": ("_bucket", "_count", "_sum"),
    "gaugehistogram": ("_bucket", "_count", "_sum"),
    "summary": ("", "_count", "_sum"),
}
_INF: Final = float("inf")


def names_of(series: SeriesSet) -> frozenset[str]:
    """The metrics that selectors find in a set, the parts of histograms and summaries among them."""
    found: frozenset[str] | None = series.cache.get("names")
    if found is None:
        suffixes = ((one.name, _SUFFIXES.get(one.kind, ("",))) for one in series.series)
        found = series.cache["names"] = frozenset(name + suffix for name, some in suffixes for suffix in some)
    return found


class Matcher(Struct, frozen=True):
    """A condition on one label; `op` is `=`, `!=`, `=~` or `!~`. A label that is missing is the empty text."""

    name: str
    op: str
    value: str

    def compiled(self) -> Callable[[str], bool]:
        """The condition as a function; raises ValueError for a pattern that RE2 does not know."""
        value = self.value
        if self.op == "=":
            return lambda text: text == value
        if self.op == "!=":
            return lambda text: text != value
        pattern = compile_pattern(f"(?s:{value})")
        if self.op == "=~":
            return lambda text: pattern.fullmatch(_sound(text)) is not None
        return lambda text: pattern.fullmatch(_sound(text)) is None


def _sound(text: str) -> str:
    """A label as it is delivered: a file name of bytes that are no UTF-8 has replacements in it, which RE2 can read."""
    return text.encode("utf-8", "replace").decode()


class Place(NamedTuple):
    """A series that matches: what it is called, and its position among a batch's values."""

    name: str
    labels: Labels
    at: int


class Places(NamedTuple):
    """The series of a set that match: those of one number, and those of which a part may (by their position)."""

    plain: list[Place]
    compound: list[int]


class Selector:
    """`name{label="value"}`: conditions on series; `name` is empty where none is fixed. Equal ones are one."""

    __slots__ = ("_conditions", "matchers", "name")

    def __init__(self, name: str, matchers: Sequence[Matcher]) -> None:
        self.name, self.matchers = name, tuple(matchers)
        self._conditions = [(one.name, one.compiled()) for one in self.matchers]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and (self.name, self.matchers) == (other.name, other.matchers)

    def __hash__(self) -> int:
        return hash((self.name, self.matchers))

    def __repr__(self) -> str:
        return self.name + "{" + ",".join(f"{one.name}{one.op}{one.value!r}" for one in self.matchers) + "}"

    def matches(self, name: str, labels: Labels) -> bool:
        """Whether a series is meant."""
        if self.name and name != self.name:
            return False
        if not self._conditions:
            return True
        known = dict(labels)
        known["__name__"] = name
        return all(holds(known.get(label, "")) for label, holds in self._conditions)

    def places(self, series: SeriesSet) -> Places:
        """The series of a set that match."""
        found: Places | None = series.cache.get(self)
        if found is None:
            found = series.cache[self] = self._find(series.series)
        return found

    def _find(self, series: Sequence[Series]) -> Places:
        found = Places([], [])
        for at, one in enumerate(series):
            if (suffixes := _SUFFIXES.get(one.kind)) is not None:
                if not self.name or any(self.name == one.name + suffix for suffix in suffixes):
                    found.compound.append(at)
            elif self.matches(one.name, one.labels):
                found.plain.append(Place(one.name, one.labels, at))
        return found

    def points(self, batch: MetricBatch) -> Iterator[tuple[Point, int]]:
        """The points of a batch that match, each with its position there."""
        plain, compound = self.places(batch.series)
        values: Sequence[Any] = batch.values
        for name, labels, at in plain:
            yield Point(name, labels, values[at]), at
        for at in compound:
            for point in parts(batch.series.series[at], values[at]):
                if self.matches(point.name, point.labels):
                    yield point, at


def parts(series: Series, value: Any) -> Iterator[Point]:
    """The series that a histogram or summary is in Prometheus' text format; a native histogram has none."""
    name, labels = series.name, series.labels
    if isinstance(value, Histogram):
        for bound, count in zip((*value.bounds, _INF), value.counts, strict=True):
            yield Point(f"{name}_bucket", with_label(labels, "le", openmetrics_bound(bound)), count)
        yield Point(f"{name}_count", labels, value.counts[-1])
        yield Point(f"{name}_sum", labels, value.sum)
    elif isinstance(value, Summary):
        for quantile, at in value.quantiles:
            yield Point(name, with_label(labels, "quantile", openmetrics_bound(quantile)), at)
        yield Point(f"{name}_count", labels, value.count)
        yield Point(f"{name}_sum", labels, value.sum)
    elif isinstance(value, float):
        yield Point(name, labels, value)


class Instant(Struct, frozen=True):
    """A selector of the latest round, or of what was the latest some time ago."""

    selector: Selector
    offset_ms: int = 0

    def evaluate(self, at: Moment) -> Vector:
        """The points that match."""
        if self.offset_ms:
            return self._past(at)
        return [point for batch in at.batches for point, _ in self.selector.points(batch)]

    def times(self, at: Moment) -> Vector:
        """The same with the time of each sample (Unix seconds) for its value."""
        if self.offset_ms:
            end = at.time_ms - self.offset_ms
            runs = _window(at).cut(self.selector, end - LOOKBACK_MS, end, ends=True)
            return [Point(run.name, run.labels, run.times[-1] / 1000) for run in runs]
        found = []
        for batch in at.batches:
            for point, place in self.selector.points(batch):
                extra = batch.extras.get(place)
                time_ms = (extra.time_ms if extra is not None else 0) or batch.time_ms
                found.append(point._replace(value=time_ms / 1000))
        return found

    def _past(self, at: Moment) -> Vector:
        end = at.time_ms - self.offset_ms
        runs = _window(at).cut(self.selector, end - LOOKBACK_MS, end, ends=True)
        return [Point(run.name, run.labels, run.values[-1]) for run in runs]


class Ranged(Struct, frozen=True):
    """A selector of the samples of some time: `name[5m]`."""

    selector: Selector
    range_ms: int
    offset_ms: int = 0

    def evaluate(self, at: Moment) -> Range:
        """The samples of the range by series; a series without any is not there."""
        window = _window(at)
        if at.brief:
            start, end = window.bounds()
            return Range(start, end, window.cut(self.selector, start - 1, end))
        end = at.time_ms - self.offset_ms
        return Range(end - self.range_ms, end, window.cut(self.selector, end - self.range_ms, end))


def _window(at: Moment) -> Any:
    if at.window is None:
        raise QueryError("needs what was seen before, and nothing is kept here")
    return at.window


__all__ = ["Instant", "Matcher", "Ranged", "Run", "Selector", "parts"]
