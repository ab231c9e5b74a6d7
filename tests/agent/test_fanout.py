"""Many targets in one round: each has the whole deadline, and none waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import pytest

from agent.fanout import AT_ONCE, FanOut
from agent.model import Sample, gauge
from tests.logged import capture_logs

UP = gauge("probe_success", "Whether the probe succeeded.", "instance")


class Prober:
    """Targets that answer at once, hang, hang on to their cancellation, or fail by a defect."""

    def __init__(self, *targets: str) -> None:
        self.names = targets
        self.under_way = self.most = 0
        self.closed = False

    async def targets(self) -> Sequence[str]:
        return self.names

    async def probe(self, target: str) -> Iterable[Sample]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            if target.startswith("hangs"):
                await asyncio.Event().wait()
            if target == "broken":
                raise KeyError(target)
            await asyncio.sleep(0)
            return [UP(1.0, target)]
        finally:
            self.under_way -= 1

    def late(self, target: str, seconds: float) -> Iterable[Sample]:
        assert seconds >= 0
        return [UP(0.0, target)]

    async def close(self) -> None:
        self.closed = True


async def test_what_hangs_costs_its_own_result_alone() -> None:
    prober = Prober("a", "hangs", "b")
    found = await FanOut(prober, 0.1).collect()
    assert [(sample.labels, sample.value) for sample in found] == [(("a",), 1.0), (("hangs",), 0.0), (("b",), 1.0)]
    assert prober.under_way == 0, "what was cut off has cleaned up"


async def test_no_targets_are_an_empty_round() -> None:
    assert await FanOut(Prober(), 1.0).collect() == []


async def test_a_defect_costs_its_target_and_no_other() -> None:
    prober = Prober("good", "broken", "good too")
    fan = FanOut(prober, 1.0)
    with capture_logs() as logs:
        rounds = [list(await fan.collect()) for _ in range(2)]
    assert [sample.value for sample in rounds[1]] == [1.0, 0.0, 1.0]
    (line,) = logs
    assert line["error"] == "KeyError"
    assert line["at"].startswith("test_fanout.py:")


async def test_a_defect_of_all_is_the_round_s_own_and_leaves_nothing_under_way() -> None:
    prober = Prober("broken")
    with pytest.raises(KeyError):
        await FanOut(prober, 0.1).collect()
    assert prober.under_way == 0


async def test_a_target_that_is_named_twice_is_probed_once() -> None:
    found = list(await FanOut(Prober("a", "b", "a"), 1.0).collect())
    assert [sample.labels for sample in found] == [("a",), ("b",)]


async def test_finding_the_targets_counts_towards_the_deadline() -> None:
    now = iter([0.0, 0.95, 0.95])
    prober = Prober("hangs")
    found = await FanOut(prober, 1.0, monotonic=lambda: next(now)).collect()
    assert [sample.value for sample in found] == [0.0]


async def test_only_so_many_are_under_way_at_a_time() -> None:
    prober = Prober(*(f"t{at}" for at in range(3 * AT_ONCE)))
    found = list(await FanOut(prober, 10.0).collect())
    assert prober.most <= AT_ONCE
    assert sum(sample.value for sample in found) == 3 * AT_ONCE  # type: ignore[misc]  # floats


async def test_a_round_that_is_cancelled_takes_its_probes_along() -> None:
    prober = Prober("hangs", "hangs too")
    task = asyncio.create_task(FanOut(prober, 10.0).collect())  # type: ignore[arg-type]  # a coroutine
    while not prober.under_way:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert prober.under_way == 0


async def test_closing_closes_the_prober() -> None:
    prober = Prober()
    await FanOut(prober, 1.0).close()
    assert prober.closed
