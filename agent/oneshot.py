"""One round of every collector, at once and within one deadline; a second one where rules ask how fast something goes.

What cron and Nagios run: no spool, no scheduler, no endpoints.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from agent.model import STALE, MetricBatch
from agent.rules.findings import Finding
from agent.rules.judge import Judge
from agent.runner import Runner

APART = 1.0  # seconds from one round to the next
LEAST = 0.5  # seconds that a second round must have left
MARGIN = 0.2  # seconds of the deadline for judging and telling


class OneShot:
    """The rounds of some runners, which hand in what they see by `submit`. `timeout` is for all of it, in seconds."""

    def __init__(self, judge: Judge, timeout: float) -> None:
        self._judge = judge
        self._end = time.monotonic() + timeout - MARGIN
        self._runners: Sequence[Runner] = ()
        self.latest: dict[str, MetricBatch] = {}
        self.batches: list[MetricBatch] = []  # of all rounds, for who delivers them

    @property
    def left(self) -> float:
        """Seconds that a round may take now."""
        return max(LEAST, self._end - time.monotonic())

    def submit(self, collector: str, batches: list[MetricBatch]) -> None:
        """What a runner saw."""
        self.latest.pop(collector, None)
        if batches and batches[0].values[0] is not STALE:
            self.latest[collector] = batches[0]
        self.batches += batches
        self._judge.take(batches)

    async def run(self, runners: Sequence[Runner]) -> None:
        """The rounds, and the judgement."""
        self._runners = runners
        began = time.monotonic()
        await self._round(runners)
        if again := [one for one in runners if self._has_time_again(one)]:
            await asyncio.sleep(max(0.0, APART - (time.monotonic() - began)))
            await self._round(again)
        self._judge.look(time.time(), self.latest.values())

    def _has_time_again(self, runner: Runner) -> bool:
        """Whether a rule asks how fast something goes that a runner sees, and there is time for another look."""
        batch = self.latest.get(runner.name)
        if batch is None or not self._judge.window.wants(batch.series):
            return False
        return self._end - time.monotonic() > APART + max(LEAST, 2 * runner.duration)

    async def _round(self, runners: Sequence[Runner]) -> None:
        now_ms = round(time.time() * 1000)
        for one in runners:
            one.timeout = min(one.timeout, self.left)
        await asyncio.gather(*(one.round(now_ms) for one in runners))

    async def close(self) -> None:
        """Let the collectors go."""
        await asyncio.gather(*(one.close() for one in self._runners))

    def outcomes(self) -> list[Finding]:
        """A finding a collector: how its round went."""
        return [_outcome(one) for one in self._runners]


def _outcome(runner: Runner) -> Finding:
    match runner.outcome:
        case "ok":
            message = f"{runner.stamper.series} series in {runner.duration:.2f} s"
            if told := runner.targets.told():
                message = f"{told['up']} of {told['up'] + told['down']} up, {message}"
            return Finding(runner.name, "ok", message=message, kind=runner.kind)
        case "no_data":
            return Finding(runner.name, "ok", message=f"nothing to collect here: {runner.error}", kind=runner.kind)
    return Finding(runner.name, "unknown", message=f"{runner.outcome}: {runner.error}", kind=runner.kind)
