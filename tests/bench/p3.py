"""P3: 10,000 series of 8 labels, one tick, from samples to bytes on disk and on the wire.

Ours: the samples of a round as a collector yields them go through the stamper, the codec and a durable append to the
spool, then through the encoder and snappy to the body of a remote write request. CPU time of all threads, the median
of the ticks after the first. The other: the protobuf library builds and encodes the same request, and does nothing
else. The goal is the one set where the library takes 51 ms: 25 ms.

Memory: growth of the resident memory of a fresh process that does the same with all series, over that with none, with
the environment that the systemd unit gives the agent.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.model import MetricBatch
from agent.spool import Settlement, Spool
from agent.stamper import Stamper
from exporters.remote_write import RemoteWrite
from tests.bench.bench_encode import generated, library_1, library_2
from tests.bench.processes import ROOT, environment, median
from tests.bench.table import Row, at_most, below
from tests.bench.workload import CONTEXT, samples

COUNT = 10_000
NOW = 1_760_000_000_000


class Road:
    """The parts that a round passes on its way, on a real disk."""

    def __init__(self, folder: Path, protocol: Any) -> None:
        self.stamper = Stamper("host", CONTEXT)
        self.spool = Spool(folder)
        self.exporter = RemoteWrite(RemoteWrite.Options(url="http://127.0.0.1:1/api/v1/write", protocol=protocol))

    async def __aenter__(self) -> Road:
        await self.spool.open()
        await self.spool.attach([("remote_write", "metrics")])
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.spool.close()

    async def tick(self, count: int, tick: int) -> tuple[float, list[MetricBatch]]:
        """CPU seconds of one round, and its batches; settling it is left to the next request."""
        rows = samples(count, tick)
        before = time.process_time()
        batches = self.stamper.stamp(NOW + 15_000 * tick, rows)
        await self.spool.append(batches)
        self.exporter.encode(batches)
        spent = time.process_time() - before
        chunk = await self.spool.fetch("remote_write", "metrics", 100_000)
        if chunk is not None:
            done = chunk.total - chunk.start
            await self.spool.settle(Settlement("remote_write", "metrics", chunk.seq, chunk.total, delivered=done))
        return spent, batches


async def _ours(protocol: str, ticks: int, other: Callable[[list[MetricBatch]], object]) -> tuple[float, float]:
    """Median CPU seconds of our ticks and of the library's encodings, taken in turns."""
    mine, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        async with Road(Path(folder), protocol) as road:
            for tick in range(ticks + 1):
                spent, batches = await road.tick(COUNT, tick)
                before = time.process_time()
                other(batches)
                theirs.append(time.process_time() - before)
                mine.append(spent)
    return median(mine[1:]), median(theirs[1:])


async def _memory() -> float:
    """Bytes of resident memory for each series, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        async with Road(Path(folder), "2.0") as road:
            await road.tick(1, 0)
            gc.collect()
            before = resident()
            for tick in range(1, 6):
                await road.tick(COUNT, tick)
            gc.collect()
            return (resident() - before) / COUNT


def resident() -> int:
    """Bytes of this process in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS:"))) * 1024


def run(*, short: bool) -> list[Row]:
    """The rows."""
    rows = []
    for protocol, name, library in (("2.0", "remote_write_2", library_2), ("1.0", "remote_write_1", library_1)):
        module = generated(name)
        ours, other = asyncio.run(_ours(protocol, 10 if short else 40, lambda batches: library(module, batches)))  # noqa: B023  # called at once
        why = " (25 ms where it takes 51)"
        what = f"P3 a tick of 10,000 series, remote write {protocol}: CPU ms, against protobuf encoding alone"
        rows.append(at_most(what, ours * 1e3, other * 1e3, 0.49, why))
    command = [sys.executable, "-c", "from tests.bench.p3 import measure_memory as m; m()"]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, env=environment())
    rows.append(below("P3 memory: bytes a series", float(found.stdout), 1024))
    return rows


def measure_memory() -> None:
    """What the fresh process runs."""
    print(asyncio.run(_memory()))
