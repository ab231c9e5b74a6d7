"""Delivering what a single look saw: through the spool, as the daemon does, or through the daemon where it runs.

What is not delivered in time waits in the spool, for the next run or the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from agent.assembly import CLOSING, build
from agent.core import limits
from agent.delivery import Delivery
from agent.model import Batch
from agent.plugins import EXPORTERS
from agent.spool import Spool
from config import Config, ExporterCommon


class Pushed(Struct, frozen=True):
    """Items that were taken into the spool, of them and of what waited before those that left it, and those that wait.

    `trouble` is why some wait, in the words of the first exporter that has any.
    """

    accepted: int
    delivered: int
    lost: int
    pending: int
    trouble: str = ""

    def __str__(self) -> str:
        lost = f", {self.lost} refused or given up" if self.lost else ""
        waiting = f", {self.pending} wait in the spool ({self.trouble})" if self.pending else ""
        return f"delivered {self.delivered} items{lost}{waiting}"


async def push(config: Config, batches: Sequence[Batch], seconds: float) -> Pushed:
    """Deliver to every exporter of a configuration; raises `AlreadyRunning`, `Refused` and OSError."""
    end = time.monotonic() + seconds
    deliveries = []
    spool = Spool(Path(config.agent.state_dir), limits(config.spool), tell=lambda event: None)
    await spool.open()
    try:
        for section in config.exporters:
            assert isinstance(section.common, ExporterCommon)  # noqa: S101  # by construction of Config
            timeout = float(section.common.timeout)
            deliveries.append(
                Delivery(section.name, build(EXPORTERS, section, timeout=timeout), spool, timeout=timeout)
            )
        await spool.attach([(one.name, signal) for one in deliveries for signal in one.signals])
        before = _books(spool)
        await spool.append(batches)
        await _deliver(deliveries, end)
        after = _books(spool)
        accepted, delivered, lost = (now - then for now, then in zip(after[:3], before[:3], strict=True))
        trouble = next((one.error for one in deliveries if one.error), "there was no more time")
        return Pushed(accepted, delivered, lost, after[3], trouble)
    finally:
        await spool.close()


async def _deliver(deliveries: Sequence[Delivery], end: float) -> None:
    tasks = [asyncio.create_task(one.run(), name=f"deliver {one.name}") for one in deliveries]
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(end - time.monotonic()):
                await asyncio.gather(*(one.drain() for one in deliveries))
    finally:
        since = time.monotonic()
        await asyncio.gather(*(one.finish_request(min(CLOSING, 1.0), since) for one in deliveries))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.gather(*(one.close() for one in deliveries))


def _books(spool: Spool) -> tuple[int, int, int, int]:
    """Items accepted, delivered, dropped or rejected, and pending, of all exporters."""
    entries = spool.entries()
    lost = sum(sum(one.dropped.values()) + sum(one.rejected.values()) for one in entries)
    return sum(e.accepted for e in entries), sum(e.delivered for e in entries), lost, sum(e.pending for e in entries)
