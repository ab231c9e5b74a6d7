"""Delivering what a single look saw: through the spool, as the daemon does, or through the daemon where it runs.

What is not delivered in time waits in the spool, for the next run or the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct

from agent.assembly import CLOSING, Refused, build_delivery
from agent.cli.admin import NotRunning, ask
from agent.core import limits
from agent.delivery import Delivery
from agent.model import Batch
from agent.spool import Spool
from agent.spool.lock import AlreadyRunning
from agent.spoolapi import pack
from config import Config

LEAST: Final = 0.5  # seconds that a delivery has at least
TURN: Final = 0.2  # seconds between looks whether the spool is free


class Pushed(Struct, frozen=True):
    """What became of what was seen, in words; `failed`: some of it is lost."""

    text: str
    failed: bool = False


async def deliver(config: Config, batches: Sequence[Batch], seconds: float) -> Pushed:
    """Deliver to every exporter of a configuration. Where an agent holds the spool it gets what was seen; where another
    check does, its turn is waited for.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return await push(config, batches, max(LEAST, end - time.monotonic()))
        except AlreadyRunning as held:
            trouble = str(held)
        except (Refused, OSError) as error:
            return _lost(batches, str(error))
        try:
            return await asyncio.to_thread(_hand_over, config, batches, max(LEAST, end - time.monotonic()))
        except (NotRunning, KeyError, TypeError):
            if time.monotonic() >= end:
                return _lost(batches, trouble)
        await asyncio.sleep(TURN)


def _hand_over(config: Config, batches: Sequence[Batch], seconds: float) -> Pushed:
    """Give an agent what it does not collect itself: of a series that it does, it has later samples than ours."""
    state = Path(config.agent.state_dir)
    status = ask(state, "/api/status", seconds=seconds)
    strange = {one.name for one in config.exporters} - {one["name"] for one in status["exporters"]}
    if strange:
        return _lost(batches, f"the agent that runs here does not deliver to {', '.join(sorted(strange))}")
    kinds = {one.name: one.kind for one in config.collectors}
    own = {one["name"] for one in status["collectors"] if kinds.get(one["name"]) == one["kind"]}
    rest = [batch for batch in batches if batch.collector not in own]
    if not rest:
        return Pushed("the agent that runs here delivers what it collects itself")
    answer = ask(state, "/api/spool/append", "POST", pack(rest), seconds)
    return Pushed(f"{answer['items']} items handed over to the agent that runs here")


def _lost(batches: Sequence[Batch], why: str) -> Pushed:
    return Pushed(f"NOT delivered, {sum(map(len, batches))} items are lost: {why}", failed=True)


async def push(config: Config, batches: Sequence[Batch], seconds: float) -> Pushed:
    """Deliver through the spool; raises `AlreadyRunning`, `Refused` and OSError."""
    end = time.monotonic() + seconds
    state = Path(config.agent.state_dir)
    _refuse_strangers(state)
    spool = Spool(state, limits(config.spool), tell=lambda event: None)
    await spool.open()
    try:
        deliveries = [build_delivery(section, spool) for section in config.exporters]
        await spool.attach([(one.name, signal) for one in deliveries for signal in one.signals])
        before = _books(spool)
        await spool.append(batches)
        await _deliver(deliveries, end)
        after = _books(spool)
        delivered, lost = after.delivered - before.delivered, after.lost - before.lost
        trouble = next((one.error for one in deliveries if one.error), "there was no more time")
        refused = f", {lost} refused or given up" if lost else ""
        text = f"delivered {delivered} items{refused}"
        if not after.pending:
            return Pushed(text, failed=lost > 0)
        if spool.trouble:  # what waits does so in the memory of this process
            why = f"{trouble}, and the spool cannot be written: {spool.trouble}"
            return Pushed(f"{text}, {after.pending} are lost ({why})", failed=True)
        return Pushed(f"{text}, {after.pending} wait in the spool ({trouble})", failed=lost > 0)
    finally:
        await spool.close()


def _refuse_strangers(state: Path) -> None:
    """Files that root makes in the directory of the agent's user are closed to that."""
    owner = state.stat().st_uid if state.exists() else os.geteuid()
    if os.geteuid() == 0 and owner != 0:
        raise OSError(f"{state} belongs to user {owner}, who could not open what root writes there; run as that user")


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


class _Books(NamedTuple):
    """Items of all exporters."""

    delivered: int
    lost: int  # dropped or refused
    pending: int


def _books(spool: Spool) -> _Books:
    entries = spool.entries()
    lost = sum(sum(one.dropped.values()) + sum(one.rejected.values()) for one in entries)
    return _Books(sum(one.delivered for one in entries), lost, sum(one.pending for one in entries))
