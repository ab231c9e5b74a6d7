"""A round has four ends; whatever a collector does, it is its own affair."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import pytest

from agent.model import STALE, MetricBatch, NoData, Sample, gauge
from agent.runner import Runner
from agent.stamper import Stamper
from tests.logged import capture_logs

UP = gauge("up", "Whether it is up.")
SEEN = gauge("seen", "Who was seen.", "who")
Rounds = list[tuple[str, list[MetricBatch]]]


class Scripted:
    """A collector that does what its `round` says."""

    def __init__(self, round: Callable[[], Awaitable[Iterable[Sample]]]) -> None:
        self.round = round
        self.calls = self.closed = 0

    async def collect(self) -> Iterable[Sample]:
        self.calls += 1
        return await self.round()

    async def close(self) -> None:
        self.closed += 1


async def fine() -> list[Sample]:
    return [UP(1.0)]


def raising(error: BaseException) -> Callable[[], Awaitable[Iterable[Sample]]]:
    async def round() -> Iterable[Sample]:
        raise error

    return round


async def forever() -> list[Sample]:
    await asyncio.Event().wait()
    raise AssertionError


class Stubborn:
    """Swallows its cancellation and goes on until it is let go."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples, self.free = samples, asyncio.Event()

    async def __call__(self) -> list[Sample]:
        while not self.free.is_set():
            try:
                await self.free.wait()
            except asyncio.CancelledError:
                continue
        return self.samples


def runner(collector: Any, rounds: Rounds, *, timeout: float = 5.0, cap: int = 100) -> Runner:
    return Runner(
        "mine",
        "scripted",
        collector,
        Stamper("mine", [], cap=cap),
        interval=10.0,
        timeout=timeout,
        submit=lambda name, batches: rounds.append((name, batches)),
    )


@pytest.fixture
def rounds() -> Rounds:
    return []


@pytest.fixture
async def stubborn() -> AsyncIterator[Stubborn]:
    one = Stubborn([UP(1.0)])
    yield one
    one.free.set()
    await asyncio.sleep(0)


def events(logs: list[MutableMapping[str, Any]]) -> list[tuple[str, str]]:
    return [(entry["log_level"], entry["event"]) for entry in logs]


async def test_a_good_round_is_stamped_and_submitted(rounds: Rounds) -> None:
    one = runner(Scripted(fine), rounds)
    await one.round(1000)
    ((name, (batch,)),) = rounds
    assert (name, batch.time_ms, batch.values) == ("mine", 1000, [1.0])
    assert (one.outcome, one.error, one.last_ok_ms, one.rounds["ok"]) == ("ok", "", 1000, 1)
    assert one.duration > 0
    assert not one.busy


