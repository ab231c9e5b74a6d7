"""One collector over many targets: all are probed side by side, and each has the whole deadline to itself.

What is late is cut off, not the others; the prober says what a cut-off probe looks like. Time, deadline and concurrency
are here, once for all probers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from agent.model import Prober, Sample

AT_ONCE = 256  # probes under way; more wait for their turn within the same deadline
MARGIN = 0.9  # of the collector's deadline is a target's: the rest is for putting the round together


class FanOut:
    """The collector of a prober."""

    def __init__(self, prober: Prober, timeout: float, *, monotonic: Callable[[], float] = time.perf_counter) -> None:
        self.prober, self.timeout = prober, timeout * MARGIN
        self._monotonic = monotonic

    @property
    def counters_since(self) -> float:
        """When the prober's counters began (Unix seconds; 0: unknown)."""
        return float(getattr(self.prober, "counters_since", 0.0))

    async def collect(self) -> Iterable[Sample]:
        """One probe of every target."""
        turns = asyncio.Semaphore(AT_ONCE)
        started = self._monotonic()
        tasks = {
            target: asyncio.create_task(self._probe(turns, target), name=f"probe {target}")
            for target in await self.prober.targets()
        }
        try:
            if tasks:
                await asyncio.wait(tasks.values(), timeout=self.timeout)
        finally:
            for task in tasks.values():
                task.cancel()
        await asyncio.sleep(0)  # cancelled probes close their connections
        samples: list[Sample] = []
        for target, task in tasks.items():
            samples += self._outcome(target, task, self._monotonic() - started)
        return samples

    async def _probe(self, turns: asyncio.Semaphore, target: str) -> list[Sample]:
        async with turns:
            return list(await self.prober.probe(target))

    def _outcome(self, target: str, task: asyncio.Task[list[Sample]], seconds: float) -> Iterable[Sample]:
        if task.done() and not task.cancelled():
            return task.result()
        return self.prober.late(target, seconds)

    async def close(self) -> None:
        """Let the prober clean up."""
        await self.prober.close()
