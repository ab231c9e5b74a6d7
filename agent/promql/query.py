"""An expression that was read: what it looks at, what it answers, and which limit it holds its values against."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final, NamedTuple

from agent.promql.arithmetic import COMPARISON
from agent.promql.functions import Absent
from agent.promql.operators import BetweenNumbers, BetweenVectors, NegativeNumber, Sets, WithNumber
from agent.promql.parse import parse
from agent.promql.points import Constant, Moment, Node, QueryError, Vector
from agent.promql.ranges import PATIENT
from agent.promql.selectors import LOOKBACK_MS, Instant, Ranged, Selector
from agent.promql.window import Window

MARGIN_MS: Final = 60_000  # a range begins before its first sample: what is kept reaches as far back and a round more
ABSENCE: Final = ("absent", "absent_over_time")
_MIRRORED: Final = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "==": "==", "!=": "!="}


class Limit(NamedTuple):
    """The comparison that an alert is about: it holds for `values` `op` `bound`."""

    values: Node[Vector]
    op: str
    bound: float

    @property
    def metric(self) -> str:
        """The metric that the values are, where they are one as it is collected."""
        return self.values.selector.name if isinstance(self.values, Instant) else ""


class Query:
    """An expression. `kind` is scalar, vector or string; `names` are the metrics that it names.

    `is_condition`: it answers only where something is the case, as a comparison does.
    `asks_for_absence`: it may answer where there are no series, of a part of the collectors that says nothing.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._node, self.kind, self._selectors, self._functions = parse(text)
        self.limit = _limit(self._node)
        self.names = frozenset(one.selector.name for one in self._selectors if one.selector.name)
        self.is_condition = _is_condition(self._node)
        self.asks_for_absence = not self._functions.isdisjoint(ABSENCE)

    def evaluate(self, at: Moment) -> Any:
        """A float, a string, or a list of `Point`, by `kind`; raises `QueryError`."""
        return _calculated(self._node, at)

    def measure(self, at: Moment) -> Vector:
        """The values that are held against the limit; none where there is no limit. Raises `QueryError`."""
        found: Vector = [] if self.limit is None else _calculated(self.limit.values, at)
        return found

    def looks_at(self, names: Collection[str]) -> bool:
        """Whether it may look at any of these metrics; a selector without a name may look at all."""
        return bool(names) and any(not one.selector.name or one.selector.name in names for one in self._selectors)

    @property
    def past(self) -> dict[Selector, int]:
        """How far back each selector looks (ms) that looks further than the latest round."""
        found: dict[Selector, int] = {}
        for one in self._selectors:
            if isinstance(one, Ranged):
                reach = one.range_ms + one.offset_ms
            elif one.offset_ms:
                reach = one.offset_ms + LOOKBACK_MS
            else:
                continue
            found[one.selector] = max(found.get(one.selector, 0), reach)
        return found

    @property
    def needs_history(self) -> bool:
        """Whether two rounds shortly after another are not enough to judge it."""
        return any(one.offset_ms for one in self._selectors) or not self._functions.isdisjoint(PATIENT)


def _calculated(node: Node[Any], at: Moment) -> Any:
    try:
        return node.evaluate(at)
    except (ArithmeticError, ValueError) as error:  # one rule must not end the daemon, whatever the numbers are
        raise QueryError(f"cannot be calculated: {error}") from error


def parse_query(text: str) -> Query:
    """Read an expression; raises ValueError with words for people when it is wrong or cannot be evaluated here."""
    return Query(text)


def window_of(queries: Iterable[Query]) -> Window:
    """A window that keeps what these expressions need."""
    wanted: dict[Selector, int] = {}
    for query in queries:
        for selector, reach in query.past.items():
            wanted[selector] = max(wanted.get(selector, 0), reach + MARGIN_MS)
    return Window(wanted)


def _is_condition(node: Node[Any]) -> bool:
    if isinstance(node, Sets):
        return _is_condition(node.left) and (node.op != "or" or _is_condition(node.right))
    if isinstance(node, WithNumber | BetweenVectors):
        return node.op in COMPARISON and not node.as_bool
    return isinstance(node, Absent)


def _limit(node: Node[Any]) -> Limit | None:
    """The comparison with a fixed number that decides; what `and` or `unless` add to it only restricts it."""
    while isinstance(node, Sets) and node.op in ("and", "unless"):
        node = node.left
    if not isinstance(node, WithNumber) or node.op not in COMPARISON or node.as_bool:
        return None
    if (bound := _fixed(node.number)) is None:
        return None
    return Limit(node.vector, _MIRRORED[node.op] if node.swapped else node.op, bound)


def _fixed(node: Node[float]) -> float | None:
    """The number that an expression always is."""
    if isinstance(node, Constant):
        return float(node.value)
    if isinstance(node, NegativeNumber):
        return None if (found := _fixed(node.operand)) is None else -found
    if isinstance(node, BetweenNumbers):
        sides = _fixed(node.left), _fixed(node.right)
        return None if None in sides else node.evaluate(Moment(0.0, ()))
    return None


__all__ = ["Instant", "Limit", "Query", "parse_query", "window_of"]
