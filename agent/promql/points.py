"""What expressions are about: points of an instant, samples of a range, and the moment at which both are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from msgspec import Struct

from agent.model import MetricBatch

if TYPE_CHECKING:
    from agent.promql.window import Window

Labels = tuple[tuple[str, str], ...]  # sorted, without `__name__`
T_co = TypeVar("T_co", covariant=True)


class QueryError(Exception):
    """An expression that is sound and yet has no answer with these data, as when two series match one."""


class Point(NamedTuple):
    """One element of an instant vector; `name` is empty where an operation dropped it."""

    name: str
    labels: Labels
    value: float


Vector = list[Point]


class Run(NamedTuple):
    """The samples of one series in a range: their times (Unix ms) and values, oldest first; never empty."""

    name: str
    labels: Labels
    times: Sequence[int]
    values: Sequence[float]


class Range(NamedTuple):
    """A range vector, and the bounds it was cut from (Unix ms; the start itself is outside)."""

    start_ms: int
    end_ms: int
    runs: list[Run]


class Moment(Struct, frozen=True):
    """What is known at a time (Unix seconds): the latest batch of each collector, and what `window` kept of others.

    `brief`: there were two rounds shortly after another and no more. A range then is what lies between those two,
    however long the expression has it.
    """

    time: float
    batches: Sequence[MetricBatch]
    window: Window | None = None
    brief: bool = False

    @property
    def time_ms(self) -> int:
        """The time in Unix milliseconds."""
        return round(self.time * 1000)


class Node(Protocol[T_co]):
    """Part of an expression, as `agent.promql.parse` builds it."""

    def evaluate(self, at: Moment) -> T_co:
        """Its answer at a moment; raises `QueryError`."""
        ...


T = TypeVar("T")


class Constant(Struct, Generic[T], frozen=True):
    """A number or a string as it is written."""

    value: T

    def evaluate(self, at: Moment) -> T:
        """Itself."""
        return self.value


def nameless(points: Vector) -> Vector:
    """The same without names; raises `QueryError` where that makes two of them one."""
    return distinct([Point("", labels, value) for _, labels, value in points])


def distinct(points: Vector) -> Vector:
    """The same; raises `QueryError` where two have one label set."""
    if len(points) > 1 and len({(name, labels) for name, labels, _ in points}) < len(points):
        raise QueryError("the result would hold two elements with the same labels")
    return points


def keys(labels: Labels, names: frozenset[str]) -> Labels:
    """The labels of these names."""
    return tuple([pair for pair in labels if pair[0] in names])


def others(labels: Labels, names: frozenset[str]) -> Labels:
    """The labels of all but these names."""
    return tuple([pair for pair in labels if pair[0] not in names])


def with_label(labels: Labels, name: str, value: str) -> Labels:
    """The labels with one set, or taken away where its value is empty."""
    rest: list[Any] = [pair for pair in labels if pair[0] != name]
    return tuple(sorted([*rest, (name, value)])) if value else tuple(rest)
