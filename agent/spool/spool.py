"""The spool as the event loop sees it: append, fetch, settle, and wait for more.

All disk work runs in one thread. A batch just appended is also kept decoded for a while, so that an exporter that
keeps up gets it by reference and nothing is read back.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from agent import codec
from agent.ledger import Entry
from agent.model import Batch, SeriesSet
from agent.spool.house import Limits
from agent.spool.look import Listed, entries
from agent.spool.place import Event
from agent.spool.records import NewBatch, RejectedBatch, Row, Settlement
from agent.spool.writer import SpoolStat, Unreadable, Writer

RECENT_ITEMS = 50_000  # items of decoded batches kept for exporters that keep up
SETS_SERIES = 50_000  # series of the decoded sets kept while catching up

T = TypeVar("T")


class Chunk(Struct, frozen=True):
    """Some batches that an exporter has not seen, oldest first, and where its cursor stands after them."""

    batches: list[Batch]
    seq: int
    total: int
    start: int  # the signal's item count before the first of them


class Spool:
    """Open it, `attach` exporters, `append`, and for each exporter `fetch` and `settle` in turn."""

    def __init__(
        self,
        directory: Path,
        limits: Limits | None = None,
        *,
        tell: Callable[[Event], None] = lambda event: None,
        **clocks: Any,
    ) -> None:
        self._writer = Writer(directory, limits or Limits(), tell=tell, **clocks)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._recent: OrderedDict[int, Batch] = OrderedDict()  # by number
        self._recent_items = 0
        self._sets: OrderedDict[bytes, SeriesSet] = OrderedDict()
        self._news = asyncio.Event()
        self._closed = False
        self.progress = 0  # rises with every finished piece of work; a watchdog looks at it
        self.waiting = 0  # pieces of work not finished

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)
        finally:
            self.waiting -= 1
            self.progress += 1

    async def open(self) -> None:
        """Open the file; raises `AlreadyRunning` when another process holds the directory, and nothing else."""
        try:
            await self._run(self._writer.open)
        except BaseException:
            await self.close()
            raise

    async def attach(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Give each (exporter, signal) an account; known ones go on where they were."""
        await self._run(self._writer.attach, list(pairs))

    async def retire(self, keep: Iterable[str]) -> None:
        """Let no exporter but `keep` take anything new; what waits for the others stays, within the limits."""
        await self._run(self._writer.retire, list(keep))

    async def detach(self, exporter: str) -> None:
        """Forget an exporter's account and what waits for it alone."""
        await self._run(self._writer.detach, exporter)

    async def close(self) -> None:
        """Finish what was begun and close the file; closing twice is harmless."""
        if not self._closed:
            self._closed = True
            await asyncio.shield(self._run(self._writer.close))
            self._thread.shutdown(wait=False)

    def limit(self, limits: Limits) -> None:
        """Hold other limits from the next append on."""
        self._writer.limits = limits

    # -- in -------------------------------------------------------------------------------------------------------

    async def append(self, batches: Sequence[Batch], checkpoints: Sequence[tuple[str, str, bytes]] = ()) -> None:
        """Accept batches: when this returns they are on disk, or in the ring while the disk refuses. Once begun it
        is finished, also when the caller is cancelled.
        """
        await asyncio.shield(self._append(list(batches), list(checkpoints)))

    async def _append(self, batches: list[Batch], checkpoints: list[tuple[str, str, bytes]]) -> None:
        numbers = await self._run(self._encode_and_append, batches, checkpoints)
        for seq, batch in zip(numbers, batches, strict=True):
            if seq:
                self._remember(seq, batch)
        self._news.set()
        self._news = asyncio.Event()

    def _encode_and_append(self, batches: list[Batch], checkpoints: list[tuple[str, str, bytes]]) -> list[int]:
        return self._writer.append([encode(batch) for batch in batches], checkpoints)

    def _remember(self, seq: int, batch: Batch) -> None:
        """Keep a batch decoded until every exporter has had it, as far as there is room."""
        self._recent[seq] = batch
        self._recent_items += len(batch)
        done = self._writer.state.done()
        while self._recent:
            oldest, first = next(iter(self._recent.items()))
            if self._recent_items <= RECENT_ITEMS and oldest > done.get(first.signal, 0):
                return
            del self._recent[oldest]
            self._recent_items -= len(first)

    # -- out ------------------------------------------------------------------------------------------------------

    async def wait(self, exporter: str, signals: Iterable[str]) -> str:
        """Wait until something is pending for an exporter; answers the signal."""
        while True:
            news = self._news
            for signal in signals:
                if self.pending(exporter, signal):
                    return signal
            await news.wait()

    def pending(self, exporter: str, signal: str) -> int:
        """Items that an exporter has not been through."""
        state = self._writer.state
        account = state.accounts.get(exporter, {}).get(signal)
        return state.head(signal).items - account.items if account else 0

    async def fetch(self, exporter: str, signal: str, max_items: int, *, after: Chunk | None = None) -> Chunk | None:
        """The next batches for an exporter, up to about `max_items` items; None when nothing can be had now.

        `after` reads ahead: what follows a chunk that is still on its way.
        """
        return await self._run(self._fetch, exporter, signal, max_items, after)

    def _fetch(self, exporter: str, signal: str, max_items: int, after: Chunk | None) -> Chunk | None:
        """Rows that cannot be decoded are passed over; settling the chunk counts them as damaged."""
        account = self._writer.state.account(exporter, signal)
        if account is None or (after is not None and after.total < account.items):
            return None
        seq, start = (after.seq, after.total) if after else (account.seq, account.items)
        total = start
        while rows := self._writer.read(exporter, signal, max_items, seq, total):
            batches, last = self._decode(rows)
            if batches:
                return Chunk(batches, last.seq, last.total, start)
            if last is not rows[-1]:
                return None
            seq, total = last.seq, last.total
        if after is None and seq > account.seq:
            self._writer.settle(Settlement(exporter, signal, seq, total))
        return None

    def _decode(self, rows: list[Row]) -> tuple[list[Batch], Row]:
        """The batches of rows, and the last row that was looked at: the disk may become unreadable on the way."""
        batches: list[Batch] = []
        last = rows[0]
        for row in rows:
            try:
                batches.append(self._recent.get(row.seq) or self._decode_row(row))
            except codec.Corrupt:
                pass
            except Unreadable:
                break
            last = row
        return batches, last

    def _decode_row(self, row: Row) -> Batch:
        return codec.decode_batch(row.payload, row.time_ms, self._series(row.digest))

    def _series(self, digest: bytes) -> SeriesSet:
        if (found := self._sets.get(digest)) is None:
            if (payload := self._writer.series(digest)) is None:
                raise codec.Corrupt("its series set is missing")
            found = self._sets[digest] = codec.decode_series(payload)
            while len(self._sets) > 1 and sum(map(len, self._sets.values())) > SETS_SERIES:
                self._sets.popitem(last=False)
        else:
            self._sets.move_to_end(digest)
        return found

    async def settle(self, settlement: Settlement) -> None:
        """Book a verdict; when this returns the cursor has moved durably."""
        await asyncio.shield(self._run(self._writer.settle, settlement))

    def passed(self, exporter: str, signal: str, chunk: Chunk) -> bool:
        """Whether the cursor no longer stands at a chunk's start, because the spool gave part of it up."""
        account = self._writer.state.accounts.get(exporter, {}).get(signal)
        return account is None or account.items != chunk.start

    # -- looking --------------------------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """The ledger."""
        return entries(self._writer.state)

    @property
    def trouble(self) -> str:
        """Why the disk cannot be written; empty when it can."""
        return self._writer.trouble

    async def checkpoints(self, source: str) -> dict[str, bytes]:
        """The checkpoints of a source."""
        return await self._run(self._writer.checkpoints, source)

    async def oldest_ms(self, exporter: str, signal: str) -> int:
        """When the oldest batch that an exporter has not read was stored, Unix ms; 0 when nothing waits."""
        return await self._run(self._writer.oldest_ms, exporter, signal) if self.pending(exporter, signal) else 0

    async def stat(self) -> SpoolStat:
        """Sizes and ages."""
        return await self._run(self._writer.stat)

    async def list_batches(self, limit: int = 100) -> list[Listed]:
        """The oldest batches that wait, and for whom."""
        return await self._run(self._writer.list_batches, limit)

    async def show(self, seq: int) -> Batch | None:
        """One batch; None when there is none. Raises `codec.Corrupt`."""
        return await self._run(self._show, seq)

    def _show(self, seq: int) -> Batch | None:
        row = self._writer.batch(seq)
        return self._decode_row(row) if row is not None else None

    async def rejected(self) -> list[RejectedBatch]:
        """The dead letters, oldest first; `look.decoded_rejected` decodes one."""
        return await self._run(self._writer.rejected)

    async def forget_rejected(self, ids: Iterable[int]) -> None:
        """Remove dead letters, once replayed or given up."""
        await self._run(self._writer.forget_rejected, list(ids))

    async def verify(self) -> list[str]:
        """Every fault that can be found; reads the whole file. What they leave is salvaged."""
        return await self._run(self._writer.verify)

    async def purge(self, exporter: str = "", before_ms: int = 0) -> int:
        """Give up what waits for an exporter (all of them by default), or what of it was stored before a time
        (Unix ms); counted as `dropped{purged}`. Answers the items, of all exporters together.
        """
        return await self._run(self._writer.purge, exporter, before_ms)


def encode(batch: Batch) -> NewBatch:
    """A batch in its stored form."""
    return NewBatch(batch.signal.value, batch.time_ms, len(batch), *codec.encode(batch))
