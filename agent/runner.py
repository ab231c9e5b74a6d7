"""Runs one collector's rounds: one deadline, four outcomes, a log line when the outcome changes.

A round ends as `ok`, `no_data` (its subject is not on this machine), `timeout` or `error`. A collector that does not
even let itself be cancelled is left behind and not started again until it returns: stuck once is stuck once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Literal

import structlog

from agent.model import Collector, MetricBatch, NoData
from agent.pipeline import Stamper

Outcome = Literal["ok", "no_data", "timeout", "error"]
OUTCOMES: tuple[Outcome, ...] = ("ok", "no_data", "timeout", "error")
GRACE = 0.5  # seconds a cancelled round has to clean up

log = structlog.get_logger("collector")


class Runner:
    """One configured collector. `submit` takes (name, batches) of each round."""

    def __init__(
        self,
        name: str,
        kind: str,
        collector: Collector,
        stamper: Stamper,
        *,
        interval: float,
        timeout: float,
        submit: Callable[[str, list[MetricBatch]], None],
    ) -> None:
        self.name, self.kind, self.collector, self.stamper = name, kind, collector, stamper
        self.interval, self.timeout, self._submit = interval, timeout, submit
        self.outcome: Outcome | None = None
        self.error = ""
        self.rounds: dict[Outcome, int] = dict.fromkeys(OUTCOMES, 0)
        self.missed = 0
        self.duration = 0.0
        self.last_round_ms = self.last_ok_ms = 0
        self._task: asyncio.Task[list[MetricBatch]] | None = None

    @property
    def busy(self) -> bool:
        """Whether a round is under way, or stuck."""
        return self._task is not None and not self._task.done()

    async def round(self, time_ms: int) -> None:
        """One round, stamped `time_ms`."""
        started = time.perf_counter()
        self._task = asyncio.create_task(self._collect(time_ms), name=f"collect {self.name}")
        try:
            await asyncio.wait({self._task}, timeout=self.timeout)
        finally:
            if not self._task.done():
                self._task.cancel()
        batches = await self._judge(self._task, time_ms)
        self.duration = time.perf_counter() - started
        self.last_round_ms = time_ms
        self._submit(self.name, batches)

    async def _collect(self, time_ms: int) -> list[MetricBatch]:
        samples = await self.collector.collect()
        since = getattr(self.collector, "counters_since", 0.0)
        return self.stamper.stamp(time_ms, samples, int(since * 1000))

    async def _judge(self, task: asyncio.Task[list[MetricBatch]], time_ms: int) -> list[MetricBatch]:
        if not task.done():
            await asyncio.wait({task}, timeout=GRACE)
            self._end("timeout", f"no answer within {self.timeout:g} s")
            return self.stamper.vanish(time_ms)
        try:
            batches = task.result()
        except NoData as nothing:
            self._end("no_data", str(nothing))
            return self.stamper.vanish(time_ms)
        except TimeoutError as late:
            self._end("timeout", str(late) or "a time limit of its own ran out")
            return self.stamper.vanish(time_ms)
        except Exception as error:  # noqa: BLE001  # whatever a collector raises is its outcome, never the agent's end
            self._end("error", f"{type(error).__name__}: {error}")
            return self.stamper.vanish(time_ms)
        self._end("ok", "")
        self.last_ok_ms = time_ms
        return batches

    def _end(self, outcome: Outcome, error: str) -> None:
        before, self.outcome, self.error = self.outcome, outcome, error
        self.rounds[outcome] += 1
        if outcome == before:
            return
        facts = {"collector": self.name, "outcome": outcome}
        if outcome == "ok":
            (log.debug if before is None else log.info)("collecting", **facts)
        elif outcome == "no_data":
            log.debug("nothing to collect here", **facts, reason=error)
        else:
            log.warning("collection failed; trying again every round", **facts, error=error)

    async def close(self) -> None:
        """Cancel a round under way and let the collector clean up."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=GRACE)
        close = getattr(self.collector, "close", None)
        if close is not None:
            result = close()
            if asyncio.iscoroutine(result):
                await result
