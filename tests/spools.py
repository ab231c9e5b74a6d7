"""Spools for tests: clocks that stand still, batches that can be told apart, and a reader that checks what it reads."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from agent.ledger import Entry
from agent.model import MetricBatch, Series, SeriesSet
from agent.spool import Chunk, Event, Limits, Settlement, Spool

METRICS = "metrics"


class Clocks:
    """A wall clock and a monotonic clock that move when told to."""

    def __init__(self, wall_ms: int = 1_800_000_000_000) -> None:
        self.wall_ms, self.steady = wall_ms, 1000.0

    def wall(self) -> int:
        return self.wall_ms

    def monotonic(self) -> float:
        return self.steady

    def advance(self, seconds: float) -> None:
        self.wall_ms += int(seconds * 1000)
        self.steady += seconds


def plenty(directory: Path) -> tuple[int, int]:
    return 1 << 40, 1 << 39


def series_set(size: int, shape: str = "a") -> SeriesSet:
    return SeriesSet(
        [
            Series(f"family_{at % 7}_total", "counter", "Some help.", "", (("at", str(at)), ("shape", shape)), 5)
            for at in range(size)
        ]
    )


def batch(series: SeriesSet, number: int, *, noise: random.Random | None = None) -> MetricBatch:
    """A batch of which the time is the number, so that it can be told apart from all others."""
    draw = noise or random.Random(number)
    return MetricBatch("test", number, series, [float(number)] + [draw.random() for _ in range(len(series) - 1)])


def same(one: MetricBatch, other: MetricBatch) -> bool:
    """Whether two batches say the same, names included."""
    return (
        one.time_ms == other.time_ms
        and one.collector == other.collector
        and list(one.values) == list(other.values)
        and one.extras == other.extras
        and [(s.name, s.kind, s.help, s.unit, s.labels, s.start_ms) for s in one.series.series]
        == [(s.name, s.kind, s.help, s.unit, s.labels, s.start_ms) for s in other.series.series]
    )


class Opened:
    """An open spool with still clocks, and what it told."""

    def __init__(self, directory: Path, clocks: Clocks | None = None, **limits: object) -> None:
        self.clocks = clocks or Clocks()
        self.events: list[Event] = []
        self.free = plenty
        self.spool = Spool(
            directory,
            Limits(**limits),
            tell=self.events.append,
            clock=self.clocks.wall,
            monotonic=self.clocks.monotonic,
            free=lambda place: self.free(place),
        )

    async def __aenter__(self) -> Opened:
        await self.spool.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.spool.close()

    def told(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]

    def entry(self, exporter: str, signal: str = METRICS) -> Entry:
        return next(e for e in self.spool.entries() if (e.exporter, e.signal) == (exporter, signal))


async def settle(spool: Spool, exporter: str, chunk: Chunk, **more: object) -> None:
    """Deliver a chunk."""
    verdict = {"delivered": sum(map(len, chunk.batches)), **more}
    await spool.settle(Settlement(exporter, METRICS, chunk.seq, chunk.total, **verdict))


async def drain(spool: Spool, exporter: str, max_items: int = 1000) -> list[MetricBatch]:
    """Deliver everything there is; what was delivered."""
    found: list[MetricBatch] = []
    stuck = 0
    while spool.pending(exporter, METRICS):
        chunk = await spool.fetch(exporter, METRICS, max_items)
        if chunk is None:
            stuck += 1
            assert stuck < 3, f"nothing can be had, and {spool.pending(exporter, METRICS)} items are pending"
            continue
        stuck = 0
        found += chunk.batches
        await settle(spool, exporter, chunk)
    return found


def balanced(entries: Sequence[Entry]) -> bool:
    return all(entry.balanced for entry in entries)


def in_order(batches: Iterable[MetricBatch]) -> bool:
    times = [one.time_ms for one in batches]
    return times == sorted(set(times))