@pytest.mark.parametrize(
    ("end", "outcome", "error"),
    [
        (NoData("no such device"), "no_data", "no such device"),
        (TimeoutError(), "timeout", "a time limit of its own ran out"),
        (TimeoutError("connecting took too long"), "timeout", "connecting took too long"),
        (OSError("refused"), "error", "OSError: refused"),
        (EOFError(), "error", "EOFError: "),
        (asyncio.CancelledError(), "error", "the collector cancelled itself"),
        (ExceptionGroup("two", [ValueError("a"), ValueError("b")]), "error", "ExceptionGroup: two (2 sub-exceptions)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
async def test_every_failure_has_its_outcome(rounds: Rounds, end: BaseException, outcome: str, error: str) -> None:
    one = runner(Scripted(raising(end)), rounds)
    await one.round(1000)
    assert (one.outcome, one.error) == (outcome, error)
    assert rounds == [("mine", [])]
    assert one.last_ok_ms == 0


async def test_a_round_beyond_its_deadline_is_cancelled_and_a_timeout(rounds: Rounds) -> None:
    one = runner(Scripted(forever), rounds, timeout=0.01)
    await one.round(1000)
    assert (one.outcome, one.error) == ("timeout", "no answer within 0.01 s")
    assert not one.busy


@pytest.mark.parametrize("end", [NoData("gone"), OSError("refused"), TimeoutError()])
async def test_a_failed_round_ends_the_series_of_the_last_good_one(rounds: Rounds, end: Exception) -> None:
    collector = Scripted(fine)
    one = runner(collector, rounds)
    await one.round(1000)
    collector.round = raising(end)
    await one.round(2000)
    await one.round(3000)
    (_, (stale,)), (_, nothing) = rounds[1:]
    assert (stale.time_ms, stale.values, [one.name for one in stale.series.series]) == (2000, [STALE], ["up"])
    assert nothing == []


async def test_an_outcome_is_logged_when_it_changes_and_only_then(rounds: Rounds) -> None:
    collector = Scripted(fine)
    one = runner(collector, rounds)
    with capture_logs() as logs:
        for round in (fine, fine, raising(OSError("a")), raising(OSError("b")), fine, raising(NoData("c")), fine):
            collector.round = round
            await one.round(1000)
    assert events(logs) == [
        ("debug", "collecting"),
        ("warning", "collection failed; trying again every round"),
        ("info", "collecting"),
        ("debug", "nothing to collect here"),
        ("info", "collecting"),
    ]
    assert logs[1]["error"] == "OSError: a"


async def test_what_is_no_sample_value_is_the_collectors_error(rounds: Rounds) -> None:
    async def nonsense() -> list[Sample]:
        return [Sample(UP, (), None)]  # type: ignore[arg-type]

    one = runner(Scripted(nonsense), rounds)
    await one.round(1000)
    assert (one.outcome, one.error) == ("error", "TypeError: None is no value of a sample")


async def test_too_few_label_values_are_the_collectors_error(rounds: Rounds) -> None:
    async def nonsense() -> list[Sample]:
        return [Sample(SEEN, (), 1.0)]

    one = runner(Scripted(nonsense), rounds)
    await one.round(1000)
    assert one.outcome == "error"


async def test_a_generator_runs_within_the_round(rounds: Rounds) -> None:
    async def lazy() -> Iterable[Sample]:
        def samples() -> Iterable[Sample]:
            yield UP(1.0)
            raise OSError("in the middle")

        return samples()

    one = runner(Scripted(lazy), rounds)
    await one.round(1000)
    assert (one.outcome, rounds) == ("error", [("mine", [])])


async def test_series_above_the_cap_are_told_once(rounds: Rounds) -> None:
    async def many() -> list[Sample]:
        return [SEEN(1.0, str(number)) for number in range(20)]

    one = runner(Scripted(many), rounds, cap=10)
    with capture_logs() as logs:
        await one.round(1000)
        await one.round(2000)
    assert [entry["folded"] for entry in logs if "too many series" in entry["event"]] == [10]


async def test_a_collector_that_swallows_its_cancellation_stays_busy_until_it_returns(
    rounds: Rounds, stubborn: Stubborn
) -> None:
    one = runner(Scripted(stubborn), rounds, timeout=0.01)
    await one.round(1000)
    assert one.outcome == "timeout"
    assert one.busy
    stubborn.free.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not one.busy


async def test_a_late_answer_is_not_listened_to(rounds: Rounds, stubborn: Stubborn) -> None:
    """Were it stamped, series it lacks would vanish without a staleness marker."""

    async def two() -> list[Sample]:
        return [UP(1.0), SEEN(1.0, "a")]

    collector = Scripted(two)
    one = runner(collector, rounds, timeout=0.01)
    await one.round(1000)
    collector.round = stubborn
    await one.round(2000)
    stubborn.free.set()
    await asyncio.sleep(0)
    collector.round = fine
    await one.round(3000)
    shapes = [[(batch.time_ms, batch.values) for batch in batches] for _, batches in rounds]
    assert shapes == [[(1000, [1.0, 1.0])], [(2000, [STALE, STALE])], [(3000, [1.0])]]


async def test_closing_cancels_the_round_under_way_and_nothing_is_submitted_any_more(rounds: Rounds) -> None:
    collector = Scripted(forever)
    one = runner(collector, rounds)
    under_way = asyncio.create_task(one.round(1000))
    await asyncio.sleep(0)
    await one.close()
    await under_way
    assert rounds == []
    assert collector.closed == 1


async def test_a_round_that_ends_while_the_collector_closes_leaves_its_series_to_the_closer(rounds: Rounds) -> None:
    """The closer tells the end of the series; a sample behind that would be out of order."""
    release = asyncio.Event()

    async def held() -> list[Sample]:
        await release.wait()
        return [UP(2.0)]

    collector = Scripted(fine)
    one = runner(collector, rounds)
    await one.round(1000)
    collector.round = held
    under_way = asyncio.create_task(one.round(2000))
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(one.close(), under_way)
    assert len(rounds) == 1
    (stale,) = one.stamper.vanish(3000)
    assert stale.values == [STALE]


async def test_a_collector_without_close_is_closed_too(rounds: Rounds) -> None:
    class Plain:
        async def collect(self) -> list[Sample]:
            return []

    one = runner(Plain(), rounds)
    await one.round(1000)
    await one.close()


async def test_a_clean_up_that_fails_is_told_and_no_more(rounds: Rounds) -> None:
    collector = Scripted(fine)
    collector.close = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    with capture_logs() as logs:
        await runner(collector, rounds).close()
    assert events(logs) == [("warning", "the collector failed to clean up")]


async def test_a_clean_up_that_does_not_end_is_left_behind(rounds: Rounds) -> None:
    collector = Scripted(fine)
    collector.close = forever  # type: ignore[method-assign, assignment]
    with capture_logs() as logs:
        await runner(collector, rounds).close()
    assert events(logs) == [("warning", "the collector does not finish its clean-up; it is left behind")]
