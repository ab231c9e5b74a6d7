"""One alerting rule at work: which of its alerts wait, which fire, and since when.

As in Prometheus: an alert is active while the expression answers it; it fires once that has lasted for the time `for`,
and goes on for `keep_firing_for` after the expression's last answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from agent.promql import Labels, Moment, Point, Query, QueryError, parse_query
from agent.rules.inforce import InForce
from agent.templates import Template, compile_template
from config.rules import SEVERITIES, Rule, Severity

MOST: Final = 10_000  # alerts of one rule
LONGEST: Final = 4096  # characters of a label or an annotation


class Alert(Struct):
    """An alert that is active: labels and annotations as they were rendered last, value, and since when (Unix seconds).

    `series` are the labels that the expression answered. `began`, and `kept_since`, when the expression stopped
    answering it, are seconds of the steady clock.
    """

    series: Labels
    labels: dict[str, str]
    annotations: dict[str, str]
    value: float
    active_since: float
    began: float
    firing: bool = False
    kept_since: float | None = None
    rendered: float | None = None  # the value that the annotations are of


class Measured(Struct, frozen=True):
    """A value that the rule holds against its limit, and whether it is beyond that."""

    labels: Labels
    value: float
    beyond: bool


class Seen(NamedTuple):
    """What was judged, when, and what it answered."""

    query: Query
    at: Moment
    points: list[Point]


class Alerting:
    """A rule with its alerts. `patient`: its `for` is waited for. Raises ValueError for what cannot be judged here."""

    def __init__(self, found: InForce, *, patient: bool = True) -> None:
        assert isinstance(found.rule, Rule)  # noqa: S101  # by the caller
        rule = self.rule = found.rule
        self.name, self.kind, self.origin = rule.alert, found.kind, found.origin
        self.query: Query = parse_rule(rule.expr or "")
        self.hold = float(rule.hold or 0) if patient else 0.0
        self._keep = float(rule.keep_firing_for or 0) if patient else 0.0
        self._labels = {name: compile_template(text) for name, text in rule.labels.items()}
        self._annotations = {name: compile_template(text) for name, text in rule.annotations.items()}
        self._active: dict[Labels, Alert] = {}
        self._seen: Seen | None = None  # while there is an answer
        self.error = ""

    def adopt(self, other: Alerting) -> None:
        """Go on with the alerts of the same rule; their words may have changed."""
        self._active, self._seen, self.error = other._active, other._seen, other.error
        for one in self._active.values():
            one.rendered = None

    @property
    def alerts(self) -> list[Alert]:
        """Those that are active: waiting or firing."""
        return list(self._active.values())

    def look(self, at: Moment, steady: float) -> None:
        """Judge a moment; `steady` are seconds of a clock that nobody sets."""
        try:
            answer = self.query.evaluate(at)
            points = answer if isinstance(answer, list) else [Point("", (), float(answer))]  # as in Prometheus
            self._update(at.time, steady, points)
            self._seen, self.error = Seen(self.query, at, points), ""
        except QueryError as error:  # what is active stays so, as in Prometheus: nobody knows better
            self._seen, self.error = None, str(error)

    @property
    def measured(self) -> list[Measured]:
        """The values that the last look held against the limit; calculated for whoever asks, which is seldom."""
        if self._seen is None:
            return []
        query, at, points = self._seen
        beyond = {(point.name, point.labels) for point in points}
        try:
            values = query.measure(at)
        except QueryError:  # a part alone may have two elements of one kind, which the rest would have kept apart
            return []
        return [Measured(labels, value, (name, labels) in beyond) for name, labels, value in values]

    def _update(self, now: float, steady: float, points: list[Point]) -> None:
        rendered = {self._rendered(point): point for point in points}
        if len(rendered) < len(points):
            raise QueryError("two alerts would have the same labels")
        for key, alert in list(self._active.items()):
            if key not in rendered and self._is_over(alert, steady):
                del self._active[key]
        if len(self._active.keys() | rendered.keys()) > MOST:
            raise QueryError(f"more than {MOST} alerts")
        for key, point in rendered.items():
            if (known := self._active.get(key)) is None:
                known = self._active[key] = Alert(point.labels, dict(key), {}, point.value, now, steady)
            if known.rendered != point.value:
                known.annotations, known.rendered = _render(self._annotations, point), point.value
            known.value, known.kept_since = point.value, None
            known.firing = known.firing or steady - known.began >= self.hold

    def _is_over(self, alert: Alert, steady: float) -> bool:
        """Whether an alert ends that the expression does not answer."""
        if not alert.firing or not self._keep:
            return True
        if alert.kept_since is None:
            alert.kept_since = steady
        return steady - alert.kept_since >= self._keep

    def _rendered(self, point: Point) -> Labels:
        """The labels of the alert that a point is."""
        own = dict(point.labels)
        labels = own | _render(self._labels, point) | {"alertname": self.name}
        return tuple(sorted((name, value) for name, value in labels.items() if value))


def parse_rule(text: str) -> Query:
    """The expression of a rule; raises ValueError."""
    if (query := parse_query(text)).kind == "string":
        raise ValueError("is a text: a rule needs a number or series")
    return query


def severity_of(labels: Mapping[str, str]) -> Severity:
    """The severity that labels name; `warning` where they name none that we know, as others' rule files do."""
    word = labels.get("severity", "").lower()
    return next((one for one in SEVERITIES if one == word), "warning")


def _render(templates: Mapping[str, Template], point: Point) -> dict[str, str]:
    """Templates see the name of the series among its labels, as in Prometheus."""
    labels = {**dict(point.labels), **({"__name__": point.name} if point.name else {})}
    return {name: template.render(labels, point.value)[:LONGEST] for name, template in templates.items()}
