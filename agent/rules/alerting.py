"""One alerting rule at work: which of its alerts wait, which fire, and since when.

As in Prometheus: an alert is active while the expression answers it; it fires once that has lasted for the time `for`,
and goes on for `keep_firing_for` after the expression's last answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import Any

from msgspec import Struct

from agent.promql import Labels, Moment, Point, Query, QueryError, parse_query
from agent.rules.inforce import InForce
from agent.templates import Template, compile_template
from config.rules import SEVERITIES, Rule, Severity


class Alert(Struct):
    """An alert that is active: labels and annotations as they were rendered last, value, and times (Unix seconds).

    `series` are the labels that the expression answered. `firing_since` is 0 while it waits; `kept_since` is when the
    expression stopped answering it, 0: it answers.
    """

    series: Labels
    labels: dict[str, str]
    annotations: dict[str, str]
    value: float
    active_since: float
    firing_since: float = 0.0
    kept_since: float = 0.0

    @property
    def firing(self) -> bool:
        """Whether it fires."""
        return self.firing_since > 0


class Measured(Struct, frozen=True):
    """A value that the rule holds against its limit, and whether it is beyond that."""

    labels: Labels
    value: float
    beyond: bool


class Alerting:
    """A rule with its alerts. `patient`: its `for` is waited for. Raises ValueError for what cannot be judged here."""

    def __init__(self, found: InForce, *, patient: bool = True) -> None:
        assert isinstance(found.rule, Rule)  # noqa: S101  # by the caller
        self.found, rule = found, found.rule
        self.rule = rule
        self.name, self.kind, self.origin = rule.alert, found.kind, found.origin
        self.query: Query = parse_rule(rule.expr or "")
        self.hold = float(rule.hold or 0) if patient else 0.0
        self._keep = float(rule.keep_firing_for or 0) if patient else 0.0
        self._labels = {name: compile_template(text) for name, text in rule.labels.items()}
        self._annotations = {name: compile_template(text) for name, text in rule.annotations.items()}
        self._active: dict[Labels, Alert] = {}
        self.measured: list[Measured] = []
        self.error = ""

    def adopt(self, other: Alerting) -> None:
        """Go on with the alerts of the same rule."""
        self._active, self.measured, self.error = other._active, other.measured, other.error

    @property
    def alerts(self) -> list[Alert]:
        """Those that are active: waiting or firing."""
        return list(self._active.values())

    def look(self, at: Moment) -> None:
        """Judge a moment."""
        try:
            answer = self.query.evaluate(at)
            self.measured = self._measure(at, answer)
            self._update(at.time, self._points(answer))
            self.error = ""
        except QueryError as error:
            self.error, self.measured = str(error), []
            self._update(at.time, [])

    @staticmethod
    def _points(answer: Any) -> list[Point]:
        """What fires; a number is one alert without labels, as in Prometheus."""
        return answer if isinstance(answer, list) else [Point("", (), float(answer))]

    def _measure(self, at: Moment, answer: Any) -> list[Measured]:
        if (limit := self.query.limit) is None:
            return []
        beyond = {(point.name, point.labels) for point in answer}
        return [
            Measured(point.labels, point.value, (point.name, point.labels) in beyond)
            for point in limit.values.evaluate(at)
        ]

    def _update(self, now: float, points: list[Point]) -> None:
        rendered = {self._rendered(point): point for point in points}
        if len(rendered) < len(points):
            raise QueryError("two alerts would have the same labels")
        for key, point in rendered.items():
            known = self._active.get(key)
            if known is None:
                known = self._active[key] = Alert(point.labels, dict(key), {}, nan, now)
            known.value, known.kept_since = point.value, 0.0
            known.annotations = _render(self._annotations, point)
            if not known.firing_since and now - known.active_since >= self.hold:
                known.firing_since = now
        for key, alert in list(self._active.items()):
            if key not in rendered and self._is_over(alert, now):
                del self._active[key]

    def _is_over(self, alert: Alert, now: float) -> bool:
        """Whether an alert ends that the expression does not answer."""
        if not alert.firing or not self._keep:
            return True
        alert.kept_since = alert.kept_since or now
        return now - alert.kept_since >= self._keep

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
    return {name: template.render(labels, point.value) for name, template in templates.items()}
