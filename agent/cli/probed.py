"""What one look at a target amounts to: the round, its judgement, and how that is told.

A target that is down is CRITICAL, whatever else is asked for. Then count the ranges of the command line, or where there
are none the default rules of the collector.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from agent.cli.nagios import GRAVITY, Perf, Range, Status, range_of, worst
from agent.cli.oneshot import OneShot
from agent.cli.outcome import Outcome, Wish
from agent.cli.report import number, perfs
from agent.fanout import FanOut
from agent.model import MetricBatch, Prober
from agent.promql import Labels, Limit, Moment, Point, Query, QueryError, window_of
from agent.rules.findings import EXIT_CODES, findings
from agent.rules.inforce import InForce
from agent.rules.judge import Judge
from agent.runner import Runner
from agent.stamper import Stamper, standing_labels
from agent.targets import FAMILIES, Target
from config import environment

SHOWN: Final = 3  # faults in the first line; all are in the long output
MOST: Final = 200  # values for graphs
DAY: Final = 86_400.0
NOTHING: Final = "there was nothing to look at"


class Part(NamedTuple):
    """One thing that is not well, in words, and the value that is not where it is about one."""

    status: Status
    text: str
    value: float | None = None


class Expression:
    """What is asked of the rounds, in the place of rules."""

    def __init__(self, query: Query) -> None:
        self.window = window_of([query])
        self.moment = Moment(0.0, ())
        self._fault = ""

    def take(self, batches: Iterable[MetricBatch]) -> None:
        """The batches of a round."""
        self.window.take(batches)

    def give_up_ranges(self) -> None:
        """There was no second round, and the expression looks at two."""
        self._fault = "there was no time for a second look"

    def look(self, now: float, batches: Iterable[MetricBatch]) -> None:
        """The rounds are over."""
        self.moment = Moment(now, [*batches], self.window, brief=True)

    def ask(self, wish: Wish) -> tuple[list[Point], list[Point], Range | None, Range | None]:
        """What it answers, the values for the graphs, and their ranges; raises QueryError."""
        if self._fault:
            raise QueryError(self._fault)
        answer = wish.query.evaluate(self.moment)
        points = answer if isinstance(answer, list) else [Point("", (), float(answer))]
        return points, *_measured(points, wish, self.moment)


class Seen(NamedTuple):
    """What a look has to be judged by."""

    batch: MetricBatch
    targets: Sequence[Target]
    seconds: float
    judge: Judge | Expression


async def look(collector: Any, plugin: Any, wish: Wish, seconds: float) -> Outcome:
    """One round within that many seconds, two where an expression asks how fast something goes; and the judgement."""
    judge = Judge(_rules(plugin, wish), brief=True) if wish.query is None else Expression(wish.query)
    shot = OneShot(judge, seconds)
    if isinstance(collector, Prober):
        collector = FanOut(collector, shot.left)
    stamper = Stamper(wish.kind, [standing_labels(plugin, wish.kind, wish.kind, environment.host_name())])
    runner = Runner(wish.kind, wish.kind, collector, stamper, interval=seconds, timeout=seconds, submit=shot.submit)
    await shot.run([runner])
    batch = shot.latest.get(wish.kind)
    if runner.outcome != "ok" or batch is None:
        return Outcome(Status.UNKNOWN, runner.error or NOTHING)
    return judged(Seen(batch, runner.targets.latest, runner.duration, judge), wish)


def judged(seen: Seen, wish: Wish) -> Outcome:
    """What was seen, held against what is wished for."""
    if wish.kind in FAMILIES and not seen.targets:
        return Outcome(Status.UNKNOWN, NOTHING)
    value, values = _main(seen, wish)
    down = [one for one in seen.targets if not one.up]
    parts = [Part(Status.CRITICAL, _down(one)) for one in down]
    if isinstance(seen.judge, Expression):
        value, found, values = _by_expression(seen.judge, wish)
        parts += [] if down else found
    elif wish.judges:
        parts += [] if value is None and down else _by_ranges(wish, [(_main_name(wish), value)])
    else:
        found, measured = _by_rules(seen.judge, seen.targets)
        parts += found
        values += measured
    status = worst(part.status for part in parts)
    grave = [part.text for part in _worst_first(parts) if part.status is not Status.OK]
    details = [part.text for part in parts] if len(parts) > 1 or len(grave) < len(parts) else []
    return Outcome(
        status,
        _summary([_down(one) for one in down] or grave) if grave else _fine(seen, wish, value),
        ", ".join(one.name for one in seen.targets[:SHOWN]) or environment.host_name(),
        value,
        values[:MOST],
        [*details, *(_unjudged(seen.judge) if wish.verbose else ())],
        seen.batch,
    )


# -- the round --------------------------------------------------------------------------------------------------------


def _rules(plugin: Any, wish: Wish) -> list[InForce]:
    """The collector's default rules, where the command line does not say what is wrong."""
    rules = () if wish.judges else getattr(plugin, "rules", ())
    return [InForce(rule=one, origin=f"default of {wish.kind}", kind=wish.kind) for one in rules if one.enabled]


# -- judging ----------------------------------------------------------------------------------------------------------


def _down(target: Target) -> str:
    return f"{target.name} is down: {target.reason}" if target.reason else f"{target.name} is down"


def _main_name(wish: Wish) -> str:
    return "days" if wish.value == "days" else "time"


