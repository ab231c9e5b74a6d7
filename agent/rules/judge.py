"""All rules in force, judged together: once for a check, round after round in the daemon."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent.model import MetricBatch, Series, SeriesSet
from agent.promql import Moment, Point, Query, QueryError, Window, window_of
from agent.rules.alerting import Alerting, parse_rule
from agent.rules.inforce import InForce
from config.rules import Recording, Rule


class Recorder:
    """A recording rule: its answer as a batch of series, for the rules after it."""

    def __init__(self, rule: Recording) -> None:
        self.rule, self.name = rule, rule.record
        self.query: Query = parse_rule(rule.expr)
        self.error = ""
        self._series = SeriesSet(())
        self._labels: list[tuple[tuple[str, str], ...]] = []

    def record(self, at: Moment) -> MetricBatch:
        """The batch of a moment; empty where the expression has no answer."""
        try:
            answer = self.query.evaluate(at)
            self.error = ""
        except QueryError as error:
            answer, self.error = [], str(error)
        points = answer if isinstance(answer, list) else [Point("", (), float(answer))]
        labels = [self._labelled(point) for point in points]
        if labels != self._labels:
            self._labels = labels
            self._series = SeriesSet([Series(self.rule.record, "unknown", "", "", one) for one in labels])
        return MetricBatch("rules", at.time_ms, self._series, [point.value for point in points])

    def _labelled(self, point: Point) -> tuple[tuple[str, str], ...]:
        labels = dict(point.labels) | self.rule.labels
        return tuple(sorted((name, value) for name, value in labels.items() if value))


class Judge:
    """The rules in force, in their order. `brief`: there will be two rounds shortly after another and no more, so no
    `for` is waited for, and what looks further back is not judged (`unjudged`).

    Raises ValueError for a rule that cannot be read; a configuration that was checked has none.
    """

    def __init__(self, rules: Iterable[InForce], *, brief: bool = False) -> None:
        self._brief = brief
        built = [_build(one, patient=not brief) for one in rules if one.enabled]
        self._rules = [one for one in built if not (brief and one.query.needs_history)]
        self.unjudged = [one.name for one in built if one not in self._rules]
        self._recorded: dict[int, MetricBatch] = {}
        self.window: Window = window_of(one.query for one in self._rules)
        self.looked = 0.0  # Unix seconds; 0: not yet

    @property
    def alerting(self) -> Sequence[Alerting]:
        """The alerting rules that are judged."""
        return [one for one in self._rules if isinstance(one, Alerting)]

    def succeed(self, other: Judge) -> None:
        """Take over what another judge knows of the past: its window, and the alerts of rules that stay the same."""
        self.window.adopt(other.window)
        for one in self.alerting:
            for before in other.alerting:
                if one.found == before.found:
                    one.adopt(before)

    def take(self, batches: Iterable[MetricBatch]) -> None:
        """The batches of a round, for the rules that look back."""
        self.window.take(batches)

    def look(self, now: float, batches: Iterable[MetricBatch]) -> None:
        """Judge the latest batches at a time (Unix seconds); the outcome is with each rule."""
        latest = list(batches)
        for number, one in enumerate(self._rules):
            at = Moment(now, [*latest, *self._recorded.values()], self.window, self._brief)
            if isinstance(one, Alerting):
                one.look(at)
                continue
            self._recorded[number] = one.record(at)
            self.window.take([self._recorded[number]])
        self.window.tidy(round(now * 1000))
        self.looked = now


def _build(found: InForce, *, patient: bool) -> Alerting | Recorder:
    try:
        return Alerting(found, patient=patient) if isinstance(found.rule, Rule) else Recorder(found.rule)
    except ValueError as error:
        name = found.rule.alert if isinstance(found.rule, Rule) else found.rule.record
        raise ValueError(f"{found.origin}: {name}: {error}") from error
