"""Sending stored batches once more: a spool file set aside, the dead letters, or a spool into a new destination.

A `Replay` stands where the spool stands for a delivery, so that order, backoff, bisecting and splitting are the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from agent.delivery import Delivery
from agent.model import Batch, Exporter
from agent.spool import Chunk, Settlement


class Replay:
    """A finite source of batches for one `Delivery`. `told` hears the items done after every request.

    `taken` are the numbers of the batches of which nothing was refused; sent `alone`, none shares another's verdict.
    """

    def __init__(
        self,
        batches: Iterable[Batch],
        told: Callable[[int], None] = lambda items: None,
        *,
        timeout: float = 30.0,
        alone: bool = False,
    ) -> None:
        self._timeout = timeout  # what the exporter gives one request
        self._batches: Iterator[Batch] = iter(batches)
        self._told = told
        self._alone = alone
        self._next: Batch | None = next(self._batches, None)
        self._position = self._fetched = self._settled = 0
        self._done = asyncio.Event()
        self.delivered = 0
        self.taken: list[int] = []
        self.refused: dict[str, int] = {}
        self.words: list[str] = []

    async def wait(self, exporter: str, signals: Iterable[str]) -> str:
        """The signal of the next batch; never returns after the last."""
        if self._next is None:
            self._done.set()
            await asyncio.get_running_loop().create_future()
        assert self._next is not None  # noqa: S101  # the line above does not return
        return self._next.signal.value

    def pending(self, exporter: str, signal: str) -> int:
        """Whether there is more."""
        return 0 if self._next is None else len(self._next)

    async def fetch(self, exporter: str, signal: str, max_items: int, *, after: Chunk | None = None) -> Chunk | None:
        """The next batches, up to about `max_items` items; nothing is read ahead, so that the last one is the end."""
        if after is not None:
            return None
        batches: list[Batch] = []
        items, most = 0, 0 if self._alone else max_items
        while self._next is not None and (not batches or items + len(self._next) <= most):
            batches.append(self._next)
            items += len(self._next)
            self._next = next(self._batches, None)
        start, self._position = self._position, self._position + items
        self._fetched += len(batches)
        return Chunk(batches, self._fetched, self._position, start) if batches else None

    def passed(self, exporter: str, signal: str, chunk: Chunk) -> bool:
        """Nothing gives up what is replayed."""
        return False

    async def settle(self, settlement: Settlement) -> None:
        """Keep count."""
        if not settlement.rejected and not settlement.partial:
            self.taken += range(self._settled, settlement.seq)
        self._settled = settlement.seq
        self.delivered += settlement.delivered
        for reason, items in settlement.partial.items():
            self.refused[reason] = self.refused.get(reason, 0) + items
        for one in settlement.rejected:
            self.refused[one.reason] = self.refused.get(one.reason, 0) + one.items
            self.words.append(one.message)
        self._told(settlement.total)

    async def run(self, name: str, exporter: Exporter) -> None:
        """Deliver everything; ends when the last batch has its verdict."""
        delivery = Delivery(name, exporter, self, timeout=self._timeout)
        task = asyncio.create_task(delivery.run(), name=f"replay to {name}")
        done = asyncio.create_task(self._done.wait())
        try:
            await asyncio.wait({task, done}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (task, done):
                one.cancel()
            await asyncio.wait({task, done})
            await exporter.close()
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