def _main(seen: Seen, wish: Wish) -> tuple[float | None, list[Perf]]:
    """The value that a kind is about, and what goes to the graphs beside it."""
    spent = max(_values(seen.batch, "probe_duration_seconds"), default=seen.seconds)
    warn, crit = (None, None) if wish.query is not None else (wish.warning, wish.critical)
    if wish.value != "days":
        ranges = (warn, crit) if wish.value else (None, None)
        return (
            spent if wish.value else None,
            [Perf("time", round(spent, 6), "s", *ranges, minimum=0, maximum=wish.timeout)],
        )
    expiry = min(filter(None, _values(seen.batch, "probe_ssl_earliest_cert_expiry")), default=math.nan)
    days = (expiry - time.time()) / DAY
    perfs = [Perf("days", round(days, 3), "", warn, crit), Perf("time", round(spent, 6), "s", minimum=0)]
    return (None if math.isnan(days) else days), perfs


def _values(batch: MetricBatch, name: str) -> list[float]:
    """Numbers of a family."""
    series = batch.series.series
    return [
        value
        for one, value in zip(series, batch.values, strict=True)
        if one.name == name and isinstance(value, int | float)
    ]


def _by_ranges(wish: Wish, values: Iterable[tuple[str, float | None]]) -> list[Part]:
    """What the ranges say of each value."""
    found = []
    for name, value in values:
        if value is None or math.isnan(value):
            found.append(Part(Status.UNKNOWN, f"{name} is not known", value))
            continue
        for status, limit in ((Status.CRITICAL, wish.critical), (Status.WARNING, wish.warning)):
            if limit is not None and limit.alerts(value):
                where = "within" if limit.inside else "outside"
                text = f"{name} is {number(value)}, {where} {str(limit).removeprefix('@')}"
                found.append(Part(status, text, value))
                break
    return found


def _by_expression(asked: Expression, wish: Wish) -> tuple[float | None, list[Part], list[Perf]]:
    """Its worst value, what is wrong with its values, and these."""
    try:
        points, measured, warn, crit = asked.ask(wish)
    except QueryError as error:
        return None, [Part(Status.UNKNOWN, f"the expression has no answer: {error}")], []
    names = _names(measured or points)
    values = [(names.get(point.labels, "value"), point.value) for point in points]
    if not wish.ranged:
        parts = [Part(Status.CRITICAL, f"{name} is {number(value)}", value) for name, value in values]
    elif values:
        parts = _by_ranges(wish, values)
    else:
        parts = [Part(Status.UNKNOWN, "no series answers the expression")]
    grave = [part.value for part in _worst_first(parts) if part.value is not None]
    main = next(iter(grave or [value for _, value in values] or [one.value for one in measured]), None)
    return main, parts, [Perf(names.get(one.labels, "value"), one.value, "", warn, crit) for one in measured]


def _measured(points: list[Point], wish: Wish, moment: Moment) -> tuple[list[Point], Range | None, Range | None]:
    """The values for the graphs, and their ranges: where the expression compares with a number, what it compares."""
    limit: Limit | None = wish.query.limit
    if limit is None or wish.ranged:
        return points, wish.warning, wish.critical
    crit = range_of(limit.op, limit.bound) if math.isfinite(limit.bound) else None
    return limit.values.evaluate(moment), None, crit


def _by_rules(judge: Judge, targets: Sequence[Target]) -> tuple[list[Part], list[Perf]]:
    """What the default rules find, and the values they hold against their limits."""
    known = {"agent": environment.host_name(), "instance": environment.host_name()}
    if len(targets) == 1:
        known["instance"] = targets[0].name
    found = findings(judge, known)
    wrong = [one for one in found if one.status != "ok"]
    return [Part(Status(EXIT_CODES[one.status]), f"{one.check}: {one.message}") for one in wrong], perfs(found)


def _unjudged(judge: Judge | Expression) -> Iterable[str]:
    unjudged = [] if isinstance(judge, Expression) else judge.unjudged
    return dict.fromkeys(f"not judged: {name}: {why}" for name, why in unjudged)


# -- telling ----------------------------------------------------------------------------------------------------------


def _names(points: Sequence[Point]) -> dict[Labels, str]:
    """A name for each element of a vector: the labels that tell them apart."""
    common = set(points[0].labels).intersection(*(point.labels for point in points)) if points else set()
    found: dict[Labels, str] = {}
    used: dict[str, int] = {}
    for point in points:
        apart = [value for name, value in point.labels if (name, value) not in common]
        text = " ".join(apart) or point.name or "value"
        used[text] = used.get(text, 0) + 1
        found[point.labels] = text if used[text] == 1 else f"{text} {used[text]}"
    return found


def _worst_first(parts: Sequence[Part]) -> list[Part]:
    """The gravest first, otherwise as they came."""
    return sorted(parts, key=lambda part: -GRAVITY.index(part.status))


def _summary(faults: Sequence[str]) -> str:
    more = len(faults) - SHOWN
    return "; ".join(faults[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _fine(seen: Seen, wish: Wish, value: float | None) -> str:
    """That nothing is wrong."""
    up = seen.targets[0].name if len(seen.targets) == 1 else f"{len(seen.targets)} targets"
    who = f"{up} {'is' if len(seen.targets) == 1 else 'are'} up" if seen.targets else f"{len(seen.batch)} series"
    if wish.query is not None:
        return f"{who}, nothing answers the expression" if value is None else f"{who}, {number(value)}"
    if wish.value == "days" and value is not None:
        return f"{who}, the certificate lasts {value:.1f} days"
    return f"{who}, {seen.seconds:.3f} s"
