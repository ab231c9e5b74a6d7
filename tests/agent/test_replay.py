"""A replay sends all it was given, once, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.model import Batch, Delivered, MetricBatch, Rejected, Request, Series, SeriesSet, Signal
from agent.replay import Replay


class Recording:
    """Takes every request but those that hold a refused value."""

    signals = frozenset({Signal.METRICS})

    def __init__(self, max_items: int, refused: float | None = None) -> None:
        self.max_items, self.refused = max_items, refused
        self.taken: list[float] = []

    def encode(self, batches: Sequence[Batch]) -> Request:
        return Request(orjson.dumps([value for batch in batches for value in batch.values]))

    async def send(self, request: Request) -> Delivered:
        values = orjson.loads(request.body)
        if self.refused in values:
            raise Rejected("no", reason="bad_request")
        self.taken += values
        return Delivered()

    async def close(self) -> None:
        pass


def batches(sizes: list[int]) -> list[MetricBatch]:
    found, number = [], 0
    for time_ms, size in enumerate(sizes):
        series = SeriesSet([Series("m", "gauge", "", "", (("i", str(at)),)) for at in range(size)])
        found.append(MetricBatch("test", time_ms, series, [float(number + at) for at in range(size)]))
        number += size
    return found


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), max_size=12), st.integers(1, 50))
def test_what_was_stored_is_sent_whatever_the_sizes(sizes: list[int], max_items: int) -> None:
    exporter, replay = Recording(max_items), Replay(batches(sizes))
    asyncio.run(replay.run("there", exporter))
    assert exporter.taken == [float(number) for number in range(sum(sizes))]
    assert (replay.delivered, replay.refused) == (sum(sizes), {})


def test_sent_alone_each_batch_has_a_verdict_of_its_own() -> None:
    exporter, replay = Recording(100, refused=7.0), Replay(batches([5, 10, 40]), alone=True)
    asyncio.run(replay.run("there", exporter))
    assert replay.taken == [0, 2]
    assert (replay.delivered, replay.refused) == (54, {"bad_request": 1})


def test_what_is_refused_is_counted_and_the_rest_sent() -> None:
    exporter, replay = Recording(20, refused=7.0), Replay(batches([5, 10, 40]))
    asyncio.run(replay.run("there", exporter))
    assert sorted(exporter.taken) == [float(number) for number in range(55) if number != 7]
    assert (replay.delivered, replay.refused, replay.words) == (54, {"bad_request": 1}, ["no"])
