"""One collector over many targets: all are probed side by side, and each has the whole deadline to itself.

What is late is cut off, not the others; the prober says what a cut-off probe looks like. A probe that fails in a way
its prober does not know, which is a defect, looks the same, and is logged; where all fail so, the round does. Time,
deadline and concurrency are here, once for all probers.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable, Iterable

from agent.logs import get_logger
from agent.model import Prober, Sample

AT_ONCE = 1000  # probes under way; more wait for their turn within the same deadline
MARGIN = 0.9  # of the collector's deadline is a target's: the rest is for putting the round together

log = get_logger("probe")


class FanOut:
    """The collector of a prober."""

    def __init__(self, prober: Prober, timeout: float, *, monotonic: Callable[[], float] = time.perf_counter) -> None:
        self.prober, self.timeout = prober, timeout * MARGIN
        self._monotonic = monotonic
        self._defects: set[str] = set()  # told already

    @property
    def counters_since(self) -> float:
        """When the prober's counters began (Unix seconds; 0: unknown)."""
        return float(getattr(self.prober, "counters_since", 0.0))

    async def collect(self) -> Iterable[Sample]:
        """One probe of every target."""
        turns = asyncio.Semaphore(AT_ONCE)
        started = self._monotonic()
        targets = dict.fromkeys(await self.prober.targets())
        tasks = {target: asyncio.create_task(self._probe(turns, target), name="probe") for target in targets}
        try:
            if tasks:
                left = self.timeout - (self._monotonic() - started)
                await asyncio.wait(tasks.values(), timeout=max(0.0, left))
        finally:
            for task in tasks.values():
                task.cancel()
        await asyncio.sleep(0)  # cancelled probes close their connections
        broken = [error for task in tasks.values() if (error := _defect(task)) is not None]
        if broken and len(broken) == len(tasks):
            raise broken[0]
        for error in broken:
            self._tell(error)
        samples: list[Sample] = []
        for target, task in tasks.items():
            samples += self._outcome(target, task, self._monotonic() - started)
        return samples

    async def _probe(self, turns: asyncio.Semaphore, target: str) -> list[Sample]:
        async with turns:
            return list(await self.prober.probe(target))

    def _outcome(self, target: str, task: asyncio.Task[list[Sample]], seconds: float) -> Iterable[Sample]:
        if task.done() and not task.cancelled() and task.exception() is None:
            return task.result()
        return self.prober.late(target, seconds)

    def _tell(self, error: BaseException) -> None:
        """Each place once, and without the words, which may hold what a target's name hides."""
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
        if place not in self._defects:
            self._defects.add(place)
            log.error(
                "a probe failed in an unknown way; its target counts as late", error=type(error).__name__, at=place
            )

    async def close(self) -> None:
        """Let the prober clean up."""
        await self.prober.close()


def _defect(task: asyncio.Task[list[Sample]]) -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None
