"""Ticks are aligned, offset by host, never bunched, and those that are missed are counted."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clock import Clock
from agent.scheduler import LAST_ROUND, Scheduler, delay, offset

NOW = 1_700_000_000.0


class FakeRunner:
    """Has rounds, and may be busy or fail."""

    def __init__(self, interval: float = 10.0, *, error: Exception | None = None) -> None:
        self.name, self.interval, self.error = "fake", interval, error
        self.busy = False
        self.missed = 0
        self.rounds: list[int] = []
        self.at: list[float] = []  # in the loop's time
        self.time: Callable[[], float] = lambda: 0.0
        self.hold: asyncio.Event | None = None

    async def round(self, time_ms: int) -> None:
        if self.hold is not None:
            await self.hold.wait()
        self.rounds.append(time_ms)
        self.at.append(self.time())
        if self.error is not None:
            raise self.error


class FakeLoop:
    """The running loop, with timers that fire when the test says so."""

    def __init__(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        self._loop, self.now = loop, at
        self.timers: list[tuple[float, Callable[..., None], tuple[Any, ...], FakeTimer]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, wait: float, call: Callable[..., None], *args: Any) -> FakeTimer:
        timer = FakeTimer()
        self.timers.append((self.now + wait, call, args, timer))
        return timer

    def create_future(self) -> asyncio.Future[None]:
        return self._loop.create_future()


class FakeTimer:
    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """A scheduler whose loop time and wall clock are moved together, or apart."""

    def __init__(self, instance: str = "host") -> None:
        self.loop = FakeLoop(asyncio.get_running_loop(), 1000.0)
        self.jumped = 0.0
        clock = Clock(self.wall, self.loop.time)
        self.scheduler = Scheduler(instance, clock, wall=self.wall, loop=lambda: self.loop)  # type: ignore[arg-type, return-value]

    def wall(self) -> float:
        return NOW + self.loop.now - 1000.0 + self.jumped

    async def run(self, until: float, *, late: float = 0.0) -> None:
        """Fire the timers due until then, each `late` seconds after its time."""
        while True:
            due = [timer for timer in self.loop.timers if not timer[3].cancelled and timer[0] <= until]
            if not due:
                break
            first = min(due, key=lambda timer: timer[0])
            self.loop.timers.remove(first)
            self.loop.now = first[0] + late
            first[1](*first[2])
            await settled()
        self.loop.now = max(self.loop.now, until)


async def settled() -> None:
    """Let tasks that were just started come to their first wait."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def world() -> World:
    return World()


@given(st.text(max_size=20), st.floats(0.1, 86400))
def test_the_offset_lies_within_the_interval_and_stays(instance: str, interval: float) -> None:
    assert 0 <= offset(instance, interval) <= interval
    assert offset(instance, interval) == offset(instance, interval)


def test_a_fleet_spreads_over_the_interval() -> None:
    tenths = {int(offset(f"web-{number}", 15.0) / 1.5) for number in range(200)}
    assert tenths == set(range(10))


@given(st.floats(0, 4e9), st.floats(0.1, 86400), st.floats(0, 1))
def test_the_next_tick_is_aligned_and_neither_at_once_nor_far(now: float, interval: float, share: float) -> None:
    shift = share * interval
    wait = delay(now, interval, shift)
    assert 0.499 * interval <= wait <= 1.501 * interval
    distance = (now + wait - shift) % interval
    assert min(distance, interval - distance) < 1e-4 * interval + 1e-5


async def test_a_runner_has_its_first_round_at_once(world: World) -> None:
    runner = FakeRunner()
    world.scheduler.add([runner])
    await settled()
    assert runner.rounds == [NOW * 1000]


