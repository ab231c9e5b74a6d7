"""Ticks: every interval has one timer, aligned to the wall clock with an offset of this host's own.

All collectors of an interval share a tick and its timestamp. The offset, a hash of the instance, keeps a fleet from
calling its receiver in the same second. The timer itself runs on the monotonic clock and is aligned anew at every
tick, so that a jump of the wall clock, a suspend, or a change of daylight saving time neither bunches ticks nor
leaves a hole. A collector still busy with its last round misses the tick, and the miss is counted.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable

from agent.clock import Clock
from agent.runner import Runner

LAST_ROUND = 2.0  # seconds that the rounds under way get at the end


def offset(instance: str, interval: float) -> float:
    """Where in the interval this host's ticks lie, in seconds: the same after every restart."""
    digest = hashlib.blake2b(instance.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / (1 << 64) * interval


def delay(now: float, interval: float, shift: float) -> float:
    """Seconds from `now` (Unix time) to the next tick: between half an interval and one and a half."""
    rest = (shift - now) % interval
    return rest if rest >= interval / 2 else rest + interval


class Scheduler:
    """Starts the rounds of the runners it is given; `run` does not end."""

    def __init__(
        self,
        instance: str,
        clock: Clock,
        *,
        wall: Callable[[], float] = time.time,
        loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.get_running_loop,
    ) -> None:
        self._instance, self._clock, self._wall, self._loop = instance, clock, wall, loop
        self._groups: dict[float, set[Runner]] = {}
        self._timers: dict[float, asyncio.TimerHandle] = {}
        self._due: dict[float, float] = {}  # by interval: when its next tick should be, in the loop's time
        self._rounds: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] | None = None
        self.ticks = 0

    def add(self, runners: Iterable[Runner]) -> None:
        """Take runners in: each has a first round now, then one at every tick of its interval."""
        new = list(runners)
        for runner in new:
            self._groups.setdefault(runner.interval, set()).add(runner)
            if runner.interval not in self._timers:
                self._arm(runner.interval)
        self._start(new)

    def remove(self, runners: Iterable[Runner]) -> None:
        """Let runners go; their rounds under way are the caller's to end."""
        for runner in runners:
            group = self._groups.get(runner.interval, set())
            group.discard(runner)
            if not group and (timer := self._timers.pop(runner.interval, None)) is not None:
                timer.cancel()
                self._groups.pop(runner.interval, None)
                self._due.pop(runner.interval, None)

    def _arm(self, interval: float) -> None:
        loop = self._loop()
        wait = delay(self._wall(), interval, offset(self._instance, interval))
        self._due[interval] = loop.time() + wait
        self._timers[interval] = loop.call_later(wait, self._tick, interval)

    def _tick(self, interval: float) -> None:
        due = self._due[interval]
        self._arm(interval)
        self.ticks += 1
        for runner in self._groups[interval]:  # ticks that a blocked loop slept through
            runner.missed += max(0, int((self._due[interval] - due) / interval + 0.5) - 1)
        self._start(self._groups[interval])

    def _start(self, runners: Iterable[Runner]) -> None:
        time_ms = self._clock.now()
        for runner in runners:
            if runner.busy:
                runner.missed += 1
                continue
            task = asyncio.create_task(runner.round(time_ms), name=f"round {runner.name}")
            self._rounds.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._rounds.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def run(self) -> None:
        """Until cancelled; a defect in a round's own machinery ends it, loudly."""
        self._failed = self._loop().create_future()
        await self._failed

    async def stop(self) -> None:
        """No more ticks; rounds under way may end, for two seconds."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._rounds:
            await asyncio.wait(self._rounds, timeout=LAST_ROUND)
        for task in self._rounds:
            task.cancel()
        if self._rounds:
            await asyncio.wait(self._rounds)
