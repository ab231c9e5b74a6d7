"""P4: an outage of 24 hours at 15 s with 1,380 series, and how fast its backlog drains.

Ours: 7.9 million samples shaped like a host's are written through the real spool; then the real agent starts and
delivers them by remote write to a fresh VictoriaMetrics. The other: vmagent is fed the same samples while its
destination is down, is stopped, and starts again with a fresh VictoriaMetrics up. Both in turns; wall and CPU seconds
from the process's start until VictoriaMetrics has taken every sample, medians; bytes on disk of either backlog before
it drains. The short form is a twelfth: two hours.
"""

from __future__ import annotations

import asyncio
import http.client
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cramjam

from agent.model import MetricBatch
from agent.spool import Spool
from exporters.remote_write import HEADERS
from exporters.wire.remote_write_1 import RemoteWrite1
from tests.bench.processes import Bench, Child, disk, median
from tests.bench.table import Row, at_most, below
from tests.bench.workload import HOST, rounds
from tests.conftest import free_port

TICKS = 24 * 240
QUIET = 0.5  # seconds without a request after which the count is looked at
REQUEST = 8 << 10  # bytes: more than what VictoriaMetrics reads of its own accord, less than a request
FED_TOGETHER = 20  # ticks in a request to vmagent


class Drained(NamedTuple):
    """Seconds to drain a backlog, from the start of the process."""

    wall: float
    cpu: float


async def _fill_spool(folder: Path, ticks: int, last_ms: int) -> None:
    spool = Spool(folder)
    await spool.open()
    await spool.attach([("remote_write", "metrics")])
    for batches in rounds(ticks, last_ms):
        await spool.append(batches)
    await spool.close()


def _fill_vmagent(bench: Bench, port: int, queue: Path, ticks: int, last_ms: int) -> None:
    """Feed a vmagent whose destination is down, and stop it: what it holds is on disk then."""
    agent = bench.vmagent(port, queue)
    encoder = RemoteWrite1()
    connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=60)
    waiting: list[MetricBatch] = []
    for tick, batches in enumerate(rounds(ticks, last_ms), start=1):
        waiting += batches
        if tick % FED_TOGETHER == 0 or tick == ticks:
            body = bytes(cramjam.snappy.compress_raw(encoder.encode(waiting).body))
            connection.request("POST", "/api/v1/write", body, dict(HEADERS["1.0"]))
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 204, answer.status
            waiting.clear()
    connection.close()
    agent.stop()


def _drain(victoria: Child, start: Callable[[], Child], samples: int) -> Drained:
    began = time.monotonic()
    agent = start()
    ended = _watch(victoria, samples)
    drained = Drained(ended - began, agent.cpu)
    agent.stop()
    victoria.stop()
    return drained


def _watch(victoria: Child, samples: int) -> float:
    """When the last request came in. VictoriaMetrics' own count is a second old at times, so the moment is taken from
    the bytes it reads, and the count only says that nothing is missing.
    """
    read, last = victoria.bytes_read, time.monotonic()
    limit = last + 900
    while time.monotonic() < limit:
        time.sleep(0.01)
        now, before = time.monotonic(), read
        read = victoria.bytes_read
        if read - before > REQUEST:
            last = now
        elif now - last > QUIET and victoria.rows_inserted() >= samples:
            return last
    raise TimeoutError("the backlog does not drain")


def run(*, short: bool) -> list[Row]:
    """The rows."""
    ticks = TICKS // 12 if short else TICKS
    samples = ticks * sum(HOST.values())
    last_ms = int(time.time() * 1000)
    with Bench() as bench:
        port = free_port()
        spool, queue = bench.folder / "spool", bench.folder / "queue"
        asyncio.run(_fill_spool(spool, ticks, last_ms))
        _fill_vmagent(bench, port, queue, ticks, last_ms)
        ours, theirs = [], []
        for turn in range(3):
            mine, other = (shutil.copytree(one, bench.folder / f"{one.name}-{turn}") for one in (spool, queue))
            victoria = bench.victoria()
            ours.append(_drain(victoria, lambda v=victoria, m=mine: _nightjar(bench, v, m), samples))
            victoria = bench.victoria(port)
            theirs.append(_drain(victoria, lambda o=other: bench.vmagent(port, o, ready=""), samples))
        what = f"P4 {ticks / 240:.0f} h outage, {samples / 1e6:.2g} million samples"
        wall = [median([one.wall for one in side]) for side in (ours, theirs)]
        cpu = [median([one.cpu for one in side]) for side in (ours, theirs)]
        return [
            at_most(f"{what}: s to drain", *wall, 1.0),
            Row(f"{what}: CPU s to drain", *cpu),
            below(f"{what}: bytes a sample on disk", disk(spool) / samples, 3.0, disk(queue) / samples),
        ]


def _nightjar(bench: Bench, victoria: Child, state: Path) -> Child:
    return bench.nightjar(victoria.port, state, interval="1h", more="", ready="")
