"""From the batches of all collectors to the spool, and to whoever looks at the latest of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agent import ledger
from agent.logs import get_logger
from agent.model import STALE, MetricBatch
from agent.spool import Spool, encode

LINGER = 0.25  # seconds in which the rounds of one tick join one transaction
WAITING = 500_000  # samples that may wait while a commit hangs: some 40 MB

log = get_logger("pipeline")

# What encoding raises for values that no batch can hold, such as a count beyond 64 bits.
UNSTORABLE = (TypeError, ValueError, KeyError, ArithmeticError, RecursionError)


class Pipeline:
    """Takes the batches of all collectors, keeps the latest for whoever looks, and hands them to the spool together.

    `wanted` says whether anybody will read the spool; without exporters nothing is written.
    """

    def __init__(self, spool: Spool, *, wanted: Callable[[], bool]) -> None:
        self._spool = spool
        self._wanted = wanted
        self._waiting: list[MetricBatch] = []
        self._news = asyncio.Event()
        self._writing = asyncio.Lock()
        self._items = 0
        self.lost = dict.fromkeys(ledger.LOST, 0)  # samples given up before they were accepted, by reason
        self.latest: dict[str, MetricBatch] = {}
        self.watch: Callable[[list[MetricBatch]], None] = lambda batches: None  # is shown every round's batches
        self.seen = asyncio.Event()  # set by every round, for who looks at the latest
        self._clashes: set[frozenset[str]] = set()  # pairs of collectors that were told of

    def submit(self, collector: str, batches: list[MetricBatch]) -> None:
        """Take a round's batches; they are durable a quarter of a second later."""
        if batches and batches[0].values[0] is not STALE:
            if collector not in self.latest:
                self._warn_of_clash(batches[0])
            self.latest[collector] = batches[0]
        else:
            self.latest.pop(collector, None)
        self.watch(batches)
        self.seen.set()
        if self._wanted():
            self._waiting.extend(batches)
            self._items += sum(map(len, batches))
            if self._writing.locked():
                self._bound()
            self._news.set()

    def _warn_of_clash(self, batch: MetricBatch) -> None:
        """Two collectors with the same series: receivers would keep a value of either, now of one, now of the other."""
        own = {(one.name, one.labels) for one in batch.series.series}
        for other in self.latest.values():
            pair = frozenset({batch.collector, other.collector})
            if pair in self._clashes:
                continue
            if (clash := next((one for one in other.series.series if (one.name, one.labels) in own), None)) is not None:
                self._clashes.add(pair)
                log.warning(
                    "two collectors have the same series, and receivers keep one of them; tell them apart by `labels` "
                    "in a section",
                    collector=batch.collector,
                    other=other.collector,
                    series=clash.name,
                    labels=dict(clash.labels),
                )
                return

    def _bound(self) -> None:
        """Give up the oldest while a commit hangs; a disk that refuses has the spool's own ring."""
        lost = 0
        while self._items - lost > WAITING and len(self._waiting) > 1:
            lost += len(self._waiting.pop(0))
        self._items -= lost
        self.lost["stalled"] += lost
        if lost:
            log.error("the spool does not take what is collected; the oldest is given up", samples=lost)

    async def run(self) -> None:
        """Write what comes in; does not end."""
        while True:
            await self._news.wait()
            await asyncio.sleep(LINGER)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits, now."""
        async with self._writing:
            self._news.clear()
            batches, self._waiting, self._items = self._waiting, [], 0
            if not batches:
                return
            try:
                await self._spool.append(batches)
            except UNSTORABLE:  # a batch has no stored form; nothing was written
                await self._spool.append([batch for batch in batches if self._storable(batch)])

    def _storable(self, batch: MetricBatch) -> bool:
        """Whether a batch has a stored form: a collector may put anything into a histogram."""
        try:
            encode(batch)
        except UNSTORABLE as error:
            self.lost["unstorable"] += len(batch)
            log.warning(
                "a collector made what cannot be stored; its round is left out",
                collector=batch.collector,
                samples=len(batch),
                error=f"{type(error).__name__}: {error}",
            )
            return False
        return True