async def test_ticks_are_an_interval_apart_and_aligned_to_the_wall_clock(world: World) -> None:
    runner = FakeRunner()
    world.scheduler.add([runner])
    await world.run(1100.0)
    ticks = runner.rounds[1:]
    shift = offset("host", 10.0) * 1000
    assert len(ticks) in (9, 10)
    assert all(abs((tick - shift + 5000) % 10_000 - 5000) <= 2 for tick in ticks)
    assert runner.missed == 0


async def test_runners_of_one_interval_share_tick_and_timestamp(world: World) -> None:
    runners = [FakeRunner(), FakeRunner()]
    world.scheduler.add(runners)
    await world.run(1050.0)
    assert runners[0].rounds == runners[1].rounds
    assert world.scheduler.ticks == len(runners[0].rounds) - 1


async def test_a_busy_runner_misses_the_tick_and_the_miss_is_counted(world: World) -> None:
    runner = FakeRunner()
    world.scheduler.add([runner])
    await world.run(1016.0)
    had = len(runner.rounds)
    runner.busy = True
    await world.run(1046.0)
    assert len(runner.rounds) == had
    assert runner.missed == 3


async def test_ticks_that_a_blocked_loop_slept_through_are_counted_and_not_made_up_for(world: World) -> None:
    runner = FakeRunner()
    world.scheduler.add([runner])
    await world.run(1016.0)
    had = len(runner.rounds)
    timer = next(timer for timer in world.loop.timers if not timer[3].cancelled)
    world.loop.timers.remove(timer)
    world.loop.now = timer[0] + 43.0
    timer[1](*timer[2])
    await settled()
    assert len(runner.rounds) == had + 1
    assert runner.missed == 4
    await world.run(world.loop.now + 9.9)
    assert len(runner.rounds) == had + 2


@pytest.mark.parametrize("jump", [-7200.0, -3.0, 3.0, 7200.0, 12345.6])
async def test_a_jump_of_the_wall_clock_neither_bunches_ticks_nor_leaves_a_hole(world: World, jump: float) -> None:
    runner = FakeRunner()
    runner.time = world.loop.time
    world.scheduler.add([runner])
    await world.run(1030.0)
    world.jumped += jump
    await world.run(1200.0)
    gaps = [after - before for before, after in itertools.pairwise(runner.at)]
    assert all(5.0 <= gap <= 15.0 for gap in gaps[1:])
    assert len([gap for gap in gaps[1:] if abs(gap - 10.0) > 0.01]) <= 1


async def test_a_removed_runner_has_no_more_rounds_and_its_timer_ends(world: World) -> None:
    runner, other = FakeRunner(), FakeRunner()
    world.scheduler.add([runner, other])
    await settled()
    world.scheduler.remove([runner])
    await world.run(1020.0)
    assert len(runner.rounds) == 1
    assert len(other.rounds) > 1
    world.scheduler.remove([other])
    assert all(timer[3].cancelled for timer in world.loop.timers)


async def test_a_defect_in_a_rounds_machinery_ends_the_scheduler_loudly(world: World) -> None:
    scheduler = world.scheduler
    running = asyncio.create_task(scheduler.run())
    await settled()
    scheduler.add([FakeRunner(error=RuntimeError("defect")), FakeRunner(error=RuntimeError("another"))])
    with pytest.raises(RuntimeError, match="defect"):
        await running


async def test_stopping_lets_a_round_under_way_end() -> None:
    scheduler, runner = Scheduler("host", Clock()), FakeRunner()
    runner.hold = asyncio.Event()
    scheduler.add([runner])
    await settled()
    stopping = asyncio.create_task(scheduler.stop())
    await settled()
    runner.hold.set()
    await stopping
    assert len(runner.rounds) == 1


async def test_stopping_cancels_a_round_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.scheduler.LAST_ROUND", LAST_ROUND / 100)
    scheduler, runner = Scheduler("host", Clock()), FakeRunner()
    runner.hold = asyncio.Event()
    scheduler.add([runner])
    await settled()
    await scheduler.stop()
    assert runner.rounds == []
    assert len(asyncio.all_tasks()) == 1
