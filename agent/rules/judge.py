"""All rules in force, judged together: once for a check, round after round in the daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from agent.model import STALE, MetricBatch, Series, SeriesSet
from agent.promql import Labels, Moment, Point, Query, QueryError, Window, names_of, window_of
from agent.rules.alerting import Alerting, parse_rule
from agent.rules.inforce import InForce
from config.rules import Recording, Rule


class Recorder:
    """A recording rule: its answer as a batch of series, for the alerting rules."""

    def __init__(self, found: InForce) -> None:
        assert isinstance(found.rule, Recording)  # noqa: S101  # by the caller
        self.rule, self.name = found.rule, found.rule.record
        self.query: Query = parse_rule(self.rule.expr)
        self.error = ""
        self.latest = MetricBatch("rules", 0, SeriesSet(()), [])

    def record(self, at: Moment) -> list[MetricBatch]:
        """The batch of a moment, and the ends of the series that are no more."""
        try:
            answer = self.query.evaluate(at)
            self.error = ""
        except QueryError as error:
            answer, self.error = [], str(error)
        points = answer if isinstance(answer, list) else [Point("", (), float(answer))]
        before, labels = self.latest.series, [self._labelled(point) for point in points]
        gone: list[MetricBatch] = []
        if labels != [one.labels for one in before.series]:
            series = SeriesSet([Series(self.rule.record, "unknown", "", "", one) for one in labels])
            ended = SeriesSet([one for one in before.series if one.labels not in labels])
            gone = [MetricBatch("rules", at.time_ms, ended, [STALE] * len(ended))]
        else:
            series = before
        self.latest = MetricBatch("rules", at.time_ms, series, [point.value for point in points])
        return [self.latest, *gone]

    def _labelled(self, point: Point) -> Labels:
        labels = dict(point.labels) | self.rule.labels
        return tuple(sorted((name, value) for name, value in labels.items() if value))


class Judge:
    """The rules in force: recording rules, each after those that it names, then the alerting ones.

    `brief`: there will be two rounds shortly after another and no more; no `for` is waited for then. `partial`: of some
    collectors only.

    What cannot be judged so is in `unjudged`, by name, with why not. Raises ValueError for a rule that cannot be read;
    a configuration that was checked has none.
    """

    def __init__(self, rules: Iterable[InForce], *, brief: bool = False, partial: bool = False) -> None:
        self._brief, self._partial = brief, partial
        built = [_build(one, patient=not brief) for one in rules if one.enabled]
        self.recording = _ordered([one for one in built if isinstance(one, Recorder)])
        self.alerting = [one for one in built if isinstance(one, Alerting)]
        self.unjudged: list[tuple[str, str]] = []
        if brief:
            self._leave_out("looks back further than one check does", lambda query: query.needs_history)
        if partial:
            self._leave_out("asks what is absent, of some collectors only", lambda query: query.asks_for_absence)
        self.window: Window = window_of([*(one.query for one in self.recording), *(one.query for one in self.alerting)])
        self.looked = 0.0  # Unix seconds; 0: not yet

    def _leave_out(self, reason: str, unfit: Callable[[Query], bool]) -> None:
        """Judge no rule that is unfit, nor one that names what such a rule would have recorded."""
        names: set[str] = set()
        for one in self.recording:  # each after those that it names
            if unfit(one.query) or one.query.looks_at(names):
                names.add(one.name)
        out = [one for one in self.recording if one.name in names]
        alerts = [one for one in self.alerting if unfit(one.query) or one.query.looks_at(names)]
        self.unjudged += [(one.name, reason) for one in out] + [(one.name, reason) for one in alerts]
        self.recording = [one for one in self.recording if one not in out]
        self.alerting = [one for one in self.alerting if one not in alerts]

    def _give_up_unseen(self, batches: Iterable[MetricBatch]) -> None:
        """Only some collectors were run: what names series that they do not have cannot be judged."""
        seen = {one.name for one in self.recording}.union(*(names_of(batch.series) for batch in batches))
        own = [one.query for one in self.alerting if not one.kind]
        reason = "asks for series of collectors that were not run"
        self._leave_out(reason, lambda query: query in own and not query.names <= seen)

    def give_up_ranges(self) -> None:
        """There was no second round: what asks how fast something goes cannot be judged."""
        self._leave_out("there was no time for a second look", lambda query: bool(query.past))

    def succeed(self, other: Judge) -> None:
        """Take over what another judge knows: its window, and what became of the rules that stay the same."""
        self.window.adopt(other.window)
        self.looked = other.looked
        rest = list(other.alerting)
        heirs = [one for one in self.alerting if not _inherit(one, rest, lambda rule: (rule.rule, rule.kind))]
        for one in heirs:
            _inherit(one, rest, lambda rule: (rule.name, rule.rule.labels, rule.kind))
        for recorder in self.recording:
            for known in other.recording:
                if recorder.rule == known.rule:
                    recorder.latest = known.latest

    def take(self, batches: Iterable[MetricBatch]) -> None:
        """The batches of a round, for the rules that look back."""
        self.window.take(batches)

    def look(self, now: float, batches: Iterable[MetricBatch], steady: float | None = None) -> None:
        """Judge the latest batches at a time (Unix seconds, and those of a clock that nobody sets); the outcome is with
        each rule.
        """
        for _ in self.looking(now, batches, steady):
            pass

    def looking(self, now: float, batches: Iterable[MetricBatch], steady: float | None = None) -> Iterator[None]:
        """The same, with a pause after each rule for whoever has more to do."""
        latest = list(batches)
        if self._partial:
            self._give_up_unseen(latest)

        def at() -> Moment:
            recorded = [one.latest for one in self.recording]
            return Moment(now, [*latest, *recorded], self.window, self._brief)

        for recorder in self.recording:
            self.window.take(recorder.record(at()))
            yield
        moment = at()
        for rule in self.alerting:
            rule.look(moment, now if steady is None else steady)
            yield
        self.window.tidy(moment.time_ms)
        self.looked = now


def _inherit(heir: Alerting, rest: list[Alerting], identity: Callable[[Alerting], object]) -> bool:
    """Take the alerts over from the rule of the same identity, if there is one left."""
    found = next((one for one in rest if identity(one) == identity(heir)), None)
    if found is None:
        return False
    rest.remove(found)
    heir.adopt(found)
    return True


def _ordered(recorders: list[Recorder]) -> list[Recorder]:
    """Each after those that it names; what names itself, in however many steps, stays in its place."""
    found: list[Recorder] = []
    while recorders:
        names = {one.name for one in recorders}
        ready = [one for one in recorders if not one.query.names & (names - {one.name})] or recorders[:1]
        found += ready
        recorders = [one for one in recorders if one not in ready]
    return found


def _build(found: InForce, *, patient: bool) -> Alerting | Recorder:
    try:
        return Alerting(found, patient=patient) if isinstance(found.rule, Rule) else Recorder(found)
    except ValueError as error:
        name = found.rule.alert if isinstance(found.rule, Rule) else found.rule.record
        raise ValueError(f"{found.origin}: {name}: {error}") from error
