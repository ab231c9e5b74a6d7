"""Runs one collector's rounds: one deadline, four outcomes, a log line when the outcome changes.

A round ends as `ok`, `no_data` (its subject is not on this machine), `timeout` or `error`. A collector that does not
even let itself be cancelled is left behind and not started again until it returns: stuck once is stuck once. What it
then still says is not listened to: samples are stamped only after the verdict, so a late answer changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Literal

from agent.logs import get_logger
from agent.model import Collector, MetricBatch, NoData, Sample
from agent.stamper import Stamper
from agent.targets import Targets

Outcome = Literal["ok", "no_data", "timeout", "error"]
OUTCOMES: tuple[Outcome, ...] = ("ok", "no_data", "timeout", "error")
GRACE = 0.5  # seconds a cancelled round has to clean up

log = get_logger("collector")


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
        self._task: asyncio.Task[list[Sample]] | None = None
        self._closed = False
        self.targets = Targets(name, kind)

    @property
    def busy(self) -> bool:
        """Whether a round is under way, or stuck."""
        return self._task is not None and not self._task.done()

    async def round(self, time_ms: int) -> None:
        """One round, stamped `time_ms`."""
        started = time.perf_counter()
        task = self._task = asyncio.create_task(self._collect(), name=f"collect {self.name}")
        try:
            await asyncio.wait({task}, timeout=self.timeout)
        finally:
            if not task.done():
                self._abandon(task)
        batches = await self._judge(task, time_ms)
        if self._closed:
            return  # the end of its series is told already; nothing may follow that
        self.duration = time.perf_counter() - started
        self.last_round_ms = time_ms
        self._submit(self.name, batches)

    @staticmethod
    def _abandon(task: asyncio.Task[list[Sample]]) -> None:
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # looked at, whoever waits
        task.cancel()

    async def _collect(self) -> list[Sample]:
        return list(await self.collector.collect())

    def _stamp(self, time_ms: int, samples: list[Sample]) -> list[MetricBatch]:
        since = getattr(self.collector, "counters_since", 0.0)
        before = self.stamper.overflowed
        batches = self.stamper.stamp(time_ms, samples, int(since * 1000))
        if self.stamper.overflowed and not before:
            log.warning(
                "too many series; those above the cap are folded into one with overflow=true",
                collector=self.name,
                cap=self.stamper.cap,
                folded=self.stamper.overflowed,
            )
        return batches

    async def _judge(self, task: asyncio.Task[list[Sample]], time_ms: int) -> list[MetricBatch]:
        late = not task.done()
        if late:
            await asyncio.wait({task}, timeout=GRACE)
        if self._closed:
            return []
        if late:
            self._end("timeout", f"no answer within {self.timeout:g} s")
            return self.stamper.vanish(time_ms)
        try:
            batches = self._stamp(time_ms, task.result())
        except NoData as nothing:
            self._end("no_data", str(nothing))
            return self.stamper.vanish(time_ms)
        except TimeoutError as late:
            self._end("timeout", str(late) or "a time limit of its own ran out")
            return self.stamper.vanish(time_ms)
        except asyncio.CancelledError:  # nobody asked for it: we cancel what is late, and that is handled above
            self._end("error", "the collector cancelled itself")
            return self.stamper.vanish(time_ms)
        except Exception as error:  # noqa: BLE001  # whatever a collector raises is its outcome, never the agent's end
            self._end("error", f"{type(error).__name__}: {error}")
            return self.stamper.vanish(time_ms)
        self._end("ok", "")
        self.last_ok_ms = time_ms
        self.targets.look(batches)
        return batches

    def _end(self, outcome: Outcome, error: str) -> None:
        before, self.outcome, self.error = self.outcome, outcome, error
        self.rounds[outcome] += 1
        if outcome != "ok":
            self.targets.look([])
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
        """Cancel a round under way and let the collector clean up; submits nothing from here on."""
        self._closed = True
        if self._task is not None and not self._task.done():
            self._abandon(self._task)
            await asyncio.wait({self._task}, timeout=GRACE)
        task = asyncio.create_task(self._clean_up(), name=f"close {self.name}")
        await asyncio.wait({task}, timeout=GRACE)
        if not task.done():
            task.cancel()
            log.warning("the collector does not finish its clean-up; it is left behind", collector=self.name)

    async def _clean_up(self) -> None:
        close = getattr(self.collector, "close", None)
        try:
            result = close() if close is not None else None
            if asyncio.iscoroutine(result):
                await result
        except Exception as error:  # noqa: BLE001  # a plugin's farewell stops neither a reload nor the end
            log.warning(
                "the collector failed to clean up", collector=self.name, error=f"{type(error).__name__}: {error}"
            )
