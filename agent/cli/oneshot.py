"""One round of every collector, at once and within one deadline; a second one where rules ask how fast something goes.

What cron and Nagios run: no spool, no scheduler, no endpoints.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from agent.cli.lastrun import Blind
from agent.model import STALE, MetricBatch
from agent.promql import Window, names_of
from agent.rules.alerting import Alerting
from agent.rules.findings import Finding, of_collector
from agent.runner import Runner

APART = 1.0  # seconds from one round to the next
LEAST = 0.5  # seconds that a second round must have left
MARGIN = 0.2  # seconds of the deadline for judging and telling


class Judges(Protocol):
    """Who judges what the rounds bring: rules, or an expression."""

    window: Window

    def take(self, batches: Iterable[MetricBatch]) -> None:
        """The batches of a round."""

    def give_up_ranges(self) -> None:
        """There is no second round for some that look at two."""

    def look(self, now: float, batches: Iterable[MetricBatch]) -> None:
        """The rounds are over: judge the latest batches at a time (Unix seconds)."""


class OneShot:
    """The rounds of some runners, which hand in what they see by `submit`. `timeout` is for all of it, in seconds."""

    def __init__(self, judge: Judges, timeout: float) -> None:
        self._judge = judge
        self._end = time.monotonic() + timeout - MARGIN
        self.runners: Sequence[Runner] = ()
        self.latest: dict[str, MetricBatch] = {}
        self.batches: list[MetricBatch] = []  # of all rounds, for who delivers them

    @property
    def left(self) -> float:
        """Seconds that a round may take now."""
        return max(LEAST, self._end - time.monotonic())

    def submit(self, collector: str, batches: list[MetricBatch]) -> None:
        """What a runner saw."""
        if batches and batches[0].values[0] is not STALE:
            self.latest[collector] = batches[0]  # a second round that fails leaves what the first saw
        self.batches += batches
        self._judge.take(batches)

    async def run(self, runners: Sequence[Runner]) -> None:
        """The rounds, and the judgement."""
        self.runners = runners
        began = time.monotonic()
        await self._round(runners)
        wanted = [one for one in runners if self._is_wanted_again(one)]
        if again := [one for one in wanted if self._has_time_again(one)]:
            await asyncio.sleep(max(0.0, APART - (time.monotonic() - began)))
            await self._round(again)
        if len(again) < len(wanted) or not all(_is_whole(one) for one in again):
            self._judge.give_up_ranges()
        self._judge.look(time.time(), self.latest.values())

    def _is_wanted_again(self, runner: Runner) -> bool:
        """Whether a rule asks how fast something goes that a runner sees."""
        batch = self.latest.get(runner.name)
        return batch is not None and self._judge.window.wants(batch.series)

    def _has_time_again(self, runner: Runner) -> bool:
        return self._end - time.monotonic() > APART + max(LEAST, 2 * runner.duration)

    async def _round(self, runners: Sequence[Runner]) -> None:
        now_ms = round(time.time() * 1000)
        for one in runners:
            one.timeout = min(one.timeout, self.left)
        await asyncio.gather(*(one.round(now_ms) for one in runners))

    async def close(self) -> None:
        """Let the collectors go."""
        await asyncio.gather(*(one.close() for one in self.runners))

    def blind(self, rules: Iterable[Alerting]) -> Blind:
        """What could not be seen: nothing where every collector's round was good, and no target is down."""
        if all(_is_whole(one) for one in self.runners):
            return Blind(frozenset(), frozenset())
        seen = frozenset[str]().union(*(names_of(batch.series) for batch in self.latest.values()))
        checks = {one.name for one in rules if not one.query.names <= seen}
        down = {target.name for one in self.runners for target in one.targets.latest if not target.up}
        return Blind(frozenset(checks), frozenset(down))

    def outcomes(self) -> list[Finding]:
        """A finding a collector: how its round went."""
        return [of_collector(one) for one in self.runners]


def _is_whole(runner: Runner) -> bool:
    """Whether a collector saw all that it looks at."""
    return runner.outcome in ("ok", "no_data") and all(one.up for one in runner.targets.latest)
