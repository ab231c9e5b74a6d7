"""From the batches of all collectors to the spool, and to whoever looks at the latest."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.model import (
    Histogram,
    MetricBatch,
    Sample,
    counter,
    gauge,
    histogram,
)
from agent.pipeline import Pipeline
from agent.spool import Spool
from agent.stamper import Stamper
from tests.logged import capture_logs

UP = gauge("up", "Whether it is up.")
DISK = gauge("disk", "Bytes.", "device")
REQUESTS = counter("requests_total", "Requests.", "code")
CONTEXT = [{"team": "a"}, {"env": "prod"}, {"instance": "host", "job": "node"}]


def shape(batch: MetricBatch) -> list[tuple[str, dict[str, str], Any]]:
    return [(one.name, dict(one.labels), value) for one, value in zip(batch.series.series, batch.values, strict=True)]


# -- into the spool -----------------------------------------------------------------------------------------------


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    one = Spool(tmp_path)
    await one.open()
    await one.attach([("mine", "metrics")])
    yield one
    await one.close()


def stamped(time_ms: int, *samples: Sample) -> list[MetricBatch]:
    return Stamper("c", []).stamp(time_ms, samples or [UP(1.0)])


async def test_what_is_submitted_is_pending_after_a_flush(spool: Spool) -> None:
    pipeline = Pipeline(spool, wanted=lambda: True)
    pipeline.submit("c", stamped(1000))
    pipeline.submit("d", stamped(1000))
    await pipeline.flush()
    assert spool.pending("mine", "metrics") == 2


async def test_rounds_of_one_tick_are_written_together_and_soon(spool: Spool) -> None:
    pipeline = Pipeline(spool, wanted=lambda: True)
    running = asyncio.create_task(pipeline.run())
    pipeline.submit("c", stamped(1000))
    pipeline.submit("d", stamped(1000))
    async with asyncio.timeout(10):
        await spool.wait("mine", ["metrics"])
    assert spool.pending("mine", "metrics") == 2
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_the_latest_round_is_kept_until_its_series_end(spool: Spool) -> None:
    pipeline = Pipeline(spool, wanted=lambda: False)
    stamper = Stamper("c", [])
    batches = stamper.stamp(1000, [UP(1.0)])
    pipeline.submit("c", batches)
    assert pipeline.latest == {"c": batches[0]}
    pipeline.submit("c", stamper.vanish(2000))
    assert pipeline.latest == {}
    pipeline.submit("c", [])
    assert pipeline.latest == {}


async def test_without_exporters_nothing_is_written(spool: Spool) -> None:
    pipeline = Pipeline(spool, wanted=lambda: False)
    pipeline.submit("c", stamped(1000))
    await pipeline.flush()
    assert spool.pending("mine", "metrics") == 0


async def test_a_batch_that_cannot_be_stored_takes_no_other_with_it(spool: Spool) -> None:
    pipeline = Pipeline(spool, wanted=lambda: True)
    broken = Histogram((), (float,), 0.0)  # type: ignore[arg-type]  # what a careless plugin may do
    pipeline.submit("c", stamped(1000))
    pipeline.submit("bad", stamped(1000, histogram("h", "Observations.")(broken)))
    pipeline.submit("d", stamped(1000))
    with capture_logs() as logs:
        await pipeline.flush()
    assert spool.pending("mine", "metrics") == 2
    assert [entry["event"] for entry in logs] == ["a collector made what cannot be stored; its round is left out"]
    assert pipeline.lost == {"stalled": 0, "unstorable": 1}


class Hanging:
    """A spool whose disk does not answer."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.taken: list[MetricBatch] = []

    async def append(self, batches: Sequence[MetricBatch]) -> None:
        await self.free.wait()
        self.taken.extend(batches)


async def test_memory_stays_bounded_while_a_commit_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.pipeline.WAITING", 100)
    spool = Hanging()
    pipeline = Pipeline(spool, wanted=lambda: True)  # type: ignore[arg-type]
    pipeline.submit("c", stamped(0))
    hanging = asyncio.create_task(pipeline.flush())
    await asyncio.sleep(0)
    with capture_logs() as logs:
        for number in range(1, 301):
            pipeline.submit("c", stamped(number))
    assert len(logs) == 200
    spool.free.set()
    await hanging
    await pipeline.flush()
    assert [batch.time_ms for batch in spool.taken] == [0, *range(201, 301)]
    assert pipeline.lost == {"stalled": 200, "unstorable": 0}


async def test_a_series_that_two_collectors_have_is_told_once(tmp_path: Path) -> None:
    with capture_logs() as logs:
        pipeline = Pipeline(Spool(tmp_path), wanted=lambda: False)
        labels = [{"instance": "a:1", "job": "x"}]
        stampers = [Stamper(name, labels) for name in ("one", "two")] + [Stamper("three", [{"instance": "b:1"}])]
        for time_ms in (1000, 2000):
            for stamper in stampers:
                pipeline.submit(stamper.collector, stamper.stamp(time_ms, [UP(1.0)]))
    clashes = [line for line in logs if "same series" in line["event"]]
    assert [(line["collector"], line["other"], line["series"]) for line in clashes] == [("two", "one", "up")]
